"""Pre-train one of the small models that replace the paper's where those are out of reach.

    python -m scripts.pretrain_mini --model roberta --bf16   # masked words; about a quarter of an hour, two CPU cores
    python -m scripts.pretrain_mini --model vit --bf16       # invented characters; two minutes, one core
    python -m scripts.pretrain_mini --model gpt2 --bf16      # stories of an invented town; ten minutes, one core
    python -m scripts.pretrain_mini --model llama --bf16     # notes from an invented town; ten minutes, one core
    python -m scripts.pretrain_mini --model vit_tiny --bf16 --assets FOLDER    # CIFAR-100, half an hour, two cores
    python -m scripts.pretrain_mini --model gpt2_tiny --bf16 --assets FOLDER   # Alpaca and GLUE, an hour, one core
    python -m scripts.pretrain_mini --model vit --steps 50 --out trial/vit     # a trial

Writes a folder that `transformers` opens like any other checkpoint, and prints metrics on held-out data. The same seed,
library versions and number of threads give the same weights. After an interruption the same command resumes from the
last complete epoch, but for roberta (remove checkpoint-* in the folder to start again). vit_tiny and gpt2_tiny are not
in the repository, since CIFAR-100 and Alpaca are for research use. Exit code 2 if data is missing.
"""

import argparse
import os
import sys
from pathlib import Path

from experiments.command import Command
from experiments.pretraining.models import MODELS
from experiments.pretraining.training import Order


def work(options: argparse.Namespace) -> None:
    """Pre-train the model, and print its metrics. Raises UserError."""
    model = MODELS[options.model]
    order = Order(options.out or model.out, options.seed, options.bf16, options.steps, options.assets)
    metrics = model.train(order)
    print(f"{order.out}: {', '.join(f'{name} {value:.3f}' for name, value in metrics.items())}")


main = Command("pretrain_mini", __doc__, work)
main.add_argument("--model", choices=sorted(MODELS), default="roberta")
outs = ", ".join(f"{name}: {os.path.relpath(model.out)}" for name, model in MODELS.items())
main.add_argument("--out", type=Path, metavar="FOLDER", help=f"to write to (default: {outs})")
main.add_argument("--steps", type=int, help="of the optimizer (default: the model's own number)")
main.add_argument("--seed", type=int, default=0)
main.add_argument("--bf16", action="store_true", help="autocast to bfloat16: faster on a CPU that has it")
main.add_assets()

if __name__ == "__main__":
    sys.exit(main())
