"""The bench: interleaved rounds (on a clock by hand), exact bytes, contestants that fail, its files and its tables.

Nothing here depends on how fast anything is.
"""

import gc
import json
import math
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from experiments import record
from experiments.measure import contestants, serving, timing, workloads
from experiments.measure.bench import Bench, Entry
from experiments.measure.timing import Quartiles, interleave, quartiles, ratios
from experiments.measure.workloads import SETS, Layer, roberta
from experiments.paper.score_tables import SCORE_TABLES
from experiments.report import render
from experiments.report.claims import claims
from experiments.report.speed import TARGETS, Target, cell
from experiments.report.verdicts import NOT_MEASURED, NOT_REPRODUCED, REPRODUCED
from scripts import bench, tables
from tests.handmade import leave

pytestmark = pytest.mark.filterwarnings("ignore:delta_W starts out")

LAYER = Layer(64, 32)
MODEL = roberta(64, 1, 2, 8, vocabulary=50, dtype=torch.float32, attention="eager")
CPU = [name for name in contestants.CONTESTANTS if name not in contestants.CUDA_ONLY]
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    MemoryError(),
]


@pytest.fixture
def small(monkeypatch):
    """The small set becomes these two tiny cases."""
    monkeypatch.setitem(workloads.SETS, "small", {"layer": LAYER, "model": MODEL})


@pytest.fixture
def main(tmp_path, small):
    """Run the command on the small set into tmp_path, one round; returns its exit code."""
    return lambda *options: bench.main(["--set", "small", "--repeats", "1", "--out", str(tmp_path), *options])


class Machine:
    """A clock that stands still but for the steps made with it; they log their names."""

    def __init__(self, slowness=lambda call: 1.0):
        self.now, self.log, self.slowness = 0.0, [], slowness

    def step(self, name, seconds):
        def step():
            self.now += seconds * self.slowness(len(self.log))
            self.log.append(name)

        return step

    def clock(self):
        return self.now


def refuse(name, error):
    pytest.fail(f"{name} left: {error}")


# --- interleaved timing ----------------------------------------------------------------------------------------------


def test_every_round_has_every_step_once_in_an_order_of_its_own():
    machine = Machine()
    steps = {name: machine.step(name, 1.0) for name in "abcd"}
    interleave(steps, 12, refuse, clock=machine.clock)
    rounds = ["".join(machine.log[i : i + 4]) for i in range(0, len(machine.log), 4)]
    assert len(rounds) == 13
    assert {"".join(sorted(one)) for one in rounds} == {"abcd"}
    before = {name: {one[one.index(name) - 1] for one in rounds if one.index(name)} for name in "abcd"}
    assert all(len(neighbours) > 1 for neighbours in before.values()), "no one always follows the same one"


def test_seconds_are_exact_and_the_warm_up_does_not_count():
    machine = Machine(lambda call: 100.0 if call < 2 else 1.0)
    seconds = interleave({"a": machine.step("a", 2.0), "b": machine.step("b", 3.0)}, 5, refuse, clock=machine.clock)
    assert seconds == {"a": [2.0] * 5, "b": [3.0] * 5}


