"""Names beside points and lines, where they hide least: each tries many places and takes the best."""

from collections.abc import Iterable

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

STEP = 2.0  # pixels between the points that stand for a line
SPOTS = 40  # of a line, beside which its name may stand
DISTANCES = (4.0, 7.0, 11.0, 17.0, 25.0, 35.0, 48.0)  # of a name from its point, in points
JOINED = 10.0  # points: from there on a thin line joins the two
JOINTS = 32  # points that stand for that line
CROSSED = 30.0  # the cost of such a line across a name
ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)
APART = 12.0  # points: lines that far from one another are told apart
RADIUS = 3.0  # points, of a marker
MARK = 15.0  # as many points of a line weigh as much as a marker
NEVER, FAR = 1e9, 1e4  # a cost, and pixels: outside any figure

Taken = tuple[np.ndarray, np.ndarray, np.ndarray]  # pixels: a name's lower and upper corner, and its line (k, 2)


def write(figure: Figure, names: Iterable[tuple[str, Line2D]]) -> list[Text]:
    """Write the names of lines, or of single points, in their colours, the first ones with the first choice: inside the
    panel, clear of one another, and over as few points and lines as can be.

    To be called last: what is drawn later is not seen. A line without a point in its panel gets no name. The same
    figure gives the same places.
    """
    figure.draw_without_rendering()  # the layout
    taken: dict[Axes, list[Taken]] = {}
    return [_write(name, line, taken.setdefault(line.axes, [])) for name, line in names if len(_seen(line))]


def _write(name: str, line: Line2D, taken: list[Taken]) -> Text:
    """Write one name. taken: by the names of its panel; grows."""
    axes, point, renderer = line.axes, line.figure.dpi / 72, line.figure.canvas.get_renderer()
    hidden, weights = _drawn(axes)
    others = np.concatenate([np.empty((0, 2)), *(_along(_track(other)) for other in axes.lines if other is not line)])
    frame, seen = _frame(axes), _seen(line)
    spots = seen[:: max(1, len(seen) // SPOTS)]
    text = axes.annotate(
        name,
        (0, 0),
        (0, 0),
        textcoords="offset points",
        ha="center",
        va="center",
        color=line.get_color(),
        zorder=2.1,  # over lines, and below the markers of points
        arrowprops={"arrowstyle": "-", "color": "0.5", "linewidth": 0.5, "shrinkA": 0, "shrinkB": RADIUS},
        path_effects=[patheffects.withStroke(linewidth=1.5, foreground="white")],
    )
    text.set_in_layout(False)
    half = Text.get_window_extent(text, renderer).size / 2
    fars, at, angles = (grid.ravel() for grid in np.meshgrid(DISTANCES, np.arange(len(spots)), ANGLES, indexing="ij"))
    shifts = np.column_stack([np.cos(angles), np.sin(angles)]) * (half + point * fars[:, None])
    lower, upper = spots[at] + shifts - half, spots[at] + shifts + half
    joined = fars >= JOINED
    joins = spots[at][:, None] + shifts[:, None] * np.linspace(0, 1, JOINTS)[:, None]  # (places, JOINTS, 2)
    cost = fars + NEVER * ((lower < frame[0]) | (upper > frame[1])).any(axis=1)
    for low, high, join in taken:
        cost += NEVER * ((lower < high) & (upper > low)).all(axis=1)
        cost += CROSSED * (joined & ((low < joins) & (joins < high)).all(axis=2).any(axis=1))
        cost += CROSSED * ((lower[:, None] < join) & (join < upper[:, None])).all(axis=2).any(axis=1)
    for spot, weight in zip(hidden, weights, strict=True):
        cost += weight * ((lower - RADIUS * point < spot) & (spot < upper + RADIUS * point)).all(axis=1)
    near = np.array([np.hypot(*(others - spot).T).min(initial=APART * point) for spot in spots]) / point
    cost += 5 * (APART - near)[at]  # where the line runs alone, no reader takes another for it
    best = int(cost.argmin())
    text.xy = tuple(axes.transData.inverted().transform(spots[at[best]]))
    text.set_position(shifts[best] / point)
    text.arrow_patch.set_visible(joined[best])
    taken.append((lower[best], upper[best], joins[best][: JOINTS * joined[best]]))
    return text


def _drawn(axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2), in pixels, along a panel's lines and error bars and at its markers; the cost of hiding each."""
    tracks = [_along(_track(line)) for line in axes.lines]
    for bars in (one for one in axes.collections if isinstance(one, LineCollection)):
        tracks += [_along(bars.get_transform().transform(segment)) for segment in bars.get_segments()]
    marks = [_track(line) for line in axes.lines if line.get_marker() not in ("", "None", None)]
    return np.concatenate([*tracks, *marks]), np.repeat([1.0, MARK], [sum(map(len, tracks)), sum(map(len, marks))])


def _frame(axes: Axes) -> np.ndarray:
    """The lower and the upper corner of a panel (2, 2), in pixels."""
    return axes.get_window_extent().extents.reshape(2, 2)


def _seen(line: Line2D) -> np.ndarray:
    """Points along a line that lie in its panel (n, 2), in pixels."""
    (low, high), track = _frame(line.axes), _along(_track(line))
    return track[((low - 1 <= track) & (track <= high + 1)).all(axis=1)]


def _track(line: Line2D) -> np.ndarray:
    """The vertices of a line (n, 2), in pixels; those that a logarithmic axis cannot show are left out."""
    track = line.get_transform().transform(line.get_path().vertices)
    return np.clip(track[np.isfinite(track).all(axis=1)], -FAR, FAR)


def _along(track: np.ndarray) -> np.ndarray:
    """Points along a polyline (n, 2), STEP apart."""
    if len(track) < 2:
        return track
    ends = np.append(0.0, np.hypot(*np.diff(track, axis=0).T).cumsum())
    return np.column_stack([np.interp(np.arange(0.0, ends[-1] + STEP, STEP), ends, values) for values in track.T])
