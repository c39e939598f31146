"""From records to the rows of a table: which runs belong together, their centre and spread, and what marks them.

Runs are one cell where they share everything that determines the result but the seed; a row holds the cells of one
method with the same settings, over the experiments. Scales are never mixed; runs cut short for a test or a search are
left out.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.errors import UserError
from experiments.paper.printed import PaperRow
from experiments.paper.score_tables import PRIMARY, Column, Protocol, table_of
from experiments.record import Record, Selection, config_hash
from experiments.trials import Edges, signs

# Settings that always name a row: the sizes of FourierFT, of LoRA and of PEFT's other tuners.
SIZES = ("n", "r", "settings.block_size", "settings.n_frequency", "settings.r")
# The paper's FourierFT. A record may lack some of these keys; any other value makes a variant, and names its row.
PAPERS = {
    "init": "normal",
    "shared_entries": True,
    "entry_seed": 2024,
    "band": None,
    "basis": "fourier",
    "entries": "random",
    "targets": "attention",
    "n_pattern": None,
}
CUT_SHORT = ("max_steps", "rows", "holdout")  # keys of `train` that make a run a trial, not a result


@dataclass(frozen=True)
class Cell:
    """The runs of one configuration of one method on one experiment. edges: those of the search behind its rates."""

    runs: tuple[Record, ...]  # status ok, one per seed, sorted by seed
    failures: tuple[Record, ...]  # the latest of each seed without a run of status ok
    protocol: Protocol
    edges: Edges = field(default_factory=dict)

    def scores(self, selection: Selection = "best", column: Column = PRIMARY) -> list[float]:
        """The column's value for each seed: by default the primary metric, in percent. Raises UserError."""
        try:
            return [column.value(run.metrics.score(selection, column.metric)) for run in self.runs]
        except KeyError as error:
            run = self.runs[0]
            where = f"{run.exp}, {run.model.name}, {run.method}"
            raise UserError(f"{where}: a record has no metric {error}; run it again, force=true") from error

    def centre(self, selection: Selection = "best", column: Column = PRIMARY) -> float | None:
        """The scores' centre by the protocol; None where no run succeeded."""
        return self.protocol.centre(self.scores(selection, column)) if self.runs else None

    def spread(self, selection: Selection = "best", column: Column = PRIMARY) -> float | None:
        """The scores' standard deviation by the protocol; None with fewer than two seeds."""
        return self.protocol.spread(self.scores(selection, column)) if len(self.runs) > 1 else None

    @property
    def trained(self) -> float:
        """The adapter's parameters, median over the runs; at least one must have succeeded."""
        return statistics.median(run.params.adapter for run in self.runs)

    @property
    def complete(self) -> bool:
        """Whether all seeds of the protocol have a run that succeeded."""
        return {run.seed for run in self.runs} >= set(self.protocol.seeds)

    @property
    def marks(self) -> str:
        """The signs of what keeps the scores from being evidence; `Protocol.signs` explains them."""
        dirty = any(run.dirty is not False for run in self.runs)  # or the commit is not known
        untested = self.protocol.on_test and any(run.metrics.test is None for run in self.runs)
        return "†" * (not self.complete) + "‡" * dirty + "§" * untested + signs(self.edges)

    @property
    def failed(self) -> dict[str, int]:
        """Status -> the number of seeds that ended so, failures only."""
        return dict(sorted(Counter(failure.status for failure in self.failures).items()))


