"""Progress: a bar on a terminal, lines elsewhere."""

import sys

import pytest
from tqdm import tqdm

from experiments import progress


def test_without_a_terminal_a_line_tells_every_few_seconds(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.counter(100, "reading") as counter:
        for _ in range(100):
            now[0] += progress.EVERY / 40
            counter.update()
    assert capsys.readouterr().err == "reading: 40 of 100\nreading: 80 of 100\n"


@pytest.mark.parametrize(("terminal", "kind"), [(True, tqdm), (False, progress.Lines)])
def test_a_bar_is_for_a_terminal(terminal, kind, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    with progress.counter(1, "reading") as counter:
        assert type(counter) is kind
