"""The contestants of the bench, and their measurement on one case.

They are the frozen model, PEFT's LoRA and FourierFT, and this library in each of its modes.
"""

import copy
import gc
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

import fourierft.peft
from experiments import record
from experiments.measure import memory
from experiments.measure.bench import BASELINE, GRID, LORA, NOISE, OURS, PEFT, Bench, Entry, Mix
from experiments.measure.mixed import Mixed
from experiments.measure.serving import CONTESTANTS as SERVING
from experiments.measure.serving import Serving
from experiments.measure.timed import device_of
from experiments.measure.timing import busyness, interleave
from experiments.measure.workloads import SETS, Case, Work

SCALE, SEED, R = 150.0, 2024, 8
MODES = {
    OURS: {},
    "fourierft_keep": {"memory": "keep"},
    "fourierft_product": {"gradient": "fft"},
    "fourierft_tokens": {"gradient": "tokens"},
    "fourierft_fft": {"forward": "fft"},
    "fourierft_kernel": {"forward": "kernel"},
    "fourierft_branch": {"forward": "tokens"},
    "fourierft_torch": {"compiled": False},  # as without a C compiler
}
Adapt = Callable[[nn.Module, Case], nn.Module]


def frozen(model: nn.Module, case: Case) -> nn.Module:
    return model.requires_grad_(False)


def by_peft(kind: str, **settings) -> Adapt:
    """PEFT's method with this class of configuration."""

    def adapt(model: nn.Module, case: Case) -> nn.Module:
        import peft

        # PEFT cannot adapt part of a fused projection.
        targets = [fourierft.split_target(target)[0] for target in case.targets]
        more = {"n_frequency": case.n} if kind == "FourierFTConfig" else {}
        return peft.get_peft_model(model, getattr(peft, kind)(target_modules=targets, **settings, **more))

    return adapt


def ours(mode: dict[str, str | bool], entries: str = "random") -> Adapt:
    """This library in a mode of `fourierft.use`."""

    def adapt(model: nn.Module, case: Case) -> nn.Module:
        n = case.grid if entries == "grid" else case.n
        config = fourierft.FourierConfig(n=n, scale=SCALE, entry_seed=SEED, targets=case.targets, entries=entries)
        fourierft.adapt(model, config)
        fourierft.use(model, **mode)
        return model

    return adapt


@contextmanager
def installed() -> Iterator[None]:
    """A context in which PEFT's FourierFT layers run on this library."""
    fourierft.peft.install()
    try:
        yield
    finally:
        fourierft.peft.uninstall()


_peft_fourierft = by_peft("FourierFTConfig", scaling=SCALE, random_loc_seed=SEED)
CONTESTANTS: dict[str, Adapt] = {
    BASELINE: frozen,
    NOISE: frozen,
    LORA: by_peft("LoraConfig", r=R),
    "peft_lora_r1": by_peft("LoraConfig", r=1),
    PEFT: _peft_fourierft,
    "peft_fourierft_installed": _peft_fourierft,
    **{name: ours(mode) for name, mode in MODES.items()},
    GRID: ours({}, entries="grid"),
}
AROUND = {"peft_fourierft_installed": installed}  # around each step: it changes PEFT's classes everywhere
CUDA_ONLY, CPU_ONLY = {"fourierft_kernel"}, {"fourierft_torch"}
COMPILED = BASELINE, NOISE, LORA, PEFT, OURS, GRID  # the contestants on a compiled model


def contestants(case: Case, device: str) -> list[str]:
    """The names of the contestants on this case and device."""
    if isinstance(case, Mixed):
        return list(SERVING)
    others = CPU_ONLY if device == "cuda" else CUDA_ONLY
    return [name for name in CONTESTANTS if name not in others and (name in COMPILED or not case.compiled)]


