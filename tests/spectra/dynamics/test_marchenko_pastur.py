"""SGD under the Marchenko-Pastur law: identities, limits, two independent oracles, closed forms of rates, odd calls."""

import numpy as np
import pytest
from scipy.special import ive

from spectra.dynamics.marchenko_pastur import MarchenkoPasturSGD
from spectra.errors import ArgumentError, NonFiniteError

RATIOS = [0.05, 0.5, 0.9, 1.0, 1.5, 4.0]
SHARES = [0.05, 0.5, 0.9, 1.2]
EPOCHS = np.array([0.0, 0.1, 1.0, 5.0])


def sgd_at(ratio, share, *, num_samples=1000, **others):
    """Return SGD at a share of the critical learning rate 2/(r n)."""
    rate = share * 2.0 / (ratio * num_samples)
    return MarchenkoPasturSGD(aspect_ratio=ratio, learning_rate=rate, num_samples=num_samples, **others)


def discretized(ratio, g, *, num_nodes=400):
    """Return eigenvalues x, their shares under the law (without the atom at 0), and the generator of the noise modes.

    The density is written out, with nodes x = middle + radius cos(angle): no quadrature of the package is used.
    """
    angle = np.pi * (np.arange(num_nodes) + 0.5) / num_nodes
    x = 1 + ratio + 2 * np.sqrt(ratio) * np.cos(angle)
    density = 2 * np.sqrt(ratio) * np.sin(angle) / (2 * np.pi * ratio * x)
    shares = density * 2 * np.sqrt(ratio) * np.sin(angle) * np.pi / num_nodes
    b = g * np.sqrt(ratio * shares) * x
    return x, shares, b, np.diag(-2 * g * x) + np.outer(b, b)


def volterra(ratio, g, signal, noise, t):
    """Solve p' = (D + b b') p + b F for the noise modes of the Volterra equation by one eigendecomposition."""
    x, shares, b, generator = discretized(ratio, g)
    constant = 0.5 * noise * max(1 - ratio, 0)
    forcing = shares * (0.5 * signal * x + 0.5 * noise * ratio)
    values, vectors = np.linalg.eigh(generator)
    squares = (vectors.T @ b) ** 2
    gap = values[:, None] + 2 * g * x
    driven = np.exp(-2 * g * x * t) * np.expm1(gap * t) / gap
    total = constant + forcing @ np.exp(-2 * g * x * t)
    return total + squares @ (constant * np.expm1(values * t) / values + driven @ forcing)


def bessel_series(ratio, u, signal, noise, t):
    """Expand the solution in modified Bessel functions, by a recurrence for coefficients and without any pole."""
    root, g = np.sqrt(ratio), 2 * u / ratio
    spread, kappa = 4 * g * root * t, (1 + ratio) / root
    order = np.arange(200)
    coefficients = np.zeros(200)
    for k in order:
        coefficients[k] = (signal if k == 0 else 0.0) + noise * root**-k
        coefficients[k] += u * kappa * coefficients[k - 1] if k else 0.0
        coefficients[k] -= u * coefficients[k - 2] if k > 1 else 0.0
    bessel = (order + 1) / spread * ive(order + 1, spread)
    return np.sum(coefficients * bessel) * np.exp(-2 * g * t * (1 - root) ** 2)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("share", [*SHARES, 1.0])
def test_loss_at_the_start_is_that_of_the_data(ratio, share):
    sgd = sgd_at(ratio, share, signal=3.0, noise=0.5, variance=1.0)
    np.testing.assert_allclose(sgd.loss(0), 1.75, rtol=1e-11)


def test_units_change_nothing_but_units():
    here = sgd_at(0.5, 0.8, signal=2.0, noise=0.3)
    tiny = MarchenkoPasturSGD(
        aspect_ratio=0.5,
        learning_rate=here.learning_rate * 1e20,
        num_samples=1000,
        signal=2.0 * 1e20,
        noise=0.3,
        variance=1e-20,
    )
    np.testing.assert_allclose(tiny.loss(EPOCHS), here.loss(EPOCHS), rtol=1e-12)
    for name in ("critical_learning_rate", "switch_learning_rate", "best_learning_rate"):
        np.testing.assert_allclose(getattr(tiny, name), 1e20 * getattr(here, name), rtol=1e-12)
    np.testing.assert_allclose([tiny.rate, tiny.floor], [here.rate, here.floor], rtol=1e-12)


def test_loss_depends_on_samples_and_learning_rate_through_their_product():
    few, many = sgd_at(0.5, 0.8, num_samples=10, noise=1.0), sgd_at(0.5, 0.8, num_samples=10**6, noise=1.0)
    np.testing.assert_allclose(few.loss(EPOCHS), many.loss(EPOCHS), rtol=1e-12)


def test_loss_is_linear_in_signal_and_noise():
    both = sgd_at(0.9, 0.95, signal=2.0, noise=3.0).loss(EPOCHS)
    parts = 2 * sgd_at(0.9, 0.95).loss(EPOCHS) + 3 * sgd_at(0.9, 0.95, signal=0.0, noise=1.0).loss(EPOCHS)
    np.testing.assert_allclose(both, parts, rtol=1e-11)
    assert np.all(sgd_at(0.9, 1.5, signal=0.0).loss([0.0, 1e6]) == 0.0)