@dataclass(frozen=True)
class Row:
    """One method with the same settings on one model at one scale: experiment -> cell.

    judge: who graded the answers, as a phrase that tells judges apart; empty where nobody did. in_paper: whether every
    run is of a cell of the paper, which no other method, setting, precision or recipe is.
    """

    scale: str
    model: str
    method: str
    label: str = ""
    settings: dict[str, Any] = field(default_factory=dict)  # those common to all its cells
    overrides: dict[str, Any] = field(default_factory=dict)  # those that tell it from its neighbours
    cells: dict[str, Cell] = field(default_factory=dict)
    judge: str = ""
    in_paper: bool = False

    @property
    def is_variant(self) -> bool:
        """Whether it is FourierFT with settings other than the paper's; sizes do not count."""
        return any(self.settings.get(key, value) != value for key, value in PAPERS.items())

    @property
    def runs(self) -> list[Record]:
        """All runs that succeeded."""
        return [run for cell in self.cells.values() for run in cell.runs]

    @property
    def sizes(self) -> dict[str, Any]:
        """The settings that size the method."""
        return {key: self.settings[key] for key in SIZES if key in self.settings}

    @property
    def title(self) -> str:
        """The method and the settings that name the row."""
        return f"{self.method} ({self.label})" if self.label else self.method

    def is_of(self, printed: PaperRow) -> bool:
        """Whether this is the printed row: same model, method and settings, and all runs of a cell of the paper."""
        same = self.in_paper and all(self.settings.get(key) == value for key, value in printed.settings.items())
        return same and (printed.model, printed.method) == (self.model, self.method)

    def printed(self, paper: Sequence[PaperRow]) -> PaperRow | None:
        """The printed row that this is; None if there is none, or no run."""
        return next((line for line in paper if self.is_of(line)), None) if self.runs else None

    def cell(self, column: Column) -> Cell | None:
        """The cell that a column shows: its experiment's; for an optional metric only the runs that have it."""
        cell = self.cells.get(column.exp)
        if cell is None or not column.optional:
            return cell
        return replace(cell, runs=tuple(run for run in cell.runs if column.metric in run.metrics.scored.last))

    def has(self, column: Column) -> bool:
        """Whether the column shows anything: a score, or (unless the metric is optional) a failure."""
        cell = self.cell(column)
        return cell is not None and bool(cell.runs or not column.optional)

    def average(self, columns: Iterable[Column], selection: Selection = "best") -> float | None:
        """The mean of the columns' centres; None unless all have one."""
        cells = [(self.cell(column), column) for column in columns]
        found = [cell.centre(selection, column) if cell else None for cell, column in cells]
        return None if None in found else statistics.mean(found)


