"""What every figure must be: as wide as a column or a page, in text of 8 points, none of it cut off or overlapping."""

import itertools

from matplotlib.text import Text

from experiments.style import COLUMN, PAGE, SIZE


def texts(figure):
    """The texts that a reader sees; of the ticks those within the axes."""
    ticks = [(axis, tick) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in _ticks(axis)]
    hidden = {label for axis, tick in ticks if not _within(axis, tick) for label in (tick.label1, tick.label2)}
    return [one for one in figure.findobj(Text) if one.get_visible() and one.get_text().strip() and one not in hidden]


def check(figure):
    """Fails where a text has another size, lies partly outside of the figure, or over another."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    assert figure.get_figwidth() in (COLUMN, PAGE)
    seen = texts(figure)
    assert {one.get_fontsize() for one in seen} == {SIZE}
    boxes = {one: Text.get_window_extent(one, renderer).padded(-1) for one in seen}
    for one, box in boxes.items():
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, f"cut off: {one.get_text()}"
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, f"cut off: {one.get_text()}"
    for (one, box), (other, another) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(another), f"one over the other: {one.get_text()}, {other.get_text()}"


def _ticks(axis):
    return [*axis.get_major_ticks(), *axis.get_minor_ticks()]


def _within(axis, tick):
    low, high = sorted(axis.get_view_interval())
    return low - 1e-9 <= tick.get_loc() <= high + 1e-9