class Contestant:
    """An adapted model, which shares the frozen weights in `work` with all others, and its training step."""

    def __init__(self, name: str, case: Case, work: Work) -> None:
        base, self._forward, self._gradient = work
        shared = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
        self._model = CONTESTANTS[name](copy.deepcopy(base, shared), case)
        self._trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        self._optimizer = case.optimizer(self._trained) if case.optimizer and self._trained else None
        if case.compiled:
            self._model.compile()
        self._around = AROUND.get(name, nullcontext)
        self._device = next(base.parameters()).device.type

    def step(self) -> None:
        """Forward, backward and, if the case has an optimizer, an update; returns when the device is done."""
        with self._around():
            self._forward(self._model).backward(self._gradient)
        if self._optimizer:
            self._optimizer.step()
        for parameter in self._trained:
            parameter.grad = None
        if self._device == "cuda":
            torch.cuda.synchronize()

    def spent(self) -> dict[str, int]:
        """What a step takes besides seconds."""
        return {"saved_bytes": self.saved_bytes()}

    def saved_bytes(self) -> int:
        """Bytes that a forward pass saves for the backward pass, without parameters."""
        with self._around():
            return memory.saved_for_backward(self._model, lambda: self._forward(self._model))

    def peak_bytes(self) -> int | None:
        """Peak bytes of a step on the GPU, of all contestants together; None without a GPU."""
        return memory.peak_of(self.step, self._device)


def make(name: str, case: Case, work: Work) -> Contestant | Serving:
    """A contestant of this case."""
    return (Serving if isinstance(case, Mixed) else Contestant)(name, case, work)


def prepare(name: str, case: Case, work: Work, others: int) -> tuple[Callable[[], None], dict[str, Any]]:
    """The step of a contestant, and what it takes, where the other contestants hold `others` bytes on the GPU."""
    contestant = make(name, case, work)
    spent, peak = contestant.spent(), contestant.peak_bytes()
    return contestant.step, spent | {"peak_bytes": None if peak is None else peak - others}


def run(chosen: str, name: str, rounds: int, until: float) -> Bench:
    """Measure one case of the set `chosen`; see `measure`. Raises UserError if its device is missing."""
    case, device = SETS[chosen][name], device_of(chosen)
    torch.manual_seed(0)
    known, others = record.circumstances(device), busyness()
    if isinstance(case, Mixed):
        about = {
            "mix": Mix(phase=case.phase, adapters=case.adapters, tokens=case.tokens),
            "settings": {"n": case.n, "rows": case.rows, "length": case.length},
        }
    else:
        settings = {"n": case.n, "grid": case.grid, "scale": SCALE, "entry_seed": SEED, "r": R}
        about = {"x_bytes": case.x_bytes, "settings": settings}
    return Bench(
        set=chosen,
        case=name,
        description=case.description,
        **about,
        contestants=measure(case, device, rounds, until),
        others=others(),
        threads=torch.get_num_threads(),
        **known,
        ended=record.now(),
    )


def measure(case: Case, device: str, rounds: int, until: float) -> dict[str, Entry]:
    """The entries of all contestants on one case; one that fails does not affect the others.

    Times `rounds` interleaved rounds, fewer once `time.perf_counter()` passes `until`.
    """
    names = contestants(case, device)
    steps, spent, ended = {}, {}, {}

    def leave(name: str, error: Exception) -> None:
        ended[name] = failure(name, error)

    try:
        work = case.build(device)
        work[0].requires_grad_(False)
        make(BASELINE, case, work).step()  # what the first step allocates for good belongs to no contestant
    except Exception as error:
        return dict.fromkeys(names, failure("every contestant", error))
    floor = _allocated(device)
    for name in names:
        others = _allocated(device) - floor
        try:
            steps[name], spent[name] = prepare(name, case, work, others)
        except Exception as error:
            leave(name, error)
    seconds = interleave(steps, rounds, leave, until)
    return {name: ended.get(name) or Entry(status="ok", seconds=seconds[name], **spent[name]) for name in names}


def failure(name: str, error: Exception) -> Entry:
    """The entry of a contestant that raised; prints the traceback unless memory ran out."""
    entry = Entry.ended(error)
    if entry.status == "failed":
        print(f"bench: {name} failed", file=sys.stderr)
        traceback.print_exception(error)
    return entry


def _allocated(device: str) -> int:
    if device != "cuda":
        return 0
    gc.collect()  # free the memory of contestants that failed
    return torch.cuda.memory_allocated()
