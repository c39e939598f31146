"""The passages of README.md and docs/ that hold numbers, made from the records.

A page has them between marks, `<!-- NAME -->` and `<!-- /NAME -->`; what stands there is replaced.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from experiments.errors import UserError
from experiments.measure.bench import GRID, LORA, OURS, PEFT, Bench
from experiments.measure.sizes import Sizes
from experiments.names import OURS as FOURIERFT
from experiments.names import name
from experiments.record.summary import summary
from experiments.report.aggregate import Row, by_experiment
from experiments.report.labels import in_order
from experiments.report.render import DASH, Table, markdown, number
from experiments.report.speed import MIB
from experiments.report.summary import answer, link
from experiments.report.verdicts import NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, WORDS, Claim

MARKS = re.compile(r"(<!-- (\w+) -->\n)(.*?)(<!-- /\2 -->)", re.DOTALL)
CASES = {
    "layer_768_2048": "one layer, 768 × 768, 2048 tokens",
    "layer_1024_4096": "one layer, 1024 × 1024, 4096 tokens",
    "encoder_4_layers": "a 4-layer encoder, 8 × 64 tokens",
    "encoder_4_layers_all": "... every linear layer, n=333",
}
INSTALLED = "peft_fourierft_installed"
CONTESTANTS = {
    "FourierFT, here": OURS,
    "... on a grid": GRID,
    "... without C": "fourierft_torch",
    "PEFT LoRA r=8": LORA,
    "PEFT FourierFT": PEFT,
}
STSB, COLA, MRPC = ((f"glue_{task}", "minilm_l6", "small") for task in ("stsb", "cola", "mrpc"))
FEW = (
    *("FourierFT n=1000", "FourierFT all-linear n=333", "LoRA r=1", "LoRA all-linear r=1", "LoRA r=8"),
    *("head alone", "full fine-tuning"),
)
UNDECIDED = "cannot tell", "too few seeds", DASH
# In this order; of what is not measured at the small scale there is no line.
SAID = REPRODUCED, NOT_REPRODUCED, WORDS[True], WORDS["level"], WORDS[False], "mixed", *UNDECIDED[:2], NOT_MEASURED


def filled(page: Path, passages: Mapping[str, Callable[[], str]]) -> str:
    """The page's text with every passage made anew. Raises UserError for a mark that is unknown or stands alone."""
    text = page.read_text("utf-8")

    def made(found: re.Match) -> str:
        if found[2] not in passages:
            raise UserError(f"{page}: no passage is called {found[2]}; there are {', '.join(sorted(passages))}")
        return f"{found[1]}\n{passages[found[2]]().strip()}\n\n{found[4]}"

    if alone := re.findall(r"<!-- /?\w+ -->", MARKS.sub("", text)):
        raise UserError(f"{page}: {alone[0]} stands alone; a passage is between <!-- NAME --> and <!-- /NAME -->")
    return MARKS.sub(made, text)


def passages(
    claims: Sequence[Claim], rows: Sequence[Row], benches: Sequence[Bench], full: Sequence[Sizes], root: str = ""
) -> dict[str, Callable[[], str]]:
    """Name -> what makes it. root: the way to the project's root, as links have it. Each raises UserError without the
    records that it needs."""
    return {
        "size": lambda: size(full),
        "run": lambda: run(rows),
        "layer": lambda: layer(benches),
        "peft": lambda: peft(benches),
        "stsb": lambda: scores(rows, STSB),
        "stsb_few": lambda: scores(rows, STSB, FEW),
        "cola": lambda: scores(rows, COLA),
        "mrpc": lambda: scores(rows, MRPC),
        "verdicts": lambda: verdicts(claims, root),
    }


def size(full: Sequence[Sizes]) -> str:
    """What an adapter of RoBERTa-base has, beside LoRA's."""
    counted = [one for one in full if one.model == "roberta_base"]
    ours, lora = (counted and counted[0].find(*one) for one in ((FOURIERFT, {"n": 1000}), ("lora", {"r": 8})))
    if not ours or not lora:
        raise UserError("FourierFT and LoRA are not counted on roberta_base: make parameters")
    return (
        f"An adapter is `n` numbers a matrix: {ours.adapter:,} for the query and value matrices of RoBERTa-base at\n"
        f"`n=1000`, where LoRA with r=8 trains {lora.adapter:,}."
    )


def run(rows: Sequence[Row]) -> str:
    """What the miniature's run of `make glue-rte` prints at its end."""
    runs = [
        one
        for row in rows
        if (row.model, row.method) == ("roberta_mini", FOURIERFT) and "glue_rte" in row.cells and not row.is_variant
        for one in row.cells["glue_rte"].runs
    ]
    if not runs:
        raise UserError("no record of FourierFT on roberta_mini and glue_rte: make glue-rte MODEL=roberta_mini")
    first = min(runs, key=lambda one: (one.seed, one.ended))
    place = Path(first.place)
    return f"```\n{summary(first, 'runs/records' / place, 'runs' / place.with_suffix(''))}\n```"


