"""What each method trains, counts, and reports as delta_W; and the two learning rates."""

import pytest
import torch
from transformers import RobertaConfig, RobertaForSequenceClassification

import fourierft
from experiments.analysis.memory import saved_for_backward
from experiments.methods.base import count, stored
from experiments.training import FineTuner, arguments

ATTENTION, HEAD = ("query", "value"), ("classifier",)
D, LAYERS = 16, 2


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=50,
        hidden_size=D,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
        num_labels=2,
    )
    return RobertaForSequenceClassification(config)


def method(make, name, *more):
    return make("+exp=glue_rte", f"method={name}", *more).method


@pytest.mark.parametrize(
    ("name", "settings", "adapter"),
    [
        ("fourierft", ["method.n=20"], 2 * LAYERS * 20),
        ("lora", ["method.r=3"], 2 * LAYERS * 2 * D * 3),
        # embeddings (50 + 20 + 2) D + norm; a layer: 4 D^2 + 2 * 32 D, biases 4 D + 32 + D, two norms
        ("full", [], 72 * D + 2 * D + LAYERS * (4 * D * D + 64 * D + 4 * D + 32 + D + 4 * D)),
        ("bitfit", [], D + LAYERS * (4 * D + 32 + D + 2 * D)),
        ("head_only", [], 0),
    ],
)
def test_exact_counts(make, model, name, settings, adapter):
    whole = sum(p.numel() for p in model.parameters())
    adapted = method(make, name, *settings).adapt(model, ATTENTION, HEAD)
    found = count(adapted, HEAD)
    head = D * D + D + 2 * D + 2
    added = adapter if name in ("fourierft", "lora") else 0
    copy_of_head = head if name == "lora" else 0  # peft keeps the untrained head beside the trained one
    assert found == {
        "adapter": adapter,
        "head": head,
        "total": whole + added + copy_of_head,
        "adapter_bytes": 4 * adapter,
    }
    if name == "fourierft":
        theirs = fourierft.count(adapted)
        assert (theirs.adapter, theirs.head, theirs.total) == (found["adapter"], found["head"], found["total"])


@pytest.mark.parametrize("name", ["fourierft", "lora", "full", "bitfit", "head_only"])
def test_stored_is_what_was_trained_and_the_files_that_hold_it(make, model, name, tmp_path):
    adapter = method(make, name, *(["method.n=20"] if name == "fourierft" else []))
    adapted = adapter.adapt(model, ATTENTION, HEAD)
    adapter.save(adapted, tmp_path)
    found, trained = stored(tmp_path), count(adapted, HEAD)
    assert found["stored_values"] == trained["adapter"] + trained["head"]
    needed = [path for path in tmp_path.iterdir() if path.name != "README.md"]  # peft's card of the model
    assert {path.suffix for path in needed} <= {".safetensors", ".json"}
    assert found["stored_bytes"] == sum(path.stat().st_size for path in needed) > 4 * found["stored_values"]


@pytest.mark.parametrize("name", ["fourierft", "lora", "full"])
def test_delta_w_is_what_changed_the_output(make, model, name):
    """The plain model with delta_W added to its weights gives the tuned model's output."""
    import copy

    plain = copy.deepcopy(model)
    chosen = method(make, name, *(["method.n=20"] if name == "fourierft" else []))
    tuned = chosen.adapt(model, ATTENTION, HEAD)
    with torch.no_grad():
        for parameter_name, parameter in tuned.named_parameters():
            moved = ("query.weight", "value.weight") if name == "full" else ("lora_", "spectrum")
            if parameter.requires_grad and any(part in parameter_name for part in moved):
                parameter.add_(0.3 * torch.randn_like(parameter))
    deltas = chosen.delta_weights(tuned)
    assert len(deltas) == 2 * LAYERS and all(delta.shape == (D, D) for delta in deltas.values())
    with torch.no_grad():
        for path, delta in deltas.items():
            plain.get_submodule(path).weight.add_(delta)
    ids = torch.randint(3, 50, (4, 9))
    assert torch.allclose(plain.eval()(ids).logits, tuned.eval()(ids).logits, atol=1e-5)


def test_head_and_adapter_have_rates_of_their_own_and_norms_no_decay(make, model, tmp_path):
    config = make("+exp=glue_rte", "method=full", "recipe.weight_decay=0.1", "recipe.lr=0.01", "recipe.head_lr=0.002")
    adapted = config.method.adapt(model, ATTENTION, HEAD)
    trainer = FineTuner(
        model=adapted,
        args=arguments(config, "max", tmp_path),
        eval_dataset=[],
        head=HEAD,
        lr=config.recipe.lr,
        head_lr=config.recipe.head_lr,
    )
    groups = trainer.create_optimizer().param_groups
    names = {id(p): name for name, p in adapted.named_parameters()}
    assert {(g["name"], g["lr"], g["weight_decay"]) for g in groups} == {
        ("adapter", 0.01, 0.1),
        ("adapter", 0.01, 0.0),
        ("head", 0.002, 0.1),
        ("head", 0.002, 0.0),
    }
    placed = [(names[id(p)], g) for g in groups for p in g["params"]]
    assert sorted(name for name, _ in placed) == sorted(name for name, p in adapted.named_parameters())
    for name, group in placed:
        assert (group["name"] == "head") == name.startswith("classifier")
        assert (group["weight_decay"] == 0) == (name.endswith("bias") or "LayerNorm" in name)


def test_saved_for_backward_counts_each_storage_once_and_no_parameter():
    layer = torch.nn.Linear(8, 4)
    x = torch.randn(3, 8)
    # A linear layer saves x (and its weight, a parameter); squaring saves y.
    assert saved_for_backward(layer, lambda: (layer(x) ** 2).sum()) == 4 * (3 * 8 + 3 * 4)
    frozen = torch.nn.Linear(8, 4).requires_grad_(False)
    state = torch.get_rng_state()
    assert saved_for_backward(frozen, lambda: torch.nn.functional.dropout(frozen(x), 0.5).sum()) == 0
    assert torch.equal(torch.get_rng_state(), state)
