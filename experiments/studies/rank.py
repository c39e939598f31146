"""Rank of delta_W (the project page, on RTE): FourierFT against LoRA, its relatives and full fine-tuning.

A high rank may be learnt or given. So the ranks of every trained FourierFT stand beside those of the same adapter
before training, and beside what the construction gives for every n (`construction.py`).
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from experiments.measure.rank import EPS, by_kind
from experiments.record import MatrixRank, Record
from experiments.report.paper import LORA_NAMES
from experiments.report.pareto import look
from experiments.report.render import Table, number
from experiments.report.verdicts import Claim
from experiments.studies import drawing
from experiments.studies.base import Report
from experiments.studies.construction import DRAWS, WIDTH, Constructions
from experiments.studies.sweep import Finding, Sweep, by_task, grouped

ORDER = ("fourierft", *LORA_NAMES, "dylora", "adalora", "full")  # of rows and colours; others follow by name
OURS = "fourierft"
STYLES = ("solid", "dashed", "dotted", "dashdot")  # of the kinds of matrices
# What a row tells of a matrix, with its decimals; the first two are drawn.
MEASURES: dict[str, tuple[Callable[[MatrixRank], float], int]] = {
    "Numerical rank": (lambda matrix: matrix.numerical_rank, 1),
    "Effective rank": (lambda matrix: matrix.effective_rank, 1),
    "Frobenius norm": (lambda matrix: matrix.frobenius_norm, 2),
    "Largest singular value": (lambda matrix: matrix.spectral_norm, 3),
}
RANKS = list(MEASURES)[:2]


class RankOfDelta(Sweep):
    """What training and what the construction have to do with the rank of delta_W."""

    name = "rank"
    title = "Rank of ΔW"
    settings = 10  # five methods, queries and values
    labels = ("Method", "Matrices")
    header = ("Count", "Full rank", *MEASURES)
    notes = (
        "Median over the matrices and seeds, lowest to highest in brackets. Numerical rank: singular values above "
        "max(out, in) · ε(float32) · the largest. Effective rank: exp of the entropy of the singular values over their "
        "sum; the less of the full rank, the more a few directions hold.",
        f"Before training: FourierFT with the run's n, positions and scale, coefficients drawn {DRAWS} times. ΔW of "
        "the other methods starts from zero.",
        f"By n: coefficients from N(0, 1) at the paper's positions, {WIDTH} × {WIDTH}, no training. The rank is at "
        f"most 2n and at most {WIDTH}, for each coefficient adds a cosine of rank 2.",
    )

    def run(
        self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)
    ) -> list[str]:
        failed = super().run(scale, folder, overrides, share)
        self.constructions(folder).complete(self.records(folder))
        return failed

    def records(self, folder: Path) -> list[Record]:
        """Those of `Sweep.records` whose ranks were analysed."""
        return [record for record in super().records(folder) if record.rank]

    def constructions(self, folder: Path) -> Constructions:
        """delta_W before training, of all that the study has."""
        return Constructions(folder / "constructions")

    def reports(self, folder: Path) -> list[Report]:
        built = self.constructions(folder)
        return [
            Report(
                scale,
                [*self.tables(own), *_trained(own, built), *_by_n(built)],
                self.all_notes(folder, scale),
                {**self.figures(own, built), **_curve(built)},
            )
            for scale, own in self.by_scale(folder).items()
        ]

    def claims(self, folder: Path) -> list[Claim]:
        built = self.constructions(folder)
        claim = self.claim(
            folder,
            "Rank, learnt or given",
            "Does training raise the rank of FourierFT's ΔW above what the construction gives?",
            lambda records: _is_raised(records, built),
            question=True,
        )
        ranks = [f"{one.summary.numerical_rank.median:g} for n={n:,}" for n, one in built.curve().items()]
        told = f"the construction gives it: before any training, at {WIDTH} × {WIDTH}, {', '.join(ranks)}"
        return [replace(claim, measured=(*claim.measured, *([told] if ranks else [])))]

    def groups(self, records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
        return {(method, kind): runs for method, runs in _methods(records).items() for kind in by_kind(runs[0].rank)}

    def tables(self, records: Sequence[Record]) -> list[Table]:
        """One a model and task: a row a method and kind of matrix."""
        return [
            Table(
                _name(own),
                [*self.labels, *self.header],
                [[*labels, *_cells(_matrices(runs, kind=labels[1]))] for labels, runs in self.groups(own).items()],
            )
            for own in by_task(records).values()
        ]

    def figures(self, records: Sequence[Record], built: Constructions | None = None) -> dict[str, Figure]:
        """A row a model and task: the spectra, FourierFT's before training among them, and both ranks by layer."""
        parts = list(by_task(records).values())
        figure, panels = drawing.panels([_name(own) for own in parts for _ in range(1 + len(RANKS))])
        left = iter(panels)
        for own in parts:
            self.draw(axes := next(left), own)
            if start := _before(own, built) if built else []:
                axes.plot(*_spectrum(start)[:2], color="black", linestyle="dashed", label="fourierft, before training")
            for name in RANKS:
                _draw_layers(next(left), own, name)
        kinds = zip(dict.fromkeys(kind for run in records for kind in by_kind(run.rank)), STYLES, strict=False)
        named = ", ".join(f"{kind} {style}" for kind, style in kinds)
        text = f"spectra: median and range over matrices and seeds; ranks: median over seeds, {named}"
        drawing.caption(figure, panels[0], text)
        return {"": figure}

    def draw(self, axes: Axes, records: Sequence[Record]) -> None:
        """The spectra, each over its largest value."""
        for index, (method, runs) in enumerate(_methods(records).items()):
            _draw_spectra(axes, method, _matrices(runs), index)
        floor = EPS * max(max(matrix.shape) for matrix in _matrices(records))
        axes.axhline(floor, color="0.4", linestyle=":", linewidth=1)
        axes.set(xscale="log", yscale="log", ylim=(floor / 10, 2))
        axes.set_xlabel("index of the singular value", fontsize=8)
        axes.set_ylabel("singular value / largest", fontsize=8)


