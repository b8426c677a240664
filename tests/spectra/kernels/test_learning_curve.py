import numpy as np
import pytest

from spectra.errors import ArgumentError, ShapeError
from spectra.kernels.learning_curve import checked_sizes, learning_curve
from spectra.kernels.leave_one_out import leave_one_out
from spectra.kernels.pool import pool_of
from spectra.kernels.ridge_fit import ridge_fit
from tests.spectra.kernels.ridge_problems import laplace, noisy_plane, smooth


def test_it_holds_what_the_pool_and_leave_one_out_say():
    K, y = laplace(120, outputs=2)
    curve = learning_curve(K, y, sizes=[30, 10], ridge_per_sample=[0.0, 1e-2])
    pool = pool_of(ridge_fit(K, y))
    assert curve["num_samples"].values.tolist() == [10, 30]
    assert dict(curve.sizes) == {"num_samples": 2, "ridge": 2}
    for n in (10, 30):
        row = curve.sel(num_samples=n, ridge=1e-2)
        theory = pool.predict(n, n * 1e-2)
        assert row["test_error"].item() == pool.test_error(n, n * 1e-2)
        for name in ("train_error", "kappa", "df1", "df2", "overfitting_coefficient"):
            assert row[name].item() == getattr(theory, name)
        assert row["effective_ridge"].item() == n * 1e-2
    assert curve["leave_one_out"].values[1] == leave_one_out(K, y, ridge=1.2).risk
    assert (curve["effective_ridge"].values[:, 0] > 0).all()


def test_a_ridge_that_does_not_grow():
    K, y = laplace(80)
    one = learning_curve(K, y, sizes=[10, 20], ridge=0.5)
    other = learning_curve(K, y, sizes=[20], ridge_per_sample=0.025)
    assert one["test_error"].sel(num_samples=20).item() == pytest.approx(other["test_error"].item(), rel=1e-12)
    assert (one.attrs["ridge_unit"], other.attrs["ridge_unit"]) == ("unnormalized", "per sample")
    assert one["leave_one_out"].item() == leave_one_out(K, y, ridge=0.5).risk


def test_theory_and_fits_agree_for_a_rough_kernel():
    K, y = laplace(240, seed=3)
    curve = learning_curve(K, y, sizes=[15, 30, 60], ridge_per_sample=[1e-3, 1e-1])
    z = (curve["test_error"] - curve["measured_error"]) / np.hypot(
        curve["measured_stderr"], 0.05 * curve["measured_error"]
    )
    assert (np.abs(z) < 4).all()
    assert curve["is_trustworthy"].sel(num_samples=60).all()
    for name in ("test_error", "measured_error"):
        assert ((curve["low"] <= curve[name]) & (curve[name] <= curve["high"])).all()


def test_what_is_not_trustworthy_says_why():
    K, y = laplace(120)
    curve = learning_curve(K, y, sizes=[20, 50, 90], ridge_per_sample=1e-2)
    assert curve["is_trustworthy"].values.ravel().tolist() == [True, False, False]
    assert "quarter" in curve["why"].values[1, 0]
    for name in ("stderr", "low", "high"):
        assert np.isnan(curve[name].values[1:]).all()
        assert np.isfinite(curve[name].values[0]).all()
    assert np.isfinite(curve["measured_error"].values[:2]).all()
    assert np.isnan(curve["measured_error"].values[2]).all()


def test_a_smooth_kernel_without_ridge_is_caught_by_fits():
    K, y = smooth(240, length=1.0)
    curve = learning_curve(K, y, sizes=[60], ridge_per_sample=0.0)
    assert curve["measured_error"].item() > 10 * np.var(y)
    assert not curve["is_trustworthy"].item()


def test_the_scatter_over_pools():
    """30 pools: the standard errors are those of the curve, within a factor of 1.5."""
    rng = np.random.default_rng(6)
    errors, stderr = [], []
    for _ in range(30):
        X, y = noisy_plane(160, rng)
        K = np.exp(-np.linalg.norm(X[:, None] - X, axis=2))
        curve = learning_curve(K, y, sizes=[20], ridge_per_sample=1e-2)
        errors.append(curve["test_error"].item())
        stderr.append(curve["stderr"].item())
    assert 1 / 1.5 < np.sqrt(np.mean(np.square(stderr))) / np.std(errors) < 1.5


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units(unit):
    K, y = laplace(80)
    plain = learning_curve(K, y, sizes=[20], ridge_per_sample=[0.0, 1e-2])
    scaled = learning_curve(unit * K, y, sizes=[20], ridge_per_sample=[0.0, 1e-2 * unit])
    for name in ("test_error", "measured_error", "stderr"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-5)
    np.testing.assert_allclose(scaled["kappa"], unit * plain["kappa"], rtol=1e-8)


def test_float32_matrices_that_are_singular():
    """Parts of them have the floor of float32 too, and are not called indefinite."""
    K, y = smooth(160, length=2.0)
    curve = learning_curve(K.astype(np.float32), y, sizes=[20, 40], ridge_per_sample=[0.0, 1e-2])
    double = learning_curve(K, y, sizes=[20, 40], ridge_per_sample=[0.0, 1e-2])
    assert (curve["effective_ridge"].values[:, 0] > 1e7 * double["effective_ridge"].values[:, 0]).all()
    np.testing.assert_allclose(curve["test_error"].values[:, 1], double["test_error"].values[:, 1], rtol=1e-3)


def test_one_seed_is_one_result():
    K, y = laplace(60)
    one, same, other = (learning_curve(K, y, sizes=[10], ridge=0.1, rng=seed) for seed in (1, 1, 2))
    assert one["measured_error"].item() == same["measured_error"].item() != other["measured_error"].item()


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": [10]},
        {"sizes": [10], "ridge": 0.1, "ridge_per_sample": 0.1},
        {"sizes": [10], "ridge": -0.1},
        {"sizes": [40], "ridge": 0.1},
        {"sizes": [0], "ridge": 0.1},
        {"sizes": [], "ridge": 0.1},
        {"sizes": [2.5], "ridge": 0.1},
        {"sizes": [10], "ridge": 0.1, "rng": -1},
    ],
)
def test_wrong_calls(options):
    K, y = laplace(40)
    with pytest.raises(ArgumentError):
        learning_curve(K, y, **options)


def test_small_pools_and_wrong_shapes():
    assert learning_curve(np.eye(2), [1.0, 2.0], sizes=[1], ridge=0.1)["test_error"].size == 1
    with pytest.raises(ShapeError):
        learning_curve(np.eye(4), np.ones(3), sizes=[1], ridge=0.1)
    with pytest.raises(ArgumentError):
        learning_curve([[1.0]], [1.0], sizes=[1], ridge=0.1)
    assert checked_sizes(5) == [5]
