"""Time training steps and measure their memory: frozen, PEFT's LoRA and FourierFT, and this library in each mode.

    python -m scripts.bench [--set small|full|compiled] [--cases NAME,NAME] [--repeats 20] [--minutes 10] [--out FOLDER]

The small set runs on the CPU, the full one on a GPU; the compiled one, models by torch.compile, takes minutes to begin
with. All contestants share the frozen weights and take the same input, which requires a gradient: a time in units of
the frozen step's is the price of the adapter. A step is forward and backward and, of a whole model, AdamW over the
adapter. A case leaves OUT/<set>/<case>.json as soon as it is measured; another machine wants another OUT. `make tables`
renders them all. Where the frozen step itself varies by more than a tenth, or there was time for fewer than three
rounds, nothing was measured: the case says so, and never takes the place of one that was measured. Exit code 1 if a
contestant failed (running out of memory is a result), 2 if there is nothing to measure or no room to write.
"""

import argparse
import copy
import gc
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import nn

import fourierft.peft
from experiments import record
from experiments.errors import UserError
from experiments.measure import memory
from experiments.measure.timing import busyness, interleave
from experiments.measure.workloads import SETS, Layer, Model, Work
from experiments.report.speed import BASELINE, GRID, LORA, NOISE, OURS, Bench, Entry
from fourierft import split_target

DEVICES = {"small": "cpu", "full": "cuda", "compiled": "cpu"}
SCALE, SEED, R = 150.0, 2024, 8
MODES = {
    OURS: {},
    "fourierft_keep": {"memory": "keep"},
    "fourierft_product": {"gradient": "product"},
    "fourierft_tokens": {"gradient": "tokens"},
    "fourierft_fft": {"forward": "fft"},
    "fourierft_kernel": {"forward": "kernel"},
    "fourierft_branch": {"forward": "branch"},
    "fourierft_torch": {"compiled": False},  # as without a C compiler
}
Adapt = Callable[[nn.Module, Layer | Model], nn.Module]


def frozen(model: nn.Module, case: Layer | Model) -> nn.Module:
    return model.requires_grad_(False)


def peft_lora(r: int) -> Adapt:
    def adapt(model: nn.Module, case: Layer | Model) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        return get_peft_model(model, LoraConfig(r=r, target_modules=whole(case.targets)))

    return adapt


def peft_fourierft(model: nn.Module, case: Layer | Model) -> nn.Module:
    from peft import FourierFTConfig, get_peft_model

    targets = whole(case.targets)
    config = FourierFTConfig(n_frequency=case.n, scaling=SCALE, random_loc_seed=SEED, target_modules=targets)
    return get_peft_model(model, config)


def whole(targets: Sequence[str]) -> list[str]:
    """PEFT knows no parts of a fused projection."""
    return [split_target(target)[0] for target in targets]


def ours(mode: dict[str, str | bool], entries: str = "random") -> Adapt:
    """This library, in the given mode of `fourierft.use`."""

    def adapt(model: nn.Module, case: Layer | Model) -> nn.Module:
        n = case.grid if entries == "grid" else case.n
        config = fourierft.FourierConfig(n=n, scale=SCALE, entry_seed=SEED, targets=case.targets, entries=entries)
        fourierft.adapt(model, config)
        fourierft.use(model, **mode)
        return model

    return adapt


@contextmanager
def installed() -> Iterator[None]:
    """PEFT's FourierFT layers run on this library."""
    fourierft.peft.install()
    try:
        yield
    finally:
        fourierft.peft.uninstall()


CONTESTANTS: dict[str, Adapt] = {
    BASELINE: frozen,
    NOISE: frozen,
    LORA: peft_lora(R),
    "peft_lora_r1": peft_lora(1),
    "peft_fourierft": peft_fourierft,
    "peft_fourierft_installed": peft_fourierft,
    **{name: ours(mode) for name, mode in MODES.items()},
    GRID: ours({}, entries="grid"),
}
AROUND = {"peft_fourierft_installed": installed}  # a step, for it changes PEFT's classes in the whole process
CUDA_ONLY, CPU_ONLY = {"fourierft_kernel"}, {"fourierft_torch"}
COMPILED = BASELINE, NOISE, LORA, "peft_fourierft", OURS, GRID  # those that a compiled model is measured with


def contestants(case: Layer | Model, device: str) -> list[str]:
    """Who takes part."""
    others = CPU_ONLY if device == "cuda" else CUDA_ONLY
    return [name for name in CONTESTANTS if name not in others and (name in COMPILED or not case.compiled)]


