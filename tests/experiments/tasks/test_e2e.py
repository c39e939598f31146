"""E2E NLG with GPT-2 from end to end: what a run records, leaves, resumes and refuses."""

import json

import pytest
from datasets import Dataset
from safetensors.torch import load_file

from experiments import cells, pipeline
from experiments.config import load
from experiments.data.assets import Source, read_rows
from experiments.errors import UserError
from experiments.measure import memory
from experiments.tasks import e2e
from tests.conftest import ROOT

QUICK = ("+exp=e2e", "model=gpt2_mini", "train.rows=24", "train.max_steps=4", "train.log_every=1")
QUICK += ("recipe.batch_size=12", "task.decoding.beams=2", "task.decoding.max_new_tokens=12")
SCORES = {"bleu", "nist", "rouge_l", "cider", "meteor_nltk"}
ROWS = {
    "meaning_representation": ["name[Zizzi], area[riverside]", "name[Zizzi], area[riverside]", "name[Cotto]"],
    "human_reference": ["Zizzi is riverside.", "By the river is Zizzi.", "This is Cotto."],
}


@pytest.fixture(autouse=True)
def one_thread_of_meteor(monkeypatch):
    """METEOR 1.5 takes seconds to start, and test_e2e_metrics.py has it."""
    monkeypatch.setattr("experiments.metrics.meteor.missing", lambda: "Java, in this test")


@pytest.mark.parametrize("method", ["fourierft", "lora", "full", "adapter_lin", "adapter_houlsby"])
def test_every_method_of_table_3_leaves_a_whole_record(make, method, capsys):
    config = make(*QUICK, f"method={method}")
    done = pipeline.run(config)
    assert (done.exp, done.status, done.scale, done.dataset.rows) == (
        "e2e",
        "ok",
        "mini",
        {"train": 24, "validation": 24, "test": 24},
    )
    assert done.paper_cell is None and done.params.head == 0
    d, matrices = 128, 8
    sizes = {"fourierft": matrices * 500, "lora": matrices * 2 * d * 4, "full": done.params.total}
    assert done.params.adapter == sizes.get(method, done.params.adapter)
    assert (done.metrics.primary, done.metrics.direction) == ("inverse_perplexity", "max")
    assert set(done.metrics.test.best) == {"loss", "inverse_perplexity", "unfinished", *SCORES}
    assert (done.rank is not None) == (method in ("fourierft", "lora", "full"))
    folder = config.runs / config.name
    rows = [json.loads(line) for line in (folder / "last" / "outputs.jsonl").read_text().splitlines()]
    assert [row["meaning"] for row in rows] == list(dict.fromkeys(row["meaning"] for row in rows))
    assert sum(len(row["references"]) for row in rows) == 24
    unfinished = sum(not row["finished"] for row in rows)
    assert done.metrics.test.last["unfinished"] == unfinished
    said = capsys.readouterr().out
    assert (f"{unfinished} of {len(rows)} outputs were cut off" in said) == (unfinished > 0)
    assert f"bleu {done.metrics.test.best['bleu']:.4g}" in said


def test_a_run_that_was_stopped_while_it_wrote_goes_on_and_ends_the_same(make, stop_writing, tmp_path):
    config = make(*QUICK, "train.eval_batch_size=1")
    elsewhere = (f"runs={tmp_path}/elsewhere", f"record.dir={tmp_path}/elsewhere")
    whole = pipeline.run(make(*QUICK, "train.eval_batch_size=1", *elsewhere))
    calls = stop_writing(3)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(config)
    done = pipeline.run(config)
    meanings = len((config.runs / config.name / "last" / "outputs.jsonl").read_text().splitlines())
    assert len(calls) == meanings + 1, "what was written before is not written again"
    assert done.metrics.test == whole.metrics.test and done.metrics.all == whole.metrics.all


def test_what_is_learnt_is_the_reference_alone_behind_the_meaning(make):
    config = make(*QUICK)
    prepared = config.task.prepare(config.model, *pipeline.find(config), config.train, config.recipe, config.seed)
    tokenizer = prepared.collate.tokenizer
    row = prepared.train[0]
    learnt = [label for label in row["labels"] if label != -100]
    text = tokenizer.decode(row["input_ids"])
    assert text.count(tokenizer.eos_token) == 2 and text.startswith("name : ")
    meaning, reference, _ = text.split(tokenizer.eos_token)
    assert tokenizer.decode(learnt) == reference + tokenizer.eos_token and reference.startswith(" ")
    assert " | " in meaning and "[" not in meaning


def test_accumulated_steps_are_the_same_steps(make):
    """The loss is a mean over the tokens of the step, not over its batches."""
    trained = []
    for accumulation in (1, 3):
        config = make(*QUICK, f"train.accumulation={accumulation}")
        pipeline.run(config)
        [file] = (config.runs / config.name / "last").glob("adapter_model.safetensors")
        trained.append(load_file(file))
    assert trained[0].keys() == trained[1].keys()
    for name, weights in trained[0].items():
        assert (weights - trained[1][name]).norm() < 1e-3 * weights.norm()
    for accumulation in (5, 100):
        with pytest.raises(UserError, match=rf"train\.accumulation={accumulation}: must divide recipe\.batch_size="):
            pipeline.run(make(*QUICK, f"train.accumulation={accumulation}"))


