"""The tables of parameters: the paper's counts beside the exact ones.

Two conventions, side by side. The paper counts what trains outside the head, without the positions of the entries. The
whole count has all that trains, and all that must be stored to use the model again.
"""

from collections.abc import Sequence
from typing import Any

from experiments.measure.sizes import Size, Sizes, wanted
from experiments.paper.printed import FLOAT, TABLE_NAMES, UNEXPLAINED, PaperRow, Share, title
from experiments.report.page import Page
from experiments.report.render import DASH, Table

EXACT = [
    "Adapter: parameters trained outside the head, as the paper counts. Exact: counted in the full-size model.",
    "Without a remark, the printed number is the exact one, rounded. Any other difference is explained, or marked "
    f"{UNEXPLAINED}.",
    "‡ code not at a clean commit.",
]
EXACT_BYTES = [
    "Exact bytes: four per value. The printed KB is 1024 bytes; MB is 1024 KB unless the remark says otherwise.",
    "File: the bytes written for the adapter, the head (two classes on RoBERTa, ten on ViT), names and settings.",
]
WHOLE = [
    "Trained: adapter and head. Heads: two classes on RoBERTa, ten on ViT, none on language models.",
    "BitFit trains every bias of the encoder, including those of its layer norms and of the embeddings' norm.",
    "Stored: values and bytes of the written files (safetensors and PEFT's adapter_config.json), which with the frozen "
    "model are all that is needed.",
    "Positions: integers that FourierFT would also store, two per entry and shape of matrix, if they were not redrawn "
    "from the seed in adapter_config.json. The paper's text counts them, n (2 + L); its tables do not, n L.",
]


def pages(paper: dict[str, list[PaperRow]], full: Sequence[Sizes]) -> list[Page]:
    """Table 1, and the others' parameters; none where nothing was counted."""
    if not full:
        return []
    by_model = {sizes.model: sizes for sizes in full}
    first, *others = [_compared(name, paper[name], by_model) for name in TABLE_NAMES]
    note = f"models: {len(full)}"
    return [
        Page("table1_parameters", "Table 1: parameters and bytes", [first], [*EXACT, *EXACT_BYTES], index_note=note),
        Page(
            "parameters",
            "Parameters of Tables 2 to 5, and what is stored",
            [*others, _whole(paper, by_model)],
            [*EXACT, *WHOLE],
            index_note=note,
        ),
    ]


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
    header = ["Model", "Method", "Adapter, printed", "Adapter, exact"]
    header += ["Bytes, printed", "Bytes, exact", "File"] if with_bytes else []
    heading = f"{TABLE_NAMES[name]}: trained parameters, printed and exact"
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
    """The size, or None if it was not counted, and the model as the tables name it."""
    return (full[model].find(method, settings), full[model].title) if model in full else (None, model)


def _number(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def products(full: Sequence[Sizes]) -> list[tuple[list[str], bool]]:
    """For each model: scale, name, matrices and FourierFT's counts, and whether each count is n times the matrices."""
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
