"""Gradient norms of full-batch methods: identity with iterates of a problem, exact integrals, units, odd calls."""

import numpy as np
import pytest

from spectra.dynamics.halting_time import gradient_norm_curve, halting_time
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.laws import MarchenkoPastur

METHODS = ["gradient_descent", "nesterov", "heavy_ball"]
NUM_STEPS = 25


def iterate(matrix, targets, start, method, num_steps):
    """Run the update rules on |A x - b|^2/(2n), a column for each start; return gradients, (steps + 1, d, m)."""
    n = len(matrix)
    eigenvalues = np.linalg.eigvalsh(matrix.T @ matrix / n)
    largest = eigenvalues[-1]
    smallest = eigenvalues[eigenvalues > 1e-12 * largest][0]

    def gradient(x):
        return matrix.T @ (matrix @ x - targets) / n

    x, extrapolated, velocity = start, start, np.zeros_like(start)
    gradients = [gradient(x)]
    condition = np.sqrt(largest / smallest)
    for j in range(num_steps):
        if method == "gradient_descent":
            x = x - gradient(x) / largest
        elif method == "nesterov":
            before, x = x, extrapolated - gradient(extrapolated) / largest
            extrapolated = x + j / (j + 3) * (x - before)
        else:
            momentum = ((condition - 1) / (condition + 1)) ** 2
            velocity = momentum * velocity + gradient(x)
            x = x - (1 + np.sqrt(momentum)) ** 2 / largest * velocity
        gradients.append(gradient(x))
    return np.stack(gradients)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(30, 12), (12, 30)])
def test_curve_is_the_mean_over_starts_and_noise_of_the_iterates(method, shape):
    n, d = shape
    matrix = np.random.default_rng(0).standard_normal(shape)
    eigenvalues = np.linalg.eigvalsh(matrix.T @ matrix / n)
    curve = gradient_norm_curve(
        eigenvalues, method=method, num_steps=NUM_STEPS, signal=3.0, noise=2.0, aspect_ratio=d / n
    )
    # the mean over isotropic vectors of a quadratic form is its mean over orthonormal ones, times their mean square
    errors = iterate(matrix, np.zeros((n, d)), np.eye(d), method, NUM_STEPS)
    np.testing.assert_allclose(curve["noiseless"], 3.0 / d * np.sum(errors**2, axis=(1, 2)), rtol=1e-9)
    noises = iterate(matrix, np.eye(n), np.zeros((d, n)), method, NUM_STEPS)
    np.testing.assert_allclose(curve["noisy"], 2.0 * np.sum(noises**2, axis=(1, 2)), rtol=1e-9)
    np.testing.assert_allclose(curve["gradient_norm_squared"], curve["noiseless"] + curve["noisy"], rtol=1e-15)
    assert curve["step"].values.tolist() == list(range(NUM_STEPS + 1))


