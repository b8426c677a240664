import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.kernels.gram import gram_spectrum
from spectra.kernels.leave_one_out import leave_one_out
from spectra.kernels.noise_amplification import noise_amplification, noise_amplification_of
from spectra.kernels.stationary import RBF, Laplace

RNG = np.random.default_rng(3)
POINTS = RNG.random((60, 2))


def test_equals_the_mean_leave_one_out_error_of_noise():
    """Over an orthonormal basis of labels, which has the second moments of noise."""
    K = Laplace(0.7)(POINTS)
    found = noise_amplification(K, ridge=0.05)
    basis = np.linalg.qr(RNG.standard_normal((60, 60)))[0]
    assert found.mean == pytest.approx(leave_one_out(K, basis, ridge=0.05).risk, rel=1e-10)


def test_equals_refits_without_each_sample():
    K = Laplace(0.7)(POINTS[:12])
    ratio = noise_amplification(K, ridge=0.1).ratio
    for i in range(12):
        rest = np.delete(np.arange(12), i)
        weights = np.linalg.solve(K[np.ix_(rest, rest)] + 0.1 * np.eye(11), K[rest, i])
        assert ratio[i] == pytest.approx(1 + weights @ weights, rel=1e-11)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_do_not_matter(unit):
    K = Laplace(0.7)(POINTS)
    one, other = noise_amplification(K, ridge=0.1), noise_amplification(unit * K, ridge=0.1 * unit)
    assert other.mean == pytest.approx(one.mean, rel=1e-10)
    assert other.gaussian == pytest.approx(one.gaussian, rel=1e-10)
    free = noise_amplification(unit * K)
    assert free.mean == pytest.approx(noise_amplification(K).mean, rel=1e-6)


def test_a_large_ridge_leaves_the_noise():
    found = noise_amplification(Laplace(0.7)(POINTS), ridge=1e8)
    assert found.mean == pytest.approx(1.0, abs=1e-6)
    assert found.gaussian == pytest.approx(1.0, abs=1e-6)


def test_gaussian_estimate_is_a_ratio_of_traces():
    K = Laplace(0.7)(POINTS)
    P = np.linalg.inv(K + 0.2 * np.eye(60))
    expected = 60 * np.trace(P @ P) / np.trace(P) ** 2
    assert noise_amplification(K, ridge=0.2).gaussian == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("dimension", "ridge"), [(1, 0.0), (3, 0.0), (2, 0.3)])
def test_unbiased_for_the_error_of_fits_to_noise(dimension, ridge):
    """z-test over draws of inputs: the mean over samples against new points, with n - 1 samples."""
    differences = []
    for seed in range(60):
        rng = np.random.default_rng([11, seed])
        X, new = rng.random((40, dimension)), rng.random((50, dimension))
        kernel = Laplace(0.5)
        weights = np.linalg.solve(kernel(X[1:]) + ridge * np.eye(39), kernel(X[1:], new))
        differences.append(noise_amplification(kernel(X), ridge=ridge).mean - 1 - np.mean(np.sum(weights**2, axis=0)))
    z = np.mean(differences) / (np.std(differences, ddof=1) / np.sqrt(60))
    assert abs(z) < 3.5


def test_agrees_with_the_gaussian_estimate_for_gaussian_features():
    rng = np.random.default_rng(5)
    values = np.arange(1, 3001.0) ** -1.5
    Z = rng.standard_normal((200, 3000)) * np.sqrt(values)
    found = noise_amplification(Z @ Z.T)
    assert found.mean == pytest.approx(found.gaussian, rel=0.02)
    assert not found.is_heavy_tailed


def test_closest_pairs_mislead_the_gaussian_estimate():
    """Recorded: about 77 and 1.67 at n = 400."""
    found = noise_amplification(Laplace(0.3)(np.random.default_rng(0).random((400, 1))))
    assert found.gaussian > 10
    assert found.mean == pytest.approx(1.67, abs=0.05)


def test_smooth_kernels_are_heavy_tailed():
    found = noise_amplification(RBF(0.5)(np.random.default_rng(1).random((100, 2))))
    assert found.is_heavy_tailed
    assert found.median < found.mean / 10


@pytest.mark.parametrize("n", [1, 2])
def test_few_samples(n):
    found = noise_amplification(np.eye(n))
    assert found.mean == 1.0
    assert np.isinf(found.stderr) == (n == 1)


def test_decomposed_matrix_will_do():
    K = Laplace(0.7)(POINTS)
    assert (
        noise_amplification_of(gram_spectrum(K, vectors=True), ridge=0.1).mean == noise_amplification(K, ridge=0.1).mean
    )


@pytest.mark.parametrize(
    ("K", "ridge", "error"),
    [
        (np.full((2, 2), np.nan), 0.0, NonFiniteError),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), 0.0, NotSymmetricError),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), 0.0, ArgumentError),
        (np.ones((2, 3)), 0.0, ShapeError),
        (np.empty((0, 0)), 0.0, ShapeError),
        (np.eye(2), -1.0, ArgumentError),
    ],
)
def test_bad_input(K, ridge, error):
    with pytest.raises(error):
        noise_amplification(K, ridge=ridge)
