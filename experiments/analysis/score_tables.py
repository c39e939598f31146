"""The paper's tables of scores as facts: columns, seeds, statistic and words. Its numbers stand in results/paper.

One more table is one more `ScoreTable` in `TABLES`: what reads the records and writes the pages knows no table by name.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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

    @property
    def signs(self) -> dict[str, str]:
        """What keeps a cell from being the paper's evidence, by the sign that says so."""
        signs = {
            "†": f"not all of the paper's {COUNTS[len(self.seeds)]} seeds",
            "‡": "code not at a clean commit",
        }
        return signs | ({"§": "scored on validation, for want of a test set"} if self.on_test else {})


@dataclass(frozen=True)
class Column:
    """One column: a metric of one experiment, `factor` times the recorded number, shown with `digits` decimals."""

    exp: str
    key: str  # in results/paper
    heading: str
    digits: int = 1
    metric: str | None = None  # None: the experiment's primary one
    factor: float = 100.0


@dataclass(frozen=True)
class ScoreTable:
    """One of the paper's tables. `blocks` are the epochs whose scores are shown, the paper's choice first.

    parts: columns that the paper does not have, of data cut down; never at its scale. whole: whether every column
    stands at the other scales too, or those alone that have a record. rate: what to call the examples that are trained
    on in a second, where that is shown. example: one run, as a command.
    """

    key: str  # the file in results/paper, and the beginning of those in results/tables
    title: str
    protocol: Protocol
    columns: tuple[Column, ...]
    blocks: dict[Selection, str]
    example: str
    parts: tuple[Column, ...] = ()
    whole: bool = True
    averaged: bool = True
    unit: str = "in percent"
    rate: str | None = None
    notes: tuple[str, ...] = ()

    def columns_at(self, scale: str) -> tuple[Column, ...]:
        """Every column that may stand at this scale."""
        return self.columns if scale == "paper" else self.columns + self.parts


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

TABLES = (TABLE2, TABLE5)


def protocol_of(exp: str) -> Protocol:
    """The protocol of the table that has the experiment; Table 2's for one that no table has."""
    for table in TABLES:
        if any(column.exp == exp for column in table.columns + table.parts):
            return table.protocol
    return TABLE2.protocol
