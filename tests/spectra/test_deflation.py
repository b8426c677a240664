import numpy as np
import pytest

import spectra
from spectra import Operator, expectation, slq
from spectra.deflation import multiplicity, resolved_by_all
from spectra.measure_schema import deflated_weights, probes_of
from spectra.testing import matrix_with_spectrum
from spectra.tridiagonal import Ritz
from tests.cases import matrix

N = 200
PLAIN = ["multiplicity", "resolved_index", "resolved_overlap"]


def spiked(*spikes, n=N):
    """Return a bulk in [0.25, 2.25] and the given spikes."""
    bulk = 1.25 + np.cos(np.pi * (np.arange(n - len(spikes)) + 0.5) / (n - len(spikes)))
    return np.concatenate([bulk, spikes])


def diagonal(values):
    """Return a diagonal operator: for probes on the sphere as good as any basis."""
    return Operator(lambda block: values[:, None] * block, like=np.zeros(len(values)))


def plain(measure):
    return measure.drop_vars(PLAIN, errors="ignore")


def nodes(values, residuals, weights=None):
    values = np.asarray(values, dtype=float)
    weights = np.full(len(values), 1.0 / len(values)) if weights is None else np.asarray(weights, dtype=float)
    return Ritz(values, weights, np.asarray(residuals, dtype=float))


def test_what_counts_as_resolved():
    def found(*probes):
        return [r.value for r in resolved_by_all(list(probes), dimension=100, eps=2e-16)]

    first = nodes([1.0, 5.0, 9.0], [0.1, 1e-5, 1e-9])
    assert found(first, nodes([1.2, 5.0, 9.0], [0.1, 1e-5, 1e-9])) == [5.0, 9.0]
    assert found(first, nodes([1.2, 9.0], [0.1, 1e-9])) == [9.0]  # one probe has not seen it
    assert found(first, nodes([1.2, 5.0, 9.0], [0.1, 1e-2, 1e-9])) == [9.0]  # seen, but not resolved
    assert found(first, nodes([1.2, 8.99999, 9.0], [0.1, 1e-4, 1e-9])) == [9.0]  # no gap around 5 is too small
    assert found(first, nodes([1.2, 8.9999, 9.0], [0.1, 1e-4, 1e-6])) == []  # 1e-6 is not small against the gap
    copies = nodes([1.2, 8.5, 9.0], [0.1, 0.3, 1e-9], [0.5, 1e-20, 0.5])
    assert found(first, copies) == [9.0]
    assert resolved_by_all([first, copies], dimension=100, eps=2e-16)[0].angle == pytest.approx(1e-6)


@pytest.mark.parametrize("g", [1, 2, 3, 5])
def test_multiplicities_are_recovered(xp, g):
    values = spiked(*([9.0] * g), 5.0)
    measure = slq(xp.asarray(matrix_with_spectrum(values)), num_probes=9)
    index = measure["resolved_index"].values[0]
    found = {round(measure["ritz_value"].values[0, np.argmax(index == k)], 6): int(times)
             for k, times in enumerate(measure["multiplicity"].values)}  # fmt: skip
    assert found[9.0] == g
    assert found[5.0] == 1


@pytest.mark.parametrize(("g", "p"), [(5, 4), (5, 5), (10, 10), (17, 20), (30, 20)])
def test_multiplicities_that_the_probes_cannot_tell_are_refused(g, p):
    for rng in range(5):
        measure = slq(diagonal(spiked(*([9.0] * g))), num_probes=p, rng=rng)
        assert measure["multiplicity"].values[-1] == 0
        assert expectation(measure, np.exp).value == expectation(plain(measure), np.exp).value


def test_rank_needs_more_probes_than_dimensions():
    generator = np.random.default_rng(0)
    for g in (1, 2, 4):
        unit = generator.standard_normal((g + 3, g))
        unit /= np.linalg.norm(unit, axis=1)[:, None]
        assert multiplicity(unit @ unit.T, 1e-6) == g
        assert multiplicity(unit[:g] @ unit[:g].T, 1e-6) == 0
    assert multiplicity(unit @ unit.T, 1e-2) == 0  # the noise could hide a dimension
    assert multiplicity(np.full((4, 4), np.nan), 1e-6) == 0


def test_weights_are_a_measure_with_the_right_mass_at_resolved_eigenvalues():
    measure = slq(diagonal(spiked(6.0, 8.0, 8.0, 20.0)), num_probes=6)
    weights, is_complete = deflated_weights(measure)
    assert not is_complete
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-13)
    for value, times in ((6.0, 1), (8.0, 2), (20.0, 1)):
        near = np.abs(measure["ritz_value"].values - value) < 1e-6
        np.testing.assert_allclose(np.where(near, weights, 0.0).sum(axis=1), times / N, rtol=1e-12)


