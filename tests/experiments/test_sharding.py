"""Sharded training keeps the files of one process; what the launcher may ask for; gradient checkpointing."""

import copy

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import GPT2LMHeadModel

from experiments import sharding
from experiments.errors import UserError
from experiments.measure.memory import saved_for_backward
from experiments.methods.trained import trained_state
from experiments.models.architectures import gpt2
from experiments.pretraining.models import GPT2
from tests.conftest import ROOT


@pytest.fixture
def alone(tmp_path):
    """A group of one process: its parameters are sharded tensors like those of any other."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield distributed.init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def steps(model, optimizer, seeds):
    for seed in seeds:
        model(torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def adam(model):
    return torch.optim.AdamW(model.parameters(), lr=0.1)


def test_an_optimiser_s_state_is_whole_in_a_file_and_goes_on_sharded_or_not(alone):
    plain = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    start = copy.deepcopy(plain)
    whole = adam(plain)
    steps(plain, whole, [0, 1])
    before, saved = copy.deepcopy(plain), copy.deepcopy(whole.state_dict())
    steps(plain, whole, [2])

    model = fully_shard(copy.deepcopy(start), mesh=alone)
    optimizer = adam(model)
    sharding.keep_state_whole(optimizer)
    steps(model, optimizer, [0, 1])
    state = optimizer.state_dict()
    for i, moments in saved["state"].items():
        for key, value in moments.items():
            assert not isinstance(state["state"][i][key], DTensor) and torch.equal(state["state"][i][key], value)

    resumed = fully_shard(copy.deepcopy(before), mesh=alone)
    optimizer = adam(resumed)
    sharding.keep_state_whole(optimizer)
    optimizer.load_state_dict(saved)
    assert all(isinstance(of["exp_avg"], DTensor) for of in optimizer.state.values())
    steps(resumed, optimizer, [2])
    found = trained_state(resumed)
    assert found.keys() == dict(plain.named_parameters()).keys()
    assert all(
        type(found[name]) is torch.Tensor and torch.equal(found[name], p) for name, p in plain.named_parameters()
    )


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ACCELERATE_USE_DEEPSPEED", "true", "deepspeed: not supported"),
        ("FSDP_VERSION", "1", "fsdp_version: 1 .*use fsdp_version: 2"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", r"train\.checkpointing=true"),
        ("FSDP_OFFLOAD_PARAMS", "true", "fsdp_offload_params: false"),
    ],
)
def test_what_a_run_cannot_keep_to_is_refused(monkeypatch, variable, value, words):
    assert not sharding.is_asked_for()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert sharding.is_asked_for()
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=words):
        sharding.is_asked_for()


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_a_launcher_s_file_is_one_of_accelerate_s_and_opens_with_its_command(name):
    path = ROOT / "configs" / "launcher" / f"{name}.yaml"
    config = load_config_from_file(str(path))  # refuses a key that it does not know
    assert config.mixed_precision == "no" and config.num_processes > 1
    assert f"accelerate launch --config_file configs/launcher/{name}.yaml run.py" in path.read_text().splitlines()[1]


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("method", ["fourierft", "lora"])
def test_checkpointing_leaves_the_gradients_of_an_adapter_and_saves_less(make, method, precision):
    """The embeddings are frozen, so that no input of the first block asks for a gradient."""
    chosen = make("+exp=e2e", "model=gpt2_mini", f"method={method}")
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(gpt2(16, 2, n_head=2, vocab_size=11, **GPT2 | {"n_positions": 32}))
        settings = {"n": 9} if method == "fourierft" else {}
        model = chosen.method.model_copy(update=settings).adapt(model, chosen.model.attention, chosen.model.head)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        ids = torch.arange(24).remainder(11).view(2, 12)

        def loss(model=model, ids=ids):
            with torch.autocast("cpu", precision, enabled=precision is not None):
                return model.train()(input_ids=ids, labels=ids).loss

        torch.manual_seed(1)
        loss().backward()
        gradients = [p.grad for p in model.parameters() if p.requires_grad]
        results.append((gradients, saved_for_backward(model, loss)))
    (plain, kept), (again, less) = results
    assert any(g.abs().sum() > 0 for g in plain)
    assert all(torch.dist(a, b) <= 1e-5 * a.norm() for a, b in zip(plain, again, strict=True))
    assert less < kept / 2
