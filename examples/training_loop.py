"""FourierFT in a plain training loop: adapt, train, save, load, merge.

    python examples/training_loop.py

Prints what trains (2,000 coefficients and a head), a loss that falls, an accuracy near 1 (0.5 is chance), and that the
adapter, loaded into a fresh model and merged, gives the same logits. 20 seconds on two cores.
"""

import random
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import fourierft

BASE = Path(__file__).parents[1] / "experiments/mini/roberta"  # a miniature; or "FacebookAI/roberta-base"
FOLDER = "build/examples/training_loop"
WORDS = {0: ["awful", "boring", "clumsy", "dull", "weak"], 1: ["superb", "lovely", "charming", "great", "fresh"]}


def plain_model() -> torch.nn.Module:
    torch.manual_seed(0)  # of the new head
    return AutoModelForSequenceClassification.from_pretrained(BASE, num_labels=2, dtype=torch.float32)


def batch(count: int) -> dict[str, torch.Tensor]:
    labels = [random.randrange(2) for _ in range(count)]
    texts = [f"The {random.choice(['film', 'plot', 'music'])} was {random.choice(WORDS[k])}." for k in labels]
    return tokenizer(texts, return_tensors="pt", padding=True) | {"labels": torch.tensor(labels)}


random.seed(0)
model, tokenizer = plain_model(), AutoTokenizer.from_pretrained(BASE)
config = fourierft.FourierConfig(n=250, scale="auto", targets=("query", "value"), head=("classifier",))
fourierft.adapt(model, config)
print(fourierft.count(model))

coefficients = [layer.fourierft_spectrum for layer in fourierft.fourier_layers(model).values()]
groups = [{"params": coefficients, "lr": 0.05}, {"params": model.classifier.parameters(), "lr": 2e-3}]
optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
for step in range(80):
    loss = model(**batch(32)).loss
    loss.backward()
    if step == 0:
        fourierft.check_gradients(model)  # warns of a layer that would not train
    optimizer.step()
    optimizer.zero_grad()
    if step % 20 == 19:
        print(f"step {step + 1}  loss {loss.item():.3f}")

fourierft.save(model.eval(), FOLDER)
again = fourierft.merge(fourierft.load(plain_model().eval(), FOLDER))  # costs nothing from here on
with torch.inference_mode():
    test = batch(200)
    logits = model(**test).logits
    print(f"accuracy {(logits.argmax(-1) == test['labels']).float().mean():.2f}")
    print(f"loaded and merged: logits differ by {(again(**test).logits - logits).abs().max():.0e}")