def _methods(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The runs by method, in ORDER."""
    found = grouped(records, lambda record: record.method)
    return dict(sorted(found.items(), key=lambda pair: ORDER.index(pair[0]) if pair[0] in ORDER else len(ORDER)))


def _name(records: Sequence[Record]) -> str:
    return f"{records[0].model.name} on {records[0].task}"


def _matrices(records: Iterable[Record], kind: str | None = None) -> list[MatrixRank]:
    """Of all runs; of one kind only, if given: the last name of the module path."""
    found = [by_kind(record.rank) for record in records]
    return [matrix for kinds in found for name in kinds if kind in (None, name) for _, matrix in kinds[name]]


def _cells(matrices: Sequence[MatrixRank]) -> list[str]:
    """The cells below `RankOfDelta.header`."""
    full = sorted({min(matrix.shape) for matrix in matrices})
    return [str(len(matrices)), "–".join(map(str, full)), *(_told(matrices, name) for name in MEASURES)]


def _told(matrices: Sequence[MatrixRank], name: str) -> str:
    """Median (lowest to highest) of one of MEASURES."""
    value, digits = MEASURES[name]
    values = [value(matrix) for matrix in matrices]
    middle, *ends = (number(one, digits) for one in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({'–'.join(ends)})"


def _trained(records: Sequence[Record], built: Constructions) -> list[Table]:
    """FourierFT before and after training, a pair of rows a model and task; none where the start was not measured."""
    rows = []
    for own in by_task(records).values():
        runs = [run for run in own if run.method == OURS]
        if start := _before(runs, built):
            rows.append([_name(own), "before training", *_cells(start)])
            rows.append([_name(own), "trained", *_cells(_matrices(runs))])
    header = ["Model and task", "FourierFT", *RankOfDelta.header]
    return [Table("What training adds", header, rows)] if rows else []


def _before(runs: Iterable[Record], built: Constructions) -> list[MatrixRank]:
    """The starts of FourierFT runs, those that runs have in common once."""
    found = {id(one): one for run in runs for one in built.before(run)}
    return [matrix for one in found.values() for matrix in one.rank.matrices]


def _by_n(built: Constructions) -> list[Table]:
    rows = [[f"{n:,}", *_cells(ranks.matrices)] for n, ranks in built.curve().items()]
    return [Table(f"By n, {WIDTH} × {WIDTH}, before training", ["n", *RankOfDelta.header], rows)] if rows else []


def _is_raised(records: Sequence[Record], built: Constructions) -> Finding | None:
    """FourierFT's numerical rank, median over the matrices: raised if it is above the highest before training, not
    raised if it is not above the median of those. The other methods' are told."""
    methods = _methods(records)
    start = _before(methods.get(OURS, ()), built)
    if not start:
        return None
    highest = max(matrix.numerical_rank for matrix in start)
    before, after = (
        [statistics.median(value(matrix) for matrix in matrices) for value, _ in map(MEASURES.get, RANKS)]
        for matrices in (start, _matrices(methods[OURS]))
    )
    others = [
        f"{method} {statistics.median(run.rank.summary.numerical_rank.median for run in runs):.4g}"
        for method, runs in methods.items()
        if method != OURS
    ]
    told = (
        f"numerical rank {before[0]:g} before training, {after[0]:g} after; effective {before[1]:.1f}, {after[1]:.1f}"
    )
    raised = True if after[0] > highest else False if after[0] <= before[0] else None
    return Finding("; ".join([told, *([f"after it {', '.join(others)}"] if others else [])]), raised)


def _draw_spectra(axes: Axes, label: str, matrices: Sequence[MatrixRank], index: int) -> None:
    places, middles, ends = _spectrum(matrices)
    axes.plot(places, middles, label=label, linewidth=1.4, markevery=0.2, **look(index))
    axes.fill_between(places, *ends, color=look(index)["color"], alpha=0.18, linewidth=0)


def _spectrum(matrices: Sequence[MatrixRank]) -> tuple[Sequence[int], list[float], tuple[list[float], list[float]]]:
    """Index, median over the matrices of that singular value over the largest, and its ends, lowest and highest.

    A zero matrix has no spectrum; the smallest matrix gives the length.
    """
    spectra = [
        [value / matrix.singular_values[0] or math.nan for value in matrix.singular_values]
        for matrix in matrices
        if matrix.spectral_norm > 0
    ]
    columns = list(zip(*spectra, strict=False))
    ends = [min(column) for column in columns], [max(column) for column in columns]
    return range(1, len(columns) + 1), [statistics.median(column) for column in columns], ends


def _draw_layers(axes: Axes, records: Sequence[Record], name: str) -> None:
    """One of MEASURES by layer: the median over the seeds, a line a method and kind of matrix."""
    value, _ = MEASURES[name]
    for index, runs in enumerate(_methods(records).values()):
        for kind, style in zip(by_kind(runs[0].rank), STYLES, strict=False):
            layers: dict[int, list[float]] = defaultdict(list)
            for run in runs:
                for layer, matrix in by_kind(run.rank).get(kind, ()):
                    layers[layer].append(value(matrix))
            middles = [statistics.median(values) for values in layers.values()]
            axes.plot(list(layers), middles, linestyle=style, linewidth=1.2, **look(index) | {"markersize": 3.5})
    axes.set_yscale("symlog", linthresh=1, linscale=0.4)  # AdaLoRA may leave a matrix of rank 0
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("layer", fontsize=8)
    axes.set_ylabel(name.lower(), fontsize=8)


def _curve(built: Constructions) -> dict[str, Figure]:
    """Both ranks against n, without training, and the bound on them."""
    curve = built.curve()
    if not curve:
        return {}
    figure, [axes] = drawing.panels([f"ΔW before training, {WIDTH} × {WIDTH}"])
    series = {
        name.lower(): {n: [value(matrix) for matrix in ranks.matrices] for n, ranks in curve.items()}
        for name, (value, _) in ((name, MEASURES[name]) for name in RANKS)
    }
    drawing.lines(axes, series, log=True)
    all_n = range(min(curve), max(curve) + 1)
    axes.plot(all_n, [min(2 * n, WIDTH) for n in all_n], color="0.4", linestyle=":", label=f"bound: 2n, {WIDTH}")
    axes.set_xlabel("n", fontsize=8)
    axes.set_ylabel("rank", fontsize=8)
    axes.set_ylim(bottom=0)
    drawing.caption(figure, axes, f"median of {DRAWS} draws, band from the lowest to the highest")
    return {"by_n": figure}
