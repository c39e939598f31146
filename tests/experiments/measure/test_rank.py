"""The rank analysis on matrices whose ranks are known, and its plot."""

import math

import pytest
import torch

from experiments.errors import UserError
from experiments.measure import rank
from tests import legible


def generator():
    return torch.Generator().manual_seed(0)


def fourier(d, n):
    """delta_W of n normal coefficients at random positions, by the definition: a dense inverse FFT."""
    spectrum = torch.zeros(d * d)
    spectrum[torch.randperm(d * d, generator=generator())[:n]] = torch.randn(n, generator=generator())
    return torch.fft.ifft2(spectrum.view(d, d)).real


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_a_product_of_thin_matrices_has_their_rank(dtype):
    low = torch.randn(48, 4, generator=generator()) @ torch.randn(4, 32, generator=generator())
    # Half precision rounds each entry, and the rounding errors have full rank: that is what is stored, and counted.
    expected = 32 if dtype == torch.float16 else 4
    assert rank.analyse("m", low.to(dtype)).numerical_rank == expected


def test_an_orthogonal_matrix_has_full_effective_rank():
    q, _ = torch.linalg.qr(torch.randn(24, 24, generator=generator(), dtype=torch.float64))
    result = rank.analyse("q", q)
    assert result.numerical_rank == 24
    assert result.effective_rank == pytest.approx(24)
    assert result.frobenius_norm == pytest.approx(math.sqrt(24))
    assert result.spectral_norm == pytest.approx(1)
    assert result.shape == [24, 24]


def test_the_effective_rank_is_the_exponential_of_the_entropy():
    shares = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    assert rank.analyse("m", 8 * shares.diag()).effective_rank == pytest.approx(2**1.5)
    assert rank.analyse("m", torch.ones(5, 7)).effective_rank == pytest.approx(1)


def test_a_zero_matrix_has_no_rank_and_no_nan():
    result = rank.analyse("zero", torch.zeros(4, 6))
    assert (result.numerical_rank, result.effective_rank, result.singular_values) == (0, 0.0, [0.0] * 4)


def test_fourierft_has_a_high_rank_from_few_numbers():
    # d=768, n=200 gives 265 for normal coefficients; the position draw moves it by a few.
    few = rank.analyse("f", fourier(768, 200)).numerical_rank
    assert 240 <= few <= 290
    assert rank.analyse("f", fourier(128, 1000)).numerical_rank == 128


def test_singular_values_are_kept_to_four_digits():
    values = rank.analyse("m", torch.diag(torch.tensor([123456.0, 1.23456e-3]))).singular_values
    assert values == [123500.0, 0.001235]


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(0, 3), torch.full((2, 2), torch.nan)])
def test_what_has_no_rank_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"layer\.0\.query"):
        rank.analyse("layer.0.query", bad)


def test_the_summary_is_over_the_matrices():
    result = rank.summarise([("a", torch.eye(4)), ("b", torch.ones(4, 4)), ("c", torch.eye(4)[:2])])
    assert result.summary.count == 3
    spread = result.summary.numerical_rank
    assert (spread.min, spread.median, spread.max) == (1, 2, 4)
    columns, lines = rank.rows(result)
    assert [line[0] for line in lines] == ["a", "b", "c"]
    assert {len(line) for line in lines} == {len(columns)}
    assert rank.summarise([]) is None, "a method without delta_W has no rank"


def test_matrices_are_sorted_by_kind_and_layer():
    names = [f"encoder.layer.{layer}.self.{kind}" for layer in (10, 2) for kind in ("query", "value")]
    kinds = rank.by_kind(rank.summarise((name, torch.eye(2)) for name in names))
    assert {kind: [layer for layer, _ in matrices] for kind, matrices in kinds.items()} == {
        "query": [2, 10],
        "value": [2, 10],
    }


def test_the_same_rank_gives_the_same_picture(tmp_path):
    deltas = {f"layer.{layer}.{kind}": torch.eye(8) * (layer + 1) for layer in range(2) for kind in ("query", "value")}
    deltas["layer.2.query"] = torch.zeros(8, 8)
    first, second, other = tmp_path / "1.png", tmp_path / "2.png", tmp_path / "3.png"
    rank.plot(rank.summarise(deltas.items()), first, "title")
    rank.plot(rank.summarise(deltas.items()), second, "title")
    rank.plot(rank.summarise([*deltas.items(), ("layer.2.query", torch.ones(8, 8))]), other, "title")
    assert first.read_bytes().startswith(b"\x89PNG")
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()


def test_the_picture_is_legible():
    deltas = [(f"layer.{i}.{kind}", torch.eye(8)) for i in range(12) for kind in ("q", "k", "v", "dense", "fc1", "fc2")]
    title = "ΔW of FourierFT n=1000, STS-B, RoBERTa miniature, best epoch, seed 0"
    legible.check(rank.draw(rank.summarise(deltas), title))


def test_a_plot_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"plot\.png"):
        rank.plot(rank.summarise([("a", torch.eye(2))]), tmp_path / "file" / "plot.png", "title")
