"""One ViT in transformers' form and in timm's: the same logits, and the same adapter after the same training."""

import json

import pytest
import timm
import torch
from timm.models import save_for_hf
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from experiments.methods.fourierft import FourierFT
from experiments.methods.lora import Lora
from experiments.tasks.classified import classifier

SIDE, WIDTH, DEPTH, CLASSES, N = 32, 64, 3, 5, 60
SHAPE = {"img_size": SIDE, "patch_size": 8, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": 4}
OURS = ("q_proj", "v_proj"), ("classifier",)
TIMMS = ("attn.qkv:q,v",), ("head",)
HEADS = {"transformers": "classifier", "timm": "head"}  # form -> its new layer
NAMES = {  # timm's name of a layer of block i -> transformers'
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.o_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


@pytest.fixture
def folders(tmp_path):
    """The same random weights in both forms, as a user would have them: one folder each."""
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=SIDE, patch_size=8, hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=4,
        intermediate_size=4 * WIDTH, num_labels=CLASSES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        initializer_range=0.2, layer_norm_eps=1e-6,
    )  # fmt: skip
    vit = ViTForImageClassification(config)
    vit.save_pretrained(tmp_path / "transformers")
    other = timm.create_model("vit_base_patch16_224", num_classes=CLASSES, **SHAPE)
    other.load_state_dict(in_timms_form(vit))
    save_for_hf(other, tmp_path / "timm", model_args=SHAPE, safe_serialization=True)
    config = json.loads((tmp_path / "timm" / "config.json").read_text())
    (tmp_path / "timm" / "config.json").write_text(json.dumps(config | {"num_classes": 0}))  # as that of ImageNet-21k
    return tmp_path


def in_timms_form(vit: ViTForImageClassification) -> dict[str, torch.Tensor]:
    state = vit.state_dict()
    embeddings = {
        "cls_token": "cls_token",
        "pos_embed": "position_embeddings",
        "patch_embed.proj.weight": "patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "patch_embeddings.projection.bias",
    }
    found = {name: state[f"vit.embeddings.{theirs}"] for name, theirs in embeddings.items()}
    for kind in ("weight", "bias"):
        found |= {f"norm.{kind}": state[f"vit.layernorm.{kind}"], f"head.{kind}": state[f"classifier.{kind}"]}
        for i in range(DEPTH):
            thirds = [state[f"vit.layers.{i}.attention.{part}_proj.{kind}"] for part in "qkv"]
            found[f"blocks.{i}.attn.qkv.{kind}"] = torch.cat(thirds)
            found |= {
                f"blocks.{i}.{name}.{kind}": state[f"vit.layers.{i}.{ours}.{kind}"] for name, ours in NAMES.items()
            }
    return found


def both(folders) -> list[nn.Module]:
    return [classifier(folders / form, "abcde", [head], "eager") for form, head in HEADS.items()]


def batches(count):
    torch.manual_seed(1)
    return [(torch.randn(8, 3, SIDE, SIDE), torch.randint(0, CLASSES, (8,))) for _ in range(count)]


def test_the_same_weights_give_the_same_logits(folders):
    with torch.no_grad():
        ours, theirs = (model.eval()(pixel_values=batches(1)[0][0]).logits for model in both(folders))
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_dropout_is_the_model_s_own_unless_it_is_given(folders):
    pixels = batches(1)[0][0]
    for form, head in HEADS.items():
        for dropout, differ in ((None, False), (0.5, True)):
            model = classifier(folders / form, "abcde", [head], "eager", dropout).train()
            one, other = (model(pixel_values=pixels).logits for _ in range(2))
            assert bool((one - other).abs().max() > 1e-3) == differ, (form, dropout)


@pytest.mark.parametrize("kind", ["fourierft", "lora"])
def test_the_same_training_gives_the_same_adapter(folders, kind):
    """The matrices are thirds of one in timm: delta_W of each must come out as that of the layer of its own."""
    if kind == "fourierft":
        start = {"entry_seed": 2024, "init": "normal", "shared_entries": True, "targets": "attention"}
        method = FourierFT(
            name=kind, n=N, scale=8.0, **start, band=None, basis="fourier", entries="random", n_pattern=None
        )
    else:
        method = Lora(name=kind, r=3, alpha=6.0, dropout=0.0)
    models = [method.adapt(model, *where) for model, where in zip(both(folders), (OURS, TIMMS), strict=True)]
    starts = [tensors(method, model) for model in models]
    copy_adapter(*models)
    losses = [train(model) for model in models]
    ours, theirs = (tensors(method, model) for model in models)
    assert len(ours) == len(theirs) == 2 * DEPTH
    for (path, one), other in zip(ours.items(), theirs.values(), strict=True):
        assert (one - starts[0][path]).norm() > 0.05 * one.norm(), "training moved it"
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(one.abs().max()))
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)


def tensors(method, model) -> dict[str, torch.Tensor]:
    """delta_W in the order of the layers, q before v."""
    return {path: delta.clone() for path, delta in method.delta_weights(model)}


def copy_adapter(source: nn.Module, target: nn.Module) -> None:
    """Start both from the same values. Tensors of one shape come in the same order, layer by layer and q before v."""
    with torch.no_grad():
        ours, theirs = ([part for p in trained(model) for part in parts(p)] for model in (source, target))
        for shape in {tensor.shape for tensor in ours}:
            alike = [[tensor for tensor in tensors if tensor.shape == shape] for tensors in (ours, theirs)]
            for one, other in zip(*alike, strict=True):
                other.copy_(one)


def parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The coefficients of q and of v where a layer holds both (2, n)."""
    return tensor.unbind() if tensor.shape == (2, N) else (tensor,)


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def train(model: nn.Module) -> torch.Tensor:
    """The losses of twenty steps."""
    optimizer = torch.optim.AdamW(trained(model), lr=2e-2)
    losses = []
    for pixels, labels in batches(20):
        loss = model(pixel_values=pixels, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)
