"""A run from end to end on the miniature: what it records, repeats, refuses, and how it goes on after a kill."""

import json
import os
import shutil
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

import fourierft
from experiments import pipeline, record
from experiments.checkpoints import MANIFEST
from experiments.errors import Diverged, UserError
from experiments.methods.trained import stored_sha256
from experiments.record import RecordError, replace_file
from experiments.work import SINCE, FailedMeanwhile
from tests import forked
from tests.handmade import configured

QUICK = ("+exp=glue_rte", "train.rows=64", "train.max_steps=4", "train.log_every=1")


@pytest.mark.parametrize("method", ["fourierft", "lora", "full", "bitfit", "head_only"])
def test_every_method_leaves_a_whole_record(make, method, capsys):
    config = make(*QUICK, f"method={method}")
    done = pipeline.run(config)
    assert done == record.read(config.record_path)
    assert (done.status, done.method, done.scale, done.entry_seed) == (
        "ok",
        method,
        "mini",
        2024 if method == "fourierft" else None,
    )
    d, matrices = 128, 8
    adapter = {"fourierft": matrices * getattr(config.method, "n", 0), "lora": matrices * 2 * d * 8, "head_only": 0}
    assert done.params.adapter == adapter.get(method, done.params.adapter)
    assert done.params.head == d * d + d + 2 * d + 2
    assert done.params.stored_values == done.params.adapter + done.params.head
    assert done.params.stored_bytes > 4 * done.params.stored_values
    assert f"{done.params.stored_values:,} values in {done.params.stored_bytes:,} bytes" in capsys.readouterr().out
    assert done.cost.steps == 4 and done.cost.saved_bytes > 0 and len(done.metrics.per_epoch) == 2
    assert done.metrics.best == max(epoch["accuracy"] for epoch in done.metrics.per_epoch)
    assert done.metrics.last == done.metrics.per_epoch[-1]["accuracy"]
    folder = config.runs / config.name
    assert (done.rank is not None) == (folder / "rank.png").exists() == (method in ("fourierft", "lora", "full"))
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"best", "last"}


def test_a_run_on_the_cpu_of_a_machine_with_a_gpu_is_recorded_as_one(make, monkeypatch):
    config = make(*QUICK)
    weights, data = pipeline.find(config)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    draft = pipeline.Draft(config, weights, data, "mini", None)
    with pytest.raises(KeyboardInterrupt), pipeline._recorded(draft, config.record_path):
        raise KeyboardInterrupt
    hardware = record.read(config.record_path.with_suffix(".failed.json")).hardware
    assert (hardware.device, hardware.gpu) == ("cpu", None)


def test_rank_of_lora_is_at_most_r_and_that_of_fourierft_is_not(make):
    lora = pipeline.run(make(*QUICK, "method=lora", "method.r=3"))
    ours = pipeline.run(make(*QUICK, "method=fourierft"))
    assert lora.rank.summary.numerical_rank.max <= 3
    assert ours.rank.summary.numerical_rank.min > 30


def test_the_frozen_weights_do_not_change_and_the_saved_adapter_gives_the_recorded_score(make):
    config = make(*QUICK)
    done = pipeline.run(config)
    weights, data = pipeline.find(config)
    prepared = config.task.prepare(config.model, weights, data, config.train, config.recipe, config.seed)
    frozen = {name: p.clone() for name, p in prepared.model.named_parameters() if "classifier" not in name}
    model = fourierft.load(prepared.model, config.runs / config.name / "best").eval()
    assert done.params.stored_sha256 == stored_sha256(config.runs / config.name / "best")
    assert all(torch.equal(p, dict(model.named_parameters())[name]) for name, p in frozen.items())
    batch = prepared.collate([prepared.validation[i] for i in range(64)])
    with torch.no_grad():
        right = model(**batch).logits.argmax(-1) == batch["labels"]
    assert right.float().mean().item() == pytest.approx(done.metrics.best)


