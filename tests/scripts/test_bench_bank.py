"""The bench of a bank: rows that really differ, exact counts, its files, tables and figure.

Nothing here depends on how fast anything is.
"""

import re

import pytest
import torch

from experiments import record
from experiments.measure import contestants, serving, workloads
from experiments.measure.bench import Bench, Entry, Mix, Served
from experiments.measure.mixed import Mixed
from experiments.measure.workloads import SETS
from experiments.models import architectures
from experiments.report import bank
from experiments.report.speed import TARGETS
from scripts import bench, figures, tables
from tests.handmade import leave

pytestmark = pytest.mark.filterwarnings("ignore:delta_W starts out")

LLAMA = architectures.llama(128, 2, 64, vocab_size=40)
NAMES = list(serving.CONTESTANTS)
MATRICES = 4


def tiny(adapters=3, decode=True, **options):
    options = {"dtype": torch.float32, "stored": torch.float32, "rows": 4, "length": 5, "n": 36} | options
    return Mixed(LLAMA, adapters, decode, **options)


@pytest.fixture
def work():
    def build(case):
        torch.manual_seed(0)
        made = case.build("cpu")
        made[0].requires_grad_(False)
        return made

    return build


@pytest.fixture
def main(tmp_path, monkeypatch):
    """Run the command on two tiny cases into tmp_path, one round; returns its exit code."""
    cases = {"bank_3_decode": tiny(), "bank_3_prefill": tiny(decode=False), "layer": workloads.Layer(64, 32)}
    monkeypatch.setitem(workloads.SETS, "small", cases)
    return lambda *options: bench.main(["--set", "small", "--repeats", "1", "--out", str(tmp_path), *options])


def test_the_rows_of_a_step_name_as_many_adapters_as_they_can_over_all_that_are_held_and_others_in_the_next():
    for held in (1, 3, 4, 8, 100):
        case = tiny(held)
        steps = [case.named(step) for step in range(held)]
        assert {len(set(names)) for names in steps} == {min(held, 4)} and {len(names) for names in steps} == {4}
        assert {name for names in steps for name in names} == set(map(str, range(held)))
        assert held == 1 or steps[0] != steps[1]
    assert tiny(100).named(0) == ["0", "25", "50", "75"]


@pytest.mark.parametrize("decode", [True, False])
def test_a_step_is_the_same_whatever_was_computed_before(work, decode):
    model, forward, _ = work(tiny(decode=decode))
    first = forward(model)
    assert first.shape == (4, 1, 40)
    assert torch.equal(forward(model), first), "the cache did not grow"
    assert forward(model, 1).shape == (1, 1, 40)


@pytest.mark.parametrize("name", ["bank", "bank_grid", "lora_r8"])
def test_equal_rows_differ_by_their_adapters_alone(work, name, tmp_path):
    case = tiny()
    model, _, _ = work(case)

    def alike(model, **more):  # every row has the tokens and the cache of the first
        with torch.no_grad():
            return model(torch.arange(5).repeat(4, 1), logits_to_keep=1, **more).logits

    base = alike(model)
    held = serving.CONTESTANTS[name](model, case, alike, tmp_path)
    rows = held.serve(["0", "1", "0", "2"])
    assert torch.allclose(rows[0], rows[2], atol=1e-6)
    for one, other in ((rows[0], rows[1]), (rows[1], rows[3]), (rows[0], rows[3]), (rows[0], base[0])):
        assert not torch.allclose(one, other, atol=1e-3)


