import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError
from spectra.kernels.pivoted_factor import accepted, require_diagonal


def test_factor_is_that_of_the_accepted_part():
    A = np.random.default_rng(0).standard_normal((6, 8))
    core = A @ A.T
    index, triangle = accepted(core, np.diag(core), np.full(6, 0.5), np.zeros(6))
    np.testing.assert_allclose(triangle @ triangle.T, core[np.ix_(index, index)], atol=1e-12)


def test_all_are_kept_where_nothing_is_rejected():
    assert accepted(np.eye(3), np.ones(3), np.full(3, 0.99), np.zeros(3))[0].tolist() == [0, 1, 2]


def test_floor_rejects_noise():
    assert accepted(np.array([[1e-20]]), np.array([1e-20]), np.zeros(1), np.array([1e-14]))[0].size == 0


@pytest.mark.parametrize(
    ("diagonal", "error"),
    [([1.0, np.nan], NonFiniteError), ([0.0, 0.0], ArgumentError), ([1.0, -1.0], ArgumentError)],
)
def test_bad_diagonals(diagonal, error):
    with pytest.raises(error):
        require_diagonal(np.array(diagonal), 1e-16)
