"""A checkpoint is resumed only if it is whole and of the same run: whatever happens to its files, no other number."""

import hashlib
import json
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from transformers import TrainerCallback, TrainerState

from experiments import pipeline
from experiments.checkpoints import MANIFEST, Manifests, load_trained, to_resume
from experiments.config import load
from experiments.data.assets import EMBEDDED
from experiments.errors import UserError
from experiments.locks import held

STAMP = {"configuration": "0" * 12, "model": "a", "data": "b", "code": "c"}
FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", MANIFEST)


def checkpoints(folder, scores, stamp=STAMP):
    """What a run leaves in `folder` whose epochs of one step have these scores; `folder`."""
    callback, state = Manifests(stamp), TrainerState()
    callback.on_train_begin(None, state, None)
    for step, score in enumerate(scores, 1):
        if state.best_metric is None or score > state.best_metric:
            state.best_metric, state.best_global_step = score, step
        state.global_step, path = step, folder / f"checkpoint-{step}"
        path.mkdir(parents=True)
        for name in FILES[:-2]:
            (path / name).write_bytes(f"{name} of step {step} in {stamp}".encode())
        state.save_to_json(str(path / "trainer_state.json"))
        callback.on_save(SimpleNamespace(output_dir=str(folder)), state, None)
    return folder


def names(folder):
    return {path.name for path in folder.iterdir()}


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_two_stay_each_with_its_best_and_the_newest_is_resumed(tmp_path_factory, scores):
    folder = checkpoints(tmp_path_factory.mktemp("run"), scores)
    assert len(names(folder)) <= 2 and f"checkpoint-{1 + scores.index(max(scores))}" in names(folder)
    assert to_resume(folder, STAMP) == folder / f"checkpoint-{len(scores)}"
    shutil.rmtree(folder / f"checkpoint-{len(scores)}")
    assert bool(to_resume(folder, STAMP)) == (len(scores) > 1), "the one before can be resumed as well"


def damage(data, folder):
    """Damage one file of one checkpoint in `folder`, as drawn from hypothesis' `data`."""
    path = data.draw(st.sampled_from(sorted(folder.glob("checkpoint-*/*"))), "file")
    size = path.stat().st_size
    kind = data.draw(st.sampled_from(("delete", "cut", "flip", "swap", "empty", "folder", "append", "rename")), "kind")
    before = path.read_bytes()
    if kind == "cut":
        path.write_bytes(before[: data.draw(st.integers(0, size - 1), "length")])
    elif kind == "flip":
        at = data.draw(st.integers(0, size - 1), "at")
        path.write_bytes(before[:at] + bytes([before[at] ^ data.draw(st.integers(1, 255), "bits")]) + before[at + 1 :])
    elif kind == "swap":
        other = data.draw(st.sampled_from(sorted(folder.glob(f"*/{path.name}"))), "other")
        shutil.copy(other, path) if other != path else None
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "append":
        path.write_bytes(before + b"\0")
    elif kind == "rename":
        path.parent.rename(folder / "checkpoint-99")
    else:
        path.unlink()
        if kind == "folder":
            path.mkdir()


@given(st.data(), st.sampled_from([(2, 1, 0), (0, 1, 2), (0, 2, 1), (0, 0, 1, 1)]))
@settings(max_examples=100, deadline=None)
def test_whatever_is_damaged_what_is_resumed_is_as_it_was_written(tmp_path_factory, data, scores):
    folder = checkpoints(tmp_path_factory.mktemp("run"), scores)
    before = contents(folder)
    damage(data, folder)
    try:
        resumed = to_resume(folder, STAMP)
    except UserError as error:
        assert "train.resume=false" in str(error) and names(folder)  # of "other code", and nothing is removed
        return
    assert bool(resumed) == bool(names(folder))
    if resumed:
        best = TrainerState.load_from_json(str(resumed / "trainer_state.json")).best_global_step
        used = {resumed.name, f"checkpoint-{best}"}
        for when in (before, after := contents(folder)):
            for path in [path for path in when if path.parts[0] not in used or path.name == MANIFEST]:
                del when[path]
        assert after and after == before


