"""Workers on a cluster: a site's page, the jobs that submitit starts, and what a wrong page is told."""

import os
from pathlib import Path

import pytest

from experiments import cluster, work
from experiments.cluster import SITES, Site, Worker, read_site, submit
from experiments.errors import UserError


@pytest.fixture
def site(tmp_path):
    return Site(executor="local", workers=2, folder=tmp_path, timeouts=2, parameters={"timeout_min": 5})


@pytest.mark.parametrize("name", [path.stem for path in SITES.glob("*.yaml")])
def test_every_page_of_a_site_can_be_read(name):
    assert read_site(name).workers >= 1


def test_each_worker_carries_out_the_command_as_a_worker(site, capfd):
    """The command prints a configuration; it is composed in a process of its own, and says so in its own log."""
    jobs = submit(site, Worker(("run", "+exp=glue_rte", "--cfg", "job")))
    assert len(jobs) == 2 and [job.result() for job in jobs] == [None, None]
    assert all("name: glue_rte" in Path(job.paths.stdout).read_text() for job in jobs)
    assert capfd.readouterr().out.splitlines()[0] == "2 workers:"


def test_a_command_that_fails_is_a_failed_job(site):
    with pytest.raises(work.FailedMeanwhile, match="1 of 1 workers failed, see their logs: "):
        submit(site, Worker(("run", "+exp=glue_nosuch")), 1)
    [log] = Path(site.folder).rglob("*_log.err")
    assert "did you mean" in log.read_text()


def test_a_worker_that_is_started_again_is_the_same(monkeypatch):
    worker = Worker(("table", "table2"), since=12.5)
    assert worker.checkpoint().function == worker
    for name in (work.SINCE, work.WORKER):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("scripts.table.main", lambda arguments: seen.append((arguments, work.is_worker())))
    seen = []
    worker()
    assert seen == [(["table2"], True)] and os.environ[work.SINCE] == "12.5"


def test_a_worker_of_this_machine_that_failed_gives_the_code(monkeypatch, capsys):
    from scripts import study

    def failing(*asked):
        raise work.FailedMeanwhile("1 of 2 workers failed")

    monkeypatch.delenv(work.WORKER, raising=False)
    monkeypatch.setattr(cluster, "submit", failing)
    assert study.main(["grid", "--cluster", "local"]) == 1
    assert capsys.readouterr().err == "study: 1 of 2 workers failed\n"


def test_a_plan_takes_no_workers(monkeypatch):
    from scripts import study

    shown = []
    monkeypatch.delenv(work.WORKER, raising=False)
    monkeypatch.setattr(cluster, "submit", lambda *asked: pytest.fail("it starts workers"))
    monkeypatch.setattr(study.main, "work", shown.append)
    assert study.main(["grid", "--cluster", "slurm", "--plan"]) == 0
    assert len(shown) == 1


def test_a_command_with_a_site_leaves_the_work_to_its_workers(monkeypatch):
    from scripts import study

    given = []
    monkeypatch.delenv(work.WORKER, raising=False)
    monkeypatch.setattr(cluster, "submit", lambda *asked: given.append(asked))
    monkeypatch.setattr(study.main, "work", lambda options: pytest.fail("it works itself"))
    arguments = ["grid", "--cluster", "slurm", "--jobs", "3"]
    assert study.main(arguments) == 0
    [(site, worker, count)] = given
    assert (site.executor, worker.words, count) == ("slurm", ("study", *arguments), 3)


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ({"parameters": {"gpus": 1}}, r"--cluster, parameters: .*gpus"),
        ({"executor": "slurm"}, r"--cluster: .*give the command on a machine of the cluster"),
    ],
)
def test_what_a_site_does_not_know_is_told(site, monkeypatch, page, told):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=told):
        submit(site.model_copy(update=page), Worker(("table", "table2")))


def test_a_site_without_a_page_is_told_which_there_are(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"mine: no configs/cluster/mine\.yaml; there are .*slurm.*: copy slurm\.yaml"):
        read_site("mine")
    monkeypatch.setattr(cluster, "SITES", tmp_path)
    (tmp_path / "mine.yaml").write_text("executor: pbs\nworkers: 1\nfolder: x\ntimeouts: 1\nparameters: {}")
    with pytest.raises(UserError, match=r"mine\.yaml: not a site's page \(executor: .*'pbs'\)"):
        read_site("mine")
