import numpy as np
import pytest

from spectra.errors import ArgumentError, ShapeError
from spectra.kernels.eigenlearning import eigenlearning

POWER = np.arange(1, 401.0) ** -1.5


@pytest.mark.parametrize("ridge", [1e-3, 1e-2, 1.0])
def test_the_coefficient_is_a_derivative_of_the_threshold(ridge):
    n, h = 120, 1e-4
    low, high = (eigenlearning(POWER, num_samples=n, ridge=ridge * (1 + sign * h)).kappa for sign in (-1, 1))
    found = eigenlearning(POWER, num_samples=n, ridge=ridge)
    slope = (high - low) / (2 * h * ridge)
    # The difference quotient is off by h^2.
    assert found.overfitting_coefficient == pytest.approx(n * slope, rel=1e-8)
    assert found.df2 == pytest.approx(n - 1 / slope, rel=1e-7)
    assert found.df1 - found.df2 == pytest.approx((1 - ridge * slope / found.kappa) / slope, rel=1e-7)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 1.0])
def test_identities_of_errors(ridge):
    found = eigenlearning(POWER, num_samples=60, ridge=ridge, signal=POWER, noise=0.3)
    assert found.df1 == pytest.approx(60 - ridge / found.kappa, rel=1e-12)
    assert found.df2 == pytest.approx(np.sum(found.learnability**2), rel=1e-12)
    assert found.overfitting_coefficient == pytest.approx(60 / (60 - found.df2), rel=1e-12)
    assert found.excess == pytest.approx(found.test_error - 0.3, rel=1e-12)
    assert found.variance == pytest.approx(0.3 * (found.overfitting_coefficient - 1), rel=1e-12)
    assert found.train_error == pytest.approx((ridge / 60 / found.kappa) ** 2 * found.test_error, rel=1e-12)


