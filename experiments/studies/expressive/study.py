"""The study: measure what is missing, then make the table, the figures and the claim."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiments import record
from experiments.report.page import Page
from experiments.report.render import DASH, Table, number
from experiments.report.verdicts import Claim, Outcome
from experiments.studies.base import Study
from experiments.studies.expressive import picture
from experiments.studies.expressive.outcome import BASE, SETTINGS, TITLES, VARIANTS, Contest, Method, Variant
from experiments.trials import SIGNS
from experiments.work import Ended

SEEDS = 20
FEW, MOST = 0.25, 0.75  # shares of the seeds: at most FEW counts as never, at least MOST as reached
HEADER = ["Setting", "Trains in the layer", "Parameters", "Around it", "Seeds at 100 %", "Median epoch of it"]
HEADER += ["Last accuracy, median", "lowest", "Rate", "Alpha", "Trials"]
NOTES = (
    "Eight classes of 30 points in the plane, a network 2 → 64 → 64 → 8 with ReLU. In the 64 × 64 layer LoRA and "
    "FourierFT train 128 parameters each. Adam on all points at once, 2000 epochs. Accuracy: on the training points, "
    "in percent. A seed draws points, layers, starting values and FourierFT's positions; all methods of a seed share "
    "the points and layers.",
    "Rate and alpha: the trial that reached 100 % in the fewest epochs, which is what the claim is about; it need not "
    "stay there. Every method and setting has the same number of trials, on five seeds that are not shown. ↑, ↓: the "
    "highest, the lowest of its grid; of a method that reaches 100 % in every seed a better rate could only be faster.",
    "The paper gives the classes, the layer and the methods. The first setting answers its question, what 128 numbers "
    "can express; the others change one or two things that it leaves open. The claim holds where LoRA reaches 100 % in "
    "at most a quarter of the seeds and FourierFT in at least three quarters.",
    "All of ΔW: 4096 parameters, which shows that the classes can be separated. No ΔW: only the layers around train.",
)


@dataclass(frozen=True)
class Effort:
    """How much is measured. The defaults are the study's; tests measure less."""

    variants: Sequence[Variant] = VARIANTS
    seeds: Sequence[int] = range(SEEDS)
    search_seeds: Sequence[int] = range(1000, 1005)
    epochs: int = 2000
    steps: int = 84  # of the grid on which regions are recorded, along each axis

    @property
    def counted(self) -> list[int]:
        """The recorded epochs, with growing distances, for a logarithmic axis."""
        return sorted({0, self.epochs, *(round(1.1**power) for power in range(200) if 1.1**power < self.epochs)})


class Expressive(Study):
    """LoRA and FourierFT with 128 parameters each, on a toy that shows what these can express."""

    name = "expressive"
    scale = "paper"  # the toy is the paper's own experiment
    title = "Expressive power (Figure 7)"

    def __init__(self, effort: Effort | None = None) -> None:
        self.effort = effort or Effort()

    def run(self, scale: str, folder: Path, overrides: Sequence[str] = (), share: tuple[int, int] = (1, 1)) -> Ended:
        self.one_measurement(scale, overrides, share)
        for variant, method in ((one, method) for one in self.effort.variants for method in one.methods):
            path = folder / f"{variant.name}_{method}.json"
            if path.exists():
                record.read(path, Contest)
                continue
            record.write(found := measure(variant, method, self.effort), path)
            print(f"{variant.title}, {TITLES[method]}: {_told(found)}", flush=True)
        return Ended()

    def pages(self, folder: Path) -> list[Page]:
        groups = _by_variant(folder)
        if not groups:
            return []
        rows = [_row(outcome) for outcomes in groups.values() for outcome in outcomes.values()]
        figures = {"accuracy": partial(picture.courses, list(groups.values()))}
        if BASE.name in groups:
            figures["regions"] = partial(picture.regions, groups[BASE.name])
        table = Table("Eight classes in the plane", HEADER, rows)
        return [Page(self.key, self.title, [table], NOTES, self.scale, figures=figures)]

    def claims(self, folder: Path) -> list[Claim]:
        """The first setting decides; the others are reported only."""
        groups = _by_variant(folder)
        judged = groups.get(BASE.name, {})
        holds = _holds(judged)
        evidence = all(len(one.seeds) >= SEEDS and one.dirty is False for one in judged.values())
        found = Outcome("paper", BASE.title, holds, SEEDS, evidence=evidence)
        return [
            Claim(
                self.title.partition(" (")[0],
                "With 128 parameters in one 64 × 64 layer LoRA r=1 never tells all of eight classes apart within 2000 "
                "epochs of training, FourierFT does in about 500 (Figure 7). Judged where ΔW alone trains; whether the "
                "layers around it do is not said.",
                tuple(map(_line, groups.values())),
                () if holds is None else (found,),
                (self.key,),
            )
        ]


