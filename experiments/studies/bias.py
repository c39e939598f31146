"""Frequency bias (Figures 3 and 5): positions drawn from a Gaussian band-pass against positions drawn uniformly."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.record import Record
from experiments.report.render import signed
from experiments.report.verdicts import Claim
from experiments.studies import drawing, measures
from experiments.studies.sweep import Finding, Sweep, grouped
from fourierft import band_log_probability

CENTRES, WIDTH, SIDE = (0, 100, 200, 350, 480), 200, 768  # of the paper's Figure 3, in bins
TASKS = 4  # of its Figure 5
NO_BIAS = "no bias"


class Bias(Sweep):
    """The score against the favoured central frequency, beside no bias."""

    name = "bias"
    title = "Frequency bias (Figure 5)"
    settings = 7
    labels = ("Centre", "Width")
    notes = (
        measures.NOTE,
        "Centre and width are distances to the zero frequency in bins (Equation 5); every band has the rates of no "
        "bias, as in the paper.",
    )

    def groups(self, records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
        bands, unbiased = _bands(records)
        none = {(NO_BIAS, ""): unbiased} if unbiased else {}
        return none | {(f"{centre:g}", f"{width:g}"): runs for (centre, width), runs in bands.items()}

    def draw(self, axes: Axes, records: Sequence[Record]) -> None:
        bands, unbiased = _bands(records)
        drawing.lines(axes, {"favoured band": {centre: measures.scores(runs) for (centre, _), runs in bands.items()}})
        if unbiased:
            drawing.level(axes, NO_BIAS, measures.scores(unbiased), 1)
        axes.set_xlabel("favoured central frequency (bins)", fontsize=8)

    def figures(self, records: Sequence[Record]) -> dict[str, Figure]:
        return {**super().figures(records), "maps": maps()}

    def claims(self, folder: Path) -> list[Claim]:
        return [
            self.claim(
                folder,
                "Frequency bias",
                "No bias beats most favoured bands (Figure 5).",
                lambda records: _compare(records, _most_are_below),
                TASKS,
            ),
            self.claim(
                folder,
                "Best frequency",
                "For every task some favoured band beats no bias (Figure 5).",
                lambda records: _compare(records, _one_is_above),
                TASKS,
            ),
        ]


def maps() -> Figure:
    """Figure 3: the probability of each position under Equation 5, the zero frequency in the middle."""
    figure, panels = drawing.panels([f"centre {centre}" for centre in CENTRES], height=1.7, across=len(CENTRES))
    for axes, centre in zip(panels, CENTRES, strict=True):
        probability = (
            band_log_probability((SIDE, SIDE), centre, WIDTH).exp().roll((SIDE // 2, SIDE // 2), (0, 1)).numpy()
        )
        half = SIDE // 2
        image = axes.imshow(probability, cmap="cividis", vmin=0, vmax=1, extent=(-half, half, half, -half))
        axes.set_xticks([-half, 0, half])
        axes.set_yticks([-half, 0, half], [] if centre else None)
        axes.grid(visible=False)
        axes.set_xlabel("v (bins)", fontsize=7)
    panels[0].set_ylabel("u (bins)", fontsize=7)
    bar = figure.colorbar(image, ax=panels, shrink=0.7, pad=0.01)
    bar.ax.tick_params(labelsize=6)
    bar.set_label("probability / largest", fontsize=7)
    figure.suptitle(f"Equation 5, {SIDE} × {SIDE}, width {WIDTH} bins", fontsize=9)
    return figure


def _bands(records: Sequence[Record]) -> tuple[dict[tuple[float, float], list[Record]], list[Record]]:
    """The runs by (centre, width), and those without a bias."""
    banded = [record for record in records if record.config["method"].get("band")]
    unbiased = [record for record in records if not record.config["method"].get("band")]
    return grouped(banded, lambda record: tuple(record.config["method"]["band"])), unbiased


def _compare(records: Sequence[Record], holds: Callable[[list[bool | None]], bool | None]) -> Finding | None:
    """The bands against no bias. `holds`: of whether each is above it, below, or neither."""
    bands, unbiased = _bands(records)
    if not bands or not unbiased:
        return None
    found = {centre: measures.compare(runs, unbiased, len(bands)) for (centre, _), runs in bands.items()}
    best = max(found, key=lambda centre: found[centre][0])
    below = sum(gap < 0 for gap, _ in found.values())
    said = f"{below} of {len(found)} bands below no bias; the best, centre {best:g}, {signed(found[best][0])} points"
    return Finding(said, holds([above for _, above in found.values()]))


def _most_are_below(bands: list[bool | None]) -> bool | None:
    return True if bands.count(False) > len(bands) / 2 else False if bands.count(True) >= len(bands) / 2 else None


def _one_is_above(bands: list[bool | None]) -> bool | None:
    return True if True in bands else None if None in bands else False
