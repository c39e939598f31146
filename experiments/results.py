"""The folders below results/."""

from dataclasses import dataclass
from pathlib import Path

FOLDERS = {  # name -> what it holds
    "paper": "the paper's numbers",
    "records": "records of runs",
    "judged": "records of runs with the scores of a judge",
    "studies": "records of studies",
    "search": "searches for hyper-parameters",
    "parameters": "exact counts of parameters",
    "bench": "timings of training steps",
    "micro": "timings of a step's operations",
    "tables": "tables of all these; their index goes to the parent folder",
    "figures": "figures of all these",
}


@dataclass(frozen=True)
class Results:
    """`Results()["records"]` is a folder of FOLDERS below `root`, by default results/ where a command runs."""

    root: Path = Path("results")

    def __getitem__(self, name: str) -> Path:
        if name not in FOLDERS:
            raise KeyError(name)
        return self.root / name
