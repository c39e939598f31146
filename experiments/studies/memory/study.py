"""The study: measure what is missing, then make the tables, the figure and the claim."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from experiments import record
from experiments.errors import UserError
from experiments.measure.timing import quartiles
from experiments.paper.printed import Peak, read_facts
from experiments.paper.score_tables import TABLE2
from experiments.report.page import Page
from experiments.report.render import DASH, Table
from experiments.report.speed import MIB
from experiments.report.verdicts import Claim, Outcome
from experiments.studies.base import Study
from experiments.studies.memory.figure import draw
from experiments.studies.memory.footprint import GRID, LORA, OURS, PEFT, TASKS, Footprint, Step
from experiments.work import Ended

METHODS = [LORA, OURS, GRID, PEFT, "head_only", "bitfit", "adapter_drop", "adapter_pfeiffer", "adapter_houlsby"]
METHODS += ["dylora", "adalora", "full"]
NOTES = [
    "Every method has the batch of Table 9 (FourierFT's), in float32, with dropout and eager attention, as in the "
    "official code.",
    "Tokens: the official code pads to the longest row of a batch, so the longest training row causes the peak; its "
    "length is by RoBERTa's tokenizer, cut to Table 9's maximum. QNLI has the maximum, since not all its rows were "
    "counted. MRPC, RTE and STS-B would need as much if padded to their maximum: the printed peaks rule that out.",
    "Saved: bytes kept for the backward pass, exact, counted on the meta device with a GPU's dropout masks. At least: "
    "the weights, AdamW's states (8 bytes per trained parameter), and the saved bytes or the gradients, whichever are "
    "more. A peak adds the workspace.",
    "Printed: by the project's page, for one RTX 4090 (24 GB); it does not say what MB means, nor how they were read. "
    "LoRA's hyper-parameters are not given there; here it has FourierFT's batch, r=8 and no dropout.",
    "Trained: parameters, the head (of two classes; of one on STS-B) included. DyLoRA: a step of the full rank, "
    "its largest. peft_fourierft: PEFT's own layer, which keeps delta_W in all layers but the lowest. fourierft_grid: "
    "positions on a grid, whose backward pass takes a projection of a layer's input instead of it.",
    f"{DASH}: not measured, or not printed. OOM: out of memory. ‡ code not at a clean commit.",
]


class Memory(Study):
    """The exact bytes of a step, and its peak and time on a GPU."""

    name = "memory"
    scale = "paper"
    title = "GPU memory and time of a training step of RoBERTa-large"

    def __init__(self, paper: Path = record.ROOT / "results" / "paper"):
        self.paper = paper

    def run(self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)) -> Ended:
        self.one_measurement(scale, overrides, share)
        import torch

        from experiments.studies.memory.case import footprint

        gpu = torch.cuda.is_available()
        for method in METHODS:
            path = folder / f"{method}.json"
            if path.exists() and (record.read(path, Footprint).machine or not gpu):
                print(f"done before: {path}")
                continue
            record.write(found := footprint(method, gpu), path)
            said = ", ".join(f"{TABLE2.headings[task]} {_mib(step.saved_bytes)}" for task, step in found.steps.items())
            print(f"{method}: saved MiB: {said}", flush=True)
        return Ended()

    def pages(self, folder: Path) -> list[Page]:
        found, printed = read(folder), read_facts(Peak, self.paper)
        if not found:
            return []
        machines = sorted({one.machine for one in found.values() if one.machine})
        notes = [*NOTES, *(f"Measured on {machine}." for machine in machines)]
        tables = [_beside_the_page(found, printed), _all_methods(found)]
        return [Page(self.key, self.title, tables, notes, "paper", figures={"": partial(draw, found, printed)})]

    def claims(self, folder: Path) -> list[Claim]:
        """Judged by peaks on a GPU, task by task; bytes saved are reported only."""
        found, printed = read(folder), read_facts(Peak, self.paper)
        both = [found[method] for method in (OURS, LORA) if method in found]
        pairs = {task: [one.steps[task] for one in both] for task in TASKS} if len(both) == 2 else {}
        clean = all(one.dirty is False for one in both)
        compared = {task: _is_below(*pair) for task, pair in pairs.items()}
        return [
            Claim(
                "Memory on six tasks",
                "FourierFT's peak is below LoRA's on every GLUE task that fits (the project's page, RoBERTa-large, RTX "
                "4090; there by 3 % on MRPC to 33 % on CoLA).",
                tuple(_compared(task, *pair, printed) for task, pair in pairs.items()),
                tuple(
                    Outcome("paper", task, below, evidence=clean)
                    for task, below in compared.items()
                    if below is not None
                ),
                (self.key,),
                whole=all(step.gpu for pair in pairs.values() for step in pair),
            )
        ]


def read(folder: Path) -> dict[str, Footprint]:
    """Method -> its record, in the order of METHODS. Raises UserError."""
    found = {one.method: one for one in record.find(folder, Footprint)}
    if unknown := sorted(found.keys() - set(METHODS)):
        raise UserError(f"{folder}: the record of {unknown[0]}, no method of this study; move it away")
    return {method: found[method] for method in METHODS if method in found}


def _beside_the_page(found: Mapping[str, Footprint], printed: Sequence[Peak]) -> Table:
    """FourierFT and LoRA, task by task, with the page's numbers."""
    page = {(one.task, one.method): str(one.mb) for one in printed}
    rows = []
    for task in TASKS:
        for method in (method for method in (LORA, OURS, GRID, PEFT) if method in found):
            step = found[method].steps[task]
            size = f"{step.batch} × {step.tokens}"
            numbers = [_mib(step.saved_bytes), _mib(step.least_bytes), *_gpu(step)]
            rows.append([TABLE2.headings[task], size, found[method].title, *numbers, page.get((task, method), DASH)])
    header = [
        "Task",
        "Batch × tokens",
        "Method",
        "Saved, MiB",
        "At least, MiB",
        "Peak, MiB",
        "ms per step",
        "Printed, MB",
    ]
    return Table("FourierFT and LoRA on the six tasks of the project's page", header, rows)


