import numpy as np
import pytest
from scipy import stats

from spectra.laws.tail_scan import scan_tails, tail_sizes


def pareto(exponent, size, seed):
    return np.random.default_rng(seed).pareto(exponent - 1, size=size) + 1


def test_the_scan_maximizes_the_likelihood_and_the_distance_is_scipys():
    values = np.sort(pareto(2.5, 120, 0))[::-1]
    found = scan_tails(np.log(values)[None], least=120)
    above = values[:-1] / values[-1]
    slopes = np.linspace(1, 2, 100001)
    likelihood = above.size * np.log(slopes) - (slopes + 1) * np.log(above).sum()
    assert found.slope[0] == pytest.approx(slopes[np.argmax(likelihood)], abs=2e-5)
    law = stats.pareto(found.slope[0], scale=values[-1])
    assert found.distance[0] == pytest.approx(stats.kstest(values, law.cdf).statistic, abs=1e-12)


def test_the_scan_is_the_best_of_all_sizes():
    values = np.sort(pareto(3, 90, 1))[::-1]
    best = scan_tails(np.log(values)[None], least=50)
    each = [scan_tails(np.log(values[:k])[None], least=k).distance[0] for k in tail_sizes(90, 50)]
    assert best.distance[0] == min(each)
    assert tail_sizes(90, 50)[0] == 50
    assert tail_sizes(90, 50)[-1] == 90


def test_samples_are_scanned_independently():
    logs = -np.sort(-np.log([pareto(3, 80, seed) for seed in range(3)]), axis=1)
    together = scan_tails(logs, least=30)
    for i in range(3):
        alone = scan_tails(logs[i : i + 1], least=30)
        assert (alone.slope[0], alone.distance[0], alone.num_tail[0]) == (
            together.slope[i],
            together.distance[i],
            together.num_tail[i],
        )


def test_equal_values_have_no_slope():
    found = scan_tails(np.zeros((1, 60)), least=50)
    assert (found.num_tail[0], found.slope[0], found.distance[0]) == (60, np.inf, np.inf)
