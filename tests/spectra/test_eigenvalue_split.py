import numpy as np
import pytest

from spectra.eigenvalue_split import as_bulk_spectrum, split_eigenvalues
from spectra.errors import ArgumentError


def spectrum(values, **given):
    return as_bulk_spectrum(values, **({"aspect_ratio": None, "num_samples": None} | given))


def test_zeros_of_a_semidefinite_matrix_are_left_out():
    found = spectrum([3.0, 1e-17, 0.0, 2.0, -1e-17])
    assert found.values.tolist() == [3.0, 2.0]
    assert found.num_zeros == 3
    assert found.is_semidefinite


def test_zeros_of_an_indefinite_matrix_are_part_of_its_bulk():
    found = spectrum([3.0, 0.0, -2.0])
    assert found.values.tolist() == [3.0, 0.0, -2.0]
    assert found.num_zeros == 0


def test_rounding_of_float32_is_zero_in_float32():
    values = np.array([1.0, 1e-7], dtype=np.float32)
    assert spectrum(values).num_zeros == 1
    assert spectrum(values.astype(np.float64)).num_zeros == 0


@pytest.mark.parametrize(
    ("size", "given", "shape"),
    [
        (6, {"num_samples": 12}, (6, 12)),
        (6, {"aspect_ratio": 0.5}, (6, 12)),
        (6, {"aspect_ratio": 2.0, "num_samples": 6}, (12, 6)),
        (12, {"aspect_ratio": 2.0, "num_samples": 6}, (12, 6)),
        (6, {}, None),
    ],
)
def test_shapes_of_the_data(size, given, shape):
    assert spectrum(np.ones(size), **given).shape == shape


def test_strings_and_vanishing_ratios_are_refused():
    with pytest.raises(ArgumentError, match="real numbers"):
        as_bulk_spectrum(["1", "2"], aspect_ratio=None, num_samples=None)
    with pytest.raises(ArgumentError, match="too small"):
        as_bulk_spectrum([1.0, 2.0], aspect_ratio=1e-320, num_samples=None)


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
