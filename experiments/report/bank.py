"""Banks of adapters: the tables and the figure of what a step with mixed rows costs, by the number of adapters."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from experiments.measure.bench import BASELINE, Bench, Served
from experiments.measure.timing import quartiles
from experiments.names import name
from experiments.report.page import Page
from experiments.report.render import DASH, Table
from experiments.report.speed import GIB, MIB, SIGNS, by_machine, described

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Many adapters in mixed batches"
PHASES = {"decode": "A decoding step", "prefill": "A prefill"}
LIMITED = 64  # adapters: of the table of what limits each
NOTES = [
    "Times: of the base model in milliseconds, of the others in units of its step in the same round; the median, and "
    "the quartiles in brackets. Tokens a second: of all rows, by the median.",
    "Every step names other adapters; all are on the device, or, one after the other, in one file. One adapter, "
    "merged, is the base model's arithmetic: the noise.",
    "Bytes: of all adapters on the device + what else is there for them (tables that they share, coefficients of the "
    "rows of a step, merged weights); of their files.",
    "Operations: calls of torch in a step. GFLOP: of matrix products; transforms in C are not counted. Read: weights, "
    "and adapters of the rows, each once (one after the other: the weights for each adapter).",
    "Limit: by the counts. Further operations take time of Python and, on a GPU, of launches; there are more with more "
    "layers, and in PEFT's LoRA with more adapters in a step. Bytes a second near the memory's: memory traffic.",
    "The goals stand with the other targets, in bench.md.",
    *SIGNS,
]
Cases = Mapping[int, Bench]  # by the number of adapters


def pages(benches: Sequence[Bench]) -> list[Page]:
    """The page, with a figure per set of cases; none where nothing was measured."""
    served = [bench for bench in benches if bench.mix]
    if not served:
        return []
    tables, figures = [], {}
    for machine, own in by_machine(served).items():
        for model in sorted({_model(bench) for bench in own}):
            found = {phase: _by_adapters(own, model, phase) for phase in PHASES}
            tables += _tables(f"{_word(model)}, {machine}", {phase: cases for phase, cases in found.items() if cases})
            figures[_free(_word(model), figures)] = partial(_draw, found, machine)
    notes = [*NOTES, *described(served)]
    return [Page("bank", TITLE, tables, notes, index_note=f"cases: {len(served)}", figures=figures)]


def _model(bench: Bench) -> str:
    """What comes before the number of adapters in the name of a case: bank, bank_llama_7b."""
    return bench.case.removesuffix(f"_{bench.mix.adapters}_{bench.mix.phase}")


def _word(model: str) -> str:
    return model.removeprefix("bank").strip("_") or "small"


def _free(word: str, taken: Iterable[str]) -> str:
    """The end of a figure's file name, which no other machine's figure has."""
    same = [one for one in taken if re.fullmatch(rf"{word}(_\d+)?", one)]
    return f"{word}_{len(same) + 1}" if same else word


def _by_adapters(benches: Iterable[Bench], model: str, phase: str) -> Cases:
    return {bench.mix.adapters: bench for bench in benches if _model(bench) == model and bench.mix.phase == phase}


def _tables(where: str, found: Mapping[str, Cases]) -> list[Table]:
    timed = [_table(f"{PHASES[phase]}, {where}", cases, _speed) for phase, cases in found.items()]
    held = _table(f"Bytes, {where}", next(iter(found.values())), _bytes)
    limits = [[phase, *row] for phase, cases in found.items() if LIMITED in cases for row in _limits(cases[LIMITED])]
    header = ["Step", "Adapters", "Operations", "GFLOP", "Read", "Read a second", "Beyond the base", "Limit"]
    what = Table(f"What limits a step with {LIMITED} adapters, {where}", header, limits, sentences=True)
    return [*timed, held, what] if limits else [*timed, held]


def _table(title: str, cases: Cases, cell: Callable[[Bench, str], str]) -> Table:
    """Contestants by numbers of adapters."""
    names = dict.fromkeys(one for bench in cases.values() for one in bench.contestants)
    header = [f"{held:,}" + bench.title.removeprefix(bench.case) for held, bench in cases.items()]
    rows = [[name(one), *(_or_state(bench, one, cell) for bench in cases.values())] for one in names]
    return Table(title, ["Adapters", *header], rows)


def _or_state(bench: Bench, one: str, cell: Callable[[Bench, str], str]) -> str:
    entry = bench.contestants.get(one)
    if entry is None or entry.status != "ok":
        return DASH if entry is None else {"oom": "OOM"}.get(entry.status, entry.status)
    return cell(bench, one)


def _speed(bench: Bench, one: str) -> str:
    ratio, tokens = bench.ratio(one), f"{bench.tokens_per_s(one):,.0f} tokens/s"
    if one == BASELINE or ratio is None:
        return f"{1000 * quartiles(bench.contestants[one].seconds).median:.1f} ms, {tokens}"
    return f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f}), {tokens}"


def _bytes(bench: Bench, one: str) -> str:
    served = bench.contestants[one].served
    if not served or not (served.adapter_bytes or served.extra_bytes):
        return DASH
    return f"{_size(served.adapter_bytes)} + {_size(served.extra_bytes)}; {_size(served.disk_bytes)}"


def _size(count: int) -> str:
    if not count:
        return "0"
    unit, word = next(((size, word) for size, word in ((GIB, "GiB"), (MIB, "MiB")) if count >= size), (1024, "KiB"))
    return f"{count / unit:.3g} {word}" if count < 1000 * unit else f"{count / unit:.0f} {word}"


def _limits(bench: Bench) -> list[list[str]]:
    """A row for each contestant that was timed: its counts, and the limit that they show."""
    base = bench.contestants.get(BASELINE)
    if base is None or not base.served or not base.seconds:
        return []
    rows = []
    for one, entry in bench.contestants.items():
        if not entry.served or not entry.seconds:
            continue
        seconds, served = quartiles(entry.seconds).median, entry.served
        beyond = seconds - quartiles(base.seconds).median
        counts = [f"{served.operations:,}", f"{served.flops / 1e9:.1f}", _size(served.read_bytes)]
        speed = f"{served.read_bytes / seconds / 1e9:.3g} GB/s"
        more = DASH if one == BASELINE else f"{1000 * beyond:.1f} ms".replace("-", "−")
        rows.append([name(one), *counts, speed, more, limit(served, base.served)])
    return rows


def limit(own: Served, base: Served) -> str:
    """What a step does beyond the base model's, by the counts, the gravest first."""
    if own.read_bytes > 2 * base.read_bytes:
        return f"all weights read {own.read_bytes / base.read_bytes:.0f} times"
    if own.operations > 2 * base.operations:
        return f"a loop over the adapters: {own.operations / base.operations:.0f} times as many operations"
    if own.operations > base.operations:
        arithmetic = f"{100 * (own.flops / base.flops - 1):.1f} % more arithmetic" if base.flops else "no products"
        return f"{own.operations - base.operations} operations more, {arithmetic}"
    return "the model itself"


