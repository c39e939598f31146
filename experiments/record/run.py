"""The record of one run, and the checks of its consistency."""

import hashlib
import json
import math
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from experiments.record.document import Count, Document, Time, compare
from experiments.record.machine import Hardware
from experiments.record.parts import Cost, Dataset, Judge, Metrics, Origin, Params, Rank, Tracked


class Record(Document):
    """One run. `config` holds what determines the result: no paths of a machine, no tracking."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    exp: str
    task: str
    method: str
    model: Origin
    dataset: Dataset
    seed: Count
    entry_seed: Count | None = None
    scale: Literal["paper", "small", "mini"]
    paper_cell: str | None = None
    status: Literal["ok", "failed", "oom", "cancelled"]
    error: str | None = None
    config: dict[str, JsonValue]
    config_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    params: Params | None = None
    metrics: Metrics | None = None
    cost: Cost | None = None
    rank: Rank | None = None
    judge: Judge | None = None
    hardware: Hardware
    versions: dict[str, str]
    commit: str | None = None
    dirty: bool | None = None
    wandb: Tracked | None = None
    trials: Count | None = None
    started: Time
    ended: Time

    @property
    def name(self) -> str:
        """Its path below a folder of runs: <exp>/<model>/<method>/seed<seed>-<hash>."""
        return f"{self.exp}/{self.model.name}/{self.method}/seed{self.seed}-{self.config_hash}"

    @property
    def place(self) -> str:
        """`name` with its file ending; for a judged record, below the judge's folder."""
        folder = f"{self.judge.label}/" if self.judge else ""
        return f"{folder}{self.name}{'' if self.status == 'ok' else '.failed'}.json"

    @model_validator(mode="after")
    def _follows_from_the_configuration(self) -> "Record":
        compare("config_hash", self.config_hash, config_hash(self.config))
        named = {"seed": self.seed, "task.name": self.task, "model.name": self.model.name, "method.name": self.method}
        for key, value in {**named, "method.entry_seed": self.entry_seed}.items():
            compare(f"config.{key}", self.configured(key), value)
        return self

    def configured(self, key: str) -> JsonValue:
        """The value of a dotted key of the configuration; None where there is none."""
        value: JsonValue = self.config
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value

    @model_validator(mode="after")
    def _status_tells_the_truth(self) -> "Record":
        if self.status != "ok":
            if not self.error:
                raise ValueError(f"status {self.status!r} needs an error that says what happened")
            return self
        if self.error is not None:
            raise ValueError("status 'ok' goes with no error")
        if missing := [name for name in ("params", "metrics", "cost") if getattr(self, name) is None]:
            raise ValueError(f"status 'ok' needs {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _trained_as_configured(self) -> "Record":
        if self.status != "ok":
            return self
        rows, cost, epochs = self.dataset.rows, self.cost, len(self.metrics.per_epoch)
        if cost.eval_samples_per_s is not None:
            evaluated = rows.get("validation", 0) * epochs
            compare("eval_s × eval_samples_per_s", cost.eval_s * cost.eval_samples_per_s, evaluated, 1e-6)
        compare("whether the test set is scored", self.metrics.test is not None, "test" in rows)
        if self.metrics.test is None:
            compare("test_s", cost.test_s, None)
        if self.configured("train.max_steps") is None:  # else it may end within an epoch
            batch = self.configured("recipe.batch_size")
            if not isinstance(batch, int) or batch < 1:
                raise ValueError(f"config.recipe.batch_size is {batch!r}, no positive number")
            compare("config.recipe.epochs", self.configured("recipe.epochs"), epochs)
            compare("the epochs", [epoch["epoch"] for epoch in self.metrics.per_epoch], list(range(1, epochs + 1)))
            compare("steps", cost.steps, math.ceil(rows.get("train", 0) / batch) * epochs)
            compare("train_s × samples_per_s", cost.train_s * cost.samples_per_s, rows.get("train", 0) * epochs, 1e-6)
        return self


def config_hash(config: dict[str, Any]) -> str:
    """Twelve hex digits of the SHA-256 of the canonical JSON (sorted keys) of `config`."""
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
