"""Records: what is written is what is read, what is wrong is refused by name, and a failed write changes nothing."""

import errno
import json
import os
import re
import shutil
import subprocess
import types

import pytest
import torch
from pydantic import ValidationError

from experiments import processes
from experiments import record as records
from experiments.errors import UserError
from experiments.measure import memory
from experiments.record import MatrixRank, Rank, Record, RecordError, config_hash
from tests.handmade import leave, measured, ranked, run

CONFIG = {
    "seed": 0,
    "task": {"name": "glue_rte"},
    "model": {"name": "roberta_base"},
    "method": {"name": "fourierft", "n": 1000, "scale": 110.0, "entry_seed": 2024},
    "recipe": {"epochs": 2, "batch_size": 32, "lr": 0.09},
    "train": {"max_steps": None},
}


def fields(**changes):
    """The fields of a run that ended well, with changes."""
    source = {"name": "roberta_base", "source": "hub", "id": "FacebookAI/roberta-base", "revision": "abc"}
    spread = {"min": 1, "median": 1, "max": 1}
    matrix = {"name": "layer.0.query", "shape": [2, 2], "numerical_rank": 1, "effective_rank": 1}
    matrix |= {"frobenius_norm": 0.9, "spectral_norm": 0.9, "singular_values": [0.9, 1.234e-7]}
    config = {**CONFIG, "seed": changes.get("seed", 0), **changes.get("config", {})}
    return {
        "exp": "glue_rte",
        "task": "glue_rte",
        "method": "fourierft",
        "model": source,
        "dataset": {**source, "name": "glue/rte", "source": "local", "rows": {"train": 2490, "validation": 277}},
        "seed": 0,
        "entry_seed": 2024,
        "scale": "paper",
        "status": "ok",
        "config_hash": config_hash(config),
        "params": {"adapter": 24000, "head": 592130, "total": 125_000_000, "adapter_bytes": 96000},
        "metrics": {
            "primary": "accuracy",
            "direction": "max",
            "best": 0.79,
            "best_epoch": 1,
            "last": 0.75,
            "per_epoch": [{"epoch": 1, "accuracy": 0.79}, {"epoch": 2, "accuracy": 0.75}],
            "all": {"best": {"epoch": 1, "accuracy": 0.79}, "last": {"epoch": 2, "accuracy": 0.75}},
        },
        "cost": {"train_s": 60.5, "eval_s": 2.0, "steps": 156, "samples_per_s": 2 * 2490 / 60.5},
        "rank": {
            "tolerance": "t",
            "matrices": [matrix],
            "summary": {"count": 1, "numerical_rank": spread, "effective_rank": spread},
        },
        "hardware": records.hardware("cpu"),
        "versions": records.versions(),
        "wandb": {"mode": "offline"},
        "started": records.now(),
        "ended": records.now(),
        **changes,
        "config": config,
    }


def on_test(best):
    """Metrics on the test set, those of the last epoch being right."""
    return {"best": best, "last": {"accuracy": 0.7}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / Record(**fields()).place


def test_what_is_written_is_what_is_read(path):
    record = Record(**fields())
    records.write(record, path)
    assert records.read(path) == record
    assert json.loads(path.read_text())["schema"] == 1
    assert '"singular_values": [0.9, 1.234e-7]' in path.read_text(), "a list of numbers stands on one line"


def test_strings_that_look_like_lists_survive(path):
    record = Record(**fields(status="failed", error="[\n1,\n2\n]"))
    records.write(record, path.with_suffix(".failed.json"))
    assert records.read(path.with_suffix(".failed.json")).error == record.error


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "red"}, "colour"),
        ({"seed": "0"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"scale": "large"}, "scale"),
        ({"config_hash": "xyz"}, "config_hash"),
        ({"started": "yesterday"}, "started"),
        ({"started": "2025-01-01T00:00:00+02:00"}, "started"),
        ({"metrics": {**fields()["metrics"], "best": 79.1}}, "best"),
        ({"metrics": {**fields()["metrics"], "last": float("nan")}}, "last"),
        ({"metrics": {**fields()["metrics"], "test": on_test({"loss": 0.1})}}, "test.best needs accuracy"),
        ({"metrics": {**fields()["metrics"], "test": on_test({"accuracy": 79.1})}}, "test.best needs accuracy.*79.1"),
        ({"metrics": {**fields()["metrics"], "test": on_test({"accuracy": float("nan")})}}, "test.best.accuracy"),
        ({"dataset": {**fields()["dataset"], "skipped": {"train": -1}}}, "skipped"),
        ({"cost": {**fields()["cost"], "loader_samples_per_s": -1.0}}, "loader_samples_per_s"),
        ({"metrics": None}, "metrics"),
        ({"cost": None}, "cost"),
        ({"params": None}, "params"),
        ({"error": "but it ended well"}, "no error"),
        ({"status": "oom"}, "needs an error"),
        ({"schema": 2}, "schema"),
    ],
)
def test_an_untrue_record_is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        Record(**fields(**changes))


