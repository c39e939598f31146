"""What one FourierFT adapter is: how many coefficients, where they stand, and in which modules. Validated when made."""

import re
import sys
from dataclasses import dataclass

from .bases import misfit
from .errors import FourierError

# A fused projection is q, k and v one below the other, each as high as the input is wide.
PARTS = ("q", "k", "v")


@dataclass(frozen=True)
class FourierConfig:
    """The configuration of an adapter; immutable. Raises FourierError, naming the field, for a value that cannot work.

    n: coefficients of each adapted matrix (paper: n; PEFT: n_frequency).
    scale: the factor of delta_W (paper: alpha; PEFT: scaling). It does not carry over between widths: keep
        scale / (out * in) in mind.
    targets: names of the modules to adapt. A module is meant by a name that equals its path or ends it after a dot;
        a plain string is a regular expression that must match the whole path. Both are PEFT's rules for target_modules.
        A name may end in parts of a fused projection, "c_attn:q,v" or "attn.qkv:q,v": each is a matrix of its own.
    head: names, by the same suffix rule, of modules that stay trainable and are saved in full (PEFT: modules_to_save).
        What is inside a head is not adapted.
    entry_seed: seed of the entries' positions. 2024 is the paper's, 777 is PEFT's default.
    init: "normal", c ~ N(0, 1), the paper's: delta_W is not zero at the start; or "zeros".
    band: None, or (center, width) in bins: draw the entries from the Gaussian band-pass of Equation 5.
    basis: what the entries are coefficients of: "fourier", or one of those that it is compared with, see `bases.py`:
        "random", "orthogonal" (both drawn from entry_seed), "dct", "hartley", "haar", "identity".
    entries: "random", or "grid": a set of rows times a set of columns, which costs as little as LoRA, and bounds the
        rank of delta_W to about 2 sqrt(n), see `grid.py`. n is then to have two factors in the matrix's proportion.
    shared_entries: True, the paper's: matrices of one shape share their entries. False: the k-th adapted module, in the
        order of the model, draws with entry_seed + k (parts of one module share theirs).
    task_type, base_model: recorded in adapter_config.json for PEFT; nothing here reads them.
    """

    n: int
    scale: float
    targets: tuple[str, ...] | str
    head: tuple[str, ...] = ()
    entry_seed: int = 2024
    init: str = "normal"
    band: tuple[float, float] | None = None
    basis: str = "fourier"
    entries: str = "random"
    shared_entries: bool = True
    task_type: str | None = None
    base_model: str | None = None

    def __post_init__(self) -> None:
        # Lists come out of JSON and YAML; tuples keep the configuration immutable and hashable.
        for field in ("targets", "head", "band"):
            if isinstance(getattr(self, field), list):
                object.__setattr__(self, field, tuple(getattr(self, field)))

        if not _is_int(self.n) or self.n < 1:
            self._refuse("n", "an integer of at least 1, e.g. 1000")
        if not _is_finite(self.scale) or self.scale <= 0:
            self._refuse("scale", "a finite number above 0, e.g. 150.0")
        if not _is_int(self.entry_seed) or not -(2**63) <= self.entry_seed < 2**63:
            self._refuse("entry_seed", "a 64-bit integer: 2024 is the paper's, 777 is PEFT's default")
        if isinstance(self.targets, str):
            try:
                re.compile(self.targets)
            except (re.error, OverflowError, RecursionError) as error:
                self._refuse("targets", f"a valid regular expression ({error}) or a tuple of module names")
        if not self.targets or not (isinstance(self.targets, str) or _are_names(self.targets)):
            self._refuse("targets", 'a tuple of module names, e.g. ("query", "value"), or a regular expression')
        if not isinstance(self.targets, str):
            for target in self.targets:
                name, parts = split_target(target)
                if not name or target.count(":") > 1 or (":" in target and not parts):
                    self._refuse("targets", 'names, or names with parts in the order q, k, v, e.g. "c_attn:q,v"')
        if not _are_names(self.head):
            self._refuse("head", 'a tuple of module names, e.g. ("classifier",), or () for none')
        if self.init not in ("normal", "zeros"):
            self._refuse("init", '"normal" or "zeros"')
        if self.band is not None and not (
            isinstance(self.band, tuple)
            and len(self.band) == 2
            and all(map(_is_finite, self.band))
            and self.band[0] >= 0
            and self.band[1] > 0
        ):
            self._refuse("band", "None or (center, width) in bins with center >= 0 and width > 0, e.g. (100, 200)")
        if problem := misfit(self.basis, self.entries, self.band):
            self._refuse(*problem)
        if not isinstance(self.shared_entries, bool):
            self._refuse("shared_entries", "True or False")
        for field in ("task_type", "base_model"):
            if not isinstance(getattr(self, field), str | None):
                self._refuse(field, "a string or None")

    def _refuse(self, field: str, remedy: str) -> None:
        raise FourierError(f"FourierConfig: {field}={getattr(self, field)!r} is not possible: give {remedy}") from None


def split_target(target: str) -> tuple[str, tuple[str, ...]]:
    """("c_attn", ("q", "v")) of "c_attn:q,v". No parts of a plain name, nor of what is no selection of q, k, v."""
    name, _, listed = target.partition(":")
    parts = tuple(part for part in PARTS if part in listed.split(","))
    return name, parts if ",".join(parts) == listed else ()


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    """Also of an integer that no float is as large as, and of NaN, which is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _are_names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) and name for name in value)
