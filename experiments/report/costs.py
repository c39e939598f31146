"""What runs that were not carried out would cost, by the records of others."""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.config import Config
from experiments.measure.bench import Bench
from experiments.measure.sizes import Sizes, counted_as
from experiments.record import Record, find, hardware
from experiments.report.render import DASH, Table, markdown

NOTES = (
    "Hours: of one device of this kind, where a run takes as long for each token as recorded runs of the same "
    "experiment, model and method took; else those of the model and method; else those of the model; else as the "
    "model's step in the bench (with LoRA, or with FourierFT for any other method), without evaluation.",
    "Disk: the adapters of the best and of the last epoch. While it trains, a run keeps checkpoints besides.",
)
BENCHED = {"fourierft": "fourierft", "lora": "peft_lora"}  # method -> its contestant in the bench
HEADER = ["Runs", "Recorded", "Failed", "Left", "Steps left", "Hours left", "Disk, MiB"]
MIB = 2**20
UNKNOWN = f"{DASH}: not known: nothing like it was timed on this kind of device, or counted."


@dataclass(frozen=True)
class Run:
    """A run that is planned. title: of its row."""

    overrides: list[str]
    config: Config
    title: str = ""

    @property
    def name(self) -> str:
        """In a line: experiment, model, row, seed."""
        config = self.config
        return f"{config.exp or config.task.name}, {config.model.name}, {self.title}, seed {config.seed}"

    @property
    def state(self) -> str:
        """recorded, failed or missing."""
        path = self.config.record_path
        if path.exists():
            return "recorded"
        return "failed" if path.with_suffix(".failed.json").exists() else "missing"


@dataclass(frozen=True)
class Costs:
    """rows: of the training set, by experiment and model. seconds: of a token of training, with evaluation and test, by
    what they were measured on. stored: by model and method, the settings of an adapter and the bytes of its files."""

    rows: Mapping[Hashable, int]
    seconds: Mapping[Hashable, float]
    stored: Mapping[Hashable, Sequence[tuple[Mapping[str, Any], int]]]

    @classmethod
    def of(
        cls, records: Iterable[Record], sizes: Iterable[Sizes], device: str, benches: Iterable[Bench] = ()
    ) -> "Costs":
        """The costs by these records; the times by those of runs and benches on this GPU or CPU, by its name."""
        rows, seconds, stored = {}, defaultdict(list), defaultdict(list)
        for run in records:
            if run.status != "ok" or run.configured("train.max_steps") or run.configured("train.rows"):
                continue
            exp, model, method, cost = run.exp, run.model.name, run.method, run.cost
            rows[exp, model] = run.dataset.rows["train"]
            stored[model, counted_as(method)].append(
                (run.config["method"], run.params.stored_bytes or run.params.adapter_bytes)
            )
            if device in (run.hardware.gpu, run.hardware.cpu):
                spent = (cost.train_s + cost.eval_s + (cost.test_s or 0)) / cost.steps
                each = spent / _tokens(run.config["recipe"])
                for key in ((exp, model, method), (model, method), model):
                    seconds[key].append(each)
        for bench in benches:
            shape = re.search(r", (\d+)(?: × (\d+) tokens| images),", bench.description)
            if shape and device in (bench.hardware.gpu, bench.hardware.cpu):
                tokens = int(shape[1]) * int(shape[2] or 1)
                for method, contestant in BENCHED.items():
                    if contestant in bench.contestants and (steps := bench.contestants[contestant].seconds):
                        seconds["bench", bench.case, method].append(statistics.median(steps) / tokens)
        for counted in sizes:
            for row in counted.rows:
                stored[counted.model, row.method].append((row.settings, row.stored_bytes))
        return cls(rows, {key: statistics.median(values) for key, values in seconds.items()}, stored)

    def steps(self, run: Run) -> int | None:
        """Its optimiser steps; None where the number of its generated rows is not known."""
        config = run.config
        rows = self.rows.get((config.task.name, config.model.name))
        if rows is None and config.model.scale != "mini":
            rows = config.task.counts["train"]
        return None if rows is None else math.ceil(rows / config.recipe.batch_size) * config.recipe.epochs

    def hours(self, run: Run) -> float | None:
        """The hours that it takes; None where none like it is recorded."""
        exp, model, method = run.config.task.name, run.config.model.name, run.config.method.name
        case = re.sub("llama[12]_", "llama_", model)
        benched = (("bench", case, name) for name in (method, "fourierft"))
        keys = ((exp, model, method), (model, method), model, *benched)
        each = next((self.seconds[key] for key in keys if key in self.seconds), None)
        steps = self.steps(run)
        return None if None in (steps, each) else steps * each * _tokens(run.config.recipe.model_dump()) / 3600

    def disk(self, run: Run) -> float | None:
        """The bytes that it leaves, for both epochs; None where its adapter was never counted."""
        counted = self.stored.get((run.config.model.name, counted_as(run.config.method.name)), ())
        own = run.config.method.model_dump(mode="json")
        for settings, size in counted:
            if all(settings[key] == own[key] for key in settings.keys() & own.keys()):
                return 2 * size
        return None

    def summed(self, runs: Sequence[Run]) -> list[str]:
        """The cells of HEADER for some runs."""
        states = Counter(run.state for run in runs)
        left = [run for run in runs if run.state != "recorded"]
        counts = [len(runs), states["recorded"], states["failed"], len(left)]
        took = [(self.steps, ",.0f", 1), (self.hours, ",.1f", 1), (self.disk, ",.0f", MIB)]
        return [*map(str, counts), *(_total(map(what, left), form, unit) for what, form, unit in took)]


def here(records: Path, parameters: Path, bench: Path) -> tuple[Costs, str]:
    """The costs on this machine, by the records in these folders, and the name of its GPU or CPU."""
    import torch  # seconds to import, and needed for the name of the GPU alone

    machine = hardware("cuda" if torch.cuda.is_available() else "cpu")
    device = machine.get("gpu") or machine["cpu"]
    return Costs.of(find(records), find(parameters, Sizes), device, find(bench, Bench)), device


def plan(title: str, names: Sequence[str], rows: Mapping[Sequence[str], Sequence[Run]], costs: Costs) -> str:
    """What is done and what is left, row by row, and what that takes. names: the headers of what names a row."""
    every = [run for own in rows.values() for run in own]
    body = [[*name, *costs.summed(own)] for name, own in rows.items()]
    body.append(["all", *[""] * (len(names) - 1), *costs.summed(every)])
    shown = markdown(Table(title, [*names, *HEADER], body))
    return "\n".join([title, "", shown, *(f"- {note}" for note in (*NOTES, UNKNOWN))])


def _total(values: Iterable[float | None], form: str, unit: float) -> str:
    """The sum in that unit, and how many values are unknown."""
    every = list(values)
    known = [value / unit for value in every if value is not None]
    told = f"{sum(known):{form}}"
    if len(known) == len(every):
        return told
    return f"{told} and {len(every) - len(known)} unknown" if known else DASH


def _tokens(recipe: Mapping[str, Any]) -> int:
    """Those of a batch, at most; the examples, where a model does not read tokens."""
    return recipe["batch_size"] * (recipe.get("max_length") or 1)
