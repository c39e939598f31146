"""What a table lacks: its runs, the choice among them, what they take, and that each is carried out once."""

import statistics

import pytest

from experiments import record
from experiments.measure.bench import Bench
from experiments.pipeline import MissingAssets
from experiments.report.costs import Costs
from scripts import table
from scripts.table import TABLES, planned, wanted
from tests.conftest import ROOT
from tests.handmade import configured, run


@pytest.fixture
def options(tmp_path):
    """options(words) -> what the command line gives, with records below tmp_path."""
    return lambda *words: table.main.parse_intermixed_args([*words, "--out", str(tmp_path / "records")])


@pytest.fixture
def ran(monkeypatch):
    """The configurations that were carried out; nothing is trained."""
    configs = []
    monkeypatch.setattr("experiments.pipeline.run", configs.append)
    return configs


@pytest.fixture
def command(tmp_path):
    return lambda *words: table.main([*words, "--out", str(tmp_path / "records")])


def test_at_the_paper_s_scale_every_printed_row_is_planned_with_its_seeds(options):
    runs = planned(TABLES["table2"], options("table2", "exp=glue_rte"))
    assert len(runs) == 15 * 5
    assert {run.config.model.name for run in runs} == {"roberta_base", "roberta_large"}
    assert [run.config.seed for run in runs] == [seed for seed in TABLES["table2"].protocol.seeds for _ in range(15)]
    assert len({run.config.record_path for run in runs}) == len(runs)
    sized = {run.config.method.r for run in runs if run.config.method.name == "adapter_houlsby"}
    assert sized == {8, 64}, "each printed size"


def test_from_nothing_the_miniature_s_recipes_are_planned(options):
    lines = wanted(TABLES["table2"], options("table2", "--scale", "mini"), {})
    assert {line.row.model for line in lines} == {"roberta_mini"} and {len(line.exps) for line in lines} == {6}
    recipes = {path.stem for path in (ROOT / "configs/recipe/roberta_mini").glob("*.yaml")}
    assert sorted(line.row.method for line in lines) == sorted(recipes)


def test_at_small_scale_a_named_model_s_recipes_are_planned_with_their_variants(options):
    words = ["table2", "--scale", "small", "model=minilm_l6", "method=fourierft", "seed=0"]
    runs = planned(TABLES["table2"], options(*words))
    assert [(run.config.task.name, run.config.method.n, run.config.method.targets) for run in runs] == [
        ("glue_mrpc", 1000, "attention"),
        ("glue_cola", 1000, "attention"),
        ("glue_rte", 1000, "attention"),
        ("glue_stsb", 1000, "attention"),
        ("glue_mrpc", 333, "all-linear"),
        ("glue_cola", 333, "all-linear"),
        ("glue_stsb", 333, "all-linear"),
    ]
    assert "recipe=minilm_l6/fourierft_all" in runs[-1].overrides


