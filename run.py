"""The one entry: compose a configuration, carry out the run, leave its record.

python run.py +exp=glue_rte                              the paper's FourierFT run on RoBERTa-base
python run.py +exp=glue_rte method=lora seed=11111       another method, another seed
python run.py -m +exp=glue_rte seed=0,11111,22222        several runs; --jobs 2: two at once
python run.py +exp=glue_rte +debug=smoke                 two steps, to see that it runs
python run.py +exp=glue_rte --cfg job --resolve          what a run would use, without running it

Experiments: configs/exp/; exp= is short for +exp=. Every key with its meaning: configs/config.yaml and
configs/train/default.yaml.
"""

import argparse
from functools import partial

from omegaconf import DictConfig

from experiments import processes
from experiments.command import Command
from experiments.composing import composed, expand, shown
from experiments.config import Config, load
from experiments.errors import UserError
from experiments.work import Task, carry_out


def start(options: argparse.Namespace) -> int:
    """Every run that the overrides ask for; returns the exit code. Raises UserError."""
    runs = expand(options.overrides)
    if options.cfg:
        print(*(shown(*used(overrides), resolve=options.resolve) for overrides in runs), sep="---\n", end="")
    elif options.multirun:
        return sweep(runs)
    elif len(runs) > 1:
        raise UserError(f"these overrides are {len(runs)} runs: add -m to carry out all, or put [] around a list")
    else:
        run(runs[0])
    return 0


def sweep(runs: list[list[str]]) -> int:
    """One run after the other, whether they fail or not; tells at the end which did. Returns the exit code."""
    varying = {word for overrides in runs for word in overrides if any(word not in other for other in runs)}
    names = (" ".join(filter(varying.__contains__, overrides)) or " ".join(overrides) for overrides in runs)
    ended = carry_out([Task(name, partial(run, overrides)) for name, overrides in zip(names, runs, strict=True)])
    processes.say(str(ended))
    return ended.code


def run(overrides: list[str]) -> None:
    """One run; of its miniature where scale=mini, or where scale=auto and model or data are out of reach."""
    config = load(*used(overrides))
    from experiments import pipeline  # takes seconds to import; a wrong configuration is refused without it

    try:
        pipeline.run(config)
    except pipeline.MissingAssets as missing:
        if config.scale != "auto" or config.model.miniature is None:
            raise
        rule = "=" * 100
        print(
            f"{rule}\n{missing}.\n\n"
            f"Running the miniature of this experiment instead (scale=paper forbids that).\n{rule}"
        )
        # Not a result of the experiment that was asked for: its record stays with its files.
        pipeline.run(load(*miniature(config, overrides), f"record.dir={config.runs}/records"))


def used(overrides: list[str]) -> list[str]:
    """The overrides of the run that these ask for: with scale=mini those of the miniature."""
    asked = composed("config", *overrides)
    return miniature(asked, overrides) if asked.scale == "mini" != asked.model.scale else overrides


def miniature(asked: Config | DictConfig, overrides: list[str]) -> list[str]:
    """The same command with the miniature model, its recipe and its generated data."""
    if asked.model.miniature is None:
        raise UserError(f"scale={asked.scale}: no miniature stands in for {asked.model.name}; choose another scale")
    replaced = ("model", "model.name", "model.hub", "model.local", "recipe", "scale")
    kept = [override for override in overrides if override.split("=")[0] not in replaced]
    return [*kept, f"model={asked.model.miniature}"]


main = Command("run", __doc__, start)
main.add_argument(
    "overrides", nargs="*", metavar="KEY=VALUE", help="exp=, model=, method= choose a file, others set a key"
)
main.add_argument("-m", "--multirun", action="store_true", help="a run for each of several values, KEY=A,B,C")
main.add_jobs()
main.add_argument("-c", "--cfg", choices=["job"], help="print the configuration instead")
main.add_argument("--resolve", action="store_true", help="of --cfg: with the values in place of ${...}")

if __name__ == "__main__":
    main.start()