def _all_methods(found: Mapping[str, Footprint]) -> Table:
    """Every method, task by task: bytes, and what a GPU measured."""
    rows = []
    for one in found.values():
        cells = []
        for task in TASKS:
            step = one.steps[task]
            parts = [_mib(step.saved_bytes, 0), _mib(step.least_bytes, 0)]
            if step.gpu:
                peak, time = _gpu(step, 0)
                parts += [peak] if step.gpu.status != "ok" else [peak, f"{time} ms"]
            cells.append(" / ".join(parts))
        first = next(iter(one.steps.values()))
        rows.append([one.title, f"{first.trained:,}", *cells])
    on_gpu = any(one.machine for one in found.values())
    heading = f"Every method: saved / at least{' / peak, MiB / time' if on_gpu else ', MiB'}"
    return Table(heading, ["Method", "Trained", *map(TABLE2.headings.get, TASKS)], rows)


def _gpu(step: Step, digits: int = 1) -> tuple[str, str]:
    """The cells of peak (MiB) and time (ms)."""
    if step.gpu is None:
        return DASH, DASH
    if step.gpu.status != "ok":
        return "OOM", DASH
    return _mib(step.gpu.peak_bytes, digits), f"{1000 * quartiles(step.gpu.seconds).median:.1f}"


def _compared(task: str, ours: Step, lora: Step, printed: Sequence[Peak]) -> str:
    """One task in one sentence."""
    page = {one.method: one.mb for one in printed if one.task == task}
    less = (lora.saved_bytes - ours.saved_bytes) / MIB
    line = f"{TABLE2.headings[task]}, {ours.batch} × {ours.tokens} tokens: saved for the backward pass FourierFT "
    line += f"{_mib(ours.saved_bytes)} MiB, LoRA {_mib(lora.saved_bytes)} MiB ({less:.1f} MiB less"
    if all(isinstance(page[method], int) for method in (OURS, LORA)):
        line += f"; the printed peaks differ by {page[LORA] - page[OURS]:,} MB"
    peaks = [_gpu(step)[0] for step in (ours, lora)]
    return line + ")" + (f"; peak {peaks[0]} MiB, LoRA {peaks[1]} MiB" if ours.gpu and lora.gpu else "")


def _is_below(ours: Step, lora: Step) -> bool | None:
    """Whether FourierFT's peak is below LoRA's; None if either was not measured, or neither fits."""
    if not (ours.gpu and lora.gpu):
        return None
    peaks = [math.inf if one.gpu.status == "oom" else one.gpu.peak_bytes for one in (ours, lora)]
    return None if peaks == [math.inf, math.inf] else peaks[0] < peaks[1]


def _mib(size: int, digits: int = 1) -> str:
    return f"{size / MIB:,.{digits}f}"