def test_few_parameters_follow_one_exponential():
    # r -> 0 at fixed g: all eigenvalues are 1 and steps are without noise; corrections are of order r
    sgd = MarchenkoPasturSGD(aspect_ratio=1e-9, learning_rate=0.002, num_samples=100, noise=0.2)
    np.testing.assert_allclose(sgd.loss(EPOCHS), 0.5 * np.exp(-2 * 0.2 * EPOCHS) + 0.1, rtol=1e-8)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("signal", "noise"), [(1.0, 0.0), (0.0, 1.0)])
def test_loss_solves_the_discretized_volterra_equation(ratio, share, signal, noise):
    sgd = sgd_at(ratio, share, signal=signal, noise=noise)
    t = min(4.0, 40.0 / sgd.epoch_learning_rate)
    expected = volterra(ratio, sgd.epoch_learning_rate, signal, noise, t)
    # gradient flow reaches 1e-16 of the start within t: rounding of the oracle is relative to the start
    np.testing.assert_allclose(sgd.loss(t), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("ratio", [*RATIOS, 0.99, 0.9999, 20.0])
@pytest.mark.parametrize("share", [0.05, 0.9, 0.999, 1 - 1e-9, 1.0, 1 + 1e-12, 1.3])
@pytest.mark.parametrize(("signal", "noise"), [(1.0, 0.0), (0.0, 1.0)])
def test_loss_is_the_bessel_series_also_where_poles_coincide(ratio, share, signal, noise):
    sgd = sgd_at(ratio, share, signal=signal, noise=noise)
    t = 15.0 / (4.0 * sgd.epoch_learning_rate * np.sqrt(ratio)) * min(1.0, np.sqrt(ratio))
    np.testing.assert_allclose(sgd.loss(t), bessel_series(ratio, share, signal, noise, t), rtol=1e-10)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 2.0, 4.0])
def test_rate_is_the_slowest_mode_of_the_discretized_equation(ratio):
    for share in (0.1, 0.8, 0.95, 1.3):
        sgd = sgd_at(ratio, share)
        slowest = -np.linalg.eigvalsh(discretized(ratio, sgd.epoch_learning_rate)[3])[-1]
        # without a mode outside the bulk, the last of 400 nodes is the edge, off by 1 - cos(pi/800) of the width
        rtol = 1e-12 if sgd.learning_rate > sgd.switch_learning_rate else 1e-3
        np.testing.assert_allclose(sgd.rate, slowest, rtol=rtol)


@pytest.mark.parametrize("ratio", [0.01, 0.25, 0.9, 1.1, 4.0, 1e4])
def test_rate_has_its_largest_value_at_the_best_learning_rate(ratio):
    sgd = sgd_at(ratio, 0.5)
    best = sgd.best_learning_rate
    assert sgd.switch_learning_rate < best < sgd.critical_learning_rate
    grid = np.r_[np.linspace(0.001, 1.0, 3001) * sgd.critical_learning_rate, best]
    rates = [MarchenkoPasturSGD(aspect_ratio=ratio, learning_rate=lr, num_samples=1000).rate for lr in grid]
    assert np.argmax(rates) == 3001


@pytest.mark.parametrize("ratio", [0.25, 0.5, 2.0])
@pytest.mark.parametrize("share", [0.3, 0.97])
def test_excess_loss_decays_at_the_rate(ratio, share):
    sgd = sgd_at(ratio, share)
    t = np.array([100.0, 200.0]) / sgd.rate
    first, second = sgd.loss(t)
    power = 0.0 if sgd.learning_rate > sgd.switch_learning_rate else 1.5
    # below the switch the edge of the bulk contributes t^(-3/2) up to 1/t
    expected = np.exp(-100.0) * 2.0**-power
    np.testing.assert_allclose(second / first, expected, rtol=1e-9 if power == 0 else 0.1)


def test_loss_reaches_its_floor_and_has_none_from_the_critical_rate_on():
    for ratio in (0.25, 0.9, 2.0):
        sgd = sgd_at(ratio, 0.9, noise=0.7)
        np.testing.assert_allclose(sgd.loss([1e5, 1e12]), sgd.floor, rtol=1e-12, atol=1e-300)
    assert sgd_at(0.25, 1.1, noise=0.7).floor == np.inf
    assert sgd_at(0.25, 1.1).loss(1e9) == np.inf
    assert sgd_at(0.25, 1.1).rate < 0
    slow = sgd_at(0.25, 1e-7, noise=0.7)
    np.testing.assert_allclose(slow.floor, 0.35 * 0.75, rtol=1e-6)