def test_a_finished_run_is_not_repeated_unless_forced(make, capsys, monkeypatch):
    first = pipeline.run(make(*QUICK))
    again = pipeline.run(make(*QUICK))
    assert again == first and "done before" in capsys.readouterr().out
    forced = pipeline.run(make(*QUICK, "force=true"))
    assert forced.metrics == first.metrics and forced.params == first.params  # and deterministic
    capsys.readouterr()
    monkeypatch.setenv(SINCE, "0")
    assert pipeline.run(make(*QUICK, "force=true")) == forced, "by another worker of the same command"
    assert "done before" in capsys.readouterr().out
    more = pipeline.run(make(*QUICK, "recipe.trials=9"))
    assert more.trials == record.read(make(*QUICK).record_path).trials == 9, "what is behind its rates by now"


@pytest.mark.parametrize("change", [{"status": "failed", "error": "it broke"}, {"seed": 1}, {"config_hash": "0" * 12}])
def test_done_before_is_a_sound_record_that_ended_well(make, monkeypatch, change):
    config = make(*QUICK)
    replace_file(config.record_path, configured(config, **change).model_dump_json(by_alias=True).encode())
    before = config.record_path.read_bytes()
    monkeypatch.setattr("experiments.pipeline.train", lambda *_: pytest.fail("it was run over the older file"))
    with pytest.raises(RecordError, match=rf"{config.hash}\.json: .*Move the file away.*force=true"):
        pipeline.run(config)
    assert config.record_path.read_bytes() == before


def test_a_lost_loss_is_a_failed_record_beside_the_good_one(make):
    good = make(*QUICK)
    pipeline.run(good)
    before = good.record_path.read_bytes()
    # The same run, forced, on a machine where it diverges.
    broken = make(*QUICK, "force=true", "method=full", "recipe.lr=1e30", "recipe.warmup_ratio=0")
    with pytest.raises(Diverged, match=r"loss is .*lower recipe\.lr"):
        pipeline.run(broken)
    failed = record.read(broken.record_path.with_suffix(".failed.json"))
    assert failed.status == "failed" and "diverged" in failed.error and failed.params.adapter > 0
    assert good.record_path.read_bytes() == before


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        ("oom", "OutOfMemoryError: CUDA", torch.OutOfMemoryError),
        ("failed", "Diverged: the loss is nan", Diverged),
        ("failed", "UserError: no room", FailedMeanwhile),
        ("cancelled", "KeyboardInterrupt: ", None),
    ],
)
def test_what_another_worker_has_met_is_not_met_again(make, monkeypatch, status, error, kind):
    """But for a run that was interrupted, and in a command of its own."""
    config, tried = make(*QUICK), []
    failed = config.record_path.with_suffix(".failed.json")
    record.write(configured(config, status=status, error=error, metrics=None, cost=None, params=None), failed)

    def carry_out(*_):
        tried.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "_carry_out", carry_out)
    monkeypatch.setenv(SINCE, "0")
    with pytest.raises(kind or ZeroDivisionError, match=error.partition(": ")[2] if kind else None):
        pipeline.run(config)
    assert bool(tried) == (kind is None)
    monkeypatch.delenv(SINCE)
    with pytest.raises(ZeroDivisionError):
        pipeline.run(config)


def test_a_job_that_is_stopped_is_cancelled(make, monkeypatch):
    def stopped(*_):
        raise SystemExit(-1)

    monkeypatch.setattr("experiments.pipeline.train", stopped)
    config = make(*QUICK)
    with pytest.raises(SystemExit):
        pipeline.run(config)
    assert record.read(config.record_path.with_suffix(".failed.json")).status == "cancelled"


