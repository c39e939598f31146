"""The search: chosen on a slice of train, equal trials for every method, resumable, and nothing older is lost."""

import errno
import json
import math
from types import SimpleNamespace

import pytest

from experiments import record
from experiments.errors import UserError
from experiments.report.searches import Searches
from experiments.search import prepare, read_ranges
from experiments.search import run as carry_out
from experiments.trials import Trials, averaged, best, edges, scores, sequence
from scripts import search
from tests.conftest import ROOT

QUICK = ["+exp=glue_sst2", "model=roberta_mini", "tracking=off", "train.device=cpu", "train.rows=48"]
EFFORT = ["--trials", "2", "--extra", "0", "--holdout", "0.25"]
SEARCHED = ROOT / "results/search"
SEARCHES = sorted(SEARCHED.glob("*/*/*.json"))
RECORDS = ROOT / "results/records"


@pytest.fixture
def searching(tmp_path):
    """searching(...) -> exit code of a quick search with these arguments, below tmp_path; by default in its ranges."""

    def searching(*arguments):
        where = [f"runs={tmp_path}/runs", "--out", str(tmp_path / "search")]
        return search.main([*QUICK, "train.max_steps=2", *where, *EFFORT, *arguments])

    return searching


@pytest.fixture
def no_training(monkeypatch):
    """Every run scores its learning rate of the head, without being run; gives the configurations asked for."""
    asked = []

    def run(config):
        asked.append(config)
        scores = type("Metrics", (), {"best": config.recipe.head_lr})
        return type("Record", (), {"metrics": scores, "rank": None})

    monkeypatch.setattr("experiments.pipeline.run", run)
    return asked


def trials_of(tmp_path, method):
    return json.loads((tmp_path / f"search/glue_sst2/roberta_mini/{method}.json").read_text())


def test_trials_are_recorded_chosen_on_train_and_not_repeated(searching, tmp_path, monkeypatch):
    assert searching("method=lora") == 0
    found = trials_of(tmp_path, "lora")
    assert len(found["trials"]) == 2
    assert found["best"]["score"] == max(trial["score"] for trial in found["trials"])
    for key, (low, high) in found["ranges"].items():
        assert all(low <= trial[key] <= high for trial in found["trials"])
        assert len({trial[key] for trial in found["trials"]}) == 2
    runs = [record.read(path) for path in (tmp_path / "runs").rglob("seed0-*.json")]
    # 48 rows of train and of validation were asked for; both parts come from the training rows.
    assert [run.dataset.rows for run in runs] == [{"train": 36, "validation": 12}] * 2
    assert {run.metrics.best for run in runs} == {trial["score"] for trial in found["trials"]}
    assert found["matrices"] == [{"shape": [128, 128], "count": 8}]

    monkeypatch.setattr("experiments.pipeline.train", lambda *_: pytest.fail("a recorded trial was run again"))
    assert searching("method=lora") == 0
    assert trials_of(tmp_path, "lora") == found


def test_a_diverged_trial_is_the_worst(searching, tmp_path):
    arguments = ["method=full", "recipe.warmup_ratio=0", "--range", "recipe.lr=1e29:1e30", "--trials", "1"]
    assert searching(*arguments) == 0
    assert trials_of(tmp_path, "full")["best"]["score"] == -1.0


def test_every_method_gets_the_same_number_of_trials_and_its_best_is_told(searching, no_training, tmp_path, capsys):
    assert searching("method=lora,fourierft", "--trials", "3") == 0
    assert [config.method.name for config in no_training] == ["lora"] * 3 + ["fourierft"] * 3
    assert all(config.train.holdout == 0.25 for config in no_training)
    printed = capsys.readouterr().out
    for method in ("lora", "fourierft"):
        found = trials_of(tmp_path, method)
        assert found["best"]["recipe.head_lr"] == max(trial["recipe.head_lr"] for trial in found["trials"])
        told = f"recipe.lr: {found['best']['recipe.lr']}, recipe.head_lr: {found['best']['recipe.head_lr']}"
        assert f"| {method} | {found['best']['score']:.4f} ×1 | {told}, recipe.trials: 3 | recipe." in printed


def test_without_a_method_the_default_one_is_searched(searching, no_training, tmp_path):
    assert searching() == 0
    assert trials_of(tmp_path, "fourierft")["method"] == "fourierft"