def test_critical_step_size_keeps_the_loss_without_noise_and_adds_to_it_with_noise():
    np.testing.assert_allclose(sgd_at(0.5, 1.0).loss([1e3, 1e6]), 0.5, rtol=1e-9)
    grown = sgd_at(0.5, 1.0, signal=0.0, noise=1.0).loss([1e3, 2e3, 3e3])
    np.testing.assert_allclose(np.diff(grown, 2) / grown[0], 0.0, atol=1e-9)
    assert grown[0] > 100


def test_square_data_decay_as_a_power():
    sgd = sgd_at(1.0, 0.5)
    assert sgd.rate == 0.0
    assert np.isnan(sgd.best_learning_rate)
    assert sgd.switch_learning_rate == pytest.approx(sgd.critical_learning_rate, rel=1e-14)
    exponent = np.diff(np.log(sgd.loss([1e6, 2e6]))) / np.log(2)
    np.testing.assert_allclose(exponent, -1.5, rtol=1e-5)


def test_curves_are_smooth_across_the_switch_and_across_square_data():
    at_switch = MarchenkoPasturSGD(aspect_ratio=0.25, learning_rate=1.0, num_samples=1).switch_learning_rate
    curves = [
        MarchenkoPasturSGD(aspect_ratio=0.25, learning_rate=at_switch * (1 + shift), num_samples=1, noise=1.0).loss(
            EPOCHS
        )
        for shift in (-1e-9, 0.0, 1e-9)
    ]
    np.testing.assert_allclose(curves[0] - 2 * curves[1] + curves[2], 0.0, atol=1e-13)
    shares = [sgd_at(ratio, 0.9, noise=1.0).loss(EPOCHS) for ratio in (1 - 1e-9, 1.0, 1 + 1e-9)]
    np.testing.assert_allclose(shares[0] - 2 * shares[1] + shares[2], 0.0, atol=1e-11)


@pytest.mark.parametrize("ratio", [1e-12, 1e-4, 0.5, 1 - 1e-15, 1.0, 1e4, 1e12])
@pytest.mark.parametrize("share", [1e-300, 1e-12, 0.5, 1.0, 1 + 1e-15, 2.0, 1e6])
@pytest.mark.parametrize(("signal", "noise"), [(1.0, 0.0), (0.0, 1.0)])
def test_extremes_have_a_loss(ratio, share, signal, noise):
    sgd = sgd_at(ratio, share, num_samples=1, signal=signal, noise=noise)
    losses = sgd.loss([0.0, 1e-300, 1e-3, 1.0, 1e3, 1e8, 1e18, 1e30, 1e300])
    assert np.all(losses >= 0.0)  # not NaN either
    np.testing.assert_allclose(losses[:2], 0.5, rtol=1e-9)
    assert sgd.floor >= 0.0
    assert not np.isnan(sgd.rate)


def test_epochs_may_have_any_real_dtype_and_shape():
    sgd = sgd_at(0.5, 0.5)
    expected = sgd.loss(np.array([[0.0, 1.0], [2.0, 3.0]]))
    assert expected.shape == (2, 2)
    assert np.array_equal(sgd.loss([[0, 1], [2, 3]]), expected)
    assert np.array_equal(sgd.loss(np.array([[0, 1], [2, 3]], dtype=np.float32)), expected)
    assert sgd.loss(2.0).shape == ()
    assert sgd.loss([]).shape == (0,)


@pytest.mark.parametrize(
    "change",
    [
        {"aspect_ratio": 0.0},
        {"aspect_ratio": np.nan},
        {"aspect_ratio": "wide"},
        {"learning_rate": -1.0},
        {"learning_rate": np.inf},
        {"num_samples": 10.0},
        {"num_samples": 0},
        {"num_samples": True},
        {"signal": -1.0},
        {"noise": np.nan},
        {"variance": 0.0},
    ],
)
def test_parameters_out_of_range_are_refused(change):
    with pytest.raises(ArgumentError, match=next(iter(change))):
        MarchenkoPasturSGD(**{"aspect_ratio": 0.5, "learning_rate": 0.1, "num_samples": 10, **change})


@pytest.mark.parametrize(
    ("epoch", "error"),
    [
        (-1.0, ArgumentError),
        ("1", ArgumentError),
        ([True], ArgumentError),
        (1j, ArgumentError),
        (np.nan, NonFiniteError),
        ([1.0, np.inf], NonFiniteError),
    ],
)
def test_epochs_that_are_none_are_refused(epoch, error):
    with pytest.raises(error, match="epochs must"):
        sgd_at(0.5, 0.5).loss(epoch)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0, 1.5])
@pytest.mark.parametrize("aspect_ratio", [0.3, 1.0, 3.0])
def test_the_error_state_of_numpy_changes_nothing(aspect_ratio, share):
    sgd = MarchenkoPasturSGD(
        aspect_ratio=aspect_ratio, learning_rate=2 * share / (aspect_ratio * 1000), num_samples=1000, noise=0.1
    )
    epochs = np.append(np.geomspace(1e-300, 1e300, 60), 0.0)
    with np.errstate(all="ignore"):
        expected = sgd.loss(epochs)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(sgd.loss(epochs), expected)
        assert np.isfinite([sgd.rate, sgd.critical_learning_rate, sgd.switch_learning_rate]).all()
