import math

import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.kernels.conditioning import kernel_condition
from spectra.kernels.eigendecay import eigendecay
from spectra.kernels.gram import GramSpectrum
from spectra.kernels.stationary import RBF, Laplace, Matern

POWERS = {"1.5": np.arange(1, 1001.0) ** -1.5, "2": np.arange(1, 1001.0) ** -2}
FAST = {"0.05": np.exp(-0.05 * np.arange(1, 1001.0)), "0.1": np.exp(-0.1 * np.arange(1, 1001.0))}


def extremes(values, n, seed):
    """Return largest and smallest eigenvalue of a Gram matrix of independent Gaussian features."""
    Z = np.random.default_rng([17, seed]).standard_normal((n, values.size)) * np.sqrt(values)
    squares = np.linalg.svd(Z, compute_uv=False) ** 2
    return squares[0], squares[-1]


def test_condition_number_of_a_diagonal():
    found = kernel_condition(np.diag([8.0, 2.0, 1.0]))
    assert found.condition_number == pytest.approx(8.0)
    assert (found.largest, found.smallest) == pytest.approx((8.0, 1.0))
    assert not found.is_lower_bound
    assert math.isinf(found.ridge_bound)


@pytest.mark.parametrize("ridge", [1e-6, 0.1, 10.0])
def test_ridge_bound_holds_for_any_kernel(ridge):
    X = np.random.default_rng(0).random((60, 2))
    for kernel in (Laplace(0.3), RBF(1.0), Matern(0.5)):
        K = kernel(X)
        found = kernel_condition(K, ridge=ridge)
        assert found.condition_number <= found.ridge_bound
        assert found.condition_number == pytest.approx(np.linalg.cond(K + ridge * np.eye(60)), rel=1e-6)


@pytest.mark.parametrize(("name", "slope"), [("1.5", 1.5), ("2", 2.0)])
def test_growth_of_independent_features(name, slope):
    """Measured 1.43 and 1.93 from n = 30 to 240."""
    sizes = [30, 60, 120]
    medians = []
    for n in sizes:
        drawn = [extremes(POWERS[name], n, seed) for seed in range(6)]
        medians.append(np.median([top / bottom for top, bottom in drawn]))
    assert np.polyfit(np.log(sizes), np.log(medians), 1)[0] == pytest.approx(slope, abs=0.25)


def test_given_eigenvalues_of_independent_features_stay_below_the_bound():
    values = POWERS["1.5"]
    Z = np.random.default_rng(1).standard_normal((100, 1000)) * np.sqrt(values)
    found = kernel_condition(Z @ Z.T, eigenvalue=values)
    assert found.origin == "given eigenvalues"
    assert found.feature_dependence < 1
    assert found.feature_dependence == pytest.approx(found.condition_number / found.independent_bound)
    assert "no bound for this kernel" in found.why


def test_laplace_kernel_on_random_points_exceeds_the_bound():
    """Features of a kernel depend on each other: two close points make the smallest eigenvalue."""
    X = np.random.default_rng(0).random((320, 1))
    found = kernel_condition(Laplace(1.0)(X))
    assert found.origin == "fitted law"
    assert found.law == "polynomial"
    assert found.growth.startswith("n^2.")
    assert found.feature_dependence > 1
    assert "does not hold for a kernel" in found.why


@pytest.mark.parametrize(("nu", "exponent"), [(0.5, 1.0), (1.5, 3.0), (2.5, 5.0)])
def test_smallest_eigenvalue_follows_the_separation_of_equispaced_points(nu, exponent):
    """Measured 1.01, 3.05, 5.11: a lower bound of this order is due to Schaback (1995)."""
    sizes = np.array([10, 20, 40, 80])
    smallest = [kernel_condition(Matern(1.0, nu=nu)(np.linspace(0, 1, n)[:, None])).smallest for n in sizes]
    slope = np.polyfit(np.log(1 / (sizes - 1)), np.log(smallest), 1)[0]
    assert slope == pytest.approx(exponent, abs=0.15)


def test_fitted_exponential_law():
    # Few enough that eigenvalues stay above rounding.
    values = np.exp(-0.1 * np.arange(1, 600.0))
    Z = np.random.default_rng(2).standard_normal((120, 599)) * np.sqrt(values)
    found = kernel_condition(Z @ Z.T)
    assert found.law == "exponential"
    assert found.growth.startswith("exp(0.")
    assert found.feature_dependence < 1


def test_rounding_makes_a_lower_bound():
    found = kernel_condition(RBF(1.0)(np.linspace(0, 1, 60)[:, None]))
    assert found.is_lower_bound
    assert found.condition_number == pytest.approx(1 / (60 * np.finfo(float).eps), rel=0.9)
    assert "at least" in found.why
    held = kernel_condition(RBF(1.0)(np.linspace(0, 1, 60)[:, None]), ridge=1e-3)
    assert not held.is_lower_bound
    assert held.condition_number < held.ridge_bound * (1 + 1e-12)


def test_no_law_means_no_comparison():
    found = kernel_condition(np.eye(3))
    assert (found.origin, found.independent_bound, found.feature_dependence) == ("none", None, None)
    assert found.growth == ""
    assert "no comparison" in found.why


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_do_not_matter(unit):
    K = Laplace(1.0)(np.random.default_rng(0).random((100, 1)))
    one, other = kernel_condition(K, ridge=0.01), kernel_condition(unit * K, ridge=0.01 * unit)
    assert other.condition_number == pytest.approx(one.condition_number, rel=1e-9)
    assert other.independent_bound == pytest.approx(one.independent_bound, rel=1e-6)
    assert other.why == one.why


def test_a_law_that_was_fitted_before_is_used():
    K = Laplace(1.0)(np.random.default_rng(0).random((100, 1)))
    decay = eigendecay(K, num_subsamples=0)
    assert kernel_condition(K, decay=decay).independent_bound == kernel_condition(K).independent_bound


def test_eigenvalues_will_do():
    values = np.array([4.0, 2.0, 1.0])
    assert kernel_condition(values).condition_number == 4.0
    assert kernel_condition(GramSpectrum.of_eigenvalues(values)).condition_number == 4.0


@pytest.mark.parametrize("n", [1, 2])
def test_few_samples(n):
    assert kernel_condition(np.eye(n)).condition_number == 1.0


@pytest.mark.parametrize(
    ("source", "settings", "error"),
    [
        (np.full((2, 2), np.nan), {}, NonFiniteError),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), {}, NotSymmetricError),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), {}, ArgumentError),
        (np.zeros((2, 2)), {}, ArgumentError),
        (np.ones((2, 3)), {}, ShapeError),
        (np.empty((0, 0)), {}, ShapeError),
        (np.eye(2), {"ridge": -1.0}, ArgumentError),
        (np.eye(2), {"level": 1.0}, ArgumentError),
        (np.eye(2), {"eigenvalue": [-1.0, 2.0]}, ArgumentError),
        (np.eye(2), {"eigenvalue": []}, (ShapeError, ArgumentError)),
        (GramSpectrum.of_eigenvalues([2.0, 1.0], num_samples=5), {}, ArgumentError),
    ],
)
def test_bad_input(source, settings, error):
    with pytest.raises(error):
        kernel_condition(source, **settings)
