"""Timing in interleaved rounds: every step runs once per round, so that a busy machine affects all alike."""

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import psutil

SEED = 0  # of the orders of steps


class Quartiles(NamedTuple):
    """The lower quartile, the median and the upper quartile."""

    low: float
    median: float
    high: float


def interleave(
    steps: Mapping[str, Callable[[], object]],
    rounds: int,
    leave: Callable[[str, Exception], None],
    until: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """The seconds of every step, by name, one value per round.

    After a warm-up round that is not counted come `rounds` rounds, each in a new random order, so that no step always
    follows the same one. No round but the first begins after `until` on the clock. A step must wait for its device
    before it returns. A step that raises is passed to `leave(name, error)` and left out of the result.
    """
    order, seconds, shuffle = list(steps), {name: [] for name in steps}, random.Random(SEED).shuffle
    collecting = gc.isenabled()
    gc.disable()  # a collection would be counted in some step: collect before each round instead,
    gc.freeze()  # and only what the rounds themselves allocate
    try:
        for done in range(-1, rounds):
            if done > 0 and clock() >= until:
                break
            gc.collect()
            shuffle(order)
            for name in tuple(order):
                start = clock()
                try:
                    steps[name]()
                except Exception as error:
                    leave(name, error)
                    order.remove(name)
                    del seconds[name]
                else:
                    seconds[name] += [clock() - start] if done >= 0 else []
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()
    return seconds


def quartiles(values: Sequence[float]) -> Quartiles:
    """The quartiles of one value or more, interpolated linearly."""
    return Quartiles(*(statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3))


def ratios(seconds: Sequence[float], other: Sequence[float]) -> Quartiles:
    """The quartiles of `seconds` / `other`, round by round."""
    return quartiles([one / another for one, another in zip(seconds, other, strict=True)])


def busyness() -> Callable[[], float]:
    """A function that returns the share of all cores' time that other processes have used since this call."""
    process, started = psutil.Process(), time.perf_counter()

    def of_others() -> float:
        every, own = psutil.cpu_times(), process.cpu_times()
        return sum(every) - every.idle - getattr(every, "iowait", 0.0) - own.user - own.system

    before = of_others()

    def share() -> float:
        cores = (time.perf_counter() - started) * psutil.cpu_count()
        return round(min(max((of_others() - before) / cores, 0.0), 1.0), 3)

    return share
