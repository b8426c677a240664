import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.kernels.signal_capture import modes, positive_count, signal_capture

SPECTRA = {
    "power": np.arange(1, 401.0) ** -1.5,
    "steep power": np.arange(1, 401.0) ** -4,
    "exponential": np.exp(-0.05 * np.arange(600)),
    "far below double precision": np.exp(-0.5 * np.arange(1300)),
    "equal": np.ones(300),
}


def residual(eigenvalue, kappa, ridge, n):
    return np.sum(eigenvalue / (eigenvalue + kappa)) + ridge / kappa - n


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("n", [8, 60, 250])
@pytest.mark.parametrize("ridge", [0.0, 1e-12, 1e-3, 10.0])
def test_the_equation_holds(name, n, ridge):
    eigenvalue = SPECTRA[name]
    kappa = float(signal_capture(eigenvalue, num_samples=n, ridge=ridge))
    assert abs(residual(eigenvalue, kappa, ridge, n)) < 1e-10 * n
    assert 0 < kappa <= (eigenvalue.sum() + ridge) / n * (1 + 1e-12)


@pytest.mark.parametrize("unit", [1e-290, 1e-14, 1e14, 1e290])
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_units_change_nothing(unit, ridge):
    eigenvalue = SPECTRA["power"]
    one = signal_capture(eigenvalue, num_samples=50, ridge=ridge)
    scaled = signal_capture(unit * eigenvalue, num_samples=50, ridge=unit * ridge)
    np.testing.assert_allclose(scaled / unit, one, rtol=1e-12)


def test_thresholds_far_below_double_precision():
    # The n-th of exponential eigenvalues, up to a constant: e^-cn / (1 - e^-cn) e^{c/2} by the midpoint rule.
    kappa = float(signal_capture(SPECTRA["far below double precision"], num_samples=1000, ridge=0.0))
    assert np.log(kappa) == pytest.approx(-500 + 0.25, abs=0.01)


def test_multiplicities_are_copies():
    values, counts = [3.0, 1.0, 0.2], [2, 5, 40]
    copies = np.repeat(values, counts)
    for ridge in (0.0, 0.3):
        one = signal_capture(values, multiplicity=counts, num_samples=9, ridge=ridge)
        np.testing.assert_allclose(one, signal_capture(copies, num_samples=9, ridge=ridge), rtol=1e-12)


def test_order_and_zeros_do_not_matter():
    values = np.array([0.5, 2.0, 0.0, 1.0, 0.0])
    assert signal_capture(values, num_samples=2, ridge=0.1) == pytest.approx(
        float(signal_capture([2.0, 1.0, 0.5], num_samples=2, ridge=0.1)), rel=1e-12
    )


@pytest.mark.parametrize(("n", "expected"), [(9, 1 / 9), (10, 0.0), (11, 0.0)])
def test_without_a_ridge_more_samples_than_modes_need_no_threshold(n, expected):
    assert float(signal_capture(np.ones(10), num_samples=n, ridge=0.0)) == pytest.approx(expected, rel=1e-12)


def test_a_ridge_alone_is_its_own_threshold():
    assert float(signal_capture([0.0], num_samples=4, ridge=2.0)) == pytest.approx(0.5, rel=1e-12)
    assert float(signal_capture([0.0], num_samples=4, ridge=0.0)) == 0.0


def test_many_ridges_are_single_ones():
    ridges = np.array([[0.0, 1e-6], [1e-2, 3.0]])
    together = signal_capture(SPECTRA["power"], num_samples=30, ridge=ridges)
    assert together.shape == (2, 2)
    assert not together.flags.writeable
    for index in np.ndindex(2, 2):
        assert together[index] == signal_capture(SPECTRA["power"], num_samples=30, ridge=ridges[index])


def test_tiny_negative_eigenvalues_are_rounding():
    assert modes([1.0, -1e-12], None)[0].tolist() == [1.0, 0.0]
    assert positive_count(*modes([1.0, -1e-12], [2.0, 3.0])) == 2.0


@pytest.mark.parametrize(
    ("eigenvalue", "settings", "error"),
    [
        ([], {}, ShapeError),
        ([[1.0]], {}, ShapeError),
        ([1.0, -0.1], {}, ArgumentError),
        ([np.nan], {}, NonFiniteError),
        ([1.0], {"ridge": -1.0}, ArgumentError),
        ([1.0], {"ridge": np.inf}, NonFiniteError),
        ([1.0], {"num_samples": 0}, ArgumentError),
        ([1.0], {"num_samples": np.nan}, ArgumentError),
        ([1.0], {"multiplicity": [1.0, 2.0]}, ShapeError),
        ([1.0], {"multiplicity": [-1.0]}, ArgumentError),
    ],
)
def test_bad_input(eigenvalue, settings, error):
    with pytest.raises(error):
        signal_capture(eigenvalue, **({"num_samples": 3, "ridge": 0.1} | settings))