def test_a_task_whose_recipe_has_no_rate_yet_is_searched(tmp_path):
    asked = prepare(["+exp=glue_qnli", "model=minilm_l6", "method=lora"], 2, 0, 0.25, tmp_path, {})
    assert {"recipe.lr", "recipe.head_lr"} <= asked.ranges.keys()


def test_a_range_of_the_command_line_replaces_or_adds_and_is_recorded(searching, no_training, tmp_path):
    given = ["--range", "recipe.lr=1e-7:2e-7", "--range", "method.dropout=0.01:0.1"]
    assert searching("method=lora", *given) == 0
    found = trials_of(tmp_path, "lora")
    in_file = read_ranges("lora")
    assert found["ranges"] == {**in_file, "recipe.lr": [1e-7, 2e-7], "method.dropout": [0.01, 0.1]}
    for trial, config in zip(found["trials"], no_training, strict=True):
        assert 1e-7 <= trial["recipe.lr"] <= 2e-7
        assert (config.recipe.lr, config.method.dropout) == (trial["recipe.lr"], trial["method.dropout"])


def test_a_search_of_the_older_sequence_goes_on_in_it(searching, no_training, tmp_path):
    assert searching("method=lora") == 0
    path = tmp_path / "search/glue_sst2/roberta_mini/lora.json"
    made = json.loads(path.read_text())
    trials = [point | {"score": point["recipe.head_lr"]} for point in sequence(made["ranges"], range(2), False)]
    older = {key: value for key, value in made.items() if key not in ("scrambled", "numbers")}
    path.write_text(json.dumps(older | {"trials": trials, "best": max(trials, key=lambda trial: trial["score"])}))
    assert searching("method=lora", "--trials", "3") == 0
    found = record.read(path, Trials)
    assert not found.scrambled and found.trials[:2] == trials
    assert searching("method=lora", "--trials", "3", "--force") == 0
    assert record.read(path, Trials).scrambled


# --- beyond the ranges -----------------------------------------------------------------------------------------------


def test_a_search_whose_best_lies_at_an_edge_goes_on_beyond_it(searching, no_training, tmp_path, capsys):
    """Here the higher rate of the head is always the better, so that only the number of trials ends the search."""
    assert searching("method=full", "--trials", "3", "--extra", "2") == 0
    found = record.read(tmp_path / "search/glue_sst2/roberta_mini/full.json", Trials)
    assert found.places == [0, 1, 2, None, None] and len(no_training) == 5
    in_ranges, beyond = found.trials[:3], found.trials[3:]
    best = max(in_ranges, key=lambda trial: trial["recipe.head_lr"])
    at = edges({key: best[key] for key in found.ranges}, in_ranges)
    assert at.pop("recipe.head_lr") == "highest"
    assert {*at} <= {"recipe.lr"} and beyond[0] == {**best, **beyond[0]}
    assert found.edges == {"recipe.head_lr": "highest"}
    assert "recipe.trials: 5 | recipe.head_lr highest |" in capsys.readouterr().out


def test_a_search_that_ended_at_an_edge_goes_on_when_it_is_asked_again_and_repeats_nothing(
    searching, no_training, tmp_path
):
    path = tmp_path / "search/glue_sst2/roberta_mini/head_only.json"
    for extra, new in ((0, 2), (3, 3), (3, 0), (1, 0), (4, 1)):
        no_training.clear()
        before = path.read_text() if path.exists() else ""
        assert searching("method=head_only", "--extra", str(extra)) == 0
        assert len(no_training) == new
        assert (path.read_text() == before) == (new == 0)
    no_training.clear()
    assert searching("method=head_only", "--trials", "3", "--extra", "4") == 0
    assert record.read(path, Trials).places == [0, 1, None, None, None, None, 2] and len(no_training) == 1


def test_what_no_run_may_have_ends_the_steps_of_its_key(no_training, tmp_path, capsys):
    asked = prepare([*QUICK, "method=lora"], 1, 3, 0.25, tmp_path, {"method.dropout": [0.6, 0.9]}, alone=True)
    found = carry_out(asked)
    assert len(found.trials) == len(no_training) == 1 and found.edges == {"method.dropout": "highest"}
    assert "lora, no step to {'method.dropout': 1.7}: method.dropout=1.7" in capsys.readouterr().out


