import numpy as np
import pytest

from spectra.symmetry import is_symmetric


@pytest.mark.parametrize("unit", [1e-300, 1e-14, 1.0, 1e14, 1e300])
def test_rounding_does_not_count(unit):
    Q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((30, 30)))
    product = unit * (Q * np.arange(1.0, 31.0)) @ Q.T
    assert is_symmetric(product)
    assert is_symmetric((product / unit).astype(np.float32))
    changed = product.copy()
    changed[0, 1] += 1e-4 * unit
    assert not is_symmetric(changed)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 2, 2)])
def test_what_is_no_square_matrix(shape):
    assert not is_symmetric(np.ones(shape))


def test_nothing_and_zeros():
    assert is_symmetric(np.zeros((0, 0)))
    assert is_symmetric(np.zeros((3, 3)))
