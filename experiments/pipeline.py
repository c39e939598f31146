"""One run, from a configuration to its record: find, prepare, adapt, train, analyse, write."""

import errno
import functools
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn
from transformers import set_seed
from transformers.utils import logging

from experiments import cells, processes, tracking
from experiments import record as records
from experiments.checkpoints import Stamp, load_trained
from experiments.config import Config
from experiments.data.assets import Source, find_model
from experiments.errors import UserError
from experiments.locks import held
from experiments.measure import memory, rank
from experiments.methods.base import check_head, check_precision, count, stored, stored_sha256
from experiments.record import Record
from experiments.record.parts import Cost, Metrics
from experiments.tasks.base import Prepared, Tested
from experiments.training import Outcome, rows_at_once, train


class MissingAssets(UserError):
    """The model or the data are neither local, nor cached, nor to be had from the hub."""


def run(config: Config) -> Record:
    """Carry out one run, or return the record of the same run if it has ended well before.

    Writes <record.dir>/<run>.json, or <run>.failed.json where it fails once begun (an older good record stays), and
    below `runs`: the adapter of the best and of the last epoch, the rank plot, the configuration and W&B's files.
    Raises MissingAssets; UserError, without a record where the run is under way elsewhere or has no place to write to;
    and whatever a broken run raises, after its record is written.
    """
    processes.take_device(config.train.torch_device())
    weights, data = find(config)
    scale, cell = _standing(config, weights, data)
    path, folder = config.record_path, config.runs / config.name
    if path.exists() and not config.force:
        done = records.read(path)
        if (done.model.sha256, done.dataset.sha256) == _digests(config, weights, data):
            processes.say(f"done before: {path} (force=true repeats it)")
            return done
        processes.say(f"the model or the data changed since {path}: running again")
    with _alone(folder, path):
        return _carry_out(config, _recorded(config, scale, cell, weights, data, path), weights, data, folder, path)


def _carry_out(
    config: Config,
    recorded: AbstractContextManager[dict[str, Any]],
    weights: Source,
    data: Source,
    folder: Path,
    path: Path,
) -> Record:
    if processes.is_first():
        if config.force:
            shutil.rmtree(folder, ignore_errors=True)
        records.replace_file(folder / "config.yaml", OmegaConf.to_yaml(config.model_dump(mode="json")).encode())

    with recorded as fields:
        tracker = tracking.Off()
        if processes.is_first():
            tracker = tracking.start(config.tracking, folder, str(config.name), config.exp or "", config.result_key())
        fields["wandb"] = tracker.identity()
        try:
            _train_and_analyse(config, weights, data, folder, tracker, fields)
        except BaseException as error:
            tracker.finish(failed=True)
            if _disk_is_full(error, folder):
                raise UserError(f"{folder}: the disk is full ({error}); make room, or set runs=FOLDER") from error
            raise
        tracker.finish()
    processes.wait()
    finished = records.read(path)
    if processes.is_first():
        if not config.train.keep_checkpoints:
            for checkpoint in folder.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
        print(report(finished, path, folder))
    return finished


@contextmanager
def _alone(folder: Path, path: Path) -> Iterator[None]:
    """Keep other runs out of `folder` while this one lasts, and remove the temporary files of one that was killed.

    Raises UserError where another is there, or where `folder` or that of the record `path` cannot be written to.
    """
    if not processes.is_first():  # the first stands for all
        yield
        return
    records.check_writable(folder, "runs")
    records.check_writable(path.parent, "record.dir")
    with held(folder.with_suffix(".lock"), "wait for its end, or end it"):
        for left in (*folder.rglob(".*.tmp"), *path.parent.glob(f".{path.stem}.*.tmp")):
            left.unlink()
        yield


def _digests(config: Config, weights: Source, data: Source) -> tuple[str, str]:
    return weights.identity()["sha256"], config.task.identity(data)["sha256"]


def find(config: Config) -> tuple[Source, Source]:
    """The files of the model and of the data. Raises MissingAssets, naming what is missing and how to supply it."""
    weights = find_model(config.model, config.assets)
    data = config.task.find(config.assets, mini=config.model.scale == "mini")
    missing = []
    if weights is None:
        made = f"{config.model.name}, which python -m scripts.pretrain_mini --model {config.model.name} makes"
        there = config.model.hub or made
        missing.append(f"model {there} (locally: models/{config.model.local}/)")
    if data is None:
        missing.append(f"data {config.task.name} (locally: datasets/{config.task.local}/)")
    if missing:
        raise MissingAssets(
            f"not found: {'; '.join(missing)}. Three ways to supply them: a folder of models/ and datasets/ "
            f"(assets.root=FOLDER, now {config.assets.root}, or FOURIERFT_ASSETS=FOLDER); a filled Hugging Face cache "
            "(HF_HOME); a network that reaches the Hugging Face hub"
        )
    return weights, data


