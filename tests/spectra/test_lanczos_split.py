import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError, SchemaError
from spectra.lanczos_split import LEAST_STEPS, _outside, _without, lanczos_fit
from spectra.measure_schema import Probe


def covariance(p, n, *, spikes=(), bulk=1.0, seed=0):
    scales = np.sqrt(np.broadcast_to(bulk, p).copy())
    scales[: len(spikes)] = np.sqrt(spikes)
    X = scales[:, None] * np.random.default_rng(seed).standard_normal((p, n))
    return X @ X.T / n


def fit(A, *, steps=40, probes=4, rng=0):
    return lanczos_fit(spectra.slq(A, num_probes=probes, num_steps=steps, rng=rng))


def test_taking_no_node_out_returns_the_coefficients():
    values, vectors = np.linalg.eigh(
        np.diag(np.full(30, 2.0)) + np.diag(np.full(29, 1.0), 1) + np.diag(np.ones(29), -1)
    )
    probe = Probe(values=values, weights=vectors[0] ** 2, raw_weights=vectors[0] ** 2)
    diagonal, off_diagonal = _without(probe, np.zeros(30, dtype=bool))
    assert len(diagonal) == 28
    np.testing.assert_allclose(diagonal, 2.0, atol=1e-10)
    np.testing.assert_allclose(off_diagonal, 1.0, atol=1e-10)


def test_taking_an_outlier_out_returns_the_coefficients_without_it():
    # the semicircle on [-1, 1] with a tenth of the mass at 3
    n = 60
    values, vectors = np.linalg.eigh(np.diag(np.full(n - 1, 0.5), 1) + np.diag(np.full(n - 1, 0.5), -1))
    weights = np.append(0.9 * vectors[0] ** 2, 0.1)
    probe = Probe(values=np.append(values, 3.0), weights=weights, raw_weights=weights)
    gone = np.arange(n + 1) == n
    diagonal, off_diagonal = _without(probe, gone)
    np.testing.assert_allclose(diagonal, 0.0, atol=1e-10)
    np.testing.assert_allclose(off_diagonal, 0.5, atol=1e-10)


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
    first = np.array([0.0, 3.0, 5.0]), np.ones(3) / 3, np.array([0.0, 0.5, 1e-9])
    second = np.array([0.0, 4.0, 5.0]), np.ones(3) / 3, np.array([0.0, 0.5, 1e-8])
    third = np.array([0.0, 0.1, 5.0]), np.ones(3) / 3, np.array([0.0, 0.0, 1e-7])
    values, residuals, missed = _outside([first, second, third], -1.0, 1.0, 0.01)
    assert values.tolist() == [5.0]
    assert residuals.tolist() == [1e-7]
    assert missed == 2


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