@pytest.mark.parametrize("key", ["configuration", "model", "data"])
def test_another_run_starts_from_the_beginning_and_says_so(tmp_path, capsys, key):
    checkpoints(tmp_path, [1, 2])
    assert to_resume(tmp_path, {**STAMP, key: "other"}) is None and not names(tmp_path)
    printed = capsys.readouterr().out
    assert f"checkpoint-2 is of a run with another {key}" in printed and "starting from the beginning" in printed


def test_of_other_code_is_refused_and_kept(tmp_path):
    checkpoints(tmp_path, [1, 2])
    with pytest.raises(UserError, match=r"checkpoint-2: written by code c, this is d: .*train\.resume=false"):
        to_resume(tmp_path, {**STAMP, "code": "d"})
    assert len(names(tmp_path)) == 2
    assert to_resume(tmp_path, {**STAMP, "code": "d"}, resume=False) is None and not names(tmp_path)


def test_a_copy_of_another_run_s_checkpoint_is_passed_over(tmp_path, capsys):
    """The newest, or the best one that it refers to."""
    other = checkpoints(tmp_path / "other", [3, 2, 1], {**STAMP, "configuration": "1" * 12})
    ours = checkpoints(tmp_path / "ours", [1])
    shutil.copytree(other / "checkpoint-3", ours / "checkpoint-3")
    assert to_resume(ours, STAMP).name == "checkpoint-1"
    ours = checkpoints(tmp_path / "again", [3, 2, 1])
    shutil.rmtree(ours / "checkpoint-1")
    shutil.copytree(other / "checkpoint-1", ours / "checkpoint-1")
    capsys.readouterr()
    assert to_resume(ours, STAMP) is None
    assert "checkpoint-3 is passed over: " in capsys.readouterr().out


