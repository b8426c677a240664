import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.laws.points import (
    as_complex_points,
    as_eigenvalues,
    as_points,
    as_positive,
    as_reals,
    as_shares,
    as_sides,
    like_given,
)


@pytest.mark.parametrize(
    "given", [1, True, 1.0, np.float32(1.0), np.array(1), [1], np.array([[1.0]], dtype=np.float32)]
)
def test_numbers_of_every_kind_become_flat_float64(given):
    points = as_points(given)
    assert points.dtype == np.float64
    np.testing.assert_array_equal(points, [1.0])
    assert np.shape(like_given(points, given)) == np.shape(given)


def test_scalars_and_arrays_of_no_dimension_give_python_numbers():
    for given in (1.0, np.float32(1.0), np.array(1.0)):
        assert type(like_given(as_points(given), given)) is float
    assert type(like_given(as_complex_points(1j), 1j)) is complex


def test_infinity_is_a_point_but_no_argument_of_a_transform():
    assert as_points([np.inf, -np.inf]).tolist() == [np.inf, -np.inf]
    with pytest.raises(NonFiniteError):
        as_complex_points(np.inf)


@pytest.mark.parametrize("given", ["x", [1j], None, [[1.0], [1.0, 2.0]], [object()]])
def test_others_are_refused(given):
    with pytest.raises(ArgumentError):
        as_points(given)


def test_shares_are_between_zero_and_one():
    assert as_shares([0, 1], name="q").tolist() == [0.0, 1.0]
    with pytest.raises(ArgumentError, match=r"level must be in \[0, 1\], got 1.5"):
        as_shares([0.5, 1.5], name="level")
    with pytest.raises(NonFiniteError, match="level"):
        as_shares(np.nan, name="level")


def test_real_numbers_keep_their_shape_and_nan():
    assert as_reals(np.ones((2, 3), dtype=np.float32), name="x").shape == (2, 3)
    assert np.isnan(as_reals(np.nan, name="x"))
    assert type(like_given(as_reals(2, name="x"), 2)) is float


def test_positive_numbers_and_sides():
    assert as_positive(2, name="x") == 2.0
    for value in (0.0, -1.0, np.nan, np.inf, "1", None):
        with pytest.raises(ArgumentError, match="variance"):
            as_positive(value, name="variance")
    assert as_sides((5, 3)) == as_sides([3, 5]) == (3, 5)
    for shape in (3, (3,), (3, 4, 5), None):
        with pytest.raises(ShapeError, match="pair"):
            as_sides(shape)
    for shape in ((0, 3), (2.5, 3), "ab"):
        with pytest.raises(ArgumentError, match="shape"):
            as_sides(shape)


def test_rounding_of_eigenvalues_is_that_of_their_dtype():
    values, rounding = as_eigenvalues(np.array([[-2.0, 1.0]], dtype=np.float32))
    assert values.tolist() == [-2.0, 1.0]
    assert values.dtype == np.float64
    assert rounding == 4.0 * np.finfo(np.float32).eps
    assert as_eigenvalues([-2, 1])[1] == 4.0 * np.finfo(np.float64).eps
    assert as_eigenvalues([])[1] == 0.0
