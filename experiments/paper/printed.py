"""The paper's numbers: the rows of results/paper/*.yaml, checked, and how exact numbers agree with the printed ones."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, TypeAdapter, ValidationError

from experiments.errors import UserError
from experiments.typed import Typed, faults
from experiments.yaml_files import read_yaml

# The paper's tables, by the files of results/paper.
TABLE_NAMES = {
    "table1_parameters": "Table 1",
    "table2_glue": "Table 2",
    "table3_e2e": "Table 3",
    "table4_instruct": "Table 4",
    "table5_vit": "Table 5",
}
LORA_NAMES = ("lora", "lora_qv")  # one method: its usual name, and that beside lora_all
UNITS = {"K": 10**3, "M": 10**6}
FLOAT = 4  # bytes of a float32
UNEXPLAINED = "UNEXPLAINED"


class PaperRow(Typed):
    """One printed row of any table. settings: those of this suite's method that correspond to it.

    params, bytes: as printed, of what trains outside the head; None where the paper prints none. note, bytes_note: why
    such a number is not the exact one. median, mean, std: scores by data set or metric, as printed.
    """

    model: str
    method: str
    settings: dict[str, Any] = Field(default_factory=dict)
    params: Annotated[str, Field(pattern=r"^\d+(\.\d+)?[KM]$")] | None
    note: str | None = None
    bytes: Annotated[str, Field(pattern=r"^\d+(\.\d+)?[KM]B$")] | None = None
    bytes_note: str | None = None
    median: dict[str, float] = Field(default_factory=dict)
    mean: dict[str, float] = Field(default_factory=dict)
    std: dict[str, float] = Field(default_factory=dict)
    avg: float | None = None

    @property
    def scores(self) -> dict[str, float]:
        """The printed median or mean of each column."""
        return self.median or self.mean

    @property
    def count(self) -> Decimal:
        """The printed number of parameters, head excluded; 0 where none is printed."""
        return Decimal(self.params[:-1]) * UNITS[self.params[-1]] if self.params else Decimal(0)

    @property
    def title(self) -> str:
        """The method with its settings."""
        return title(self.method, self.settings)

    def params_remark(self, exact: int) -> str:
        """Why the printed count is not `exact`; empty if `exact` rounds to it."""
        if self.params is None or self.note:
            return self.note or ""
        how = agreement(self.params[:-1], Decimal(exact), UNITS[self.params[-1]])
        return UNEXPLAINED if how is None else how

    def bytes_remark(self, exact: int) -> str:
        """Why the printed bytes are not four per `exact` parameter; empty if those round to them."""
        if self.bytes is None or self.bytes_note:
            return self.bytes_note or ""
        digits, unit = self.bytes[:-2], self.bytes[-2:]
        units = {"KB": {1024: ""}, "MB": {1024**2: "", 1000 * 1024: "MB = 1000 KB"}}[unit]
        for count, source in ((Decimal(exact), ""), (self.count, f"of the printed {self.params}")):
            for size, base in units.items():
                how = agreement(digits, FLOAT * count, size)
                if how is not None:
                    return ", ".join(filter(None, (source, base, how)))
        return UNEXPLAINED


class Share(Typed):
    """FourierFT's parameters in percent of LoRA's on one model, as the paper's text claims."""

    model: str
    n: PositiveInt
    r: PositiveInt
    printed: NonNegativeFloat


class Peak(Typed):
    """GPU memory in megabytes that the project's page prints for RoBERTa-large; "OOM" where it did not fit."""

    task: str
    method: str
    mb: PositiveInt | Literal["OOM"]


class Logs(Typed):
    """What the official repository's logs of FourierFT say of one task of Table 2 and one model: medians over five
    seeds, in percent, on a validation set of so many `examples`.

    scale: of the method. best, std: of the best epochs, with their sample standard deviation. last: of the last epochs
    that were logged. epochs: logged, the fewest and the most of a seed. note: what differs from the paper.
    """

    model: str
    task: str
    metric: str
    examples: PositiveInt
    scale: float
    best: float
    std: NonNegativeFloat
    last: float
    epochs: tuple[PositiveInt, PositiveInt]
    note: str = ""


class Asked(Typed):
    """What a user of the official code or of PEFT asked. source: the address of the question. links: files of this
    project that show the answer, relative to its root."""

    source: Annotated[str, Field(pattern=r"^https://github\.com/")]
    question: str
    state: Literal["answered", "partly", "open"]
    answer: str
    links: Annotated[list[str], Field(min_length=1)]

    @property
    def place(self) -> str:
        """The source, abbreviated: "official #6", "PEFT #1838", "PEFT MetaMathQA"."""
        whose = "PEFT" if "/huggingface/peft/" in self.source else "official"
        last = self.source.rsplit("/", 1)[-1]
        return f"{whose} {'#' * last.isdigit()}{last}"


# The file of results/paper, and the key in it.
FILES: dict[type[Typed], tuple[str, str]] = {
    Share: ("table1_parameters", "shares"),
    Peak: ("gpu_memory", "rows"),
    Logs: ("official_logs", "rows"),
    Asked: ("open_questions", "questions"),
}


def agreement(printed: str, exact: Decimal, unit: int) -> str | None:
    """How `exact` agrees with the printed digits, in multiples of `unit`: "" if it rounds to them, "cut off" if it was
    truncated to them, None if neither."""
    digits = Decimal(printed)
    value, last = digits * unit, Decimal(1).scaleb(digits.as_tuple().exponent) * unit
    if abs(value - exact) <= last / 2:
        return ""
    return "cut off" if value < exact < value + last else None


def title(method: str, settings: dict[str, Any]) -> str:
    """The method and the settings that size it."""
    return f"{method} ({listed(settings)})" if settings else method


def listed(settings: dict[str, Any]) -> str:
    """Settings in one line."""
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def read_paper(folder: Path) -> dict[str, list[PaperRow]]:
    """The rows of every table in `TABLE_NAMES`, by its key. Raises UserError."""
    return {name: read_list(folder / f"{name}.yaml", "rows", PaperRow) for name in TABLE_NAMES}


def read_facts(kind: type[Typed], folder: Path) -> list[Typed]:
    """All items of a kind in FILES, in the order of the file. Raises UserError."""
    name, key = FILES[kind]
    return read_list(folder / f"{name}.yaml", key, kind)


def read_list(path: Path, key: str, kind: type[Typed]) -> list[Typed]:
    """The items under one key of a YAML file. Raises UserError: the file and what is wrong with it."""
    try:
        return TypeAdapter(list[kind]).validate_python(read_yaml(path)[key])
    except (ValidationError, KeyError) as error:
        wrong = faults(error) if isinstance(error, ValidationError) else f"{key}: missing"
        raise UserError(f"{path}: not a table of the paper ({wrong}); restore it from version control") from error
