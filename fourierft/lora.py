"""A FourierFT adapter as a LoRA adapter in PEFT's format, for servers that know LoRA alone.

With as many columns as the rank of delta_W, 2 sqrt(n) of a grid, B A is delta_W; with fewer, its best approximation,
the truncated SVD. Neither needs delta_W itself: over the distinct folded frequencies u and v (`plan.py`) it is

    delta_W = C1^T M C2 - S1^T N S2,   M[u, v] = sum of a_k,   N[u, v] = sum of sign_k a_k   over the k at (u, v)

with tables C1, S1, (a, out), and C2, S2, (b, in), of cosines and sines. Their rows are all orthogonal, so that the
singular values of delta_W are those of the two a x b matrices between rows of norm 1.
"""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from .document import CONFIG_FILE, shared_document
from .entries import is_int
from .errors import FourierError, require
from .io import PREFIX, gathered, spectrum_key, write
from .layer import FourierLayer
from .model import adapted_model, config_of, fourier_layers
from .parts import part_rows, split_target
from .plan import BasisPlan, make_plan, waves
from .products import delta_weight
from .targets import select_heads

EXACT = 2.0**-24  # an error that the rounding to float32 makes anyway


def to_lora(model: nn.Module, folder: str | os.PathLike, rank: int | None = None) -> dict[str, float]:
    """Writes the adapter of an adapted model as a LoRA adapter of PEFT into `folder`, its head included.

    rank: None writes delta_W exactly, if that takes fewer numbers than the weights have: for a grid, whose rank is
        2 sqrt(n), or for few coefficients. Or the largest rank to be used: each delta_W is then replaced by its best
        approximation of that rank. That of random positions has nearly full rank, all singular values of like size:
        a small LoRA is another adapter, to be evaluated before it is used.

    Returns the error of each layer by its path: the Frobenius norm of what is left out, relative to delta_W, 0 if
    nothing is but the rounding to float32. Warns of the largest. All layers have one rank (zeros fill up) and a scaling
    of 1, since most servers read one number for all; parts of a fused projection become a LoRA of the whole, with
    zeros for the other parts. The model, which may be merged, wrapped or quantised, stays as it is; if it is sharded by
    FSDP2, every process has to call this.
    Raises FourierError, with nothing written, for a plain model, an invalid rank, no rank where one is needed,
    coefficients that are not finite, and a folder that holds an adapter of another kind.
    """
    require(rank is None or (is_int(rank) and rank >= 1), "rank", rank, "an integer of at least 1, e.g. 16, or None")
    folder, model = Path(folder), adapted_model(model)
    config, layers = config_of(model), fourier_layers(model)
    file = folder / CONFIG_FILE
    if file.exists() and b'"LORA"' not in file.read_bytes():
        raise FourierError(f"{folder} holds an adapter that is no LoRA, and would be lost: choose another folder")

    tensors = gathered(config, layers, select_heads(model, config.head))
    pairs, errors = {}, {}
    for path, layer in layers.items():
        try:
            b, a, errors[path] = _truncated(layer, tensors.pop(spectrum_key(path)), rank)
        except FourierError as error:
            raise FourierError(f"{path}: {error}") from None
        pairs[path] = b, a

    r = max(1, *(len(a) for _, a in pairs.values()))
    for path, (b, a) in pairs.items():
        missing = r - len(a)
        tensors[f"{PREFIX}{path}.lora_A.weight"] = nn.functional.pad(a, (0, 0, 0, missing))
        tensors[f"{PREFIX}{path}.lora_B.weight"] = nn.functional.pad(b, (0, missing))
    transposed = any(getattr(layer, "fan_in_fan_out", False) for layer in layers.values())
    if not isinstance(config.targets, str):
        config = replace(config, targets=tuple(dict.fromkeys(split_target(target)[0] for target in config.targets)))
    document = shared_document(config, transposed, type(model))
    write(folder, document | {"peft_type": "LORA", "r": r, "lora_alpha": r, "lora_dropout": 0.0}, tensors, {})
    worst = max(errors, key=lambda path: errors[path])
    if errors[worst]:
        warnings.warn(
            f"a LoRA of rank {r} leaves out {100 * errors[worst]:.1f} % of delta_W (relative norm) in {worst}, the "
            f"worst of {len(errors)} layers: evaluate it before use",
            stacklevel=2,
        )
    return errors


