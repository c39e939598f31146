"""The rank study: ranks before and after training, whose they are, and a claim that turns when the records do."""

import shutil

import pytest
import torch

from experiments import record
from experiments.measure.rank import summarise
from experiments.studies.rank import RankOfDelta, construction
from experiments.studies.rank.construction import DRAWS, Constructions, measure, starts
from tests import legible
from tests.handmade import leave, run

D = 24
SETTINGS = {"n": 40, "scale": 10.0, "entry_seed": 5, "init": "normal", "shared_entries": True}
NAMES = [f"layer.{layer}.{kind}" for layer in range(2) for kind in ("query", "value")]


def entry(method, rank, scale="paper", seed=0):
    """A run whose four matrices have this numerical rank, with all values alike."""
    settings = {"fourierft": SETTINGS, "lora": {"r": rank}}.get(method, {})
    found = summarise((name, torch.eye(D)[:, :rank] @ torch.eye(D)[:rank]) for name in NAMES)
    made = run(method=method, scale=scale, seed=seed)
    config = made.config | {"method": {"name": method, **settings}}
    update = {"config": config, "config_hash": record.config_hash(config), "entry_seed": settings.get("entry_seed")}
    return made.model_copy(update={"rank": found, **update})


@pytest.fixture
def told(tmp_path, monkeypatch):
    """told(records) -> the claim and the reports of a study that has them; its curve over n is cut short."""
    monkeypatch.setattr(construction, "SIZES", (50, 100))
    monkeypatch.setattr(construction, "WIDTH", 64)

    def told(*records):
        shutil.rmtree(tmp_path / "records", ignore_errors=True)
        leave(tmp_path / "records", *records)
        study = RankOfDelta()
        study.constructions(tmp_path).complete(study.records(tmp_path))
        return *study.claims(tmp_path), study.pages(tmp_path)

    return told


def test_the_start_is_the_runs_own_adapter_with_coefficients_of_norm_one():
    [(settings, shape)] = starts(entry("fourierft", 3))
    assert (settings, shape) == (SETTINGS, [D, D])
    found = measure(settings, shape).rank
    assert found.summary.count == construction.DRAWS
    norms = [matrix.frobenius_norm for matrix in found.matrices]
    assert len(set(norms)) == construction.DRAWS, "each draw has coefficients of its own"
    # Each coefficient adds a cosine of norm scale / (sqrt(2) D), or up to twice the square with its mirror.
    assert all(10 / D * (40 / 2) ** 0.5 * 0.7 < norm < 10 / D * 40**0.5 * 1.3 for norm in norms)
    assert measure(settings, shape).rank == found
    assert measure(settings | {"entry_seed": 6}, shape).rank != found
    assert measure(settings | {"init": "zeros"}, shape).rank.summary.numerical_rank.max == 0
    assert starts(entry("lora", 3)) == []


def test_the_construction_alone_gives_a_high_rank_from_few_numbers(monkeypatch):
    monkeypatch.setattr(construction, "DRAWS", 1)
    assert 85 <= measure({**construction.PAPERS, "n": 50}, [768, 768]).rank.summary.numerical_rank.median <= 95


def test_what_was_measured_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(construction, "SIZES", ())
    Constructions(tmp_path).complete([entry("fourierft", 3), entry("fourierft", 3, seed=1), entry("lora", 2)])
    assert len(list(tmp_path.glob("24x24_n40-*.json"))) == 1
    monkeypatch.setattr(construction, "measure", lambda *_: pytest.fail("measured"))
    again = Constructions(tmp_path)
    again.complete([entry("fourierft", 3)])
    assert len(again.before([entry("fourierft", 3)])) == DRAWS and again.before([entry("lora", 2)]) == []


def test_the_question_is_whether_training_raises_the_rank(told):
    ours = [entry("fourierft", 24, "small", seed=k) for k in range(3)]
    claim, _ = told(*ours, entry("lora", 8, "small"))  # only told, and so one seed is enough
    assert claim.question and (claim.verdict, claim.small_scale) == ("not yet measured", "holds (glue_rte; 3 seeds)")
    assert "after it lora 8" in claim.measured[0] and "for n=50" in claim.measured[1]
    claim, _ = told(*(entry("fourierft", 3, "small", seed=k) for k in range(3)))
    assert claim.small_scale.startswith("does not hold")
    claim, _ = told(entry("lora", 8, "small"))
    assert claim.small_scale == "—"


def test_the_tables_tell_kinds_methods_and_the_start_apart(told):
    _, [report] = told(entry("lora", 8), entry("full", D), entry("fourierft", 20), entry("fourierft", 22, seed=1))
    ranks, trained, by_n = report.tables
    assert [row[:2] for row in ranks.rows[::2]] == [[name, "query"] for name in ("fourierft", "lora", "full")]
    assert ranks.rows[0][2:6] == ["4", "24", "21.0 (20.0–22.0)", "21.0 (20.0–22.0)"]
    assert [row[1:3] for row in trained.rows] == [["before training", "3"], ["trained", "8"]]
    assert [row[0] for row in by_n.rows] == ["50", "100"]
    assert list(report.drawn) == ["study_rank_paper", "study_rank_by_n"]
    for draw in report.drawn.values():
        legible.check(draw())
    named = [{text.get_text() for text in axes.texts} for axes in report.figures[""]().axes]
    assert named == [{"FourierFT"}] * 3