def test_the_best_point_has_held_with_a_further_seed_and_its_mean_is_the_best(searching, tmp_path, monkeypatch, capsys):
    """Here the rate nearest to 0.003 is the best with every seed but the second, with which it learns nothing."""
    asked, lucky = [], []

    def run(config):
        rate = config.recipe.head_lr
        lucky[:] = lucky or [rate] * (config.seed == 1)
        asked.append((rate, config.seed))
        score = 0.0 if config.seed == 1 and rate in lucky else 0.5 - abs(math.log10(rate / 0.003)) / 10
        return SimpleNamespace(metrics=SimpleNamespace(best=score), rank=None)

    monkeypatch.setattr("experiments.pipeline.run", run)
    path = tmp_path / "search/glue_sst2/roberta_mini/head_only.json"
    for seeds in (1, 2, 3, 3):
        already = len(asked)
        assert searching("method=head_only", "--trials", "4", "--extra", "9", "--seeds", str(seeds)) == 0
        found = record.read(path, Trials)
        assert len(asked) == len(found.trials), "no trial is repeated"
        assert [rate for rate, _ in asked] == [trial["recipe.head_lr"] for trial in found.trials]
        assert all(seed == [rate for rate, _ in asked[:place]].count(rate) for place, (rate, seed) in enumerate(asked))
        assert f"{found.best['score']:.4f} ×{seeds} |" in capsys.readouterr().out
        assert len(scores(found.point, found.trials)) == seeds and not found.edges
        assert found.best == max(averaged(found.trials), key=lambda point: point["score"])
        assert (found.point["recipe.head_lr"] in lucky) is False
    assert len(asked) == already, "asked again, it has nothing to do"


# --- what is wrong is said, and nothing is lost ----------------------------------------------------------------------


def refused(capsys, code):
    """The one line of a refused search."""
    assert code == 2
    message = capsys.readouterr().err
    assert message.startswith("search: ") and message.count("\n") == 1, message
    return message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trials", "0"], ["--trials 0", "at least one"]),
        (["--extra", "-1"], ["--extra -1", "0 or more"]),
        (["--seeds", "0"], ["--seeds 0", "at least one"]),
        (["--holdout", "1.5"], ["train.holdout=1.5", "less than 1"]),
        (["method=lora,lorra"], ["method=lorra", "did you mean lora?"]),
        (["method=lora,"], ["method=", "choose one of"]),
        (["train.acumulation=2"], ["train.acumulation", "did you mean train.accumulation?"]),
        (["--range", "recipe.lrr=1:2"], ["recipe.lrr: no such key", "did you mean recipe.lr?"]),
        (["--range", "recipe.warmup_ratio=0.5:2"], ["recipe.warmup_ratio=2.0", "less than 1"]),
        (["--range", "recipe.lr=2:1"], ["--range recipe.lr: [2.0, 1.0]", "low < high"]),
        (["--range", "recipe.lr=1:1"], ["[1.0, 1.0]", "low < high"]),
        (["--range", "recipe.lr=0:1"], ["[0.0, 1.0]", "0 < low"]),
        (["--range", "recipe.lr=1:nan"], ["[1.0, nan]", "low < high"]),
        (["--range", "recipe.lr"], ["--range recipe.lr", "two numbers"]),
        (["--range", "recipe.lr=small:large"], ["small:large", "two numbers"]),
    ],
)
def test_a_wrong_command_is_one_line_and_runs_nothing(searching, no_training, capsys, arguments, words):
    message = refused(capsys, searching(*arguments))
    assert all(word in message for word in words), message
    assert not no_training


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["no ranges for method lora", "--range"]),
        ("", ["no ranges", "recipe.lr: ["]),
        ("recipe.lrr: [0.1, 0.2]", ["search/lora.yaml", "recipe.lrr: no such key"]),
        ("recipe.lr: [0.2, 0.1]", ["search/lora.yaml: recipe.lr: [0.2, 0.1]", "low < high"]),
        ("recipe.lr: [0.1]", ["search/lora.yaml: recipe.lr: [0.1]", "two numbers"]),
        ("recipe.lr: [a, b]", ["search/lora.yaml: recipe.lr: ['a', 'b']", "two numbers"]),
        ("recipe.lr: [0.1", ["search/lora.yaml", "cannot be read as YAML", "line 1"]),
        ("- recipe.lr", ["search/lora.yaml", "a list where a table of keys belongs"]),
    ],
)
def test_a_wrong_file_of_ranges_is_named(tmp_path, monkeypatch, content, words):
    monkeypatch.setattr("experiments.search.CONFIGS", tmp_path)
    if content is not None:
        (tmp_path / "search").mkdir()
        (tmp_path / "search/lora.yaml").write_text(content)
    with pytest.raises(UserError) as caught:
        prepare([*QUICK, "method=lora"], 2, 0, 0.25, tmp_path / "out", {}, force=False)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_folder_that_cannot_be_written_is_found_before_the_first_trial(
    searching, no_training, tmp_path, capsys, monkeypatch
):
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(capsys, searching("--out", str(tmp_path / "file")))

    def full(**_):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    assert "no space left" in refused(capsys, searching())
    assert not no_training


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["recipe.epochs=1"], "other overrides"),
        (["--holdout", "0.5"], "other holdout"),
        (["--range", "recipe.lr=1e-7:2e-7"], "other ranges"),
        (["--trials", "1"], "holds 2 trials, more than --trials 1"),
    ],
)
def test_another_search_of_the_same_name_is_refused_and_loses_nothing(
    searching, no_training, tmp_path, capsys, change, words
):
    assert searching("method=lora") == 0
    before = trials_of(tmp_path, "lora")
    capsys.readouterr()
    message = refused(capsys, searching("method=fourierft,lora", *change))
    assert words in message and "--force" in message and "--out" in message
    assert trials_of(tmp_path, "lora") == before
    assert len(no_training) == 2, "the method before it was not begun either"
    assert searching("method=lora", *change, "--force") == 0
    assert trials_of(tmp_path, "lora") != before


