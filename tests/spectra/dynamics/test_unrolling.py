"""Unrolled gradient descent: identity with the recursion, divided differences against fractions, peaks, limits."""

from fractions import Fraction

import numpy as np
import pytest

from spectra.dynamics.unrolling import power_divided_difference, unrolling_burn_in, unrolling_error
from spectra.errors import ArgumentError, NonFiniteError, ShapeError

N = 7


def problem(seed=0, condition=30.0):
    """Return a quadratic and its derivatives, H and dH not commuting."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((N, N)))[0]
    tangent = rng.standard_normal((N, N))
    return {
        "hessian": q @ np.diag(np.geomspace(1 / condition, 1, N)) @ q.T,
        "linear": rng.standard_normal(N),
        "hessian_derivative": tangent + tangent.T,
        "linear_derivative": rng.standard_normal(N),
        "start": rng.standard_normal(N),
        "start_derivative": rng.standard_normal(N),
    }


def unrolled(case, learning_rate, num_steps):
    """Return errors of iterates and derivatives by the chain rule, step by step."""
    h, b, dh, db = (case[name] for name in ("hessian", "linear", "hessian_derivative", "linear_derivative"))
    x, dx = case["start"], case["start_derivative"]
    minimizer = -np.linalg.solve(h, b)
    tangent = -np.linalg.solve(h, db + dh @ minimizer)
    errors = []
    for _ in range(num_steps + 1):
        errors.append([np.linalg.norm(x - minimizer), np.linalg.norm(dx - tangent)])
        x, dx = x - learning_rate * (h @ x + b), dx - learning_rate * (h @ dx + dh @ x + db)
    return np.array(errors)


@pytest.mark.parametrize("learning_rate", [0.1, 1.0, 1.9])
def test_error_is_that_of_the_unrolled_recursion(learning_rate):
    case = problem()
    found = unrolling_error(**case, learning_rate=learning_rate, num_steps=200)
    expected = unrolled(case, learning_rate, 200)
    np.testing.assert_allclose(found["iterate_error"], expected[:, 0], rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(found["derivative_error"], expected[:, 1], rtol=1e-8, atol=1e-10)
    assert found["step"].values.tolist() == list(range(201))


def test_derivative_of_the_recursion_is_that_of_the_iterates():
    case, step = problem(1), 1e-6

    def end(parameter):
        h = case["hessian"] + parameter * case["hessian_derivative"]
        b = case["linear"] + parameter * case["linear_derivative"]
        x = case["start"] + parameter * case["start_derivative"]
        for _ in range(12):
            x = x - 0.7 * (h @ x + b)
        return x, -np.linalg.solve(h, b)

    (x_high, min_high), (x_low, min_low) = end(step), end(-step)
    difference = np.linalg.norm((x_high - x_low) - (min_high - min_low)) / (2 * step)
    found = unrolling_error(**case, learning_rate=0.7, num_steps=12)["derivative_error"].values[-1]
    np.testing.assert_allclose(found, difference, rtol=1e-6)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 10, 11, 400])
def test_divided_differences_against_exact_fractions(order):
    points = [0.0, 1.0, -1.0, 0.5, 0.5 + 2**-40, -0.5, -0.5 - 2**-45, 0.999, 0.999 + 2**-52, -0.99, 1e-300, 1.01]
    for u in points:
        for v in points:
            a, b = Fraction(u), Fraction(v)
            if a == b:
                exact = order * a ** (order - 1) if order else Fraction(0)
            else:
                exact = (a**order - b**order) / (a - b)
            found = power_divided_difference(u, v, order)
            # powers of numbers of order one: k eps
            np.testing.assert_allclose(found, float(exact), rtol=2e-13, atol=1e-300)


def test_the_burn_in_term_never_exceeds_the_peak():
    for learning_rate in (0.3, 1.0, 1.9):
        case = problem(2)
        found = unrolling_error(**case, learning_rate=learning_rate, num_steps=300)
        peak = unrolling_burn_in(1 / 30, 1.0, learning_rate)
        size = np.linalg.norm(case["hessian_derivative"]) * float(found["iterate_error"][0])
        assert float(found["burn_in"].max()) <= peak.peak_height * size
        assert found["burn_in"].values[0] == 0.0


@pytest.mark.parametrize("learning_rate", [0.05, 1.0, 1.7, 2 / 1.01, 1.999])
def test_peaks_are_those_of_a_search_over_all_steps(learning_rate):
    peak = unrolling_burn_in(0.01, 1.0, learning_rate)
    k = np.arange(1, 10_000)
    for value, step, height in (
        (0.01, peak.smallest_step, peak.smallest_height),
        (1.0, peak.largest_step, peak.largest_height),
    ):
        heights = k * learning_rate * np.abs(1 - learning_rate * value) ** (k - 1.0)
        np.testing.assert_allclose(height, heights.max(), rtol=1e-10)
        np.testing.assert_allclose(heights[int(step) - 1], heights.max(), rtol=1e-10)
    assert peak.peak_height == max(peak.smallest_height, peak.largest_height)


def test_limits_of_the_burn_in():
    for learning_rate in (2.0, 3.0):
        assert unrolling_burn_in(0.5, 1.0, learning_rate).peak_step == np.inf
        assert unrolling_burn_in(0.5, 1.0, learning_rate).peak_height == np.inf
    one = unrolling_burn_in(1.0, 1.0, 1.0)
    assert (one.peak_step, one.peak_height) == (1.0, 1.0)
    slow = unrolling_burn_in(1e-12, 1.0, 1.0)
    np.testing.assert_allclose(slow.peak_height, 1e12 / np.e, rtol=1e-6)
    plain, small = unrolling_burn_in(0.01, 1.0, 1.5), unrolling_burn_in(1e-12, 1e-10, 1.5e10)
    np.testing.assert_allclose(small.peak_step, plain.peak_step)
    np.testing.assert_allclose(1e-10 * small.peak_height, plain.peak_height)


def test_scale_of_the_quadratic_changes_nothing_with_the_learning_rate():
    case = problem()
    small = dict(case)
    for name in ("hessian", "linear", "hessian_derivative", "linear_derivative"):
        small[name] = 1e-10 * case[name]
    plain = unrolling_error(**case, learning_rate=1.0, num_steps=20)
    scaled = unrolling_error(**small, learning_rate=1e10, num_steps=20)
    np.testing.assert_allclose(scaled["derivative_error"], plain["derivative_error"], rtol=1e-8)


def test_divergence_is_infinite_not_an_error():
    found = unrolling_error(**problem(), learning_rate=1e3, num_steps=400)
    assert np.isinf(found["derivative_error"].values[-1])
    assert not np.any(np.isnan(found["burn_in"].values))


def test_float32_and_lists_are_taken():
    case = problem()
    plain = unrolling_error(**case, learning_rate=1.0, num_steps=5)
    single = {name: value.astype(np.float32) for name, value in case.items()}
    found = unrolling_error(**single, learning_rate=1.0, num_steps=5)
    np.testing.assert_allclose(found["derivative_error"], plain["derivative_error"], rtol=1e-3)
    lists = {name: value.tolist() for name, value in case.items()}
    np.testing.assert_array_equal(
        unrolling_error(**lists, learning_rate=1.0, num_steps=5)["derivative_error"], plain["derivative_error"]
    )


def test_bad_calls_are_refused():
    case = problem()

    def call(learning_rate=1.0, num_steps=3, **changes):
        return unrolling_error(**(case | changes), learning_rate=learning_rate, num_steps=num_steps)

    for changes in ({"start": np.zeros(3)}, {"hessian": np.zeros((2, 3))}, {"hessian": 1.0}, {"linear": 1.0}):
        with pytest.raises(ShapeError, match="must have shape"):
            call(**changes)
    with pytest.raises(NonFiniteError, match="start must be finite"):
        call(start=np.full(N, np.nan))
    with pytest.raises(ArgumentError, match="hessian must be symmetric"):
        call(hessian=np.triu(np.ones((N, N))))
    with pytest.raises(ArgumentError, match="hessian_derivative must be symmetric"):
        call(hessian_derivative=np.triu(np.ones((N, N))))
    with pytest.raises(ArgumentError, match="positive definite"):
        call(hessian=-np.eye(N))
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(ArgumentError, match="learning_rate"):
            call(learning_rate=bad)
    for bad in (-1, 1.5, True):
        with pytest.raises(ArgumentError, match="num_steps"):
            call(num_steps=bad)
    for low, high, rate in ((0.0, 1.0, 1.0), (2.0, 1.0, 1.0), (1.0, 2.0, 0.0), (1.0, np.inf, 1.0), (np.nan, 1.0, 1.0)):
        with pytest.raises(ArgumentError, match=r"smallest|largest|learning_rate"):
            unrolling_burn_in(low, high, rate)
