"""FourierFT with the Trainer of Hugging Face: a vision transformer on handwritten digits.

    python examples/trainer.py

Prints the accuracy after each epoch (0.1 is chance) and the folder with the adapter. 30 seconds on two cores.
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from transformers import AutoImageProcessor, AutoModelForImageClassification, Trainer, TrainingArguments

import fourierft

BASE = Path(__file__).parents[1] / "experiments/mini/vit"  # a miniature; or "google/vit-base-patch16-224-in21k"
FOLDER = "build/examples/trainer"

digits = load_digits()
images = np.repeat(np.uint8(digits.images * 15)[..., None], 3, axis=3)  # 1,797 of 8 x 8, in red, green and blue
pixels = AutoImageProcessor.from_pretrained(BASE)(list(images), return_tensors="pt")["pixel_values"]
rows = [{"pixel_values": image, "labels": label} for image, label in zip(pixels, digits.target, strict=True)]

torch.manual_seed(0)
model = AutoModelForImageClassification.from_pretrained(BASE, num_labels=10, dtype=torch.float32)
config = fourierft.FourierConfig(n=500, scale="auto", targets=("q_proj", "v_proj"), head=("classifier",))
fourierft.adapt(model, config)
fourierft.light_checkpoints(model)  # they hold what trains: without this the whole model
print(fourierft.count(model))

# The head wants a lower rate than the coefficients: so two groups, not TrainingArguments(learning_rate=...).
head = set(model.classifier.parameters())
coefficients = [p for p in model.parameters() if p.requires_grad and p not in head]
groups = [{"params": coefficients, "lr": 0.1}, {"params": list(head), "lr": 5e-3}]

trainer = Trainer(
    model,
    TrainingArguments(
        f"{FOLDER}/checkpoints",
        num_train_epochs=3,
        per_device_train_batch_size=32,
        eval_strategy="epoch",
        save_strategy="epoch",
        weight_decay=0.0,
        report_to="none",
        use_cpu=True,  # without it: the GPU, if there is one
    ),
    train_dataset=rows[:1437],
    eval_dataset=rows[1437:],
    optimizers=(torch.optim.AdamW(groups, weight_decay=0.0), None),
    compute_metrics=lambda outputs: {"accuracy": float((outputs.predictions.argmax(1) == outputs.label_ids).mean())},
)
trainer.train()
fourierft.save(trainer.model, FOLDER)
print(f"saved: {FOLDER}, {(Path(FOLDER) / 'adapter_model.safetensors').stat().st_size:,} bytes")
