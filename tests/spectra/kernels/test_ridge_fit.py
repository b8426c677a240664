import numpy as np
import pytest

from spectra.errors import ArgumentError, ShapeError
from spectra.kernels.eigenlearning import eigenlearning
from spectra.kernels.gram import GramSpectrum
from spectra.kernels.ridge_fit import RidgeFit, checked_ridges, require_usable_size, ridge_fit
from tests.spectra.kernels.ridge_problems import laplace


@pytest.mark.parametrize("ridge", [1e-3, 0.5, 100.0])
def test_everything_agrees_with_the_inverse(ridge):
    K, y = laplace(40, outputs=2)
    fit = ridge_fit(K, y)
    P = np.linalg.inv(K + ridge * np.eye(40))
    np.testing.assert_allclose(fit.inverse(ridge), P, atol=1e-10 / ridge**0.5)
    np.testing.assert_allclose(fit.inverse_diagonal(ridge), np.diag(P), rtol=1e-11)
    np.testing.assert_allclose(fit.coefficients(ridge), P @ y, atol=1e-10)
    found = fit.statistics([ridge])
    hat = K @ P
    train = np.mean(np.sum((y - hat @ y) ** 2, axis=1))
    assert found.train_error[0] == pytest.approx(train, rel=1e-9)
    assert found.df1[0] == pytest.approx(np.trace(hat), rel=1e-11)
    assert found.df1[0] == pytest.approx(40 - ridge / found.kappa[0], rel=1e-9)
    assert found.gcv[0] == pytest.approx(train / (1 - np.trace(hat) / 40) ** 2, rel=1e-9)
    assert found.kappa[0] == pytest.approx(1 / np.trace(P), rel=1e-11)
    assert found.overfitting_coefficient[0] == pytest.approx(40 * np.trace(P @ P) / np.trace(P) ** 2, rel=1e-10)
    assert found.df2[0] == pytest.approx(40 - np.trace(P) ** 2 / np.trace(P @ P), rel=1e-9)
    assert found.condition_number[0] == pytest.approx(np.linalg.cond(K + ridge * np.eye(40)), rel=1e-9)


def test_many_ridges_are_single_ones():
    K, y = laplace(30, outputs=3)
    fit = ridge_fit(K, y)
    ridges = [3.0, 0.0, 1e-2]
    found = fit.statistics(ridges)
    for i, ridge in enumerate(ridges):
        assert found.leave_one_out[i] == pytest.approx(np.mean(np.sum(fit.residuals(ridge) ** 2, axis=1)), rel=1e-10)
    np.testing.assert_allclose(
        fit.squared_residuals(ridges)[:, 2], np.sum(fit.residuals(1e-2) ** 2, axis=1), rtol=1e-9, atol=1e-15
    )
    assert found.effective_ridge[1] == fit.spectrum.ridge_floor


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units(unit):
    K, y = laplace(30)
    plain, scaled = ridge_fit(K, y).statistics([0.0, 0.1]), ridge_fit(unit * K, y).statistics([0.0, 0.1 * unit])
    for name in ("leave_one_out", "gcv", "df1", "df2", "overfitting_coefficient", "condition_number"):
        np.testing.assert_allclose(getattr(scaled, name), getattr(plain, name), rtol=1e-8)
    np.testing.assert_allclose(scaled.kappa, unit * plain.kappa, rtol=1e-10)


def test_traces_estimate_the_population():
    """Gaussian design, i^-1.5: kappa, df1, df2 and E0 agree with theory within 3 standard errors and a part in 100."""
    values, n, rng = np.arange(1.0, 401) ** -1.5, 150, np.random.default_rng(8)
    theory = eigenlearning(values, num_samples=n, ridge=0.15)
    draws = []
    for _ in range(20):
        Z = rng.standard_normal((n, 400))
        found = ridge_fit(Z * values @ Z.T, np.ones(n)).statistics(0.15)
        draws.append([found.kappa[0], found.df1[0], found.df2[0], found.overfitting_coefficient[0]])
    stderr = np.std(draws, axis=0) / np.sqrt(20)
    expected = [theory.kappa, theory.df1, theory.df2, theory.overfitting_coefficient]
    assert np.all(np.abs(np.mean(draws, axis=0) - expected) < 3 * stderr + 0.01 * np.array(expected))


def test_a_fit_needs_eigenvectors():
    fit = RidgeFit(spectrum=GramSpectrum.of_eigenvalues([1.0]), target=np.ones((1, 1)), projection=np.ones((1, 1)))
    with pytest.raises(ArgumentError, match="eigenvectors"):
        fit.residuals(1.0)


def test_power_and_variance():
    fit = ridge_fit(np.eye(4), np.array([[1.0, 0.0], [3.0, 0.0], [1.0, 0.0], [3.0, 0.0]]))
    assert (fit.label_variance, fit.power, fit.num_samples) == (1.0, 5.0, 4)


@pytest.mark.parametrize(
    ("ridges", "error"),
    [
        ([], ShapeError),
        ([[1.0]], ShapeError),
        ([1.0, -1.0], ArgumentError),
        ([np.inf], ArgumentError),
        (["a"], ArgumentError),
        (None, ArgumentError),
    ],
)
def test_ridges_that_cannot_be(ridges, error):
    with pytest.raises(error):
        checked_ridges(ridges)


def test_targets_whose_squares_are_no_numbers_are_refused():
    with pytest.raises(ArgumentError, match="choose another unit"):
        ridge_fit(np.eye(3), [1e160, 0.0, 1.0])
    with pytest.raises(ArgumentError, match="choose another unit"):
        require_usable_size(np.array([1e-160, 0.0]))
    assert require_usable_size(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_a_variance_of_rounding_is_none(unit):
    assert ridge_fit(np.eye(7), np.full(7, 0.1 * unit)).label_variance == 0
    assert ridge_fit(np.eye(2), [unit, -unit]).label_variance == pytest.approx(unit**2)
