"""Time and memory of PEFT's FourierFT layer, as installed and as in a patched checkout, as the table of README.md.

    python contrib/peft/measure.py CHECKOUT [ROUNDS]

Processor time of one core, in milliseconds: medians over rounds in which every contestant takes its turn. A step is
forward and backward, with the gradient of the input; one token is a forward without gradients. Saved: what autograd
keeps for the backward pass, the input included, parameters and positions not.
"""

import importlib.util
import statistics
import sys
import time
from pathlib import Path

import torch
from peft import FourierFTConfig
from peft.tuners.fourierft import layer as installed
from torch import nn

CASES = [(768, 2048, 1000), (1024, 2048, 1000), (4096, 512, 1000), (768, 2048, 3000)]  # width, tokens, n_frequency


def patched_module(checkout: Path):
    """The checkout's layer.py, as a module of the installed package."""
    path = checkout / "src/peft/tuners/fourierft/layer.py"
    spec = importlib.util.spec_from_file_location("peft.tuners.fourierft.patched", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "_DeltaLinear") or hasattr(installed, "_DeltaLinear"):
        sys.exit(f"{path} must be patched, and {installed.__file__} must not be")
    return module


def adapted(module, base, n):
    return module.FourierFTLinear(base, "default", config=FourierFTConfig(n_frequency=n), n_frequency=n)


def step(layer, x, g):
    inputs = [x, *(p for p in layer.parameters() if p.requires_grad)]
    torch.autograd.grad(layer(x), inputs, g)


@torch.no_grad()
def one_token(layer, x, g):
    layer(x[:1])


def medians(work, layers, x, g, rounds):
    """Milliseconds of each layer's work, after one round that does not count."""
    times = {name: [] for name in layers}
    for _ in range(rounds + 1):
        for name, layer in layers.items():
            start = time.process_time()
            work(layer, x, g)
            times[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def saved_mib(layer, x):
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    for known in (*layer.parameters(), *layer.indices.values()):
        storages.pop(known.untyped_storage().data_ptr(), None)
    return sum(storages.values()) / 2**20


def main(checkout: str, rounds: str = "15") -> None:
    torch.set_num_threads(1)
    modules = {"before": installed, "after": patched_module(Path(checkout))}
    heads = "width, tokens, n | frozen | step | one token | saved, MiB | saved, bfloat16 model, MiB"
    print(f"| {heads} |\n|{' --- |' * 6}")
    for width, tokens, n in CASES:
        torch.manual_seed(0)
        base = nn.Linear(width, width).requires_grad_(False)
        x, g = torch.randn(tokens, width, requires_grad=True), torch.randn(tokens, width)
        layers = {name: adapted(module, base, n) for name, module in modules.items()}
        cells = [f"{width}, {tokens}, {n}"]
        for work in (step, one_token):
            taken = medians(work, {"frozen": base, **layers}, x, g, int(rounds))
            digits = 0 if work is step else 1
            cells += [f"{taken['frozen']:.0f}"] if work is step else []
            cells += [f"{taken['before']:.{digits}f} → {taken['after']:.{digits}f}"]
        cells += [" → ".join(f"{saved_mib(layer, x):.1f}" for layer in layers.values())]
        base.bfloat16()  # the coefficients stay float32, as PEFT has it
        x = x.detach().bfloat16().requires_grad_()
        cells += [" → ".join(f"{saved_mib(layer, x):.1f}" for layer in layers.values())]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