def test_ratios_do_not_see_a_machine_that_slows_down_between_rounds():
    machine = Machine(lambda call: 1.0 + call // 2)
    seconds = interleave({"a": machine.step("a", 2.0), "b": machine.step("b", 1.0)}, 7, refuse, clock=machine.clock)
    assert len(set(seconds["a"])) == 7
    assert ratios(seconds["a"], seconds["b"]) == Quartiles(2.0, 2.0, 2.0)


def test_no_round_begins_after_the_limit_but_there_is_one():
    for until, rounds in ((0.0, 1), (4.5, 4), (math.inf, 9)):
        machine = Machine()
        seconds = interleave({"a": machine.step("a", 1.0)}, 9, refuse, until, machine.clock)
        assert len(seconds["a"]) == rounds


@pytest.mark.parametrize("fatal", [0, 1, 3])
def test_a_step_that_raises_leaves_and_the_others_go_on(fatal):
    machine, left, calls = Machine(), {}, []

    def broken():
        calls.append(1)
        if len(calls) > fatal:
            raise RuntimeError("no")

    steps = {"a": machine.step("a", 1.0), "broken": broken, "b": machine.step("b", 2.0)}
    seconds = interleave(steps, 4, left.__setitem__, clock=machine.clock)
    assert seconds == {"a": [1.0] * 4, "b": [2.0] * 4}
    assert str(left["broken"]) == "no" and len(calls) == fatal + 1
    assert gc.isenabled()


def test_quartiles():
    assert quartiles([5.0]) == (5.0, 5.0, 5.0)
    assert quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == Quartiles(2.0, 3.0, 4.0)
    assert ratios([1.0, 8.0], [2.0, 2.0]) == Quartiles(1.375, 2.25, 3.125)


# --- contestants and cases -------------------------------------------------------------------------------------------


def contestant(name, case):
    work = case.build("cpu")
    work[0].requires_grad_(False)
    return contestants.Contestant(name, case, work), work


def test_saved_bytes_of_one_layer_are_exact():
    saved = {name: contestant(name, LAYER)[0].saved_bytes() for name in ("frozen", "peft_lora", "fourierft")}
    assert LAYER.x_bytes == 32 * 64 * 4
    assert saved == {
        "frozen": 0,
        "peft_lora": LAYER.x_bytes + 32 * contestants.R * 4,  # x, and x A
        "fourierft": LAYER.x_bytes,
    }


@pytest.mark.parametrize("case", [LAYER, MODEL], ids=["layer", "model"])
@pytest.mark.parametrize("name", CPU)
def test_contestants_share_the_frozen_weights_and_train_their_adapter_alone(name, case):
    one, (base, _, _) = contestant(name, case)
    before = [parameter.clone() for parameter in base.parameters()]
    matrices, width = len(case.targets), 64
    lora = {"peft_lora": 2 * contestants.R * width * matrices, "peft_lora_r1": 2 * width * matrices}
    expected = {"frozen": 0, "frozen_again": 0} | lora
    trained = {id(parameter) for parameter in one._trained}
    assert sum(parameter.numel() for parameter in one._trained) == expected.get(name, case.n * matrices)
    assert {id(parameter) for parameter in one._model.parameters()} - trained == set(map(id, base.parameters()))
    adapter = [parameter.clone() for parameter in one._trained]
    one.step()
    one.step()
    assert all(map(torch.equal, base.parameters(), before))
    moved = [not torch.equal(new, old) for new, old in zip(one._trained, adapter, strict=True)]
    assert all(moved) if case is MODEL else not any(moved), "AdamW in a step of a model, none in one of a layer"


def test_the_gradient_of_a_frozen_model_goes_down_to_the_embeddings():
    one, _ = contestant("frozen", MODEL)
    outputs = []
    one._model.get_input_embeddings().register_forward_hook(lambda *given: outputs.append(given[-1]))
    one.step()
    assert outputs[0].grad.abs().sum() > 0


def test_the_installed_library_is_there_for_its_own_steps_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(contestants.fourierft.peft, "install", lambda: calls.append("on"))
    monkeypatch.setattr(contestants.fourierft.peft, "uninstall", lambda: calls.append("off"))
    one, _ = contestant("peft_fourierft_installed", LAYER)
    contestant("peft_fourierft", LAYER)[0].step()
    assert calls == []
    one.step()
    one.saved_bytes()
    assert calls == ["on", "off"] * 2
    one._forward = lambda model: calls.append("broken")
    with pytest.raises(AttributeError):
        one.step()
    assert calls[-3:] == ["on", "broken", "off"]


def test_a_compiled_model_trains_and_not_every_contestant_is_compiled():
    case = replace(MODEL, compiled=True)
    assert contestants.contestants(case, "cpu") == list(contestants.COMPILED)
    assert case.description == MODEL.description + ", by torch.compile"
    assert contestant("fourierft", case)[0]._model._compiled_call_impl is not None


def test_every_case_can_be_described_and_every_target_names_a_case_and_a_contestant():
    cases = {name: case for one in SETS.values() for name, case in one.items()}
    assert len(cases) == sum(map(len, SETS.values())), "names are of one case, in the tables too"
    assert len({case.description for case in cases.values()}) == len(cases)
    names = contestants.CONTESTANTS.keys() | serving.CONTESTANTS.keys()
    for target in TARGETS:
        assert target.case in (None, *cases) and {target.against, target.contestant} <= names
        assert target.quantity != "saved" or cases[target.case].x_bytes


def test_a_peak_on_a_gpu_leaves_out_what_other_contestants_hold(monkeypatch):
    build, held = Layer.build, iter([500, 500, 570])  # the base alone, then before each contestant
    monkeypatch.setattr(Layer, "build", lambda self, device: build(self, "cpu"))
    monkeypatch.setattr(contestants, "_allocated", lambda device: next(held))
    monkeypatch.setattr(contestants.Contestant, "peak_bytes", lambda self: 1000)
    monkeypatch.setattr(contestants, "CONTESTANTS", {"frozen": contestants.frozen, "frozen_again": contestants.frozen})
    entries = contestants.measure(LAYER, "cuda", 1, math.inf)
    assert [entry.peak_bytes for entry in entries.values()] == [1000, 930]


# --- failures --------------------------------------------------------------------------------------------------------


def raising(error, after):
    """A contestant whose forward raises once it has been called `after` times."""

    class Broken(nn.Module):
        calls = 0

        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            self.calls += 1
            if self.calls > after:
                raise error
            return self.model(x)

    return lambda model, case: Broken(model)


@pytest.mark.parametrize("after", [0, 2], ids=["prepared", "timed"])
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "cpu", "cufft", "python"])
def test_out_of_memory_is_a_row_and_the_others_are_measured(main, tmp_path, monkeypatch, error, after):
    monkeypatch.setattr(contestants, "CONTESTANTS", {"frozen": contestants.frozen, "peft_lora": raising(error, after)})
    assert main("--cases", "layer") == 0
    entries = record.read(tmp_path / "small" / "layer.json", Bench).contestants
    assert entries["peft_lora"].status == "oom" and entries["peft_lora"].error.startswith(type(error).__name__)
    assert entries["peft_lora"].seconds == [] and entries["peft_lora"].saved_bytes is None
    assert entries["frozen"].status == "ok" and len(entries["frozen"].seconds) == 1


