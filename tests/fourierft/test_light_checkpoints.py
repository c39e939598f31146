"""The Hugging Face Trainer keeps what trains: small checkpoints, from which it resumes as if nothing had happened."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

import fourierft
from fourierft import FourierConfig, FourierError

CONFIG = FourierConfig(n=50, scale=15.0, targets=("query", "value"), head=("classifier",), task_type="SEQ_CLS")
SAVED = {"adapter_config.json", "adapter_model.safetensors", "model.safetensors"}


@pytest.fixture
def trained(roberta, tmp_path):
    """trained(light=True) -> the Trainer after four steps, with a checkpoint of each and the best one loaded."""
    rows = [{"input_ids": torch.randint(4, 60, (12,)), "labels": i % 2} for i in range(16)]

    def train(light: bool = True, resume: str | None = None) -> Trainer:
        model = roberta()
        torch.manual_seed(7)
        fourierft.adapt(model, CONFIG)
        settings = TrainingArguments(
            output_dir=str(tmp_path / ("light" if light else "whole")),
            per_device_train_batch_size=4,
            max_steps=4,
            learning_rate=0.1,
            eval_strategy="steps",
            save_strategy="steps",
            eval_steps=1,
            save_steps=1,
            load_best_model_at_end=True,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        model = fourierft.light_checkpoints(model) if light else model
        trainer = Trainer(model, settings, train_dataset=rows, eval_dataset=rows)
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    return train


def size(folder):
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_checkpoint_holds_what_trains_and_is_an_adapter(trained, roberta, tokens):
    light, whole = trained(), trained(light=False)
    assert equal(parameters(light.model), parameters(whole.model)), "the files changed the training"
    checkpoint = Path(light.state.best_model_checkpoint)
    assert {path.name for path in checkpoint.iterdir()} >= SAVED and not (checkpoint / "config.json").exists()
    count = fourierft.count(light.model)
    values = count.adapter + count.head
    assert 8 * values < size(checkpoint) < 8 * values + 5000  # float32, in the adapter and for the Trainer
    assert size(whole.state.best_model_checkpoint) > 4 * count.total
    light.model.eval()
    for model in (fourierft.load(roberta(), checkpoint), PeftModel.from_pretrained(roberta(), checkpoint)):
        torch.testing.assert_close(model.eval()(tokens).logits, light.model(tokens).logits, rtol=1e-5, atol=1e-5)


def test_a_resumed_training_ends_as_an_uninterrupted_one(trained, caplog):
    whole = trained()
    resumed = trained(resume=f"{whole.args.output_dir}/checkpoint-2")
    assert "missing keys" not in caplog.text
    assert equal(parameters(whole.model), parameters(resumed.model))


def test_the_best_model_is_loaded_in_the_end(trained):
    one = trained()
    best = load_file(Path(one.state.best_model_checkpoint) / "model.safetensors")
    assert one.state.best_global_step < 4, "the last is the best: the test shows nothing"
    assert equal(parameters(one.model), best)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_saves_itself(duplicate, roberta, tmp_path):
    model = fourierft.light_checkpoints(fourierft.adapt(roberta(), CONFIG))
    other = duplicate(model)
    with torch.no_grad():
        other.classifier.out_proj.bias.fill_(3.0)
    other.save_pretrained(tmp_path)
    assert (load_file(tmp_path / "model.safetensors")["classifier.out_proj.bias"] == 3.0).all()


def test_gathered_tensors_are_what_is_written(roberta, tmp_path):
    model = fourierft.light_checkpoints(fourierft.adapt(roberta(), CONFIG))
    gathered = {name: torch.full_like(tensor, 2.0) for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=gathered)
    for file in ("model.safetensors", "adapter_model.safetensors"):
        assert all((tensor == 2.0).all() for tensor in load_file(tmp_path / file).values())
    with pytest.raises(FourierError, match=r"state_dict has no classifier\.dense\.bias: give"):
        fourierft.save(model, tmp_path, state_dict={})
    model.save_pretrained(tmp_path / "other", is_main_process=False)
    assert not (tmp_path / "other").exists()


def test_a_plain_model_is_refused(roberta):
    with pytest.raises(FourierError, match=r"call fourierft\.adapt"):
        fourierft.light_checkpoints(roberta())
