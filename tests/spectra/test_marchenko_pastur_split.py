import numpy as np
import pytest

from spectra.marchenko_pastur_split import marchenko_pastur_fit


def fit(p, n, *, spikes=(), level=0.99, seed=0, unit=1.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((p, n))
    X[: len(spikes)] *= np.sqrt(np.array(spikes)).reshape(-1, 1)
    values = unit * np.linalg.svd(X, compute_uv=False) ** 2 / n
    return marchenko_pastur_fit(values, num_variables=p, num_samples=n, level=level)


@pytest.mark.parametrize(("p", "n"), [(100, 200), (200, 100), (100, 100), (40, 2000)])
@pytest.mark.parametrize("unit", [1.0, 1e-14, 1e14])
def test_noise_has_its_variance_and_edges(p, n, unit):
    found = fit(p, n, unit=unit, seed=1)
    assert abs(found.variance / unit - 1) < 4 * found.variance_stderr / unit
    y = p / n
    assert found.high == pytest.approx(unit * (1 + np.sqrt(y)) ** 2, rel=0.05)
    assert found.num_outliers == 0
    assert found.is_settled
    assert found.distance < found.distance_limit


def test_spikes_are_counted_and_do_not_bias_the_variance():
    z = []
    for seed in range(12):
        found = fit(150, 300, spikes=(30.0, 8.0, 4.0), seed=seed)
        assert found.num_outliers >= 3
        z.append((found.variance - 1) / found.variance_stderr)
    assert abs(np.mean(z)) < 3 / np.sqrt(12)


def test_p_values_of_spikes_ascend_and_lie_below_the_level():
    found = fit(150, 300, spikes=(30.0, 8.0, 4.0), seed=3)
    assert np.all(np.diff(found.p_values) >= 0)
    assert np.all(found.p_values < 0.01)


def test_false_outliers_are_as_rare_as_the_level_says():
    false = sum(fit(40, 80, level=0.9, seed=100 + seed).num_outliers > 0 for seed in range(200))
    assert abs(false - 20) < 3 * np.sqrt(200 * 0.1 * 0.9)


def test_bulks_that_are_not_white_are_noticed():
    rng = np.random.default_rng(4)
    X = np.sqrt(np.repeat([1.0, 3.0], 50))[:, None] * rng.standard_normal((100, 400))
    values = np.linalg.svd(X, compute_uv=False) ** 2 / 400
    found = marchenko_pastur_fit(values, num_variables=100, num_samples=400, level=0.99)
    assert found.distance > found.distance_limit


def test_two_eigenvalues_and_equal_ones():
    found = marchenko_pastur_fit(np.array([1.1, 0.9]), num_variables=2, num_samples=100, level=0.99)
    assert np.isfinite(found.variance)
    found = marchenko_pastur_fit(np.ones(50), num_variables=50, num_samples=100, level=0.99)
    assert found.distance > found.distance_limit


def test_small_square_noise_confirms_no_outlier_by_leaving_it_out():
    # With the count and the variance that first agree, each of these draws shows one.
    for seed in (900045, 900111, 900340, 900369, 900423):
        X = np.random.default_rng(seed).standard_normal((50, 50))
        values = np.linalg.eigvalsh(X @ X.T / 50)[::-1]
        found = marchenko_pastur_fit(values, num_variables=50, num_samples=50, level=0.995)
        assert (found.num_outliers, found.is_settled) == (0, True)
        assert found.variance == pytest.approx(np.mean(values))
