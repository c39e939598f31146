"""Whole runs on a person's own data, on models that no configuration names."""

import json
import shutil

import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    Dinov2Config,
    Dinov2Model,
    DistilBertConfig,
    DistilBertModel,
    ViTImageProcessor,
)

from experiments import pipeline
from experiments.data.assets import EMBEDDED
from experiments.errors import UserError
from experiments.mini import glue

QUICK = ["train.max_steps=2", "recipe.batch_size=8", "recipe.max_length=64"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Assets with small untrained models of architectures that the suite does not name; the current folder too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    torch.manual_seed(0)
    text, images = tmp_path / "models" / "tiny-distil", tmp_path / "models" / "tiny-dino"
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "roberta")
    size = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "vocab_size": len(tokenizer)}
    DistilBertModel(DistilBertConfig(**size, max_position_embeddings=128)).save_pretrained(text)
    tokenizer.save_pretrained(text)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    Dinov2Model(Dinov2Config(**size)).save_pretrained(images)
    ViTImageProcessor(size={"height": 28, "width": 28}).save_pretrained(images)
    return tmp_path


@pytest.fixture
def own(make, folder):
    """own("own_text", ...) -> the configuration of a quick run of it."""
    return lambda exp, model, *more: make(f"+exp={exp}", f"assets.root={folder}", f"model={model}", *QUICK, *more)


def reviews(folder, *splits):
    """Sentences with an opinion, and a word for it, in a file for each split."""
    (folder / "reviews").mkdir()
    for split in splits:
        rows = glue.generate("sst2", split).select(range(60))
        named = [rows.features["label"].int2str(label) for label in rows["label"]]
        pd.DataFrame({"review": rows["sentence"][:], "mood": named}).to_csv(
            folder / f"reviews/{split}.csv", index=False
        )
    return ["task.data=reviews", "task.inputs=[review]", "task.label=mood"]


def test_texts_train_an_encoder_that_no_configuration_names(own, folder):
    data = reviews(folder, "train", "validation", "test")
    done = pipeline.run(own("own_text", "encoder", *data, "model.hub=someone/tiny-distil"))
    assert (done.exp, done.task, done.model.name, done.scale) == ("reviews", "reviews", "tiny_distil", "small")
    assert (done.paper_cell, done.dataset.rows) == (None, {"train": 60, "validation": 60, "test": 60})
    assert set(done.metrics.test.best) == {"loss", "accuracy", "macro_f1", "matthews"}
    assert done.params.adapter == 1000 * 4  # query and value of two layers
    assert done.params.head == 32 * 32 + 32 + 32 * 2 + 2  # pre_classifier and classifier
    saved = json.loads(next((folder / "runs").rglob("best/adapter_config.json")).read_text())
    assert set(saved["target_modules"]) == {"q_lin", "v_lin"}
    assert set(saved["modules_to_save"]) == {"pre_classifier", "classifier"}


@pytest.mark.parametrize("method", ["lora", "full", "head_only", "bitfit"])
def test_the_baselines_have_a_recipe_for_it_too(own, folder, method):
    done = pipeline.run(
        own("own_text", "encoder", *reviews(folder, "train"), "model.hub=a/tiny-distil", f"method={method}")
    )
    assert done.metrics.primary == "accuracy"


def test_scores_are_told_by_their_correlation(own, folder):
    rows = glue.generate("stsb", "train").select(range(60))
    rows.select_columns(["sentence1", "sentence2", "label"]).to_csv("pairs.csv", index=False)
    pairs = ["task.data=pairs.csv", "task.inputs=[sentence1,sentence2]", "task.kind=scores"]
    done = pipeline.run(own("own_text", "encoder", *pairs, "model.hub=a/tiny-distil"))
    assert done.metrics.primary == "pearson"


def test_other_data_in_the_same_place_are_another_run(own, folder):
    config = own("own_text", "encoder", *reviews(folder, "train"), "model.hub=a/tiny-distil", "record.dir=records")
    first = pipeline.run(config)
    assert pipeline.run(config) == first
    (folder / "reviews" / "train.csv").write_text((folder / "reviews" / "train.csv").read_text() + "so good,positive\n")
    assert pipeline.run(config).dataset.sha256 != first.dataset.sha256


def test_images_train_a_model_that_no_configuration_names(own, folder):
    for number in range(40):
        path = folder / "photos" / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (30, 30), 200 * (number % 2) + number).save(path)
    done = pipeline.run(
        own("own_images", "vision", "task.data=photos", "model.hub=a/tiny-dino", "recipe.max_length=null")
    )
    assert (done.exp, done.model.name, done.dataset.rows) == ("photos", "tiny_dino", {"train": 36, "validation": 4})
    assert done.params.adapter == 1000 * 4


SAID = {"user": "how are you", "assistant": "well"}
CHATS = [{"messages": [{"role": role, "content": f"{text} {i}"} for role, text in SAID.items()]} for i in range(40)]
SHORT = ["task.base=fp32", "recipe.max_length=200"]


@pytest.mark.parametrize("template", [None, "{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}says "])
def test_conversations_are_worded_as_the_model_s_template_does_or_as_alpaca(own, folder, template):
    shutil.copytree(EMBEDDED / "llama", folder / "models" / "chat")
    if template:
        settings = folder / "models" / "chat" / "tokenizer_config.json"
        settings.write_text(json.dumps({**json.loads(settings.read_text()), "chat_template": template}))
    (folder / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in CHATS))
    config = own("own_instructions", "causal_lm", "task.data=chats.jsonl", "model.hub=a/chat", *SHORT)
    tokenizer = AutoTokenizer.from_pretrained(folder / "models" / "chat")
    rows = config.task.load(config.task.find(config.assets, mini=False))["train"].select([0])
    asked = rows["history"][0][0]["content"]
    expected = f"<user> {asked} says " if template else config.task.wording.ask(asked)
    assert config.task.prompts(rows, tokenizer) == [expected]
    assert pipeline.run(config).dataset.rows == {"train": 36, "validation": 4}


def test_a_conversation_that_the_chat_template_refuses_is_named(own, folder):
    (folder / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in CHATS))
    config = own("own_instructions", "causal_lm", "task.data=chats.jsonl", "model.hub=a/chat", *SHORT)
    rows = config.task.load(config.task.find(config.assets, mini=False))["train"]
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "llama")
    tokenizer.chat_template = "{{ raise_exception('no ' + messages[0].role) }}"
    with pytest.raises(UserError, match=r"jsonl, row \d+ \('how are you \d+'\): .* refuses user \(no user\); .* model"):
        config.task.prompts(rows, tokenizer)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"auto_map": {"AutoConfig": "own.Config"}, "model_type": "own"}, r"needs code of its own \(own.Config\)"),
        ({"model_type": "distilbert"}, "lacks model.safetensors, but pytorch_model.bin: pickles are not loaded"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused_before_anything_is_read(own, folder, config, told):
    model = folder / "models" / "bad"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(config))
    (model / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=told):
        pipeline.run(own("own_text", "encoder", "task.data=none.csv", "model.hub=a/bad"))
