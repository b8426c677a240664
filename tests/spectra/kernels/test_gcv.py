import numpy as np
import pytest

from spectra.errors import ArgumentError, ShapeError
from spectra.kernels.gcv import gcv
from spectra.kernels.leave_one_out import leave_one_out
from tests.spectra.kernels.ridge_problems import laplace, smooth


@pytest.mark.parametrize("ridge", [1e-2, 1.0])
def test_it_is_the_train_error_over_the_square_of_what_is_not_fitted(ridge):
    K, y = laplace(50, outputs=2)
    found = gcv(K, y, ridge=ridge)
    assert found.risk == pytest.approx(found.train_error / (1 - found.df1 / 50) ** 2, rel=1e-10)


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_on_a_circle_it_is_leave_one_out(ridge):
    """All points have one leverage there."""
    angle = 2 * np.pi * np.arange(40) / 40
    K = np.exp(-np.abs(np.sin((angle[:, None] - angle) / 2)))
    y = np.random.default_rng(0).standard_normal((40, 2))
    one, other = gcv(K, y, ridge=ridge), leave_one_out(K, y, ridge=ridge)
    assert one.risk == pytest.approx(other.risk, rel=1e-9)
    np.testing.assert_allclose(one.residuals, other.residuals, atol=1e-9)


def test_the_jackknife_leaves_one_out():
    K, y = laplace(25, outputs=2)
    means = []
    for j in range(25):
        keep = np.arange(25) != j
        means.append(gcv(K[np.ix_(keep, keep)], y[keep], ridge=0.05).risk)
    expected = np.sqrt(24 / 25 * np.sum((means - np.mean(means)) ** 2))
    assert gcv(K, y, ridge=0.05).stderr == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_gaussian_design(ridge):
    """Mean estimate and mean test error agree within 3 standard errors of their difference and 5 %."""
    values, n, rng = np.arange(1.0, 401) ** -1.5, 100, np.random.default_rng(5)
    weights = np.arange(1.0, 401) ** -1.0
    pairs = []
    for _ in range(30):
        Z = rng.standard_normal((n, 400))
        K, y = Z * values @ Z.T, Z @ weights + 0.5 * rng.standard_normal(n)
        found = gcv(K, y, ridge=ridge)
        missed = weights - values * (Z.T @ np.linalg.solve(K + found.effective_ridge * np.eye(n), y))
        pairs.append([found.risk, np.sum(missed**2) + 0.25])
    estimate, test = np.mean(pairs, axis=0)
    stderr = np.std(np.diff(pairs, axis=1)) / np.sqrt(30)
    assert abs(estimate - test) < 3 * stderr + 0.05 * test


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units(unit):
    K, y = laplace(30)
    plain, scaled = gcv(K, y, ridge=0.1), gcv(unit * K, y, ridge=unit * 0.1)
    assert (scaled.risk, scaled.stderr) == (pytest.approx(plain.risk, rel=1e-9), pytest.approx(plain.stderr, rel=1e-7))


def test_singular_matrices_have_the_floor():
    K, y = smooth(40)
    found = gcv(K, y, ridge=0.0)
    assert found.effective_ridge > 0
    assert np.isfinite([found.risk, found.stderr]).all()
    assert not found.is_trustworthy


def test_uneven_leverage_is_told():
    """Near copies predict each other and single points nothing; a mean leverage describes neither."""
    K, y = laplace(60, length=0.05)
    often = np.concatenate([np.arange(60), np.arange(40), np.arange(40)])
    K, y = K[np.ix_(often, often)] + 1e-4 * np.eye(140), y[often]
    found, other = gcv(K, y, ridge=0.0), leave_one_out(K, y, ridge=0.0)
    assert found.risk < 0.01 * other.risk
    assert other.is_trustworthy
    assert not found.is_trustworthy
    assert "leave_one_out" in found.why


def test_few_samples_and_wrong_calls():
    assert gcv([[2.0]], [3.0], ridge=0.5).stderr == np.inf
    assert np.isfinite(gcv(np.eye(2), [1.0, 2.0], ridge=0.5).stderr)
    with pytest.raises(ArgumentError):
        gcv(np.eye(2), [1.0, 2.0], ridge=-0.5)
    with pytest.raises(ArgumentError):
        gcv(np.eye(2), [1.0, 2.0], ridge=0.5, level=0.0)
    with pytest.raises(ShapeError):
        gcv(np.eye(2), [1.0], ridge=0.5)