def test_a_run_that_fails_late_keeps_what_was_measured(make, monkeypatch):
    def fails(_):
        raise RuntimeError("no convergence")

    monkeypatch.setattr("experiments.measure.rank.summarise", fails)
    config = make(*QUICK)
    with pytest.raises(RuntimeError, match="no convergence"):
        pipeline.run(config)
    failed = record.read(config.record_path.with_suffix(".failed.json"))
    assert (failed.status, failed.error) == ("failed", "RuntimeError: no convergence")
    assert failed.cost.steps == 4 and len(failed.metrics.per_epoch) == 2
    assert failed.params.stored_values == failed.params.adapter + failed.params.head and failed.rank is None


def test_n_out_of_range_names_the_module_and_leaves_a_failed_record(make):
    config = make(*QUICK, "method.n=16385")
    with pytest.raises(fourierft.FourierError, match=r"query: n=16385 .*128, 128.*16384"):
        pipeline.run(config)
    assert record.read(config.record_path.with_suffix(".failed.json")).status == "failed"


def test_a_full_disk_is_said_in_one_message_and_leaves_the_good_record(make, monkeypatch):
    config = make(*QUICK)
    pipeline.run(config)
    before = config.record_path.read_bytes()

    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("experiments.training.save_file", full)
    with pytest.raises(UserError, match=r"the disk is full .*runs=FOLDER"):
        pipeline.run(make(*QUICK, "force=true"))
    assert config.record_path.read_bytes() == before


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no")])
@pytest.mark.parametrize("is_gone", [False, True])
def test_what_ends_a_run_is_told_where_the_disk_is_full_or_the_folder_gone(make, monkeypatch, error, is_gone):
    config = make(*QUICK, "tracking=off")

    def train(*_):
        if is_gone:
            shutil.rmtree(config.runs / config.name)
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
        raise error

    monkeypatch.setattr("experiments.pipeline.train", train)
    full = isinstance(error, Exception) and not is_gone
    with pytest.raises(UserError if full else type(error)):
        pipeline.run(config)


def test_bf16_trains_and_is_another_run(make):
    wide, narrow = make(*QUICK), make(*QUICK, "train.precision=bf16")
    done = pipeline.run(narrow)
    assert done.config["train"]["precision"] == "bf16" and wide.hash != narrow.hash
    losses = [pipeline.run(config).metrics.per_epoch[0]["loss"] for config in (wide, narrow)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02) and losses[0] != losses[1]


