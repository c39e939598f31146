"""The record of a run under way."""

from dataclasses import dataclass, field

from experiments import record as records
from experiments.checkpoints import Stamp
from experiments.config import Config
from experiments.data.assets import Source
from experiments.record import Rank, Record
from experiments.record.parts import Cost, Metrics, Params, Tracked
from experiments.tasks.base import Data


@dataclass
class Draft:
    """The record of a run under way: what is fixed at its start, and the results so far."""

    config: Config
    weights: Source
    data: Data
    scale: str
    cell: str | None
    labels: dict[int, str] = field(default_factory=dict)  # the model's names of them
    rows: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] | None = None
    params: Params | None = None
    metrics: Metrics | None = None
    cost: Cost | None = None
    rank: Rank | None = None
    tracked: Tracked | None = None

    def __post_init__(self) -> None:
        self.model, self.dataset = self.weights.identity(), self.data.identity()  # before anything can change them
        self.hardware = records.hardware(self.config.train.torch_device())
        self.code = records.provenance()
        self.started = records.now()

    def record(self, status: str, error: str | None = None) -> Record:
        """The record of the run, which ends now."""
        config = self.config
        return Record(
            exp=config.exp or config.task.name,
            task=config.task.name,
            method=config.method.name,
            model=self.model,
            dataset={**self.dataset, "rows": self.rows, "skipped": self.skipped},
            seed=config.seed,
            entry_seed=config.method.seed_of_entries,
            scale=self.scale,
            paper_cell=self.cell,
            status=status,
            error=error,
            config=config.result_key(),
            config_hash=config.hash,
            params=self.params,
            metrics=self.metrics,
            cost=self.cost,
            rank=self.rank,
            hardware=self.hardware,
            **self.code,
            wandb=self.tracked,
            trials=config.recipe.trials,
            started=self.started,
            ended=records.now(),
        )

    def stamp(self) -> Stamp:
        """What the numbers of the run depend on: only a run with the same stamp may resume its checkpoints."""
        commit, changes = self.code["commit"], " with changes" if self.code["dirty"] else ""
        code = commit and f"{commit}{changes}"
        digests = {"model": self.model["sha256"], "data": self.dataset["sha256"]}
        return {"configuration": self.config.hash, **digests, "code": code}
