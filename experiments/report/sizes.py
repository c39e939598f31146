"""What `make parameters` records of one model, and the tables made of it: the paper's counts beside the exact ones.

Two conventions, side by side. The paper's: what trains outside the head; the positions of the entries do not count. The
whole one: all that trains, and all that must be stored to use the model again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from experiments.record import Count, Document, Natural, Part, Time
from experiments.report.paper import FLOAT, LORA_NAMES, TABLES, UNEXPLAINED, PaperRow, Share, title
from experiments.report.render import DASH, Table, latex, page

EXACT = [
    "Exact: trained parameters, head excluded (the paper's convention), counted in the model of full size.",
    "A row without a remark prints the exact number, rounded. Any other difference says where it comes from, or is "
    f"{UNEXPLAINED}.",
    "‡ code not at a clean commit.",
]
EXACT_BYTES = [
    "Exact bytes: four a value. The printed KB is 1024 bytes; MB is 1024 KB, or what the remark says.",
    "File: the bytes that were written for the adapter, the head (two classes on RoBERTa, ten on ViT), names and "
    "settings.",
]
WHOLE = [
    "Adapter: trained outside the head, the paper's count. Trained: adapter and head. Heads: two classes on RoBERTa, "
    "ten on ViT, none on language models.",
    "BitFit trains every bias of the encoder, those of the layer norms and of the embeddings' norm included.",
    "Stored: values and bytes of the files that were written (safetensors, and PEFT's adapter_config.json). With the "
    "frozen model they are all that is needed.",
    "Positions: integers that FourierFT would store besides, two an entry for each shape of matrix, if they were not "
    "drawn again from the seed in adapter_config.json. The paper's text counts them, n (2 + L); its tables n L.",
]

# The pages, by the names of their files.
PAGES = {
    "table1_parameters": "Table 1: parameters and bytes",
    "parameters": "Parameters of Tables 2 to 5, and what is stored",
}


class Matrices(Part):
    """`count` adapted matrices of one shape, (out, in)."""

    shape: list[Natural]
    count: Natural


class Size(Part):
    """One method on the model. `settings`: those that size it. `positions`: integers, if the entries were stored."""

    method: str
    settings: dict[str, bool | Count]
    adapter: Count
    head: Count
    total: Count
    stored_values: Count
    stored_bytes: Count
    positions: Count

    @model_validator(mode="after")
    def _is_sized(self) -> "Size":
        if self.method == "fourierft" and "n" not in self.settings:
            raise ValueError("settings of fourierft need n")
        return self

    @property
    def trained(self) -> int:
        """Adapter and head."""
        return self.adapter + self.head

    @property
    def title(self) -> str:
        """The method with the settings that size it."""
        return title(self.method, self.settings)


class Sizes(Document):
    """One model at full size: the matrices that the paper adapts in it, and every method counted on it."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    model: str
    matrices: list[Matrices]
    rows: list[Size]
    versions: dict[str, str]
    commit: str | None = None
    dirty: bool | None = None
    date: Time

    @property
    def place(self) -> str:
        return f"{self.model}.json"

    @property
    def title(self) -> str:
        """The model, marked unless the code was at a clean commit."""
        return self.model + ("" if self.dirty is False else "‡")

    def find(self, method: str, settings: dict[str, Any]) -> Size | None:
        """The row of this method, by any of its names, with exactly these settings."""
        wanted = (counted_as(method), settings)
        return next((row for row in self.rows if (row.method, row.settings) == wanted), None)


def counted_as(method: str) -> str:
    """The name under which a method is counted: one, where it has two."""
    return LORA_NAMES[0] if method in LORA_NAMES else method


