"""Average-case optimal methods: orthogonality, optimality against least squares, the closed form of a law, limits."""

import numpy as np
import pytest

from spectra.dynamics.average_case import average_case_optimal, marchenko_pastur_method
from spectra.dynamics.heavy_ball import optimal_heavy_ball
from spectra.errors import ArgumentError, NonFiniteError, ShapeError

MEASURES = {
    "uniform": (np.linspace(0.1, 3.0, 40), np.ones(40)),
    "two clusters": (np.r_[np.linspace(1, 2, 20), np.linspace(50, 60, 20)], np.r_[np.full(20, 3.0), np.ones(20)]),
    "with zero": (np.r_[0.0, np.geomspace(0.01, 1, 30)], np.r_[5.0, np.ones(30)]),
}


def least_squares_error(nodes, weights, degree):
    """Return the smallest mean of P^2 over polynomials of a degree with P(0) = 1, by plain least squares."""
    scaled = nodes / nodes.max()
    columns = scaled[:, None] * np.polynomial.chebyshev.chebvander(2 * scaled - 1, degree - 1)
    root = np.sqrt(weights / weights.sum())
    solution = np.linalg.lstsq(root[:, None] * columns, -root, rcond=None)[0]
    return np.sum((root * (1 + columns @ solution)) ** 2)


def law(ratio, num_nodes=200):
    """Return nodes and weights of Marchenko and Pastur's law: exact for polynomials times x."""
    angle = np.arange(1, num_nodes + 1) * np.pi / (num_nodes + 1)
    x = 1 + ratio + 2 * np.sqrt(ratio) * np.cos(angle)
    return x, 2 * np.sin(angle) ** 2 / ((num_nodes + 1) * x)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("degree", [1, 2, 5, 9])
def test_no_polynomial_of_the_same_degree_has_a_smaller_mean_square(name, degree):
    nodes, weights = MEASURES[name]
    method = average_case_optimal(nodes, weights, num_steps=degree)
    np.testing.assert_allclose(method.expected_errors[-1], least_squares_error(nodes, weights, degree), rtol=1e-8)


@pytest.mark.parametrize("name", MEASURES)
def test_residual_polynomials_are_orthogonal_and_one_at_zero(name):
    nodes, weights = MEASURES[name]
    method = average_case_optimal(nodes, weights, num_steps=8)
    p = method.residual_polynomials(nodes)
    gram = p * (weights * nodes) @ p.T
    size = np.sqrt(np.diagonal(gram))
    np.testing.assert_allclose(gram / np.outer(size, size), np.eye(9), atol=1e-9)
    np.testing.assert_array_equal(method.residual_polynomials(0.0), np.ones((9, 1)))


def test_expected_errors_are_those_of_iterates():
    nodes, weights = MEASURES["uniform"]
    method = average_case_optimal(nodes, weights, num_steps=6)
    target = np.linspace(-1.0, 1.0, 40)
    # a start error of one in each coordinate: the mean over eigendirections is the expectation
    end = method.run(lambda x: nodes * (x - target), target + 1.0)
    np.testing.assert_allclose(np.mean((end - target) ** 2), method.expected_errors[-1], rtol=1e-10)


def test_as_many_steps_as_distinct_nodes_remove_everything_and_the_rest_does_nothing():
    method = average_case_optimal([0.0, 1.0, 1.0, 4.0], [1.0, 1.0, 1.0, 1.0], num_steps=5)
    np.testing.assert_allclose(method.expected_errors[2:], 0.25, rtol=1e-12)
    np.testing.assert_array_equal(method.learning_rates[2:], 0.0)
    np.testing.assert_array_equal(method.momenta[2:], 0.0)


def test_rounding_that_takes_over_is_in_the_expected_errors_as_in_iterates():
    nodes = np.geomspace(1e-6, 1.0, 500)
    method = average_case_optimal(nodes, np.ones(500), num_steps=200)
    rising = int(np.argmax(method.expected_errors[1:] > method.expected_errors[:-1]))
    assert 30 < rising < 100
    assert method.expected_errors[-1] > 1e6
    assert not np.any(np.isnan(average_case_optimal(nodes, np.ones(500), num_steps=400).expected_errors))
    few = average_case_optimal(nodes, np.ones(500), num_steps=80)
    end = few.run(lambda x: nodes * x, np.ones(500))
    assert np.mean(end**2) > 1e3 * few.expected_errors[rising]


