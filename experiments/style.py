"""A figure as a file: whole or not at all, and the same figure as the same bytes."""

import io
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.record import replace_file

# What would differ from one writing to the next.
NOTHING = {"pdf": dict.fromkeys(["Creator", "Producer", "CreationDate"]), "png": {"Software": None}}


def tidy(axes: Axes) -> None:
    """Two spines, a light grid behind the data, small ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7)


def save(figure: Figure, path: Path) -> Path:
    """Write it in the format that the path ends with, png or pdf; returns the path. Raises RecordError."""
    kind, file = path.suffix.removeprefix("."), io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42}):  # text stays text, in any journal's checker
        figure.savefig(file, format=kind, metadata=NOTHING[kind])
    replace_file(path, file.getvalue())
    return path
