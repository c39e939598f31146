"""PEFT's benchmark on MetaMathQA: its settings and rows, and the whole way on a tiny model with made-up questions."""

import json

import peft
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from experiments.data.assets import Assets, find_dataset, read_rows
from experiments.errors import UserError
from experiments.pipeline import run
from experiments.pretraining.causal import byte_tokenizer
from experiments.tasks.base import Data
from tests.conftest import ROOT

RECIPES = sorted(path.stem for path in (ROOT / "configs/recipe/llama32_3b").glob("*.yaml"))
COUNTS = {"train": 24, "validation": 4, "test": 6}


def question(number, length=0):
    """A row of MetaMathQA; `length` more characters in its answer."""
    text = f"There are {number} birds, and {number} more come. How many are there?"
    response = f"{number} + {number} = {2 * number}.{' So it is.' * (length // 10)}\nThe answer is: {2 * number}"
    return {"query": text, "response": response, "type": "made up"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An assets folder: a random model of LLaMA's kind in bf16, MetaMathQA as JSON, GSM8K as parquet."""
    root = tmp_path_factory.mktemp("assets")
    rows = [question(number, length=1300 if number % 4 == 1 else 0) for number in range(40)]
    (root / "datasets" / "metamathqa").mkdir(parents=True)
    (root / "datasets" / "metamathqa" / "train.json").write_text(json.dumps(rows))
    asked = [{"question": question(n)["query"], "answer": f"{n} + {n} = {2 * n}\n#### {2 * n}"} for n in range(6)]
    for split in ("validation", "test"):
        Dataset.from_list(asked).to_parquet(root / "datasets" / "gsm8k" / f"{split}.parquet")
    model = root / "models" / "Llama-3.2-3B"
    tokenizer = byte_tokenizer([row["query"] + row["response"] for row in rows], 300, 1024, model)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(
        **shape,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(model)
    return root


@pytest.fixture
def benchmark(make, folder):
    """benchmark(...) -> the experiment on those files."""
    sizes = [f"task.first.{split}={COUNTS[split]}" for split in ("train", "validation")]
    return lambda *more: make(
        *("+exp=metamath", "model=llama32_3b", f"assets.root={folder}", "task.decoding.max_new_tokens=4"),
        *(f"task.data.{split}.count={count}" for split, count in COUNTS.items()),
        *(*sizes, "train.log_every=1", *more),
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_takes_5000_steps_of_4_rows(make, recipe):
    method = recipe.partition("_")[0]
    config = make("+exp=metamath", "model=llama32_3b", f"method={method}", f"recipe=llama32_3b/{recipe}")
    rows, settings = config.task.first["train"], config.recipe
    assert (rows, rows * settings.epochs / settings.batch_size, config.train.is_trial) == (20_000, 5000, False)
    assert (settings.schedule, settings.warmup_ratio, settings.max_grad_norm) == ("cosine", 0.1, 1.0)
    assert (settings.max_length, config.task.base, config.train.precision, config.seed) == (768, "bf16", "fp32", 0)
    if recipe in ("lora", "fourierft_peft_default"):
        assert (settings.lr, settings.weight_decay) == (1e-4, 0.1)


def test_the_rows_are_the_first_that_are_short_enough(benchmark):
    config = benchmark()
    data = Data(config.task, config.task.find(config.assets, mini=False))
    splits = config.task.chosen(data)
    short = [question(number) for number in range(40) if number % 4 != 1][:24]
    assert splits["train"]["instruction"][:] == [row["query"] for row in short]
    assert splits["train"]["output"][:] == [row["response"] for row in short]
    assert {split: len(rows) for split, rows in splits.items()} == COUNTS
    longest = len("{query} {response}".format(**question(39)))  # as the benchmark counts
    thirty = {"first": {"train": 30}}
    exact = config.task.model_copy(update={"characters": longest, **thirty}).chosen(data)
    assert len(exact["train"]) == 30
    with pytest.raises(UserError, match=r"task.first.train=30: .* has \d+ rows of at most task.characters"):
        config.task.model_copy(update={"characters": longest - 1, **thirty}).chosen(data)


def test_the_whole_way_from_the_rows_to_checked_numbers_and_an_adapter_that_peft_loads(benchmark, folder):
    config = benchmark("method.n=20", "method.scale=0.05")
    record = run(config)
    assert (record.status, record.scale, record.dataset.rows) == ("ok", "small", COUNTS)
    assert record.cost.steps == 6  # 24 rows, 4 a step
    assert 0 <= record.metrics.test.last["accuracy"] <= 1
    place = config.runs / config.name
    outputs = [json.loads(line) for line in (place / "last" / "outputs.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in outputs] == [
        f"Question: {question(n)['query']} Think step by step.\nAnswer:" for n in range(6)
    ]
    base = AutoModelForCausalLM.from_pretrained(folder / "models" / "Llama-3.2-3B")
    loaded = peft.PeftModel.from_pretrained(base, place / "last")
    weights = {name: p for name, p in loaded.named_parameters() if "fourierft_spectrum" in name}
    assert sum(p.numel() for p in weights.values()) == record.params.adapter
    assert {p.dtype for p in weights.values()} == {torch.float32}


def test_a_json_file_that_is_no_list_of_objects_is_named(tmp_path):
    file = tmp_path / "train.json"
    for text, words in (('{"query": 1}', "no list of objects"), ('[{"query": "a"', "JSON file")):
        file.write_text(text)
        with pytest.raises(UserError, match=rf"train\.json: .*{words}"):
            read_rows(file, ["query"])
    file.write_text('[{"query": "a", "response": "b"}]')
    assert read_rows(file, ["query"])["query"][:] == ["a"]
    with pytest.raises(UserError, match=r"train\.json: lacks the column answer; it has query, response"):
        read_rows(file, ["answer"])


def test_a_split_is_looked_for_in_both_forms(folder, tmp_path):
    assets = Assets(root=folder, made=tmp_path, hub=False)
    found = find_dataset("metamathqa", {"train": "MetaMathQA-395K.json"}, "a/b", assets)
    assert found.files["train"].name == "train.json"
    with pytest.raises(UserError, match=r"missing .*validation\.parquet"):
        find_dataset("metamathqa", {"train": "", "validation": ""}, "a/b", assets)
