import numpy as np
import pytest

from spectra.kernels.dimension_curve import dimension_curve
from spectra.kernels.dimension_table import DIMENSION_SCHEMA, QUANTITIES, dimension_of_spectrum, dimension_table
from spectra.kernels.gram import GramSpectrum


def sums(w, ridge):
    left = ridge[:, None] / (w + ridge[:, None])
    return np.stack([left.sum(axis=1), (left**2).sum(axis=1)])[:, :, None]


def test_agrees_with_the_curve():
    w, ridge = 1.0 / np.arange(1.0, 201.0) ** 1.5, np.geomspace(1e-5, 1.0, 6)
    found = sums(w, ridge)
    table = dimension_table(requested=ridge, ridge=ridge, low=found, high=found, num_samples=200, level=0.95)
    curve = dimension_curve(GramSpectrum.of_eigenvalues(w), ridge)
    for name in QUANTITIES:
        np.testing.assert_allclose(table[name], getattr(curve, name), rtol=1e-9)
        np.testing.assert_array_equal(table[f"{name}_low"], table[f"{name}_high"])
        assert np.all(table[f"{name}_stderr"] == 0)
    assert np.all(table["is_trustworthy"])
    assert table.attrs["schema"] == DIMENSION_SCHEMA


def test_bounds_contain_what_lies_between():
    w, ridge = 1.0 / np.arange(1.0, 51.0), np.array([0.01, 0.1])
    exact = sums(w, ridge)
    low, high = 0.98 * exact, 1.01 * exact
    table = dimension_table(requested=ridge, ridge=ridge, low=low, high=high, num_samples=50, level=0.95)
    truth = dimension_table(requested=ridge, ridge=ridge, low=exact, high=exact, num_samples=50, level=0.95)
    for name in QUANTITIES:
        assert np.all((table[f"{name}_low"] <= truth[name]) & (truth[name] <= table[f"{name}_high"]))


def test_wide_bounds_are_said():
    ridge = np.array([1.0])
    low, high = np.full((2, 1, 1), 1.0), np.full((2, 1, 1), 5.0)
    table = dimension_table(requested=np.zeros(1), ridge=ridge, low=low, high=high, num_samples=10, level=0.95)
    assert not table["is_trustworthy"].item()
    assert "more steps" in table["why"].item()
    assert "raised" in table["why"].item()


@pytest.mark.parametrize("name", QUANTITIES)
def test_jackknife_is_the_standard_error(name):
    """Spread of the estimate over independent repetitions against its jackknife error: within 10 %."""
    generator = np.random.default_rng(0)
    ridge, repeats, p = np.array([1.0]), 300, 16
    values, errors = [], []
    for _ in range(repeats):
        first = 60.0 + 4.0 * generator.standard_normal((1, p))
        second = 40.0 + (first - 60.0) + 2.0 * generator.standard_normal((1, p))
        both = np.stack([first, second])
        table = dimension_table(requested=ridge, ridge=ridge, low=both, high=both, num_samples=100, level=0.95)
        values.append(table[name].item())
        errors.append(table[f"{name}_stderr"].item())
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.12)


def test_what_is_not_listed_lies_between_the_bounds():
    w, ridge = 1.0 / np.arange(1.0, 101.0) ** 2, np.array([1e-12, 0.01, 0.1])
    whole = dimension_of_spectrum(GramSpectrum.of_eigenvalues(w), ridge, level=0.95)
    part = GramSpectrum.of_eigenvalues(w[:60], num_samples=100, residual_trace=float(np.sum(w[60:])))
    table = dimension_of_spectrum(part, ridge, level=0.95)
    for name in QUANTITIES:
        np.testing.assert_array_equal(whole[f"{name}_low"], whole[f"{name}_high"])
        assert np.all((table[f"{name}_low"] <= whole[name]) & (whole[name] <= table[f"{name}_high"]))
    assert table["is_trustworthy"].values.tolist() == [False, True, True]


def test_a_ridge_that_hides_df1_in_rounding_is_not_trusted():
    table = dimension_of_spectrum(GramSpectrum.of_eigenvalues(np.ones(100)), np.array([1.0, 1e18]), level=0.95)
    assert table["is_trustworthy"].values.tolist() == [True, False]
    assert "rounding" in table["why"].values[1]