def _standing(config: Config, weights: Source, data: Source) -> tuple[str, str | None]:
    """The scale of the run's numbers, and the cell of the paper that it reproduces, if any; says why where none.

    A paper-scale model on part of the paper's data is of scale `small`, and so is a folder of another model's files.
    """
    scale, (cell, why) = config.model.scale, cells.cell(config)
    if scale == "paper" and (other := cells.other_shape(config, weights)):
        scale, why = "small", other
    elif scale == "paper" and not config.task.is_whole(data):
        scale, why = "small", f"{data.id} is not the whole of {config.task.name}"
    if config.scale not in ("auto", scale):
        raise UserError(
            f"scale={config.scale}: {config.model.name} on {config.task.name} from {data.id} is of scale {scale}; "
            "choose another model, or supply the whole data set"
        )
    if why and scale != "mini" and not config.train.is_trial:
        processes.say(f"{config.name}: no cell of the paper ({why})")
    return scale, None if why else cell


@contextmanager
def _recorded(
    config: Config, scale: str, cell: str | None, weights: Source, data: Source, path: Path
) -> Iterator[dict[str, Any]]:
    """Yields the record's fields to be filled in; writes the record however the run ends."""
    fields: dict[str, Any] = {
        "schema": 1,
        "exp": config.exp or config.task.name,
        "task": config.task.name,
        "method": config.method.name,
        "model": weights.identity(),
        "dataset": {**config.task.identity(data), "rows": {}},
        "seed": config.seed,
        "entry_seed": config.method.seed_of_entries,
        "scale": scale,
        "paper_cell": cell,
        "config": config.result_key(),
        "config_hash": config.hash,
        "hardware": records.hardware(config.train.torch_device()),
        **records.provenance(),
        "trials": config.recipe.trials,
        "started": records.now(),
    }
    failed = path.with_suffix(".failed.json")
    try:
        yield fields
    except BaseException as error:
        status = {torch.OutOfMemoryError: "oom", KeyboardInterrupt: "cancelled"}.get(type(error), "failed")
        reason = f"{type(error).__name__}: {error}"
        if processes.is_first():
            records.write(Record(**fields, status=status, error=reason, ended=records.now()), failed)
        raise
    if processes.is_first():
        records.write(Record(**fields, status="ok", ended=records.now()), path)
        failed.unlink(missing_ok=True)


def _train_and_analyse(
    config: Config, weights: Source, data: Source, folder: Path, tracker: tracking.Off, fields: dict[str, Any]
) -> None:
    logging.set_verbosity_error()  # that a new head is new is no news
    set_seed(config.seed)
    prepared = config.task.prepare(config.model, weights, data, config.train, config.recipe, config.seed)
    splits = {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}
    fields["dataset"]["rows"] = {split: len(rows) for split, rows in splits.items() if rows is not None}
    fields["dataset"]["skipped"] = prepared.skipped
    if fields["scale"] == "paper" and any((prepared.skipped or {}).values()):
        fields |= {"scale": "small", "paper_cell": None}  # part of the data is not the paper's
    check_head(prepared.model, config.model.head)
    model = config.method.adapt(prepared.model, config.model.attention, config.model.head)
    check_precision(model)
    if config.train.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})  # the other kind needs inputs that train
    fields["params"] = params = count(model, config.model.head)
    tracker.summary({f"params/{name}": value for name, value in params.items()})
    processes.say(f"{config.name}: trains {params['adapter']:,} parameters and {params['head']:,} in the head")

    saved = _saved_bytes(config, prepared, model)
    memory.start_peak(config.train.torch_device())
    callbacks = [tracking.Curves(tracker), *config.method.callbacks()]
    outcome = train(config, prepared, model, callbacks, folder, _stamp(fields))
    fields["metrics"] = _metrics(outcome, prepared)
    fields["cost"] = cost = _cost(outcome, saved, memory.peak(config.train.torch_device()))
    tracker.summary({**{f"cost/{k}": v for k, v in cost.items()}, "best": fields["metrics"]["best"]})

    started = time.perf_counter()
    tested = _save_and_test(config, prepared, model, outcome, folder)
    cost["test_s"] = time.perf_counter() - started if tested else None
    if tested:
        fields["metrics"]["test"] = {selection: found.metrics for selection, found in tested.items()}
        for selection, found in tested.items():
            tracker.summary({f"test/{selection}/{name}": value for name, value in found.metrics.items()})
        if processes.is_first():
            tested[prepared.shown].show(folder, tracker)
    params |= stored(folder / "best") | {"stored_sha256": stored_sha256(folder / "best")}
    tracker.summary({f"params/{name}": params[name] for name in ("stored_values", "stored_bytes")})
    if processes.is_first() and (analysis := rank.summarise(config.method.delta_weights(model))):
        fields["rank"] = analysis
        title = f"ΔW of {config.method.name} on {config.task.name}, {config.model.name}, best epoch"
        rank.plot(analysis, folder / "rank.png", title)
        tracker.table("rank", *rank.rows(analysis))
        tracker.image("rank_plot", folder / "rank.png")


