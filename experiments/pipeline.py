"""One run, from a configuration to its record: find, prepare, adapt, train, analyse, write."""

import errno
import functools
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch
from omegaconf import OmegaConf
from torch import nn
from transformers import set_seed
from transformers.utils import logging

from experiments import card, cells, earlier, processes, progress, tracking
from experiments import record as records
from experiments.checkpoints import can_resume, load_trained
from experiments.config import Config
from experiments.data.assets import Source, find_model
from experiments.draft import Draft
from experiments.errors import UserError
from experiments.measure import memory, rank
from experiments.methods.trained import check_kept, count, stored, stored_sha256
from experiments.models import attention, heads
from experiments.names import name
from experiments.record import Record, Selection, Selections
from experiments.record.parts import Params
from experiments.record.summary import summary
from experiments.tasks.base import Data, Prepared, Tested
from experiments.training import Trained, rows_at_once, train


class MissingAssets(UserError):
    """The model or the data are neither local, nor cached, nor to be had from the hub."""


def run(config: Config) -> Record:
    """Carry out one run, or return its record if it is already done.

    Writes <record.dir>/<run>.json, or <run>.failed.json where it fails after its start (an older good record stays).
    Writes below `runs` the adapter of the best and of the last epoch, ready for the hub, the rank plot, the
    configuration and W&B's files.
    Raises MissingAssets; without writing a record, Held where another process carries out this run, UserError where its
    folders cannot be written to, and what it raised where another worker of the same command carried it out and failed;
    and whatever a failing run raises, after its record is written.
    """
    progress.hide_bars()
    config.method.check()
    processes.take_device(config.train.torch_device())
    weights, data = find(config)
    scale, cell = cells.standing(config, weights, data)
    path, folder = config.record_path, config.runs / config.name
    if done := earlier.done(config, weights, data):
        return done
    with earlier.alone(folder, path):
        if done := earlier.done(config, weights, data):  # by another process, in the meantime
            return done
        earlier.check_not_failed(path)
        _carry_out(Draft(config, weights, data, scale, cell), folder, path)
        finished = records.read(path)
        if processes.is_first():
            if not config.train.keep_checkpoints:
                for checkpoint in folder.glob("checkpoint-*"):
                    shutil.rmtree(checkpoint)
            print(summary(finished, path, folder))
        return finished


def _carry_out(draft: Draft, folder: Path, path: Path) -> None:
    """Train, analyse and write the record, whether that succeeds or fails."""
    config = draft.config
    if processes.is_first():
        if config.force and not earlier.was_interrupted(path):
            shutil.rmtree(folder, ignore_errors=True)
        records.replace_file(folder / "config.yaml", OmegaConf.to_yaml(config.model_dump(mode="json")).encode())

    with _recorded(draft, path):
        tracker = _tracker(draft, folder)
        draft.tracked = tracker.identity()
        try:
            _train_and_analyse(draft, folder, tracker)
        except BaseException as error:
            tracker.finish(failed=True)
            if _disk_is_full(error, folder):
                raise UserError(f"{folder}: the disk is full ({error}); make room, or set runs=FOLDER") from error
            raise
        tracker.finish()
    processes.wait()


def _tracker(draft: Draft, folder: Path) -> tracking.Tracker:
    """The tracker of the run: that of the interrupted run which it goes on from, if there is one."""
    config = draft.config
    settings = config.result_key()
    setting = records.config_hash({key: value for key, value in settings.items() if key != "seed"})
    return tracking.start(
        config.tracking,
        folder,
        goes_on=config.train.resume and can_resume(folder, draft.stamp()),
        name=str(config.name),
        group=f"{config.name.parent}-{setting}",
        job_type="trial" if config.train.is_trial else "run",
        tags=[config.method.name, config.model.name, config.task.name],
        config={**settings, "config_hash": config.hash, "model_sha256": draft.model["sha256"]},
    )


def find(config: Config) -> tuple[Source, Data]:
    """The model's files and the data. Raises MissingAssets: what is missing and how to supply it."""
    weights = find_model(config.model, config.assets)
    source = config.task.find(config.assets, mini=config.model.scale == "mini")
    missing = []
    if weights is None:
        made = f"{config.model.name}, which python -m scripts.pretrain_mini --model {config.model.name} makes"
        there = config.model.hub or (made if config.model.miniature else config.model.name)
        missing.append(f"model {there} (locally: models/{config.model.local}/)")
    if source is None:
        missing.append(f"data {config.task.name} (locally: datasets/{config.task.local}/)")
    if missing:
        raise MissingAssets(
            f"not found: {'; '.join(missing)}. Three ways to supply them: a folder of models/ and datasets/ "
            f"(assets.root=FOLDER, now {config.assets.root}, or FOURIERFT_ASSETS=FOLDER); a filled Hugging Face cache "
            "(HF_HOME); a network that reaches the Hugging Face hub"
        )
    return weights, Data(config.task, source)


@contextmanager
def _recorded(draft: Draft, path: Path) -> Iterator[None]:
    """Write the record of the run in this context, whether it succeeds or fails, with the results so far."""
    failed = path.with_suffix(".failed.json")
    try:
        yield
    except BaseException as error:
        stopped = dict.fromkeys((KeyboardInterrupt, SystemExit), "cancelled")
        status = {torch.OutOfMemoryError: "oom", **stopped}.get(type(error), "failed")
        if processes.is_first():
            records.write(draft.record(status, f"{type(error).__name__}: {error}"), failed)
        raise
    if processes.is_first():
        records.write(draft.record("ok"), path)
        failed.unlink(missing_ok=True)