def test_the_score_is_the_test_sets_where_there_is_one(path):
    metrics = {**fields()["metrics"], "test": on_test({"accuracy": 0.74, "loss": 2.5})}
    cost = {**fields()["cost"], "eval_samples_per_s": 2 * 277 / 2.0, "loader_samples_per_s": 200.0}
    rows = {**fields()["dataset"]["rows"], "test": 30}
    dataset = {**fields()["dataset"], "skipped": {"train": 2}, "rows": rows}
    record = Record(**fields(metrics=metrics, cost=cost, dataset=dataset))
    records.write(record, path)
    assert records.read(path) == record
    found = record.metrics
    assert (found.score("best"), found.score("last"), found.score("best", "loss")) == (0.74, 0.7, 2.5)
    found = Record(**fields()).metrics
    assert (found.score("best"), found.score("last")) == (0.79, 0.75), "of validation: this task has no test set"
    with pytest.raises(KeyError, match="loss"):
        found.score("best", "loss")


def test_a_failed_run_needs_no_results():
    nothing = {"params": None, "metrics": None, "cost": None, "rank": None}
    assert Record(**fields(status="oom", error="out of memory", **nothing)).metrics is None


def test_reading_names_file_field_and_value(path):
    records.write(Record(**fields()), path)
    path.write_text(path.read_text().replace('"paper"', '"huge"'))
    with pytest.raises(RecordError, match=rf"{path.name}.*scale.*'huge'") as caught:
        records.read(path)
    assert isinstance(caught.value, UserError)
    path.write_text("{")
    with pytest.raises(RecordError, match=path.name):
        records.read(path)
    with pytest.raises(RecordError, match=r"none\.json"):
        records.read(path.with_name("none.json"))


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_leaves_the_older_file_and_nothing_else(path, monkeypatch, broken):
    records.write(Record(**fields()), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(RecordError, match=rf"{path.name}.*No space left.*make room"):
        records.write(Record(**fields(trials=5)), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_older_file_and_nothing_else(path, monkeypatch):
    records.write(Record(**fields()), path)
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        records.write(Record(**fields(trials=5)), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_find_is_ordered_and_names_what_it_leaves_out(tmp_path):
    made = [Record(**fields(seed=seed, exp=exp)) for exp, seed in (("b", 2), ("a", 9), ("b", 1))]
    one, *_ = leave(tmp_path, *made)
    assert [record.seed for record in records.find(tmp_path)] == [9, 1, 2]
    assert records.find(tmp_path / "none") == []
    (tmp_path / "b" / "corrupt.json").write_text("{}")
    (tmp_path / "folder.json").mkdir()
    leave(tmp_path / "copied", made[0])
    with records.left_out() as problems:
        assert records.find(tmp_path) == records.find(tmp_path) == [made[1], made[2], made[0]]
    said = [
        "b/corrupt.json: not a sound record",
        "another copy of b/roberta_base/fourierft/seed2",
        "folder.json: cannot",
    ]
    assert len(problems) == 3 and all(word in problem for word, problem in zip(said, problems, strict=True)), problems
    one.unlink()
    with pytest.warns(records.LeftOut) as warned:
        assert len(records.find(tmp_path)) == 3, "the copy is read where it is the only one"
    assert len(warned) == 2


METRICS = fields()["metrics"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config_hash": "0" * 12}, "config_hash is '000000000000'"),
        ({"config": {"seed": 1}}, "config.seed is 1, where the rest gives 0"),
        ({"config": {"model": 5}}, "config.model.name is None"),
        ({"method": "lora"}, "config.method.name is 'fourierft', where the rest gives 'lora'"),
        ({"task": "glue_mrpc"}, "config.task.name"),
        ({"entry_seed": 7}, "config.method.entry_seed is 2024"),
        ({"metrics": METRICS | {"best": 0.8}}, "best is 0.8, where the rest gives 0.79"),
        ({"metrics": METRICS | {"best_epoch": 2}}, "best_epoch is 2"),
        ({"metrics": METRICS | {"last": 0.74}}, "last is 0.74"),
        ({"metrics": METRICS | {"direction": "min"}}, "best is 0.79, where the rest gives 0.75"),
        ({"metrics": METRICS | {"per_epoch": METRICS["per_epoch"][:1]}}, "last is 0.75"),
        ({"metrics": METRICS | {"per_epoch": METRICS["per_epoch"][::-1]}}, "the order of the epochs"),
        ({"metrics": METRICS | {"per_epoch": []}}, "per_epoch"),
        ({"metrics": METRICS | {"per_epoch": [{"epoch": 1}, {"epoch": 2}]}}, "needs epoch and accuracy"),
        ({"metrics": measured([{"accuracy": 0.7}, {"accuracy": 0.8}], on_test({"accuracy": 0.9}))}, "test.best"),
        ({"metrics": measured(METRICS["per_epoch"][:1])}, "config.recipe.epochs is 2, where the rest gives 1"),
        ({"params": fields()["params"] | {"adapter": 24001}}, "adapter_bytes is 96000, where the rest gives 96004"),
        ({"params": fields()["params"] | {"total": 600_000}}, "more than the total, 600000"),
        ({"cost": fields()["cost"] | {"steps": 155}}, "steps is 155, where the rest gives 156"),
        ({"cost": fields()["cost"] | {"train_s": 6.0}}, "train_s × samples_per_s"),
        ({"metrics": METRICS | {"test": on_test({"accuracy": 0.9})}}, "whether the test set is scored is True"),
        ({"cost": fields()["cost"] | {"test_s": 1.0}}, "test_s is 1.0, where the rest gives None"),
        ({"dataset": fields()["dataset"] | {"rows": {}}}, "steps is 156, where the rest gives 0"),
        ({"started": "2025-01-02T00:00:00Z", "ended": "2025-01-01T00:00:00Z"}, "before started"),
    ],
)
def test_a_record_that_does_not_agree_with_itself_is_refused(changes, said):
    with pytest.raises(ValidationError, match=re.escape(said)):
        Record(**fields(**changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("numerical_rank", 5),
        ("effective_rank", 3.9),
        ("frobenius_norm", 1.99),
        ("spectral_norm", 1.01),
        ("singular_values", [1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0]),
        ("singular_values", [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
        ("shape", [9, 9]),
    ],
)
def test_ranks_follow_from_the_spectrum(field, value):
    rank = ranked(2, 4, width=8).model_dump()
    assert Rank(**rank)
    with pytest.raises(ValidationError, match="where the rest gives"):
        MatrixRank(**rank["matrices"][0] | {field: value})
    for part, wrong in {"count": 3, "numerical_rank": {"min": 4, "median": 4, "max": 5}}.items():
        with pytest.raises(ValidationError, match="summary is"):
            Rank(**rank | {"summary": rank["summary"] | {part: wrong}})


def test_a_record_belongs_to_one_path(tmp_path):
    good, failed = Record(**fields()), Record(**fields(status="failed", error="it broke"))
    (path,) = leave(tmp_path, good)
    assert path.with_suffix(".failed.json") == leave(tmp_path, failed)[0]
    shutil.copy(path.with_suffix(".failed.json"), path)
    with pytest.raises(RecordError, match=rf"{path.name}: holds what belongs to .*\.failed\.json"):
        records.read(path)
    other = leave(tmp_path, good)[0].rename(path.with_name(path.name.replace("seed0", "seed1")))
    with pytest.raises(RecordError, match=r"seed1-.*: holds what belongs to glue_rte/roberta_base/fourierft/seed0-"):
        records.read(other)


def test_the_hash_sees_every_value_but_not_the_order_of_keys():
    assert config_hash({"a": 1, "b": {"c": 2, "d": 3}}) == config_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})
    assert config_hash({"a": 1}) == "015abd7f5cc5", "the hash of a config is for ever: records are found by it"


@pytest.fixture
def git(tmp_path):
    """git("init") runs git in tmp_path."""

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    return git


def test_the_commit_is_dirty_by_code_alone(git, tmp_path):
    assert records.commit(tmp_path) == (None, None), "no checkout"
    git("init")
    assert records.commit(tmp_path) == (None, None), "no commit yet"
    (tmp_path / "results").mkdir()
    for name in ("code.py", "results/table.md"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    sha, dirty = records.commit(tmp_path)
    assert len(sha) == 40
    assert dirty is False
    (tmp_path / "results" / "table.md").write_text("2")
    (tmp_path / "results" / "run.json").write_text("{}")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "log").write_text("")
    assert records.commit(tmp_path) == (sha, False), "results are no code"
    (tmp_path / "new.py").write_text("1")
    assert records.commit(tmp_path) == (sha, True)
    (tmp_path / "inner").mkdir()
    assert records.commit(tmp_path / "inner") == (None, None), "a folder inside another project"


@pytest.mark.parametrize(("state", "dirty"), [("clean", False), ("dirty", True)])
def test_a_copy_without_git_tells_the_commit_that_it_was_packed_from(tmp_path, monkeypatch, state, dirty):
    sha = "0123456789" * 4
    (tmp_path / "COMMIT").write_text(f"{sha} {state}\n")
    monkeypatch.setenv("PATH", "")  # a machine may have no git
    assert records.commit(tmp_path) == (sha, dirty)


@pytest.mark.parametrize("text", ["", "0" * 40, f"{'0' * 39} clean", f"{'0' * 40} new", f"{'0' * 40} clean\nx"])
def test_a_stamp_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "COMMIT").write_text(text)
    with pytest.raises(UserError, match=r"COMMIT: .* write it anew or remove it"):
        records.commit(tmp_path)


def test_a_stamp_says_nothing_in_a_checkout(git, tmp_path):
    (tmp_path / "COMMIT").write_text(f"{'0' * 40} clean")
    (tmp_path / ".git").mkdir()
    assert records.commit(tmp_path) == (None, None), "git can tell nothing of it"
    (tmp_path / ".git").rmdir()
    git("init")
    (tmp_path / ".gitignore").write_text("COMMIT\n")
    (tmp_path / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    sha, dirty = records.commit(tmp_path)
    assert sha != "0" * 40 and dirty is False
    (tmp_path / "code.py").write_text("2")
    assert records.commit(tmp_path) == (sha, True)


def test_a_process_runs_the_code_that_it_read_first(monkeypatch):
    commits = iter([("a" * 40, False), ("b" * 40, False)])
    monkeypatch.setattr(records.machine, "commit", lambda: next(commits))
    records.machine._commit_of_process.cache_clear()
    assert [records.provenance()["commit"] for _ in range(2)] == ["a" * 40] * 2
    records.machine._commit_of_process.cache_clear()


def test_a_gpu_is_told_of_a_run_that_used_it_alone(monkeypatch):
    gpu = types.SimpleNamespace(name="A GPU", total_memory=2**34)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: gpu if index == 1 else None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 7)
    described = {device: records.machine.Hardware(**records.hardware(device)) for device in ("cpu", "cuda")}
    assert (described["cuda"].device, described["cuda"].gpu, described["cuda"].gpus) == ("cuda", "A GPU", 2)
    assert (described["cpu"].device, described["cpu"].gpu, described["cpu"].gpus) == ("cpu", None, 0)
    assert memory.peak("cuda") == 7 and memory.peak("cpu") > 2**20
    for call in ("set_device", "reset_peak_memory_stats"):  # neither is to be called for a run on the CPU
        monkeypatch.setattr(torch.cuda, call, lambda *_: pytest.fail("the GPU was touched"))
    processes.take_device("cpu")
    memory.start_peak("cpu")


def test_the_machine_is_described():
    machine = records.hardware("cpu")
    assert machine["cores"] >= 1
    assert machine["memory_bytes"] > 2**28
    assert machine["cpu"].endswith(f" ({torch.backends.cpu.get_cpu_capability()})")
    assert records.versions()["torch"] == torch.__version__.partition("+")[0]


@pytest.mark.parametrize("part", ["rows", "skipped"])
def test_a_split_by_another_name_is_refused(part):
    good = run().model_dump(mode="json", by_alias=True)
    damaged = good | {"dataset": good["dataset"] | {part: {" validation": 20, "train": 54}}}
    with pytest.raises(ValidationError, match=rf"dataset\.{part}"):
        Record.model_validate(damaged)