def layer(benches: Sequence[Bench]) -> str:
    """Time and bytes of a step, this library's layer beside PEFT's."""
    cases = _cases(benches)
    lines = [
        [words, *(f"{_time(bench, one)}, {_saved(bench, one)} MiB" for one in CONTESTANTS.values())]
        for words, bench in cases.items()
    ]
    return markdown(Table("", ["", *CONTESTANTS], lines)) + _machine(cases.values())


def peft(benches: Sequence[Bench]) -> str:
    """Time and bytes of a step, PEFT's FourierFT with and without this library."""
    cases, lines = _cases(benches), []
    for words, bench in cases.items():
        times, saved = ([part(bench, one) for one in (PEFT, INSTALLED)] for part in (_time, _saved))
        faster = bench.ratio(PEFT, INSTALLED)
        lines.append([words, *times, f"{number(faster and faster.median)} ×", f"{' → '.join(saved)} MiB"])
    header = ["", "PEFT's FourierFT", "installed", "faster", "saved for backward"]
    return markdown(Table("", header, lines)) + _machine(cases.values())


def _cases(benches: Sequence[Bench]) -> dict[str, Bench]:
    """The cases shown, each by its latest record."""
    latest = {bench.case: bench for bench in sorted(benches, key=lambda bench: bench.ended)}
    if missing := [case for case in CASES if case not in latest]:
        raise UserError(f"no record of the bench's case {missing[0]}: make bench")
    return {words: latest[case] for case, words in CASES.items()}


def _machine(benches: Iterable[Bench]) -> str:
    return f"\nMeasured on {'; '.join(sorted({bench.machine for bench in benches}))}.\n"


def _time(bench: Bench, name: str) -> str:
    ratio = bench.ratio(name)
    return number(ratio and ratio.median, 2)


def _saved(bench: Bench, name: str) -> str:
    saved = bench.saved(name)
    return number(None if saved is None else saved / MIB)


def few(rows: Sequence[Row]) -> list[Row]:
    """The methods of README's table that change the model and have a record; the head alone is far below them."""
    exp = STSB[0]
    found = in_order(by_experiment(rows).get(STSB, []), exp)
    return [row for row, label in found if label in FEW and row.cells[exp].trained]


def scores(rows: Sequence[Row], place: tuple[str, str, str], only: Sequence[str] = ()) -> str:
    """The methods on a task with MiniLM, or those with these names: trained numbers, scores, memory, rank."""
    exp, model, scale = place
    found = by_experiment(rows).get(place, [])
    named = {label: row for row, label in in_order(found, exp) if not only or label in only}
    if lacking := [label for label in only or [FEW[0]] if label not in named]:
        raise UserError(f"no record of {lacking[0]} on {model}, {exp}: make table2 SCALE={scale} MODEL={model}")
    lines = []
    for label, row in named.items():
        cell = row.cells[exp]
        each = ", ".join(map(number, cell.scores()))
        saved = statistics.median(run.cost.saved_bytes for run in cell.runs) / MIB
        ranks = [run.rank.summary.numerical_rank.median for run in cell.runs if run.rank]
        rank = f"{statistics.median(ranks):.0f}" if ranks else DASH
        ours = f"**{label}**" if row.method == FOURIERFT else label
        lines.append([ours, f"{cell.trained:,.0f}", number(cell.centre()), each, f"{saved:.0f} MiB", rank])
    metric = name(found[0].cells[exp].runs[0].metrics.primary)
    header = ["Method", "Trained", f"{metric} × 100, median", "each seed", "saved for backward", "rank of ΔW, of 384"]
    return markdown(Table("", header, lines))


def verdicts(claims: Sequence[Claim], root: str) -> str:
    """A line for each verdict on the paper's claims, at the paper's scale and at scale small, and one for questions."""
    page = f"{root}results/README.md"
    lines = []
    for scale, verdict in (("paper's", "verdict"), ("small", "small_scale")):
        groups: dict[str, list[str]] = defaultdict(list)
        for claim in (one for one in claims if not one.question):
            said = _said(getattr(claim, verdict))
            why = f' ("{claim.statement.split(":")[0]}")' if said == WORDS[False] else ""
            groups[said].append(link(claim, page) + why)
        if others := groups.pop(NOT_MEASURED, []):
            groups[NOT_MEASURED] = [f"the other {len(others)} claims" if groups else "all"]
        lines += [f"At the {scale} scale, **{said}**: {', '.join(groups[said])}." for said in SAID if said in groups]
    answers = [(link(claim, page), answer(claim, claim.small_scale)) for claim in claims if claim.question]
    decided = [f"{name}: {said.split(' (')[0]}" for name, said in answers if _said(said) not in UNDECIDED]
    lines += [f"Questions that the paper leaves open, at the small scale: {'; '.join(decided)}."] if decided else []
    return "".join(f"- {line}\n" for line in lines)


def _said(verdict: str) -> str:
    """The verdict without what it rests on."""
    if verdict.startswith("holds in 0 of "):
        return WORDS[False]
    return next((said for said in SAID if verdict.startswith(said)), verdict)
