"""The study: ranks of the trained delta_W by method, of FourierFT's before training, and of the construction by n."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from experiments import style
from experiments.measure.rank import EPS, by_kind
from experiments.names import OURS, name
from experiments.paper.printed import LORA_NAMES
from experiments.record import MatrixRank, Rank, Record
from experiments.report.render import Table, number, span
from experiments.report.searches import Searches
from experiments.report.verdicts import Claim
from experiments.studies import views
from experiments.studies.measures import Groups
from experiments.studies.questions import Ask, Finding
from experiments.studies.rank.construction import DRAWS, WIDTH, Constructions
from experiments.studies.sweep import Sweep
from experiments.work import Ended, is_worker

ORDER = (OURS, *LORA_NAMES, "dylora", "adalora", "full")  # of rows and colours; others follow by name
STYLES = ("solid", "dashed", "dotted", "dashdot")  # of the kinds of matrices
# What a row tells of a matrix, with its decimals; the first two are drawn.
MEASURES: dict[str, tuple[Callable[[MatrixRank], float], int]] = {
    "Numerical rank": (lambda matrix: matrix.numerical_rank, 1),
    "Effective rank": (lambda matrix: matrix.effective_rank, 1),
    "Frobenius norm": (lambda matrix: matrix.frobenius_norm, 2),
    "Largest singular value": (lambda matrix: matrix.spectral_norm, 3),
}
RANKS = {name: MEASURES[name][0] for name in list(MEASURES)[:2]}
HEADER = ("Count", "Full rank", *MEASURES)
NOTES = (
    "Median over the matrices and seeds, lowest to highest in brackets. Numerical rank: singular values above "
    "max(out, in) · ε(float32) · the largest. Effective rank: exp of the entropy of the singular values over their "
    "sum; the less of the full rank, the more a few directions hold.",
    f"Before training: FourierFT with the run's n, positions and scale, coefficients drawn {DRAWS} times. ΔW of "
    "the other methods starts from zero.",
    f"By n: coefficients from N(0, 1) at the paper's positions, {WIDTH} × {WIDTH}, no training. The rank is at "
    f"most 2n and at most {WIDTH}, for each coefficient adds a cosine of rank 2.",
)


class RankOfDelta(Sweep):
    """How much of the rank of delta_W comes from training, and how much from the construction."""

    def __init__(self) -> None:
        super().__init__(
            name="rank",
            setting=lambda run: (run.method,),
            order=lambda setting: ORDER.index(setting[0]) if setting[0] in ORDER else len(ORDER),
            header=HEADER,
            view=views.by_epoch,
            notes=NOTES,
        )

    def run(self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)) -> Ended:
        ended = super().run(scale, folder, overrides, share)
        if not is_worker():
            self.constructions(folder).complete(self.records(folder))
        return ended

    def records(self, folder: Path) -> list[Record]:
        """Those of `Sweep.records` with an analysis of ranks."""
        return [record for record in super().records(folder) if record.rank]

    def searches(self, folder: Path) -> Searches:
        """None: what is asked is where a rank comes from, not how good a score is."""
        return Searches()

    def constructions(self, folder: Path) -> Constructions:
        """The study's measurements of delta_W before training."""
        return Constructions(folder / "constructions")

    def ask(self, name: str, folder: Path) -> Ask:
        built = self.constructions(folder)
        return lambda groups: _is_raised(groups, built)

    def claims(self, folder: Path) -> list[Claim]:
        [claim] = super().claims(folder)
        ranks = self.constructions(folder).curve().items()
        medians = ", ".join(f"{one.summary.numerical_rank.median:g} for n={n:,}" for n, one in ranks)
        told = f"the construction gives it: before any training, at {WIDTH} × {WIDTH}, {medians}"
        return [replace(claim, measured=(*claim.measured, *([told] if ranks else [])))]

    def tables(self, found: Sequence[Groups], folder: Path) -> list[Table]:
        """One table per model and task, with a row per method and kind of matrix; FourierFT before and after training,
        where the start was measured; the construction by n."""
        built, header = self.constructions(folder), [*self.file.labels, *HEADER]
        tables, pairs = [], []
        for groups in found:
            kinds = [(method, kind, runs) for (method,), runs in groups.items() for kind in by_kind(runs[0].rank)]
            lines = [[method, kind, *_cells(_matrices(runs, kind))] for method, kind, runs in kinds]
            tables.append(Table(groups.title, header, lines))
            runs = groups.get((OURS,), [])
            if start := built.before(runs):
                pairs.append([groups.title, "before training", *_cells(start)])
                pairs.append([groups.title, "trained", *_cells(_matrices(runs))])
        by_n = [[f"{n:,}", *_cells(ranks.matrices)] for n, ranks in built.curve().items()]
        tables.append(Table("What training adds", ["Model and task", "FourierFT", *HEADER], pairs))
        tables.append(Table(f"By n, {WIDTH} × {WIDTH}, before training", ["n", *HEADER], by_n))
        return [table for table in tables if table.rows]

    def shared(self, folder: Path) -> dict[str, Callable[[], Figure]]:
        """The construction by n."""
        curve = self.constructions(folder).curve()
        return {"by_n": partial(_by_n, curve)} if curve else {}

    def figure(self, found: Sequence[Groups], folder: Path) -> Figure:
        """A row of panels per model and task: the spectra, with FourierFT's before training, and both ranks by
        layer."""
        built = self.constructions(folder)
        figure, panels = style.panels([groups.heading for groups in found for _ in range(1 + len(RANKS))])
        left = iter(panels)
        for groups in found:
            _draw_spectra(axes := next(left), groups)
            if start := built.before(groups.get((OURS,), [])):
                line = {"color": "black", "linestyle": "dashed", "marker": ""}
                style.course(axes, _spectrum(start), 0, ends=None, label=f"{name(OURS)}, before training", **line)
            for rank in RANKS:
                _draw_layers(next(left), groups, rank)
        kinds = dict.fromkeys(kind for groups in found for run in groups.runs for kind in by_kind(run.rank))
        named = ", ".join(f"{kind} {line}" for kind, line in zip(kinds, STYLES, strict=False))
        text = f"spectra: median and range over matrices and seeds; ranks: median over seeds, {named}"
        views.caption(figure, panels, text)
        return figure