def test_scale_of_nodes_and_weights_changes_units_only():
    nodes, weights = MEASURES["two clusters"]
    plain = average_case_optimal(nodes, weights, num_steps=7)
    small = average_case_optimal(1e-10 * nodes, 1e200 * weights, num_steps=7)
    np.testing.assert_allclose(1e-10 * small.learning_rates, plain.learning_rates, rtol=1e-10)
    np.testing.assert_allclose(small.momenta, plain.momenta, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(small.expected_errors, plain.expected_errors, rtol=1e-9)


def test_lists_and_float32_are_taken():
    plain = average_case_optimal([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], num_steps=2)
    other = average_case_optimal(np.array([1, 2, 3], dtype=np.float32), [1, 1, 1], num_steps=2)
    np.testing.assert_allclose(other.learning_rates, plain.learning_rates, rtol=1e-12)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_method_of_the_law_is_the_method_of_its_quadrature(ratio):
    edges = {"smallest": (1 - np.sqrt(ratio)) ** 2, "largest": (1 + np.sqrt(ratio)) ** 2}
    closed = marchenko_pastur_method(**edges, num_steps=25)
    found = average_case_optimal(*law(ratio, 2000), num_steps=25)
    np.testing.assert_allclose(found.learning_rates, closed.learning_rates, rtol=1e-8)
    np.testing.assert_allclose(found.momenta, closed.momenta, rtol=1e-8)
    np.testing.assert_allclose(found.expected_errors, closed.expected_errors, rtol=1e-6)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_expected_error_of_the_law_is_one_over_a_sum_of_powers(ratio):
    edges = {"smallest": 3 * (1 - np.sqrt(ratio)) ** 2, "largest": 3 * (1 + np.sqrt(ratio)) ** 2}
    found = marchenko_pastur_method(**edges, num_steps=12).expected_errors
    expected = [1 / sum(ratio**-s for s in range(t + 1)) for t in range(13)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_limits_of_the_law():
    square = marchenko_pastur_method(smallest=0.0, largest=4.0, num_steps=9)  # ratio 1
    np.testing.assert_allclose(square.expected_errors, 1 / np.arange(1, 11), rtol=1e-12)
    single = marchenko_pastur_method(smallest=2.0, largest=2.0, num_steps=3)  # ratio 0
    np.testing.assert_array_equal(single.expected_errors, [1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(single.learning_rates, 0.5)
    late, ball = marchenko_pastur_method(smallest=1.0, largest=9.0, num_steps=60), optimal_heavy_ball(1.0, 9.0)
    np.testing.assert_allclose([late.learning_rates[-1], late.momenta[-1]], [ball.learning_rate, ball.momentum])
    assert marchenko_pastur_method(smallest=1.0, largest=9.0, num_steps=2000).expected_errors[-1] == 0.0  # underflow


def test_bad_calls_are_refused():
    for nodes, weights in (([], []), ([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]]), (1.0, 1.0)):
        with pytest.raises(ShapeError, match="two vectors"):
            average_case_optimal(nodes, weights, num_steps=1)
    for nodes, weights in (([-1.0], [1.0]), ([1.0], [-1.0]), ([0.0], [1.0]), ([1.0, 0.0], [0.0, 1.0])):
        with pytest.raises(ArgumentError, match="must not be negative"):
            average_case_optimal(nodes, weights, num_steps=1)
    for nodes, weights in (([np.nan], [1.0]), ([1.0], [np.inf])):
        with pytest.raises(NonFiniteError, match="finite"):
            average_case_optimal(nodes, weights, num_steps=1)
    for bad in (0, 1.5, True):
        with pytest.raises(ArgumentError, match="num_steps"):
            average_case_optimal([1.0], [1.0], num_steps=bad)
        with pytest.raises(ArgumentError, match="num_steps"):
            marchenko_pastur_method(smallest=1.0, largest=2.0, num_steps=bad)
    for low, high in ((-1.0, 1.0), (2.0, 1.0), (0.0, 0.0)):
        with pytest.raises(ArgumentError, match="0 <= smallest"):
            marchenko_pastur_method(smallest=low, largest=high, num_steps=1)
    with pytest.raises(ArgumentError, match="finite"):
        marchenko_pastur_method(smallest=np.nan, largest=1.0, num_steps=1)
