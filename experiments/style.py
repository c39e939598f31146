"""The style of all figures, and saving them: atomically, and the same figure as the same bytes.

A figure has the width that it is printed at, a column of a journal or a page, so that its text is 8 points there.
"""

import io
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.record import replace_file

COLUMN, PAGE = 3.25, 6.75  # inches: the text of one column, and of the page across two
HEIGHT = 2.4  # inches: of a panel
SIZE = 8  # points: all text
# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = "os^Dv<>"
KINDS = ("pdf", "png")
# Metadata that would differ between two writings.
NOTHING = {"pdf": dict.fromkeys(["Creator", "Producer", "CreationDate"]), "png": {"Software": None}}

# Of all figures of the process: what an artist does not say itself, it takes from here when it is made.
TEXTS = ("font.", "figure.title", "figure.label", "axes.title", "axes.label", "xtick.label", "ytick.label")
matplotlib.rcParams.update({f"{text}size": SIZE for text in TEXTS})
matplotlib.rcParams.update(
    {
        "legend.fontsize": SIZE,
        "legend.title_fontsize": SIZE,
        "legend.frameon": False,
        "legend.columnspacing": 1.2,
        "legend.handlelength": 1.7,
        "legend.handletextpad": 0.5,
        "lines.linewidth": 1.4,
        "lines.markersize": 4.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "0.93",
        "pdf.fonttype": 42,  # text stays text, in any journal's checker
    }
)


def line_style(index: int) -> dict[str, Any]:
    """Colour and marker of the index-th line; all pairs among the first 49 differ."""
    shift = index // len(COLOURS)
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[(index + shift) % len(MARKERS)]}


def blank(height: float, width: float = PAGE) -> Figure:
    """An empty figure; height and width in inches."""
    figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(titles: Sequence[str], height: float = HEIGHT, across: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure with one panel per title, at most `across` per row, each `height` inches high: as wide as a column for a
    single one, else as a page."""
    columns = min(across, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = blank(height * rows, PAGE if columns > 1 else COLUMN)
    drawn = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes, title in zip(drawn, titles, strict=False):
        axes.set_title(title)
    for axes in drawn[len(titles) :]:
        axes.remove()
    return figure, drawn[: len(titles)]


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
    (drawn,) = axes.plot(list(points), list(map(middle, values)), **{**style, **line})
    if ends:
        bounds = (list(map(end, values)) for end in ends)
        axes.fill_between(list(points), *bounds, color=style["color"], alpha=0.18, linewidth=0)
    return drawn


def legend(figure: Figure, handles: Iterable[Artist], labels: Iterable[str], title: str = "") -> None:
    """Add one legend below all panels, in as many columns as fit, and its height to the figure's.

    title: what the marks mean; it is broken into lines.
    """
    handles, labels = list(handles), list(labels)
    text = wrapped(title, 0.96 * figure.get_figwidth())
    for columns in range(max(1, len(labels)), 0, -1):
        made = figure.legend(handles, labels, title=text or None, loc="outside lower center", ncols=columns)
        made.get_title().set_multialignment("center")
        box = made.get_window_extent(figure.canvas.get_renderer())
        if columns == 1 or box.width <= figure.bbox.width:
            break
        made.remove()
    figure.set_figheight(figure.get_figheight() + box.height / figure.dpi)


def wrapped(text: str, width: float = 0.75 * HEIGHT) -> str:
    """The text in lines of at most `width` inches, where its words allow that; by default those of a panel's y-axis."""
    ruler, font, lines = RendererAgg(1, 1, dpi=72), FontProperties(size=SIZE), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        fits = ruler.get_text_width_height_descent(longer, font, ismath=False)[0] <= 72 * width
        lines = [*lines[:-1], longer] if fits else [*lines, word]
    return "\n".join(filter(None, lines))


def logarithmic(axis: Axis) -> None:
    """Label a logarithmic axis, which has its limits already, with 1, 2, 5, 10 and so on where the panel's width has
    room for them, else with the powers of ten alone."""
    low, high = axis.get_view_interval()
    room = 72 * axis.figure.get_figwidth() / axis.axes.get_gridspec().ncols  # points
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if 10 * SIZE * math.log10(high / low) < room else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_formatter(NullFormatter())


def short(value: float) -> str:
    """1000 as 1k, 1000000 as 1M, and so on."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def save(figure: Figure, path: Path) -> Path:
    """Write the figure in the format of the suffix, png or pdf; returns the path. Raises RecordError."""
    kind, file = path.suffix.removeprefix("."), io.BytesIO()
    figure.savefig(file, format=kind, metadata=NOTHING[kind])
    replace_file(path, file.getvalue())
    return path


def save_all(figure: Figure, out: Path, stem: str) -> list[Path]:
    """Write the figure as OUT/STEM.pdf and OUT/STEM.png; returns the paths. Raises RecordError."""
    return [save(figure, out / f"{stem}.{kind}") for kind in KINDS]