def _truncated(layer: FourierLayer, spectrum: Tensor, rank: int | None) -> tuple[Tensor, Tensor, float]:
    """B, (out, k), A, (k, in), in the dtype of the coefficients, and the relative error of B A, for `to_lora`."""
    if not spectrum.isfinite().all():
        raise FourierError("its coefficients are not finite: the adapter is broken (a diverged run?)")
    left, right, values = _factors(layer, spectrum)
    tails = values.square().flip(0).cumsum(0).flip(0).sqrt()  # [k]: the norm of what k ranks leave out
    whole = int((tails > EXACT * tails[0]).sum())
    if rank is None and whole * (len(left) + right.shape[1]) >= len(left) * right.shape[1]:
        raise FourierError(
            f"delta_W has rank {whole}: an exact LoRA would be as large as the weight, {len(left)} x {right.shape[1]}. "
            'Give a rank, e.g. rank=16, for the best approximation; a grid (entries="grid") has a low rank'
        )
    kept = whole if rank is None else min(rank, whole)
    root = values[:kept].sqrt()
    b, a = left[:, :kept] * root, right[:kept] * root[:, None]
    return b.to(spectrum.dtype), a.to(spectrum.dtype), float(tails[kept] / tails[0]) if kept < whole else 0.0


def _factors(layer: FourierLayer, spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The singular value decomposition of the delta_W of a layer with these coefficients, float64, on the CPU.

    Returns left vectors, (out, k), right vectors, (k, in), and singular values, (k,), in descending order; the vectors
    of values that are 0 up to rounding may be 0 too.
    """
    left, core, right = _blocks(layer, spectrum.double().view(-1, layer.entries.n))
    u, values, v = torch.linalg.svd(core.flatten(1, 2), full_matrices=False)
    values, order = values.flatten().sort(descending=True)
    b = left.transpose(1, 2)[:, None] @ u.unflatten(1, core.shape[1:3])  # (blocks, parts, out of a part, k)
    rows = part_rows((layer.out_features, layer.in_features), layer.parts)
    whole = b.new_zeros(layer.out_features, len(values))
    for place, part in zip(rows.values(), b.permute(1, 2, 0, 3).flatten(2), strict=True):
        whole[place] = part[:, order]
    return whole, (v @ right).flatten(0, 1)[order], values


def _blocks(layer: FourierLayer, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The delta_W of each part as the sum over the blocks of left^T core right, for coefficients c: (parts, n) float64.

    Returns left, (blocks, a, out), core, (blocks, parts, a, b), and right, (blocks, b, in); the rows of left and right
    are orthogonal, and of norm 1 or as good as 0.
    """
    plan = make_plan(layer.matrix_shape, torch.device("cpu"), layer.entries)
    amplitudes = c * plan.unit(layer.scale)
    if isinstance(plan, BasisPlan):
        left, right = (torch.eye(d, dtype=c.dtype, device=c.device)[None] for d in plan.shape)
        return left, torch.stack([delta_weight(a, plan) for a in amplitudes])[None], right
    (u, row), (v, column) = (folded.unique(return_inverse=True) for folded in (plan.u, plan.v))
    core = c.new_zeros(2, len(c), len(u) * len(v))
    for block, values in zip(core, (amplitudes, -plan.sign * amplitudes), strict=True):
        block.index_add_(1, row * len(v) + column, values)
    left, right = (waves(f, d, d).transpose(0, 1) for f, d in zip((u, v), plan.shape, strict=True))
    norms = left.norm(dim=2)[:, None, :, None] * right.norm(dim=2)[:, None, None, :]
    left, right = (nn.functional.normalize(table, dim=2) for table in (left, right))
    return left, core.unflatten(2, (len(u), len(v))) * norms, right
