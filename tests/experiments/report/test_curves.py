"""The curves of losses: what they show, of which runs, and that a method looks as it does in the Pareto view."""

import pytest

from experiments.report import curves, pareto
from experiments.report.aggregate import rows
from experiments.style import save
from tests import legible
from tests.handmade import instruct, run

EPOCHS = (2.5, 2.3, 2.2)


def figure_of(records):
    ((key, own),) = curves.groups(rows(records)).items()
    return curves.draw(own, key[0])


def small_set():
    """Two seeds of LoRA, one of FourierFT and of all weights; the latter trained for one epoch."""
    return [
        instruct(method="lora_qv", adapter=9000, epochs=EPOCHS),
        instruct(method="lora_qv", adapter=9000, epochs=(2.7, 2.5, 2.3), seed=11111, dirty=True),
        instruct(adapter=1000, epochs=EPOCHS),
        instruct(method="full", adapter=500, epochs=(2.0,)),
    ]


def test_a_line_is_the_mean_loss_on_validation_by_epoch_and_its_band_spans_the_seeds():
    figure = figure_of(small_set())
    (axes,) = figure.axes
    fourierft, lora = axes.lines
    assert list(fourierft.get_xdata()) == [1, 2, 3] and list(fourierft.get_ydata()) == pytest.approx(EPOCHS)
    assert list(lora.get_ydata()) == pytest.approx([2.6, 2.4, 2.25])
    assert [text.get_text() for text in axes.texts] == ["FourierFT n=1000"], "beside its line"
    legible.check(figure)
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert {round(y, 6) for x, y in corners if x == 1} == {2.5, 2.7}
    assert {round(y, 6) for x, y in corners if x == 3} == {2.2, 2.3}
    assert (axes.get_xlabel(), axes.get_ylabel().replace("\n", " ")) == (
        "epoch",
        "loss of a token (nats), validation set",
    )
    assert axes.get_title() == "Alpaca, LLaMA2-7B, paper scale"


def test_a_method_looks_as_in_the_pareto_view_and_is_marked():
    figure, other = figure_of(small_set()), pareto.draw(rows(small_set()), "instruct")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["FourierFT n=1000 ×1†", "LoRA q, v r=64 ×2†‡"], "of one epoch there is no curve"
    styles = [(line.get_color(), line.get_marker()) for line in figure.axes[0].lines]
    ours, _, lora = other.legends[0].legend_handles
    assert styles == [(handle.get_color(), handle.get_marker()) for handle in (ours, lora)]
    caption = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "† not all of our three seeds" in caption and "‡ code" in caption


def test_curves_need_a_loss_and_two_epochs():
    assert curves.groups(rows([instruct(epochs=(2.5,)), instruct(epochs=(2.0,), method="full")])) == {}
    assert curves.groups(rows([run(0.7)])) == {}, "GLUE's score is no loss"
    assert curves.groups(rows([instruct(epochs=EPOCHS), run(exp="instruct", status="oom", method="full")])).keys() == {
        ("instruct", "llama2_7b", "paper")
    }
    whole = instruct(epochs=EPOCHS, seed=11111)
    metrics = whole.metrics.model_copy(update={"per_epoch": whole.metrics.per_epoch[:2]})
    (row,) = rows([instruct(epochs=EPOCHS), whole.model_copy(update={"metrics": metrics})])
    assert list(curves.curve(row.cells["instruct"])) == [1, 2], "the epochs that all seeds have"


def test_the_same_records_give_the_same_bytes(tmp_path):
    first, again = (
        [save(figure_of(found), tmp_path / f"{name}.{kind}").read_bytes() for kind in ("pdf", "png")]
        for name, found in (("a", small_set()), ("b", small_set()[::-1]))
    )
    assert first == again