def test_any_other_error_is_a_row_too_with_its_words_and_the_exit_code(main, tmp_path, monkeypatch, capsys):
    broken = raising(ValueError("unheard of"), 0)
    monkeypatch.setattr(contestants, "CONTESTANTS", {"frozen": contestants.frozen, "peft_lora": broken})
    assert main() == 1
    for case in ("layer", "model"):
        entries = record.read(tmp_path / "small" / f"{case}.json", Bench).contestants
        assert entries["frozen"].status == "ok" and entries["peft_lora"].status == "failed"
    assert (
        record.read(tmp_path / "small" / "layer.json", Bench).contestants["peft_lora"].error == "ValueError: unheard of"
    )
    printed = capsys.readouterr()
    assert "bench: peft_lora failed" in printed.err and "in forward" in printed.err
    assert "failed" in printed.out


def test_a_model_that_does_not_fit_is_a_row_of_every_contestant(main, tmp_path, monkeypatch):
    def build(self, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Layer, "build", build)
    assert main("--cases", "layer") == 0
    entries = record.read(tmp_path / "small" / "layer.json", Bench).contestants
    assert list(entries) == CPU and {entry.status for entry in entries.values()} == {"oom"}


# --- the command -----------------------------------------------------------------------------------------------------


def test_every_contestant_is_measured_and_written(main, tmp_path, capsys):
    assert main() == 0
    written = {path.name for path in (tmp_path / "small").iterdir()}
    assert written == {"layer.json", "model.json"}
    layer, model = (record.read(tmp_path / "small" / name, Bench) for name in sorted(written))
    for one in (layer, model):
        assert list(one.contestants) == CPU
        assert {(entry.status, len(entry.seconds)) for entry in one.contestants.values()} == {("ok", 1)}
        assert one.ratio("frozen") == (1.0, 1.0, 1.0)
        assert one.threads == torch.get_num_threads() and one.hardware.device == "cpu"
        assert one.versions["torch"]
    assert (layer.x_bytes, model.x_bytes) == (LAYER.x_bytes, None)
    assert layer.saved("fourierft") == LAYER.x_bytes and layer.saved("frozen_again") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in CPU) and LAYER.description in printed


