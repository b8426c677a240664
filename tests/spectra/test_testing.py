import numpy as np
import pytest

from spectra import Operator, as_operator
from spectra.errors import (
    ArgumentError,
    BackendError,
    NonDeterministicError,
    NonFiniteError,
    NotSymmetricError,
    ShapeError,
)
from spectra.testing import SPECTRA, check_operator, matrix_with_spectrum, spectrum
from tests.cases import matrix

A = matrix("spiked", 12)
GENERATOR = np.random.default_rng(0)


def in_place(block):
    block *= 2.0
    return block


def nan_at_the_end(block):
    product = A @ block
    product[-1, -1] = np.nan
    return product


BROKEN = {
    "writes into its argument": (in_place, ArgumentError),
    "not finite": (nan_at_the_end, NonFiniteError),
    "random": (lambda v: A @ v * (1.0 + 1e-3 * GENERATOR.standard_normal()), NonDeterministicError),
    "affine": (lambda v: A @ v + 1.0, ArgumentError),
    "quadratic": (lambda v: (A @ v) * np.abs(v), ArgumentError),
    "not symmetric": (lambda v: np.triu(A) @ v, NotSymmetricError),
    "other shape": (lambda v: v[:, :1], ShapeError),
    "other dtype": (lambda v: v.astype(np.float32), BackendError),
    "vector unlike column": (lambda v: A @ v * (1.0 + (v.shape[1] == 1)), ArgumentError),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("scale", [1.0, 1e-100, 1e100])
def test_every_defect_is_found(name, scale):
    matmat, error = BROKEN[name]
    operator = Operator(matmat, like=np.zeros(12))
    if scale != 1.0 and name != "writes into its argument":
        operator = Operator(lambda v: matmat(v) * np.asarray(scale, dtype=matmat(v).dtype), like=np.zeros(12))
        if name == "other dtype":
            return
    with pytest.raises(error):
        check_operator(operator)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_sound_operators_pass(xp, dtype, scale):
    check_operator(xp.asarray((scale * A).astype(dtype)))


def test_stated_cost():
    operator = as_operator(A)
    check_operator(operator)
    assert operator.num_matvecs == 12


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("n", [1, 2, 31])
def test_matrices_have_the_spectrum(name, n):
    values = spectrum(name, n)
    a = matrix_with_spectrum(values, rng=3)
    np.testing.assert_array_equal(a, a.T)
    np.testing.assert_allclose(np.linalg.eigvalsh(a), values, atol=1e-13 * max(1.0, np.max(np.abs(values))))
    assert np.all(np.diff(values) >= 0)


def test_wrong_calls():
    with pytest.raises(ArgumentError, match="inverse"):
        spectrum("unknown", 3)
    with pytest.raises(ArgumentError):
        spectrum("zero", 0)
    for bad in ([], [[1.0]], [np.nan]):
        with pytest.raises(ArgumentError):
            matrix_with_spectrum(bad)
