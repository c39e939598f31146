"""Figures from records: one for each method that changes matrices, the same bytes every time."""

import torch

from experiments import record as records
from experiments.analysis.rank import summarise
from scripts import figures
from tests.scripts.test_tables import run


def test_one_figure_for_each_method_with_a_rank_and_the_same_bytes(tmp_path):
    torch.manual_seed(0)
    deltas = {f"layer.{i}.{kind}": torch.randn(8, 8) for i in range(2) for kind in ("query", "value")}
    ranked = [run(method=method).model_copy(update={"rank": summarise(deltas)}) for method in ("fourierft", "lora")]
    mini = run(scale="mini", model="roberta_mini").model_copy(update={"rank": summarise(deltas)})
    for index, record in enumerate([*ranked, run(method="head_only"), mini]):
        records.write(record, tmp_path / "records" / f"{index}.json")
    written = figures.build(tmp_path / "records", tmp_path / "figures")
    assert [path.name for path in written] == [
        "rank_glue_rte_roberta_base_fourierft.png",
        "rank_glue_rte_roberta_base_lora.png",
    ]
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in figures.build(tmp_path / "records", tmp_path / "figures")] == first


def test_a_corrupt_record_is_named_and_nothing_is_drawn(tmp_path, capsys):
    (tmp_path / "broken.json").write_text("{")
    assert figures.main(["--records", str(tmp_path), "--out", str(tmp_path / "figures")]) == 2
    assert "broken.json" in capsys.readouterr().err and not (tmp_path / "figures").exists()
