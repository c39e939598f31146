"""The study of the scale that carries over: the best rate by model and n, at scale=auto and in the paper's units.

Its measurements are searches: trials a factor of two apart until the best is inside (`experiments/search.py`).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments import style
from experiments.errors import UserError
from experiments.names import name
from experiments.record import find
from experiments.report.costs import Run
from experiments.report.page import Page
from experiments.report.render import Table, span
from experiments.report.verdicts import SCALES, Claim, Outcome
from experiments.studies import views
from experiments.studies.base import DeclaredStudy
from experiments.studies.plan import Overrides, StudyQuestion
from experiments.trials import Trials, averaged, edges, signs
from experiments.work import Ended, Task, carry_out
from fourierft import auto_movement, unit_movement

RATE = "recipe.lr"
FACTOR = 2.0  # the spread of rates that the question allows


@dataclass(frozen=True)
class Found:
    """The best rate of one model and n.

    matrices: their number. rate: at scale=auto. unit, auto: the movement at scale=1, and at scale=auto. marks: whether
    the rate is at an edge of those tried.
    """

    scale: str
    model: str
    task: str
    n: int
    matrices: int
    rate: float
    unit: float
    auto: float
    marks: str

    @property
    def raw(self) -> float:
        """The best rate times the scale that "auto" stands for; that at scale=1, since zeros were the start."""
        return self.rate * self.auto / self.unit

    @property
    def name(self) -> str:
        """The model, and the number of its matrices."""
        return f"{name(self.model)}, {self.matrices} matrices"


def found(trials: Trials, scale: str) -> Found:
    """What a search tells."""
    said = dict(override.split("=", 1) for override in trials.overrides)
    n, matrices = int(said["method.n"]), trials.matrices or []
    each = [((one.shape[0], one.shape[1]), n) for one in matrices for _ in range(one.count)]
    scores = {point[RATE]: point["score"] for point in averaged(trials.trials)}
    marks = signs(edges({RATE: highest(scores)}, trials.trials))
    movements = unit_movement(each), auto_movement(each)
    return Found(scale, trials.model, said["task"], n, len(each), vertex(scores), *movements, marks)


def highest(scores: dict[float, float]) -> float:
    """The rate with the highest score, of equals the lowest."""
    return max(sorted(scores), key=scores.__getitem__)


def vertex(scores: dict[float, float]) -> float:
    """The rate at the top of the parabola, over the logarithm of the rate, through the trial with the highest score and
    its neighbours; that trial's where it lacks one of them."""
    rates = sorted(scores)
    best = rates.index(highest(scores))
    if not 0 < best < len(rates) - 1:
        return rates[best]
    near = rates[best - 1 : best + 2]
    left, right = (math.log(rate / near[1]) for rate in (near[0], near[2]))
    below, above = ((scores[near[1]] - scores[rate]) for rate in (near[0], near[2]))
    # Through (left, -below), (0, 0), (right, -above): y = a x^2 + b x with its top at -b / 2a.
    a = (below / left - above / right) / (right - left)
    b = -below / left - a * left
    return near[1] * math.exp(-b / (2 * a)) if a else near[1]


