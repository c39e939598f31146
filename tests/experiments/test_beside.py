"""Names beside lines: where they stand, and that they hide no other."""

import math

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


def test_a_line_without_a_point_in_its_panel_gets_no_name():
    figure, [axes] = panels([""])
    axes.set(xscale="log", yscale="log")
    courses = [math.nan, math.nan], [0, 0], [1, 1], [9, math.nan]
    texts = beside.write(figure, [(str(k), axes.plot([1, 10], y, marker="o")[0]) for k, y in enumerate(courses)])
    assert [text.get_text() for text in texts] == ["2", "3"]
