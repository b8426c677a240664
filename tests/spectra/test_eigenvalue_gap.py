import numpy as np
import pytest

from spectra.eigenvalue_gap import LEAST_SIDE, widest_gap


@pytest.mark.parametrize("unit", [1e-150, 1e-14, 1.0, 1e14, 1e150])
def test_the_gap_is_between_its_neighbors(unit):
    rng = np.random.default_rng(0)
    values = unit * np.sort(np.concatenate([rng.uniform(2, 3, 80), rng.uniform(0, 1, 40)]))[::-1]
    found = widest_gap(values)
    assert (found.low, found.high) == (values[80], values[79])
    assert (found.num_above, found.num_below) == (80, 40)
    assert found.ratio > 20


def test_few_values_above_are_outliers_and_no_interval():
    values = np.concatenate([np.linspace(9.0, 8.0, LEAST_SIDE - 1), np.linspace(1.0, 0.0, 100)])
    assert widest_gap(values) is None
    assert widest_gap(np.concatenate([np.linspace(9.0, 8.0, LEAST_SIDE), np.linspace(1.0, 0.0, 100)])) is not None


@pytest.mark.parametrize("draw", ["uniform", "standard_normal", "symmetric", "covariance", "square"])
def test_one_interval_has_no_gap(draw):
    rng = np.random.default_rng(1)
    for _ in range(20):
        if draw == "symmetric":
            W = rng.standard_normal((200, 200))
            values = np.linalg.eigvalsh(W + W.T)
        elif draw in ("covariance", "square"):
            X = rng.standard_normal((200, 200 if draw == "square" else 500))
            values = np.linalg.eigvalsh(X @ X.T)
        else:
            values = np.sort(getattr(rng, draw)(size=200))
        assert widest_gap(values[::-1]) is None


def test_the_widest_of_two_gaps_is_named():
    values = np.concatenate([np.linspace(9.0, 8.0, 50), np.linspace(3.0, 2.0, 50), np.linspace(1.0, 0.0, 50)])
    assert widest_gap(values).high == 8.0


@pytest.mark.parametrize("values", [np.zeros(0), np.ones(1), np.ones(60), np.array([2.0, 1.0])])
def test_nothing_to_see(values):
    assert widest_gap(values) is None


def test_clusters_of_equal_values_are_apart_without_end():
    assert widest_gap(np.repeat([2.0, 1.0], 30)).ratio == np.inf
