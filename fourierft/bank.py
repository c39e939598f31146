"""Many adapters over one frozen model: each row of a batch has its own, all in one forward pass.

The adapters have their positions in common, so that a layer multiplies a batch by the same tables and only the n
coefficients differ from row to row: with a grid (`grid.py`) two products of all rows and a core of each; with random
positions (`tokens.py`) a spectrum of each row, weighted by the coefficients of that row. What does not fit the device
is read from the disk (`shelf.py`) when it is named, in the place of what was named least recently.
"""

import copy
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .config import FourierConfig
from .entries import is_int
from .errors import FourierError, require
from .io import PREFIX, spectrum_key
from .model import fourier_layers, replace_layers
from .shelf import Progress, Shelf, config_of_source

DTYPES = (None, torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Bank(Shelf):
    """Adapters of one configuration over a model, for inference.

        bank = fourierft.Bank.over(model, "adapters/")  # a folder of the folders of adapters, or a packed file
        with bank.rows(["anna", "ben", None, "anna"]):
            model.generate(**batch)  # row by row with that adapter; None: the model itself

    Outside of `rows` the model computes what it did before. It is frozen, and its targeted layers are replaced, see
    `adapt`; the rows of the batch have to be the first dimension of what these and the heads get. Move the model to its
    device first.

    config: that of all adapters; a head is whatever module maps one tensor to one. capacity: how many adapters the
    device holds at most; None: all that are named. dtype: of the numbers held there; None: float32 (float64 if the
    model is); float16 halves their memory, for a relative error of 5e-4 in delta_W.
    `add`, `add_all`, `remove`, `names`, `save` and `pack` are those of `Shelf`; raises what it raises, and FourierError
    for a capacity or dtype that is not possible.
    """

    def __init__(
        self, model: nn.Module, config: FourierConfig, capacity: int | None = None, dtype: torch.dtype | None = None
    ) -> None:
        whole = capacity is None or (is_int(capacity) and capacity >= 1)
        require(whole, "capacity", capacity, "an integer of at least 1, or None")
        require(dtype in DTYPES, "dtype", dtype, "torch.float32, float64, bfloat16 or float16, or None")
        super().__init__(model, config)
        self.capacity = capacity
        model.requires_grad_(False)
        replace_layers(model, self.config, self._layers)
        for path, layer in fourier_layers(model).items():
            spectrum = layer.fourierft_spectrum.detach()
            del layer.fourierft_spectrum
            layer.register_buffer("fourierft_spectrum", spectrum, persistent=False)  # state dicts are the plain model's
            layer.of_rows = partial(self._of_rows, spectrum_key(path))
        for path, head in self._heads.items():
            head.register_forward_hook(partial(self._head, path, copy.deepcopy(head).eval()))

        # The first row is the model's own: no change, and its heads.
        base = [spectrum.new_zeros(sum(self._sizes[: len(self._spectra)]))]
        base += [tensor.detach().flatten().to(base[0]) for tensor in self._head_tensors.values()]
        own = torch.cat(base)[None].to(dtype or spectrum.dtype)
        with torch.inference_mode(False):
            self._table = torch.cat([own, own.new_zeros(capacity or 0, own.shape[1])])
        self._slots: OrderedDict[str, int] = OrderedDict()  # rows of the table, the least recently named first
        self._free = list(range(len(self._table) - 1, 0, -1))
        self._current: dict[str, Tensor] = {}  # (rows, *shape) by key, inside of `rows`
        self._inside: list[int] = []  # the thread that is inside of `rows`, then those to be refused

    @classmethod
    def over(
        cls,
        model: nn.Module,
        source: str | os.PathLike,
        capacity: int | None = None,
        dtype: torch.dtype | None = None,
        progress: Progress = iter,
    ) -> "Bank":
        """A bank of all adapters in `source`, see `add_all`, with the configuration of the first.

        Errors leave the model unchanged.
        """
        shelf = Shelf(model, config_of_source(model, Path(source)))
        shelf.add_all(source, progress)
        bank = cls(model, shelf.config, capacity, dtype)
        bank._sources = shelf._sources
        return bank

    @property
    def held(self) -> tuple[str, ...]:
        """The names of the adapters that are on the device, the least recently named first."""
        return tuple(self._slots)

    @property
    def nbytes(self) -> int:
        """Bytes on the device for adapters, held and to come."""
        return self._table.nbytes

    def remove(self, name: str) -> None:
        super().remove(name)
        if name in self._slots:
            self._free.append(self._slots.pop(name))

    @contextmanager
    def rows(self, names: Sequence[str | None]) -> Iterator[None]:
        """Within it each row of a batch has the adapter of its name, or none.

        Where a batch has k times as many rows as there are names, each name stands for k rows in succession, as
        `generate` repeats them for its beams. One thread at a time may be inside; the names are for the model in
        whichever thread it then runs. Raises FourierError for an unknown name, for more adapters than the capacity, for
        one that cannot be read, while another thread is inside, and from the layers for a batch that does not fit.
        """
        listed = not isinstance(names, str) and len(names) > 0
        require(listed, "names", names, 'a list with a name or None for each row, e.g. ["anna", None]')
        thread = threading.get_ident()
        enters = thread not in self._inside
        if enters:
            self._inside.append(thread)  # before looking who is first: of two at once, one is
        try:
            if self._inside[0] != thread:
                raise FourierError(
                    "another thread is inside of `rows`, and its rows would get these adapters: put both into one "
                    "batch, or a lock around `rows`"
                )
            before, self._current = self._current, self._gather(names)
            try:
                yield
            finally:
                self._current = before
        finally:
            if enters:
                self._inside.remove(thread)

    def _gather(self, names: Sequence[str | None]) -> dict[str, Tensor]:
        wanted = list(dict.fromkeys(name for name in names if name is not None))
        if not wanted:
            return {}
        if self.capacity is not None and len(wanted) > self.capacity:
            raise FourierError(
                f"{len(wanted)} adapters are named at once, {', '.join(wanted[:3])}, ..., but capacity="
                f"{self.capacity}: make a bank of a larger capacity, or smaller batches"
            )
        for name in wanted:
            self._source(name)
        self._hold(wanted)
        slots = [0 if name is None else self._slots[name] for name in names]
        rows = self._table[_indices(slots, self._table)]
        parts = zip(self.shapes.items(), rows.split(self._sizes, dim=1), strict=True)
        return {key: part.unflatten(1, shape) for (key, shape), part in parts}

    @torch.inference_mode(False)  # a table made in inference mode could not be written to outside of it
    def _hold(self, wanted: list[str]) -> None:
        """Puts the adapters that are not there yet into the table. A name is held once its numbers are there."""
        missing = [name for name in wanted if name not in self._slots]
        rows = [self.row(name) for name in missing]  # may raise: before anything changes
        if self.capacity is None and (short := len(missing) - len(self._free)) > 0:
            before, more = len(self._table), max(short, len(self._table))
            self._table = torch.cat([self._table, self._table.new_zeros(more, self._table.shape[1])])
            self._free += range(before + more - 1, before - 1, -1)
        for name in wanted:
            if name in self._slots:
                self._slots.move_to_end(name)
        while len(self._free) < len(missing):
            self._free.append(self._slots.popitem(last=False)[1])
        if missing:
            slots = self._free[-len(missing) :]
            self._table[_indices(slots, self._table)] = torch.stack(rows).to(self._table)
            del self._free[-len(missing) :]
            self._slots.update(zip(missing, slots, strict=True))

    def _of_rows(self, key: str, x: Tensor) -> Tensor | None:
        """The tensors of this key of the rows of x, (rows, *shape); None outside of `rows`."""
        if not self._current:
            return None
        tensors = self._current[key]
        if x.dim() < 2 or len(x) % len(tensors):
            raise FourierError(
                f"{len(tensors)} names do not fit the batch: {key.removeprefix(PREFIX)} gets a tensor of shape "
                f"{tuple(x.shape)}; give a name, or None, for each row"
            )
        if x.requires_grad and torch.is_grad_enabled():
            raise FourierError("a bank does not train: load one adapter by fourierft.load, or use torch.no_grad()")
        return tensors.to(x.device)

    def _head(self, path: str, head: nn.Module, _: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor | None:
        """The output of a head, by the tensors of each row."""
        if not self._current:
            return None
        (x,) = args
        own = {
            name: self._of_rows(f"{PREFIX}{path}.{name}", x).to(tensor.dtype)  # type: ignore[union-attr]
            for name, tensor in head.state_dict().items()
        }
        rows = len(next(iter(own.values())))
        each = torch.func.vmap(partial(torch.func.functional_call, head))(own, x.unflatten(0, (rows, -1)))
        return each.flatten(0, 1)


def _indices(slots: list[int], table: Tensor) -> Tensor:
    return torch.tensor(slots, device=table.device)
