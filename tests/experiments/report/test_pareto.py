"""The Pareto view: who is on the front, which records make a figure, and what the figure shows and never hides."""

import itertools
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from experiments.report import pareto
from experiments.report.aggregate import rows
from experiments.style import save
from tests import legible
from tests.handmade import five, five_images, instruct, run, three_e2e

METHODS = ["fourierft", "lora", "full", "bitfit", "head_only", "adalora", "dylora", "adapter_houlsby"]
METHODS += ["adapter_pfeiffer", "adapter_drop", "vera", "loca", "dora", "circulant", "prefix_tuning", "ia3"]
values = st.integers(0, 5).map(float)  # few values: many ties


def with_cost(records, **cost):
    return [record.model_copy(update={"cost": record.cost.model_copy(update=cost)}) for record in records]


def method(name, score, adapter, saved=2**27, **changes):
    return with_cost([run(score, method=name, adapter=adapter, **changes)], saved_bytes=saved)


def figure_of(records):
    ((key, own),) = pareto.groups(rows(records)).items()
    return pareto.draw(own, key[0])


def names_in(axes):
    """The names written beside points."""
    return [text.get_text() for text in axes.texts]


def score_of(axes):
    """What the vertical axis shows."""
    return axes.get_ylabel().replace("\n", " ")


def front_in(axes):
    """The scores of the front, each once, in its order."""
    (line,) = (line for line in axes.lines if line.get_drawstyle() == "steps-post")
    return list(dict.fromkeys(line.get_ydata()))


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def sixteen(choose):
    """Sixteen methods with five seeds each, anywhere."""
    found = []
    for name in METHODS:
        adapter = {"head_only": 0, "full": 124_000_000}.get(name, int(10 ** choose(3.5, 6.5)))
        scores = [min(max(choose(0.5, 0.9) / 10 + 0.1 * len(str(adapter)), 0), 1) + 0.001 * i for i in range(5)]
        found += with_cost(five(scores, method=name, adapter=adapter), saved_bytes=int(choose(1e9, 4e9)))
    return found


# --- the front -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(values, values), min_size=1, max_size=16))
def test_on_the_front_are_those_that_no_other_dominates(points):
    costs, scores = zip(*points, strict=True)
    chosen = pareto.front(costs, scores)
    assert chosen and len(set(chosen)) == len(chosen)

    def dominates(a, b):
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    for index, point in enumerate(points):
        assert (index in chosen) == (not any(dominates(other, point) for other in points))
    for before, after in itertools.pairwise(chosen):
        assert costs[before] <= costs[after] and scores[before] <= scores[after], "a staircase, and in its order"


def test_equal_points_are_all_on_the_front():
    assert pareto.front([1, 1, 1, 2], [5, 5, 4, 5]) == [0, 1]


# --- which records make a figure -------------------------------------------------------------------------------------


def test_three_methods_make_a_figure_for_each_experiment_model_and_scale():
    three = [one for name in METHODS[:3] for one in method(name, 0.7, 10)]
    assert list(pareto.groups(rows(three))) == [("glue_rte", "roberta_base", "paper")]
    assert pareto.groups(rows(three[:2])) == {}
    sizes = [run(0.7, n=n, adapter=24 * n) for n in (100, 200, 300)]
    assert pareto.groups(rows(sizes)) == {}, "three sizes of one method are one method"
    assert pareto.groups(rows([*three[:2], run(method="full", status="oom")])) == {}, "a failure has no score"
    apart = [*three[:2], *method("full", 0.7, 10, scale="small")]
    assert pareto.groups(rows(apart)) == {}, "scales are never mixed"


# --- the figure ------------------------------------------------------------------------------------------------------


def small_set():
    return [
        *method("head_only", 0.5, 0, saved=2**20),
        *method("fourierft", 0.8, 24_000, saved=2**27),
        *method("bitfit", 0.7, 100_000, saved=2**26),
        *method("lora", 0.9, 300_000, saved=2**27),
    ]


def test_each_panel_has_the_front_of_its_own_cost():
    parameters, memory = figure_of(small_set()).axes
    assert names_in(parameters) == ["FourierFT n=1000", "head alone", "LoRA"]
    assert names_in(memory) == ["FourierFT n=1000", "head alone", "BitFit", "LoRA"]
    assert front_in(parameters) == [50, 80, 90] and front_in(memory) == [50, 70, 90]
    assert memory.get_xlabel() == "saved for the backward of a step (MiB)"
    assert score_of(parameters) == "accuracy × 100, best epoch"


