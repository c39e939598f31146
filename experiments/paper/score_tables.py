"""The tables of scores as facts: columns, seeds, statistic and words. The paper's numbers stand in results/paper.

One more table is one more `ScoreTable` in `TABLES`: what reads the records and writes the pages knows no table by name.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from experiments.record import Selection

Statistic = Callable[[Sequence[float]], float]
COUNTS = {3: "three", 5: "five"}


@dataclass(frozen=True)
class Protocol:
    """How runs that differ in their seed alone become one number."""

    seeds: tuple[int, ...]
    centre: Statistic
    centre_name: str
    spread: Statistic  # of two seeds or more
    spread_name: str
    on_test: bool = False  # the score is that of the test set
    whose: str = "the paper's"  # the seeds

    @property
    def signs(self) -> dict[str, str]:
        """What keeps a cell from being the paper's evidence, by the sign that says so."""
        signs = {
            "†": f"not all of {self.whose} {COUNTS[len(self.seeds)]} seeds",
            "‡": "code not at a clean commit",
        }
        return signs | ({"§": "scored on validation, for want of a test set"} if self.on_test else {})


@dataclass(frozen=True)
class Column:
    """One column: a metric of one experiment, `factor` times the recorded number, shown with `digits` decimals.

    loss: shown is minus the logarithm of the recorded number, in nats instead, and less is better.
    """

    exp: str
    key: str  # in results/paper
    heading: str
    digits: int = 1
    metric: str | None = None  # None: the experiment's primary one; of any other more is better
    factor: float = 100.0  # 1: no percentage
    optional: bool = False  # a record may lack the metric
    loss: bool = False
    std_digits: int | None = None  # of the paper's deviation, where it prints fewer

    def value(self, recorded: float) -> float:
        """What is shown of the recorded number."""
        return -math.log(recorded) if self.loss else self.factor * recorded


PRIMARY = Column("", "", "")  # of any experiment: the primary metric, in percent


@dataclass(frozen=True)
class ScoreTable:
    """One table. `blocks` are the epochs whose scores are shown, the paper's choice first.

    extra: columns that the paper does not have, at any scale. parts: such columns, never at its scale. whole: whether
    every column stands at the other scales too, or those alone that have a record. averaged: whether the columns have a
    mean, by which the claim is then judged, or are judged one by one. rate: what to call the examples that are trained
    on in a second, where that is shown. example: one run, as a command. judged: whether the scores are a judge's, whose
    records stand apart: one block a judge, as different ones do not compare. measure: what the scores are in, where
    percent will not do.
    """

    key: str  # the file in results/paper, and the beginning of those in results/tables
    title: str
    protocol: Protocol
    columns: tuple[Column, ...]
    blocks: dict[Selection, str]
    example: str
    extra: tuple[Column, ...] = ()
    parts: tuple[Column, ...] = ()
    whole: bool = True
    averaged: bool = True
    rate: str | None = None
    judged: bool = False
    measure: str | None = None
    notes: tuple[str, ...] = ()

    def columns_at(self, scale: str) -> tuple[Column, ...]:
        """Every column that may stand at this scale."""
        return self.columns + self.extra + (() if scale == "paper" else self.parts)

    @property
    def selection(self) -> Selection:
        """The paper's choice of the epoch."""
        return next(iter(self.blocks))

    def unit(self, name: str) -> str:
        """What the scores are in, `name` being percent or points: "in percent, but for X and Y", no percentages."""
        if self.measure:
            return self.measure
        others = [column.heading for column in self.columns if column.factor != 100]
        return f"in {name}" + (f", but for {' and '.join(others)}" if others else "")


