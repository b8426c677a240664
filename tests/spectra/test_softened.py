import numpy as np
import pytest

from spectra import Operator, slq
from spectra.chebyshev import kernel_polynomial
from spectra.errors import ArgumentError, SchemaError
from spectra.softened import effective_dimension, free_energy
from spectra.testing import spectrum
from tests.cases import matrix


def operator(values):
    return Operator(lambda block: values[:, None] * block, like=np.asarray(values, dtype=np.float64))


def energy(values, beta):
    lowest = np.min(values)
    return lowest - np.log(np.mean(np.exp(-beta * (values - lowest)))) / beta


def covered(estimate, truth):
    return estimate.low <= truth <= estimate.high


@pytest.mark.parametrize("name", ["uniform", "inverse", "spiked", "indefinite"])
def test_coverage(name):
    values = spectrum(name, 200)
    beta, ridge = 1.0 / np.std(values), 0.1 * np.std(values)
    energies, dimensions = [], []
    for seed in range(60):
        measure = slq(operator(values), num_steps=20, rng=seed, check_symmetry=False)
        energies.append(covered(free_energy(measure, beta), energy(values, beta)))
        if values[0] >= 0:
            truth = np.sum(values / (values + ridge))
            dimensions.append(covered(effective_dimension(measure, ridge), truth))
    assert np.mean(energies) >= 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / 60)
    assert not dimensions or np.mean(dimensions) >= 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / 60)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("c", [0.0, 1.0, 7.0])
def test_multiples_of_the_identity(c, dtype):
    measure = slq(c * np.eye(8, dtype=dtype), num_probes=10)
    tolerance = 1e3 * float(np.finfo(dtype).eps)
    assert free_energy(measure, 3.0).value == pytest.approx(c, abs=tolerance)
    assert effective_dimension(measure, 1.0).value == pytest.approx(8.0 * c / (c + 1.0), abs=10 * tolerance)
    assert free_energy(measure, 3.0).status == "exact"
    assert covered(free_energy(measure, 3.0), c)


def test_limits():
    values = spectrum("spiked", 40)
    measure = slq(matrix("spiked"), num_steps=40)
    assert free_energy(measure, 1e-9).value == pytest.approx(np.mean(values), rel=0.2)
    assert free_energy(measure, 1e9).value == pytest.approx(values[0], abs=1e-6 * values[-1])
    assert effective_dimension(measure, 1e9).value == pytest.approx(0.0, abs=1e-5)
    energies = [free_energy(measure, beta).value for beta in (0.01, 0.1, 1.0, 10.0)]
    assert np.all(np.diff(energies) < 0)
    dimensions = [effective_dimension(measure, ridge).value for ridge in (1.0, 2.0, 4.0)]
    assert dimensions[0] > dimensions[1] > dimensions[2] > 0.25 * dimensions[0]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale_changes_units_only(scale):
    values = spectrum("inverse", 100)
    reference, scaled = slq(operator(values)), slq(operator(scale * values))
    one, two = free_energy(reference, 2.0), free_energy(scaled, 2.0 / scale)
    assert (two.value / scale, two.low / scale, two.high / scale) == pytest.approx((one.value, one.low, one.high))
    assert effective_dimension(scaled, 0.1 * scale).low == pytest.approx(effective_dimension(reference, 0.1).low)


def test_interval_ends_at_the_mean_where_the_sum_may_vanish():
    values = np.append(np.linspace(0.0, 1.0, 400) + 1.0, 0.0)
    found = [free_energy(slq(operator(values), num_probes=3, num_steps=25, rng=s), 30.0) for s in range(20)]
    for estimate in found:
        if estimate.high is not None:
            assert estimate.low <= estimate.value <= estimate.high <= 2.0


def test_single_probe_has_no_error_bar():
    measure = slq(matrix("spiked"), num_probes=1)
    for estimate in (free_energy(measure, 1.0), effective_dimension(measure, 1.0)):
        assert (estimate.stderr, estimate.low, estimate.high) == (None, None, None)
        assert np.isfinite(estimate.value)


@pytest.mark.parametrize("num_steps", [2, 4, 10, 30])
@pytest.mark.parametrize("ridge", [1e-7, 1e-5, 1e-3, 1e-1])
def test_bracket_holds_for_too_few_steps(ridge, num_steps):
    values = np.geomspace(1e-8, 1.0, 300)
    estimate = effective_dimension(slq(operator(values), num_steps=num_steps), ridge)
    assert covered(estimate, np.sum(values / (values + ridge)))
    assert estimate.low <= estimate.value <= estimate.high


def test_unresolved_has_no_interval():
    estimate = free_energy(slq(operator(np.linspace(0.0, 1.0, 300)), num_steps=4), 1e5)
    assert estimate.status == "unresolved"
    assert estimate.low is None
    assert estimate.high is None


def test_kernel_polynomial_measures():
    values = np.linspace(0.0, 1.0, 200)
    measure = kernel_polynomial(operator(values))
    assert covered(free_energy(measure, 2.0), energy(values, 2.0))
    assert covered(effective_dimension(measure, 0.5), np.sum(values / (values + 0.5)))


def test_wrong_calls():
    measure = slq(matrix("spiked"))
    for bad in (0.0, -1.0, np.nan, np.inf, "a"):
        with pytest.raises(ArgumentError, match="ridge"):
            effective_dimension(measure, bad)
        with pytest.raises(ArgumentError, match="inverse_temperature"):
            free_energy(measure, bad)
    with pytest.raises(ArgumentError, match="overflow"):
        free_energy(slq(1e200 * matrix("spiked")), 1e200)
    with pytest.raises(ArgumentError, match="positive semi-definite"):
        effective_dimension(slq(matrix("indefinite")), 1.0)
    for call in (effective_dimension, free_energy):
        with pytest.raises(SchemaError):
            call("measure", 1.0)
        with pytest.raises(ArgumentError, match="level"):
            call(measure, 1.0, level=1.0)