@pytest.mark.parametrize(("precision", "is_slow", "told"), [("bf16", True, 1), ("bf16", False, 0), ("fp32", True, 0)])
def test_a_cpu_that_is_slow_in_bf16_is_told_of_it_with_the_remedy(make, capsys, monkeypatch, precision, is_slow, told):
    monkeypatch.setattr("experiments.settings.is_slow_in_bf16", lambda: is_slow)
    monkeypatch.setattr("experiments.pipeline._saved_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(make(*QUICK, f"train.precision={precision}"))
    assert capsys.readouterr().out.count("train.precision=fp32 is another run") == told


def test_scale_must_be_the_model_s(make):
    with pytest.raises(UserError, match=r"scale=paper: roberta_mini .* is of scale mini"):
        pipeline.run(make(*QUICK, "scale=paper"))


def test_w_and_b_offline_holds_curves_table_and_plot(make):
    config = make(*QUICK, "tracking=offline")
    done = pipeline.run(config)
    [run] = (config.runs / config.name / "wandb").glob("offline-run-*")
    assert done.wandb.mode == "offline" and done.wandb.id in run.name
    media = {path.suffix for path in (run / "files" / "media").rglob("*") if path.is_file()}
    assert media == {".json", ".png"}
    assert (run / f"run-{done.wandb.id}.wandb").stat().st_size > 1000


def test_a_record_comes_after_all_that_a_run_leaves(make, monkeypatch):
    config = make(*QUICK)
    monkeypatch.setattr("experiments.card.complete", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(config)
    assert not config.record_path.exists()
    monkeypatch.undo()
    pipeline.run(config)
    assert {path.name for path in (config.runs / config.name).glob("*/README.md")} == {"README.md"}


def test_a_forced_run_that_was_interrupted_goes_on(make, monkeypatch, capsys):
    pipeline.run(make(*QUICK))
    forced = make(*QUICK, "force=true", "train.keep_checkpoints=true")
    monkeypatch.setattr("experiments.pipeline._save_and_test", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(forced)
    monkeypatch.undo()
    pipeline.run(forced)
    assert "continuing from" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "grouped"), [("fourierft", "true"), ("fourierft", "false"), ("adalora", "false"), ("dylora", "false")]
)
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(make, tmp_path, method, grouped):
    """With dropout, so that the random state matters too; and with the ranks that a method allocates or draws."""
    base = ["+exp=glue_rte", "train.rows=96", "recipe.epochs=3", "model.dropout=0.1", "recipe.batch_size=8"]
    base += [f"method={method}", f"train.group_by_length={grouped}"]
    whole = make(*base, f"runs={tmp_path}/whole")
    expected = pipeline.run(whole)

    killed = make(*base)
    folder = killed.runs / killed.name
    options = ["model=roberta_mini", "tracking=off", "train.device=cpu"]
    process = forked.python("run.py", *base, *options, f"runs={killed.runs}", f"record.dir={killed.record.dir}")
    deadline = time.monotonic() + 120
    finished = f"checkpoint-*/{MANIFEST}"
    while not list(folder.glob(finished)) and process.runs() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    names = {path.parent.name for path in folder.glob(finished)}
    assert names and "checkpoint-36" not in names, "killed too late or too early: the test shows nothing"

    resumed = pipeline.run(killed)
    assert resumed.metrics == expected.metrics
    for which in ("best", "last"):
        one, other = (load_file(*(c.runs / c.name / which).glob("*.safetensors")) for c in (whole, killed))
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def command(*overrides: str) -> SimpleNamespace:
    process = forked.python("run.py", *overrides)
    code = process.wait()
    stdout, stderr = process.said()
    return SimpleNamespace(returncode=code, stdout=stdout, stderr=stderr)


def test_without_hub_or_data_the_miniature_runs_and_says_so(tmp_path):
    done = command("+exp=glue_rte", "+debug=smoke", "assets.root=null", "assets.hub=false", f"runs={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "Running the miniature" in done.stdout and "FacebookAI/roberta-base" in done.stdout
    [path] = tmp_path.rglob("seed0-*.json")
    assert json.loads(path.read_text())["scale"] == "mini"


def test_with_scale_mini_what_a_run_would_use_is_the_miniature_s():
    done = command("+exp=glue_rte", "scale=mini", "--cfg", "job", "--resolve")
    assert done.returncode == 0 and "name: roberta_mini" in done.stdout and "epochs: 6" in done.stdout


def test_a_stand_in_leaves_no_record_among_the_results(tmp_path):
    short = ("assets.root=null", "assets.hub=false", "tracking=off", "recipe.epochs=1", "method=head_only")
    done = command("+exp=glue_rte", *short, f"runs={tmp_path}/runs", f"record.dir={tmp_path}/results")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs/records").rglob("*.json"))) == 1 and not (tmp_path / "results").exists()


def test_scale_paper_forbids_the_miniature(tmp_path):
    done = command("+exp=glue_rte", "scale=paper", "assets.root=null", "assets.hub=false", f"runs={tmp_path}")
    assert done.returncode == 2
    for word in ("FacebookAI/roberta-base", "glue_rte", "assets.root", "HF_HOME", "hub"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_a_user_s_mistake_is_exit_code_2_and_no_traceback():
    for override in ("train.lrr=1", "recipe.lr=-1"):  # one that Hydra refuses, one that the schema does
        done = command("+exp=glue_rte", override)
        assert done.returncode == 2 and done.stderr.startswith("run: ") and "Traceback" not in done.stderr, override
