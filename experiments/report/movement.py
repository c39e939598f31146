"""How far a step moves a model, for every published recipe of FourierFT: what the rule of scale="auto" is fitted to.

The movement is that of `fourierft/scale.py`. It follows from the composed configuration and the shapes of the full-size
model; nothing is trained.
"""

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import fourierft
from experiments.composing import suite
from experiments.config import Config, parse
from experiments.errors import UserError
from experiments.models.shapes import SHAPES
from experiments.paper.printed import PaperRow
from experiments.paper.score_tables import SCORE_TABLES
from experiments.recipes import CONFIGS, recipe_of
from experiments.report.page import Page
from experiments.report.render import Table, span

# PEFT's method comparison: its FourierFT in both sizes, and WaveFT, which learns there.
OF_PEFT = [("recipe=llama32_3b/fourierft_peft_default", f"method.n={n}") for n in (1000, 5000)] + [("method=waveft",)]
NOTES = [
    "Movement: the Frobenius norm, over all adapted matrices together, by which a step of Adam at rate 1 moves ΔW. For "
    "one matrix it is scale × √(n / (2 d1 d2)), and scaling × √n for WaveFT, whose basis is orthonormal; together it "
    "is the root of the sum of squares.",
    "Movement × lr: how far a step at the recipe's rate, the highest of its schedule, moves the model. Of several "
    "tasks: the geometric mean (the least–the most).",
    "lr at scale=auto: the rate at which a step moves the model as far where the rule of fourierft/scale.py sets the "
    "scale.",
    "n: the recipe's own. For ViT at n=10000 the paper prints none; that of n=3000 then moves it 1.8 times as far.",
    "RoBERTa-base by Table 9: QNLI's rate, 0.01, is most likely a misprint; script and logs have 0.1.",
]


def movement(config: Config) -> float:
    """How far a step at rate 1 moves all adapted matrices together, of FourierFT or of WaveFT.

    Raises UserError for a model whose shapes are not known here.
    """
    return one_scale(config) * _at_scale_1(config)


def one_scale(config: Config) -> float:
    """The scale as one number for all matrices, as PEFT's file has it: for "auto" the one with the rule's movement.

    A run with "auto" gives matrices of different shapes different scales. Raises UserError for "auto" on a model whose
    shapes are not known here.
    """
    _, scale = _size(config)
    return fourierft.auto_movement(_matrices(config)) / _at_scale_1(config) if scale == "auto" else scale


def published(paper: Mapping[str, Sequence[PaperRow]]) -> list[list[Config]]:
    """The published recipes, of the paper, the official scripts and PEFT: for each the runs of its tasks.

    paper: the printed rows, by table.
    """
    found = []
    for table in SCORE_TABLES:
        tasks = tuple(dict.fromkeys(column.exp for column in table.columns))
        for model in dict.fromkeys(row.model for row in paper.get(table.key, []) if row.method == "fourierft"):
            for recipe in (recipe_of(model, "fourierft"), f"{model}/fourierft_script"):
                if (CONFIGS / "recipe" / f"{recipe}.yaml").is_file():
                    found.append(_runs(tasks, f"model={model}", f"recipe={recipe}"))
    return found + [_runs(("metamath",), "model=llama32_3b", *overrides) for overrides in OF_PEFT]


def page(paper: Mapping[str, Sequence[PaperRow]]) -> Page:
    """The page of all published recipes, by recipe and by task. paper: the printed rows, by table."""
    recipes = published(paper)
    names, numbers = ["Model", "Method", "Source"], ["Scale", "lr", "Movement", "Movement × lr", "lr at scale=auto"]
    by_task = [_row([run], run.task.name) for runs in recipes if len(runs) > 1 for run in runs]
    tables = [
        Table("Every published recipe", [*names, *numbers], [_row(runs) for runs in recipes]),
        Table("Task by task", [*names, "Task", *numbers], by_task),
    ]
    return Page("movement", "How far a step moves a model", tables, NOTES, index_note=f"recipes: {len(recipes)}")


def _row(runs: Sequence[Config], *task: str) -> list[str]:
    """One recipe over these runs."""
    (n, _), scales = _size(runs[0]), [_size(run)[1] for run in runs]
    rates, moved = [run.recipe.lr for run in runs], [movement(run) for run in runs]
    steps = [one * rate for one, rate in zip(moved, rates, strict=True)]
    mean = statistics.geometric_mean(steps)
    ends = f" ({span(steps, '.2g')})" if len(steps) > 1 else ""
    return [
        *(runs[0].model.name, f"{runs[0].method.name} (n={n})", runs[0].recipe.source, *task),
        *(span(values, ".3g") for values in (scales, rates, moved)),
        *(f"{mean:.2g}{ends}", f"{mean / fourierft.auto_movement(_matrices(runs[0])):.2g}"),
    ]


@functools.cache
def _runs(tasks: tuple[str, ...], *overrides: str) -> list[Config]:
    """The run of each task. Composed once, which takes long: a recipe knows its task by the row of `cells` alone."""
    composed, runs = suite(f"task={tasks[0]}", *overrides), []
    for task in tasks:
        composed.task.name = task
        runs.append(parse(composed))
    return runs


def _size(config: Config) -> tuple[int, Any]:
    """n and the scale."""
    method = config.method
    return (
        (method.settings["n_frequency"], method.settings["scaling"]) if _is_wave(config) else (method.n, method.scale)
    )


def _at_scale_1(config: Config) -> float:
    """The movement at a scale of 1."""
    each = _matrices(config)
    return math.sqrt(sum(n for _, n in each)) if _is_wave(config) else fourierft.unit_movement(each)


def _matrices(config: Config) -> list[tuple[tuple[int, int], int]]:
    """The shape and n of every adapted matrix."""
    n, _ = _size(config)
    whole = getattr(config.method, "targets", "attention") == "all-linear"
    shapes = _shapes(config.model.name, None if whole else config.model.attention, config.model.head)
    return [(shape, n) for shape in shapes]


def _is_wave(config: Config) -> bool:
    return config.method.name == "waveft"


@functools.cache
def _shapes(model: str, names: tuple[str, ...] | None, head: tuple[str, ...]) -> list[tuple[int, int]]:
    """(out, in) of every adapted matrix of the full-size model. names: None for all linear layers outside the head.

    Raises UserError for a model that is not known here.
    """
    if model not in SHAPES:
        raise UserError(f"method.scale=auto: the shapes of {model} are not known here; give the scale as a number")
    if names == SHAPES[model].attention:
        return SHAPES[model].matrices
    from experiments.methods.trained import weights
    from experiments.models.architectures import ARCHITECTURES

    network = ARCHITECTURES[model].build()
    names = fourierft.all_linear(network, head) if names is None else names
    return [tuple(weight.shape) for weight in weights(network, names).values()]