def _stamp(fields: dict[str, Any]) -> Stamp:
    """Of a run's checkpoints: what its record says of where its numbers come from."""
    changes = " with changes" if fields["dirty"] else ""
    return {
        "configuration": fields["config_hash"],
        "model": fields["model"]["sha256"],
        "data": fields["dataset"]["sha256"],
        "code": fields["commit"] and f"{fields['commit']}{changes}",
    }


def _save_and_test(
    config: Config, prepared: Prepared, model: nn.Module, outcome: Outcome, folder: Path
) -> dict[str, Tested]:
    """Leave the weights of the last epoch and of the best in `folder`, and score both where there is a test set.

    The model ends with the best.
    """
    tested = {}
    for selection, checkpoint in (("last", None), ("best", outcome.best_checkpoint)):
        if checkpoint:
            load_trained(model, checkpoint)
        if processes.is_first():
            config.method.save(model, folder / selection)
        processes.wait()
        if prepared.score and selection == "best" and outcome.best is outcome.last:
            tested["best"] = tested["last"]
        elif prepared.score:
            merged = functools.partial(config.method.merged, model)
            tested[selection] = prepared.score(model, outcome.predict, folder / selection, merged)
    return tested


def _disk_is_full(error: BaseException, folder: Path) -> bool:
    """Each library words it its own way, and torch.save not at all: then what is left of the disk tells."""
    return os.strerror(errno.ENOSPC) in str(error) or shutil.disk_usage(folder).free < 2**20


def _saved_bytes(config: Config, prepared: Prepared, model: nn.Module) -> int:
    """What a training step on the first rows of the training set saves for its backward."""
    device = config.train.torch_device()
    size = min(rows_at_once(config), len(prepared.train))
    batch = prepared.collate([prepared.train[i] for i in range(size)]).to(device)
    model.to(device).train()
    with config.train.autocast():
        labels = batch.pop("labels")  # or the model computes a loss of its own as well
        return memory.saved_for_backward(
            model, lambda: prepared.loss(model(**batch), labels) + config.method.penalty(model)
        )


def _metrics(outcome: Outcome, prepared: Prepared) -> dict[str, Any]:
    name = prepared.primary
    return {
        "primary": name,
        "direction": prepared.direction,
        "best": outcome.best[name],
        "best_epoch": outcome.best["epoch"],
        "last": outcome.last[name],
        "per_epoch": outcome.per_epoch,
        "all": {"best": outcome.best, "last": outcome.last},
    }


def _cost(outcome: Outcome, saved: int, peak: int) -> dict[str, Any]:
    return {
        "train_s": outcome.train_s,
        "eval_s": outcome.eval_s,
        "steps": outcome.steps,
        "samples_per_s": outcome.samples_per_s,
        "eval_samples_per_s": outcome.eval_samples_per_s,
        "loader_samples_per_s": outcome.loader_samples_per_s,
        "peak_memory_bytes": peak,
        "saved_bytes": saved,
    }


def report(done: Record, path: Path, folder: Path) -> str:
    """What a person wants to see at the end of a run."""
    metrics, params, cost = done.metrics, done.params, done.cost
    lines = [
        f"{done.exp}  {done.method} on {done.model.name}  (scale {done.scale}, seed {done.seed})",
        f"  {metrics.primary:<12} best {metrics.best:.4f} at epoch {metrics.best_epoch:.0f}, last {metrics.last:.4f}",
        *_test_lines(metrics),
        f"  parameters   {params.adapter:,} adapter ({params.adapter_bytes:,} bytes), {params.head:,} head, "
        f"{params.total:,} in all",
        f"  stored       {params.stored_values:,} values in {params.stored_bytes:,} bytes: {folder / 'best'}",
        f"  cost         {cost.train_s:.0f} s training, {cost.samples_per_s:.0f} examples/s "
        f"(evaluation {cost.eval_samples_per_s:.0f}{_loader(cost)}), "
        f"{cost.saved_bytes / 2**20:.1f} MiB saved for backward, {cost.peak_memory_bytes / 2**20:.0f} MiB peak",
    ]
    if done.rank:
        ranks = done.rank.summary
        lines.append(
            f"  rank of ΔW   numerical {ranks.numerical_rank.median:.0f}, effective {ranks.effective_rank.median:.0f} "
            f"(medians of {ranks.count} matrices): {folder / 'rank.png'}"
        )
    return "\n".join([*lines, f"  record       {path}"])


def _loader(cost: Cost) -> str:
    rate = cost.loader_samples_per_s
    return "" if rate is None else f", the loader alone {rate:.0f}"


def _test_lines(metrics: Metrics) -> list[str]:
    """All metrics on the test set but the loss, by the weights of the best epoch and of the last where they differ."""
    if metrics.test is None:
        return []
    found = {"best": metrics.test.best, "last": metrics.test.last}
    chosen = {"best and last": found["best"]} if found["best"] == found["last"] else found
    return [
        f"  on test      {', '.join(f'{k} {v:.4g}' for k, v in scores.items() if k != 'loss')}: {which} epoch"
        for which, scores in chosen.items()
    ]
