"""The parts of a layer's step: their record, the values and choices that follow from it, and how it is measured."""

import contextlib
import itertools
import json
from types import SimpleNamespace

import pytest
import torch

from experiments import record
from experiments.measure import parts
from experiments.measure.micro import CHOICES, OPERATIONS, Micro, Row
from experiments.report.micro import choices, values
from scripts import micro as command
from scripts import tables
from tests.handmade import MACHINE, PAPER, leave

GPU = MACHINE | {"device": "cuda", "gpu": "NVIDIA H200"}
US = 1e-6


def row(operation, us, graph=None, d=1000, n=1000, tokens=100, dtype="float32", **more):
    """An operation that takes these microseconds, one by one and in a graph."""
    times = {"seconds": [us * US] * 3, "graph_seconds": [graph * US] * 3 if graph else []}
    given = {"operation": operation, "d": d, "n": n, "tokens": tokens, "dtype": dtype, "status": "ok"}
    return Row(**given | times | more)


def by_hand(*rows, hardware=GPU, **changes):
    given = {"set": "full", "complete": True, "rows": list(rows), "hardware": hardware, "versions": {"torch": "2.15.0"}}
    times = {"started": "2025-01-01T00:00:00Z", "ended": "2025-01-01T00:00:00Z"}
    return Micro(**given | {"commit": "c" * 40, "dirty": False} | times | changes)


ROWS = [
    row("launches", 500, 100, d=1, n=1, tokens=0),
    row("rows there and back", 999, 200),  # 2 * 100 * 1000 numbers: a nanosecond each
    row("G = g^T x", 999, 50, dtype="bfloat16"),  # 10^8 multiply-adds: half a picosecond each
    row("G = g^T x", 999, 1000),
    row("gather of entries", 50),  # 10^5 numbers; no graph
    row("form by fft", 999, 2000, tokens=0),
    row("form by kernel", 999, 500, tokens=0),
    row("form by kernel", 999, 250, tokens=0, dtype="bfloat16"),
    row("sum in place", 10, 4, dtype="bfloat16"),
    row("sum of doubled length", 9, 5, dtype="bfloat16"),
]
MEASURED = [
    ("MULTIPLY_ADDS_TENSOR_CORES", 2000, "multiply-adds of a bfloat16 product in the time of a number"),
    ("MULTIPLY_ADDS_TENSOR_CORES", None, "multiply-adds of a tf32 product in the time of a number"),
    ("MULTIPLY_ADDS_CUDA", 100, "multiply-adds of a float32 product in the time of a number"),
    ("an entry, for 1", 0.5, "numbers, in T (d1 + d2 + n)"),
    ("form by fft, for 1", 2, "numbers, in d1 d2"),
    ("dc of G, for 1", None, "numbers, in d1 d2"),
    ("form by kernel, for 1", 0.25, "numbers, in d1 d2, to bfloat16, d=1000, n=1000"),
    ("form by kernel, for 1", 0.5, "numbers, in d1 d2, to float32, d=1000, n=1000"),
    ("launch", 5, "microseconds, one by one"),
    ("launch", 1, "microseconds, in a graph"),
]


def test_the_values_are_of_the_graph_where_there_is_one_and_in_the_units_of_the_rule():
    found = list(values(by_hand(*ROWS)))
    assert [(name, about) for name, _, about in found] == [(name, about) for name, _, about in MEASURED]
    assert [value for _, value, _ in found] == [pytest.approx(value) for _, value, _ in MEASURED]


def test_a_value_is_the_median_over_the_shapes():
    more = [row("rows there and back", 200 * k, tokens=100 + k) for k in (1, 5, 9)]
    (first, *_) = values(by_hand(*more, row("G = g^T x", 50, dtype="bfloat16")))
    assert first[1] == pytest.approx(2000 * 5 * 100 / 105)


def test_the_faster_form_wins_where_both_were_measured_at_a_shape():
    assert list(choices(by_hand(*ROWS))) == [
        ["forward: fft or kernel", "1000", "1000", "—", "float32", "form by kernel", "form by fft ×4.00"],
        ["bf16: the sum", "1000", "1000", "100", "bfloat16", "sum in place", "sum of doubled length ×1.25"],
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"operation": "guess"}, "operation 'guess' is none of launches"),
        ({"status": "failed"}, "status 'failed' needs an error"),
        ({"error": "no"}, "status 'ok' needs seconds"),
        ({"seconds": []}, "status 'ok' needs seconds"),
        ({"graph_error": "no"}, "graph_seconds need seconds"),
    ],
)
def test_a_row_agrees_with_itself(wrong, said):
    with pytest.raises(ValueError, match=said):
        Row(**row("form by fft", 2, 1).model_dump() | wrong)


def build(root):
    """Run make tables on root/micro alone; returns the exit code."""
    folders = ("records", "judged", "studies", "bench", "micro", "parameters")
    options = [word for name in folders for word in (f"--{name}", str(root / name))]
    return tables.main([*options, "--paper", str(PAPER), "--out", str(root / "tables")])


