import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError
from spectra.laws.points import as_complex_points, as_points, as_shares, like_given


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
