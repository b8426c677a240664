import numpy as np
import pytest

from spectra.coefficient_limits import coefficient_limits


@pytest.mark.parametrize("unit", [1e-150, 1.0, 1e150])
def test_constant_coefficients_are_the_interval(unit):
    found = coefficient_limits([(np.full(20, 2.0 * unit), np.full(20, 0.5 * unit))] * 3, 1000)
    assert (found.low, found.high) == pytest.approx((unit, 3.0 * unit))
    assert found.high_stderr == pytest.approx(0.0, abs=1e-12 * unit)
    assert found.scatter == pytest.approx(0.0, abs=1e-12 * unit)


def test_the_drift_of_a_finite_matrix_is_taken_off():
    # as a Gaussian symmetric matrix of order 400 has on average
    k = np.arange(60.0)
    found = coefficient_limits([(np.zeros(60), np.sqrt(1.0 - (k + 1.0) / 400.0))], 400)
    assert found.high == pytest.approx(2.0, abs=4e-3)
    assert found.low == pytest.approx(-2.0, abs=4e-3)


def test_edges_do_not_move_outwards_or_faster_than_any_matrix_of_that_order():
    rising = np.linspace(0.0, 1.0, 40)
    found = coefficient_limits([(rising, np.ones(40))], 10**6)
    middle = np.mean(rising[:39][19:])
    assert found.high == pytest.approx(2.0 + middle, abs=1e-3)
    assert found.low == pytest.approx(-2.0 + middle, abs=1e-3)


def test_scatter_and_standard_errors_are_those_of_noise():
    rng = np.random.default_rng(0)
    probes = [(0.01 * rng.standard_normal(200), np.full(200, 0.5)) for _ in range(4)]
    found = coefficient_limits(probes, 10**9)
    assert found.scatter == pytest.approx(0.005, rel=0.2)
    assert found.high_stderr == pytest.approx(1.5 * 0.005 / 10, rel=0.3)
