"""Pre-training of a vision transformer on a set of labelled images; its head is not kept."""

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
from experiments.pretraining.training import Order, Pretraining
from experiments.training import Epochs


@dataclass(frozen=True)
class Pictures:
    """Images as `data.images.decode` takes them, with labels below `classes`, and their augmentation."""

    train: tuple[Sequence[Any], Sequence[int]]
    held_out: tuple[Sequence[Any], Sequence[int]]
    classes: int
    smallest_crop: float
    flip: bool
    mix: bool  # MixUp and CutMix, for small sets


class Mixing(Trainer):
    """A Trainer that applies MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019) to two thirds of the batches."""

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
        """Save a checkpoint under the model's own names; the Trainer would use older ones, which it cannot load."""
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_file(self.model.state_dict(), Path(output_dir) / SAFE_WEIGHTS_NAME, metadata={"format": "pt"})


def pretrain(order: Order, pictures: Pictures, config: ViTConfig, **settings: Any) -> dict[str, float]:
    """Train a model of `config` with these of `Order.settings`; returns its accuracy on the held-out images.

    Resumes from a checkpoint in the order's folder, and leaves the encoder there in fp16; see `Pretraining`. Raises
    Pillow's errors.
    """
    pretraining = Pretraining(order, config, order.settings(**settings))
    config.num_labels = pictures.classes
    processor = ViTImageProcessor(size={"height": config.image_size, "width": config.image_size})
    processor.save_pretrained(order.out)
    view = View.of(order.out)
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
    encoder.config.num_labels = ViTConfig().num_labels  # without the head there are no classes
    pretraining.save(encoder)
    return {"accuracy": accuracy}
