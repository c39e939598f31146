"""An adapter for servers that know LoRA alone: exactly, if its positions are a grid; else the nearest LoRA of a rank.

    python examples/to_lora.py

Prints the rank of a grid's LoRA, and that PEFT computes the same logits with it; then how much of delta_W the LoRAs of
random positions leave out. 10 seconds.
"""

import warnings
from pathlib import Path

import peft
import torch
from transformers import AutoModelForCausalLM

import fourierft

BASE = Path(__file__).parents[1] / "experiments/mini/llama"  # a miniature; or "meta-llama/Llama-3.2-1B"
FOLDER = "build/examples/to_lora"


def plain_model() -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()


def adapted(entries: str) -> torch.nn.Module:
    config = fourierft.FourierConfig(n=50, scale=20.0, targets=("q_proj", "v_proj"), entries=entries)
    return fourierft.adapt(plain_model(), config)  # the coefficients are random; load or train them instead


tokens = torch.arange(3, 23)[None]
model = adapted("grid")
fourierft.to_lora(model, FOLDER)
server = peft.PeftModel.from_pretrained(plain_model(), FOLDER)  # vLLM: --enable-lora --lora-modules name=FOLDER
with torch.inference_mode():
    difference = (server(tokens).logits - model(tokens).logits).abs().max()
    print(f"grid: a LoRA of rank {server.peft_config['default'].r}, whose logits differ by {difference:.0e}")

model = adapted("random")
try:
    fourierft.to_lora(model, FOLDER)
except fourierft.FourierError as error:
    print(error)
warnings.simplefilter("ignore")  # that something is left out: it is printed here
for rank in (4, 16, 64):
    errors = fourierft.to_lora(model, FOLDER, rank=rank)
    print(f"random positions, rank {rank:2}: {max(errors.values()):.0%} of delta_W left out")
