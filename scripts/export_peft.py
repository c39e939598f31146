"""Write the settings of a run as an experiment for PEFT's method comparison on MetaMathQA.

    python -m scripts.export_peft +exp=metamath method.n=5000 --out FOLDER

Writes FOLDER/experiments/<method>/<name>/ with PEFT's adapter_config.json, and training_params.json: the differences to
the benchmark's defaults, which are the recipe llama32_3b/fourierft_peft_default. scale=auto becomes one number, with
which a step moves all matrices together as far. To run it, copy the folder into
method_comparison/MetaMathQA of github.com/huggingface/peft: python run.py -v experiments/<method>/<name>

Exit code 2 for a wrong option, or a setting that the benchmark cannot express.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import peft

from experiments.command import Command
from experiments.config import Config, load
from experiments.errors import UserError
from experiments.methods.by_peft import ByPeft
from experiments.methods.fourierft import FourierFT
from experiments.record import replace_file
from experiments.report.movement import one_scale

BENCHMARK = ["+exp=metamath", "recipe=llama32_3b/fourierft_peft_default"]
TYPES = {"bf16": "bfloat16", "fp32": "float32"}  # its 4-bit base differs from task.base=4bit
TRANSLATED = {
    *("seed", "model.hub", "model.attention", "task.base", "task.first.train", "task.wording.without_input"),
    *("task.decoding.max_new_tokens", "recipe.epochs", "recipe.batch_size", "recipe.lr", "recipe.weight_decay"),
    *("recipe.max_length", "recipe.max_grad_norm", "train.checkpointing", "train.max_steps"),
}
ELSEWHERE = {  # without effect on the benchmark; no head trains there
    *("model.name", "model.local", "model.scale", "model.miniature", "recipe.head_lr"),
    *("train.device", "train.accumulation", "train.group_by_length"),
}


def export(config: Config, defaults: Config, out: Path) -> Path:
    """Write the experiment; returns its folder. Raises UserError for a setting that the benchmark cannot express."""
    check(config, defaults)
    ours, theirs = training_params(config), training_params(defaults)
    different = {key: value for key, value in ours.items() if value != theirs[key]}
    folder = out / "experiments" / config.method.name / name_of(config)
    files = {"adapter_config.json": adapter_config(config).to_dict(), "training_params.json": different}
    for name, content in files.items():
        text = json.dumps(content, indent=2, sort_keys=True, default=sorted) + "\n"  # sets, as sorted lists
        if (folder / name).exists() and (folder / name).read_text() != text:
            raise UserError(f"{folder / name}: holds another experiment of that name; choose another --out")
        replace_file(folder / name, text.encode())
    return folder


def check(config: Config, defaults: Config) -> None:
    """Raises UserError for a key that differs from the benchmark's and cannot be set there."""
    if config.task.name != defaults.task.name:
        raise UserError(f"task.name={config.task.name}: the benchmark's task is +exp=metamath")
    if config.model.hub is None:
        raise UserError("model.hub=null: the benchmark takes its model from the hub; name the repository")
    if config.task.base not in TYPES:
        raise UserError(f"task.base={config.task.base}: not as in the benchmark; choose from {', '.join(TYPES)}")
    for key, (value, fixed) in config.differences(defaults).items():
        if not key.startswith("method.") and key not in TRANSLATED | ELSEWHERE:
            raise UserError(f"{key}={value}: the benchmark cannot set it, and uses {key}={fixed}; use that")


def training_params(config: Config) -> dict[str, Any]:
    """The benchmark's training parameters that can be set here."""
    task, recipe = config.task, config.recipe
    return {
        "model_id": config.model.hub,
        "dtype": TYPES[task.base],
        "max_seq_length": recipe.max_length,
        "batch_size": recipe.batch_size,
        "max_steps": config.train.max_steps or recipe.epochs * -(-task.first["train"] // recipe.batch_size),
        "use_gc": config.train.checkpointing,
        "seed": config.seed,
        "grad_norm_clip": recipe.max_grad_norm,
        "optimizer_kwargs": {"lr": recipe.lr, "weight_decay": recipe.weight_decay},
        "generation_kwargs": {"max_length": 800, "max_new_tokens": task.decoding.max_new_tokens},
        "query_template": task.wording.without_input.replace("{instruction}", "{query}"),
    }


def adapter_config(config: Config) -> peft.PeftConfig:
    """PEFT's configuration of the method. Raises UserError for a method or a setting that PEFT does not have."""
    method, names = config.method, {"target_modules": list(config.model.attention)}
    if parts := [target for target in names["target_modules"] if ":" in target]:
        raise UserError(f"model.attention={parts[0]}: peft cannot adapt a part of a fused projection")
    if isinstance(method, FourierFT):
        if not method.shared_entries:
            raise UserError("method.shared_entries=false: peft draws the positions of every matrix from the same seed")
        if method.targets == "all-linear":
            names["target_modules"] = method.targets  # PEFT's word too
        return peft.FourierFTConfig(
            n_frequency=method.n,
            scaling=one_scale(config),
            random_loc_seed=method.entry_seed,
            init_weights=method.init == "zeros",
            **names,
        )
    if not isinstance(method, ByPeft):
        raise UserError(
            f"method={method.name}: peft has none of that kind; choose fourierft, lora or another of peft's"
        )
    if method.callbacks():
        raise UserError(f"method={method.name}: its schedule depends on a run's steps, which peft's file cannot say")
    return method.configuration(**names)


def name_of(config: Config) -> str:
    """The name as in the benchmark: the model, the size of the adapter, the learning rate."""
    method, model = config.method, config.model.local
    size = {"n": "n_frequency-", "r": "rank"}
    sizes = [f"{word}{getattr(method, key)}" for key, word in size.items() if hasattr(method, key)]
    return "-".join([model[0].lower() + model[1:], *sizes, f"lr_{config.recipe.lr:g}"])


def work(options: argparse.Namespace) -> None:
    """Export the settings. Raises UserError."""
    print(f"written: {export(load(*options.overrides), load(*BENCHMARK), options.out)}")


main = Command("export_peft", __doc__, work)
main.add_argument("--out", type=Path, required=True, metavar="FOLDER")
main.add_argument("overrides", nargs="+", help="as for run.py: +exp=metamath method=... recipe.lr=...")

if __name__ == "__main__":
    sys.exit(main())
