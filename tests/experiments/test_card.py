"""The folder of an adapter is complete for the hub: its card is true, and the code in it gives the model of the run."""

import json
import re

import huggingface_hub
import peft
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoTokenizer

from experiments import pipeline
from experiments.card import HERE, complete
from experiments.methods.base import task_type
from tests import handmade

QUICK = ("train.rows=64", "train.max_steps=4")
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def ran(make, monkeypatch):
    """ran("+exp=glue_rte", ...) -> configuration, record, folder of the best adapter, model with its weights."""

    def ran(*overrides: str, hub: str | None = None):
        config = make(*QUICK, *overrides)
        config = config.model_copy(update={"model": config.model.model_copy(update={"hub": hub})})
        kept = []
        adapt = type(config.method).adapt
        monkeypatch.setattr(type(config.method), "adapt", lambda *args: kept.append(adapt(*args)) or kept[0])
        return config, pipeline.run(config), config.runs / config.name / "best", kept[0].eval()

    return ran


def first_rows(config):
    """The first rows of validation as the model reads them, without labels."""
    weights, data = pipeline.find(config)
    prepared = config.task.prepare(config.model, weights, data, config.train, config.recipe, config.seed)
    batch = prepared.collate([prepared.validation[i] for i in range(8)])
    batch.pop("labels")
    return batch


def models_of(card, folder, monkeypatch):
    """The models that the card's code makes, by the block that makes them."""
    monkeypatch.setattr(huggingface_hub, "snapshot_download", {HERE: str(folder)}.__getitem__)
    first, *ways = BLOCK.findall(card.text)
    for way in ways:
        found = {}
        exec(first + way, found)
        yield found["model"]


@pytest.mark.parametrize("method", ["fourierft", "lora"])
def test_auto_peft_gives_the_logits_of_the_run(ran, method):
    config, _, folder, model = ran("+exp=glue_rte", f"method={method}")
    theirs = peft.AutoPeftModelForSequenceClassification.from_pretrained(folder, dtype="float32").eval()
    assert type(theirs) is peft.PeftModelForSequenceClassification
    rows = first_rows(config)
    with torch.no_grad():
        torch.testing.assert_close(theirs(**rows).logits, model(**rows).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "ways"),
    [
        (("+exp=glue_rte",), 2),
        (("+exp=glue_stsb", "method=lora"), 1),  # a regression: one label
        (("+exp=glue_rte", "method.n=100", "method.entries=grid"), 1),  # which PEFT cannot read
        (("+exp=vit_cifar", "model=vit_mini"), 2),
    ],
)
def test_the_code_in_the_card_makes_the_model_of_the_run(ran, monkeypatch, overrides, ways):
    config, _, folder, model = ran(*overrides)
    card, rows = ModelCard.load(folder / "README.md"), first_rows(config)
    found = list(models_of(card, folder, monkeypatch))
    assert len(found) == ways
    for other in found:
        with torch.no_grad():
            torch.testing.assert_close(other(**rows).logits, model(**rows).logits, rtol=1e-5, atol=1e-5)


def test_the_card_tells_the_record(ran):
    slow = ("recipe.lr=1e-4", "recipe.head_lr=1e-4")  # no image changes its class: the first epoch is the best
    _, record, folder, _ = ran("+exp=vit_cifar", "model=vit_mini", *slow, hub="someone/vit")
    assert not record.metrics.best_is_last, "both cards are the same: the test shows nothing"
    for selection in ("best", "last"):
        card = ModelCard.load(folder.parent / selection / "README.md")
        told = {(one.dataset_split, one.metric_type): one.metric_value for one in card.data.eval_results}
        for split, both in (("validation", record.metrics.all), ("test", record.metrics.test)):
            for metric in ("accuracy", "loss"):
                assert told[split, metric] == getattr(both, selection)[metric]
        told = f"Of the {selection} epoch, {getattr(record.metrics.all, selection)['epoch']:g}; seed {record.seed}. "
        assert f"{told}Record `{record.name}`, scale mini" in card.text
        assert f"| method.n | {record.config['method']['n']} |" in card.text
        assert "in the order of the labels: 0, 1, 2, 3" in card.text
    assert card.data.base_model == "someone/vit" and card.data.pipeline_tag == "image-classification"
    assert card.data.license is None and "choose one that the licences of base and data allow" in card.text
    document = json.loads((folder / "adapter_config.json").read_text())
    assert document["base_model_name_or_path"] == "someone/vit"
    assert document["auto_mapping"]["base_model_class"] == "ViTForImageClassification"


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("DebertaV2ForSequenceClassification", "SEQ_CLS"),
        ("DeiTForImageClassificationWithTeacher", None),
        ("GPT2LMHeadModel", "CAUSAL_LM"),
        ("LlamaForCausalLM", "CAUSAL_LM"),
    ],
)
def test_the_task_goes_by_the_class_of_the_model(kind, task):
    assert task_type(type(kind, (torch.nn.Module,), {})()) == task


@pytest.mark.parametrize("method", ["fourierft", "vera"])
def test_the_base_is_named_as_on_the_hub(ran, method):
    _, _, folder, _ = ran("+exp=glue_rte", f"method={method}", hub="someone/roberta")
    document = json.loads((folder / "adapter_config.json").read_text())
    assert (document["base_model_name_or_path"], document["task_type"]) == ("someone/roberta", "SEQ_CLS")
    card = ModelCard.load(folder / "README.md")
    assert card.data.base_model == "someone/roberta" and '"someone/roberta", dtype="float32"' in card.text


def test_the_tokenizer_is_the_base_s_and_the_classes_have_names(ran):
    config, _, folder, _ = ran("+exp=glue_rte")
    weights, _ = pipeline.find(config)
    assert "in the order of the labels: entailment, not_entailment" in (folder / "README.md").read_text()
    texts = ["a b c", "The cat sat on the mat, did it?"]
    base, ours = (AutoTokenizer.from_pretrained(where) for where in (weights.files["config.json"].parent, folder))
    assert ours(texts)["input_ids"] == base(texts)["input_ids"]


def test_the_image_processor_of_a_model_in_timm_s_form_is_the_base_s(tmp_path):
    """It is in the base's config.json, and has no file of its own."""
    base, folder = tmp_path / "base", tmp_path / "best"
    timm = {"model_type": "timm_wrapper", "num_classes": 9, "pretrained_cfg": {"input_size": [3, 64, 64]}}
    adapter = {"peft_type": "FOURIERFT_EXTENDED", "task_type": None, "base_model_name_or_path": "timm/vit"}
    for path, content in {base / "config.json": timm, folder / "adapter_config.json": adapter}.items():
        path.parent.mkdir()
        path.write_text(json.dumps(content))
    complete(folder, "best", handmade.run(exp="vit_cifar"), base, {0: "cat", 1: "dog"})
    text = (folder / "README.md").read_text()
    assert 'inputs = AutoImageProcessor.from_pretrained("timm/vit")' in text
    assert "in the order of the labels: cat, dog" in text and "With PEFT" not in text


def test_what_is_no_adapter_has_no_card(ran):
    _, _, folder, _ = ran("+exp=glue_rte", "method=bitfit")
    assert {path.name for path in folder.iterdir()} == {"trained.safetensors"}
