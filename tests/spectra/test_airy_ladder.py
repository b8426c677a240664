import numpy as np
import pytest
from scipy.special import ai_zeros

from spectra.airy_ladder import LEAST_EIGENVALUES, airy_ladder, ladder_positions


def bulk(n, rng):
    """Eigenvalues of a Gaussian symmetric matrix, descending; edge 2, scale n^(-2/3)."""
    W = rng.standard_normal((n, n))
    return np.linalg.eigvalsh((W + W.T) / np.sqrt(2 * n))[::-1]


def test_positions_are_the_zeros_of_the_airy_function():
    np.testing.assert_allclose(ladder_positions(30), -ai_zeros(30)[0], rtol=8e-3)
    np.testing.assert_allclose(ladder_positions(30)[5:], -ai_zeros(30)[0][5:], rtol=2e-4)


def test_other_offsets_shift_the_positions():
    assert np.all(ladder_positions(5, offset=0.75) < ladder_positions(5))


@pytest.mark.parametrize("k", [0, 1, 5, 12])
@pytest.mark.parametrize("unit", [1.0, 1e-14, 1e14, 1e-150])
def test_exact_ladders_are_found_exactly(k, unit):
    values = unit * np.concatenate([np.linspace(8.0, 4.0, k), 2.0 - 0.01 * ladder_positions(100)])
    found = airy_ladder(values, level=0.99)
    assert found.num_outliers == k
    assert found.edge == pytest.approx(2.0 * unit)
    assert found.scale == pytest.approx(0.01 * unit)
    assert found.misfit < 1e-9
    assert np.all(np.diff(found.p_values) >= 0)


@pytest.mark.parametrize("num_outliers", [2, 10, 40])
def test_many_outliers_do_not_hide_one_another(num_outliers):
    values = bulk(400, np.random.default_rng(0))
    values = np.concatenate([np.linspace(3.0, 20.0, num_outliers)[::-1], values])
    assert airy_ladder(values, level=0.99).num_outliers == num_outliers


def test_edge_and_scale_of_gaussian_matrices():
    rng = np.random.default_rng(1)
    found = [airy_ladder(bulk(200, rng), level=0.99) for _ in range(40)]
    errors = np.array([(one.edge - 2.0) / one.stderr for one in found])
    assert np.sqrt(np.mean(errors**2)) < 1.5
    assert np.median([one.scale for one in found]) == pytest.approx(200 ** (-2 / 3), rel=0.15)
    assert sum(one.num_outliers > 0 for one in found) <= 2
    assert max(one.misfit for one in found) < 2.0


def test_levels_and_windows():
    values = bulk(300, np.random.default_rng(2))
    assert airy_ladder(values, level=0.9).threshold < airy_ladder(values, level=0.999).threshold
    assert airy_ladder(values, level=0.99, num_points=30).num_points == 30
    assert airy_ladder(np.append(9.0, values), level=0.99, max_outliers=1).max_outliers == 1


def test_equal_eigenvalues_have_no_scale():
    found = airy_ladder(np.concatenate([[5.0, 4.0], np.ones(60)]), level=0.99)
    assert found.num_outliers == 2
    assert not found.is_resolved
    assert not airy_ladder(np.zeros(60), level=0.99).is_resolved


def test_as_few_eigenvalues_as_are_allowed():
    values = bulk(LEAST_EIGENVALUES, np.random.default_rng(3))
    assert airy_ladder(values, level=0.99).num_outliers == 0
    assert airy_ladder(np.append(6.0, values[:-1]), level=0.99).num_outliers == 1