def test_one_after_the_other_computes_the_rows_of_the_bank(work, tmp_path):
    case = tiny(adapters=4)
    model, _, _ = work(case)
    seen = []

    def forward(model, rows=4, **more):
        with torch.no_grad():
            seen.append(model(torch.arange(5).repeat(rows, 1), logits_to_keep=1, **more).logits)
        return seen[-1]

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    before = [parameter.clone() for parameter in model.parameters()]
    serving.reloaded(model, case, forward, tmp_path / "a").serve(case.named(0))
    alone = torch.cat(seen)
    assert all(map(torch.equal, before, (p for n, p in model.named_parameters() if "spectrum" not in n)))
    again, _, _ = work(case)
    together = serving.bank("random")(again, case, forward, tmp_path / "b").serve(case.named(0))
    assert torch.allclose(alone, together, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_exact_and_the_frozen_weights_are_shared(work, name):
    case = tiny()
    made = work(case)
    one = serving.Serving(name, case, made)
    served = one.spent()["served"]
    numbers = {"bank": 36, "bank_grid": 36, "lora_r8": 8 * 2 * 128, "lora_r16": 16 * 2 * 128, "reloaded": 36}
    count = {"reloaded": 1, "lora_r8": 3, "lora_r16": 3}  # a bank has a line for no adapter too
    each = 4 * MATRICES * numbers.get(name, 0)
    assert served.adapter_bytes == count.get(name, 4) * each
    weights = 4 * sum(parameter.numel() for parameter in made[0].parameters()) - 4 * 40 * 128
    assert served.read_bytes == weights * (3 if name == "reloaded" else 1) + 3 * each
    assert 3 * each < served.disk_bytes < 3 * each + 10_000 if each else served.disk_bytes == 0
    assert served.operations > 50 and served.flops > 0
    alone = serving.Serving("frozen", case, made).spent()["served"]
    more = {"frozen": 1, "merged": 1, "lora_r8": 1.2, "reloaded": 2}
    assert served.operations >= more.get(name, 1) * alone.operations


def test_a_group_of_cases_is_chosen_by_its_first_words_and_is_no_part_of_the_training_steps(main, tmp_path, capsys):
    assert main("--cases", "bank") == 0
    found = {one.case: one for one in record.find(tmp_path, Bench)}
    assert set(found) == {"bank_3_decode", "bank_3_prefill"}
    for one, tokens in zip(found.values(), (4, 20), strict=True):
        assert {entry.status for entry in one.contestants.values()} == {"ok"} and list(one.contestants) == NAMES
        assert one.mix == Mix(phase=one.case.split("_")[-1], adapters=3, tokens=tokens)
        seconds = one.contestants["bank"].seconds[0]
        assert one.tokens_per_s("bank") == pytest.approx(tokens / seconds)
    assert main("--cases", "bnak") == 2
    assert "no case bnak in the small set" in capsys.readouterr().err
    assert bench.training(SETS["small"]) == ["layer"] and bench.named("layer", SETS["small"]) == ["layer"]


def test_a_contestant_that_runs_out_of_memory_is_a_result_and_the_others_are_measured(main, tmp_path, monkeypatch):
    def too_large(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(serving, "CONTESTANTS", {"frozen": serving.frozen, "lora_r16": too_large})
    monkeypatch.setattr(contestants, "SERVING", serving.CONTESTANTS)
    assert main("--cases", "bank_3_decode") == 0
    (found,) = record.find(tmp_path, Bench)
    assert found.contestants["lora_r16"].status == "oom" and found.contestants["frozen"].status == "ok"
    (page,) = bank.pages([found])
    assert "| LoRA r=16 by PEFT | OOM |" in page.texts["bank.md"]


# --- tables and the figure -------------------------------------------------------------------------------------------


def served(adapters, read=10**6, operations=100, flops=10**9):
    return Served(
        adapter_bytes=adapters,
        disk_bytes=2 * adapters,
        extra_bytes=1024,
        read_bytes=read,
        operations=operations,
        flops=flops,
    )


def by_hand(adapters, phase="decode", model="bank", gpu=None, **changes):
    times = {"frozen": 20, "bank": 26, "bank_grid": 22, "lora_r16": 20 + adapters}
    counts = {
        "frozen": served(0),
        "bank": served(1000 * adapters, operations=150),
        "bank_grid": served(1000 * adapters, operations=180, flops=11 * 10**8),
        "lora_r16": served(200_000 * adapters, operations=5000),
    }
    entries = {
        one: Entry(status="ok", seconds=[(ms + d) / 1000 for d in (-0.2, 0, 0.2)], served=counts[one])
        for one, ms in times.items()
    }
    machine = {"device": "cuda" if gpu else "cpu", "cpu": "A CPU", "cores": 2, "memory_bytes": 2**34, "gpu": gpu}
    about = {
        "set": "full" if gpu else "small",
        "case": f"{model}_{adapters}_{phase}",
        "description": f"the case of {adapters}",
        "mix": Mix(phase=phase, adapters=adapters, tokens=64 if phase == "decode" else 4096),
        "settings": {"n": 1000},
        "contestants": entries,
        "threads": 2,
        "hardware": machine,
        "versions": {"torch": "2.15.0"},
        "commit": "c" * 40,
        "dirty": False,
        "started": "2025-01-01T00:00:00Z",
        "ended": "2025-01-01T00:00:00Z",
    }
    return Bench(**about | changes)


FILES = [
    *(by_hand(held, phase) for held in (1, 8, 64) for phase in ("decode", "prefill")),
    by_hand(64, model="bank_llama_7b", gpu="A GPU"),
]


def build(root, files):
    """`make tables` and `make figures` on these files; returns the bytes of every file by name."""
    leave(root / "bench", *files)
    places = [word for one in ("records", "studies", "search", "bench") for word in (f"--{one}", str(root / one))]
    more = [word for one in ("micro", "parameters") for word in (f"--{one}", str(root / one))]
    assert tables.main([*places, *more, "--out", str(root / "tables")]) == 0
    assert figures.main([*places, "--out", str(root / "figures")]) == 0
    return {path.name: path.read_bytes() for path in root.rglob("*") if path.suffix in (".md", ".tex", ".png", ".pdf")}


def test_the_tables_and_figures_tell_times_bytes_limits_and_goals_and_are_the_same_each_time(tmp_path):
    made = build(tmp_path / "a", FILES)
    assert {"bank.md", "bank.tex", "bank_small.png", "bank_small.pdf", "bank_llama_7b.png"} <= made.keys()
    assert build(tmp_path / "b", FILES[::-1]) == made
    text = made["bank.md"].decode()
    assert "| base model | 20.0 ms, 3,200 tokens/s | 20.0 ms, 3,200 tokens/s | 20.0 ms, 3,200 tokens/s |" in text
    assert "| bank, grid | 1.10 (1.10–1.10), 2,909 tokens/s |" in text
    assert "| LoRA r=16 by PEFT | 195 KiB + 1 KiB; 391 KiB |" in text
    (grid,) = set(re.findall(r"\| decode \| bank, grid \|.*", text.split("A GPU")[0]))
    assert grid.endswith("| 180 | 1.1 | 977 KiB | 0.0455 GB/s | 2.0 ms | 80 operations more, 10.0 % more arithmetic |")
    assert "a loop over the adapters: 50 times as many operations" in text
    goals = made["bench.md"].decode()
    assert "| bank_64_decode | bank_grid | time / that of frozen ≤ 1.15 | 1.100 | reached | A CPU, threads: 2" in goals
    assert (
        "| bank_llama_7b_64_decode | bank | bytes of adapters / those of lora_r16 ≤ 0.01 | 0.005 | reached |" in goals
    )
    assert "| bank_llama_7b_64_prefill | bank | time / that of frozen ≤ 1.5 | — | not yet measured |" in goals
    assert "Training steps on" not in goals, "a bank's cases have no contestants of training"


def test_every_file_of_a_machine_has_a_figure_of_its_own():
    other = by_hand(64, hardware=FILES[0].hardware.model_copy(update={"cpu": "B CPU"}))
    (page,) = bank.pages([*FILES, other])
    assert list(page.figures) == ["small", "llama_7b", "small_2"]


def test_without_files_there_is_no_page_and_the_goals_are_a_dash(tmp_path):
    assert bank.pages([]) == []
    step = by_hand(64, mix=None, case="layer_768_2048")
    text = build(tmp_path, [step])["bench.md"].decode()
    assert text.count("| — | not yet measured | — |") >= sum((one.case or "").startswith("bank") for one in TARGETS)
    assert 'make bench ARGS="--cases bank"' in text


def test_the_limit_is_told_by_the_gravest_count():
    base = served(0)
    assert bank.limit(base, base) == "the model itself"
    assert bank.limit(served(1, operations=101), base) == "1 operations more, 0.0 % more arithmetic"
    assert bank.limit(served(1, read=10**7, operations=9000), base).startswith("all weights read 10 times")
