"""Paquette, Lee, Pedregosa and Paquette 2021, SGD in the Large.

Statements: on large random least-squares problems with r parameters per sample, the loss of SGD with steps g/n on one
sample at a time follows a Volterra equation; it settles at noise/2 (1 - r)/(1 - g r/2) for r < 1 and at 0 for r >= 1;
it does so only for g < 2/r; and above a smaller step size the rate is no longer that of gradient flow.
"""

import numpy as np
import pytest
from scipy.integrate import quad

from spectra.dynamics.marchenko_pastur import MarchenkoPasturSGD


def sgd_at(ratio, g, *, num_samples=1000, **others):
    """Return SGD with the step size of the paper."""
    return MarchenkoPasturSGD(aspect_ratio=ratio, learning_rate=g / num_samples, num_samples=num_samples, **others)


def density(x, ratio):
    """Return the density of the law in its own variable."""
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    return np.sqrt((x - low) * (high - x)) / (2 * np.pi * ratio * x)


def integral(f, ratio):
    """Integrate against the law apart from its atom at 0."""
    ends = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    return quad(lambda x: f(x) * density(x, ratio), *ends, epsabs=0.0, epsrel=1e-10, limit=500)[0]


@pytest.mark.parametrize("ratio", [0.25, 0.5, 2.0])
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_loss_solves_the_volterra_equation(ratio, share):
    # insert the curve into the equation: the convolution by quadrature in time, kernel and forcing by quadrature in x
    g, noise, t = share * 2 / ratio, 0.3, 1.5
    sgd = sgd_at(ratio, g, noise=noise)

    def kernel(age):
        return ratio * g**2 * integral(lambda x: x**2 * np.exp(-2 * g * age * x), ratio)

    atom = max(1 - 1 / ratio, 0)
    forcing = 0.5 * integral(lambda x: x * np.exp(-2 * g * t * x), ratio)
    forcing += 0.5 * noise * (ratio * (atom + integral(lambda x: np.exp(-2 * g * t * x), ratio)) + 1 - ratio)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    times = t * (nodes + 1) / 2
    memory = t / 2 * weights @ (np.array([kernel(t - s) for s in times]) * sgd.loss(times))
    np.testing.assert_allclose(sgd.loss(t), forcing + memory, rtol=1e-8)


