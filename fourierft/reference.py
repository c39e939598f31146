"""FourierFT as the paper defines it: slow and obvious; every fast form is tested against it.

Gao et al., "Parameter-Efficient Fine-Tuning with Discrete Fourier Transform", ICML 2024 (arXiv:2405.03003),
Equations 2-4 and Algorithm 1. Where the text is ambiguous:

- Equation 3 has no factor 1/(d1 d2), but the `ifft2` of Algorithm 1 applies it, and the paper's scales (alpha) assume
  it. It is applied here.
- Algorithm 1 computes x @ delta_W. Here, as in PEFT, delta_W has the orientation of `nn.Linear.weight`, (out, in), so
  that non-square weights are well defined.
"""

from torch import Tensor, fft, nn, zeros


def delta_weight(c: Tensor, entries: Tensor, shape: tuple[int, ...], scale: float) -> Tensor:
    """The weight change of Equations 2 and 3.

    c: (n,) real, float32 or float64. entries: (2, n) int64, distinct (row, column) positions. shape: (out, in).
    Returns (out, in) in the dtype of c: scale * Re(ifft2(S)), where S[u_k, v_k] = c_k and S is zero elsewhere.
    """
    spectrum = zeros(shape, dtype=c.dtype, device=c.device)
    spectrum[entries[0], entries[1]] = c
    return fft.ifft2(spectrum).real * scale


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, c: Tensor, entries: Tensor, scale: float) -> Tensor:
    """Equation 4: y = x (W + delta_W)^T + b, (..., out), of x: (..., in), weight: (out, in), bias: (out,) or None."""
    return nn.functional.linear(x, weight + delta_weight(c, entries, tuple(weight.shape), scale), bias)
