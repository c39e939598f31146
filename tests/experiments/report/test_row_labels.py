"""The names of rows in figures: short, no two alike, and silent on nothing that is not the paper's."""

from experiments.report.aggregate import rows
from experiments.report.labels import in_order, labels
from tests.handmade import run


def of(*records):
    return labels(rows(records))


SMALL = {"scale": "small", "model": "minilm_l6"}


def test_a_row_is_its_method_and_size():
    found = of(run(n=1000), run(method="lora", r=8), run(method="full"))
    assert found == ["FourierFT n=1000", "full fine-tuning", "LoRA r=8"]


def test_a_setting_is_told_only_where_the_size_does_not_tell():
    r1, r8, other = (run(**SMALL, method="lora", r=r, alpha=alpha) for r, alpha in ((1, 1.0), (8, 8.0), (8, 16.0)))
    assert of(r1, r8) == ["LoRA r=1", "LoRA r=8"]
    assert of(r8, other) == ["LoRA r=8 α=16", "LoRA r=8 α=8"]


def test_what_is_not_the_papers_is_always_told():
    assert of(run(**SMALL, n=1000, targets="all-linear")) == ["FourierFT all-linear n=1000"]
    zeros, normal = (run(**SMALL, n=1000, init=init) for init in ("zeros", "normal"))
    assert of(zeros, normal) == ["FourierFT n=1000", "FourierFT init=zeros n=1000"]
    assert of(run(n=1000, in_paper=False)) == ["FourierFT n=1000, not in the paper"]


def test_rows_that_differ_in_the_recipe_alone_are_told_apart():
    found = of(*(run(**SMALL, n=1000, recipe={"lr": lr}) for lr in (0.1, 0.2)))
    assert len(set(found)) == 2 and all(one.startswith("FourierFT (n=1000 #") for one in found)


def test_fourierft_comes_first_and_the_others_by_size():
    found = rows([run(method="full", adapter=9), run(method="bitfit", adapter=3), run(n=1000, adapter=5)])
    assert [row.method for row, _ in in_order(found, "glue_rte")] == ["fourierft", "bitfit", "full"]
