import numpy as np

from spectra.kernels.control_variate import ControlVariate, helpful
from spectra.kernels.rp_cholesky import rp_cholesky_of_gram
from spectra.kernels.stationary import RBF


def test_deviation_is_that_of_the_dense_functions():
    generator = np.random.default_rng(0)
    K = RBF(1.0)(generator.standard_normal((60, 2)))
    found, ridge = rp_cholesky_of_gram(K, num_columns=15), 0.1
    V = np.linalg.qr(generator.standard_normal((60, 4)))[0]
    P = np.eye(60) - V @ V.T
    g = generator.standard_normal((5, 60)) @ P
    g /= np.linalg.norm(g, axis=1)[:, None]
    got = ControlVariate(found, V, g).deviation(np.array([ridge]))
    F = found.factor
    inverse = ridge * np.linalg.inv(F @ F.T + ridge * np.eye(60))
    for q, f in enumerate((inverse, inverse @ inverse)):
        want = 56 * np.einsum("pi,ij,pj->p", g, f, g) - np.trace(P @ f @ P)
        np.testing.assert_allclose(got[q, 0], want, atol=1e-11)


def test_helps_only_where_it_helps():
    generator = np.random.default_rng(0)
    noise, other = generator.standard_normal((2, 3, 40))
    np.testing.assert_array_equal(helpful(noise, noise), noise)
    assert not np.any(helpful(noise, other))
