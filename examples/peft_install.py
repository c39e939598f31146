"""PEFT's FourierFT, run by this library: two more lines, the same results, faster and with less memory.

    python examples/peft_install.py

Prints the time of a training step and what it keeps for the backward pass, with PEFT's own layers and with this library
under them, and how little the logits differ. 20 seconds on two cores.
"""

import time

import peft
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import RobertaConfig, RobertaForMaskedLM

import fourierft.peft

torch.manual_seed(0)
size = RobertaConfig(
    vocab_size=500, hidden_size=512, num_hidden_layers=2, num_attention_heads=8, intermediate_size=2048
)
config = peft.FourierFTConfig(n_frequency=500, scaling=50.0, target_modules=["query", "key", "value", "dense"])
model = peft.get_peft_model(RobertaForMaskedLM(size), config).eval()  # eval: no dropout, so that losses compare
tokens = torch.randint(3, 500, (4, 64))
model(tokens)  # the first call draws the positions


def step() -> float:
    """Seconds of a training step without its optimiser."""
    start = time.perf_counter()
    model(tokens, labels=tokens).loss.backward()
    return time.perf_counter() - start


def kept() -> float:
    """MiB that the step keeps for the backward pass, without the parameters."""
    found = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def note(tensor: torch.Tensor) -> None:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes(), tensor

    with saved_tensors_hooks(note, lambda nothing: nothing):
        model(tokens, labels=tokens)
    total = sum(nbytes for place, (nbytes, _) in found.items() if place not in own) / 2**20
    found.clear()  # a tensor and the graph behind it
    return total


seconds, logits = {}, {}
for name, choose in {"PEFT": fourierft.peft.uninstall, "installed": fourierft.peft.install}.items():
    choose()  # for every FourierFT layer of PEFT, made before or after
    seconds[name], logits[name] = min(step() for _ in range(4)), model(tokens).logits.detach()
    print(f"{name:9}  {1000 * seconds[name]:5.0f} ms a step  {kept():5.0f} MiB kept")
ratio, difference = seconds["PEFT"] / seconds["installed"], logits["PEFT"] - logits["installed"]
print(f"{ratio:.1f} times as fast; the logits differ by {difference.norm() / logits['PEFT'].norm():.0e} of their norm")
