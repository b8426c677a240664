import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError, SchemaError
from spectra.gauss_rules import LEAST_STEPS, GaussRule
from spectra.lanczos_split import _outside, lanczos_fit


def covariance(p, n, *, spikes=(), bulk=1.0, seed=0):
    scales = np.sqrt(np.broadcast_to(bulk, p).copy())
    scales[: len(spikes)] = np.sqrt(spikes)
    X = scales[:, None] * np.random.default_rng(seed).standard_normal((p, n))
    return X @ X.T / n


def fit(A, *, steps=40, probes=4, rng=0):
    return lanczos_fit(spectra.slq(A, num_probes=probes, num_steps=steps, rng=rng))


@pytest.mark.parametrize("steps", [30, 60])
@pytest.mark.parametrize("unit", [1.0, 1e-14, 1e14])
def test_outliers_are_the_eigenvalues(steps, unit):
    A = unit * covariance(600, 1200, spikes=(4.0, 10.0))
    found = fit(A, steps=steps)
    exact = np.linalg.eigvalsh(A)
    np.testing.assert_allclose(found.outliers, exact[[-1, -2]], rtol=1e-5)
    assert found.num_unconverged == 0
    assert found.scatter < found.scatter_limit
    assert abs(found.high / unit - (1 + np.sqrt(0.5)) ** 2) < 4 * found.high_stderr / unit
    assert abs(found.low / unit - (1 - np.sqrt(0.5)) ** 2) < 4 * found.low_stderr / unit


def test_outliers_below():
    A = np.array(np.diag(np.append(np.linspace(1, 2, 300), [-5.0, -4.0, 7.0])))
    found = fit(A)
    np.testing.assert_allclose(found.outliers, [7.0, -4.0, -5.0], atol=1e-6)


def test_noise_has_none():
    assert fit(covariance(600, 1200, seed=1)).outliers.size == 0


def test_close_outliers_are_told_apart_where_they_have_converged():
    A = np.diag(np.concatenate([np.cos(np.pi * (np.arange(500) + 0.5) / 500), [3.0, 3.005]]))
    np.testing.assert_allclose(fit(A, steps=100, probes=3).outliers, [3.005, 3.0], atol=1e-8)


def test_two_intervals_are_noticed():
    found = fit(covariance(300, 6000, bulk=np.repeat([1.0, 5.0], 150)))
    assert found.scatter > found.scatter_limit


def test_too_few_steps_for_the_outliers_are_noticed():
    A = np.diag(np.concatenate([np.cos(np.pi * (np.arange(2000) + 0.5) / 2000), [3.0, 3.3, 3.6]]))
    few, enough = fit(A, steps=LEAST_STEPS), fit(A, steps=20)
    assert few.scatter > few.scatter_limit
    assert enough.scatter < enough.scatter_limit
    np.testing.assert_allclose(enough.outliers, [3.6, 3.3, 3.0], atol=1e-6)


def test_values_that_have_not_converged_or_do_not_recur_are_counted_apart():
    def rule(values, residuals):
        return GaussRule(
            values=np.array(values),
            weights=np.ones(3) / 3,
            residuals=np.array(residuals),
            diagonal=np.ones(3),
            off_diagonal=np.ones(3),
        )

    first, second = rule([0.0, 3.0, 5.0], [0.0, 0.5, 1e-9]), rule([0.0, 4.0, 5.0], [0.0, 0.5, 1e-8])
    third = rule([0.0, 0.1, 5.0], [0.0, 0.0, 1e-7])
    values, residuals, missed = _outside([first, second, third], -1.0, 1.0, 0.01)
    assert values.tolist() == [5.0]
    assert residuals.tolist() == [1e-7]
    assert missed == 2


def test_edges_of_a_bulk_settle_and_those_of_a_slow_decay_move():
    settled = fit(covariance(600, 1200, spikes=(4.0, 10.0)), steps=60)
    assert settled.movement < 3.0
    assert settled.earlier_high == pytest.approx(settled.high, abs=3 * settled.high_stderr)
    decay = fit(covariance(500, 1500, bulk=1.0 / np.arange(1.0, 501.0)), steps=60)
    assert decay.movement > 3.5
    assert decay.earlier_high > decay.high


def test_after_half_of_the_steps_edges_are_those_of_a_shorter_run():
    A = covariance(300, 600, spikes=(6.0,), seed=4)
    whole, half = fit(A, steps=60), fit(A, steps=30)
    assert whole.earlier_high == pytest.approx(half.high, rel=1e-9)
    assert whole.earlier_low == pytest.approx(half.low, rel=1e-9)


def test_too_few_steps_to_see_movement():
    found = fit(covariance(300, 600), steps=LEAST_STEPS + 2)
    assert np.isnan(found.movement)
    assert np.isnan(found.earlier_high)


def test_values_that_uncertain_edges_leave_undecided_are_counted():
    few, many = (fit(covariance(1000, 2000, spikes=(2.5, 4.0, 10.0), seed=5), steps=m) for m in (20, 80))
    assert len(few.outliers) + few.num_undecided == 3
    assert few.num_undecided == 1
    assert (len(many.outliers), many.num_undecided) == (3, 0)


def test_one_probe_will_do_and_so_will_all_steps():
    A = covariance(60, 240, spikes=(9.0,), seed=3)
    assert fit(A, steps=60, probes=1).outliers.size == 1


@pytest.mark.parametrize("A", [np.eye(50), np.zeros((50, 50))])
def test_exhausted_runs_have_too_few_steps(A):
    with pytest.raises(ArgumentError, match="12 Lanczos steps"):
        fit(A)


def test_wrong_measures_are_refused():
    A = covariance(60, 240)
    with pytest.raises(ArgumentError, match="raise num_steps"):
        fit(A, steps=5)
    with pytest.raises(ArgumentError, match="no coefficients"):
        lanczos_fit(spectra.kernel_polynomial(A, num_probes=2))
    with pytest.raises(SchemaError):
        lanczos_fit(spectra.slq(A, num_probes=2).assign_attrs(schema="else"))
