"""Rates of kernel ridge regression in the number of samples, simulated with independent Gaussian features.

Cui, Loureiro, Krzakala and Zdeborová (2021), arXiv 2105.15004, and Cheng, Lucchi, Kratsios and Belius (2024), arXiv
2410.17796: with eigenvalues i^-a, coefficients i^-(1 + 2 a r) and a ridge per sample n^-l, bias and variance fall like
powers of n that change where l = a, and where r = 1.

For given features the error is exact: bias and variance are sums over the eigenfunctions, no test set is drawn. The
slopes are compared with those of the population theory at the same sizes, which have not reached their limits, and
these with the rates.
"""

import numpy as np
import pytest

from spectra.kernels.decay_rates import decay_rates
from spectra.kernels.eigenlearning import eigenlearning

SAMPLES = np.array([50, 100, 200, 400])
LAST = 4000


def simulate(alpha, source, ridge_exponent, *, draws=6):
    """Return bias and variance for noise of variance 1, shape (draws, sizes)."""
    index = np.arange(1, LAST + 1.0)
    values = index**-alpha
    target = index ** -(0.5 + alpha * source)
    bias, variance = np.empty((draws, SAMPLES.size)), np.empty((draws, SAMPLES.size))
    for draw in range(draws):
        rng = np.random.default_rng([53, draw])
        Z = rng.standard_normal((SAMPLES[-1], LAST))
        for j, n in enumerate(SAMPLES):
            features = Z[:n] * np.sqrt(values)
            K = features @ features.T + n * float(n) ** -ridge_exponent * np.eye(n)
            solve = np.linalg.solve(K, np.column_stack([Z[:n] @ target, features]))
            learned = np.sqrt(values) * (features.T @ solve[:, 0])
            bias[draw, j] = np.sum((target - learned) ** 2)
            variance[draw, j] = np.sum(values[:, None] * solve[:, 1:].T ** 2)
    return bias, variance


def population(alpha, source, ridge_exponent):
    index = np.arange(1, LAST + 1.0)
    squares = index ** -(1 + 2 * alpha * source)
    found = [
        eigenlearning(index**-alpha, num_samples=n, ridge=n * float(n) ** -ridge_exponent, signal=squares, noise=1.0)
        for n in SAMPLES
    ]
    return np.array([one.bias for one in found]), np.array([one.variance for one in found])


def slope(values):
    return np.polyfit(np.log(SAMPLES), np.log(values), 1)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alpha", "source", "ridge_exponent"), [(2.0, 0.5, 1.0), (2.0, 1.5, 1.0), (1.5, 0.3, 0.7), (2.0, 0.5, 3.0)]
)
def test_simulated_rates(alpha, source, ridge_exponent):
    rates = decay_rates(alpha, source_exponent=source, ridge_exponent=ridge_exponent)
    expected = dict(zip(("bias", "variance"), population(alpha, source, ridge_exponent), strict=True))
    for name, drawn in zip(("bias", "variance"), simulate(alpha, source, ridge_exponent), strict=True):
        slopes = np.array([slope(values) for values in drawn])
        stderr = slopes.std(ddof=1) / np.sqrt(len(slopes))
        # Theory of the mean, slope of single draws: they differ by a share of the spread, at most 0.03 here.
        assert abs(slopes.mean() - slope(expected[name])) < 4 * stderr + 0.03
        assert slope(expected[name]) == pytest.approx(getattr(rates, name), abs=0.12)


def test_the_crossover_of_noise():
    """A weak ridge lets the variance stay; a strong one lets it fall."""
    weak, strong = (simulate(2.0, 0.5, exponent, draws=2)[1].mean(axis=0) for exponent in (3.0, 1.0))
    assert weak[-1] == pytest.approx(weak[0], rel=0.25)
    assert strong[-1] < 0.5 * strong[0]
