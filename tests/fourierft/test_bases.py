"""Other bases: their vectors, and layers against the definition, a dense product in float64."""

import math

import pytest
import torch
from torch import nn

from fourierft import Algorithm, Entries, FourierError, FourierLinear
from fourierft.bases import BASES, basis_matrices

OTHERS = [name for name in BASES if name != "fourier"]
DRAWN_OR_MADE = [name for name in OTHERS if name != "identity"]
SHAPE, N, SCALE = (24, 36), 100, 30.0


def definition(c, basis, shape=SHAPE, seed=2024):
    """delta_W of a basis by the equation in bases.py, in float64."""
    left, right = (matrix.double() for matrix in basis_matrices(basis, shape, seed) or map(torch.eye, shape))
    u, v = Entries(len(c), seed).sample(shape)
    spectrum = torch.zeros(shape, dtype=torch.float64).index_put((u, v), c.double())
    return SCALE / math.sqrt(2 * shape[0] * shape[1]) * left @ spectrum @ right.t()


@pytest.mark.parametrize("basis", [name for name in DRAWN_OR_MADE if name != "random"])
@pytest.mark.parametrize("d", [1, 2, 7, 12, 16])
def test_vectors_are_orthonormal_at_any_length(basis, d):
    for matrix in basis_matrices(basis, (d, d), 5):
        torch.testing.assert_close(matrix.t() @ matrix, torch.eye(d), atol=1e-5, rtol=0)


def test_random_vectors_have_unit_norm_in_the_mean_and_are_not_orthogonal():
    left, right = basis_matrices("random", (200, 200), 5)
    assert left.pow(2).sum(0).mean() == pytest.approx(1, abs=0.02)
    assert (left.t() @ left - torch.eye(200)).abs().max() > 0.1
    assert not torch.equal(left, right)


@pytest.mark.parametrize("basis", ["random", "orthogonal"])
def test_drawn_bases_hang_on_the_seed_alone(basis):
    state = torch.get_rng_state()
    assert torch.equal(basis_matrices(basis, SHAPE, 5)[0], basis_matrices(basis, SHAPE, 5)[0])
    assert not torch.equal(basis_matrices(basis, SHAPE, 5)[0], basis_matrices(basis, SHAPE, 6)[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("basis", DRAWN_OR_MADE)
def test_vectors_are_made_on_the_cpu_whatever_the_default_device(basis):
    with torch.device("meta"):
        made = basis_matrices(basis, SHAPE, 5)
    assert all(torch.equal(one, other) for one, other in zip(made, basis_matrices(basis, SHAPE, 5), strict=True))


def test_the_identity_takes_no_product_and_no_matrix():
    layer = FourierLinear(nn.Linear(*SHAPE[::-1]), Entries(N, basis="identity"), SCALE)
    layer.reset_spectrum("normal")
    assert layer.plan.vectors == () and layer.delta_weight().count_nonzero() == N


def test_vectors_are_those_of_their_names():
    scipy = pytest.importorskip("scipy.fft")
    dct, hartley, haar = (basis_matrices(basis, (12, 12), 0)[0] for basis in ("dct", "hartley", "haar"))
    x = torch.randn(12)
    torch.testing.assert_close(dct.t() @ x, torch.from_numpy(scipy.dct(x.numpy(), norm="ortho")))
    spectrum = torch.fft.fft(x) / math.sqrt(12)
    torch.testing.assert_close(hartley.t() @ x, spectrum.real - spectrum.imag)
    assert torch.equal(haar[:, 0].unique(), torch.tensor([0.0, 0.5]))  # 12 = 3 blocks of 4, whose means come first
    assert haar[:, -1].tolist() == pytest.approx([0.0] * 10 + [0.5**0.5, -(0.5**0.5)])


@pytest.mark.parametrize("basis", OTHERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_layer_and_its_gradients_are_those_of_the_definition(basis, dtype):
    layer = FourierLinear(nn.Linear(*SHAPE[::-1]).to(dtype).requires_grad_(False), Entries(N, basis=basis), SCALE)
    layer.reset_spectrum("normal")
    x, g = torch.randn(5, 24 + 12, dtype=dtype, requires_grad=True), torch.randn(5, 24, dtype=dtype)
    y = layer(x)
    found = y, *torch.autograd.grad(y, (x, layer.fourierft_spectrum), g)

    c, x = layer.fourierft_spectrum.detach().double().requires_grad_(), x.detach().double().requires_grad_()
    exact = x @ (layer.weight.double() + definition(c, basis)).t() + layer.bias.double()
    wanted = exact, *torch.autograd.grad(exact, (x, c), g.double())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=5e-6 if dtype == torch.float32 else 1e-7)
    torch.testing.assert_close(layer.delta_weight().double(), definition(c.detach(), basis), rtol=0, atol=1e-6)


def test_every_basis_makes_a_change_of_the_same_size():
    """At the start, where the coefficients are drawn: within four standard errors over 2,000 of them."""
    norms = {}
    for basis in BASES:
        layer = FourierLinear(nn.Linear(72, 96), Entries(2000, basis=basis), SCALE)
        layer.reset_spectrum("normal")
        norms[basis] = layer.delta_weight().pow(2).sum().item()
    expected = 2000 * SCALE**2 / (2 * 72 * 96)
    assert norms == pytest.approx(dict.fromkeys(BASES, expected), rel=0.15)


def test_low_precision_keeps_the_change():
    """W and delta_W meet in one product: delta_W is far below the rounding of W in bfloat16."""
    base = nn.Linear(36, 24, dtype=torch.bfloat16).requires_grad_(False)
    layer = FourierLinear(base, Entries(N, basis="dct"), SCALE * 1e-3)
    layer.reset_spectrum("normal")
    change = layer(torch.eye(36, dtype=torch.bfloat16)).float() - base(torch.eye(36, dtype=torch.bfloat16)).float()
    assert torch.equal(layer.weight, base.weight)
    assert change.abs().max() <= 2**-7  # one rounding of the output, no more
    x = torch.randn(50, 36, dtype=torch.bfloat16)
    layer(x).backward(torch.ones(50, 24, dtype=torch.bfloat16))
    assert layer.fourierft_spectrum.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"basis": "wavelet"}, "basis='wavelet' is not possible: give one of fourier, random"),
        ({"basis": "dct", "band": (1, 2)}, r"band=\(1, 2\) is not possible"),
        ({"kind": "lattice"}, "entries='lattice' is not possible"),
        ({"kind": "grid", "band": (1, 2)}, "entries='grid' is not possible"),
        ({"kind": "grid", "basis": "dct"}, "entries='grid' is not possible"),
    ],
)
def test_a_layer_refuses_what_does_not_go_together(settings, words):
    with pytest.raises(FourierError, match=words):
        FourierLinear(nn.Linear(*SHAPE[::-1]), Entries(24, **settings), SCALE)


@pytest.mark.parametrize("forced", [{"forward": "tokens"}, {"gradient": "tokens"}])
def test_an_algorithm_of_the_fourier_basis_is_refused(forced):
    layer = FourierLinear(nn.Linear(*SHAPE[::-1]), Entries(N, basis="haar"), SCALE)
    layer.algorithm = Algorithm(**forced)
    with pytest.raises(FourierError, match=rf"{next(iter(forced.values()))}.*basis='haar'"):
        layer(torch.randn(2, 36))