@pytest.mark.parametrize("ratio", [0.25, 0.8, 1.0, 2.0])
def test_limiting_loss_is_zero_only_with_at_least_as_many_parameters_as_samples(ratio):
    g, noise = 0.6 * 2 / ratio, 0.3
    sgd = sgd_at(ratio, g, noise=noise)
    # at r = 1 the approach is a power of the epoch, t^(-1/2) with noise
    late, atol = sgd.loss(1e12), 1e-6 if ratio == 1 else 1e-15
    # a constant loss L solves L = noise/2 max(1 - r, 0) + L |K|, |K| = r g/2 times the mean eigenvalue
    norm = ratio * g**2 * integral(lambda x: x / (2 * g), ratio)
    np.testing.assert_allclose(late, 0.5 * noise * max(1 - ratio, 0) / (1 - norm), rtol=1e-8, atol=atol)
    np.testing.assert_allclose(sgd.floor, late, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_critical_step_size_is_two_over_r(ratio):
    sgd = sgd_at(ratio, 1.0)
    np.testing.assert_allclose(sgd.critical_learning_rate * 1000, 2 / ratio, rtol=1e-14)
    below, above = sgd_at(ratio, 0.98 * 2 / ratio), sgd_at(ratio, 1.02 * 2 / ratio)
    assert below.loss(1e5) < 0.1 < below.loss(0)
    assert above.loss(1e5) > 1e3
    assert below.rate >= 0 > above.rate


@pytest.mark.parametrize("ratio", [0.25, 0.5, 2.0, 4.0])
def test_rate_switches_where_a_mode_leaves_the_bulk(ratio):
    root = np.sqrt(ratio)
    g_switch = 2 / (root * (ratio - root + 1))
    edge = (1 - root) ** 2

    def transform(g):
        """Return the Laplace transform of the kernel at the edge, r g/2 int x^2/(x - edge) dmu."""

        # x = edge + 4 sqrt(r) sin(a/2)^2 takes the singularity at the edge away
        def integrand(a):
            x = edge + 4 * root * np.sin(a / 2) ** 2
            return 4 * root * np.cos(a / 2) ** 2 * x / (2 * np.pi * ratio) * 2 * root

        return ratio * g / 2 * quad(integrand, 0, np.pi, epsrel=1e-12)[0] / (2 * root)

    np.testing.assert_allclose(transform(g_switch), 1.0, rtol=1e-10)
    np.testing.assert_allclose(sgd_at(ratio, 1.0).switch_learning_rate * 1000, g_switch, rtol=1e-13)
    # observed decay of the loss: e-foldings between two late epochs
    for g, is_flow in [(0.8 * g_switch, True), (0.5 * (g_switch + 2 / ratio), False)]:
        sgd = sgd_at(ratio, g)
        late = np.array([200.0, 300.0]) / (2 * g * edge)
        observed = -np.diff(np.log(sgd.loss(late)))[0] / (late[1] - late[0])
        # up to the switch a factor t^(-3/2) adds 1.5 log(1.5) to 100 e-foldings
        np.testing.assert_allclose(observed, sgd.rate, rtol=0.01)
        assert (observed > 0.99 * 2 * g * edge) == is_flow


def gaussian(rng, shape):
    return rng.standard_normal(shape, dtype=np.float32)


def signs(rng, shape):
    return (2 * rng.integers(2, size=shape, dtype=np.int8) - 1).astype(np.float32)


def observed_losses(sgd, entries, steps, *, num_runs, rng):
    """Run SGD on data sets of its own each; return losses, shape (steps, runs)."""
    n, d = sgd.num_samples, round(sgd.aspect_ratio * sgd.num_samples)
    matrices = entries(rng, (num_runs, n, d))
    errors = (rng.standard_normal((num_runs, d)) / np.sqrt(d)).astype(np.float32)
    noises = (np.sqrt(sgd.noise) * rng.standard_normal((num_runs, n))).astype(np.float32)
    runs, learning_rate, losses = np.arange(num_runs), np.float32(sgd.learning_rate), []
    for k in range(steps[-1] + 1):
        if k in steps:
            residuals = np.matmul(matrices, errors[:, :, None])[:, :, 0] - noises
            losses.append(0.5 * np.mean(residuals**2, axis=1, dtype=np.float64))
        chosen = rng.integers(n, size=num_runs)
        rows = matrices[runs, chosen]
        slopes = np.vecdot(rows, errors) - noises[runs, chosen]
        errors = errors - learning_rate * slopes[:, None] * rows
    return np.array(losses)


@pytest.mark.parametrize("entries", [gaussian, signs])
@pytest.mark.parametrize(("ratio", "num_samples", "share"), [(0.5, 1000, 0.5), (0.5, 1000, 0.9), (2.0, 500, 0.6)])
def test_mean_loss_of_runs_is_the_predicted_one(entries, ratio, num_samples, share):
    sgd = sgd_at(ratio, share * 2 / ratio, num_samples=num_samples, noise=0.2)
    steps = [num_samples * quarter // 4 for quarter in (0, 1, 2, 4, 8, 16)]
    losses = observed_losses(sgd, entries, steps, num_runs=40, rng=np.random.default_rng(2))
    expected = sgd.loss(np.array(steps) / num_samples)
    stderr = losses.std(axis=1, ddof=1) / np.sqrt(losses.shape[1])
    # at finite n the norm u of the kernel is larger by the factor 1 + lr (1 + r) (second moment over mean of the
    # eigenvalues, fourth moments of normal rows included), and a floor like 1/(1 - u) by lr (1 + r) u/(1 - u)
    allowance = expected * sgd.learning_rate * (1 + ratio) * share / (1 - share)
    z = np.maximum(np.abs(losses.mean(axis=1) - expected) - allowance, 0) / stderr
    assert np.all(stderr < 0.05 * expected)
    assert np.all(z < 3.5), z
