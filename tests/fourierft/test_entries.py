"""The positions of the coefficients: as the published rule draws them, distinct, and in the given band."""

import pytest
import torch

from fourierft import Entries, FourierError, band_log_probability


def test_entries_are_the_first_n_of_a_seeded_permutation():
    flat = torch.randperm(6 * 10, generator=torch.Generator().manual_seed(2024))[:7]
    u, v = Entries(7, 2024).sample((6, 10))
    assert torch.equal(u * 10 + v, flat)
    assert u.max() < 6 and v.max() < 10


def test_entries_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    Entries(7, 1, band=(2, 1)).sample((6, 10))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("band", [None, (0, 2), (3, 2)])
def test_all_entries_are_distinct(band):
    n = 8 * 9 - (band == (3, 2))
    u, v = Entries(n, 5, band).sample((8, 9))
    assert len(set(zip(u.tolist(), v.tolist(), strict=True))) == n


def test_band_probability_is_equation_5_on_the_shifted_spectrum():
    shape, center, width = (6, 9), 2.5, 1.5
    shifted = torch.fft.fftshift(band_log_probability(shape, center, width).exp())
    for row in range(6):
        for column in range(9):
            square = (row - 3) ** 2 + (column - 4) ** 2  # the zero frequency stands at (d1 // 2, d2 // 2)
            ratio = (square - center**2) / (square**0.5 * width) if square else float("inf")
            assert shifted[row, column].item() == pytest.approx(2.718281828459045 ** -(ratio**2), abs=1e-15)


def test_the_zero_frequency_takes_the_limit_of_equation_5():
    assert band_log_probability((6, 9), 0, 2)[0, 0] == 0
    assert band_log_probability((6, 9), 1, 2)[0, 0] == -torch.inf


def test_frequencies_of_draws_follow_the_band():
    """One entry from each of 4000 seeds: the mean distance is that of Equation 5 within four standard errors."""
    shape, band = (16, 12), (4.0, 3.0)
    probability = band_log_probability(shape, *band).exp()
    probability /= probability.sum()
    distance = torch.hypot(*torch.meshgrid(*(torch.fft.fftfreq(d, 1 / d) for d in shape), indexing="ij"))
    drawn = torch.stack([distance[tuple(Entries(1, seed, band).sample(shape)[:, 0])] for seed in range(4000)])
    mean = (probability * distance).sum()
    error = ((probability * (distance - mean) ** 2).sum() / 4000).sqrt()
    assert abs(drawn.mean() - mean) < 4 * error


@pytest.mark.parametrize(("n", "band", "most"), [(21, None, 20), (20, (1, 1), 19)])
def test_n_out_of_range_is_refused_with_the_maximum(n, band, most):
    with pytest.raises(FourierError, match=rf"n={n} .*\(4, 5\).*1 <= n <= {most}"):
        Entries(n, 0, band).sample((4, 5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n=0 is not possible: give an integer of at least 1"),
        ({"n": 5, "seed": 2**63}, f"entry_seed={2**63} is not possible"),
        ({"n": 5, "band": [1, 2]}, r"band=\[1, 2\] is not possible"),
        ({"n": 5, "basis": "wavelet"}, "basis='wavelet' is not possible"),
        ({"n": 5, "kind": "lattice"}, "entries='lattice' is not possible"),
        ({"n": 5, "kind": "grid", "band": (1, 2)}, "entries='grid' is not possible"),
    ],
)
def test_invalid_entries_are_refused_by_the_name_in_the_configuration(settings, message):
    with pytest.raises(FourierError, match=message):
        Entries(**settings)
