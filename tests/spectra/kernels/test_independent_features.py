import math

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.kernels.eigendecay import eigendecay
from spectra.kernels.gram import GramSpectrum
from spectra.kernels.independent_features import features_of_law, independent_features

POWERS = {"1.5": np.arange(1, 1001.0) ** -1.5, "2": np.arange(1, 1001.0) ** -2}
FAST = {"0.05": np.exp(-0.05 * np.arange(1, 1001.0)), "0.1": np.exp(-0.1 * np.arange(1, 1001.0))}


def extremes(values, n, seed):
    """Return largest and smallest eigenvalue of a Gram matrix of independent Gaussian features."""
    Z = np.random.default_rng([17, seed]).standard_normal((n, values.size)) * np.sqrt(values)
    squares = np.linalg.svd(Z, compute_uv=False) ** 2
    return squares[0], squares[-1]


@pytest.mark.parametrize("values", [*POWERS.values(), *FAST.values()], ids=[*POWERS, *FAST])
@pytest.mark.parametrize("n", [10, 40])
def test_bounds_hold_for_independent_features(values, n):
    """The probability is at least 0.95: in 60 draws more than 9 violations would have a chance of 1e-3."""
    bound = independent_features(values, num_samples=n)
    drawn = np.array([extremes(values, n, seed) for seed in range(60)])
    assert np.sum((drawn[:, 0] > bound.largest) | (drawn[:, 1] < bound.smallest)) <= 9
    assert np.median(drawn[:, 0] / drawn[:, 1]) < bound.condition_number()


def test_largest_eigenvalue_is_bounded_in_the_mean():
    """Chevet's inequality, without the room for deviations: z-test against its mean."""
    values, n = POWERS["1.5"], 40
    drawn = np.array([extremes(values, n, seed)[0] for seed in range(60)])
    chevet = (math.sqrt(n * values[0]) + math.sqrt(values.sum())) ** 2
    roots = np.sqrt(drawn)
    assert roots.mean() - 3 * roots.std() / math.sqrt(60) < math.sqrt(chevet)
    assert chevet < independent_features(values, num_samples=n).largest


def test_multiplicities_are_repeated_eigenvalues():
    one = independent_features([2.0, 1.0], num_samples=5, multiplicity=[1, 200])
    many = independent_features(np.append(2.0, np.ones(200)), num_samples=5)
    assert one.largest == pytest.approx(many.largest)
    assert one.smallest == pytest.approx(many.smallest)


def test_fewer_features_than_samples_have_no_lower_bound():
    bound = independent_features(np.ones(5), num_samples=10)
    assert bound.smallest == 0.0
    assert math.isinf(bound.condition_number())
    assert bound.condition_number(1.0) == pytest.approx(1 + bound.largest)


@pytest.mark.parametrize(
    "settings", [{"num_samples": 0}, {"num_samples": 2.5}, {"num_samples": 5, "residual_trace": -1.0}]
)
def test_bad_populations(settings):
    with pytest.raises(ArgumentError):
        independent_features([1.0, 0.5], **settings)


def test_a_law_for_a_matrix_of_few_positive_eigenvalues():
    found = GramSpectrum.of_eigenvalues([3.0, 2.0, 1.0] + [0.0] * 97)
    law = eigendecay(1 / np.arange(1.0, 300.0) ** 2)
    assert features_of_law(found, law).smallest > 0
