"""Ridgeless kernel regression on noise: tempered for power laws, catastrophic for exponential decay.

Mallinar, Simon, Abedsoltan, Pandit, Belkin and Nakkiran (2022), arXiv 2207.06569: eigenvalues that decay like i^-a
amplify label noise by a factor that tends to a, exponential ones without bound. Cheng, Lucchi, Kratsios and Belius
(2024), arXiv 2402.01297: the condition number then grows like n^a, or exponentially, for independent features.

The simulations draw independent Gaussian features and fit them; the estimates see the Gram matrix only. Test errors
are exact for each draw, because features are orthonormal.
"""

import numpy as np
import pytest

from spectra.kernels.conditioning import kernel_condition
from spectra.kernels.eigenlearning import eigenlearning
from spectra.kernels.noise_amplification import noise_amplification
from spectra.kernels.overfitting_regime import overfitting_regime


def power(alpha, last):
    return np.arange(1, last + 1.0) ** -alpha


def exponential(rate, last):
    return np.exp(-rate * np.arange(1, last + 1.0))


def fits_to_noise(values, n, *, draws, tail=0.0):
    """Return exact test errors of ridgeless fits to noise of variance 1, averaged over it, and the Gram matrices."""
    errors, grams = [], []
    for seed in range(draws):
        Z = np.random.default_rng([31, n, seed]).standard_normal((n, values.size)) * np.sqrt(values)
        K = Z @ Z.T + tail * np.eye(n)
        # Coefficients of the fit in the eigenfunctions are sqrt(values) Z' K^-1 noise.
        weights = np.sqrt(values)[:, None] * np.linalg.solve(K, Z).T
        errors.append(1 + np.sum(weights**2))
        grams.append(K)
    return np.array(errors), grams


@pytest.mark.parametrize("alpha", [1.5, 2.0, 3.0])
def test_power_laws_amplify_noise_by_their_exponent(alpha):
    n, last = 150, 3000
    tail = (last + 0.5) ** (1 - alpha) / (alpha - 1)
    errors, grams = fits_to_noise(power(alpha, last), n, draws=12, tail=tail)
    expected = eigenlearning(power(alpha, last), num_samples=n, ridge=0.0, residual_trace=tail, noise=1.0).test_error
    assert expected == pytest.approx(alpha, rel=0.01)
    # The theory neglects terms of order 1/n.
    assert abs(errors.mean() - expected) < 3.5 * errors.std(ddof=1) / np.sqrt(errors.size) + expected / n
    assert {overfitting_regime(K).verdict for K in grams[:4]} <= {"tempered", "undecided"}


def test_exponential_decay_amplifies_noise_ever_more():
    rate = 0.1
    means = []
    for n in (40, 80, 160):
        errors, grams = fits_to_noise(exponential(rate, 450), n, draws=12)
        expected = rate * n / -np.expm1(-rate * n)
        assert abs(errors.mean() - expected) < 3.5 * errors.std(ddof=1) / np.sqrt(12) + 0.05 * expected
        means.append(errors.mean())
    assert np.polyfit(np.log([40, 80, 160]), np.log(means), 1)[0] == pytest.approx(1.0, abs=0.2)
    assert overfitting_regime(grams[0]).verdict == "catastrophic"


@pytest.mark.parametrize("values", [power(1.5, 3000), power(2.0, 3000), exponential(0.1, 450)])
def test_leaving_one_out_tells_the_amplification_without_labels(values):
    errors, grams = fits_to_noise(values, 100, draws=24)
    estimates = np.array([noise_amplification(K).mean for K in grams])
    differences = estimates - errors
    assert abs(differences.mean()) < 3.5 * differences.std(ddof=1) / np.sqrt(24) + 0.02 * errors.mean()


def test_amplification_and_condition_number_are_different_things():
    """Both grow for exponential decay; for a power law the condition number does, and the amplification does not."""
    conditions, amplifications = [], []
    for n in (40, 160):
        _, grams = fits_to_noise(power(2.0, 3000), n, draws=4)
        conditions.append(np.median([kernel_condition(K, eigenvalue=power(2.0, 3000)).condition_number for K in grams]))
        amplifications.append(np.mean([noise_amplification(K).mean for K in grams]))
    assert np.log(conditions[1] / conditions[0]) / np.log(4) == pytest.approx(2.0, abs=0.4)
    assert amplifications[1] == pytest.approx(amplifications[0], rel=0.15)
