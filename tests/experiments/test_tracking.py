"""A W&B run can be told from others, and compared with them; one that goes on is the one that was interrupted."""

import json
from pathlib import Path

import pytest
from wandb.proto import wandb_internal_pb2

from experiments import pipeline
from experiments.checkpoints import can_resume
from experiments.training import Epochs

QUICK = ("+exp=glue_rte", "train.rows=64", "train.max_steps=4", "tracking=offline")
HEADER, BLOCK, FRAME = 7, 32768, 7  # bytes: of the file, between frames, of a frame's checksum, length and kind


def records(path: Path):
    """The records of an offline file: frames as in LevelDB's log, of which FULL (1) and LAST (4) end a record."""
    data, at, part = path.read_bytes(), HEADER, b""
    while at + FRAME <= len(data):
        if (left := BLOCK - at % BLOCK) < FRAME:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        part += data[at + FRAME : at + FRAME + length]
        at += FRAME + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(part)
            part = b""


def tracked(config):
    """What each W&B run of a run holds, oldest first: its identity as it was last, its summary and config."""
    for path in sorted((config.runs / config.name / "wandb").glob("offline-run-*/run-*.wandb")):
        run, values = None, {}
        for record in records(path):
            if record.HasField("run"):
                run = record.run
            for part in (run.config.update if run else (), record.config.update, record.summary.update):
                values |= {item.key: json.loads(item.value_json) for item in part if item.key}
        yield run, values


def test_it_tells_what_it_is_and_what_came_of_it(make):
    config = make(*QUICK)
    done = pipeline.run(config)
    [(run, values)] = tracked(config)
    assert list(run.tags) == ["fourierft", "roberta_mini", "glue_rte", "mini"] and run.job_type == "trial"
    assert values["config_hash"] == config.hash and values["model_sha256"] == done.model.sha256
    assert values["scale"] == done.scale and values["method"]["n"] == config.method.n
    assert (values["best"], values["best_epoch"]) == (done.metrics.best, done.metrics.best_epoch)
    ranks = done.rank.summary
    assert values["rank/numerical_median"] == ranks.numerical_rank.median
    assert values["rank/effective_median"] == ranks.effective_rank.median


def test_seeds_of_one_setting_are_one_group(make):
    groups = {}
    for setting in ("seed=0", "seed=1", "method.n=100"):
        config = make(*QUICK, "method=fourierft", "train.max_steps=1", setting)
        pipeline.run(config)
        [(run, _)] = tracked(config)
        groups[setting] = run.run_group
    assert groups["seed=0"] == groups["seed=1"] != groups["method.n=100"]
    assert groups["seed=0"].startswith("glue_rte/roberta_mini/fourierft-")


def test_an_interrupted_run_goes_on_in_the_same_one_and_a_repeated_one_does_not(make, monkeypatch):
    config, begin = make(*QUICK), Epochs.on_epoch_begin

    def interrupted(self, args, state, *rest, **others):
        if state.epoch:
            raise KeyboardInterrupt
        begin(self, args, state, *rest, **others)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Epochs, "on_epoch_begin", interrupted)
        pipeline.run(config)
    folder, stamp = config.runs / config.name, pipeline.Draft(config, *pipeline.find(config), "mini", None).stamp()
    assert can_resume(folder, stamp) and not can_resume(folder, stamp | {"data": "other"})
    done = pipeline.run(config)
    first, second = (run.run_id for run, _ in tracked(config))
    assert first == second == done.wandb.id

    config.record_path.unlink()  # then it is carried out again, and from the beginning
    again = pipeline.run(config)
    forced = pipeline.run(make(*QUICK, "force=true"))
    assert len({first, again.wandb.id, forced.wandb.id}) == 3