@pytest.mark.parametrize("exponent", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("kappa", [1e-3, 1e-5])
def test_effective_dimension_of_a_power_law(exponent, kappa):
    # With 3e6 eigenvalues and the integral of the rest; the ridge is chosen to have this kappa.
    count = 3_000_000
    values = np.arange(1, count + 1.0) ** -exponent
    rest = (count + 0.5) ** (1 - exponent) / (exponent - 1)
    n = 4 * kappa ** (-1 / exponent) + 10
    ridge = kappa * (n - np.sum(values / (values + kappa))) - rest
    found = eigenlearning(values, num_samples=n, ridge=ridge, residual_trace=rest)
    assert found.kappa == pytest.approx(kappa, rel=1e-9)
    closed = kappa ** (-1 / exponent) * (np.pi / exponent) / np.sin(np.pi / exponent) - 0.5
    assert found.df1 == pytest.approx(closed, rel=3e-6)
    assert (found.df1 + 0.5) / (found.df1 - found.df2) == pytest.approx(exponent, rel=3e-6)


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("decades", [2, 5, 10])
def test_ridgeless_coefficient_of_an_exponential_law(rate, decades):
    values = np.exp(-rate * np.arange(int(600 / rate)))
    found = eigenlearning(values, num_samples=decades / rate, ridge=0.0).overfitting_coefficient
    # The sum is an integral up to the midpoint rule's c^2 e^-cn / 24.
    assert found == pytest.approx(decades / (1 - np.exp(-decades)), rel=rate**2 * np.exp(-decades) / 24 + 1e-9)


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_second_dimension_of_an_exponential_law_with_a_ridge(rate):
    values = np.exp(-rate * np.arange(1, int(600 / rate)))
    found = eigenlearning(values, num_samples=1e5, ridge=1e5**0.3)
    assert found.df2 == pytest.approx((np.log(1 / found.kappa) - 1) / rate - 0.5, rel=5e-3)


def test_the_interpolation_peak():
    below, at, above = (
        eigenlearning(np.ones(10), num_samples=n, ridge=0.0, signal=np.ones(10), noise=0.5) for n in (9, 10, 11)
    )
    assert below.overfitting_coefficient == pytest.approx(10)
    assert at.is_interpolation_peak
    assert (at.test_error, at.train_error, at.bias, at.variance) == (np.inf, 0.0, 0.0, np.inf)
    assert (above.overfitting_coefficient, above.kappa, above.bias) == (11.0, 0.0, 0.0)
    # 11 labels less 10 fitted ones: a share 1/11 of the noise is left.
    assert above.train_error == pytest.approx(0.5 / 11)
    assert not eigenlearning(np.ones(10), num_samples=10, ridge=1e-9).is_interpolation_peak


def test_signal_outside_of_the_kernel_is_noise():
    inside = eigenlearning([1.0, 0.0], num_samples=5, ridge=0.0, signal=[1.0, 0.3])
    noisy = eigenlearning([1.0], num_samples=5, ridge=0.0, signal=[1.0], noise=0.3)
    assert inside.test_error == pytest.approx(noisy.test_error)


def test_small_eigenvalues_are_a_ridge():
    head, tail = POWER, np.full(10**6, 1e-9)
    full = eigenlearning(np.append(head, tail), num_samples=50, ridge=0.01, signal=np.append(head, 0 * tail), noise=0.1)
    short = eigenlearning(head, num_samples=50, ridge=0.01, signal=head, noise=0.1, residual_trace=tail.sum())
    for name in ("kappa", "df1", "df2", "test_error", "train_error", "overfitting_coefficient"):
        assert getattr(short, name) == pytest.approx(getattr(full, name), rel=1e-5)
    assert short.effective_ridge == pytest.approx(0.01 + 1e-3)


def test_multiplicities_are_copies():
    values, counts, signal = np.array([3.0, 1.0, 0.2]), np.array([2, 5, 40]), np.array([1.0, 2.0, 0.5])
    short = eigenlearning(values, multiplicity=counts, num_samples=9, ridge=0.1, signal=signal, noise=0.1)
    copies = eigenlearning(
        np.repeat(values, counts), num_samples=9, ridge=0.1, signal=np.repeat(signal / counts, counts), noise=0.1
    )
    for name in ("kappa", "df1", "df2", "test_error", "train_error"):
        assert getattr(short, name) == pytest.approx(getattr(copies, name), rel=1e-12)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_change_nothing(unit):
    one = eigenlearning(POWER, num_samples=50, ridge=0.1, signal=POWER, noise=0.1)
    scaled = eigenlearning(unit * POWER, num_samples=50, ridge=unit * 0.1, signal=POWER, noise=0.1)
    assert scaled.test_error == pytest.approx(one.test_error, rel=1e-12)
    assert scaled.kappa == pytest.approx(unit * one.kappa, rel=1e-12)


def test_predictions_are_the_mean_of_gaussian_designs():
    n, ridge, noise, num_draws = 60, 0.06, 0.2, 60
    weight = np.arange(1, 401.0) ** -1.2
    predicted = eigenlearning(POWER, num_samples=n, ridge=ridge, signal=weight**2, noise=noise)
    errors = np.empty((num_draws, 2))
    rng = np.random.default_rng(0)
    for draw in range(num_draws):
        phi = rng.standard_normal((n, POWER.size))
        labels = phi @ weight + np.sqrt(noise) * rng.standard_normal(n)
        features = phi * np.sqrt(POWER)
        K = features @ features.T
        a = np.linalg.solve(K + ridge * np.eye(n), labels)
        errors[draw] = np.sum((np.sqrt(POWER) * (features.T @ a) - weight) ** 2) + noise, np.mean((ridge * a) ** 2)
    stderr = errors.std(axis=0, ddof=1) / np.sqrt(num_draws)
    # Three standard errors, and the bias of an asymptotic theory, 5 % as measured.
    for mean, spread, theory in zip(
        errors.mean(axis=0), stderr, (predicted.test_error, predicted.train_error), strict=True
    ):
        assert abs(mean - theory) < 3 * spread + 0.05 * theory


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"noise": -1.0}, ArgumentError),
        ({"noise": np.nan}, ArgumentError),
        ({"ridge": -1.0}, ArgumentError),
        ({"residual_trace": -1.0}, ArgumentError),
        ({"signal": [-1.0]}, ArgumentError),
        ({"signal": [1.0, 2.0]}, ShapeError),
    ],
)
def test_bad_input(settings, error):
    with pytest.raises(error):
        eigenlearning([1.0], **({"num_samples": 3, "ridge": 0.1} | settings))
