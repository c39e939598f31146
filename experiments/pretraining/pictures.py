"""A vision transformer, pre-trained to tell the classes of a set of images; its head is then thrown away."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2
from transformers import Trainer, ViTConfig, ViTForImageClassification, ViTImageProcessor
from transformers.utils import SAFE_WEIGHTS_NAME

from experiments.data.images import Images, View
from experiments.pretraining.training import Pretraining
from experiments.training import Epochs


@dataclass(frozen=True)
class Pictures:
    """Images as `data.images.decode` takes them, with labels below `classes`; how far they may be changed."""

    train: tuple[Sequence[Any], Sequence[int]]
    held_out: tuple[Sequence[Any], Sequence[int]]
    classes: int
    smallest_crop: float
    flip: bool
    mix: bool  # mix pairs of images and of labels: for sets of few images


class Mixing(Trainer):
    """A Trainer that mixes two thirds of the batches: MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019)."""

    def __init__(self, *args, classes: int | None, **kwargs):
        super().__init__(*args, **kwargs)
        kinds = [v2.MixUp(num_classes=classes, alpha=0.8), v2.CutMix(num_classes=classes), v2.Identity()]
        self.mix = v2.RandomChoice(kinds) if classes else v2.Identity()

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        pixels, labels = inputs["pixel_values"], inputs["labels"]
        if model.training:
            pixels, labels = self.mix(pixels, labels)
        logits = model(pixel_values=pixels).logits
        loss = cross_entropy(logits, labels)
        return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss

    def _save(self, output_dir=None, state_dict=None):
        """A checkpoint under the model's own names: the Trainer would save older ones, and not know them again."""
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_file(self.model.state_dict(), Path(output_dir) / SAFE_WEIGHTS_NAME, metadata={"format": "pt"})


def pretrain(pictures: Pictures, config: ViTConfig, out: Path, settings: dict[str, Any], bf16: bool) -> float:
    """Train a model of `config` and save its encoder, in fp16, to `out`; returns its accuracy on the held-out images.

    Goes on from a whole checkpoint in `out` of the same settings if there is one. `settings` are the Trainer's.
    Raises what Pillow does for an image that is none.
    """
    pretraining = Pretraining(config, out, settings, bf16)
    config.num_labels = pictures.classes
    processor = ViTImageProcessor(size={"height": config.image_size, "width": config.image_size})
    processor.save_pretrained(out)
    view = View.of(out)
    trainer = Mixing(
        model=ViTForImageClassification(config),
        args=pretraining.arguments,
        train_dataset=Images(
            *pictures.train, view.training(pictures.smallest_crop, pictures.flip), pretraining.arguments.seed
        ),
        eval_dataset=Images(*pictures.held_out, view.evaluation),
        data_collator=view.collate,
        compute_metrics=lambda seen: {"accuracy": float((seen.predictions.argmax(-1) == seen.label_ids).mean())},
        classes=pictures.classes if pictures.mix else None,
    )
    accuracy = pretraining.train(trainer, Epochs())["eval_accuracy"]
    encoder = trainer.model.vit
    encoder.config.num_labels = ViTConfig().num_labels  # the classes went with the head
    pretraining.save(encoder)
    return accuracy