def test_shares_are_all_rows_and_each_once(options):
    words = ["table5", "seed=7", "exp=vit_cifar"]
    whole = {run.config.record_path for run in planned(TABLES["table5"], options(*words))}
    parts = [planned(TABLES["table5"], options(*words, "--share", f"{part}/3")) for part in (1, 2, 3)]
    paths = [run.config.record_path for part in parts for run in part]
    assert set(paths) == whole and len(paths) == len(whole)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["table2", "model=robert_base"],
            "model=robert_base: not in Table 2, GLUE at scale paper, which has roberta_base",
        ),
        (
            ["table2", "exp=vit_cifar"],
            "exp=vit_cifar: not in Table 2, GLUE at scale paper, which has glue_sst2, glue_m",
        ),
        (["table2", "seed=3"], "seed=3: not in Table 2, GLUE at scale paper, which has 0, 11111"),
        (["table2", "--scale", "small"], "Table 2, GLUE has no rows at scale small: name a model of this scale"),
        (["table2", "--scale", "small", "model=nosuch"], "model=nosuch: not in Table 2"),
        (["table2", "--share", "3/2"], "--share 3/2: want K/M"),
        (["table2", "recipe.rl=1", "seed=0"], "recipe.rl: no such key"),
        (["table2", "train.max_steps=2", "seed=0", "method=full"], "make a run a trial; a table takes none of them"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(command, ran, capsys, words, told):
    assert command(*words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("table: ") and told in printed and printed.count("\n") == 1
    assert not ran


def test_what_is_recorded_is_left_out_and_a_failure_stops_nothing(options, command, monkeypatch, capsys):
    words = ["table2", "--scale", "mini", "method=lora", "exp=glue_rte,glue_stsb", "seed=0,11111"]
    first, *rest = planned(TABLES["table2"], options(*words))
    record.write(configured(first.config), first.config.record_path)
    done = []

    def carry(config):
        done.append((config.task.name, config.seed))
        if config.task.name == "glue_stsb":
            raise RuntimeError("it broke")

    monkeypatch.setattr("experiments.pipeline.run", carry)
    assert command(*words) == 1
    assert done == [("glue_stsb", 0), ("glue_rte", 11111), ("glue_stsb", 11111)]
    printed = capsys.readouterr().out
    assert "4 runs, 1 recorded" in printed and "1 of 3 runs done" in printed
    assert "failed: glue_stsb, roberta_mini, lora (r=8), seed 0 and 1 more: it broke" in printed and len(rest) == 3


def test_what_is_out_of_reach_is_looked_for_once(command, monkeypatch, capsys):
    looked = []

    def run(config):
        looked.append((config.task.name, config.seed))
        raise MissingAssets(f"not found: {config.task.name}")

    monkeypatch.setattr("experiments.pipeline.run", run)
    assert command("table2", "model=roberta_base", "method=lora", "exp=glue_rte,glue_cola", "seed=0,11111") == 2
    assert looked == [("glue_cola", 0), ("glue_rte", 0)]
    printed = capsys.readouterr()
    assert printed.err.count("as before") == 2 and printed.out.count("and 1 more: not found") == 2


def test_nothing_left_is_said(options, command, ran, capsys):
    words = ["table2", "--scale", "mini", "method=lora", "exp=glue_rte", "seed=0"]
    [only] = planned(TABLES["table2"], options(*words))
    record.write(configured(only.config), only.config.record_path)
    assert command(*words) == 0 and not ran
    assert "nothing left to run" in capsys.readouterr().out


def test_a_plan_counts_and_carries_nothing_out(options, command, ran, tmp_path, capsys):
    runs = planned(TABLES["table2"], options("table2", "method=lora", "model=roberta_base", "exp=glue_rte"))
    failed = runs[0].config.record_path.with_suffix(".failed.json")
    failed.parent.mkdir(parents=True)
    runs[1].config.record_path.parent.mkdir(parents=True, exist_ok=True)
    runs[1].config.record_path.touch()
    failed.touch()
    assert [run.state for run in runs[:3]] == ["failed", "recorded", "missing"]
    for path in (failed, runs[1].config.record_path):
        path.unlink()
    assert command("table2", "--plan", "method=lora", "model=roberta_base", "exp=glue_rte") == 0
    printed = capsys.readouterr().out
    # RTE: 2,490 rows in batches of 32 or, for LoRA, of the paper's size, by five seeds.
    [row] = [line for line in printed.splitlines() if line.startswith("| roberta_base")]
    config = runs[0].config
    steps = -(-2490 // config.recipe.batch_size) * config.recipe.epochs * 5
    assert [cell.strip() for cell in row.split("|")[3:-2]] == ["5", "0", "0", "5", f"{steps:,}", "—"]
    assert not ran


def test_what_runs_take_follows_from_the_most_alike_that_is_recorded(options):
    runs = planned(
        TABLES["table2"], options("table2", "model=roberta_base", "method=lora,fourierft", "exp=glue_rte,glue_cola")
    )
    lora, ours = ([one for one in runs if one.config.method.name == name] for name in ("lora", "fourierft"))
    recorded = run(method="lora", exp="glue_rte", model="roberta_base", recipe={"max_length": 100})
    costs = Costs.of([recorded], [], recorded.hardware.cpu)
    cost, recipe = recorded.cost, recorded.config["recipe"]
    each = (cost.train_s + cost.eval_s) / cost.steps / recipe["batch_size"] / 100
    for one in (*lora, *ours):  # another method's, where its own has none
        seen = costs.steps(one) * one.config.recipe.batch_size * one.config.recipe.max_length
        assert costs.hours(one) == pytest.approx(seen * each / 3600)
    assert costs.disk(lora[0]) == 2 * recorded.params.adapter_bytes and costs.disk(ours[0]) is None
    assert Costs.of([recorded], [], "another device").hours(lora[0]) is None


def test_where_no_run_is_recorded_the_bench_tells(options):
    """Its case of the model; for LoRA its LoRA, for any other method FourierFT."""
    runs = planned(TABLES["table2"], options("table2", "model=roberta_base", "method=lora,bitfit", "exp=glue_rte"))
    lora, bitfit = (next(one for one in runs if one.config.method.name == name) for name in ("lora", "bitfit"))
    bench = record.read(ROOT / "results/bench/small/encoder_4_layers.json", Bench)  # of 8 × 64 tokens
    bench = bench.model_copy(update={"case": "roberta_base"})
    costs = Costs.of([], [], bench.hardware.cpu, [bench])
    for one, contestant in ((lora, "peft_lora"), (bitfit, "fourierft")):
        each = statistics.median(bench.contestants[contestant].seconds) / (8 * 64)
        seen = costs.steps(one) * one.config.recipe.batch_size * one.config.recipe.max_length
        assert costs.hours(one) == pytest.approx(seen * each / 3600)


def test_the_makefile_has_the_paper_s_tables_of_scores():
    lines = (ROOT / "Makefile").read_text().splitlines()
    named = next(line.partition(":=")[2].split() for line in lines if line.startswith("TABLES"))
    assert named == [name for name in TABLES if name.startswith("table")]
