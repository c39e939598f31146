"""The searches behind the records: which one found the rates of a run, and whether it ended at an edge.

The best of a truncated search may lie beyond it, so that the run's score is a lower bound: tables mark it, and what
rests on it cannot tell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.composing import value
from experiments.record import Record, find
from experiments.report.aggregate import PAPERS
from experiments.trials import Edges, Trials


@dataclass(frozen=True)
class Searches:
    """All searches that are known."""

    found: Sequence[Trials] = ()

    @classmethod
    def read(cls, search: Path, studies: Path) -> "Searches":
        """Those of `scripts.search` in the folder `search`, and those of each study in `studies`."""
        return cls([one for folder in (search, *sorted(studies.glob("*/search"))) for one in find(folder, Trials)])

    def edges(self, run: Record) -> Edges:
        """The searched keys at whose edge the search behind a run ended; none without such a search."""
        search = self.behind(run)
        return {key: end for key, end in search.edges.items() if key in _rates(run, search)} if search else {}

    def behind(self, run: Record) -> Trials | None:
        """The search that found the rates of a run, if there is one.

        It is one on the run's experiment or task, model and method, whose settings are the run's and whose best trial
        has the run's rates; of several the one with the most settings.
        """
        fitting = [one for one in self.found if _is_behind(run, one)]
        return max(fitting, key=lambda one: len(list(_settings(one))), default=None)


def _is_behind(run: Record, search: Trials) -> bool:
    """Whether a run's rates may have been found by this search."""
    place = search.experiment in (run.exp, run.task) and (search.model, search.method) == (run.model.name, run.method)
    return (
        place
        and all(_setting(run, key) == value for key, value in _settings(search))
        and all(run.configured(key) == value for key, value in _rates(run, search).items())
    )


def _rates(run: Record, search: Trials) -> dict[str, float]:
    """The best point, without the rate of a head where the run has none."""
    headless = run.params is not None and not run.params.head
    return {key: value for key, value in search.point.items() if not (headless and key == "recipe.head_lr")}


def _settings(search: Trials) -> Iterator[tuple[str, Any]]:
    """The settings of the method that a search was asked for; not those that follow from others."""
    for override in search.overrides:
        if override.startswith("method.") and "$" not in override:
            yield override.partition("=")[0], value(override)


def _setting(run: Record, key: str) -> Any:
    """A setting of the run's method; of one that the record lacks, the paper's value."""
    value = run.configured(key)
    return PAPERS.get(key.removeprefix("method.")) if value is None else value
