"""The style of all figures, and saving them: atomically, and the same figure as the same bytes."""

import io
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.record import replace_file

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = "os^Dv<>"
WIDTH = 7.0  # inches: the text of a page
KINDS = ("pdf", "png")
# Metadata that would differ between two writings.
NOTHING = {"pdf": dict.fromkeys(["Creator", "Producer", "CreationDate"]), "png": {"Software": None}}


def line_style(index: int) -> dict[str, Any]:
    """Colour and marker of the index-th line; all pairs among the first 49 differ."""
    shift = index // len(COLOURS)
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[(index + shift) % len(MARKERS)], "markersize": 5}


def blank(height: float, width: float = WIDTH) -> Figure:
    """An empty figure; height and width in inches."""
    figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(titles: Sequence[str], height: float = 2.6, across: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a page with one panel per title, at most `across` per row, each `height` inches high."""
    columns = min(across, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = blank(height * rows + 0.5, WIDTH if columns > 1 else 0.62 * WIDTH)
    drawn = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes, title in zip(drawn, titles, strict=False):
        tidy(axes)
        axes.set_title(title, fontsize=8)
    for axes in drawn[len(titles) :]:
        axes.remove()
    return figure, drawn[: len(titles)]


def tidy(axes: Axes) -> None:
    """Leave two spines, draw a light grid behind the data, and shrink the ticks' labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7)


def course(
    axes: Axes,
    points: Mapping[float, Sequence[float]],
    index: int,
    middle: Callable[[Sequence[float]], float] = statistics.median,
    ends: tuple[Callable, Callable] | None = (min, max),
    **line: Any,
) -> Line2D:
    """Draw x -> values: a line through their middles, and a band between their lower and upper ends if there are any.

    middle, ends: functions of the values at one x.
    """
    style, values = line_style(index), list(points.values())
    (drawn,) = axes.plot(list(points), list(map(middle, values)), **{"linewidth": 1.4, **style, **line})
    if ends:
        bounds = (list(map(end, values)) for end in ends)
        axes.fill_between(list(points), *bounds, color=style["color"], alpha=0.18, linewidth=0)
    return drawn


def legend(figure: Figure, handles: Iterable[Artist], labels: Iterable[str], columns: int, title: str = "") -> None:
    """Add one legend below all panels. title: what the marks mean."""
    figure.legend(
        list(handles),
        list(labels),
        title=title or None,
        title_fontsize=6.5,
        fontsize=7,
        loc="outside lower center",
        ncols=max(1, columns),
        frameon=False,
    )


def short(value: float) -> str:
    """1000 as 1k, 1000000 as 1M, and so on."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def save(figure: Figure, path: Path) -> Path:
    """Write the figure in the format of the suffix, png or pdf; returns the path. Raises RecordError."""
    kind, file = path.suffix.removeprefix("."), io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42}):  # text stays text, in any journal's checker
        figure.savefig(file, format=kind, metadata=NOTHING[kind])
    replace_file(path, file.getvalue())
    return path


def save_all(figure: Figure, out: Path, stem: str) -> list[Path]:
    """Write the figure as OUT/STEM.pdf and OUT/STEM.png; returns the paths. Raises RecordError."""
    return [save(figure, out / f"{stem}.{kind}") for kind in KINDS]
