import numpy as np
import pytest

import spectra
from spectra import cdf, cdf_bounds, quantile, slq
from spectra.distribution import Distribution, distribution_of, step_distribution
from spectra.testing import SPECTRA, spectrum
from tests.cases import matrix


def ramp(*intervals):
    """Return the distribution with the given (low, high, mass)."""
    low, high, mass = (np.array(column, dtype=float) for column in zip(*intervals, strict=True))
    return Distribution(low=(low,), high=(high,), sums=(np.concatenate([[0.0], np.cumsum(mass)]),))


def test_values_of_ramps_and_jumps():
    f = ramp((0.0, 1.0, 0.5), (2.0, 2.0, 0.25), (2.0, 4.0, 0.25))
    x = np.array([-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 9.0])
    np.testing.assert_allclose(f.at(x), [0, 0, 0.25, 0.5, 0.5, 0.75, 0.875, 1, 1], rtol=1e-15)
    np.testing.assert_allclose(f.at(x, left=True), [0, 0, 0.25, 0.5, 0.5, 0.5, 0.875, 1, 1], rtol=1e-15)


def test_inverse_is_the_smallest_point_that_reaches_a_level():
    f = ramp((0.0, 1.0, 0.5), (2.0, 2.0, 0.25), (2.0, 4.0, 0.25))
    levels = np.array([0.0, 0.25, 0.5, 0.6, 0.75, 0.875, 1.0])
    np.testing.assert_allclose(f.inverse(levels), [0.0, 0.5, 1.0, 2.0, 2.0, 3.0, 4.0], rtol=1e-14)


def test_distances_with_known_areas():
    uniform = ramp((0.0, 1.0, 1.0))
    assert uniform.distance(uniform) == 0.0
    assert uniform.distance(ramp((0.5, 1.5, 1.0))) == pytest.approx(0.5, rel=1e-15)
    assert uniform.distance(step_distribution(np.array([0.5]))) == pytest.approx(0.25, rel=1e-15)
    assert ramp((0.0, 2.0, 1.0)).distance(ramp((0.5, 1.5, 1.0))) == pytest.approx(0.25, rel=1e-15)
    assert step_distribution(np.array([3.0, 1.0])).distance(step_distribution(np.array([1.0, 4.0]))) == 0.5


def test_distance_is_a_metric():
    generator = np.random.default_rng(0)
    measures = [distribution_of(slq(np.diag(generator.standard_normal(60)), num_probes=3, rng=i)) for i in range(3)]
    a, b, c = measures
    assert a.distance(b) == b.distance(a)
    assert a.distance(c) <= a.distance(b) + b.distance(c)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("steps", [2, 3, 12, 40])
def test_mass_stays_between_the_ritz_values_and_within_the_certain_bounds(name, steps):
    measure = slq(matrix(name), num_probes=3, num_steps=steps)
    f = distribution_of(measure)
    nodes = measure["ritz_value"].values
    assert f.points[0] >= np.nanmin(nodes)
    assert f.points[-1] <= np.nanmax(nodes)
    x = np.linspace(np.nanmin(nodes) - 1.0, np.nanmax(nodes) + 1.0, 501)
    bounds = cdf_bounds(measure, x)
    values = cdf(measure, x)
    assert np.all(np.diff(values) >= -1e-15)
    if steps < 40:
        assert np.all(bounds.low <= values + 1e-12)
        assert np.all(values <= bounds.high + 1e-12)
    q = np.linspace(0.0, 1.0, 101)
    points = quantile(measure, q)
    assert np.all(cdf(measure, points + 1e-9 * np.max(np.abs(points))) >= q - 1e-9)
    assert np.all(np.diff(points) >= 0.0)


@pytest.mark.parametrize("name", ["inverse", "geometric", "spiked", "uniform", "indefinite"])
def test_closer_to_the_spectrum_than_the_step_function(name):
    values = spectrum(name, 600)
    exact = step_distribution(values)
    spread, steps = [], []
    for rng in range(4):
        measure = slq(spectra.Operator(lambda block: values[:, None] * block, like=np.zeros(600)), rng=rng)
        spread.append(distribution_of(measure).distance(exact))
        nothing_known = measure.assign(residual=measure["residual"] * np.nan)
        steps.append(distribution_of(nothing_known).distance(exact))
    assert np.mean(spread) < np.mean(steps)


def test_heavy_nodes_and_converged_ones_stay_points():
    values = np.concatenate([np.zeros(400), np.linspace(-1.0, 1.0, 200), [9.0]])
    measure = slq(spectra.Operator(lambda block: values[:, None] * block, like=np.zeros(601)), num_probes=4)
    f = distribution_of(measure)
    for low, high in zip(f.low, f.high, strict=True):
        assert high[-1] == low[-1] == pytest.approx(9.0)
        assert np.any((high == low) & (np.abs(low) < 0.02))
        assert np.sum(high > low) > 10
