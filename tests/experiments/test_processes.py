"""Two processes on a CPU: one record, and the result of one process; by torchrun, by accelerate, sharded or not."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from experiments import record
from tests.conftest import ROOT

RUN = ["run.py", "train.rows=24", "train.max_steps=4", "recipe.batch_size=12", "train.device=cpu", "tracking=off"]
TEXT = ("+exp=e2e", "model=gpt2_mini", "task.decoding.beams=2", "task.decoding.max_new_tokens=12")
CLASSES = ("+exp=glue_rte", "model=roberta_mini")
IMAGES = ("+exp=vit_cifar", "model=vit_mini")
ACCELERATE = ["-m", "accelerate.commands.launch", "--num_processes", "2", "--config_file"]
LAUNCHERS = {
    "one": [],
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
    "ddp": [*ACCELERATE, "configs/launcher/ddp.yaml"],
    "fsdp": [*ACCELERATE, "configs/launcher/fsdp.yaml"],
}


def run(folder, launcher, *overrides):
    """The record and what the run printed."""
    command = [sys.executable, *LAUNCHERS[launcher], *RUN, *overrides, f"runs={folder}/runs"]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, check=True, timeout=280, env=hidden, stdout=subprocess.PIPE, text=True)
    [path] = (folder / "runs").glob("*/*/*/seed*.json")
    return record.read(path), done.stdout


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """single(*overrides) -> the folder and the record of one process."""
    done = {}

    def single(*overrides):
        if overrides not in done:
            folder = tmp_path_factory.mktemp("one")
            done[overrides] = folder, run(folder, "one", *overrides)[0]
        return done[overrides]

    return single


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "overrides", "tolerance"),
    [
        ("torchrun", TEXT, 1e-4),
        ("torchrun", CLASSES, 1e-4),
        ("torchrun", (*CLASSES, "method=adalora"), 1e-3),  # its penalty counts once
        ("torchrun", (*IMAGES, "train.accumulation=2"), 1e-4),
        ("ddp", TEXT, 1e-4),
        ("fsdp", TEXT, 1e-4),
        ("fsdp", (*TEXT, "method=lora"), 1e-4),
        ("fsdp", (*TEXT, "method=full"), 1e-2),  # AdamW turns rounding into steps where a gradient is next to nothing
        ("fsdp", (*TEXT, "train.precision=bf16", "train.checkpointing=true"), 1e-2),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_two_processes_end_as_one_does(tmp_path, single, launcher, overrides, tolerance):
    folder, one = single(*overrides)
    two, printed = run(tmp_path, launcher, *overrides)
    assert ("sharded: the first process holds " in printed) == (launcher == "fsdp")
    assert (one.hardware.processes, two.hardware.processes) == (1, 2)
    assert one.config_hash == two.config_hash and one.cost.steps == two.cost.steps == 4
    exact = "train.precision=bf16" not in overrides
    assert two.metrics.all.last == pytest.approx(one.metrics.all.last, rel=1e-4 if exact else 1e-2)
    assert one.params.adapter == two.params.adapter and one.params.stored_values == two.params.stored_values
    for which in ("best", "last"):
        first, second = (load_file(next(path.rglob(f"{which}/*.safetensors"))) for path in (folder, tmp_path))
        assert first.keys() == second.keys()
        for name, value in first.items():
            assert value.shape == second[name].shape and value.dtype == second[name].dtype
            assert torch.dist(value, second[name]) <= tolerance * value.norm(), name
    if exact and TEXT[0] in overrides:
        first, second = (next(path.rglob("outputs.jsonl")).read_text() for path in (folder, tmp_path))
        assert first == second
        assert one.metrics.test.last["bleu"] == pytest.approx(two.metrics.test.last["bleu"])