def _train_and_analyse(draft: Draft, folder: Path, tracker: tracking.Tracker) -> None:
    config, device = draft.config, draft.config.train.torch_device()
    logging.set_verbosity_error()  # a newly initialised head is expected
    set_seed(config.seed)
    memory.free(device)
    prepared = config.task.prepare(config.model, draft.weights, draft.data, config.train, config.recipe, config.seed)
    splits = {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}
    draft.rows = {split: len(rows) for split, rows in splits.items() if rows is not None}
    draft.skipped = prepared.skipped
    if draft.scale == "paper" and any((prepared.skipped or {}).values()):
        draft.scale, draft.cell = "small", None  # on part of the data it is not the paper's run
    tracker.scale(draft.scale)
    draft.labels = prepared.model.config.id2label
    if config.model.hub:
        prepared.model.name_or_path = config.model.hub  # as an adapter's file names its base, else by its folder
    head = heads.found(prepared.model, config.model.head)
    model = config.method.adapt(prepared.model, attention.found(prepared.model, config.model.attention, head), head)
    check_kept(model)
    if config.train.checkpointing:
        model.gradient_checkpointing_enable(
            {"use_reentrant": False}
        )  # the reentrant kind needs inputs that require a gradient
    counts = count(model, head)
    draft.params = Params(**counts)
    tracker.summary(_named("params", counts))
    processes.say(f"{config.name}: trains {draft.params.adapter:,} parameters and {draft.params.head:,} in the head")
    if warning := config.train.warning():
        processes.say(warning)

    saved = _saved_bytes(config, prepared, model)
    memory.start_peak(device)
    callbacks = [tracking.Curves(tracker), *config.method.callbacks()]
    trained = train(config, prepared, model, head, callbacks, folder, draft.stamp())
    draft.metrics = trained.metrics
    draft.cost = trained.cost.model_copy(update={"saved_bytes": saved, "peak_memory_bytes": memory.peak(device)})
    tracker.summary(_named("cost", draft.cost.model_dump(exclude={"test_s"})))
    tracker.summary({"best": draft.metrics.best, "best_epoch": draft.metrics.best_epoch})

    started = time.perf_counter()
    if tested := _save_and_test(config, prepared, model, trained, folder):
        draft.cost = draft.cost.model_copy(update={"test_s": time.perf_counter() - started})
        scores = {selection: found.metrics for selection, found in tested.items()}
        draft.metrics = draft.metrics.model_copy(update={"test": Selections(**scores)})
        for selection, values in scores.items():
            tracker.summary(_named(f"test/{selection}", values))
        if processes.is_first():
            tested[prepared.shown].show(folder, tracker)
    kept = stored(folder / "best")
    draft.params = Params(**counts, **kept, stored_sha256=stored_sha256(folder / "best"))
    tracker.summary(_named("params", kept))
    if processes.is_first() and (analysis := rank.summarise(config.method.delta_weights(model))):
        draft.rank, ranks = analysis, analysis.summary
        medians = {"numerical_median": ranks.numerical_rank.median, "effective_median": ranks.effective_rank.median}
        tracker.summary(_named("rank", medians))
        told = [config.method.name, config.task.name, config.model.name]
        title = f"ΔW of {', '.join(map(name, told))}, best epoch"
        rank.plot(analysis, folder / "rank.png", title)
        tracker.table("rank", *rank.rows(analysis))
        tracker.image("rank_plot", folder / "rank.png")
    if processes.is_first():  # before there is a record, which says that all is there
        finished, source = draft.record("ok"), draft.weights.files["config.json"].parent
        for selection in get_args(Selection):
            card.complete(folder / selection, selection, finished, source, draft.labels)


def _named(group: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values under names by which a tracker groups them."""
    return {f"{group}/{name}": value for name, value in values.items()}


def _save_and_test(
    config: Config, prepared: Prepared, model: nn.Module, trained: Trained, folder: Path
) -> dict[str, Tested]:
    """Save the weights of the last and of the best epoch in `folder`, and score both where there is a test set.

    Afterwards the model has the best weights.
    """
    tested = {}
    for selection, checkpoint in (("last", None), ("best", trained.best_checkpoint)):
        if checkpoint:
            load_trained(model, checkpoint)
        if processes.is_first():
            config.method.save(model, folder / selection)
        processes.wait()
        if prepared.score and selection == "best" and trained.metrics.best_is_last:
            tested["best"] = tested["last"]
        elif prepared.score:
            merged = functools.partial(config.method.merged, model)
            tested[selection] = prepared.score(model, trained.predict, folder / selection, merged)
    return tested


def _disk_is_full(error: BaseException, folder: Path) -> bool:
    """Libraries word this error differently, and torch.save does not name it: then the free space decides. An
    interruption is none, nor is a folder that is gone."""
    free = shutil.disk_usage(folder).free if folder.exists() else math.inf
    return isinstance(error, Exception) and (os.strerror(errno.ENOSPC) in str(error) or free < 2**20)


def _saved_bytes(config: Config, prepared: Prepared, model: nn.Module) -> int:
    """Bytes that a training step on the first rows of the training set saves for its backward pass."""
    device = config.train.torch_device()
    size = min(rows_at_once(config), len(prepared.train))
    batch = prepared.collate([prepared.train[i] for i in range(size)]).to(device)
    model.to(device).train()
    with config.train.autocast():
        labels = batch.pop("labels")  # else the model computes a loss of its own as well
        return memory.saved_for_backward(
            model, lambda: prepared.loss(model(**batch), labels) + config.method.penalty(model)
        )
