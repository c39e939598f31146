"""The contestants of a bank, and what each of them holds and does to serve a batch of mixed rows."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import fourierft
from experiments.measure import memory
from experiments.measure.bench import BASELINE, Served
from experiments.measure.mixed import Forward, Mixed
from fourierft.document import to_document
from fourierft.io import spectrum_key
from fourierft.packed import write_packed
from fourierft.shelf import Shelf

SEED = 2024  # the seed of the coefficients


@dataclass(frozen=True)
class Held:
    """A model that serves the rows of a step by the names of their adapters, and bytes.

    each: of an adapter, on the device, and `count` of them are there. disk: of the files of all. extra: on the device,
    beyond the adapters and the frozen model; asked for after a step. passes: how often a step reads all weights.
    """

    serve: Callable[[Sequence[str]], object]
    each: int = 0
    count: int = 0
    disk: int = 0
    extra: Callable[[], int] = int
    passes: int = 1


def frozen(model: nn.Module, case: Mixed, forward: Forward, folder: Path) -> Held:
    """The base model alone."""
    return Held(lambda names: forward(model))


def merged(model: nn.Module, case: Mixed, forward: Forward, folder: Path) -> Held:
    """One adapter, merged, for all rows: what it costs to have no choice."""
    fourierft.adapt(model, case.adapter("random"))
    layers = list(fourierft.fourier_layers(model).values())
    for layer in layers:
        layer.reset_spectrum("normal")
        layer.merge()
    return Held(lambda names: forward(model), extra=lambda: sum(layer.weight.nbytes for layer in layers))


def bank(entries: str) -> Callable[..., Held]:
    """A bank, with all adapters on the device."""

    def hold(model: nn.Module, case: Mixed, forward: Forward, folder: Path) -> Held:
        file = packed(model, case, entries, folder)
        made = fourierft.Bank.over(model, file, capacity=case.adapters, dtype=case.stored)
        with made.rows(made.names):  # reads them all
            pass

        lines = case.adapters + 1  # one for rows without an adapter
        each = made.nbytes // lines

        def serve(names: Sequence[str]) -> object:
            with made.rows(names):
                return forward(model)

        def extra() -> int:
            return case.rows * each + _tables(model)

        return Held(serve, each, lines, file.stat().st_size, extra)

    return hold


def lora(r: int) -> Callable[..., Held]:
    """PEFT's LoRA with a name for each row, all adapters in its model."""

    def hold(model: nn.Module, case: Mixed, forward: Forward, folder: Path) -> Held:
        import peft

        config = peft.LoraConfig(r=r, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        first, *others = map(str, range(case.adapters))
        adapted = peft.get_peft_model(model, config, adapter_name=first, autocast_adapter_dtype=False)
        adapted.eval().save_pretrained(folder, save_embedding_layers=False)
        disk = sum(file.stat().st_size for file in folder.rglob("adapter_*"))
        layers = [layer for layer in adapted.modules() if isinstance(layer, peft.tuners.lora.LoraLayer)]
        for layer in layers:
            _more(layer, first, others)
        parts = [part for layer in layers for part in (layer.lora_A, layer.lora_B)]
        each = sum(part[first].weight.nbytes for part in parts)
        count = min(map(len, parts))
        return Held(lambda names: forward(adapted, adapter_names=names), each, count, disk * count)

    return hold


def reloaded(model: nn.Module, case: Mixed, forward: Forward, folder: Path) -> Held:
    """One adapter after the other: read from the file, and its rows computed; the way without mixed batches."""
    file = packed(model, case, "random", folder)
    shelf = Shelf(model, case.adapter("random"))
    shelf.add_all(file)
    fourierft.adapt(model, case.adapter("random"))
    layers = {spectrum_key(path): layer for path, layer in fourierft.fourier_layers(model).items()}

    @torch.no_grad()
    def serve(names: Sequence[str]) -> None:
        for name in dict.fromkeys(names):
            parts = shelf.row(name).split([shape[0] for shape in shelf.shapes.values()])
            for key, part in zip(shelf.shapes, parts, strict=True):
                layers[key].fourierft_spectrum.copy_(part)
            forward(model, case.rows // case.distinct)

    each = sum(layer.fourierft_spectrum.nbytes for layer in layers.values())
    return Held(serve, each, 1, file.stat().st_size, partial(_tables, model), case.distinct)


CONTESTANTS: dict[str, Callable[..., Held]] = {
    BASELINE: frozen,
    "merged": merged,
    "bank": bank("random"),
    "bank_grid": bank("grid"),
    "lora_r8": lora(8),
    "lora_r16": lora(16),
    "reloaded": reloaded,
}


class Serving:
    """A contestant, which shares the frozen weights in `work` with all others, and its step."""

    def __init__(self, name: str, case: Mixed, work: tuple[nn.Module, Forward, None]) -> None:
        base, forward, _ = work
        shared = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
        self._folder = TemporaryDirectory()  # lives as long as this: files are mapped
        self._held = CONTESTANTS[name](copy.deepcopy(base, shared), case, forward, Path(self._folder.name))
        self._names = map(case.named, count())
        self._device = next(base.parameters()).device.type
        embeddings = base.get_input_embeddings().weight.nbytes  # of which a step reads a few rows
        weights = sum(parameter.nbytes for parameter in base.parameters()) - embeddings
        self._read = self._held.passes * weights + case.distinct * self._held.each

    def step(self) -> None:
        """Compute the rows of the next names; returns when the device is done."""
        self._held.serve(next(self._names))
        if self._device == "cuda":
            torch.cuda.synchronize()

    def spent(self) -> dict[str, Any]:
        """What a step takes besides seconds, counted."""
        self.step()
        with FlopCounterMode(display=False) as arithmetic, Operations() as calls:
            self.step()
        held, flops = self._held, arithmetic.get_total_flops()
        return {
            "served": Served(
                adapter_bytes=held.each * held.count,
                disk_bytes=held.disk,
                extra_bytes=held.extra(),
                read_bytes=self._read,
                operations=calls.count,
                flops=flops,
            )
        }

    def peak_bytes(self) -> int | None:
        """Peak bytes of a step on the GPU, of all contestants together; None without a GPU."""
        return memory.peak_of(self.step, self._device)


class Operations(TorchDispatchMode):
    """Counts the operations of torch that are called within it."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.count += 1
        return function(*args, **kwargs or {})


def packed(model: nn.Module, case: Mixed, entries: str, folder: Path) -> Path:
    """A file of all adapters of the case, named "0", "1", ..., with random coefficients."""
    shelf, names = Shelf(model, case.adapter(entries)), list(map(str, range(case.adapters)))
    numbers = sum(torch.Size(shape).numel() for shape in shelf.shapes.values())
    random = torch.Generator().manual_seed(SEED)
    rows = (torch.randn(numbers, generator=random) for _ in names)
    document = to_document(shelf.config, False, type(model))
    write_packed(folder / "adapters", names, rows, torch.float32, shelf.shapes, document)
    return folder / "adapters"


def _more(layer: Any, first: str, others: Sequence[str]) -> None:
    """Adapters like the first, with random matrices of their own, in a LoRA layer of PEFT.

    As `add_adapter` leaves them, which goes through all modules of the model, and so through all adapters, each time.
    """
    for key in (*layer.adapter_layer_names, *layer.other_param_names):
        held = getattr(layer, key)
        if first not in held:
            continue
        like = held[first]
        for name in others:
            if isinstance(like, nn.Linear):
                where = {"device": like.weight.device, "dtype": like.weight.dtype}
                held[name] = nn.Linear(like.in_features, like.out_features, bias=False, **where)
            else:
                held[name] = like


def _tables(model: nn.Module) -> int:
    """Bytes of the tables of the positions, which layers share."""
    plans = {id(layer.plan): layer.plan for layer in fourierft.fourier_layers(model).values()}
    values = [value for plan in plans.values() for value in (*vars(plan).values(), *sum(plan.tables.values(), ()))]
    return sum(value.nbytes for value in values if isinstance(value, torch.Tensor))