def test_the_tables_have_them_and_leave_a_damaged_one_out(tmp_path, capsys):
    failed = row("branch", 1, status="oom", error="OutOfMemoryError: no", seconds=[])
    kept, twice, moved = leave(
        tmp_path / "micro",
        by_hand(*ROWS, failed, dirty=True, complete=False),
        by_hand(*ROWS, versions={"torch": "2.16.0"}),
        by_hand(*ROWS, versions={"torch": "2.17.0"}),
    )
    assert kept.name == "nvidia_h200_torch_2.15.0.json"
    assert build(tmp_path) == 0
    capsys.readouterr()
    content = json.loads(twice.read_text())
    twice.write_text(json.dumps(content | {"rows": content["rows"] + content["rows"][:1]}))
    moved.rename(moved.with_name("nvidia_h100_torch_2.17.0.json"))
    assert build(tmp_path) == 2
    said = capsys.readouterr().err
    assert "rows holds ('launches', 1, 1, 0, 'float32') twice" in said and "holds what belongs to nvidia_h200" in said
    text = (tmp_path / "tables" / "micro.md").read_text()
    assert "## Values for fourierft/choice.py, NVIDIA H200, torch 2.15.0‡ (stopped)\n" in text
    assert "| MULTIPLY_ADDS_TENSOR_CORES | 2e+03 |" in text and "| branch | 1000 | 1000 | 100 | float32 | OOM |" in text
    assert "2.16.0" not in text and "(tables/micro.md)" in (tmp_path / "README.md").read_text()
    kept.unlink()
    assert build(tmp_path) == 2 and not (tmp_path / "tables" / "micro.md").exists()


# --- measuring -------------------------------------------------------------------------------------------------------


def test_every_operation_is_measured_and_written(tmp_path, capsys):
    assert command.main(["--set", "small", "--out", str(tmp_path)]) == 0
    (found,) = record.find(tmp_path, Micro)
    assert found.complete and {one.status for one in found.rows} == {"ok"}
    assert {one.operation for one in found.rows} == OPERATIONS.keys() - {"form by kernel"}
    assert all(len(one.seconds) == parts.REPEATS and not one.graph_seconds for one in found.rows)
    assert [one.dtype for one in found.rows if one.operation == "x W^T"] == ["bfloat16", "float32", "tf32"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*OPERATIONS.keys() - {"form by kernel"}, "MULTIPLY_ADDS", "Fastest"))


def test_tf32_is_for_its_rows_alone():
    before, used = torch.get_float32_matmul_precision(), {}
    for about, _ in parts.everything("small", "cpu"):
        used.setdefault(torch.get_float32_matmul_precision(), set()).add(about["dtype"])
    assert used == {before: {"bfloat16", "float32"}, "high": {"tf32"}}
    assert torch.get_float32_matmul_precision() == before


def some(monkeypatch, *steps):
    """The set is these steps, of one operation at several shapes."""
    shapes = ({"operation": "branch", "d": 8, "n": 2, "tokens": t, "dtype": "float32"} for t in itertools.count(1))
    monkeypatch.setattr(command, "everything", lambda chosen, device: iter(list(zip(shapes, steps, strict=False))))


def throw(error):
    def step():
        raise error

    return step


def test_what_fails_is_a_row_and_the_others_are_measured(tmp_path, monkeypatch):
    some(monkeypatch, throw(torch.OutOfMemoryError("no")), lambda: None)
    assert command.main(["--set", "small", "--out", str(tmp_path)]) == 0
    some(monkeypatch, throw(ValueError("unheard of")), throw(torch.OutOfMemoryError("no")), lambda: None)
    assert command.main(["--set", "small", "--out", str(tmp_path)]) == 1
    (found,) = record.find(tmp_path, Micro)
    assert [one.status for one in found.rows] == ["failed", "oom", "ok"] and found.complete
    assert found.rows[0].error == "ValueError: unheard of"


def test_an_interruption_and_the_end_of_the_time_keep_the_rows_before(tmp_path, monkeypatch):
    some(monkeypatch, lambda: None, throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        command.main(["--set", "small", "--out", str(tmp_path)])
    (found,) = record.find(tmp_path, Micro)
    assert len(found.rows) == 1 and not found.complete
    now = iter([0.0, 0.0, 70.0])
    some(monkeypatch, lambda: None, lambda: None)
    monkeypatch.setattr(command, "measure", lambda about, step, device: row(**about, us=1))
    monkeypatch.setattr(command.time, "perf_counter", lambda: next(now))
    assert command.main(["--set", "small", "--minutes", "1", "--out", str(tmp_path)]) == 0
    (found,) = record.find(tmp_path, Micro)
    assert len(found.rows) == 1 and not found.complete and "(stopped)" in found.title


def test_no_gpu_and_no_room_to_write_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["--set", "full", "--out", str(tmp_path)]) == 2
    assert "needs a CUDA device" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert command.main(["--set", "small", "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_every_operation_says_what_it_decides_and_every_choice_has_alternatives():
    named = [one.decides for one in OPERATIONS.values()]
    assert all(named) and all(named.count(choice) > 1 for choice in CHOICES)


def test_on_a_gpu_events_time_each_step_and_its_graph(monkeypatch):
    """With events by hand, of a GPU on which a step takes two milliseconds and nothing else does."""
    log = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = log.count("step")

        def elapsed_time(self, end):
            return 2.0 * (end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: log.append("wait"))
    graph = SimpleNamespace(replay=lambda: log.append("step"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext())
    about = {"operation": "branch", "d": 8, "n": 2, "tokens": 1, "dtype": "float32"}
    found = parts.measure(about, lambda: log.append("step"), "cuda")
    assert found.seconds == found.graph_seconds == [0.002] * parts.REPEATS
    assert log.count("wait") == 4 and log[-1] == "wait"
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: throw(RuntimeError("not while capturing"))())
    found = parts.measure(about, lambda: log.append("step"), "cuda")
    assert found.status == "ok" and found.graph_error == "RuntimeError: not while capturing"


def test_the_full_set_can_be_made_and_measures_nothing_twice():
    """Its shapes, on the meta device: no step is run."""
    rows = [tuple(sorted(about.items())) for about, _ in parts.everything("full", "meta")]
    assert len(set(rows)) == len(rows) > 60
