import numpy as np
import pytest
from scipy.linalg import eigvalsh_tridiagonal

from spectra.errors import ArgumentError
from spectra.laws.edge_scaling import largest_eigenvalue_scaling, real_edge_quantile, wigner_scaling
from spectra.laws.tracy_widom import TracyWidom


def largest_of_wishart(n, p, num, rng):
    """Largest eigenvalues of real Wishart matrices by their bidiagonal model (Dumitriu and Edelman 2002)."""
    n, p = max(n, p), min(n, p)
    diagonal = np.sqrt(rng.chisquare(n - np.arange(p), size=(num, p)))
    below = np.sqrt(rng.chisquare(p - 1 - np.arange(p - 1), size=(num, p - 1)))
    factor = np.zeros((num, p, p))
    factor[:, np.arange(p), np.arange(p)] = diagonal
    factor[:, np.arange(1, p), np.arange(p - 1)] = below
    return np.linalg.svd(factor, compute_uv=False)[:, 0] ** 2


def test_thresholds_have_their_level():
    for scaling in (largest_eigenvalue_scaling(50, 20, variance=1e-14), wigner_scaling(100, variance=1e14)):
        for level in (0.5, 0.05, 1e-12):
            assert scaling.p_value(scaling.threshold(level)) == pytest.approx(level, rel=1e-9)
        values = np.array([[scaling.center, scaling.center + 3.0 * scaling.scale]])
        assert scaling.p_value(values).shape == (1, 2)


def test_samples_and_parameters_may_be_exchanged():
    assert largest_eigenvalue_scaling(40, 10) == largest_eigenvalue_scaling(10, 40)


def test_variance_is_a_unit():
    one, tiny = largest_eigenvalue_scaling(40, 10), largest_eigenvalue_scaling(40, 10, variance=1e-14)
    assert (tiny.center / 1e-14, tiny.scale / 1e-14) == pytest.approx((one.center, one.scale), rel=1e-14)
    one, tiny = wigner_scaling(40), wigner_scaling(40, variance=1e-28)
    assert (tiny.center / 1e-14, tiny.scale / 1e-14) == pytest.approx((one.center, one.scale), rel=1e-14)


def test_center_is_the_edge_of_the_bulk_for_large_matrices():
    scaling = largest_eigenvalue_scaling(10**8, 25 * 10**6)
    assert scaling.center / 1e8 == pytest.approx(2.25, rel=1e-7)


@pytest.mark.parametrize(("n", "p"), [(40, 10), (10, 40)])
@pytest.mark.parametrize("level", [0.1, 0.05, 0.01])
def test_levels_hold_for_small_wishart_matrices(n, p, level):
    draws = largest_of_wishart(n, p, 6000, np.random.default_rng(0))
    share = np.mean(draws > largest_eigenvalue_scaling(n, p).threshold(level))
    # .096, .048 and .009 in 20000 draws: the error of the limit is below .005 here
    assert abs(share - level) < 0.005 + 4.0 * np.sqrt(level * (1.0 - level) / 6000)


def test_levels_of_symmetric_matrices_are_conservative():
    rng, size = np.random.default_rng(0), 50
    degrees = np.arange(size - 1, 0, -1)
    draws = np.empty(1500)
    for i in range(draws.size):
        off = np.sqrt(rng.chisquare(degrees)) / np.sqrt(size)
        diagonal = rng.standard_normal(size) * np.sqrt(2.0 / size)
        draws[i] = eigvalsh_tridiagonal(diagonal, off, select="i", select_range=(size - 1, size - 1))[0]
    share = np.mean(draws > wigner_scaling(size).threshold(0.1))
    # .081 in 20000 draws
    assert abs(share - 0.081) < 4.0 * np.sqrt(0.081 * 0.919 / draws.size)


def test_wrong_calls():
    for sizes in ((0, 5), (5, -1), (2.5, 3)):
        with pytest.raises(ArgumentError):
            largest_eigenvalue_scaling(*sizes)
    with pytest.raises(ArgumentError, match="size"):
        wigner_scaling(0)
    for variance in (0.0, -1.0, np.nan):
        with pytest.raises(ArgumentError, match="variance"):
            wigner_scaling(5, variance=variance)
    for level in (0.0, 1.0, np.nan):
        with pytest.raises(ArgumentError, match="level"):
            largest_eigenvalue_scaling(1, 1).threshold(level)


def test_quantiles_that_splits_keep_are_those_of_the_law():
    assert real_edge_quantile(0.995) == TracyWidom(beta=1).quantile(0.995)