def _matrices(records: Iterable[Record], kind: str | None = None) -> list[MatrixRank]:
    """The matrices of all runs. kind: of this kind only, the last name of the module path."""
    found = [by_kind(record.rank) for record in records]
    return [matrix for kinds in found for name in kinds if kind in (None, name) for _, matrix in kinds[name]]


def _cells(matrices: Sequence[MatrixRank]) -> list[str]:
    """The cells below HEADER: count, full rank, and for each measure the median (lowest–highest)."""
    cells = [str(len(matrices)), span(min(matrix.shape) for matrix in matrices)]
    for value, digits in MEASURES.values():
        values = [value(matrix) for matrix in matrices]
        middle, *ends = (number(one, digits) for one in (statistics.median(values), min(values), max(values)))
        cells.append(f"{middle} ({'–'.join(ends)})")
    return cells


def _is_raised(groups: Groups, built: Constructions) -> Finding | None:
    """FourierFT's numerical rank, median over the matrices: raised if it is above the highest before training, not
    raised if it is at most the median of those. Other methods are reported only."""
    ours = groups.get((OURS,), [])
    start = built.before(ours)
    if not start:
        return None
    highest = max(matrix.numerical_rank for matrix in start)
    before, after = (
        [statistics.median(value(matrix) for matrix in matrices) for value in RANKS.values()]
        for matrices in (start, _matrices(ours))
    )
    others = [
        f"{method} {statistics.median(run.rank.summary.numerical_rank.median for run in runs):.4g}"
        for (method,), runs in groups.items()
        if method != OURS
    ]
    told = f"numerical rank {before[0]:g} before training, {after[0]:g} after; "
    told += f"effective {before[1]:.1f}, {after[1]:.1f}"
    raised = True if after[0] > highest else False if after[0] <= before[0] else None
    return Finding("; ".join([told, *([f"after it {', '.join(others)}"] if others else [])]), raised, [(OURS,)])


def _draw_spectra(axes: Axes, groups: Groups) -> None:
    """Draw the spectra, each divided by its largest value."""
    for index, ((method,), runs) in enumerate(groups.items()):
        style.course(axes, _spectrum(_matrices(runs)), index, label=name(method), markevery=0.2)
    floor = EPS * max(max(matrix.shape) for matrix in _matrices(groups.runs))
    axes.axhline(floor, color="0.4", linestyle=":", linewidth=1)
    axes.set(xscale="log", yscale="log", ylim=(floor / 10, 2))
    style.logarithmic(axes.xaxis)
    axes.set_xlabel("index of the singular value")
    axes.set_ylabel("singular value / largest")


def _spectrum(matrices: Sequence[MatrixRank]) -> dict[int, Sequence[float]]:
    """Index -> the singular value of each matrix, divided by its largest.

    A zero matrix has no spectrum; the smallest matrix gives the length.
    """
    spectra = [
        [value / matrix.singular_values[0] or math.nan for value in matrix.singular_values]
        for matrix in matrices
        if matrix.spectral_norm > 0
    ]
    return dict(enumerate(zip(*spectra, strict=False), start=1))


def _draw_layers(axes: Axes, groups: Groups, rank: str) -> None:
    """Draw one of RANKS by layer: the median over the seeds, a line per method and kind of matrix."""
    for index, ((method,), runs) in enumerate(groups.items()):
        for kind, line in zip(by_kind(runs[0].rank), STYLES, strict=False):
            layers: dict[int, list[float]] = defaultdict(list)
            for run in runs:
                for layer, matrix in by_kind(run.rank).get(kind, ()):
                    layers[layer].append(RANKS[rank](matrix))
            style.course(axes, layers, index, ends=None, linestyle=line, label=name(method) * (line == STYLES[0]))
    axes.set_yscale("symlog", linthresh=1, linscale=0.4)  # AdaLoRA may leave a matrix of rank 0
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("layer")
    axes.set_ylabel(rank.lower())


def _by_n(curve: Mapping[int, Rank]) -> Figure:
    """Draw both ranks against n, without training, and their bound."""
    figure, [axes] = style.panels([f"ΔW before training, {WIDTH} × {WIDTH}"])
    series = {
        name.lower(): {n: [value(matrix) for matrix in ranks.matrices] for n, ranks in curve.items()}
        for name, value in RANKS.items()
    }
    views.lines(axes, series, "n", log=True)
    all_n = range(min(curve), max(curve) + 1)
    axes.plot(all_n, [min(2 * n, WIDTH) for n in all_n], color="0.4", linestyle=":", label=f"bound: 2n, {WIDTH}")
    axes.set_ylabel("rank")
    axes.set_ylim(bottom=0)
    views.caption(figure, [axes], f"median of {DRAWS} draws, band: their range")
    return figure
