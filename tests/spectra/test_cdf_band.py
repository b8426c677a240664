import numpy as np
import pytest

from spectra import Operator, cdf_bounds, slq
from spectra.cdf_band import cdf_band, count_limits, markov_bounds, mean_mass_variance, rest_of, rounding_band
from spectra.chebyshev import kernel_polynomial
from spectra.measure_schema import eps_of, probes_of
from spectra.start_vectors import start_vectors
from spectra.testing import spectrum

N = 200


def operator(values):
    return Operator(lambda block: values[:, None] * block, like=np.asarray(values, dtype=np.float64))


def masses(values, x, *, probes=3):
    """Distribution functions of the probes, exactly."""
    start = start_vectors(np.zeros(len(values)), num=probes) / np.sqrt(len(values))
    return ((start**2).T @ (values[:, None] <= x)).astype(float)


def points(values):
    """Numbers away from eigenvalues, where rounding decides nothing."""
    generator = np.random.default_rng(0)
    x = generator.uniform(values[0] - 0.1 * np.ptp(values), values[-1] + 0.1 * np.ptp(values), 100)
    x = np.concatenate([x, 0.5 * (values[1:] + values[:-1])[:: N // 20], [-np.inf, np.inf, 1e30, -1e30]])
    return x[np.min(np.abs(x[:, None] - values), axis=1) > 1e-10 * np.max(np.abs(values))]


@pytest.mark.parametrize("num_steps", [1, 2, 5, 20, 60])
@pytest.mark.parametrize("name", ["uniform", "inverse", "indefinite", "spiked", "geometric", "two_values"])
def test_bounds_contain_the_distribution_of_each_probe(name, num_steps):
    values = spectrum(name, N)
    measure = slq(operator(values), num_probes=3, num_steps=num_steps)
    x, eps = points(values), eps_of(measure)
    truth = masses(values, x)
    for i, probe in enumerate(probes_of(measure)):
        low, high = markov_bounds(probe, x, eps=eps)
        assert np.all(low <= truth[i] + 1e-12)
        assert np.all(truth[i] <= high + 1e-12)
        assert np.all(low <= high)


def test_bounds_are_within_those_between_ritz_values():
    values = spectrum("uniform", N)
    measure = slq(operator(values), num_probes=1, num_steps=20)
    x = points(values)
    low, high = markov_bounds(probes_of(measure)[0], x, eps=eps_of(measure))
    wide = cdf_bounds(measure, x)
    assert np.all(wide.low <= low + 1e-12)
    assert np.all(high <= wide.high + 1e-12)
    inside = (x > values[0]) & (x < values[-1])
    assert np.mean((high - low)[inside]) < 0.6 * np.mean((wide.high - wide.low)[inside])


def test_bounds_close_exponentially_in_a_gap():
    values = np.concatenate([np.linspace(0.0, 1.0, 100), np.linspace(2.0, 3.0, 100)])
    widths = []
    for num_steps in (5, 10, 20):
        low, high = markov_bounds(
            probes_of(slq(operator(values), num_probes=1, num_steps=num_steps))[0], np.array([1.5]), eps=2e-16
        )
        widths.append(float(high[0] - low[0]))
    assert widths[1] < 0.05 * widths[0]
    assert widths[2] < 0.05 * widths[1]


@pytest.mark.parametrize("num_moments", [4, 30, 101])
@pytest.mark.parametrize("name", ["uniform", "inverse", "spiked"])
def test_bounds_of_kernel_polynomials(name, num_moments):
    values = spectrum(name, N)
    measure = kernel_polynomial(operator(values), num_probes=3, num_moments=num_moments)
    x = points(values)
    truth, band = masses(values, x), cdf_band(measure, x)
    assert np.all(band.low <= truth + 1e-12)
    assert np.all(truth <= band.high + 1e-12)
    assert band.rest == N
    if name == "uniform":
        # Selberg's polynomials of degree K leave 1/(K + 1) of the circle open on average, both ends of the arc
        assert np.mean(band.high - band.low) <= 3.0 / num_moments


def test_known_eigenvalues_are_taken_out():
    values = np.concatenate([np.linspace(0.0, 1.0, N - 4), [7.0, 9.0, 9.0, 9.0]])
    measure = slq(operator(values), num_probes=6)
    band = cdf_band(measure, np.array([2.0, 8.0, 10.0]))
    assert band.known.tolist() == [0, 1, 4]
    assert band.rest == N - 4
    np.testing.assert_allclose(band.low, 1.0, atol=1e-9)
    rest = rest_of(measure)
    assert rest.count == N - 4
    assert np.max(rest.values) <= 1.0
    assert np.sum(rest.weights) == pytest.approx(1.0, abs=1e-12)
    x = np.array([0.3, 0.6])
    start = start_vectors(np.zeros(N), num=6)[: N - 4] ** 2
    truth = (start.T @ (values[: N - 4, None] <= x)) / np.sum(start, axis=0)[:, None]
    inner = cdf_band(measure, x)
    assert np.all(inner.low <= truth + 1e-9)
    assert np.all(truth <= inner.high + 1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_scale_does_not_matter(scale):
    values = spectrum("indefinite", N)
    reference, scaled = slq(operator(values)), slq(operator(scale * values))
    assert rounding_band(scaled) == pytest.approx(scale * rounding_band(reference))
    x = np.linspace(-1.0, 2.0, 7) + 0.0123
    np.testing.assert_allclose(cdf_band(scaled, scale * x).high, cdf_band(reference, x).high, atol=1e-7)


def test_law_of_the_mass():
    n, p, k, repeats = 60, 4, 7, 4000
    x = np.random.default_rng(0).standard_normal((repeats, p, n)) ** 2
    mass = np.mean(np.sum(x[..., :k], axis=2) / np.sum(x, axis=2), axis=1)
    v = mean_mass_variance(dimension=n, num_probes=p) * (k / n) * (1.0 - k / n)
    # the relative standard error of a variance from 4000 samples is about sqrt(2/4000) = 2.2%
    assert np.var(mass) == pytest.approx(v, rel=0.1)
    assert np.mean(mass) == pytest.approx(k / n, abs=4.0 * np.sqrt(v / repeats))
    hits = []
    for m in mass[:1000]:
        low, high = count_limits(m, m, dimension=n, num_probes=p, level=0.8, rounding=1e-13)
        hits.append(low <= k <= high)
    # integers make the interval conservative, never the contrary: three binomial standard errors
    assert np.mean(hits) >= 0.8 - 3.0 * np.sqrt(0.8 * 0.2 / 1000)


@pytest.mark.parametrize("num_probes", [1, 3, 10])
@pytest.mark.parametrize("k", [1, 2, 30, 58, 59])
def test_limits_cover(k, num_probes):
    n, repeats = 60, 400
    x = np.random.default_rng(k).standard_normal((repeats, num_probes, n)) ** 2
    mass = np.mean(np.sum(x[..., :k], axis=2) / np.sum(x, axis=2), axis=1)
    options = {"dimension": n, "num_probes": num_probes, "level": 0.95, "rounding": 1e-13}
    limits = np.array([count_limits(m, m, **options) for m in mass])
    hits = (limits[:, 0] <= k) & (k <= limits[:, 1])
    assert np.mean(hits) >= 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / repeats)


def test_limits_at_the_ends():
    options = {"num_probes": 5, "level": 0.95, "rounding": 1e-13}
    assert count_limits(0.0, 0.0, dimension=100, **options) == (0, 0)
    assert count_limits(1.0, 1.0, dimension=100, **options) == (100, 100)
    assert count_limits(0.0, 1.0, dimension=100, **options) == (0, 100)
    assert count_limits(1e-14, 1.0 - 1e-14, dimension=100, **options) == (0, 100)
    assert count_limits(0.0, 0.0, dimension=1, **options) == (0, 0)
    assert count_limits(1.0, 1.0, dimension=1, **options) == (1, 1)
    low, high = count_limits(0.3, 0.3, dimension=10**9, **options)
    assert 0 < 3e8 - low < 1e5
    assert 0 < high - 3e8 < 1e5