def test_what_a_step_saves_is_that_of_the_loss_it_trains_on_alone(make):
    config = make(*QUICK)
    prepared = config.task.prepare(config.model, *pipeline.find(config), config.train, config.recipe, config.seed)
    model = config.method.adapt(prepared.model, config.model.attention, config.model.head).train()
    batch = prepared.collate([prepared.train[i] for i in range(12)])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    needed = memory.saved_for_backward(model, lambda: prepared.loss(model(**inputs), batch["labels"]))
    assert pipeline._saved_bytes(config, prepared, model) == needed
    with_the_models_own = memory.saved_for_backward(model, lambda: prepared.loss(model(**batch), batch["labels"]))
    assert with_the_models_own > needed


def test_a_slice_held_out_for_a_search_shares_no_meaning_with_the_rest(make):
    config = make("+exp=e2e", "model=gpt2_mini", "train.rows=200", "train.holdout=0.2")
    weights, data = pipeline.find(config)
    prepared = config.task.prepare(config.model, weights, data, config.train, config.recipe, 0)
    prompts = {
        split: {
            tuple(t for t, label in zip(row["input_ids"], row["labels"], strict=True) if label == -100) for row in rows
        }
        for split, rows in (("train", prepared.train), ("validation", prepared.validation))
    }
    assert not prompts["train"] & prompts["validation"] and prepared.test is prepared.score is None
    assert len(prepared.train) + len(prepared.validation) == 200


def test_wrong_lengths_are_named(make):
    for override, message in (
        ("recipe.max_length=2000", "recipe.max_length=2000: gpt2_mini reads at most 256"),
        ("recipe.max_length=20", "more than recipe.max_length=20; raise it"),
        ("task.decoding.max_new_tokens=250", "task.decoding.max_new_tokens=250: behind the longest meaning"),
    ):
        with pytest.raises(UserError, match=message):
            pipeline.run(make(*QUICK, override))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("meaning_representation", "", "row 1: the meaning '' is empty"),
        ("meaning_representation", None, "row 1: meaning_representation is None, want text"),
        ("meaning_representation", "Zizzi by the river", "row 1: the meaning 'Zizzi by the river' is not of the form"),
        ("human_reference", " ", "row 1: the reference is empty"),
    ],
)
def test_an_empty_meaning_or_reference_is_named_with_its_file_and_row(make, tmp_path, column, value, message):
    rows = {name: list(values) for name, values in ROWS.items()}
    rows[column][1] = value
    folder = tmp_path / "datasets" / "e2e_nlg"
    folder.mkdir(parents=True)
    for split in ("train", "validation", "test"):
        Dataset.from_dict(rows).to_parquet(folder / f"{split}.parquet")
    task = make("+exp=e2e", "model=gpt2_mini").task
    source = Source("e2e", "local", "e2e_nlg", {"train": folder / "train.parquet"})
    with pytest.raises(UserError, match=f"train.parquet, {message}"):
        task.read_split(source, "train")


def test_references_are_grouped_by_what_the_model_reads(make):
    rows = {name: list(values) for name, values in ROWS.items()}
    spaced = [" name[Zizzi],area[riverside]", "name[ Zizzi ] , area[riverside ]", "name [Zizzi],  area\t[riverside]"]
    rows["meaning_representation"] += spaced
    rows["human_reference"] += ["a", "b", "c"]
    assert e2e.group(Dataset.from_dict(rows)) == {
        "name[Zizzi], area[riverside]": ["Zizzi is riverside.", "By the river is Zizzi.", "a", "b", "c"],
        "name[Cotto]": ["This is Cotto."],
    }
    for share in (0.34, 0.5):
        split = make("+exp=e2e", "model=gpt2_mini").task.hold_out(Dataset.from_dict(rows), share)
        assert sorted(map(len, split.values())) == [1, 5], "no reference of a meaning that was trained on"


@pytest.mark.assets
def test_the_official_sets_have_their_number_of_meanings(assets):
    for split, count in {"train": 4862, "validation": 547, "test": 630}.items():
        assert len(e2e.group(read_rows(assets / f"datasets/e2e_nlg/{split}.parquet", ROWS))) == count


@pytest.mark.parametrize("size", ["medium", "large"])
def test_both_sizes_have_their_page_their_target_and_the_published_recipes(size):
    def page(*overrides):
        return load(f"+exp=e2e_gpt2_{size}", *overrides)

    config = page()
    assert config.model.name == f"gpt2_{size}"
    assert (config.exp, cells.cell(config)) == ("e2e", (f"table3/gpt2_{size}/fourierft", ""))
    assert "E2E := medium large\n" in (ROOT / "Makefile").read_text()
    lr, head_lr, decay = {"medium": (0.02, 2e-4, 0.01), "large": (0.05, 1e-4, 0.03)}[size]  # Table 10
    recipe = config.recipe
    assert (recipe.lr, recipe.head_lr, recipe.weight_decay) == (lr, head_lr, decay)
    assert (recipe.epochs, recipe.batch_size, config.method.n, config.method.scale) == (5, 128, 1000, 300.0)
    assert (config.task.label_smoothing, config.model.attention) == (0.1, ("c_attn:q,v",))
    lora = page("method=lora")
    assert (lora.recipe.lr, lora.recipe.batch_size, lora.method.r, lora.method.alpha) == (2e-4, 8, 4, 32.0)
    assert config.task.decoding.model_dump() == {
        "beams": 10,
        "length_penalty": 0.8,
        "no_repeat_ngram": 4,
        "max_new_tokens": 64,
    }
    for method in ("full", "adapter_lin", "adapter_houlsby"):
        assert page(f"method={method}").recipe.epochs == 5