TABLE2 = ScoreTable(
    key="table2_glue",
    title="Table 2, GLUE",
    protocol=Protocol(
        seeds=(0, 11111, 22222, 33333, 44444),
        centre=statistics.median,
        centre_name="median",
        spread=statistics.stdev,
        spread_name="sample standard deviation (n-1)",
    ),
    columns=(
        Column("glue_sst2", "sst2", "SST-2"),
        Column("glue_mrpc", "mrpc", "MRPC"),
        Column("glue_cola", "cola", "CoLA"),
        Column("glue_qnli", "qnli", "QNLI"),
        Column("glue_rte", "rte", "RTE"),
        Column("glue_stsb", "stsb", "STS-B"),
    ),
    blocks={"best": "best epoch on validation (the paper's protocol)", "last": "last epoch"},
    example="python run.py +exp=glue_rte model=roberta_base method=lora seed=0",
)

TABLE3 = ScoreTable(
    key="table3_e2e",
    title="Table 3, GPT-2 on E2E NLG",
    protocol=Protocol(
        seeds=(0, 11111, 22222),
        centre=statistics.mean,
        centre_name="mean",
        spread=statistics.stdev,
        spread_name="sample standard deviation (n-1)",
        on_test=True,
    ),
    columns=(
        Column("e2e", "bleu", "BLEU", metric="bleu"),
        Column("e2e", "nist", "NIST", metric="nist", digits=2, factor=1),
        Column("e2e", "meteor", "METEOR", metric="meteor", optional=True),
        Column("e2e", "rouge_l", "ROUGE-L", metric="rouge_l"),
        Column("e2e", "cider", "CIDEr", metric="cider", digits=2, factor=1),
    ),
    extra=(Column("e2e", "meteor_nltk", "METEOR (nltk)", metric="meteor_nltk"),),
    averaged=False,
    blocks={
        "last": "test scores of the last epoch (the paper's protocol)",
        "best": "test scores of the epoch that is best on validation",
    },
    rate="rows",
    notes=(
        "Every score is of the test set; validation's perplexity chooses the best epoch. The seeds are 0, 11111 and "
        "22222: the paper says three runs, not which, and does not define its spread.",
        "NIST and CIDEr, and differences of them, stand as the metrics give them.",
        "METEOR is version 1.5, which needs Java: a dash where the runs had none. METEOR (nltk), which the paper does "
        "not have, matches words and stems alone; the two are not to be compared.",
        "Unfinished are the outputs that hit the limit of length: the most of any seed, in either epoch.",
        "At scale mini the meanings and texts are generated: of invented places to eat.",
    ),
    example="python run.py +exp=e2e model=gpt2_medium method=lora seed=0",
)

INSTRUCT = replace(TABLE3.protocol, whose="our")

OUT_OF_10 = {"digits": 2, "std_digits": 1, "factor": 1, "optional": True}

TABLE4 = ScoreTable(
    key="table4_instruct",
    title="Table 4, LLaMA after instruction tuning, judged",
    protocol=INSTRUCT,
    columns=(
        Column("instruct", "mt_bench", "MT-Bench", metric="mt_bench", **OUT_OF_10),
        Column("instruct", "vicuna", "Vicuna", metric="vicuna", **OUT_OF_10),
    ),
    averaged=False,
    judged=True,
    measure="out of 10",
    blocks={"last": "scores of the last epoch's answers"},
    notes=(
        "The paper's judge is GPT-4; its revision is not given, nor how many runs there were, nor what its spread is. "
        "Ours are the seeds 0, 11111 and 22222.",
        "Scores by different judges do not compare, so no difference to the paper's is shown. A judge is a model, its "
        "revision, the prompts with the questions and reference answers (the first digits of their SHA-256), and the "
        "rule by which a score is found in a judgment.",
        "MT-Bench: the mean over both turns of 80 questions. Vicuna: over 80 questions of one turn. A judgment in "
        "which no score from 1 to 10 is found is left out.",
        "What training costs stands with the held-out losses.",
    ),
    example="python run.py +exp=instruct model=llama2_7b method=lora_qv seed=0",
)

