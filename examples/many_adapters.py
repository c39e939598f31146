"""Many adapters over one model: every row of a batch has its own, in one forward pass and in one call of `generate`.

    python examples/many_adapters.py

Makes 100 adapters, and prints that a mixed batch gives the logits of the model with each adapter merged, what all of
them take in memory, and what a mixed batch costs. 15 seconds.
"""

import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

import fourierft

BASE = Path(__file__).parents[1] / "experiments/mini/llama"  # a miniature; or "meta-llama/Llama-3.2-1B"
FOLDER = Path("build/examples/many_adapters")


def plain_model() -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()


config = fourierft.FourierConfig(n=100, scale=2.0, targets=("q_proj", "v_proj"), entries="grid")
trained = fourierft.adapt(plain_model(), config)
for k in range(100):
    for layer in fourierft.fourier_layers(trained).values():
        layer.reset_spectrum("normal")  # random coefficients, for want of a hundred trainings
    fourierft.save(trained, FOLDER / "adapters" / f"user{k}")

bank = fourierft.Bank.over(plain_model(), FOLDER / "adapters")  # capacity=: how many the device holds at most
bank.pack(FOLDER / "all.safetensors")  # one file for another machine: Bank.over(model, file)
tokens = torch.randint(3, 100, (8, 16))
names = ["user7", "user12", None, "user99", "user0", "user7", "user31", "user5"]  # None: the model itself

with torch.inference_mode():
    with bank.rows(names):
        logits = bank.model(tokens).logits
    alone = fourierft.merge(fourierft.load(plain_model(), FOLDER / "adapters" / "user12"))
    print(f"user12, merged: logits differ by {(alone(tokens[1:2]).logits - logits[1]).abs().max():.0e}")

    with bank.rows(names):
        answers = bank.model.generate(tokens, max_new_tokens=8, num_beams=2, pad_token_id=0)
    print(
        f"generated: {tuple(answers.shape)}; on the device {len(bank.held)} of {len(bank.names)}, {bank.nbytes:,} bytes"
    )

    for chosen in ([None] * 8, names):
        with bank.rows(chosen):
            start = time.perf_counter()
            for _ in range(20):
                bank.model(tokens)
        print(f"{len(set(chosen) - {None})} adapters: {(time.perf_counter() - start) / 20 * 1000:.1f} ms a batch")