def test_the_legend_shows_each_point_as_it_is():
    figure = figure_of(small_set())

    def looks(line):
        return line.get_marker(), line.get_color(), line.get_markerfacecolor(), line.get_markersize()

    handles = [looks(handle) for handle in figure.legends[0].legend_handles]
    assert handles[0][:2] == ("o", "#0072B2"), "FourierFT's is the same in every figure"
    for axes in figure.axes:
        assert [looks(container.lines[0]) for container in axes.containers] == handles


def test_a_method_without_memory_is_on_the_first_panel_alone_and_is_named_below():
    found = [*small_set(), run(0.95, method="full", adapter=10**8)]
    figure = figure_of(found)
    assert "full fine-tuning" in names_in(figure.axes[0]) and "full fine-tuning" not in names_in(figure.axes[1])
    assert "memory not measured: full fine-tuning" in figure.legends[0].get_title().get_text()
    without = [run(0.5 + i / 10, method=name, adapter=10**i) for i, name in enumerate(METHODS[:3])]
    assert len(figure_of(without).axes) == 1


def test_the_peak_is_shown_where_a_gpu_measured_it():
    found = [
        one.model_copy(update={"cost": one.cost.model_copy(update={"peak_memory_bytes": 2**33})}) for one in small_set()
    ]
    assert len(figure_of(found).axes) == 2, "a process on a CPU is no measure of a method"
    gpu = found[0].hardware.model_copy(update={"device": "cuda", "gpu": "a GPU"})
    axes = figure_of([one.model_copy(update={"hardware": gpu}) for one in found]).axes
    assert [one.get_xlabel() for one in axes[2:]] == ["peak GPU memory (GiB)"]


def test_zero_stands_left_of_a_break_and_is_called_so():
    axes = figure_of(small_set()).axes[0]
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks[0] == "0" and "100k" in ticks
    xs = sorted(container.lines[0].get_xdata()[0] for container in axes.containers)
    assert axes.get_xlim()[0] < xs[0] < axes.get_xticks()[1]
    assert xs[1:] == [24_000, 100_000, 300_000]
    axes = figure_of([one for one in small_set() if one.method != "head_only"]).axes[0]
    assert "0" not in [label.get_text() for label in axes.get_xticklabels()]


def test_seeds_scale_and_marks_are_told():
    found = small_set() + with_cost(five(method="full", adapter=10**8), saved_bytes=2**28)
    dirty = [one.model_copy(update={"dirty": one.method == "lora"}) for one in found]
    figure = figure_of(dirty)
    assert figure.get_suptitle() == "RTE, RoBERTa-base, paper scale, 1 to 5 seeds"
    expected = ["FourierFT n=1000 ×1†", "head alone, not in the paper ×1†", "BitFit ×1†", "LoRA r=8 ×1†‡"]
    assert legend_of(figure) == [*expected, "full fine-tuning ×5"]
    caption = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "† not all" in caption and "‡ code" in caption and "bar from the lowest" in caption
    whole = [one for name in METHODS[:3] for one in five(method=name)]
    caption = figure_of(whole).legends[0].get_title().get_text()
    assert "†" not in caption and "‡" not in caption
    assert legend_of(figure_of(whole))[0] == "FourierFT n=1000", (
        "the count stands in the title where it is the same for all"
    )


def test_several_seeds_are_their_median_with_a_bar_over_all():
    scores = (0.5, 0.9, 0.6, 0.65, 0.7)
    axes = figure_of([one for name in METHODS[:3] for one in five(scores, method=name)]).axes[0]
    marker, _, (bar,) = axes.containers[0].lines
    assert list(marker.get_ydata()) == pytest.approx([65])
    assert bar.get_segments()[0][:, 1].tolist() == pytest.approx([50, 90])


