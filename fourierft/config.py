"""The configuration of an adapter: how many coefficients, at which positions, in which modules."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from .entries import Band, Entries, is_finite, is_int
from .errors import FourierError, require
from .parts import matches, split_target


@dataclass(frozen=True)
class FourierConfig:
    """The configuration of an adapter; immutable. Raises FourierError, naming the field, for an invalid value.

    n: number of coefficients of each adapted matrix (paper: n; PEFT: n_frequency).
    scale: factor of delta_W (paper: alpha; PEFT: scaling), for the width, depth and n that it was found at; or "auto",
        by the rule of `scale.py`, with which a model's best learning rate hardly depends on n and the number of
        matrices, and that of most published recipes is near 0.1. `adapt` replaces "auto" by a number: that of the
        matrices with the smallest scale, where their shapes or n differ.
    targets: names of the modules to adapt. A name matches a module whose path is that name, or ends in it after a dot;
        a plain string is a regular expression that must match the whole path. Both are PEFT's rules for target_modules.
        A name may end in parts of a fused projection, "c_attn:q,v" or "attn.qkv:q,v": each is a matrix of its own.
        Or "all-linear", PEFT's name too: the layers that `all_linear` lists. `adapt` replaces it by their paths, so
        that the adapter's file names them, and every later load means the same ones.
    head: names, by the same suffix rule, of modules that are trained and saved in full (PEFT: modules_to_save).
        Modules inside a head are not adapted.
    entry_seed: seed of the positions of the coefficients. 2024 is the paper's, 777 is PEFT's default.
    init: "normal", c ~ N(0, 1), as in the paper, so that delta_W does not start at zero; or "zeros".
    band: None, or (center, width) in bins: draw the positions from the Gaussian band-pass of Equation 5.
    basis: "fourier", or another basis for comparison (`bases.py`): "random", "orthogonal" (both drawn from entry_seed),
        "dct", "hartley", "haar", "identity".
    entries: "random" positions, or a "grid", all pairs of some rows and some columns: as cheap as LoRA, but the rank of
        delta_W is at most about 2 sqrt(n) (`grid.py`). n must then have two factors roughly in the ratio out : in.
    shared_entries: True, as in the paper: matrices of one shape share their positions. False: the k-th adapted module,
        in the order of the model, uses entry_seed + k (parts of one module share their positions).
    n_pattern: other n for some modules, {key: n}, PEFT's n_frequency_pattern: a key is a module's path, or a regular
        expression for the end of its path after a dot. Every key must match an adapted module, and no two the same one.
        Kept as sorted pairs.
    task_type, base_model: recorded in adapter_config.json, for PEFT's AutoPeftModel; not used by this library. Without
        base_model `adapt` takes the model's `name_or_path`, what it was loaded from, as PEFT does.
    """

    n: int
    scale: float | Literal["auto"]
    targets: tuple[str, ...] | str
    head: tuple[str, ...] = ()
    entry_seed: int = 2024
    init: str = "normal"
    band: Band | None = None
    basis: str = "fourier"
    entries: str = "random"
    shared_entries: bool = True
    n_pattern: Mapping[str, int] | tuple[tuple[str, int], ...] = ()
    task_type: str | None = None
    base_model: str | None = None

    def __post_init__(self) -> None:
        # JSON and YAML give lists; tuples keep the configuration immutable and hashable.
        for field in ("targets", "head", "band"):
            if isinstance(getattr(self, field), list):
                object.__setattr__(self, field, tuple(getattr(self, field)))
        if isinstance(self.n_pattern, Mapping):
            object.__setattr__(self, "n_pattern", tuple(self.n_pattern.items()))
        try:
            self._validate()
            self._validate_pattern()
            self.entries_of(0, "")
        except FourierError as error:
            raise FourierError(f"FourierConfig: {error}") from None
        object.__setattr__(self, "n_pattern", tuple(sorted(self.n_pattern)))

    def parts_of(self, path: str) -> tuple[str, ...] | None:
        """The parts to adapt of the module at this path, in the order q, k, v; () for the whole module, None if no
        target matches it. Raises FourierError if targets with different parts match it.
        """
        if isinstance(self.targets, str):
            return () if re.fullmatch(self.targets, path) else None
        named = (split_target(target) for target in self.targets)
        meant = {parts for name, parts in named if matches(name, path)}
        if len(meant) > 1:
            raise FourierError(f"targets={self.targets!r} means {path} twice, with different parts: name it once")
        return next(iter(meant), None)

    def keys_of(self, path: str) -> list[str]:
        """The keys of `n_pattern` that match the module at this path."""
        return [key for key in dict(self.n_pattern) if key == path or _ending(key).match(path)]

    def n_of(self, path: str) -> int:
        """n of the module at this path. Raises FourierError if several keys of `n_pattern` match it."""
        keys = self.keys_of(path)
        if len(keys) > 1:
            raise FourierError(
                f"n_pattern: {keys[0]!r} and {keys[1]!r} both match {path}: let one key alone match each module"
            )
        return dict(self.n_pattern)[keys[0]] if keys else self.n

    def entries_of(self, k: int, path: str) -> Entries:
        """The entries of the module at this path, the k-th adapted one in the order of the model."""
        seed = self.entry_seed if self.shared_entries or not k else self.entry_seed + k
        return Entries(self.n_of(path), seed, self.band, self.basis, self.entries)

    def _validate(self) -> None:
        targets, head = self.targets, self.head
        number = self.scale == "auto" or (is_finite(self.scale) and self.scale > 0)
        require(number, "scale", self.scale, 'a finite number above 0, e.g. 150.0, or "auto"')
        if isinstance(targets, str):
            _check_expression("targets", targets, re.compile, "a tuple of module names")
        names = 'a tuple of module names, e.g. ("query", "value"), or a regular expression'
        require(bool(targets) and (isinstance(targets, str) or _are_names(targets)), "targets", targets, names)
        for target in () if isinstance(targets, str) else targets:
            name, parts = split_target(target)
            whole = bool(name) and target.count(":") <= 1 and bool(parts or ":" not in target)
            order = 'names, or names with parts in the order q, k, v, e.g. "c_attn:q,v"'
            require(whole, "targets", targets, order)
        require(_are_names(head), "head", head, 'a tuple of module names, e.g. ("classifier",), or () for none')
        require(self.init in ("normal", "zeros"), "init", self.init, '"normal" or "zeros"')
        require(isinstance(self.shared_entries, bool), "shared_entries", self.shared_entries, "True or False")
        for field in ("task_type", "base_model"):
            value = getattr(self, field)
            require(value is None or isinstance(value, str), field, value, "a string or None")

    def _validate_pattern(self) -> None:
        pattern = self.n_pattern
        pairs = isinstance(pattern, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in pattern)
        named = pairs and _are_names(tuple(pair[0] for pair in pattern)) and len(dict(pattern)) == len(pattern)
        require(named, "n_pattern", pattern, 'the names of modules with their n, e.g. {"query": 500, "value": 2000}')
        for key, n in dict(pattern).items():
            require(is_int(n) and n >= 1, f"n_pattern[{key!r}]", n, "an integer of at least 1, e.g. 1000")
            _check_expression("n_pattern", key, _ending, "the path of a module")


@functools.cache  # that of `re` is too small for the layers of a large model
def _ending(key: str) -> re.Pattern:
    """PEFT's expression for the key of a pattern."""
    return re.compile(rf".*\.{key}$")


def _check_expression(field: str, value: str, compiled: Callable[[str], re.Pattern], instead: str) -> None:
    try:
        compiled(value)
    except (re.error, OverflowError, RecursionError) as error:
        require(False, field, value, f"a valid regular expression ({error}) or {instead}")


def _are_names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) and name for name in value)
