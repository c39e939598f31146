"""FourierFT as the paper defines it: slow, obvious, and what every fast path of this library is tested against.

Gao et al., "Parameter-Efficient Fine-Tuning with Discrete Fourier Transform", ICML 2024 (arXiv:2405.03003),
Equations 2-4 and Algorithm 1. Two points in which the text needs reading:

- Equation 3 prints no 1/(d1 d2), but the `ifft2` of Algorithm 1 applies it, and the paper's scales (alpha) mean
  something only with it. It is applied here.
- Algorithm 1 multiplies x @ delta_W, which for square matrices is the transposed convention. Here, as in PEFT,
  delta_W has the orientation of `nn.Linear.weight`: (out, in), so that non-square weights are well defined.
"""

from torch import Tensor, fft, nn, zeros


def delta_weight(c: Tensor, entries: Tensor, shape: tuple[int, ...], scale: float) -> Tensor:
    """The weight change of Equations 2 and 3.

    c: (n,) real, float32 or float64. entries: (2, n) int64, distinct (row, column) positions. shape: (out, in).
    Returns (out, in) in the dtype of c: scale * Re(ifft2(S)), where S is zero but S[u_k, v_k] = c_k.
    """
    spectrum = zeros(shape, dtype=c.dtype, device=c.device)
    spectrum[entries[0], entries[1]] = c
    return fft.ifft2(spectrum).real * scale


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, c: Tensor, entries: Tensor, scale: float) -> Tensor:
    """Equation 4: y = x (W + delta_W)^T + b, (..., out), of x: (..., in), weight: (out, in), bias: (out,) or None."""
    return nn.functional.linear(x, weight + delta_weight(c, entries, tuple(weight.shape), scale), bias)