class Contestant:
    """A model that shares the frozen weights of `work` with all others, and its training step."""

    def __init__(self, name: str, case: Layer | Model, work: Work) -> None:
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
        """Forward, backward and, if the case has an optimizer, the update; returns when the device is done."""
        with self._around():
            self._forward(self._model).backward(self._gradient)
        if self._optimizer:
            self._optimizer.step()
        for parameter in self._trained:
            parameter.grad = None
        if self._device == "cuda":
            torch.cuda.synchronize()

    def saved_bytes(self) -> int:
        """What a forward pass keeps for the backward pass, parameters apart."""
        with self._around():
            return memory.saved_for_backward(self._model, lambda: self._forward(self._model))

    def peak_bytes(self) -> int | None:
        """The most that anyone has allocated on the GPU during a step; None without one. Takes two steps, for the first
        also makes the optimizer's state."""
        self.step()
        memory.start_peak(self._device)
        self.step()
        return memory.peak(self._device) if self._device == "cuda" else None


def prepare(
    name: str, case: Layer | Model, work: Work, others: int
) -> tuple[Callable[[], None], dict[str, int | None]]:
    """The step of a contestant that is ready to be timed, and its bytes, where others hold `others` on the GPU."""
    contestant = Contestant(name, case, work)
    saved, peak = contestant.saved_bytes(), contestant.peak_bytes()
    return contestant.step, {"saved_bytes": saved, "peak_bytes": None if peak is None else peak - others}


def measure(case: Layer | Model, device: str, rounds: int, until: float) -> dict[str, Entry]:
    """Every contestant on one case, by name; one that fails or runs out of memory leaves the others alone.

    `rounds` of interleaved timing, fewer if `time.perf_counter()` passes `until`.
    """
    names = contestants(case, device)
    steps, spent, ended = {}, {}, {}

    def leave(name: str, error: Exception) -> None:
        ended[name] = failure(name, error)

    try:
        work = case.build(device)
        work[0].requires_grad_(False)
        Contestant(BASELINE, case, work).step()  # what the first step allocates for good is no contestant's
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
    """The entry of a contestant that raised; prints where, unless memory ran out."""
    status = "oom" if memory.ran_out(error) else "failed"
    if status == "failed":
        print(f"bench: {name} failed", file=sys.stderr)
        traceback.print_exception(error)
    return Entry(status=status, error=f"{type(error).__name__}: {error}")


def bench(options: argparse.Namespace) -> bool:
    """Measure and write the chosen cases; whether no contestant failed. Raises UserError."""
    device, cases = DEVICES[options.set], SETS[options.set]
    chosen = options.cases.split(",") if options.cases else list(cases)
    if unknown := [name for name in chosen if name not in cases]:
        raise UserError(f"no case {', '.join(unknown)} in the {options.set} set; it has: {', '.join(cases)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(f"the {options.set} set needs a CUDA device, and torch sees none; --set small runs on the CPU")
    end, well = time.perf_counter() + 60 * options.minutes, True
    for place, name in enumerate(chosen):
        gc.collect()  # the case before
        left = max(end - time.perf_counter(), 0.0) / (len(chosen) - place)
        result = run(options.set, name, options.repeats, time.perf_counter() + left)
        keep(result, options.out / result.place)
        well &= all(entry.status != "failed" for entry in result.contestants.values())
    return well


def run(chosen: str, name: str, rounds: int, until: float) -> Bench:
    """Measure and print one case of the set `chosen`."""
    case, device, started = SETS[chosen][name], DEVICES[chosen], record.now()
    print(f"{name}: {case.description}", flush=True)
    torch.manual_seed(0)
    others = busyness()
    entries = measure(case, device, rounds, until)
    result = Bench(
        set=chosen,
        case=name,
        description=case.description,
        x_bytes=case.x_bytes,
        settings={"n": case.n, "grid": case.grid, "scale": SCALE, "entry_seed": SEED, "r": R},
        contestants=entries,
        others=others(),
        threads=torch.get_num_threads(),
        hardware=record.hardware(device),
        **record.provenance(),
        started=started,
        ended=record.now(),
    )
    for contestant in entries:
        print(f"  {contestant:25} {result.cell(contestant)}", flush=True)
    print(f"  {result.noise}", flush=True)
    return result


def keep(result: Bench, path: Path) -> None:
    """Writes the result, unless it is no measurement and would take the place of one."""
    if not result.steady and path.exists() and record.read(path, Bench).steady:
        print(f"  not written: {path} holds a measurement")
    else:
        record.write(result, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "full" if torch.cuda.is_available() else "small"
    parser.add_argument("--set", choices=list(SETS), default=default, help="default here: %(default)s")
    parser.add_argument("--cases", metavar="NAME,NAME", help="some cases of the set; default: all")
    parser.add_argument("--repeats", type=int, default=20, help="timed rounds of each case (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="for all cases: fewer rounds rather than longer")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: give 1 or more")
    try:
        return 0 if bench(options) else 1
    except UserError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def _allocated(device: str) -> int:
    if device != "cuda":
        return 0
    gc.collect()  # a contestant that left holds nothing
    return torch.cuda.memory_allocated()


if __name__ == "__main__":
    sys.exit(main())