def test_what_no_score_depends_on_makes_no_other_search_and_is_not_written(searching, no_training, tmp_path):
    assert searching("method=lora") == 0
    assert searching("method=lora", "assets.root=tests", "tracking=offline", "force=true") == 0
    assert trials_of(tmp_path, "lora")["overrides"] == [
        *[part for part in QUICK if part != "tracking=off"],
        "train.max_steps=2",
        "method=lora",
    ]


@pytest.mark.parametrize("content", ["{", "[]", '{"overrides": 3}'])
def test_a_file_that_holds_no_search_is_left_alone(searching, no_training, tmp_path, capsys, content):
    path = tmp_path / "search/glue_sst2/roberta_mini/lora.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert "not a sound record" in refused(capsys, searching("method=lora"))
    assert path.read_text() == content


# --- the committed searches and the recipes that came of them --------------------------------------------------------


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: "-".join(path.with_suffix("").parts[-3:]))
def test_a_recipe_holds_the_best_of_its_search(make, path):
    """Of those that a whole run has not shown to be worse: the records of such runs stand in results/passed_over/."""
    found = json.loads(path.read_text())
    recipe = [override for override in found["overrides"] if override.startswith("recipe=")]
    config = make(f"+exp={found['exp']}", f"model={found['model']}", f"method={found['method']}", *recipe)
    assert config.recipe.trials == len(found["trials"])

    searched = [key for key in found["ranges"] if config.model.head or key != "recipe.head_lr"]

    def rates(recipe):
        return [recipe[key.removeprefix("recipe.")] for key in searched]

    passed_over = record.find(ROOT / "results/passed_over" / path.relative_to(SEARCHED).with_suffix(""))
    worse = [rates(run.config["recipe"]) for run in passed_over]
    left = [trial for trial in found["trials"] if [trial[key] for key in searched] not in worse]
    assert rates(config.recipe.model_dump()) == [best(left)[key] for key in searched]
    for run in passed_over:
        [taken] = [one for one in record.find(RECORDS / run.exp / run.model.name / run.method) if one.seed == run.seed]
        assert rates(taken.config["recipe"]) == rates(config.recipe.model_dump())
        assert run.metrics.best < taken.metrics.best


@pytest.mark.parametrize(
    "folder", [RECORDS.parent, *sorted((ROOT / "results/studies").iterdir())], ids=lambda one: one.name
)
def test_a_record_tells_the_trials_that_are_behind_its_rates(folder):
    searches = Searches(record.find(folder / "search", Trials))
    for run in record.find(folder / "records"):
        if search := searches.behind(run):
            assert run.trials == len(search.trials), run.name
