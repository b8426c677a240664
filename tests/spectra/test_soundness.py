"""Symmetry is judged by the norm of the operator, not by products that are all rounding."""

import numpy as np
import pytest

from spectra.errors import NotSymmetricError
from spectra.soundness import judge, relative_skew


def test_products_that_are_rounding_do_not_count_as_asymmetric():
    rng = np.random.default_rng(0)
    matrix = np.diag([3.0, 2.0, 0.0, 0.0])
    noise = 1e-17 * rng.standard_normal((4, 4))
    products = matrix + noise
    norms = np.linalg.norm(products, axis=0)
    assert relative_skew(products, norms) < 1e3 * np.finfo(float).eps


def test_asymmetry_of_the_operator_itself_is_seen():
    matrix = np.array([[3.0, 0.1], [0.0, 2.0]])
    skew = relative_skew(matrix, np.linalg.norm(matrix, axis=0))
    assert skew == pytest.approx(0.1 / 3.0, rel=1e-12)
    with pytest.raises(NotSymmetricError, match=r"relative difference 0\.033"):
        judge(skew, eps=np.finfo(float).eps, error=NotSymmetricError, message="A")


def test_zero_matrix():
    assert relative_skew(np.zeros((2, 2)), np.zeros(2)) == 0.0