def test_a_killed_bench_keeps_the_cases_that_were_finished(main, tmp_path, monkeypatch):
    monkeypatch.setattr(contestants, "CONTESTANTS", {"frozen": contestants.frozen})
    monkeypatch.setattr(type(MODEL), "build", lambda self, device: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        main()
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["layer.json"]
    assert record.read(tmp_path / "small" / "layer.json", Bench).contestants["frozen"].status == "ok"


def test_an_unknown_case_is_named_beside_those_there_are(main, tmp_path, capsys):
    assert main("--cases", "layer,laier") == 2
    assert "no case laier in the small set; it has: layer, model" in capsys.readouterr().err
    assert not (tmp_path / "small").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_the_full_set_asks_for_a_gpu(tmp_path, capsys):
    assert bench.main(["--set", "full", "--out", str(tmp_path)]) == 2
    assert "--set small runs on the CPU" in capsys.readouterr().err


def test_no_repeats_are_refused(main, capsys):
    assert main("--repeats", "0") == 2
    assert "--repeats 0" in capsys.readouterr().err


# --- tables ----------------------------------------------------------------------------------------------------------


def by_hand(case="layer_768_2048", *, cpu="A CPU", dirty=False, ended="2025-01-01T00:00:00Z", gpu=None, **contestants):
    """A file of the bench: each contestant is (milliseconds a round, MiB saved[, GiB at the peak]) or an Entry."""
    default = {"frozen": ([19, 20, 21], 1), "frozen_again": ([17.1, 20, 23.1], 1)}
    entries = {}
    for name, given in {**default, **contestants}.items():
        if not isinstance(given, Entry):
            times, mib, *peak = given
            peaks = {"peak_bytes": int(peak[0] * 2**30)} if peak else {}
            given = Entry(status="ok", seconds=[ms / 1000 for ms in times], saved_bytes=int(mib * 2**20), **peaks)
        entries[name] = given
    machine = {"device": "cuda" if gpu else "cpu", "cpu": cpu, "cores": 2, "memory_bytes": 2**34, "gpu": gpu}
    return Bench(
        set="full" if gpu else "small",
        case=case,
        description=f"the case {case}",
        x_bytes=6 * 2**20 if case.startswith("layer") else None,
        settings={"n": 1000},
        contestants=entries,
        threads=2,
        hardware=machine,
        versions={"torch": "2.15.0"},
        commit="c" * 40,
        dirty=dirty,
        started="2025-01-01T00:00:00Z",
        ended=ended,
    )


OOM = Entry(status="oom", error="OutOfMemoryError: no")
FILES = [
    by_hand(
        peft_fourierft=([57, 60, 63], 20.5), fourierft=([28.5, 30, 31.5], 7), fourierft_keep=([22.8, 24, 25.2], 10)
    ),
    by_hand("layer_4096_2048", dirty=True, peft_fourierft=OOM, fourierft=([22.8, 30, 25.2], 8)),
    by_hand(
        "roberta_large",
        gpu="A GPU",
        frozen=([19, 20, 21], 1, 4),
        peft_lora=([22.8, 24, 25.2], 2, 5),
        fourierft=([20.9, 22, 23.1], 2, 4.5),
    ),
]
GOLDEN = """\
# Speed and memory of a training step

## Training steps on A CPU, threads: 2, torch 2.15.0

| Layers | Mode | layer_768_2048 | layer_4096_2048‡ |
| --- | --- | --- | --- |
| frozen | — | 20.00 ms ×3 | 20.00 ms ×3 |
| frozen | again | 1.00 (0.95–1.05), +0.0 MiB | 1.00 (0.95–1.05), +0.0 MiB |
| peft | fourierft | 3.00 (3.00–3.00), +19.5 MiB | OOM |
| fourierft | — | 1.50 (1.50–1.50), +6.0 MiB | 1.20 (1.20–1.35), +7.0 MiB |
| fourierft | keep | 1.20 (1.20–1.20), +9.0 MiB | — |

## Training steps on A GPU, torch 2.15.0

| Layers | Mode | roberta_large |
| --- | --- | --- |
| frozen | — | 20.00 ms ×3, 4.00 GiB |
| frozen | again | 1.00 (0.95–1.05), +0.0 MiB |
| peft | lora | 1.20 (1.20–1.20), +1.0 MiB, 5.00 GiB |
| fourierft | — | 1.10 (1.10–1.10), +1.0 MiB, 4.50 GiB |

## Targets

| Case | Contestant | Target | Measured | Verdict | Machine |
| --- | --- | --- | --- | --- | --- |
"""


def build(root, files):
    """Write the bench's files and run `make tables` on them; returns the text of every file it wrote."""
    for place, one in enumerate(files):  # as of several machines, each with a folder
        leave(root / "bench" / str(place), one)
    folders = {name: name for name in ("records", "bench", "micro", "parameters")} | {"out": "tables"}
    options = [part for option, name in folders.items() for part in (f"--{option}", root / name)]
    assert tables.main(list(map(str, options))) == 0
    return {path.name: path.read_text() for path in root.rglob("*") if path.suffix in (".md", ".tex")}


def test_the_tables_in_full(tmp_path):
    text = build(tmp_path, FILES)["bench.md"]
    assert text.startswith(GOLDEN)
    verdicts = [line.strip("| ").split(" | ") for line in text.splitlines() if "threads" in line or "GPU |" in line]
    machine = "A CPU, threads: 2, torch 2.15.0"
    assert [line[:-1] for line in verdicts if len(line) == 6 and line[-1] == machine] == [
        ["every case: layer_768_2048", "fourierft", "speed / that of peft_fourierft ≥ 1.0", "2.000", "reached"],
        ["every case: layer_768_2048", "fourierft_grid", "time / that of peft_lora ≤ 1.0", "—", "not yet measured"],
        ["layer_768_2048", "fourierft", "time / that of frozen ≤ 1.4", "1.500", "missed"],
        ["layer_768_2048", "fourierft", "speed / that of peft_fourierft ≥ 2.0", "2.000", "reached"],
        ["layer_768_2048", "fourierft", "bytes saved above those of frozen ≤ 1.01 × input", "1.000", "reached"],
        ["layer_4096_2048‡", "fourierft", "time / that of frozen ≤ 1.15", "1.200", "missed"],
        ["layer_4096_2048‡", "fourierft", "speed / that of peft_fourierft ≥ 2.3", "—", "not yet measured"],
        ["layer_4096_2048‡", "fourierft", "bytes saved above those of frozen ≤ 1.01 × input", "1.167", "missed"],
    ]
    assert "| roberta_large | fourierft | time / that of frozen ≤ 1.05 | 1.100 | missed | A GPU, torch 2.15.0 |" in text
    assert (
        "| roberta_large | fourierft | time / that of peft_lora ≤ 1.0 | 0.917 | reached | A GPU, torch 2.15.0 |" in text
    )
    assert (
        "| roberta_large | fourierft | peak memory / that of peft_lora ≤ 1.0 | 0.900 | reached | A GPU, torch 2.15.0 |"
        in text
    )
    assert "| layer_llama_7b | fourierft | speed / that of peft_fourierft ≥ 2.0 | — | not yet measured | — |" in text
    assert "- layer_4096_2048: the case layer_4096_2048\n" in text
    assert "(tables/bench.md)" in (tmp_path / "README.md").read_text()


def test_no_case_but_the_first_begins_once_the_minutes_are_over(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "run", lambda _, name, *more: by_hand(name, fourierft=([20] * 3, 1)))
    cases = ["layer_768_2048", "layer_1024_4096", "encoder_4_layers"]
    assert bench.main(["--minutes", "0", "--cases", ",".join(cases), "--out", str(tmp_path)]) == 0
    assert "not begun, since the minutes are over: layer_1024_4096, encoder_4_layers" in capsys.readouterr().out
    assert bench.main(["--minutes", "1", "--cases", ",".join(cases), "--out", str(tmp_path)]) == 0
    assert "not begun" not in capsys.readouterr().out


def test_the_same_files_give_the_same_bytes(tmp_path):
    first = build(tmp_path / "a", FILES)
    assert {"bench.md", "bench.tex"} <= first.keys()
    assert build(tmp_path / "a", FILES) == first
    assert build(tmp_path / "b", FILES[::-1]) == first


def test_the_bench_speaks_of_the_claims_on_memory_and_speed_and_the_full_size_alone_judges_them():
    def verdicts(*benches):
        found = claims([], {table.key: [] for table in SCORE_TABLES}, benches)
        told = [(claim, [row for table in claim.measured for row in table.rows]) for claim in found]
        pairs = {claim.name: sum(cell != render.DASH for row in rows for cell in row[2:]) // 2 for claim, rows in told}
        return {claim.name: (pairs[claim.name], claim.verdict) for claim in found if claim.measured}

    def case(name, ours, lora):
        return by_hand(name, gpu="A GPU", peft_fourierft=([90] * 3, 3, 9), peft_lora=lora, fourierft=ours)

    fast_and_lean, slow_and_large = ([20] * 3, 2, 4), ([30] * 3, 2, 5)
    small = by_hand(peft_lora=([20] * 3, 7), peft_fourierft=([30] * 3, 20), fourierft=([22] * 3, 6))
    assert verdicts() == {}
    assert verdicts(small) == {"Memory": (1, NOT_MEASURED), "Speed": (1, NOT_MEASURED)}
    leaner = case("roberta_large", fast_and_lean, slow_and_large)
    slower = case("llama_7b", slow_and_large, fast_and_lean)
    assert verdicts(leaner, slower) == {"Memory": (4, REPRODUCED), "Speed": (2, REPRODUCED)}
    larger = case("roberta_large", slow_and_large, fast_and_lean)
    faster = case("llama_7b", fast_and_lean, slow_and_large)
    assert verdicts(larger, faster) == {"Memory": (4, NOT_REPRODUCED), "Speed": (2, NOT_REPRODUCED)}
    busy = slower.contestants | {"frozen": slower.contestants["frozen"].model_copy(update={"seconds": [18, 20, 22.1]})}
    assert verdicts(slower.model_copy(update={"contestants": busy}))["Speed"] == (1, NOT_MEASURED)


def test_machines_stand_apart_and_the_latest_of_a_case_counts(tmp_path):
    late = by_hand(ended="2025-03-01T00:00:00Z", fourierft=([38, 40, 42], 7))
    other = by_hand(cpu="B CPU", fourierft=([76, 80, 84], 7))
    text = build(tmp_path, [late, FILES[0], other])["bench.md"]
    rows = [line for line in text.splitlines() if line.startswith("| fourierft | — |")]
    assert rows == ["| fourierft | — | 2.00 (2.00–2.00), +6.0 MiB |", "| fourierft | — | 4.00 (4.00–4.00), +6.0 MiB |"]


def test_without_files_there_is_no_table_and_a_stale_one_goes(tmp_path):
    assert "bench.md" in build(tmp_path, FILES)
    shutil.rmtree(tmp_path / "bench")
    left = build(tmp_path, [])
    assert "bench.md" not in left and "bench.tex" not in left and "(tables/bench" not in left["README.md"]


def test_a_file_that_is_none_of_the_bench_is_named(tmp_path, capsys):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "broken.json").write_text(json.dumps({"schema": 1}))
    folders = ("records", "studies", "bench", "parameters")
    options = [word for name in folders for word in (f"--{name}", str(tmp_path / name))]
    assert tables.main([*options, "--out", str(tmp_path / "tables")]) == 2
    assert "broken.json" in capsys.readouterr().err


def test_a_case_is_no_measurement_where_the_frozen_step_varies_by_more_than_a_tenth(tmp_path, capsys):
    noisy = by_hand(frozen=([18, 20, 22.1], 1), fourierft=([20] * 3, 1), peft_fourierft=([90] * 3, 1))  # 19 to 21.05
    quiet = by_hand(frozen=([19, 20, 21], 1), fourierft=([20] * 3, 1))
    assert not noisy.steady and noisy.title == "layer_768_2048≀" and noisy.noise.startswith("NOT A MEASUREMENT")
    assert quiet.steady and quiet.noise == "the frozen step varied by 5% over 3 rounds"
    told = build(tmp_path, [noisy])["bench.md"]
    assert re.search(r"layer_768_2048≀ \|.*speed / that of peft_fourierft ≥ \S+ \| — \| not yet measured", told)
    path = tmp_path / quiet.place
    bench.keep(noisy, path)
    bench.keep(quiet, path)
    bench.keep(noisy, path)
    assert "not written" in capsys.readouterr().out and record.read(path, Bench) == quiet


def test_busyness_is_what_other_processes_took(monkeypatch):
    class Times(tuple):
        idle, iowait = 0.0, 0.0

    every, own = iter([Times((10.0, 0.0)), Times((16.0, 0.0))]), iter([(2.0, 1.0), (3.0, 2.0)])
    process = SimpleNamespace(
        cpu_times=lambda: SimpleNamespace(**dict(zip(("user", "system"), next(own), strict=True)))
    )
    clock = iter([0.0, 4.0])
    monkeypatch.setattr(timing.psutil, "Process", lambda: process)
    monkeypatch.setattr(timing.psutil, "cpu_times", lambda: next(every))
    monkeypatch.setattr(timing.psutil, "cpu_count", lambda: 2)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    assert timing.busyness()() == 0.5  # 6 s of all, 2 of them its own, of 2 cores for 4 s


def test_a_baseline_that_failed_leaves_milliseconds():
    lonely = by_hand(frozen=OOM, fourierft=([1, 2, 3], 1))
    assert cell(lonely, "frozen") == "OOM" and cell(lonely, "fourierft") == "2.00 ms ×3"
    assert cell(lonely, "peft_lora") == render.DASH and lonely.ratio("fourierft") is None
    assert Target("layer_768_2048", "saved", "frozen", 1.01).measured(lonely) is None


@pytest.mark.parametrize(
    "wrong", [{"status": "ok"}, {"status": "oom"}, {"status": "ok", "seconds": [1.0], "error": "x"}]
)
def test_an_entry_says_what_its_status_says(wrong):
    with pytest.raises(ValueError, match="needs"):
        Entry(**wrong)


def test_a_target_for_every_case_is_judged_by_the_worst_that_was_measured():
    faster, slower = (
        by_hand(case, peft_fourierft=([20] * 3, 1), fourierft=([time] * 3, 1)) for case, time in (("a", 10), ("b", 40))
    )
    unmeasured = by_hand("c", peft_fourierft=OOM, fourierft=([10] * 3, 1))
    target = Target(None, "speed", "peft_fourierft", 1.0)
    assert target.worst([unmeasured, faster, slower]) == (slower, 0.5)
    assert target.worst([unmeasured]) == (unmeasured, None) and target.worst([]) is None
    assert Target(None, "time", "peft_fourierft", 1.0).worst([slower, faster])[0] is slower
    assert Target("a", "speed", "peft_fourierft", 1.0).worst([faster, slower]) == (faster, 2.0)


def test_a_target_may_be_of_another_contestant():
    bench = by_hand(peft_lora=([20] * 3, 1, 5), fourierft=([30] * 3, 1, 5), fourierft_grid=([10] * 3, 1, 4))
    assert Target("a", "time", "peft_lora", 0.95, "fourierft_grid").measured(bench) == 0.5
    assert Target("a", "speed", "peft_lora", 1.0, "fourierft_grid").measured(bench) == 2.0
    assert Target("a", "peak", "peft_lora", 1.0, "fourierft_grid").measured(bench) == 0.8
    assert Target("a", "time", "peft_lora", 0.95).measured(bench) == 1.5


@pytest.mark.parametrize(
    "target", TARGETS, ids=lambda target: f"{target.case}-{target.contestant}-{target.quantity}-{target.against}"
)
def test_a_target_is_reached_at_its_bound_and_missed_beyond_it(target):
    least = target.quantity == "speed"
    assert target.verdict(target.bound) == "reached"
    assert target.verdict(target.bound * (0.99 if least else 1.01)) == "missed"
    assert target.verdict(target.bound * (1.01 if least else 0.99)) == "reached"
    assert str(target.bound) in target.statement
