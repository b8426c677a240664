import numpy as np
import pytest

from spectra.dynamics import Quadratic, sgd_curve, stability
from spectra.dynamics.closed_form import ClosedForm, _divided
from tests.spectra.dynamics.least_squares import gaussian_problem, one_mode

STEPS = [0, 1, 2, 3, 10, 100, 1000, 20_000]


def both(problem, **settings):
    return [
        sgd_curve(problem, num_steps=STEPS[-1], record=STEPS, solver=solver, **settings).loss.values
        for solver in ("recursion", "closed_form")
    ]


@pytest.mark.parametrize("closure", ["limit", "gaussian", "kurtosis"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 1.0, 1.001])
@pytest.mark.parametrize("size", [1, 7, 60])
def test_it_is_the_recursion(closure, share, size):
    problem = gaussian_problem()
    critical = sgd_curve(problem, closure=closure, learning_rate=0.01, num_steps=1, batch_size=size).attrs[
        "critical_learning_rate"
    ]
    first, second = both(problem, closure=closure, learning_rate=share * critical, batch_size=size)
    np.testing.assert_allclose(first, second, rtol=1e-9)


def test_clustered_eigenvalues_keep_their_digits():
    rng = np.random.default_rng(0)
    lam = np.repeat([1.0, 0.5, 1e-3, 1e-9], 10) * (1 + 1e-11 * rng.standard_normal(40))
    problem = Quadratic(
        eigenvalue=lam, multiplicity=np.ones(40), initial_loss=rng.random(40), floor=0.2, num_samples=100
    )
    first, second = both(problem, closure="limit", learning_rate=0.05)
    # the recursion rounds in each of 20 000 steps: 4e-12 for every rounding of a step that adds up
    np.testing.assert_allclose(first, second, rtol=5e-11)


@pytest.mark.parametrize("order", ["descending", "ascending", "shuffled"])
def test_slow_modes_keep_their_digits_in_any_order(order):
    """The state of a mode is its loss over its share in the noise, which is tiny for slow modes and small weights."""
    rng = np.random.default_rng(3)
    lam, loss, weight = 10.0 ** -np.linspace(0, 11, 60), rng.random(60), 10.0 ** rng.uniform(-8, 3, 60)
    places = {"descending": np.arange(60), "ascending": np.arange(60)[::-1], "shuffled": rng.permutation(60)}[order]
    for multiplicity in (np.ones(60), weight):
        problem = Quadratic(
            eigenvalue=lam[places],
            multiplicity=multiplicity[places],
            initial_loss=loss[places],
            floor=0.1,
            num_samples=100,
        )
        rate = 0.5 * stability(problem, closure="limit", batch_size=10).closure_learning_rate
        first, second = both(problem, closure="limit", learning_rate=rate, batch_size=10)
        # the recursion rounds in each of 20 000 steps, as above
        np.testing.assert_allclose(first, second, rtol=5e-11)


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_nodes_that_only_carry_loss_may_coincide_with_those_that_make_noise(floor):
    """Kernel and forcing from different quadratures, some of their nodes equal."""
    lam = np.array([2.0, 1.0, 0.1, 1.0, 0.5, 0.1, 1e-6])
    problem = Quadratic(
        eigenvalue=lam,
        multiplicity=np.array([1.0, 3.0, 20.0, 0, 0, 0, 0]),
        initial_loss=np.array([0, 0, 0, 1.0, 2.0, 3.0, 1.0]),
        floor=floor,
        num_samples=50,
    )
    for rate in (0.1, 0.5, 0.9):
        first, second = both(problem, closure="gaussian", learning_rate=rate, batch_size=4)
        np.testing.assert_allclose(first, second, rtol=1e-10)


def test_a_million_steps_of_one_mode():
    """q(k) of one mode is a geometric sum that can be written down."""
    problem = one_mode(floor=0.5, initial_loss=2.0)
    rate = 1e-5
    keep = (1 - rate) ** 2
    factor = keep + rate**2  # rho + c (rate lam)^2
    k = np.array([0.0, 1.0, 1e3, 1e6, 1e9])
    expected = 0.5 + 2 * factor**k + 0.5 * rate**2 * (1 - factor**k) / (1 - factor)
    found = ClosedForm(problem, learning_rate=rate, noise=1.0, chi=np.zeros(1)).curve(k).loss
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_modes_that_change_sign_every_step():
    """With a negative chi the factor of a mode can be negative."""
    problem = one_mode(eigenvalue=1.0, floor=0.1, num_samples=None)
    chi = np.array([-0.9])
    form = ClosedForm(problem, learning_rate=1.0, noise=0.5, chi=chi)
    state, losses = problem.initial_loss.copy(), []
    for _ in range(8):
        losses.append(0.1 + state[0])
        state = (0.5 * chi) * state + 0.5 * (0.1 + state[0])
    np.testing.assert_allclose(form.curve(np.arange(8)).loss, losses, rtol=1e-13)


@pytest.mark.parametrize(
    ("mu", "rho"),
    [(0.5, 0.5), (0.5, 0.5 + 1e-13), (0.9, 0.1), (0.0, 0.3), (0.0, 0.0), (-0.4, 0.7), (-0.4, -0.4), (1.2, 1.0)],
)
def test_divided_differences_of_powers(mu, rho):
    k = np.arange(12.0)
    sums = [sum(mu**i * rho ** (j - 1 - i) for i in range(j)) for j in range(12)]
    found = _divided(np.array([1 - mu]), np.array([1 - rho]), k)[:, 0, 0]
    np.testing.assert_allclose(found, sums, rtol=1e-11, atol=1e-14)
