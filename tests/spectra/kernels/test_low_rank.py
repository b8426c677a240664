import numpy as np
import pytest

from spectra.errors import ArgumentError, ShapeError
from spectra.kernels.low_rank import LowRank
from spectra.kernels.rp_cholesky import rp_cholesky_of_gram


def decaying(n=60, seed=0):
    generator = np.random.default_rng(seed)
    q = np.linalg.qr(generator.standard_normal((n, n)))[0]
    values = 0.5 ** np.arange(n)
    return (q * values) @ q.T


def test_eigenpairs_are_those_of_the_approximation():
    K = decaying()
    found = rp_cholesky_of_gram(0.5 * (K + K.T), num_columns=12)
    F, U = found.factor, found.eigenvector
    np.testing.assert_allclose(U.T @ U, np.eye(12), atol=1e-13)
    np.testing.assert_allclose(U * found.eigenvalue @ U.T, F @ F.T, atol=1e-14)
    assert np.all(np.diff(found.eigenvalue) <= 0)


@pytest.mark.parametrize("ridge", [1e-12, 1e-6, 1.0, 1e6])
def test_solve_is_the_inverse(ridge):
    K = decaying()
    found = rp_cholesky_of_gram(0.5 * (K + K.T), num_columns=10)
    V = np.random.default_rng(1).standard_normal((60, 3))
    image = found.factor @ (found.factor.T @ V) + ridge * V
    np.testing.assert_allclose(found.solve(image, ridge=ridge), V, atol=1e-14 * max(1.0, 1 / ridge))
    np.testing.assert_array_equal(found.solve(V[:, 0], ridge=ridge), found.solve(V[:, :1], ridge=ridge)[:, 0])


def test_solve_keeps_single_precision():
    found = rp_cholesky_of_gram(np.eye(4), num_columns=2)
    assert found.solve(np.ones(4, dtype=np.float32), ridge=1.0).dtype == np.float32


def test_spectrum_holds_what_is_left():
    K = decaying()
    spectrum = rp_cholesky_of_gram(0.5 * (K + K.T), num_columns=5).spectrum()
    assert spectrum.trace == pytest.approx(np.trace(K), rel=1e-12)
    assert (spectrum.num_samples, spectrum.eigenvalue.size, spectrum.is_complete) == (60, 5, False)


def test_bad_input():
    found = rp_cholesky_of_gram(np.eye(4), num_columns=2)
    for ridge in (0.0, -1.0, np.nan):
        with pytest.raises(ArgumentError, match="ridge"):
            found.solve(np.ones(4), ridge=ridge)
    with pytest.raises(ShapeError, match="V must have shape"):
        found.solve(np.ones(5), ridge=1.0)
    empty = LowRank(
        factor=np.zeros((3, 0)),
        trace=1.0,
        residual_trace=1.0,
        residual_diagonal=np.ones(3) / 3,
        pivots=np.zeros(0, dtype=int),
        num_evaluations=0,
        eps=1e-16,
        stop="tolerance",
        is_trustworthy=True,
        why="",
    )
    assert empty.eigenvalue.size == 0
    with pytest.raises(ArgumentError, match="rank 0"):
        empty.spectrum()
