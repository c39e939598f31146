"""Which cell of the paper a run reproduces, if any: decided here alone, and recorded for the tables.

A run belongs to a cell where its model, data, method and recipe are those that the suite's own files give for the
printed row. Runs with another seed, or only executed in another way, belong to the same cell.
"""

import json

from experiments import processes
from experiments.composing import suite
from experiments.config import Config, parse
from experiments.data.assets import Source
from experiments.errors import UserError
from experiments.models.architectures import ARCHITECTURES
from experiments.paper import printed
from experiments.paper.score_tables import SCORE_TABLES
from experiments.record import ROOT
from experiments.results import Results
from experiments.tasks.base import Data

PAPER = Results(ROOT / "results")["paper"]
# The seed, and what changes no result beyond rounding: not the precision, nor the order of the rows.
EXECUTION = {"seed", "model.miniature", "train.device", "train.attention", "train.accumulation", "train.checkpointing"}
SHAPE = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads")  # in a model's config.json


def standing(config: Config, weights: Source, data: Data) -> tuple[str, str | None]:
    """The scale of a run's numbers, and the cell of the paper that it reproduces; prints why where there is none.

    A paper-scale model on part of the paper's data is of scale `small`, and so is a folder of another model's files.
    Raises UserError where another scale is asked for.
    """
    scale, (found, why) = config.model.scale, cell(config)
    if scale == "paper" and (other := other_shape(config, weights)):
        scale, why = "small", other
    elif scale == "paper" and not config.task.is_whole(data.splits):
        scale, why = "small", f"{data.source.id} is not the whole of {config.task.name}"
    if config.scale not in ("auto", scale):
        raise UserError(
            f"scale={config.scale}: {config.model.name} on {config.task.name} from {data.source.id} is of scale "
            f"{scale}; choose another model, or supply the whole data set"
        )
    if why and scale != "mini" and not config.train.is_trial:
        processes.say(f"{config.name}: no cell of the paper ({why})")
    return scale, None if why else found


def cell(config: Config) -> tuple[str | None, str]:
    """The cell, table/model/method/column, and ""; or None, and what differs from the nearest cell, in one line.

    Raises UserError where the paper's numbers cannot be read.
    """
    task, model, method = config.task.name, config.model.name, config.method.name
    tables = [table for table in SCORE_TABLES if table.key in printed.TABLE_NAMES]
    table = next((table for table in tables if any(column.exp == task for column in table.columns)), None)
    if table is None:
        return None, f"the paper has no {task}"
    rows = printed.read_list(PAPER / f"{table.key}.yaml", "rows", printed.PaperRow)
    chosen = [f"task={task}", f"model={model}", f"method={method}"]
    found = [
        config.differences(parse(suite(*chosen, *(f"method.{key}={value}" for key, value in row.settings.items()))))
        for row in rows
        if (row.model, row.method) == (model, method)
    ]
    if not found:
        return None, f"{printed.TABLE_NAMES[table.key]} has no {method} on {model}"
    nearest = min(({key: one[key] for key in one if key not in EXECUTION} for one in found), key=len)
    if nearest:
        return None, ", ".join(f"{key}={ours}, not {theirs}" for key, (ours, theirs) in nearest.items())
    keys = [column.key for column in table.columns if column.exp == task]
    return "/".join([table.key.partition("_")[0], model, method, *(keys if len(keys) == 1 else [])]), ""


def other_shape(config: Config, weights: Source) -> str:
    """Where the files of one of the paper's models are of another shape, in one line; empty where they are not.

    Raises UserError for a configuration that cannot be read.
    """
    architecture, file = ARCHITECTURES.get(config.model.name), weights.files["config.json"]
    if architecture is None:
        return ""
    try:
        found = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file}: not readable JSON ({error}); fetch it anew") from error
    theirs = {architecture.config.attribute_map.get(key, key): getattr(architecture.config, key) for key in SHAPE}
    return ", ".join(f"{file}: {k}={found[k]}, not {v}" for k, v in theirs.items() if found.get(k, v) != v)
