"""The small models that stand in for the paper's: of each the data, the architecture and the training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from datasets import Dataset
from transformers import ViTConfig

from experiments.data.assets import EMBEDDED, read_rows
from experiments.data.image_sets import UNDECODED
from experiments.errors import UserError
from experiments.mini import glyphs, lists, stories
from experiments.pretraining import causal, pictures, words


@dataclass(frozen=True)
class Order:
    """What to pre-train: the folder for it, the seed, the precision, fewer steps for a trial, a folder of real data."""

    out: Path
    seed: int = 0
    bf16: bool = False
    steps: int | None = None
    assets: Path | None = None


@dataclass(frozen=True)
class SmallModel:
    """A model's default folder, and what pre-trains it: it returns what it measured on held-out data."""

    out: Path
    train: Callable[[Order], dict[str, float]]


def roberta(order: Order) -> dict[str, float]:
    metrics = words.pretrain(order.out, order.steps or 5000, order.seed, order.bf16)
    names = {"loss": "eval_loss", "masked accuracy": "eval_accuracy", "most frequent word": "eval_majority"}
    return {name: metrics[key] for name, key in names.items()}


def vit(order: Order, classes: int = 20, each: int = 250) -> dict[str, float]:
    """0.55 M parameters, on invented characters of 32x32 pixels; new drawings of each are held out.

    So few classes make features that are of use for other characters, but not enough: methods have room to differ.
    """
    drawn = pictures.Pictures(
        train=glyphs.generate(classes, each, 10 * order.seed + 1),
        held_out=glyphs.generate(classes, each // 5, 10 * order.seed + 2),
        classes=classes,
        smallest_crop=0.8,
        flip=False,
        mix=False,
    )
    config = _transformer(image_size=32, hidden_size=128, layers=4, heads=4, intermediate_size=256)
    return _vit(order, drawn, config, epochs=14, batch_size=64, lr=2e-3, workers=0)


def vit_tiny(order: Order) -> dict[str, float]:
    """2.7 M parameters, on CIFAR-100 at 48x48 pixels. Raises UserError."""
    photos = pictures.Pictures(
        train=_cifar100(order.assets, "train"),
        held_out=_cifar100(order.assets, "test"),
        classes=100,
        smallest_crop=0.4,
        flip=True,
        mix=True,
    )
    config = _transformer(image_size=48, hidden_size=192, layers=6, heads=3, intermediate_size=768)
    return _vit(order, photos, config, epochs=24, batch_size=128, lr=1e-3, workers=1)


def gpt2(order: Order) -> dict[str, float]:
    """0.7 M parameters, on the miniature world's stories; new ones are held out.

    They tell of places in the words of the task but never from a meaning: methods have that left to learn.
    """
    train, held_out = (
        list(islice(stories.documents(10 * order.seed + part), size)) for part, size in ((1, 70_000), (2, 1000))
    )
    config = causal.gpt2(width=128, layers=4, heads=4, length=256, vocabulary=1024, intermediate=256)
    settings = _settings(order, epochs=2, batch_size=16, lr=2e-3, workers=0)
    return {"perplexity": causal.pretrain(train, held_out, config, order.out, settings, order.bf16)}


def llama(order: Order) -> dict[str, float]:
    """0.7 M parameters, on what the miniature world's people note; new notes are held out.

    All that the instructions ask for stands there, but never as an instruction: methods have that left to learn.
    """
    train, held_out = (
        list(islice(lists.documents(10 * order.seed + part), size)) for part, size in ((1, 95_000), (2, 1000))
    )
    config = causal.llama(width=128, layers=4, heads=4, length=256, vocabulary=1024, intermediate=256)
    settings = _settings(order, epochs=2, batch_size=8, lr=3e-3, workers=0)
    return {"perplexity": causal.pretrain(train, held_out, config, order.out, settings, order.bf16)}


def gpt2_tiny(order: Order) -> dict[str, float]:
    """2.6 M parameters, on the text of Alpaca and of four sets of GLUE; nothing of E2E. Raises UserError."""
    texts = _texts(order.assets)
    Random(f"texts {order.seed}").shuffle(texts)
    config = causal.gpt2(width=192, layers=4, heads=6, length=256, vocabulary=4096)
    settings = _settings(order, epochs=2, batch_size=16, lr=1.5e-3, workers=0)
    return {"perplexity": causal.pretrain(texts[1000:], texts[:1000], config, order.out, settings, order.bf16)}


MODELS = {
    "roberta": SmallModel(EMBEDDED / "roberta", roberta),
    "vit": SmallModel(EMBEDDED / "vit", vit),
    "vit_tiny": SmallModel(Path("runs/models/vit_tiny"), vit_tiny),
    "gpt2": SmallModel(EMBEDDED / "gpt2", gpt2),
    "llama": SmallModel(EMBEDDED / "llama", llama),
    "gpt2_tiny": SmallModel(Path("runs/models/gpt2_tiny"), gpt2_tiny),
}


def _transformer(layers: int, heads: int, **sizes: int) -> ViTConfig:
    return ViTConfig(
        patch_size=8,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
        **sizes,
    )


def _vit(
    order: Order, data: pictures.Pictures, config: ViTConfig, epochs: int, batch_size: int, lr: float, workers: int
) -> dict[str, float]:
    settings = _settings(order, epochs, batch_size, lr, workers)
    return {"accuracy": pictures.pretrain(data, config, order.out, settings, order.bf16)}


def _settings(order: Order, epochs: int, batch_size: int, lr: float, workers: int) -> dict[str, Any]:
    """Those of the Trainer that differ from model to model."""
    return {
        "num_train_epochs": epochs,
        "max_steps": order.steps or -1,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": 4 * batch_size,
        "learning_rate": lr,
        "seed": order.seed,
        "dataloader_num_workers": workers,
    }


def _cifar100(assets: Path | None, split: str) -> tuple[Sequence[dict], list[int]]:
    """Encoded images and fine labels. Raises UserError where they are not to be had."""
    rows = _rows(assets, f"cifar100/{split}", ("img", "fine_label"))
    return rows.cast_column("img", UNDECODED)["img"], rows["fine_label"][:]


TEXTS = {  # file -> columns, in the order in which they are read
    "alpaca/train": ("instruction", "input", "output"),
    "glue/qnli/train": ("question", "sentence"),
    "glue/rte/train": ("sentence1", "sentence2"),
    "glue/mrpc/train": ("sentence1", "sentence2"),
    "glue/sst2/train": ("sentence",),
}


def _texts(assets: Path | None) -> list[str]:
    """The rows of all TEXTS, each one text of its columns, a line each. Raises UserError."""
    texts = []
    for file, columns in TEXTS.items():
        rows = _rows(assets, file, columns)
        texts += ["\n".join(filter(None, row)) for row in zip(*(rows[column][:] for column in columns), strict=True)]
    return texts


def _rows(assets: Path | None, file: str, columns: tuple[str, ...]) -> Dataset:
    """A data set's file. Raises UserError where it is not to be had."""
    if assets is None:
        raise UserError(f"needs datasets/{file}.parquet; name the folder that has it with --assets or FOURIERFT_ASSETS")
    return read_rows(assets / "datasets" / f"{file}.parquet", (), columns)
