import numpy as np
import pytest

from spectra import Operator, as_operator
from spectra.arrays import to_host
from spectra.errors import ArgumentError
from tests.cases import matrix

SELECTIONS = {
    "neighbors": (slice(1, 4), [1, 2, 3]),
    "all": (slice(None), [0, 1, 2, 3, 4, 5]),
    "every other": (slice(None, None, 2), [0, 2, 4]),
    "backwards": (slice(None, None, -1), [5, 4, 3, 2, 1, 0]),
    "from the end": (slice(-2, None), [4, 5]),
    "list": ([4, 0, 3], [4, 0, 3]),
    "one": ([5], [5]),
    "unsigned": (np.array([2, 3], dtype=np.uint8), [2, 3]),
}


@pytest.mark.parametrize("index", SELECTIONS)
def test_submatrix_against_dense_in_every_library(xp, index):
    selection, rows = SELECTIONS[index]
    a = matrix("spiked", 6)
    A = as_operator(xp.asarray(a))
    v = np.arange(2.0 * len(rows)).reshape(len(rows), 2)
    block = xp.asarray(v)
    part = A.submatrix(selection)
    assert part.shape == (len(rows), len(rows))
    np.testing.assert_allclose(to_host(part @ block), a[np.ix_(rows, rows)] @ v, rtol=1e-13)
    np.testing.assert_array_equal(to_host(block), v)
    assert (part.num_matvecs, A.num_matvecs) == (2, 2)


def test_submatrix_by_an_array_of_the_same_library(xp):
    a = matrix("spiked", 6)
    part = as_operator(xp.asarray(a)).submatrix(xp.asarray(np.array([5, 1])))
    np.testing.assert_allclose(to_host(part @ xp.asarray(np.eye(2))), a[np.ix_([5, 1], [5, 1])])


def test_submatrix_of_a_function_that_overwrites_its_block():
    def overwrite(block):
        block *= np.arange(4.0)[:, None]
        return block

    A = Operator(overwrite, like=np.zeros(4))
    v = np.ones(4)
    np.testing.assert_array_equal(A.submatrix(slice(None)) @ v, np.arange(4.0))
    np.testing.assert_array_equal(A.submatrix([3, 1]) @ v[:2], [3.0, 1.0])
    np.testing.assert_array_equal(v, 1.0)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (slice(2, 2), "at least one of the 4"),
        ([], "at least one"),
        ([0, 4], "0 .. 3"),
        ([-1, 0, 1], "0 .. 3"),
        ([2, 2], "twice"),
        ([1, 0, 1], "twice"),
        ([0.0, 1.0], "vector of integers"),
        (np.array([[0, 1]]), "vector of integers"),
        (np.ones(4, dtype=bool), "flatnonzero"),
        (2, "slice or a vector"),
    ],
)
def test_what_does_not_select_a_submatrix(index, message):
    with pytest.raises(ArgumentError, match=message):
        as_operator(np.eye(4)).submatrix(index)


def test_eigenvalues_of_a_submatrix_interlace():
    a = matrix("spiked")
    A = as_operator(a)
    outer = np.linalg.eigvalsh(a)
    inner = np.linalg.eigvalsh(A.submatrix(np.arange(1, a.shape[0])) @ np.eye(a.shape[0] - 1))
    rounding = 100 * np.finfo(float).eps * np.abs(outer).max()
    assert np.all(outer[:-1] - rounding <= inner)
    assert np.all(inner <= outer[1:] + rounding)
