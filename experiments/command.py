"""A command: its options, how it tells what is wrong, and how it ends."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from experiments import work
from experiments.errors import UserError
from experiments.interrupts import stoppable
from experiments.record import ROOT, left_out, usable_cores
from experiments.results import FOLDERS, Results
from experiments.typed import user_path
from fourierft import FourierError


class Command(argparse.ArgumentParser):
    """What `python -m scripts.<name>` does: `work`, with the options added here; its help is the module's docstring."""

    def __init__(self, name: str, text: str | None, work: Callable[[argparse.Namespace], int | None]):
        super().__init__(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.name, self.work = name, work

    def add_results(self, *names: str, out: str | None = None) -> None:
        """Add an option for each of these folders of results, and --out for the one named `out`, if any."""
        for name, folder in (*zip(names, names, strict=True), *([("out", out)] if out else [])):
            about = f"{FOLDERS[folder]} (default: %(default)s)"
            self.add_argument(f"--{name}", type=Path, default=Results()[folder], metavar="FOLDER", help=about)

    def add_assets(self) -> None:
        """Add --assets, the folder of models/ and datasets/; by default what FOURIERFT_ASSETS names."""
        about = "has models/ and datasets/ (default: FOURIERFT_ASSETS)"
        self.add_argument("--assets", type=user_path, metavar="FOLDER", help=about)

    def add_jobs(self) -> None:
        """Add --jobs and --cluster, for a command whose runs several processes can carry out."""
        about = "processes that share the runs: each with a GPU, or a part of the cores (default: 1; a cluster's own)"
        self.add_argument("--jobs", type=int, metavar="N", help=about)
        self.add_cluster()

    def add_cluster(self) -> None:
        """Add --cluster, for a command that a machine of a cluster can carry out."""
        self.add_argument("--cluster", metavar="SITE", help="carry it out there, by configs/cluster/SITE.yaml")

    @property
    def words(self) -> list[str]:
        """What Python is called with."""
        return [str(ROOT / "run.py")] if self.name == "run" else ["-m", f"scripts.{self.name}"]

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Do the work with the options in `arguments` (default: the command line's); returns the exit code.

        2 after a UserError or a FourierError, or where a record was left out, each told in one message on stderr; 1
        where a worker failed; else what `work` returns, where None is 0.
        """
        arguments = sys.argv[1:] if arguments is None else arguments
        options, code = self.parse_intermixed_args(arguments), None
        if getattr(options, "assets", "") is None and (root := os.environ.get("FOURIERFT_ASSETS")):
            options.assets = user_path(root)
        with left_out() as problems:
            try:
                if not self._delegated(options, arguments):
                    code = self.work(options)
            except (UserError, FourierError) as error:
                problems.append(str(error))
            except work.FailedMeanwhile as error:
                sys.stderr.write(f"{self.name}: {error}\n")
                code = 1
        sys.stderr.writelines(f"{self.name}: {problem}\n" for problem in problems)
        return 2 if problems else code or 0

    def _delegated(self, options: argparse.Namespace, arguments: Sequence[str]) -> bool:
        """Start the workers that are asked for; whether they are all that there is to do. Raises UserError."""
        jobs, site = getattr(options, "jobs", 1), getattr(options, "cluster", None)
        if jobs is not None and jobs < 1:
            raise UserError(f"--jobs {jobs}: want a number of processes, 1 or more")
        if work.is_worker() or getattr(options, "plan", False) or getattr(options, "cfg", None):
            return False  # to tell what there is to do takes one process
        if site:
            from experiments import cluster  # and omegaconf, which most commands do without

            cluster.submit(cluster.read_site(site), cluster.Worker((self.name, *arguments)), jobs)
        elif jobs and jobs > 1:
            work.beside(jobs, [*self.words, *arguments], usable_cores())
        return bool(site)

    def start(self) -> NoReturn:
        """Be the process of a command that can be interrupted, and goes on when it is called again."""
        with stoppable(self.name):
            sys.exit(self())