def wanted(paper: dict[str, list[PaperRow]]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Model -> every (method, settings) that a table of the paper has a row for, each once, in the paper's order."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for row in (row for rows in paper.values() for row in rows):
        methods = found.setdefault(row.model, [])
        if (one := (counted_as(row.method), row.settings)) not in methods:
            methods.append(one)
    return found


def files(paper: dict[str, list[PaperRow]], full: Sequence[Sizes], out: Path) -> dict[Path, str]:
    """The pages by their paths: Table 1, and the others' parameters; none where nothing was counted."""
    if not full:
        return {}
    by_model = {sizes.model: sizes for sizes in full}
    first, *others = [_compared(name, paper[name], by_model) for name in TABLES]
    tables = {"table1_parameters": [first], "parameters": [*others, _whole(paper, by_model)]}
    notes = {"table1_parameters": [*EXACT, *EXACT_BYTES], "parameters": [*EXACT, *WHOLE]}
    texts = {}
    for name, heading in PAGES.items():
        texts[out / f"{name}.md"] = page(heading, tables[name], notes[name])
        texts[out / f"{name}.tex"] = "\n".join(latex(table, notes[name]) for table in tables[name])
    return texts


def _compared(name: str, rows: Sequence[PaperRow], full: dict[str, Sizes]) -> Table:
    """One of the paper's tables: printed parameters, and bytes where it has them, beside the exact ones."""
    with_bytes = any(row.bytes for row in rows)
    lines = []
    for row in rows:
        size, model = _found(full, row.model, row.method, row.settings)
        line = [model, row.title, row.params or DASH, _number(size and size.adapter)]
        remarks = [row.params_remark(size.adapter)] if size else ["not counted"]
        if with_bytes:
            line += [row.bytes or DASH, _number(size and FLOAT * size.adapter), _number(size and size.stored_bytes)]
            remarks += [f"bytes: {why}" for why in [row.bytes_remark(size.adapter)] if why] if size else []
        lines.append([*line, "; ".join(filter(None, remarks))])
    header = ["Model", "Method", "Params, printed", "Params, exact"]
    header += ["Bytes, printed", "Bytes, exact", "File"] if with_bytes else []
    heading = f"{TABLES[name]}: trained parameters, printed and exact"
    return Table(heading, [*header, "Remark"], lines, sentences=True)


def _whole(paper: dict[str, list[PaperRow]], full: dict[str, Sizes]) -> Table:
    """Every method on every model: what the paper counts, and all that trains and must be stored."""
    lines = []
    for model, methods in wanted(paper).items():
        for method, settings in methods:
            size, name = _found(full, model, method, settings)
            parts = ("adapter", "head", "trained", "stored_values", "stored_bytes", "positions")
            lines.append([name, title(method, settings), *(_number(size and getattr(size, part)) for part in parts)])
    header = ["Model", "Method", "Adapter", "Head", "Trained", "Stored values", "Stored bytes", "Positions"]
    return Table("What trains and what is stored: the paper's convention and the whole", header, lines)


def _found(full: dict[str, Sizes], model: str, method: str, settings: dict[str, Any]) -> tuple[Size | None, str]:
    """The size, if it was counted, and the model as the tables name it."""
    return (full[model].find(method, settings), full[model].title) if model in full else (None, model)


def _number(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def products(full: Sequence[Sizes]) -> list[tuple[list[str], bool]]:
    """For each model a line, its matrices and FourierFT's counts, and whether these are n times those."""
    found = []
    for sizes in full:
        matrices = sum(group.count for group in sizes.matrices)
        ours = {row.settings["n"]: row.adapter for row in sizes.rows if row.method == "fourierft"}
        if ours:
            counts = ", ".join(f"{count:,} at n={n:,}" for n, count in ours.items())
            holds = all(count == n * matrices for n, count in ours.items())
            found.append((["full size", sizes.model, str(matrices), counts], holds))
    return found


def shares_of_lora(full: Sequence[Sizes], claimed: Sequence[Share]) -> list[list[str]]:
    """FourierFT's share of LoRA's parameters beside each that the paper claims."""
    by_model, found = {sizes.model: sizes for sizes in full}, []
    for share in (share for share in claimed if share.model in by_model):
        ours = by_model[share.model].find("fourierft", {"n": share.n})
        lora = by_model[share.model].find("lora", {"r": share.r})
        if ours and lora:
            exact, printed = f"{100 * ours.adapter / lora.adapter:.2f} %", f"{share.printed} %"
            found.append([share.model, f"n={share.n:,}", f"r={share.r}", exact, printed])
    return found
