"""Names beside lines: where they stand, and that they hide no other."""

import math

from matplotlib.text import Text

from experiments import beside
from experiments.style import panels
from tests import legible


def test_a_name_stands_where_its_line_runs_alone_and_in_its_colour():
    figure, [axes] = panels([""])
    ours, _ = axes.plot([0, 1, 2], [0, 1, 3]), axes.plot([0, 1, 2], [0, 1, 0])
    [text] = beside.write(figure, [("ours", ours[0])])
    assert text.xy[0] > 1 and text.get_color() == ours[0].get_color()
    near, _ = axes.plot([0, 1, 2], [1, 2, 3]), axes.plot([1, 2], [2, 3])
    [text] = beside.write(figure, [("near", near[0])])
    assert text.xy[0] < 1


def test_names_of_points_in_one_place_are_clear_of_one_another_and_within_the_panel():
    figure, [axes] = panels(["a title"])
    axes.set(xlim=(0, 2), ylim=(0, 2))
    points = [axes.plot([1], [1 + k / 1000], marker="o")[0] for k in range(6)]
    beside.write(figure, [(f"point number {k}", point) for k, point in enumerate(points)])
    legible.check(figure)
    assert len(axes.texts) == 6


def test_no_line_that_joins_a_name_crosses_another_name_where_there_is_room():
    """Two points in one place, with a bar and a front around them, so that their names stand apart."""
    figure, [axes] = panels([""])
    axes.set(xlim=(0, 3), ylim=(0, 3))
    points = [axes.plot([1], [1.4 + k / 50], marker="o")[0] for k in range(2)]
    axes.step([1, 1.6, 1.6, 3], [1.4, 1.4, 2, 2])
    axes.plot([1, 1], [0, 2])
    names = beside.write(figure, [(f"a long name of a point, {k}", point) for k, point in enumerate(points)])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(name) for name in names]
    joins = [name.arrow_patch.get_path().transformed(name.arrow_patch.get_transform()) for name in names]
    assert any(name.arrow_patch.get_visible() for name in names)
    for name, join, other in zip(names, joins, reversed(boxes), strict=True):
        assert not name.arrow_patch.get_visible() or not join.intersects_bbox(other, filled=False)


def test_a_line_without_a_point_in_its_panel_gets_no_name():
    figure, [axes] = panels([""])
    axes.set(xscale="log", yscale="log")
    courses = [math.nan, math.nan], [0, 0], [1, 1], [9, math.nan]
    texts = beside.write(figure, [(str(k), axes.plot([1, 10], y, marker="o")[0]) for k, y in enumerate(courses)])
    assert [text.get_text() for text in texts] == ["2", "3"]