def _draw(found: Mapping[str, Cases], machine: str) -> "Figure":
    """A panel per phase, the step in units of the base model's, and one of the bytes of all adapters on the device."""
    from experiments.style import course, legend, logarithmic, panels, wrapped  # here: it imports matplotlib

    shown = {phase: cases for phase, cases in found.items() if cases}
    every = [bench for cases in shown.values() for bench in cases.values()]
    names = list(dict.fromkeys(one for bench in every for one in bench.contestants if one != BASELINE))
    held = sorted({bench.mix.adapters for bench in every})
    figure, axes = panels([*(PHASES[phase] for phase in shown), "All adapters"])
    lines = {}
    for panel, cases in zip(axes, shown.values(), strict=False):
        for index, one in enumerate(names):
            if points := {count: ratio for count, bench in cases.items() if (ratio := bench.ratio(one))}:
                ends = (attrgetter("low"), attrgetter("high"))
                lines[name(one)] = course(panel, points, index, attrgetter("median"), ends)
        panel.axhline(1.0, color="0.3", linestyle=":", linewidth=1)
    for index, one in enumerate(names):
        sizes = {bench.mix.adapters: bench.adapter_bytes(one) for bench in every if bench.adapter_bytes(one)}
        if sizes and one != "reloaded":  # which holds a single one
            course(axes[-1], {count: [sizes[count] / MIB] for count in sorted(sizes)}, index, ends=None)
    for panel in axes:
        panel.set(xscale="log", yscale="log", xlabel="adapters")
        panel.set_xticks(held, [f"{count:,}" for count in held])
        panel.minorticks_off()
        logarithmic(panel.yaxis)
    axes[0].set_ylabel(wrapped("time, in units of the base model's step"))
    axes[-1].set_ylabel("MiB on the device")
    legend(figure, lines.values(), lines, f"Dotted: the base model. Band: the quartiles. {machine}")
    return figure