def measure(variant: Variant, method: Method, effort: Effort) -> Contest:
    """Search, then train with the best setting found, all seeds at once. A minute or two on one core."""
    import torch  # here, so that tables are made without it

    from experiments.studies.expressive import data, training
    from experiments.studies.expressive.model import Network

    known = record.circumstances("cpu")
    trials = training.search(variant, method, effort.search_seeds, effort.epochs)
    best = trials[0]
    generators = training.generators(effort.seeds)
    x = data.points(variant.centres, generators)
    network = Network(variant, method, best.alpha, generators)
    course = training.train(network, x, best.rate, effort.counted)
    with torch.no_grad():
        shown = network(data.grid(effort.steps).expand(len(x), -1, -1))[0].argmax(dim=-1).view(effort.steps, -1)
    return Contest(
        scale="paper",
        variant=variant,
        method=method,
        parameters=network.counts(),
        settings=SETTINGS,
        search_seeds=list(effort.search_seeds),
        trials=trials,
        rate=best.rate,
        alpha=best.alpha,
        seeds=list(effort.seeds),
        samples=x.shape[1],
        epochs=effort.counted,
        **course._asdict(),
        sample={
            "seed": effort.seeds[0],
            "points": [[round(value, 3) for value in point] for point in x[0].tolist()],
            "regions": ["".join(map(str, row)) for row in shown.tolist()],
        },
        threads=torch.get_num_threads(),
        **known,
        ended=record.now(),
    )


def _by_variant(folder: Path) -> dict[str, dict[Method, Contest]]:
    """What was measured, in the order of VARIANTS and of their methods."""
    found = {(one.variant.name, one.method): one for one in record.find(folder, Contest)}
    groups = {
        variant.name: {name: found[variant.name, name] for name in variant.methods if (variant.name, name) in found}
        for variant in VARIANTS
    }
    return {name: outcomes for name, outcomes in groups.items() if outcomes}


def _row(outcome: Contest) -> list[str]:
    last, first = outcome.accuracy[-1], f"{statistics.median(outcome.solved):.0f}" if outcome.solved else DASH
    counts = [f"{outcome.parameters[part]:,}" for part in ("change", "around")]
    scores = [
        f"{len(outcome.solved)} of {len(outcome.seeds)}",
        first,
        number(statistics.median(last)),
        number(min(last)),
    ]
    best = {"rate": outcome.rate, "alpha": outcome.alpha}
    edges = {key: SIGNS[end] for key, end in outcome.edges.items()}
    search = [f"{value:g}{edges.get(key, '')}" for key, value in best.items()]
    name = TITLES[outcome.method] + outcome.mark
    return [outcome.variant.title, name, *counts, *scores, *search, str(len(outcome.trials))]


def _told(outcome: Contest) -> str:
    """How many seeds reached 100 %, in words."""
    line = f"100 % in {len(outcome.solved)} of {len(outcome.seeds)} seeds"
    return line + (f" (median epoch {statistics.median(outcome.solved):.0f})" if outcome.solved else "")


def _line(outcomes: dict[Method, Contest]) -> str:
    """One variant in one line, and whether the claim holds there."""
    told = "; ".join(f"{TITLES[method]} {_told(outcome)}" for method, outcome in outcomes.items())
    holds = _holds(outcomes)
    word = {None: "", True: ": the claim holds", False: ": the claim does not hold"}[holds]
    return f"{next(iter(outcomes.values())).variant.title}: {told}{word}"


def _holds(outcomes: dict[Method, Contest]) -> bool | None:
    """Whether LoRA fails and FourierFT succeeds in most seeds; None where either was not measured."""
    if not {"lora", "fourierft"} <= outcomes.keys():
        return None
    shares = {method: len(one.solved) / len(one.seeds) for method, one in outcomes.items()}
    return shares["lora"] <= FEW and shares["fourierft"] >= MOST
