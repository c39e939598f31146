"""The runs of a table: for each row the experiments, the seeds and the overrides, of which one may name its recipe."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.paper.printed import PaperRow, listed
from experiments.paper.score_tables import ScoreTable
from experiments.recipes import CONFIGS, recipes_of
from experiments.report.aggregate import PAPERS, SIZES, Row

Recipe = tuple[str, dict[str, Any]]  # <folder>/<file>, and its keys


@dataclass(frozen=True)
class Line:
    """The runs of one row. overrides: those of each run, without experiment and seed."""

    row: Row
    exps: tuple[str, ...]
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def command(self) -> str:
        """All its runs as one command of a shell."""
        seeds = ",".join(map(str, self.seeds))
        return shlex.join(["python", "run.py", "-m", f"+exp={','.join(self.exps)}", *self.overrides, f"seed={seeds}"])

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """What can be chosen of it, by the key of an override."""
        seeds = tuple(map(str, self.seeds))
        return {"exp": self.exps, "model": (self.row.model,), "method": (self.row.method,), "seed": seeds}

    def only(self, key: str, values: Collection[str]) -> "Line | None":
        """The line restricted to these experiments, models, methods or seeds; None where nothing is left."""
        kept = tuple(value for value in self.parts[key] if value in values)
        if not kept:
            return None
        fewer = {"exp": {"exps": kept}, "seed": {"seeds": tuple(int(seed) for seed in kept if key == "seed")}}
        return replace(self, **fewer.get(key, {}))

    def runs(self) -> Iterator[tuple[str, int, list[str]]]:
        """Experiment, seed and overrides of each run, the first seed of every experiment before any second seed."""
        for seed in self.seeds:
            for exp in self.exps:
                yield exp, seed, [f"+exp={exp}", *self.overrides, f"seed={seed}"]


def lines(table: ScoreTable, scale: str, rows: Iterable[Row], configs: Path = CONFIGS) -> list[Line]:
    """The runs of each row that has a recipe: on the experiments in its `cells`, or on all where it has none."""
    found, every = [], list(dict.fromkeys(column.exp for column in table.columns_at(scale)))
    for row in rows:
        if (recipe := recipe_of_row(row, configs)) is None:
            continue
        name, keys = recipe
        usual, cells = keys.get("method", {}), keys.get("cells", every)
        exps = tuple(exp for exp in every if exp in cells)
        sizes = {key: value for key, value in row.sizes.items() if key in usual}
        changed = [_override(k, v) for k, v in (sizes | row.overrides).items() if usual.get(k) != v]
        chosen = [] if name.endswith(f"/{row.method}") else [f"recipe={name}"]
        overrides = [f"scale={scale}", f"model={row.model}", f"method={row.method}", *chosen, *changed]
        if exps:
            found.append(Line(row, exps, tuple(overrides), table.protocol.seeds))
    return found


def _override(key: str, value: Any) -> str:
    """A setting of the method on the command line; a dictionary in the words of Hydra."""
    if not isinstance(value, dict):
        return f"method.{key}={value}"
    return f"method.{key}={{{','.join(f'{name}:{one}' for name, one in value.items())}}}"


def recipe_of_row(row: Row, configs: Path = CONFIGS) -> Recipe | None:
    """The recipe behind a row: of those for its method the first that gives its settings, or else the first."""
    every = [(name, keys) for name, (method, keys) in recipes_of(row.model, configs).items() if method == row.method]
    return next((one for one in every if _gives(one[1].get("method", {}), row.settings)), every[0] if every else None)


def _gives(said: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a recipe's settings are a row's, as far as it gives them as plain values that the row has."""
    plain = {key: value for key, value in said.items() if key in settings and "$" not in str(value)}
    return all(settings[key] == value for key, value in plain.items())


def not_run(
    scale: str,
    found: Sequence[Row],
    printed: Sequence[PaperRow],
    models: Iterable[str],
    configs: Path = CONFIGS,
) -> list[Row]:
    """The rows of a table that no run has filled: at the paper's scale the printed ones, and elsewhere every recipe of
    these models."""
    if scale == "paper":
        return [
            Row(scale, line.model, line.method, listed(line.settings), line.settings, in_paper=True)
            for line in printed
            if not any(row.is_of(line) for row in found)
        ]
    known = {recipe[0] for row in found if (recipe := recipe_of_row(row, configs))}
    rows = []
    for model in models:
        for name, (method, keys) in recipes_of(model, configs).items():
            if name not in known:
                settings = {key: value for key, value in keys.get("method", {}).items() if "$" not in str(value)}
                naming = {k: v for k, v in settings.items() if k in SIZES or PAPERS.get(k, v) != v}
                rows.append(Row(scale, model, method, listed(naming), settings))
    return rows