def test_what_is_no_checkpoint_of_a_run_is_left_and_a_file_in_its_place_is_not(tmp_path):
    for name in ("checkpoint-best", "checkpoint-2.bak"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-3").touch()
    assert to_resume(tmp_path, STAMP) is None and names(tmp_path) == {"checkpoint-best", "checkpoint-2.bak"}


def test_a_checkpoint_holds_exactly_what_trains(tmp_path):
    model = nn.Linear(3, 2)
    right = {name: torch.full_like(parameter, 7.0) for name, parameter in model.named_parameters()}

    def saved(state):
        folder = checkpoints(tmp_path / str(len(names(tmp_path))), [1])
        path = folder / "checkpoint-1" / "model.safetensors"
        save_file(state, path)
        manifest = json.loads((path.parent / MANIFEST).read_text())
        manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        (path.parent / MANIFEST).write_text(json.dumps(manifest))
        return path.parent

    load_trained(model, saved(right))
    assert all(torch.equal(parameter, right[name]) for name, parameter in model.named_parameters())
    for wrong in (
        {"weight": right["weight"]},
        {**right, "bias": torch.zeros(3)},
        {**right, "bias": right["bias"].half()},
        {**right, "more": torch.zeros(1)},
    ):
        with pytest.raises(UserError, match=r"checkpoint-1: (bias|more): missing.* train\.resume=false"):
            load_trained(model, saved(wrong))
    damaged = saved(right)
    (damaged / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"checkpoint-1 is damaged \(model\.safetensors\); run again"):
        load_trained(model, damaged)


# Runs ----------------------------------------------------------------------------------------------------------------

QUICK = ("+exp=glue_rte", "train.rows=16", "recipe.batch_size=8", "recipe.epochs=4", "model.dropout=0.1", "method.n=50")


class Stop(TrainerCallback):
    """Ends a run after its third epoch's checkpoint."""

    def on_save(self, args, state, control, **kwargs):
        if round(state.epoch) == 3:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The files of a run that was stopped after three of four epochs, and the metrics of one that was not."""
    folder = tmp_path_factory.mktemp("stopped")
    config = local(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(config.method), "callbacks", lambda self: [Stop()])
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(config)
    assert len(list((config.runs / config.name).glob("checkpoint-*"))) == 2
    return folder, pipeline.run(local(tmp_path_factory.mktemp("whole"))).metrics


def local(folder):
    """A run that leaves its files in `folder`."""
    here = ("model=roberta_mini", "tracking=off", "train.device=cpu", f"record.dir={folder}", f"runs={folder}/runs")
    return load(*QUICK, *here)


def resumed(stopped, tmp_path, change):
    """The metrics of a run that goes on from a copy of what the stopped one left, after `change` of that folder."""
    shutil.rmtree(tmp_path / "again", ignore_errors=True)
    shutil.copytree(stopped[0], tmp_path / "again")
    config = local(tmp_path / "again")
    change(config.runs / config.name)
    return pipeline.run(config).metrics


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("checkpoint-6/optimizer.pt", r"checkpoint-6 is passed over: .*\(optimizer\.pt\)\ncontinuing from"),
        ("checkpoint-*/rng_state.pth", r"no checkpoint to go on from: starting from the beginning"),
    ],
)
def test_a_run_with_a_damaged_checkpoint_ends_as_if_nothing_had_happened(stopped, tmp_path, capsys, files, said):
    def cut(folder):
        for path in folder.glob(files):
            path.write_bytes(path.read_bytes()[:-1])

    assert resumed(stopped, tmp_path, cut) == stopped[1]
    assert re.search(said, capsys.readouterr().out)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_damaged_the_metrics_are_those_of_the_undisturbed_run(stopped, tmp_path, data):
    try:
        assert resumed(stopped, tmp_path, lambda folder: damage(data, folder)) == stopped[1]
    except UserError as error:
        assert "train.resume=false" in str(error)


def test_old_checkpoints_give_no_score_under_new_labels(make, tmp_path, capsys):
    """A run is done and has kept its checkpoints; then the labels change."""
    shutil.copytree(EMBEDDED / "roberta", tmp_path / "assets" / "models" / "roberta-base")

    def labelled(*labels):
        for split in ("train", "validation"):
            path = tmp_path / "assets" / "datasets" / "glue" / "rte" / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            texts = [f"the cat {i} sleeps" for i in range(16)]
            Dataset.from_dict({"sentence1": texts, "sentence2": texts, "label": [*labels] * 8}).to_parquet(path)

    def run(runs):
        kept = ("model=roberta_base", f"assets.root={tmp_path}/assets", "train.keep_checkpoints=true")
        short = ("recipe.max_length=16", "recipe.epochs=2", f"runs={tmp_path}/{runs}", f"record.dir={tmp_path}/{runs}")
        return pipeline.run(make("+exp=glue_rte", *kept, *short, "method.n=50", "recipe.batch_size=8"))

    labelled(0, 1)
    old = run("run")
    labelled(1, 1)
    left = [path.with_name(f".{path.name}.1.tmp") for path in (tmp_path / "run").rglob("*.yaml")]
    left += [path.with_name(f".{path.name}.1.tmp") for path in (tmp_path / "run").rglob("seed0-*.json")]
    for path in left:
        path.touch()
    new = run("run")
    printed = capsys.readouterr().out
    assert "running again" in printed and "of a run with another data" in printed and "continuing" not in printed
    assert new.dataset.sha256 != old.dataset.sha256
    assert new.metrics == run("elsewhere").metrics and new.metrics != old.metrics
    assert len(left) == 2 and not any(path.exists() for path in left), "what a killed run left half written"


def test_the_second_of_two_equal_runs_is_told_and_leaves_nothing(make, tmp_path):
    config = make(*QUICK)
    folder = config.runs / config.name
    with held(folder.with_suffix(".lock"), ""), pytest.raises(UserError, match=rf"{folder.name} is in use by"):
        pipeline.run(config)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("key", ["record.dir", "runs"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_training(make, tmp_path, monkeypatch, key):
    (tmp_path / "file").touch()
    monkeypatch.setattr(pipeline, "_carry_out", lambda *_: pytest.fail("it has begun"))
    for folder in (tmp_path / "file", "/proc"):
        with pytest.raises(UserError, match=rf"{key}: {folder}/.* cannot be written to .*name another folder"):
            pipeline.run(make("+exp=glue_rte", f"{key}={folder}"))
    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: (_ for _ in ()).throw(OSError(30, "Read-only")))
    with pytest.raises(UserError, match=r"runs: .*\(Read-only\)"):
        pipeline.run(make("+exp=glue_rte"))
