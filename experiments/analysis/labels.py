"""Names beside the points of a plot, where each hides least: tried in rings around its point, one after the other."""

import itertools
import math
from collections.abc import Sequence

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SIZE = 6.5  # points
# Where a name may stand from its point, in degrees and font sizes: above first, then to the left.
ANGLES = (90, 112, 68, 135, 45, 157, 23, 180, 0, -23, -45, -68, -90, -112, -135, -157)
DISTANCES = (0.9, 1.6, 2.6, 3.8, 5.2)
# What is worse than hiding a pixel of something: a pixel outside the axes, a leader across a name.
OUTSIDE, CROSSED = 9, 99


def place_names(axes: Axes, names: Sequence[tuple[str, tuple[float, float], str]], taken: Sequence[Bbox]) -> None:
    """Write each (text, point, colour), the point in data coordinates, with a leader to it where it stands off.

    `taken` are boxes of pixels not to be hidden. The figure needs its final layout, and a canvas that renders.
    """
    pixel = axes.figure.dpi / 72
    inside = axes.get_window_extent().padded(-4 * pixel)
    boxes: list[Bbox] = []
    leaders: list[Path] = []
    for name, point, colour in names:
        text = axes.annotate(
            name,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=SIZE,
            color=colour,
            path_effects=[patheffects.withStroke(linewidth=1.5, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3},
            zorder=4,
        )
        text.set_in_layout(False)
        extent = Text.get_window_extent(text, axes.figure.canvas.get_renderer())  # without the leader
        centre = axes.transData.transform(point)
        options = []
        for distance, angle in itertools.product(DISTANCES, ANGLES):
            across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            beside = 0 if abs(angle) == 90 else math.copysign(extent.width / 2, across)
            offset = (distance * SIZE * pixel * across + beside, distance * SIZE * pixel * up)
            place, leader = box(centre + offset, extent.width, extent.height), Path([centre, centre + offset])
            crossed = sum(leader.intersects_bbox(other) for other in boxes)
            crossed += sum(other.intersects_bbox(place) for other in leaders)
            hidden = sum(_overlap(place, other) for other in [*taken, *boxes])
            outside = place.width * place.height - _overlap(place, inside)
            options.append((round(hidden + OUTSIDE * outside + CROSSED * crossed), offset, place, leader))
        _, offset, place, leader = min(options, key=lambda option: option[0])  # the first of equals
        text.set_position((offset[0] / pixel, offset[1] / pixel))
        boxes.append(place)
        leaders.append(leader)


def box(centre: Sequence[float], width: float, height: float) -> Bbox:
    """A box around its centre."""
    return Bbox.from_bounds(centre[0] - width / 2, centre[1] - height / 2, width, height)


def _overlap(one: Bbox, other: Bbox) -> float:
    """The area that both cover."""
    common = Bbox.intersection(one, other)
    return common.width * common.height if common else 0.0
