"""The rank of FourierFT's delta_W before any training: given by coefficients from N(0, 1) at random positions.

Each coefficient adds one cosine, a matrix of rank at most 2, so min(2 n, d) bounds the rank; positions that share a row
or a column keep it below. Measured for every setting with a trained delta_W in the study, and for the paper's model
for each n. The scale is a factor of all singular values and moves no rank.
"""

from collections.abc import Iterable
from pathlib import Path

from pydantic import JsonValue

import fourierft
from experiments import record
from experiments.measure import rank
from experiments.record import Document, MatrixRank, Rank, Record, Time

WIDTH = 768  # of RoBERTa-base
SIZES = (50, 100, 200, 500, 1000, 2000, 3000, 6144, 12288)
PAPERS = {"scale": 150.0, "entry_seed": 2024, "init": "normal", "shared_entries": True}
DRAWS, SEED = 3, 0  # of the coefficients, the positions as the settings say

Settings = dict[str, JsonValue]  # of FourierConfig, the targets apart


class Construction(Document):
    """Some draws of the initial delta_W, (out, in): new coefficients each time, the same positions."""

    settings: Settings
    shape: list[int]
    rank: Rank
    versions: dict[str, str]
    commit: str | None = None
    dirty: bool | None = None
    ended: Time

    @property
    def place(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{size}_n{self.settings.get('n')}-{_key(self.settings, self.shape)}.json"


class Constructions:
    """The constructions in a folder, one per file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found = {_key(one.settings, one.shape): one for one in record.find(folder, Construction)}

    def complete(self, records: Iterable[Record]) -> None:
        """Measure what is missing: the start of each FourierFT run in `records`, and the paper's model for each n."""
        wanted = [(settings, shape) for run in records for settings, shape in starts(run)]
        for settings, shape in wanted + [({**PAPERS, "n": n}, [WIDTH, WIDTH]) for n in SIZES]:
            key = _key(settings, shape)
            if key not in self._found:
                self._found[key] = found = measure(settings, shape)
                if (path := self.folder / found.place).exists():
                    record.read(path, Construction)  # it was left out: says why
                record.write(found, path)

    def before(self, runs: Iterable[Record]) -> list[MatrixRank]:
        """The measured matrices that FourierFT runs started from, each once."""
        keys = dict.fromkeys(_key(settings, shape) for run in runs for settings, shape in starts(run))
        return [matrix for key in keys if key in self._found for matrix in self._found[key].rank.matrices]

    def curve(self) -> dict[int, Rank]:
        """n -> the ranks at the paper's width, sorted by n."""
        keys = {n: _key({**PAPERS, "n": n}, [WIDTH, WIDTH]) for n in SIZES}
        return {n: self._found[key].rank for n, key in keys.items() if key in self._found}


def starts(run: Record) -> list[tuple[Settings, list[int]]]:
    """The settings of a FourierFT run, with each shape of its matrices; empty for other methods."""
    if run.method != "fourierft" or run.rank is None:
        return []
    settings = {name: value for name, value in run.config["method"].items() if name != "name"}
    shapes = dict.fromkeys(tuple(matrix.shape) for matrix in run.rank.matrices)
    return [(settings, list(shape)) for shape in shapes]


def measure(settings: Settings, shape: list[int]) -> Construction:
    """Measure with the library, on one fresh layer per draw. Raises FourierError for settings that do not fit."""
    import torch
    from torch import nn

    names = [f"draw_{draw}" for draw in range(DRAWS)]
    model = nn.ModuleDict({name: nn.Linear(shape[1], shape[0], bias=False) for name in names})
    # Zero at first: these layers' own weights mean nothing, and adapt would warn that delta_W is large beside them.
    fourierft.adapt(model, fourierft.FourierConfig(**settings | {"init": "zeros"}, targets=tuple(names)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for layer in model.values():
            layer.reset_spectrum(settings["init"])
    return Construction(
        settings=settings,
        shape=shape,
        rank=rank.summarise((name, model[name].delta_weight()) for name in names),
        **record.provenance(),
        ended=record.now(),
    )


def _key(settings: Settings, shape: list[int]) -> str:
    return record.config_hash({"settings": settings, "shape": list(shape)})
