"""How figures call the rows of records: the method with its size, and whatever else is needed to tell them apart."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.names import OURS, name, sized
from experiments.report.aggregate import PAPERS, Row


def labels(rows: Sequence[Row]) -> list[str]:
    """The name of each row for people, such as "LoRA r=8": the method, its sizes and what is not the paper's; where
    two rows would be called alike, all settings that tell them apart, or what a table calls them."""
    made = [_label(row, {k: v for k, v in row.overrides.items() if PAPERS.get(k, v) != v}) for row in rows]
    for longer in (lambda row: _label(row, row.overrides), lambda row: f"{name(row.method)} ({row.label})"):
        made = [longer(row) if made.count(label) > 1 else label for row, label in zip(rows, made, strict=True)]
    return made


def in_order(rows: Sequence[Row], exp: str) -> list[tuple[Row, str]]:
    """The rows with their names, in the order of their colours: FourierFT's, then the others', each by increasing
    number of trained parameters. All must have a run of `exp` that succeeded."""
    named = zip(rows, labels(rows), strict=True)
    return sorted(named, key=lambda pair: (pair[0].method != OURS, pair[0].cells[exp].trained, pair[1]))


def _label(row: Row, settings: Mapping[str, Any]) -> str:
    outside = row.scale == "paper" and not row.in_paper
    return sized(row.method, {**settings, **row.sizes}) + (", not in the paper" if outside else "")