@pytest.mark.parametrize("ratio", [0.3, 1.0, 3.0])
def test_first_steps_under_the_law_are_combinations_of_its_moments(ratio):
    law, r = MarchenkoPastur(aspect_ratio=ratio, variance=2.0), ratio
    first, second, third, fourth = (
        2.0**k * m for k, m in enumerate([1, 1 + r, 1 + 3 * r + r**2, 1 + 6 * r + 6 * r**2 + r**3], start=1)
    )
    h = 1 / (2.0 * (1 + np.sqrt(r)) ** 2)
    curve = gradient_norm_curve(law, method="gradient_descent", num_steps=1, signal=5.0, noise=7.0)
    expected = [second, second - 2 * h * third + h**2 * fourth]
    np.testing.assert_allclose(curve["noiseless"], 5.0 * np.array(expected), rtol=1e-12)
    expected = [first, first - 2 * h * second + h**2 * third]
    np.testing.assert_allclose(curve["noisy"], 7.0 * r * np.array(expected), rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_law_is_the_limit_of_its_own_eigenvalues_with_the_atom(method):
    law = MarchenkoPastur(aspect_ratio=2.0)
    # half of the eigenvalues are 0; the outermost of 4000 nodes are within 1e-6 of the edges
    nodes = np.r_[0.0, law.nodes(4000)]
    weights = np.r_[0.5, law.weights(4000)]
    options = {"method": method, "num_steps": NUM_STEPS, "noise": 0.5}
    expected = gradient_norm_curve(law, **options)["gradient_norm_squared"]
    found = gradient_norm_curve(nodes, weights=weights, aspect_ratio=2.0, **options)["gradient_norm_squared"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_more_nodes_than_steps_need_change_nothing(method):
    law = MarchenkoPastur(aspect_ratio=0.8)
    short = gradient_norm_curve(law, method=method, num_steps=300, noise=1.0)
    long = gradient_norm_curve(law, method=method, num_steps=1200, noise=1.0).isel(step=slice(0, 301))
    for name in ("noiseless", "noisy"):
        # rounding of the edge enters a heavy ball with its square root
        np.testing.assert_allclose(short[name], long[name], rtol=1e-6 if method == "heavy_ball" else 1e-11, atol=1e-25)


def test_few_nodes_of_gradient_descent_are_enough_at_the_edge():
    law = MarchenkoPastur(aspect_ratio=1.0)
    curve = gradient_norm_curve(law, method="gradient_descent", num_steps=20_000, noise=1.0).isel(step=20_000)
    x, weights = law.nodes(20_002), law.weights(20_002)
    kept = np.exp(40_000 * np.log1p(-x / law.largest))
    np.testing.assert_allclose(curve["noiseless"], weights @ (x**2 * kept), rtol=1e-9)
    np.testing.assert_allclose(curve["noisy"], weights @ (x * kept), rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_units_change_nothing_but_units(method):
    options = {"method": method, "num_steps": NUM_STEPS, "noise": 1.0}
    one = gradient_norm_curve(MarchenkoPastur(aspect_ratio=0.5), **options)
    tiny = gradient_norm_curve(MarchenkoPastur(aspect_ratio=0.5, variance=1e-20), **options)
    np.testing.assert_allclose(tiny["noiseless"] * 1e40, one["noiseless"], rtol=1e-9)
    np.testing.assert_allclose(tiny["noisy"] * 1e20, one["noisy"], rtol=1e-9)
    np.testing.assert_allclose(tiny.attrs["learning_rate"] * 1e-20, one.attrs["learning_rate"], rtol=1e-12)
    values = np.array([1.0, 2.0, 5.0])
    few = gradient_norm_curve(values, method=method, num_steps=9)["noiseless"]
    scaled = gradient_norm_curve(1e-10 * values, method=method, num_steps=9)["noiseless"]
    np.testing.assert_allclose(scaled * 1e20, few, rtol=1e-9)


def test_one_eigenvalue_is_solved_in_one_step():
    for method in METHODS:
        curve = gradient_norm_curve([3.0, 0.0], method=method, num_steps=3)
        assert curve["noiseless"].values.tolist() == [4.5, 0.0, 0.0, 0.0]


def test_weights_count_as_repetitions_and_their_scale_does_not_matter():
    options = {"method": "nesterov", "num_steps": 9, "noise": 1.0, "aspect_ratio": 0.5}
    repeated = gradient_norm_curve([1.0, 1.0, 1.0, 4.0], **options)
    weighted = gradient_norm_curve([1, 4], weights=[30, 10], **options)
    np.testing.assert_allclose(weighted["gradient_norm_squared"], repeated["gradient_norm_squared"], rtol=1e-13)


def test_zeros_up_to_rounding_of_the_dtype_are_zeros():
    noisy = np.array([-1e-7, 1e-7, 1.0, 2.0], dtype=np.float32)
    found = gradient_norm_curve(noisy, method="heavy_ball", num_steps=5)
    expected = gradient_norm_curve([0.0, 0.0, 1.0, 2.0], method="heavy_ball", num_steps=5)
    np.testing.assert_allclose(found["noiseless"], expected["noiseless"], rtol=1e-12)
    with pytest.raises(ArgumentError, match="must not be negative"):
        gradient_norm_curve(noisy.astype(np.float64), method="heavy_ball", num_steps=5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tolerance", [10.0, 1e-2, 1e-6])
def test_halting_time_is_the_first_step_below_the_tolerance(method, tolerance):
    law = MarchenkoPastur(aspect_ratio=0.8)
    # 1e-6 takes gradient descent more steps than are tried at first
    step = halting_time(law, method=method, tolerance=tolerance, noise=0.1)
    curve = gradient_norm_curve(law, method=method, num_steps=max(step, 1), noise=0.1)["gradient_norm_squared"].values
    assert curve[step] <= tolerance
    assert np.all(curve[:step] > tolerance)


def test_halting_times_grow_past_the_first_attempt_and_stop_at_the_limit():
    law = MarchenkoPastur(aspect_ratio=1.0)
    step = halting_time(law, method="gradient_descent", tolerance=1e-8)
    assert step > 1000
    assert halting_time(law, method="gradient_descent", tolerance=1e-8, max_steps=step) == step
    with pytest.raises(ArgumentError, match=f"not reached within max_steps={step - 1}"):
        halting_time(law, method="gradient_descent", tolerance=1e-8, max_steps=step - 1)


def test_heavy_ball_is_refused_where_its_constants_do_not_exist():
    with pytest.raises(ArgumentError, match="nesterov"):
        gradient_norm_curve(MarchenkoPastur(aspect_ratio=1.0), method="heavy_ball", num_steps=5)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"method": "adam"}, ArgumentError),
        ({"num_steps": 0}, ArgumentError),
        ({"num_steps": 2.0}, ArgumentError),
        ({"signal": -1.0}, ArgumentError),
        ({"noise": np.nan}, ArgumentError),
        ({"noise": 1.0}, ArgumentError),
        ({"noise": 1.0, "aspect_ratio": 0.0}, ArgumentError),
        ({"weights": [1.0]}, ShapeError),
        ({"weights": [1.0, -1.0]}, ArgumentError),
        ({"weights": [0.0, 0.0]}, ArgumentError),
        ({"weights": [1.0, np.inf]}, NonFiniteError),
        ({"spectrum": []}, ShapeError),
        ({"spectrum": 1.0}, ShapeError),
        ({"spectrum": [[1.0]]}, ShapeError),
        ({"spectrum": [0.0, 0.0]}, ArgumentError),
        ({"spectrum": [1.0, -1.0]}, ArgumentError),
        ({"spectrum": [1.0, np.nan]}, NonFiniteError),
        ({"spectrum": ["a", "b"]}, ArgumentError),
        ({"spectrum": MarchenkoPastur(aspect_ratio=0.5), "aspect_ratio": 0.5}, ArgumentError),
        ({"spectrum": MarchenkoPastur(aspect_ratio=0.5), "weights": [1.0]}, ArgumentError),
    ],
)
def test_calls_that_make_no_sense_are_refused(change, error):
    options = {"spectrum": [1.0, 2.0], "method": "nesterov", "num_steps": 3, **change}
    with pytest.raises(error):
        gradient_norm_curve(options.pop("spectrum"), **options)


@pytest.mark.parametrize("change", [{"tolerance": 0.0}, {"tolerance": np.nan}, {"max_steps": 0}, {"max_steps": 1.5}])
def test_halting_times_of_no_meaning_are_refused(change):
    with pytest.raises(ArgumentError, match=next(iter(change))):
        halting_time([1.0, 2.0], **{"method": "nesterov", "tolerance": 0.1, **change})
