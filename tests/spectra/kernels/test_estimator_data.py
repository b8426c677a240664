import numpy as np
import pytest

from spectra.errors import ArgumentError, BackendError, ShapeError
from spectra.kernels.estimator_data import as_estimator_data, as_estimator_targets, explained_share, feature_names


def test_numbers_of_any_kind_become_float64():
    for given in ([[1, 2]], np.array([[1, 2]], dtype=np.float32), np.array([[1, 2]], dtype=object)):
        assert as_estimator_data(given).dtype == np.float64
    assert as_estimator_targets([True, False], 2).tolist() == [1.0, 0.0]


def test_nothing_is_shared_with_the_caller():
    given = np.ones((2, 2))
    as_estimator_data(given)[0, 0] = 5.0
    assert given[0, 0] == 1.0


def test_arrays_of_other_libraries_come_to_the_host():
    xp = pytest.importorskip("array_api_strict")
    assert isinstance(as_estimator_data(xp.ones((2, 3))), np.ndarray)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1.0, 2.0], ShapeError, "Reshape your data"),
        (np.empty((0, 2)), ShapeError, "0 sample"),
        (np.empty((2, 0)), ShapeError, "0 feature"),
        ([[1.0, np.nan]], ArgumentError, "NaN"),
        ([[1.0], [np.inf]], ArgumentError, "row 1"),
        ([[1j]], ArgumentError, "Complex data not supported"),
        ([["a"]], ArgumentError, "must hold numbers"),
        ([[{}]], BackendError, "must hold numbers"),
    ],
)
def test_bad_data(given, error, message):
    with pytest.raises(error, match=message):
        as_estimator_data(given)


@pytest.mark.parametrize("given", [None, [1.0], [1.0, np.nan], np.ones((2, 1, 1)), np.empty((2, 0)), ["a", "b"]])
def test_bad_targets(given):
    with pytest.raises(ArgumentError if not isinstance(given, np.ndarray) and given != [1.0] else ShapeError):
        as_estimator_targets(given, 2)


def test_share_of_constant_targets():
    ones = np.ones((3, 1))
    assert explained_share(ones, ones) == 1.0
    assert explained_share(0 * ones, ones) == 0.0
    assert explained_share(np.zeros((3, 2)), np.column_stack([np.ones(3), [-1.0, 0.0, 1.0]])) == 0.0


def test_names_are_those_of_data_frames_with_strings():
    pandas = pytest.importorskip("pandas")
    assert feature_names(pandas.DataFrame({"a": [1], "b": [2]})).tolist() == ["a", "b"]
    assert feature_names(pandas.DataFrame([[1, 2]])) is None
    assert feature_names(np.ones((1, 2))) is None
