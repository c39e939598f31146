"""The small models that replace the paper's: their data, architectures and training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

from datasets import Dataset

from experiments.data.assets import EMBEDDED, read_rows
from experiments.data.image_sets import UNDECODED
from experiments.errors import UserError
from experiments.mini import glyphs, lists, stories
from experiments.models import architectures
from experiments.pretraining import causal, pictures, words
from experiments.pretraining.training import Order

# What differs from the published architectures: small vocabularies and inputs, no dropout.
VIT = {"patch_size": 8, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
VIT |= {"attn_implementation": "eager"}
GPT2 = {"n_positions": 256, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
GPT2 |= {"bos_token_id": 0, "eos_token_id": 0, "attn_implementation": "eager"}
LLAMA = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "vocab_size": 1024}
LLAMA |= {"tie_word_embeddings": True, "initializer_range": 0.06}  # 0.02, the default, is for wide models
LLAMA |= {"bos_token_id": 1, "eos_token_id": 2, "attn_implementation": "eager"}


@dataclass(frozen=True)
class SmallModel:
    """A model's default folder, and the function that pre-trains it and returns its metrics on held-out data."""

    out: Path
    train: Callable[[Order], dict[str, float]]


def roberta(order: Order) -> dict[str, float]:
    metrics = words.pretrain(order)
    names = {"loss": "eval_loss", "masked accuracy": "eval_accuracy", "most frequent word": "eval_majority"}
    return {name: metrics[key] for name, key in names.items()}


def vit(order: Order, classes: int = 20, each: int = 250) -> dict[str, float]:
    """0.55 M parameters, on invented characters of 32x32 pixels; other drawings of them are held out.

    With so few classes its features help with other characters but do not suffice: methods have room to differ.
    """
    drawn = pictures.Pictures(
        train=glyphs.generate(classes, each, 10 * order.seed + 1),
        held_out=glyphs.generate(classes, each // 5, 10 * order.seed + 2),
        classes=classes,
        smallest_crop=0.8,
        flip=False,
        mix=False,
    )
    config = architectures.vit(128, 4, image_size=32, num_attention_heads=4, intermediate_size=256, **VIT)
    return pictures.pretrain(order, drawn, config, epochs=14, batch_size=64, lr=2e-3)


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
    config = architectures.vit(192, 6, image_size=48, **VIT)
    return pictures.pretrain(order, photos, config, epochs=24, batch_size=128, lr=1e-3, workers=1)


def gpt2(order: Order) -> dict[str, float]:
    """0.7 M parameters, on stories of the miniature world, which leave the form of the task to be learned."""
    texts = _drawn(stories.documents, order.seed, 70_000)
    config = architectures.gpt2(128, 4, n_head=4, n_inner=256, vocab_size=1024, **GPT2)
    return causal.pretrain(order, *texts, config, epochs=2, batch_size=16, lr=2e-3)


def llama(order: Order) -> dict[str, float]:
    """0.7 M parameters, on notes from the miniature world, which leave the form of instructions to be learned."""
    texts = _drawn(lists.documents, order.seed, 95_000)
    config = architectures.llama(128, 4, 256, **LLAMA)
    return causal.pretrain(order, *texts, config, epochs=2, batch_size=8, lr=3e-3)


def gpt2_tiny(order: Order) -> dict[str, float]:
    """2.6 M parameters, on the texts of Alpaca and of four sets of GLUE, without E2E. Raises UserError."""
    texts = _texts(order.assets)
    Random(f"texts {order.seed}").shuffle(texts)
    config = architectures.gpt2(192, 4, n_head=6, vocab_size=4096, **GPT2)
    return causal.pretrain(order, texts[1000:], texts[:1000], config, epochs=2, batch_size=16, lr=1.5e-3)


MODELS = {
    "roberta": SmallModel(EMBEDDED / "roberta", roberta),
    "vit": SmallModel(EMBEDDED / "vit", vit),
    "vit_tiny": SmallModel(Path("runs/models/vit_tiny"), vit_tiny),
    "gpt2": SmallModel(EMBEDDED / "gpt2", gpt2),
    "llama": SmallModel(EMBEDDED / "llama", llama),
    "gpt2_tiny": SmallModel(Path("runs/models/gpt2_tiny"), gpt2_tiny),
}


def _drawn(documents: Callable[[int], Iterator[str]], seed: int, count: int) -> tuple[list[str], list[str]]:
    """`count` documents to train on, and 1,000 others, held out."""
    train, held_out = (list(islice(documents(10 * seed + part), size)) for part, size in ((1, count), (2, 1000)))
    return train, held_out


def _cifar100(assets: Path | None, split: str) -> tuple[Sequence[dict], list[int]]:
    """Encoded images and fine labels. Raises UserError if they are missing."""
    rows = _rows(assets, f"cifar100/{split}", ("img", "fine_label"))
    return rows.cast_column("img", UNDECODED)["img"], rows["fine_label"][:]


TEXTS = {  # file -> columns
    "alpaca/train": ("instruction", "input", "output"),
    "glue/qnli/train": ("question", "sentence"),
    "glue/rte/train": ("sentence1", "sentence2"),
    "glue/mrpc/train": ("sentence1", "sentence2"),
    "glue/sst2/train": ("sentence",),
}


def _texts(assets: Path | None) -> list[str]:
    """The rows of all TEXTS, each as one text with a line per column. Raises UserError."""
    texts = []
    for file, columns in TEXTS.items():
        rows = _rows(assets, file, columns)
        texts += ["\n".join(filter(None, row)) for row in zip(*(rows[column][:] for column in columns), strict=True)]
    return texts


def _rows(assets: Path | None, file: str, columns: tuple[str, ...]) -> Dataset:
    """The rows of a data set's file. Raises UserError if it is missing."""
    if assets is None:
        raise UserError(f"needs datasets/{file}.parquet; name the folder that has it with --assets or FOURIERFT_ASSETS")
    return read_rows(assets / "datasets" / f"{file}.parquet", (), columns)
