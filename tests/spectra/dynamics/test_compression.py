import numpy as np
import pytest

from spectra.dynamics import Quadratic, compress, from_marchenko_pastur, kernel_norm, sgd_curve, stability
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import one_mode


def power_law(count=3000, exponent=1.5):
    lam = np.arange(1, count + 1.0) ** -exponent
    return Quadratic(eigenvalue=lam, multiplicity=np.ones(count), initial_loss=lam**1.2, floor=0.1, num_samples=10_000)


@pytest.mark.parametrize("closure", ["limit", "gaussian", "continuous"])
@pytest.mark.parametrize("share", [0.1, 0.8, 0.99])
@pytest.mark.parametrize("size", [1, 100])
def test_curves_of_a_thousand_modes(closure, share, size):
    problem = from_marchenko_pastur(0.5, dimension=1000, noise=0.25, num_nodes=1000)
    small = compress(problem)
    assert small.eigenvalue.size < 100
    rate = share * min(stability(problem, closure=c, batch_size=size).closure_learning_rate for c in ("limit", closure))
    first, second = (
        sgd_curve(p, closure=closure, learning_rate=rate, batch_size=size, num_steps=10**6, solver="auto")
        for p in (problem, small)
    )
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-9)
    assert second.attrs["kernel_norm"] == pytest.approx(first.attrs["kernel_norm"], rel=1e-9)


def test_modes_over_many_orders_of_magnitude():
    problem = power_law()
    small = compress(problem)
    assert small.eigenvalue.size < 400
    rate = 0.5 * stability(problem, closure="limit").closure_learning_rate
    first, second = (sgd_curve(p, closure="limit", learning_rate=rate, num_steps=10**7) for p in (problem, small))
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-8)


def test_half_the_width_is_a_smaller_error():
    problem = power_law()
    rate = 0.5 * stability(problem, closure="limit").closure_learning_rate
    exact = sgd_curve(problem, closure="limit", learning_rate=rate, num_steps=10**5).loss.values
    errors = [
        np.max(
            np.abs(
                sgd_curve(
                    compress(problem, width=width), closure="limit", learning_rate=rate, num_steps=10**5
                ).loss.values
                - exact
            )
        )
        for width in (1.6, 0.8)
    ]
    assert errors[1] < errors[0] / 64


def test_what_is_conserved():
    problem = power_law()
    small = compress(problem, width=1.0)
    assert small.trace == pytest.approx(problem.trace, rel=1e-12)
    assert small.loss == pytest.approx(problem.loss, rel=1e-12)
    norms = [kernel_norm(p, closure="limit", learning_rate=1e-3, noise=1.0) for p in (problem, small)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-10)


def test_few_or_equal_nodes_stay():
    assert compress(one_mode()).eigenvalue.tolist() == [1.0]
    equal = Quadratic(eigenvalue=np.ones(50), multiplicity=np.ones(50), initial_loss=np.ones(50))
    small = compress(equal)
    assert small.trace == pytest.approx(50)
    assert small.loss == pytest.approx(50)
    np.testing.assert_allclose(small.eigenvalue, 1.0)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale_does_not_matter(scale):
    problem = power_law(500)
    small = compress(problem.scaled(scale))
    np.testing.assert_allclose(small.eigenvalue, compress(problem).eigenvalue * scale, rtol=1e-9)


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan])
def test_widths_that_cannot_be(width):
    with pytest.raises((ArgumentError, ArithmeticError)):
        compress(one_mode(), width=width)


def test_only_problems_are_compressed():
    with pytest.raises(ArgumentError, match="Quadratic"):
        compress(None)
