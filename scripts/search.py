"""Search a recipe's learning rates, with the same number of trials for every method, on a slice of the training rows.

    python -m scripts.search --trials 6 +exp=glue_stsb model=minilm_l6 method=lora recipe.epochs=2

The ranges stand in configs/search/<method>.yaml. The trials are a fixed quasi-random sequence (Sobol, by Optuna), each
a run of the suite with `train.holdout`, which never sees the validation set. A trial that has its record is not
repeated, so an interrupted search goes on where it stopped. Writes results/search/<exp>/<model>/<method>.json.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import optuna
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments import pipeline
from experiments.config import parse
from experiments.errors import UserError
from experiments.record import replace_file
from experiments.training import Diverged

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SEED = 0  # of the sequence of trials


def search(overrides: list[str], trials: int, holdout: float, out: Path) -> dict[str, Any]:
    """Run `trials` trials of the run that `overrides` name; returns what is written below `out`."""
    base = parse(compose("config", overrides))
    bounds = ranges(base.method.name)
    done: list[dict[str, Any]] = []

    def objective(trial: optuna.Trial) -> float:
        values = {key: float(f"{trial.suggest_float(key, *ends, log=True):.2g}") for key, ends in bounds.items()}
        chosen = [*overrides, *(f"{key}={value}" for key, value in values.items()), f"train.holdout={holdout}"]
        score = _score(chosen)
        done.append({**values, "score": score})
        print(f"trial {len(done)} of {trials}: {done[-1]}", flush=True)
        return score

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of the Sobol sampler
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.QMCSampler(seed=SEED))
    study.optimize(objective, n_trials=trials)
    best = max(done, key=lambda trial: trial["score"])
    result = {
        "exp": base.exp,
        "model": base.model.name,
        "method": base.method.name,
        "overrides": overrides,
        "holdout": holdout,
        "ranges": bounds,
        "trials": done,
        "best": best,
    }
    path = out / str(base.exp) / base.model.name / f"{base.method.name}.json"
    replace_file(path, (json.dumps(result, indent=2) + "\n").encode())
    print(f"best of {trials}: {best}\nwritten: {path}")
    return result


def ranges(method: str) -> dict[str, list[float]]:
    """Key -> [low, high] of a method's search. Raises UserError where none are given."""
    file = CONFIGS / "search" / f"{method}.yaml"
    if not file.exists():
        raise UserError(f"{file}: no ranges for method {method}; write that file as its neighbours are")
    return OmegaConf.to_container(OmegaConf.load(file))


def _score(overrides: list[str]) -> float:
    """The best epoch's score on the held-out training rows; the worst there is for a run that diverges."""
    config = parse(compose("config", overrides))
    try:
        return pipeline.run(config).metrics.best
    except Diverged:
        return -1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--holdout", type=float, default=0.15, help="share of the training rows to choose on")
    parser.add_argument("--out", type=Path, default=Path("results/search"))
    parser.add_argument("overrides", nargs="+", help="as for run.py: +exp=... model=... method=...")
    options = parser.parse_args()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        search(options.overrides, options.trials, options.holdout, options.out)


if __name__ == "__main__":
    main()