HELD_OUT = ScoreTable(
    key="held_out_instruct",
    title="Instruction tuning, held-out loss",
    protocol=INSTRUCT,
    columns=(Column("instruct", "loss", "Loss", digits=3, metric="inverse_perplexity", loss=True),),
    parts=(Column("instruct", "accuracy", "Exact answers", metric="accuracy", optional=True),),
    whole=False,
    averaged=False,
    measure="losses in nats, exact answers in percent",
    blocks={
        "last": "test loss of an answer's token, last epoch",
        "best": "test loss of an answer's token, epoch that is best on validation",
    },
    rate="rows",
    notes=(
        "The loss is of held-out answers: the mean over their tokens of −ln of a token's probability. Less is better. "
        "Losses of models with different tokenizers do not compare. The paper gives none.",
        "The seeds are 0, 11111 and 22222.",
        "At scale mini the instructions are generated, each with one right answer: exact are those that give it.",
    ),
    example=TABLE4.example,
)

METAMATH = ScoreTable(
    key="metamath",
    title="PEFT's method comparison, MetaMathQA",
    protocol=INSTRUCT,
    columns=(Column("metamath", "gsm8k", "GSM8K", metric="accuracy"),),
    averaged=False,
    blocks={"last": "test accuracy of the last step"},
    rate="rows",
    notes=(
        "The benchmark is of one seed, 0; the seeds here are 0, 11111 and 22222. What it published, and what differs "
        "here, stands in configs/exp/metamath.yaml.",
    ),
    example="python run.py +exp=metamath method.n=1000 seed=0",
)

TABLE5 = ScoreTable(
    key="table5_vit",
    title="Table 5, ViT on image sets",
    protocol=Protocol(
        seeds=(7, 77, 777, 7777, 77777),
        centre=statistics.mean,
        centre_name="mean",
        spread=statistics.pstdev,
        spread_name="population standard deviation (n)",
        on_test=True,
    ),
    columns=(
        Column("vit_pets", "pets", "OxfordPets", digits=2),
        Column("vit_cars", "cars", "StanfordCars", digits=2),
        Column("vit_cifar", "cifar10", "CIFAR10", digits=2),
        Column("vit_dtd", "dtd", "DTD", digits=2),
        Column("vit_eurosat", "eurosat", "EuroSAT", digits=2),
        Column("vit_fgvc", "fgvc", "FGVC", digits=2),
        Column("vit_resisc45", "resisc45", "RESISC45", digits=2),
        Column("vit_cifar100", "cifar100", "CIFAR100", digits=2),
    ),
    parts=(
        Column("vit_dtd_10", "dtd_10", "DTD, 10 classes", digits=2),
        Column("vit_pets_3", "pets_3", "Pets, 3 breeds", digits=2),
    ),
    whole=False,
    blocks={
        "best": "test accuracy of the epoch that is best on validation (the paper's protocol)",
        "last": "test accuracy of the last epoch",
    },
    rate="images",
    notes=(
        "Every score is of the test set; validation chooses the epoch. The seeds are 7, 77, 777, 7777 and 77777.",
        "At scale mini the images are scikit-learn's handwritten digits, whatever the column.",
    ),
    example="python run.py +exp=vit_cifar model=vit_base method=lora seed=7",
)

TABLES = (TABLE2, TABLE3, TABLE4, HELD_OUT, METAMATH, TABLE5)


def table_of(exp: str) -> ScoreTable:
    """The table of what a run itself measures; Table 2 for an experiment that no table has."""
    measured = (table for table in TABLES if not table.judged)
    having = (table for table in measured if any(column.exp == exp for column in table.columns + table.parts))
    return next(having, TABLE2)


def foremost(exp: str) -> Column:
    """What stands for an experiment where one number must: the first of its columns, or its primary metric."""
    table = table_of(exp)
    return next((column for column in table.columns + table.parts if column.exp == exp), Column(exp, exp, exp))
