"""A step's loss and gradients are those of its rows, an evaluation's loss that of its items, whatever the batches."""

import math

import pytest
import torch
from transformers import TrainerCallback, set_seed

from experiments import pipeline
from experiments.training import train

FAMILIES = {
    "classes": ["+exp=glue_rte"],
    "regression": ["+exp=glue_stsb"],
    "images": ["+exp=vit_cifar", "model=vit_mini"],
    "text": ["+exp=e2e", "model=gpt2_mini"],
    "answers": ["+exp=instruct", "model=llama_mini", "task.learn=all"],
    "penalty": ["+exp=glue_rte", "method=adalora"],
    "penalty of answers": ["+exp=instruct", "model=llama_mini", "method=adalora", "recipe=llama_mini/lora_qv"],
}


class Gradients(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        self.found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.fixture
def first_step(make, tmp_path):
    """first_step(*overrides) -> the gradients of one step over ten rows, its loss, and the loss of validation."""

    def first_step(*overrides):
        quick = ["train.rows=10", "train.max_steps=1", "train.resume=false", "recipe.batch_size=12", "model.dropout=0"]
        config = make(*quick, *overrides)
        set_seed(config.seed)
        prepared = config.task.prepare(config.model, *pipeline.find(config), config.train, config.recipe, config.seed)
        model = config.method.adapt(prepared.model, config.model.attention, config.model.head)
        gradients = Gradients()
        callbacks = [gradients, *config.method.callbacks()]
        trained = train(config, prepared, model, config.model.head, callbacks, tmp_path, {})
        return gradients.found, trained.metrics.all.last["train_loss"], trained.metrics.all.last["loss"]

    return first_step


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_accumulation_nor_batches_of_evaluation_change_a_loss(first_step, family):
    """Batches of three, three, three and one row: their means would weigh the last row three times as much."""
    wanted, loss, validation = first_step(*FAMILIES[family])
    gradients, accumulated, in_parts = first_step(*FAMILIES[family], "train.accumulation=4", "train.eval_batch_size=3")
    assert accumulated == pytest.approx(loss, rel=1e-4) and math.isfinite(loss)
    assert in_parts == pytest.approx(validation, rel=1e-4)
    assert gradients.keys() == wanted.keys()
    for name, gradient in gradients.items():
        assert torch.dist(gradient, wanted[name]) <= 1e-3 * wanted[name].norm() + 1e-7, name


def test_the_penalty_of_adalora_is_that_of_peft(make):
    config = make("+exp=glue_rte", "method=adalora", "train.rows=4")
    prepared = config.task.prepare(config.model, *pipeline.find(config), config.train, config.recipe, config.seed)
    model = config.method.adapt(prepared.model, config.model.attention, config.model.head).eval()
    batch = prepared.collate([prepared.train[i] for i in range(4)])
    with_penalty = model.base_model(**batch).loss  # what a PeftModel of no task calls leaves it out
    labels = batch.pop("labels")
    own = prepared.loss(model(**batch), labels)
    assert config.method.penalty(model) > 0.01
    torch.testing.assert_close(own + config.method.penalty(model), with_penalty)
