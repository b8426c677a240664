import numpy as np
import pytest

from spectra.arrays import as_array, finite_number
from spectra.errors import ArgumentError, BackendError
from spectra.kernels.effective_dimension import effective_dimension
from spectra.kernels.gram import GramSpectrum, gram_spectrum
from spectra.kernels.gram_input import checked_ridge
from spectra.kernels.source import as_spectrum
from spectra.kernels.stationary import RBF


def test_masks_are_not_ignored():
    masked = np.ma.masked_array(np.eye(3), mask=np.eye(3))
    for call in (gram_spectrum, as_spectrum, lambda X: as_spectrum(X, kernel=RBF())):
        with pytest.raises(BackendError, match="mask"):
            call(masked)


def test_lists_of_different_lengths():
    for call in (gram_spectrum, as_spectrum, lambda K: as_array(K, name="K")):
        with pytest.raises(ArgumentError):
            call([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("value", ["1", b"1", None, 10**400, 1j, np.complex128(1.0), np.ones(2), [], np.nan, np.inf])
def test_what_is_no_finite_number(value):
    for call in (checked_ridge, lambda x: finite_number(x, name="x")):
        with pytest.raises(ArgumentError):
            call(value)


@pytest.mark.parametrize(
    "settings",
    [
        {"eps": -1.0},
        {"eps": 0.0},
        {"eps": np.nan},
        {"eps": "a"},
        {"num_samples": 2.7},
        {"num_samples": "a"},
        {"num_samples": np.nan},
        {"residual_trace": "a"},
        {"residual_trace": None},
        {"residual_trace": np.nan},
    ],
)
def test_settings_of_eigenvalues_that_are_wrong(settings):
    with pytest.raises(ArgumentError):
        GramSpectrum.of_eigenvalues([2.0, 1.0], **settings)


@pytest.mark.parametrize("unit", [1e-150, 1e-14, 1.0, 1e14, 1e150])
def test_units_of_a_matrix_whose_entries_are_known_to_be_coarse(unit):
    K = np.array([[2.0, 1.0], [1.0, 2.0]])
    found = effective_dimension(unit * K, unit, eps=1e-6)
    assert found.df1 == pytest.approx(3 / 4 + 1 / 2, rel=1e-12)


def test_coarse_entries_may_be_more_indefinite():
    K = np.diag([1.0, -1e-5])
    with pytest.raises(ArgumentError, match="semidefinite"):
        gram_spectrum(K)
    assert gram_spectrum(K, eps=1e-7).ridge_floor == pytest.approx(1e-5)


def test_a_kernel_that_is_no_function():
    with pytest.raises(ArgumentError, match="kernel"):
        as_spectrum(np.eye(3), kernel=3)
