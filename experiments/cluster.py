"""Workers on a cluster, by submitit: each carries out the same command of the suite, and takes the runs that are free.

A site is a page of configs/cluster/. What a worker does when it is stopped and started again needs no code here: a run
that has its record is not repeated, one that was interrupted goes on from its checkpoint, and a lock ends with its
process.
"""

import importlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveInt, ValidationError

from experiments.errors import UserError
from experiments.recipes import CONFIGS
from experiments.typed import Typed, faults
from experiments.work import SINCE, WORKER, FailedMeanwhile
from experiments.yaml_files import read_yaml

SITES = CONFIGS / "cluster"


class Site(Typed):
    """A page of configs/cluster/; slurm.yaml there says what each key means."""

    executor: Literal["slurm", "local"]
    workers: PositiveInt
    folder: Path
    timeouts: PositiveInt
    parameters: dict[str, Any]


def read_site(name: str) -> Site:
    """The page of a site. Raises UserError where there is none, or it is wrong."""
    file = SITES / f"{name}.yaml"
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in SITES.glob("*.yaml")))
        raise UserError(f"{name}: no configs/cluster/{name}.yaml; there are {there}: copy slurm.yaml and fill it in")
    try:
        return Site.model_validate(read_yaml(file))
    except ValidationError as error:
        raise UserError(f"{file}: not a site's page ({faults(error)})") from error


@dataclass(frozen=True)
class Worker:
    """What a job of the cluster does. words: a command of the suite and its arguments; since: when it was given."""

    words: tuple[str, ...]
    since: float = field(default_factory=time.time)

    def __call__(self) -> None:
        """Carry out the command. Raises RuntimeError where that fails, which the cluster shows as a failed job."""
        os.environ |= {SINCE: str(self.since), WORKER: "of a cluster"}
        name, *arguments = self.words
        command = importlib.import_module("run" if name == "run" else f"scripts.{name}").main
        if code := command(arguments):
            raise RuntimeError(f"{' '.join(self.words)} ended with code {code}; see above")

    def checkpoint(self) -> Any:
        """What submitit starts in place of a job that it has stopped: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(site: Site, worker: Worker, count: int | None = None) -> list[Any]:
    """Start workers, by default the site's number, and say where their logs are; returns submitit's jobs.

    Processes of this machine are waited for. Raises UserError where the cluster or a parameter is not known, and
    FailedMeanwhile where one of these processes failed.
    """
    try:
        import submitit
    except ImportError as error:
        raise UserError("--cluster needs submitit: pip install 'fourierft[slurm]'") from error
    given = {key: value for key, value in site.parameters.items() if value is not None}
    try:
        executor = submitit.AutoExecutor(site.folder, cluster=site.executor, slurm_max_num_timeout=site.timeouts)
        executor.update_parameters(name=f"fourierft-{worker.words[0]}", **given)
        with executor.batch():  # one array
            jobs = [executor.submit(worker) for _ in range(count or site.workers)]
    except (RuntimeError, submitit.core.utils.FailedJobError) as error:
        raise UserError(
            f"--cluster: {error}; give the command on a machine of the cluster, with its options"
        ) from error
    except (NameError, TypeError, ValueError) as error:
        raise UserError(f"--cluster, parameters: {error}") from error
    print(f"{len(jobs)} workers:", *(f"  {job.job_id}: {job.paths.stdout}" for job in jobs), sep="\n", flush=True)
    if site.executor == "local":
        for job in jobs:
            job.wait()
        if failed := [job.job_id for job in jobs if job.exception()]:
            raise FailedMeanwhile(f"{len(failed)} of {len(jobs)} workers failed, see their logs: {', '.join(failed)}")
    return jobs