class Transfer(DeclaredStudy):
    """Whether one rate suits every n and depth of a model, and every model."""

    name = "transfer"

    def run(self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)) -> Ended:
        """See `Study.run`. A trial that diverges is a result."""
        from experiments.studies.runs import best_point  # seconds to import, and not needed to read trials

        plan = self.file.plan(self.name, scale)

        def task(setting: Overrides, seed: str) -> Task:
            wanted = [*setting, *overrides, f"scale={scale}", seed]
            return Task(" ".join(setting), partial(best_point, plan.search, wanted, folder / "search"))

        return carry_out([task(setting, seeds[0]) for setting, seeds in plan.part(share)])

    def to_do(self, scale: str, folder: Path, *_: Any) -> dict[str, list[Run]]:
        """Raises UserError: it has no runs."""
        raise UserError(f"study {self.name} is made of searches alone: it has no plan; its trials stand in {folder}")

    def found(self, folder: Path) -> list[Found]:
        """The best rates, by scale, model, depth and n."""
        small = {model for model, _ in self.file.plan(self.name, "small").places}
        rows = [found(one, "small" if one.model in small else "mini") for one in find(folder / "search", Trials)]
        return sorted(rows, key=lambda one: (SCALES.index(one.scale), one.model, one.task, one.matrices, one.n))

    def pages(self, folder: Path) -> list[Page]:
        rows = self.found(folder)
        if not rows:
            return []
        expected = predicted(rows)
        lines = [
            [
                *(one.scale, one.model, one.task, str(one.matrices), f"{one.n:,}", f"{one.auto * one.rate:.2f}"),
                *(f"{one.raw:.3g}", f"{expected[one]:.3g}", f"{one.rate:.2f}{one.marks}"),
            ]
            for one in rows
        ]
        header = ["Scale", *self.file.labels, "Matrices", "n", "Movement", "Best rate × scale", "Predicted"]
        table = Table("The best rate by model and n", [*header, "Best rate at scale=auto"], lines)
        return [Page(self.key, self.title, [table], self.file.notes, figures={"": partial(draw, rows)})]

    def claims(self, folder: Path) -> list[Claim]:
        rows = self.found(folder)
        return [self.claim(question, rows) for question in self.file.questions]

    def claim(self, question: StudyQuestion, rows: Sequence[Found]) -> Claim:
        """Compare the best rates within each model, or within all of a scale, as the question asks."""
        groups: dict[tuple[str, str], list[Found]] = {}
        for one in rows:
            groups.setdefault((one.scale, one.model if question.ask == "one_model" else "all models"), []).append(one)
        measured, outcomes = [], []
        for (scale, where), own in groups.items():
            at_edge = any(one.marks for one in own)
            holds = None if at_edge else _spread(own, "rate") <= FACTOR
            measured.append(f"{scale}, {where}, {_told(own)}")
            outcomes.append(Outcome(scale, where, holds, at_edge=at_edge))
        told = (question.name, question.statement, tuple(measured), tuple(outcomes), (self.key,))
        return Claim(*told, question=True, counted="models" if question.ask == "one_model" else "comparison")


def _spread(rows: Sequence[Found], unit: str) -> float:
    """The highest best rate over the lowest, in that unit."""
    rates = [getattr(one, unit) for one in rows]
    return max(rates) / min(rates)


def _told(rows: Sequence[Found]) -> str:
    ends = span((one.rate for one in rows), ".2f", " to ")
    at_edge = sum(bool(one.marks) for one in rows)
    return (
        f"{len(rows)} settings: best rates {ends} at scale=auto, a factor of {_spread(rows, 'rate'):.1f}; "
        f"of rate × scale, a factor of {_spread(rows, 'raw'):.0f}"
    ) + f"; {at_edge} at the edge of those tried" * bool(at_edge)


def predicted(rows: Sequence[Found]) -> dict[Found, float]:
    """Rate times scale by the rule: with one rate at scale=auto for each model, the geometric mean of its best ones."""
    rates: dict[str, list[float]] = {}
    for one in rows:
        rates.setdefault(one.model, []).append(one.rate)
    return {one: statistics.geometric_mean(rates[one.model]) * one.auto / one.unit for one in rows}


def draw(rows: Sequence[Found]) -> Figure:
    """Best rates against n, a line per model: in the paper's units with the predictions, and at scale=auto; both axes
    span the same factor."""
    figure, (raw, auto) = style.panels(["rate × scale, the paper's units; dotted: predicted", "rate at scale=auto"])
    names, expected = dict.fromkeys(one.name for one in rows), predicted(rows)
    for axes, of in ((raw, lambda one: one.raw), (auto, lambda one: one.rate)):
        views.lines(axes, {line: {o.n: [of(o)] for o in rows if o.name == line} for line in names}, "n", log=True)
        axes.set_yscale("log")
        axes.set_ylabel("best learning rate")
    for index, line in enumerate(names):
        own = {one.n: expected[one] for one in rows if one.name == line}
        raw.plot(list(own), list(own.values()), linestyle="dotted", color=style.line_style(index)["color"])
    low, high = raw.get_ylim()
    centre = statistics.geometric_mean(one.rate for one in rows)
    auto.set_ylim(centre / math.sqrt(high / low), centre * math.sqrt(high / low))
    for axes in (raw, auto):
        style.logarithmic(axes.yaxis)
    handles, labels = auto.get_legend_handles_labels()
    style.legend(figure, handles, labels)
    return figure
