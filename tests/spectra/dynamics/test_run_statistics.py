"""Statistics over runs: NumPy's own where all is finite, and right beside infinite runs."""

import numpy as np
import pytest

from spectra.dynamics.run_statistics import quantiles_of, statistics_of

LEVELS = np.array([0.0, 0.05, 0.3, 0.5, 0.95, 1.0])


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e300])
def test_finite_values(scale):
    values = np.random.default_rng(0).lognormal(size=(12, 4))
    found = statistics_of(values * scale)
    np.testing.assert_allclose(found["mean"], np.mean(values, axis=0) * scale, rtol=1e-14)
    stderr = np.std(values, axis=0, ddof=1) / np.sqrt(12)
    np.testing.assert_allclose(found["stderr"], stderr * scale, rtol=1e-13)
    np.testing.assert_allclose(found["relative_stderr"], stderr / np.mean(values, axis=0), rtol=1e-13)
    np.testing.assert_allclose(found["largest_run_share"], np.max(values, axis=0) / np.sum(values, axis=0), rtol=1e-14)
    np.testing.assert_allclose(quantiles_of(values, LEVELS), np.quantile(values, LEVELS, axis=0), rtol=1e-14)


def test_resolved_means_that_the_largest_run_may_go():
    for largest in (1.9, 2.3):
        values = np.array([1.0] * 9 + [largest])[:, None]
        kept = np.mean(values[:-1]) / np.mean(values)
        assert statistics_of(values)["mean_resolved"][0] == (kept >= 0.9)


def test_infinite_runs_leave_quantiles_below_them():
    values = np.array([1.0, 2.0, 3.0, np.inf, np.inf])[:, None]
    levels = np.array([0.25, 0.5, 0.51, 0.75, 1.0])
    assert quantiles_of(values, levels).ravel().tolist() == [2.0, 3.0, np.inf, np.inf, np.inf]
    found = {name: values.tolist() for name, values in statistics_of(values).items()}
    assert found.pop("mean_resolved") == [False]
    assert found.pop("largest_run_share") == [1.0]
    assert set(map(tuple, found.values())) == {(np.inf,)}


def test_zero_and_single_runs():
    found = statistics_of(np.zeros((4, 1)))
    assert found["relative_stderr"][0] == found["stderr"][0] == found["mean"][0] == 0.0
    assert found["mean_resolved"][0]
    found = statistics_of(np.ones((1, 1)))
    assert np.isnan(found["stderr"][0])
    assert np.isnan(found["relative_stderr"][0])
    assert not found["mean_resolved"][0]
    assert np.isnan(statistics_of(np.zeros((1, 1)))["relative_stderr"][0])
