"""Instruction tuning from end to end on a LLaMA with random weights: what a run leaves and what it refuses."""

import importlib.util
import json

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from experiments import pipeline
from experiments.data import assets as sources
from experiments.data.instructions import Wording
from experiments.errors import UserError
from experiments.judging.answering import converse
from experiments.judging.answers import Answer
from experiments.judging.questions import Question
from experiments.lines import read_lines
from experiments.models import generation
from experiments.pretraining.causal import byte_tokenizer

QUICK = ("+exp=instruct", "model.hub=null", "model.local=random", "task.base=fp32", "task.data.train.count=60")
QUICK += ("task.held_out={validation:10,test:10}", "recipe.max_length=96", "recipe.epochs=1", "recipe.batch_size=16")
QUICK += ("train.precision=fp32", "task.decoding.max_new_tokens=6", "method.n=20", "train.attention=eager")
OTHERS = tuple(override for override in QUICK if override != "method.n=20")
LORA = ("method=lora_qv", *OTHERS)
SHORT = (
    "task.wording={with_input:'{instruction} {input} = ',without_input:'{instruction} = ',next_turn:'{instruction} = '}"
)
BENCHES = {"mt_bench": ["What is it?", "And then?"], "vicuna_bench": ["How is it made?"]}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """An assets folder: a random LLaMA, instructions in Alpaca's columns, and a small bench of each name."""
    root = tmp_path_factory.mktemp("assets")
    rows = [
        {"instruction": f"Say {i} to the cat", "input": f"a{i}" if i % 3 else "", "output": f"Cat {i}."}
        for i in range(60)
    ]
    (root / "datasets" / "alpaca").mkdir(parents=True)
    Dataset.from_list(rows).to_parquet(root / "datasets" / "alpaca" / "train.parquet")
    judge = root / "datasets" / "llm_judge"
    for bench, turns in BENCHES.items():
        (judge / bench / "reference_answer").mkdir(parents=True)
        lines = [{"question_id": i, "category": ("writing", "math")[i % 2], "turns": turns} for i in range(3)]
        (judge / bench / "question.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        (judge / bench / "reference_answer" / "gpt-4.jsonl").write_text("")
    (judge / "judge_prompts.jsonl").write_text("")
    model = root / "models" / "random"
    tokenizer = byte_tokenizer([f"{row['instruction']} {row['output']}" for row in rows], 320, 256, model)
    torch.manual_seed(0)
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    size |= {"num_key_value_heads": 2, "max_position_embeddings": 256, "vocab_size": len(tokenizer)}
    LlamaForCausalLM(LlamaConfig(**size, bos_token_id=0, eos_token_id=0)).save_pretrained(model)
    return root


@pytest.fixture
def instruct(make, folder):
    """The configuration of a quick run on that folder."""
    return lambda *more: make(f"assets.root={folder}", "model=causal_lm", SHORT, *more)


@pytest.mark.parametrize("overrides", [QUICK, LORA], ids=["fourierft", "lora_qv"])
def test_a_run_leaves_answers_in_fastchat_s_form_and_an_adapter_for_peft(instruct, folder, overrides):
    config = instruct(*overrides)
    done = pipeline.run(config)
    assert (done.exp, done.scale, done.dataset.rows) == (
        "instruct",
        "small",
        {"train": 40, "validation": 10, "test": 10},
    )
    assert (done.metrics.primary, done.params.head) == ("inverse_perplexity", 0)
    counts = {f"{what}_{bench}" for what in ("cut", "unfinished") for bench in BENCHES}
    assert set(done.metrics.test.last) == {"loss", "inverse_perplexity", *counts}
    run = config.runs / config.name
    for bench, turns in BENCHES.items():
        answers = read_lines(run / "last" / "model_answer" / f"{bench}.jsonl", Answer)
        assert [answer.question_id for answer in answers] == [0, 1, 2]
        assert all(len(answer.turns) == len(turns) for answer in answers)
        assert answers[0].model_id == f"random-{config.method.name}-seed0-{config.hash}"
    base = folder / "models" / "random"
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), run / "last").eval()
    prepared = config.task.prepare(config.model, *pipeline.find(config), config.train, config.recipe, 0)
    batch = prepared.collate([prepared.test[i] for i in range(10)])
    with torch.no_grad():
        losses = prepared.reduce(
            model(**{k: batch[k] for k in ("input_ids", "attention_mask")}).logits, batch["labels"]
        )
    found = float((-losses.sum() / (batch["labels"] != -100).sum()).exp())
    assert found == pytest.approx(done.metrics.test.last["inverse_perplexity"], rel=1e-3)