def test_everything_resolved_is_exact():
    values = np.array([1.0, 2.0, 4.0, 7.0])
    measure = slq(matrix_with_spectrum(values), num_probes=5)
    estimate = expectation(measure, np.exp)
    assert estimate.status == "exact"
    assert estimate.value == pytest.approx(np.mean(np.exp(values)), rel=1e-12)
    assert estimate.high - estimate.low < 1e-9
    assert all(probe.is_complete for probe in probes_of(measure))


@pytest.mark.parametrize("power", [-600, 500])
def test_units_do_not_matter(power):
    values = spiked(6.0, 8.0, 8.0, 20.0)
    one, other = (slq(diagonal(v), num_probes=6) for v in (values, np.ldexp(values, power)))
    np.testing.assert_array_equal(one["multiplicity"], other["multiplicity"])
    np.testing.assert_array_equal(deflated_weights(one)[0], deflated_weights(other)[0])


def test_float32():
    values = spiked(6.0, 8.0, 8.0, 20.0)
    measure = slq(matrix_with_spectrum(values).astype(np.float32), num_probes=8)
    assert measure["multiplicity"].values.tolist()[-3:] == [1, 2, 1]
    estimate = expectation(measure, lambda x: x)
    assert estimate.low <= np.mean(values) <= estimate.high


def test_where_nothing_is_resolved_on_purpose():
    a = diagonal(spiked(9.0, 20.0))
    for options in ({"distribution": "rademacher"}, {"reorthogonalize": False}):
        assert "multiplicity" not in slq(a, **options)
    assert not np.any(slq(a, num_probes=1)["multiplicity"])
    for name in ("zero", "identity"):
        measure = slq(matrix(name) if name == "zero" else diagonal(np.ones(N)))
        assert measure["multiplicity"].values.tolist() == [0]
        assert expectation(measure, np.exp).status == "exact"


def test_error_is_at_least_five_times_smaller_and_covered():
    spikes = np.linspace(4.0, 10.0, 10)
    values = spiked(*spikes)
    truth = np.mean(np.exp(values))
    found = [slq(diagonal(values), rng=seed) for seed in range(60)]
    estimates = [expectation(measure, np.exp) for measure in found]
    rms = np.sqrt(np.mean([(e.value - truth) ** 2 for e in estimates]))
    rms_plain = np.sqrt(np.mean([(expectation(plain(m), np.exp).value - truth) ** 2 for m in found]))
    assert rms <= rms_plain / 5.0
    # 60 intervals of 95 %: fewer than 52 hits have a probability of 0.6 %
    assert sum(e.low <= truth <= e.high for e in estimates) >= 52
    z = np.mean([e.value - truth for e in estimates]) / (np.std([e.value for e in estimates], ddof=1) / np.sqrt(60))
    assert abs(z) < 3.3


def test_the_mean_is_right_where_nothing_is_gained():
    """Rescaling the rest keeps the estimate unbiased, and does not cost accuracy."""
    values = 1.0 / np.arange(1.0, N + 1.0)
    truth = np.mean(np.log(values))
    found = [slq(diagonal(values), rng=seed, num_steps=60) for seed in range(80)]
    errors, plain_errors = (
        np.array([expectation(m, np.log).value - truth for m in measures])
        for measures in (found, [plain(m) for m in found])
    )
    assert abs(np.mean(errors)) / (np.std(errors, ddof=1) / np.sqrt(80)) < 3.3
    assert np.std(errors) < np.std(plain_errors)


def test_all_functions_of_a_measure_use_what_is_known():
    values = np.sort(spiked(6.0, 8.0, 8.0, 20.0))
    measure = slq(diagonal(values), num_probes=6)
    assert spectra.cdf(measure, 7.0) == pytest.approx(1.0 - 3.0 / N, rel=1e-12)
    assert spectra.cdf(plain(measure), 7.0) != pytest.approx(1.0 - 3.0 / N, rel=1e-5)
    assert spectra.quantile(measure, 1.0 - 2.5 / N) == pytest.approx(8.0)
    distances = np.array([
        [spectra.wasserstein_distance(m, values), spectra.wasserstein_distance(plain(m), values)]
        for m in (slq(diagonal(values), num_probes=6, rng=rng) for rng in range(10))
    ])  # fmt: skip
    assert np.mean(distances[:, 0]) < np.mean(distances[:, 1])