def rows(records: Iterable[Record], edges: Callable[[Record], Edges] = lambda run: {}) -> list[Row]:
    """Group records into rows, sorted by scale, model, method, judge and size; the records' order has no effect.

    edges: of the search behind a run, see `Searches.edges`.
    """
    families: dict[tuple[str, ...], dict[tuple[str, str], list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if not is_trial(record):
            family = (record.scale, record.model.name, record.method, _judge(record))
            families[family][record.exp, identity(record)].append(record)
    return [row for family in sorted(families) for row in _rows_of(family, families[family], edges)]


def within(rows: Iterable[Row], experiments: Collection[str]) -> list[Row]:
    """The rows, restricted to the cells of these experiments; rows left without cells are dropped."""
    kept = [replace(row, cells={exp: row.cells[exp] for exp in row.cells if exp in experiments}) for row in rows]
    return [row for row in kept if row.cells]


def by_experiment(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """(exp, model, scale) -> the rows with a run that succeeded."""
    found: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        for exp, cell in row.cells.items():
            if cell.runs:
                found[exp, row.model, row.scale].append(row)
    return dict(sorted(found.items()))


def is_trial(record: Record) -> bool:
    """Whether the run was cut short or judged on training rows."""
    return any(record.configured(f"train.{key}") is not None for key in CUT_SHORT)


def _judge(record: Record) -> str:
    """The judge of a run's answers, as a string that is equal for judges whose scores are comparable."""
    judge = record.judge
    if judge is None:
        return ""
    return f"{judge.name}, revision {judge.revision or 'not given'}, prompts {judge.prompts[:8]}, rule {judge.rule}"


def identity(record: Record, pooled: Collection[str] = ()) -> str:
    """A hash equal for runs that differ only in their seed: same configuration, weights and data.

    pooled: keys of the method's settings in which they may differ too.
    """
    config = {key: value for key, value in record.config.items() if key != "seed"}
    if pooled:
        config["method"] = {key: value for key, value in config["method"].items() if key not in pooled}
    return config_hash({"config": config, "model": record.model.sha256, "dataset": record.dataset.sha256})


def _rows_of(
    family: tuple[str, ...], groups: dict[tuple[str, str], list[Record]], edges: Callable[[Record], Edges]
) -> list[Row]:
    """The rows of one method, labelled by the settings that distinguish them, or by their hash where none does."""
    settings = {group: _settings(records[0]) for group, records in groups.items()}
    in_paper = {group: all(one.scale == "paper" and one.paper_cell for one in own) for group, own in groups.items()}
    theirs = {group: settings[group] for group in groups if in_paper[group]}
    telling, names = {}, {}
    for group, own in settings.items():
        varying = _varying(theirs if group in theirs else settings)  # other runs do not split a row of the paper
        variant = {key for key, value in own.items() if PAPERS.get(key, value) != value}
        telling[group] = {key: value for key, value in own.items() if key in varying | variant}
        name = [
            f"{key.removeprefix('settings.')}={_short(value)}"
            for key, value in own.items()
            if key in {*telling[group], *SIZES}
        ]
        outside = family[0] == "paper" and group not in theirs
        names[group] = ", ".join([*name, *(["not in the paper"] if outside else [])])
    taken = Counter((exp, names[exp, digest]) for exp, digest in groups)
    cells: dict[str, dict[tuple[str, str], Cell]] = defaultdict(dict)
    for (exp, digest), records in sorted(groups.items()):
        name = names[exp, digest]
        label = name if taken[exp, name] == 1 else f"{name} #{digest}".strip()
        cells[label][exp, digest] = _cell(records, edges)
    *named, judge = family
    rows = [
        Row(
            *named,
            label=label,
            settings=_common(settings[group] for group in members),
            overrides=telling[next(iter(members))],
            cells={exp: cell for (exp, _), cell in members.items()},
            judge=judge,
            in_paper=members.keys() <= theirs.keys(),
        )
        for label, members in cells.items()
    ]
    return sorted(rows, key=lambda row: (max((run.params.adapter for run in row.runs), default=0), row.label))


def _varying(settings: dict[tuple[str, str], dict[str, Any]]) -> set[str]:
    """The keys whose values differ between groups of one experiment."""
    return {
        key
        for one in settings
        for other in settings
        if one[0] == other[0]
        for key in settings[one].keys() | settings[other].keys()
        if settings[one].get(key) != settings[other].get(key)
    }


def _settings(record: Record) -> dict[str, Any]:
    """The method's settings by the keys that override them: <key>, or settings.<key> for a PEFT tuner."""
    method = dict(record.config.get("method") or {})
    method.pop("name", None)
    method |= {f"settings.{key}": value for key, value in method.pop("settings", {}).items()}
    return {key: method[key] for key in sorted(method)}


def _short(value: Any) -> Any:
    """A setting in a name: of a pattern, the number of its modules."""
    return f"{len(value)} modules" if isinstance(value, dict) else value


def _common(settings: Iterable[dict[str, Any]]) -> dict[str, Any]:
    first, *others = settings
    return {key: value for key, value in first.items() if all(key in o and o[key] == value for o in others)}


def _cell(records: list[Record], edges: Callable[[Record], Edges]) -> Cell:
    """For each seed the latest run that succeeded, or else the latest failure."""
    by_seed: dict[int, Record] = {}
    for record in sorted(records, key=lambda record: (record.status == "ok", record.ended, record.config_hash)):
        by_seed[record.seed] = record
    latest = [by_seed[seed] for seed in sorted(by_seed)]
    runs = tuple(record for record in latest if record.status == "ok")
    return Cell(
        runs=runs,
        failures=tuple(record for record in latest if record.status != "ok"),
        protocol=table_of(latest[0].exp).protocol,
        edges=edges(runs[0]) if runs else {},
    )