def test_an_interruption_changes_no_answer(instruct, tmp_path, stop_writing):
    elsewhere = (f"runs={tmp_path}/elsewhere", f"record.dir={tmp_path}/elsewhere", "train.eval_batch_size=8")
    whole = instruct(*QUICK, *elsewhere)
    pipeline.run(whole)
    config, calls = instruct(*QUICK, "train.eval_batch_size=2"), stop_writing(4)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(config)
    pipeline.run(config)
    assert len(calls) == 2 + 2 + 2 + 1, "three questions, two at a time, and one batch again"
    for bench in BENCHES:
        files = [one.runs / one.name / "last" / "model_answer" / f"{bench}.jsonl" for one in (config, whole)]
        ours, theirs = ([answer.answer_id for answer in read_lines(file, Answer)] for file in files)
        assert ours == theirs, "nor does the size of a batch"


def test_a_base_in_4_bits_or_bf16_trains_an_adapter_in_float32(instruct, monkeypatch):
    totals = set()
    for base, overrides in (("bf16", QUICK), ("4bit", QUICK), ("4bit", LORA)):
        config = instruct(
            *overrides, f"task.base={base}", "task.benches=[]", "train.checkpointing=true", "recipe.epochs=2"
        )
        done = pipeline.run(config)
        adapter = load_file(config.runs / config.name / "last" / "adapter_model.safetensors")
        assert {tensor.dtype for tensor in adapter.values()} == {torch.float32}
        assert done.metrics.per_epoch[-1]["loss"] < done.metrics.per_epoch[0]["loss"] + 0.1
        assert done.rank.summary.count == 4
        totals.add(done.params.total - done.params.adapter)
    assert len(totals) == 1, "two values in a byte are two values"
    with pytest.raises(UserError, match=r"trains and is torch\.(uint8|bfloat16): take task\.base=fp32"):
        pipeline.run(instruct(*OTHERS, "method=full", "task.base=4bit"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"task\.base=4bit .*: needs bitsandbytes"):
        pipeline.run(instruct(*QUICK, "task.base=4bit", "seed=1"))


def test_the_right_answers_are_counted(instruct):
    """A model that has seen nothing answers nothing right; the checked outputs are left to be read."""
    config = instruct(*QUICK, "task.check=exact", "task.benches=[]")
    done = pipeline.run(config)
    rows = [
        json.loads(line) for line in (config.runs / config.name / "last" / "outputs.jsonl").read_text().splitlines()
    ]
    assert len(rows) == 10 and done.metrics.test.last["accuracy"] == sum(row["right"] for row in rows) / 10
    assert all(row["right"] == (row["output"] == row["expected"].strip()) for row in rows)


def test_a_second_turn_stands_behind_the_first_answer_and_its_end():
    questions = [
        Question(question_id=1, category="math", turns=["one", "two"]),
        Question(question_id=2, category="writing", turns=["only"]),
    ]
    wording = Wording(with_input=None, without_input="Q {instruction} A ", next_turn="| {instruction} A ")
    asked = []

    def write(name, prompts, temperatures):
        asked.append((name, prompts, temperatures))
        return [generation.Text(row, f"answer {row}", 2, True) for row in range(len(prompts))]

    said = converse(questions, "mt_bench", wording, "</s>", write)
    assert asked == [
        ("mt_bench.turn1", ["Q one A ", "Q only A "], [0.0, 0.7]),
        ("mt_bench.turn2", ["Q one A answer 0</s>| two A "], [0.0]),
    ]
    assert [[text.output for text in texts] for texts in said] == [["answer 0", "answer 0"], ["answer 1"]]


def test_what_is_missing_or_wrong_is_named(instruct, make, folder, tmp_path):
    lonely = tmp_path / "lonely"
    for part in ("models", "datasets"):
        (lonely / part).mkdir(parents=True)
    (lonely / "models" / "random").symlink_to(folder / "models" / "random")
    (lonely / "datasets" / "alpaca").symlink_to(folder / "datasets" / "alpaca")
    with pytest.raises(UserError, match=r"mt_bench: missing .*question\.jsonl.*lm-sys/FastChat"):
        pipeline.run(make(f"assets.root={lonely}", "model=causal_lm", *QUICK))
    question = lonely / "datasets" / "llm_judge" / "mt_bench" / "question.jsonl"
    (lonely / "datasets" / "llm_judge").mkdir()
    for bench in BENCHES:
        (lonely / "datasets" / "llm_judge" / bench / "reference_answer").mkdir(parents=True)
        for file in ("question.jsonl", "reference_answer/gpt-4.jsonl"):
            (question.parents[1] / bench / file).write_bytes(
                (folder / "datasets" / "llm_judge" / bench / file).read_bytes()
            )
    (question.parents[1] / "judge_prompts.jsonl").write_text("")
    question.write_text('{"question_id": 1, "category": "math", "turns": ["a"], "level": 3}\n')
    with pytest.raises(UserError, match=r"question\.jsonl, line 1: level: .*got 3"):
        pipeline.run(make(f"assets.root={lonely}", "model=causal_lm", *QUICK))
    with pytest.raises(UserError, match=r"task\.decoding\.max_new_tokens=256: random has 256 for prompt and answer"):
        pipeline.run(instruct(*QUICK, "task.decoding.max_new_tokens=256"))
    with pytest.raises(UserError, match=r"recipe\.max_length=512: random reads at most 256"):
        pipeline.run(instruct(*QUICK, "recipe.max_length=512"))
    with pytest.raises(UserError, match=r"train: no row is left; raise recipe\.max_length=4"):
        pipeline.run(instruct(*QUICK, "recipe.max_length=4"))
    with pytest.raises(UserError, match=r"task\.wording\.with_input=null: 'Say .*' comes with an input"):
        pipeline.run(instruct(*QUICK, "task.wording.with_input=null"))
    with pytest.raises(UserError, match=r"task\.held_out\.test=60: .* has 50 rows"):
        pipeline.run(instruct(*QUICK, "task.held_out.test=60"))


def test_weights_in_several_files_are_found_and_a_missing_one_named(instruct, folder, tmp_path):
    model = LlamaForCausalLM.from_pretrained(folder / "models" / "random")
    several = tmp_path / "several" / "models" / "random"
    model.save_pretrained(several, max_shard_size="100KB")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (several / file).write_bytes((folder / "models" / "random" / file).read_bytes())
    config = instruct(*QUICK, f"assets.root={tmp_path}/several")
    found = sources.find_model(config.model, config.assets)
    shards = [name for name in found.files if name.startswith("model-")]
    assert len(shards) > 1 and "model.safetensors.index.json" in found.files
    (several / shards[-1]).unlink()
    with pytest.raises(UserError, match=f"lacks {shards[-1]}"):
        sources.find_model(config.model, config.assets)


@pytest.mark.assets
def test_the_wording_is_that_of_every_row_of_alpaca(assets, make):
    config = make("+exp=instruct", "model=llama_stories260k", f"assets.root={assets}")
    source = config.task.find(config.assets, mini=False)
    rows = sources.read_rows(source.files["train"], ["text", "output"])
    splits = config.task.load(source)
    prompts = config.task._prompts(splits["train"])
    assert all(
        text == prompt + output for text, prompt, output in zip(rows["text"], prompts, rows["output"], strict=True)
    )
    assert len(rows) == config.task.data["train"].count and config.task.is_whole(splits)
