"""Carry out what a table of scores lacks: every row, experiment and seed that has no record.

    python -m scripts.table table2 [--scale mini] [--plan] [--jobs 2] [--share 1/4] [KEY=VALUE ...]

exp=, model=, method= and seed= choose among the table's, several by commas; any other override applies to every run. At
the paper's scale a table has the printed rows; at another every recipe of the models that it shows, and of those that
model= names. --plan lists what there is to do, and what that takes. Failed runs are tried again, and a run that fails
stops none of the others; --jobs, or the same command on a machine that sees the same files, does several at once, and
--share 1/4 is the first of four parts of the rows. Afterwards `make tables` writes the table. Exit code 1 if runs
failed, 2 for a wrong argument, 130 after an interruption.
"""

import argparse
from collections.abc import Sequence
from functools import partial

from experiments.command import Command
from experiments.composing import suite
from experiments.config import Config, load
from experiments.errors import UserError
from experiments.paper.printed import read_paper
from experiments.paper.score_tables import SCORE_TABLES, ScoreTable
from experiments.record import find
from experiments.report.aggregate import rows, within
from experiments.report.costs import Run, here, plan
from experiments.report.planned import Line, lines
from experiments.report.scores import arranged
from experiments.work import Task, carry_out
from scripts.study import parse_share

TABLES = {table.key.partition("_")[0] if table.key.startswith("table") else table.key: table for table in SCORE_TABLES}
CHOICES = ("exp", "model", "method", "seed")


def chosen(words: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The choices among the overrides, and the rest."""
    choices, rest = {}, []
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        if key in CHOICES:
            choices[key] = value.split(",")
        else:
            rest.append(word)
    return choices, rest


def wanted(table: ScoreTable, options: argparse.Namespace, choices: dict[str, list[str]]) -> list[Line]:
    """The lines of a table, as far as they are chosen. Raises UserError for a choice that it does not have."""
    scale, exps = options.scale, dict.fromkeys(column.exp for column in table.columns_at(options.scale))
    found = within([row for row in rows(find(options.out)) if row.scale == scale], exps)
    named = {suite(f"+exp={exp}").model.miniature for exp in exps} if scale == "mini" else choices.get("model", ())
    paper = read_paper(options.paper).get(table.key, [])
    left = lines(table, scale, arranged(scale, found, paper, more=filter(None, named)))
    for key, values in choices.items():
        there = list(dict.fromkeys(name for line in left for name in line.parts[key]))
        for value in values:
            if value not in there:
                has = ", ".join(there) or "no rows: name a model of this scale with model="
                raise UserError(f"{key}={value}: not in {table.title} at scale {scale}, which has {has}")
        left = [part for line in left if (part := line.only(key, values))]
    if not left:
        raise UserError(f"{table.title} has no rows at scale {scale}: name a model of this scale, model=NAME")
    return left


def planned(table: ScoreTable, options: argparse.Namespace) -> list[Run]:
    """The chosen runs of a table, the first seed of all before any second seed. Raises UserError."""
    choices, more = chosen(options.overrides)
    part, parts = parse_share(options.share)
    found = []
    for line in wanted(table, options, choices)[part - 1 :: parts]:
        configs: dict[str, Config] = {}  # the seeds share what the first one composes
        for exp, seed, overrides in line.runs():
            words = [*overrides, *more, f"record.dir={options.out}"]
            if exp not in configs:
                configs[exp] = load(*words)
                configs[exp].refuse_trial("a table")
            found.append(Run(words, configs[exp].model_copy(update={"seed": seed}), line.row.title))
    return sorted(found, key=lambda run: table.protocol.seeds.index(run.config.seed))


def by_row(every: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Model and row -> its runs."""
    rows: dict[tuple[str, str], list[Run]] = {}
    for run in every:
        rows.setdefault((run.config.model.name, run.title), []).append(run)
    return rows


def table(options: argparse.Namespace) -> int:
    """Show the plan, and carry it out unless that is all that is asked for; returns the exit code."""
    of = TABLES[options.table]
    every = planned(of, options)
    if options.plan:
        costs, device = here(options.out, options.parameters, options.bench)
        print(plan(f"{of.title}, scale {options.scale}, on {device}", ["Model", "Method"], by_row(every), costs))
        return 0
    left = [run for run in every if run.state != "recorded"]
    print(f"{of.title}, scale {options.scale}: {len(every)} runs, {len(every) - len(left)} recorded", flush=True)
    carry = Carrier()
    ended = carry_out([Task(run.name, partial(carry, run)) for run in left])
    print(ended if left else "nothing left to run; `make tables` writes the table")
    return ended.code


class Carrier:
    """Carries runs out. Where a model or its data are out of reach, it looks for them once."""

    def __init__(self) -> None:
        self.missing: dict[tuple[str, str], UserError] = {}

    def __call__(self, run: Run) -> None:
        from experiments import pipeline  # seconds to import, and not needed for a plan

        place = run.config.task.name, run.config.model.name
        if place in self.missing:
            raise self.missing[place]
        try:
            pipeline.run(load(*run.overrides))
        except pipeline.MissingAssets as error:
            self.missing[place] = error
            raise


main = Command("table", __doc__, table)
main.add_argument("table", choices=list(TABLES))
main.add_argument("--scale", choices=["paper", "small", "mini"], default="paper", help="default: %(default)s")
main.add_argument("--plan", action="store_true", help="only show what there is to do, and what that takes")
main.add_argument("--share", default="1/1", metavar="K/M", help="the K-th of M parts of the rows")
main.add_jobs()
main.add_results("paper", "parameters", "bench", out="records")
main.add_argument(
    "overrides", nargs="*", metavar="KEY=VALUE", help="exp=, model=, method=, seed= choose; others change"
)

if __name__ == "__main__":
    main.start()