def test_images_are_their_mean_on_the_test_set_and_it_says_so():
    scores = (0.5, 0.9, 0.6, 0.65, 0.75)
    found = [one for name in METHODS[:3] for one in five_images(scores, method=name)]
    figure = figure_of(found)
    marker, _, (bar,) = figure.axes[0].containers[0].lines
    assert list(marker.get_ydata()) == pytest.approx([68]), "the median is 65, on validation they are all 99"
    assert bar.get_segments()[0][:, 1].tolist() == pytest.approx([50, 90])
    assert score_of(figure.axes[0]) == "accuracy × 100 on the test set, best epoch"
    caption = figure.legends[0].get_title().get_text()
    assert "mean over seeds" in caption and "†" not in caption and "§" not in caption
    figure = figure_of([*found[:-1], found[-1].model_copy(update={"metrics": run(0.7).metrics})])
    assert score_of(figure.axes[0]) == "accuracy × 100, best epoch"
    assert "§ scored on validation" in figure.legends[0].get_title().get_text() and "full fine-tuning§" in legend_of(
        figure
    )


def test_texts_are_the_first_column_of_their_table_at_the_last_epoch():
    found = [one for name in METHODS[:3] for one in three_e2e((0.60, 0.61, 0.65), method=name)]
    found = [one.model_copy(update={"metrics": one.metrics.model_copy(update={"direction": "min"})}) for one in found]
    axes = figure_of(found).axes[0]
    marker, _, (bar,) = axes.containers[0].lines
    assert list(marker.get_ydata()) == pytest.approx([62]) and bar.get_segments()[0][:, 1].tolist() == [60, 65]
    assert score_of(axes) == "BLEU × 100 on the test set, last epoch", "the direction is the primary metric's"


def test_where_lower_is_better_the_front_is_the_lower_one():
    found = [
        one.model_copy(update={"metrics": one.metrics.model_copy(update={"direction": "min"})}) for one in small_set()
    ]
    axes = figure_of(found).axes[0]
    assert names_in(axes) == ["FourierFT n=1000", "head alone"] and "lower is better" in score_of(axes)
    assert front_in(axes) == [50]


def test_a_loss_is_in_nats_and_the_front_is_the_lower_one():
    costs = {"full": (0.8, 10**6), "lora_qv": (1.0, 10**4), "fourierft": (0.9, 10**3)}
    found = [instruct(loss, method=name, adapter=adapter) for name, (loss, adapter) in costs.items()]
    axes = figure_of(found).axes[0]
    assert names_in(axes) == ["FourierFT n=1000", "full fine-tuning"]
    assert front_in(axes) == pytest.approx([0.9, 0.8])
    assert [bar.lines[0].get_ydata()[0] for bar in axes.containers] == pytest.approx([0.9, 1.0, 0.8])
    assert score_of(axes) == "loss of a token (nats) on the test set, last epoch, lower is better"


def test_steps_of_other_sizes_are_told_since_their_memory_is_no_match():
    found = [
        one.model_copy(update={"config": {**one.config, "recipe": {"batch_size": 32 if one.method == "lora" else 16}}})
        for one in small_set()
    ]
    assert "LoRA r=8, 32 a step†" in legend_of(figure_of(found))


@pytest.mark.parametrize("seed", range(4))
def test_sixteen_methods_are_told_apart_and_their_names_do_not_overlap(seed):
    figure = figure_of(sixteen(random.Random(seed).uniform))
    assert len(legend_of(figure)) == 16
    styles = [(handle.get_color(), handle.get_marker()) for handle in figure.legends[0].legend_handles]
    assert len(set(styles)) == 16
    legible.check(figure)
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]
        points = [axes.transData.transform(bar.lines[0].get_xydata()[0]) for bar in axes.containers]
        assert len(points) == 16 and not any(box.contains(*point) for box in boxes for point in points)
        frame = axes.get_window_extent(renderer).padded(3)
        assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 for box in boxes)
    assert figure.legends[0].get_window_extent(renderer).y1 < min(a.get_tightbbox(renderer).y0 for a in figure.axes)


def test_the_same_records_give_the_same_bytes(tmp_path):
    found = small_set()
    first = [save(figure_of(found), tmp_path / f"a.b.{kind}").read_bytes() for kind in ("pdf", "png")]
    again = [save(figure_of(found[::-1]), tmp_path / f"again.{kind}") for kind in ("pdf", "png")]
    assert [path.read_bytes() for path in again] == first
    assert [path.name for path in again] == ["again.pdf", "again.png"]
    assert not re.search(rb"CreationDate|Producer|Creator|Software", b"".join(first))
