import numpy as np
import pytest

from spectra.bulk_spectrum import as_bulk_spectrum
from spectra.errors import ArgumentError


def spectrum(values, **given):
    return as_bulk_spectrum(values, **({"aspect_ratio": None, "num_samples": None} | given))


def test_zeros_of_a_semidefinite_matrix_are_left_out():
    found = spectrum([3.0, 1e-17, 0.0, 2.0, -1e-17])
    assert found.values.tolist() == [3.0, 2.0]
    assert found.num_zeros == 3
    assert found.is_semidefinite


def test_zeros_of_an_indefinite_matrix_are_part_of_its_bulk():
    found = spectrum([3.0, 0.0, -2.0])
    assert found.values.tolist() == [3.0, 0.0, -2.0]
    assert found.num_zeros == 0


def test_rounding_of_float32_is_zero_in_float32():
    values = np.array([1.0, 1e-7], dtype=np.float32)
    assert spectrum(values).num_zeros == 1
    assert spectrum(values.astype(np.float64)).num_zeros == 0


@pytest.mark.parametrize(
    ("size", "given", "shape"),
    [
        (6, {"num_samples": 12}, (6, 12)),
        (6, {"aspect_ratio": 0.5}, (6, 12)),
        (6, {"aspect_ratio": 2.0, "num_samples": 6}, (12, 6)),
        (12, {"aspect_ratio": 2.0, "num_samples": 6}, (12, 6)),
        (6, {}, None),
    ],
)
def test_shapes_of_the_data(size, given, shape):
    assert spectrum(np.ones(size), **given).shape == shape


def test_strings_and_vanishing_ratios_are_refused():
    with pytest.raises(ArgumentError, match="real numbers"):
        as_bulk_spectrum(["1", "2"], aspect_ratio=None, num_samples=None)
    with pytest.raises(ArgumentError, match="too small"):
        as_bulk_spectrum([1.0, 2.0], aspect_ratio=1e-320, num_samples=None)
