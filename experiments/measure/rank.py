"""The rank of delta_W: singular values, numerical and effective rank of every adapted matrix, and their plot.

FourierFT's n coefficients spread over the whole spectrum, so delta_W has a high rank from n numbers; LoRA's rank is at
most r. The numerical rank counts the singular values above max(out, in) * eps(float32) * sigma_max. The effective rank
is exp(entropy of sigma / sum(sigma)) (Roy and Vetterli 2007): d for an orthogonal matrix, 1 for a rank-one matrix.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.record import MatrixRank, Rank, RankSummary
from experiments.record.parts import EPS
from experiments.style import legend, line_style, logarithmic, panels, save

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = "max(out, in) * eps(float32) * sigma_max"


def analyse(name: str, delta: Tensor) -> MatrixRank:
    """The spectrum of `delta` (out, in), any float dtype: in float64 on a CPU, in float32 on a GPU, for speed.

    Singular values are kept to 4 significant digits. Raises ValueError for another shape and for NaN or infinity.
    """
    import torch

    if delta.dim() != 2 or 0 in delta.shape:
        raise ValueError(f"{name}: delta_W has shape {tuple(delta.shape)}; a rank needs a matrix (out, in)")
    if not torch.isfinite(delta).all():
        raise ValueError(f"{name}: delta_W holds NaN or infinity; the run diverged: lower its learning rate or scale")
    values = torch.linalg.svdvals(delta.detach().to(torch.float64 if delta.device.type == "cpu" else torch.float32))
    values = values.double().cpu()
    largest = values[0].item()
    shares = values / values.sum() if largest > 0 else torch.zeros_like(values)
    return MatrixRank(
        name=name,
        shape=list(delta.shape),
        numerical_rank=int((values > max(delta.shape) * EPS * largest).sum()),
        effective_rank=torch.special.entr(shares).sum().exp().item() if largest > 0 else 0.0,
        frobenius_norm=values.norm().item(),
        spectral_norm=largest,
        singular_values=[float(f"{value:.4g}") for value in values.tolist()],
    )


def summarise(deltas: Iterable[tuple[str, Tensor]]) -> Rank | None:
    """Analyse every delta_W of a model, given as module path and matrix (out, in); None where there is none."""
    matrices = [analyse(name, delta) for name, delta in deltas]
    if not matrices:
        return None
    return Rank(tolerance=TOLERANCE, matrices=matrices, summary=RankSummary.of(matrices))


def rows(rank: Rank) -> tuple[list[str], list[list[str | int | float]]]:
    """The columns and the rows of a table, one row per matrix."""
    return ["matrix", "out", "in", "numerical_rank", "effective_rank", "frobenius_norm", "spectral_norm"], [
        [m.name, *m.shape, m.numerical_rank, m.effective_rank, m.frobenius_norm, m.spectral_norm] for m in rank.matrices
    ]


def by_kind(rank: Rank) -> dict[str, list[tuple[int, MatrixRank]]]:
    """The matrices by kind (the last name of the module path) with their layer (the first number in it), in order."""
    kinds: dict[str, list[tuple[int, MatrixRank]]] = {}
    for matrix in rank.matrices:
        layers = re.findall(r"(?:^|\.)(\d+)(?=\.|$)", matrix.name)
        of_kind = kinds.setdefault(matrix.name.rpartition(".")[2], [])
        of_kind.append((int(layers[0]) if layers else len(of_kind), matrix))
    return {kind: sorted(matrices, key=lambda pair: pair[0]) for kind, matrices in kinds.items()}


def plot(rank: Rank, path: Path, title: str) -> None:
    """Draw into one PNG. The same rank gives the same bytes. Raises RecordError."""
    save(draw(rank, title), path)


def draw(rank: Rank, title: str) -> Figure:
    """The spectrum of every matrix, and both ranks by layer."""
    figure, [spectra, ranks] = panels(["Spectrum of ΔW (light: first layer, dark: last)", "Rank of ΔW"])
    figure.suptitle(title)
    for index, (kind, matrices) in enumerate(by_kind(rank).items()):
        style = line_style(index)
        _draw_spectra(spectra, matrices, style["color"])
        _draw_ranks(ranks, kind, matrices, style, shift=0.12 * index)

    floor, dotted = max(max(matrix.shape) for matrix in rank.matrices) * EPS, {"color": "0.4", "linestyle": ":"}
    tolerance = spectra.axhline(floor, **dotted)
    spectra.set(xlabel="index", ylabel="singular value / largest", xscale="log", yscale="log", ylim=(floor / 10, 2))
    logarithmic(spectra.xaxis)
    full = max(min(matrix.shape) for matrix in rank.matrices)
    ranks.axhline(full, **dotted)
    ranks.set(xlabel="layer", ylabel="rank", ylim=(0, 1.05 * full))
    ranks.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = ranks.get_legend_handles_labels()
    told = f"tolerance of the numerical rank; full rank, {full}"
    legend(figure, [*handles, tolerance], [*labels, told])
    return figure


def _draw_spectra(axes: Axes, matrices: list[tuple[int, MatrixRank]], colour: str) -> None:
    """One line per matrix, from light to dark over the layers; a zero matrix has no spectrum to draw."""
    drawn = [matrix for _, matrix in matrices if matrix.spectral_norm > 0]
    for index, matrix in enumerate(drawn, start=1):
        values = [value / matrix.singular_values[0] for value in matrix.singular_values]
        alpha = 0.25 + 0.75 * index / len(drawn)
        axes.plot(range(1, len(values) + 1), [v or math.nan for v in values], color=colour, alpha=alpha)


def _draw_ranks(
    axes: Axes, kind: str, matrices: list[tuple[int, MatrixRank]], style: dict[str, str | int], shift: float
) -> None:
    """Numerical rank filled, effective rank open; `shift` keeps kinds of equal rank from hiding one another."""
    layers = [layer + shift for layer, _ in matrices]
    numerical = [matrix.numerical_rank for _, matrix in matrices]
    effective = [matrix.effective_rank for _, matrix in matrices]
    label = f"{kind}: numerical (median {statistics.median(numerical):.0f})"
    axes.plot(layers, numerical, label=label, **style)
    label = f"{kind}: effective (median {statistics.median(effective):.0f})"
    axes.plot(layers, effective, "--", markerfacecolor="white", label=label, **style)
