import numpy as np
import pytest

from spectra.bulk_spectrum import as_bulk_spectrum
from spectra.eigenvalue_split import split_eigenvalues


def spectrum(values, **given):
    return as_bulk_spectrum(values, **({"aspect_ratio": None, "num_samples": None} | given))


def wishart(p, n, rng):
    X = rng.standard_normal((p, n))
    return np.linalg.eigvalsh(X @ X.T / n)


def test_groups_that_are_outside_one_another_leave_no_bulk():
    rng = np.random.default_rng(1)
    values = np.concatenate([wishart(60, 600, rng), 10.0 * wishart(70, 700, rng)])
    window = {"num_points": None, "max_outliers": 85}
    found = split_eigenvalues(spectrum(values), "edge", 0.99, window)
    assert not found.is_trustworthy
    assert "no eigenvalue is left between the edges" in found.why
    assert np.isnan(found.low)
    assert found.low_kind == "unknown"
    np.testing.assert_array_equal(found.outlier, np.sort(values)[::-1][: found.num_outliers])


@pytest.mark.parametrize("seed", range(5))
def test_white_bulk_and_outliers_below_are_disjoint(seed):
    """The law of white noise that is left with few small eigenvalues counts them as its bulk, not as outliers below."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([wishart(92, 920, rng), rng.uniform(0.01, 0.012, size=8)])
    window = {"num_points": None, "max_outliers": None}
    found = split_eigenvalues(spectrum(values, num_samples=10**5), "marchenko_pastur", 0.99, window)
    assert found.num_outliers < 100
    assert np.all(found.outlier[found.side < 0] < found.low)
    assert np.all(found.outlier[found.side > 0] > found.high)
    assert found.low_threshold <= found.low
    assert len(found.p_value) == found.num_outliers


@pytest.mark.parametrize("value", [-3.0, 1.0])
def test_equal_eigenvalues_are_a_bulk_without_width(value):
    found = split_eigenvalues(spectrum(np.full(60, value)), "edge", 0.99, {"num_points": None, "max_outliers": None})
    assert found.low == found.high == value
    assert found.num_outliers == 0
    assert not found.is_trustworthy


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_lower_edges_near_zero_have_little_bias(unit):
    # by logarithms half a standard error; without, a whole one (each +- 0.1)
    rng = np.random.default_rng(5)
    edge = unit * 0.25
    window = {"num_points": None, "max_outliers": None}
    errors = []
    for _ in range(30):
        found = split_eigenvalues(spectrum(unit * wishart(200, 800, rng)), "edge", 0.99, window)
        assert found.low_kind == "soft"
        errors.append((found.low - edge) / found.low_stderr)
    assert abs(np.mean(errors)) < 0.7
    assert np.sqrt(np.mean(np.square(errors))) < 1.0


def test_outliers_below_a_semidefinite_bulk_are_found_by_logarithms():
    values = np.concatenate([1e-3 * np.array([1.0, 2.0]), wishart(200, 800, np.random.default_rng(6))])
    found = split_eigenvalues(spectrum(values), "edge", 0.99, {"num_points": None, "max_outliers": None})
    np.testing.assert_allclose(found.outlier, [2e-3, 1e-3])
    assert found.outlier[0] < found.low_threshold < found.low
    assert found.low_scale > 0.0
