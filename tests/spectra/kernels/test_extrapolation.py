import numpy as np
import pytest

from spectra.errors import ArgumentError, ShapeError
from spectra.kernels.extrapolation import extrapolate
from spectra.kernels.leave_one_out import leave_one_out
from spectra.kernels.ridge_fit import ridge_fit
from tests.spectra.kernels.ridge_problems import laplace, noisy_plane, smooth


def test_at_n_the_tail_is_leave_one_out():
    K, y = laplace(80)
    found = extrapolate(K, y, sizes=[80, 160], ridge_per_sample=[1e-3, 1e-1])
    assert found["eigen_tail"].values[0] == pytest.approx(found["leave_one_out"].values, rel=1e-12)
    assert found["leave_one_out"].values[1] == leave_one_out(K, y, ridge=8.0).risk
    inside = (found["low"] <= found["test_error"]) & (found["test_error"] <= found["high"])
    assert inside.all()
    assert found["test_error"].values == pytest.approx(np.sqrt(found["power_fit"] * found["eigen_tail"]).values)


@pytest.mark.parametrize("ridge_per_sample", [1e-3, 1e-2])
def test_more_samples_of_the_plane(ridge_per_sample):
    """Five draws of 100 samples, to 400: intervals hold the measured error in at least four, both within a third."""
    rng = np.random.default_rng(9)
    X, labels = noisy_plane(1200, rng)
    held, ratios = [], []
    for _ in range(5):
        A, y = noisy_plane(400, rng)
        K = np.exp(-np.linalg.norm(A[:, None] - A, axis=2))
        across = np.exp(-np.linalg.norm(X[:, None] - A, axis=2))
        coefficients = ridge_fit(K, y).coefficients(400 * ridge_per_sample)
        truth = np.mean((labels - across @ coefficients) ** 2)
        found = extrapolate(K[:100, :100], y[:100], sizes=[400], ridge_per_sample=ridge_per_sample)
        held.append(found["low"].item() <= truth <= found["high"].item())
        ratios.append([found["power_fit"].item() / truth, found["eigen_tail"].item() / truth])
    assert sum(held) >= 4
    assert np.all(np.abs(np.log(np.mean(ratios, axis=0))) < np.log(4 / 3))


def test_where_it_is_not_trustworthy():
    K, y = laplace(60)
    found = extrapolate(K, y, sizes=[240, 241], ridge_per_sample=1e-1)
    assert found["is_trustworthy"].values.ravel().tolist() == [True, False]
    assert "more than 4" in found["why"].values[1, 0]
    K, y = smooth(60)
    assert not extrapolate(K, y, sizes=[120], ridge_per_sample=0.0)["is_trustworthy"].item()


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units(unit):
    K, y = laplace(60)
    plain = extrapolate(K, y, sizes=[120], ridge_per_sample=1e-2)
    scaled = extrapolate(unit * K, y, sizes=[120], ridge_per_sample=1e-2 * unit)
    for name in ("power_fit", "eigen_tail", "low", "high"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-5)


def test_float32_matrices_that_are_singular():
    K, y = smooth(80, length=2.0)
    single, double = (extrapolate(one, y, sizes=[160], ridge_per_sample=1e-2) for one in (K.astype(np.float32), K))
    assert single["test_error"].item() == pytest.approx(double["test_error"].item(), rel=1e-2)


def test_targets_of_zero_and_several_outputs():
    assert extrapolate(np.eye(40), np.zeros(40), sizes=[80], ridge_per_sample=0.1)["test_error"].item() == 0.0
    K, y = laplace(60, outputs=2)
    assert extrapolate(K, y, sizes=[120], ridge_per_sample=0.1).attrs["num_outputs"] == 2


@pytest.mark.parametrize(
    ("n", "options", "error"),
    [
        (31, {}, ArgumentError),
        (40, {"sizes": [39]}, ArgumentError),
        (40, {"ridge_per_sample": -1.0}, ArgumentError),
        (40, {"ridge_per_sample": []}, ShapeError),
        (40, {"level": 1.0}, ArgumentError),
    ],
)
def test_wrong_calls(n, options, error):
    K, y = laplace(n)
    with pytest.raises(error):
        extrapolate(K, y, **({"sizes": [80], "ridge_per_sample": 0.1} | options))
