"""The configuration of an adapter: how many coefficients, at which positions, in which modules."""

import re
from dataclasses import dataclass
from typing import Literal

from .entries import Band, Entries, is_finite
from .errors import FourierError, require
from .parts import matches, split_target


@dataclass(frozen=True)
class FourierConfig:
    """The configuration of an adapter; immutable. Raises FourierError, naming the field, for an invalid value.

    n: number of coefficients of each adapted matrix (paper: n; PEFT: n_frequency).
    scale: factor of delta_W (paper: alpha; PEFT: scaling), for the width, depth and n that it was found at; or "auto",
        by the rule of `scale.py`, with which a learning rate near 0.1 suits all of them. `adapt` replaces "auto" by a
        number: that of the matrices with the smallest scale, where their shapes or n differ.
    targets: names of the modules to adapt. A name matches a module whose path is that name, or ends in it after a dot;
        a plain string is a regular expression that must match the whole path. Both are PEFT's rules for target_modules.
        A name may end in parts of a fused projection, "c_attn:q,v" or "attn.qkv:q,v": each is a matrix of its own.
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
    task_type, base_model: recorded in adapter_config.json for PEFT; not used by this library.
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
    task_type: str | None = None
    base_model: str | None = None

    def __post_init__(self) -> None:
        # JSON and YAML give lists; tuples keep the configuration immutable and hashable.
        for field in ("targets", "head", "band"):
            if isinstance(getattr(self, field), list):
                object.__setattr__(self, field, tuple(getattr(self, field)))
        try:
            self.entries_of(0)
            self._validate()
        except FourierError as error:
            raise FourierError(f"FourierConfig: {error}") from None

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

    def entries_of(self, k: int) -> Entries:
        """The entries of the k-th adapted module in the order of the model."""
        seed = self.entry_seed if self.shared_entries or not k else self.entry_seed + k
        return Entries(self.n, seed, self.band, self.basis, self.entries)

    def _validate(self) -> None:
        targets, head = self.targets, self.head
        number = self.scale == "auto" or (is_finite(self.scale) and self.scale > 0)
        require(number, "scale", self.scale, 'a finite number above 0, e.g. 150.0, or "auto"')
        if isinstance(targets, str):
            try:
                re.compile(targets)
            except (re.error, OverflowError, RecursionError) as error:
                require(False, "targets", targets, f"a valid regular expression ({error}) or a tuple of module names")
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


def _are_names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) and name for name in value)
