"""The one entry: compose a configuration, carry out the run, leave its record.

python run.py +exp=glue_rte                              the paper's FourierFT run on RoBERTa-base
python run.py +exp=glue_rte method=lora seed=11111       another method, another seed
python run.py -m +exp=glue_rte seed=0,11111,22222        several runs
python run.py +exp=glue_rte +debug=smoke                 two steps, to see that it runs
python run.py +exp=glue_rte --cfg job --resolve          what a run would use, without running it

Experiments: configs/exp/. Every key with its meaning: configs/config.yaml and configs/train/default.yaml.
"""

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from experiments.command import stoppable
from experiments.config import TOLD, Config, explain, legible, parse

FAILED: list[tuple[str, Exception]] = []  # the overrides and the error of each run of a sweep that failed


@hydra.main(version_base="1.3", config_path="configs", config_name="config")
def main(composed: DictConfig) -> None:
    """One run, or one of a sweep, which continues after a run that failed."""
    try:
        carry_out(parse(composed))
    except Exception as error:
        FAILED.append((" ".join(HydraConfig.get().overrides.task), error))
        raise


def carry_out(config: Config) -> None:
    """One run; of its miniature where scale=mini, or where scale=auto and model or data are out of reach."""
    from experiments import pipeline  # takes seconds to import; a wrong configuration is refused without it

    if config.scale == "mini" != config.model.scale:
        config = miniature(config.model.miniature)
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
        pipeline.run(miniature(config.model.miniature, f"record.dir={config.runs}/records"))


def miniature(model: str, *more: str) -> Config:
    """The same command with the miniature model, its recipe and its generated data."""
    replaced = ("model", "model.name", "model.hub", "model.local", "recipe", "scale")
    kept = [o for o in HydraConfig.get().overrides.task if o.split("=")[0] not in replaced]
    return parse(hydra.compose("config", [*kept, f"model={model}", *more]))


if __name__ == "__main__":
    if {"--help", "-h"} & set(sys.argv):
        sys.exit(print(__doc__))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # lets errors through, to be printed as one message
    failed: list[tuple[str, Exception]] = []
    try:
        with stoppable("run"), legible():
            main()
    except Exception as error:
        failed = FAILED if len(FAILED) > 1 else [("", error)]
    for job, error in failed:
        print(f"error: {job}{': ' if job else ''}{explain(error)}", file=sys.stderr)
    for _, error in failed:
        if not isinstance(error, TOLD):
            raise error  # not a user's mistake: with its traceback
    sys.exit(2 if failed else 0)
