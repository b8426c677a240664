import itertools

import numpy as np
import pytest

from spectra.dynamics import from_data, noise_factor, sgd_curve
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_data, gaussian_problem, loss_of, one_mode


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_factor_is_the_variance_of_a_batch_mean(size):
    values = np.array([1.0, -2.0, 0.5, 4.0, 1.5])
    variance = values.var()
    drawn = np.array([np.mean(batch) for batch in itertools.combinations(values, size)])
    assert noise_factor(size, num_samples=5) * variance == pytest.approx(drawn.var(), abs=1e-14)
    drawn = np.array([np.mean(batch) for batch in itertools.product(values, repeat=size)])
    replaced = noise_factor(size, num_samples=5, sampling="with_replacement")
    assert replaced * variance == pytest.approx(drawn.var())


def test_a_stream_is_an_infinite_data_set():
    assert noise_factor(8) == pytest.approx(float(noise_factor(8, num_samples=10**12)))


def test_reshuffled_epochs_are_refused_except_whole_ones():
    assert noise_factor(5, num_samples=5, sampling="reshuffled") == 0
    with pytest.raises(ArgumentError, match="20 to 30 %"):
        noise_factor(2, num_samples=5, sampling="reshuffled")
    with pytest.raises(ArgumentError, match="no epochs"):
        noise_factor(2, sampling="reshuffled")


@pytest.mark.parametrize("size", [0, -1, 1.5, np.nan, np.inf, 6])
def test_batch_sizes_that_cannot_be(size):
    with pytest.raises(ArgumentError, match="batch"):
        noise_factor(size, num_samples=5)


def test_one_sample_is_without_noise():
    assert noise_factor(1, num_samples=1) == 0


@pytest.mark.parametrize("closure", ["", "Limit", None, "kappa4"])
def test_unknown_closures_are_named(closure):
    with pytest.raises(ArgumentError, match="one of limit"):
        sgd_curve(one_mode(), closure=closure, learning_rate=0.1, num_steps=1)


def test_a_closure_is_required():
    with pytest.raises(TypeError, match="closure"):
        sgd_curve(one_mode(), learning_rate=0.1, num_steps=1)


@pytest.mark.parametrize("closure", ["kurtosis", "row_resolved", "exact"])
def test_closures_say_what_they_need(closure):
    with pytest.raises(ArgumentError, match="from_data"):
        sgd_curve(one_mode(), closure=closure, learning_rate=0.1, num_steps=1)


BATCHES = [(1, "with_replacement"), (2, "with_replacement"), (2, "without_replacement"), (5, "without_replacement")]


@pytest.mark.parametrize(("size", "sampling"), BATCHES)
def test_exact_is_the_average_over_all_sequences_of_batches(size, sampling):
    A, b = gaussian_data(6, 3)
    start, rate, count = np.ones(3), 0.3, 3
    choices = itertools.combinations if sampling == "without_replacement" else None
    batches = list(choices(range(6), size) if choices else itertools.product(range(6), repeat=size))
    batches = [list(batch) for batch in batches]
    points, expected = [start], [loss_of(A, b, start)]
    for _ in range(count):
        points = [x - rate * A[i].T @ (A[i] @ x - b[i]) / size for x in points for i in batches]
        expected.append(np.mean([loss_of(A, b, x) for x in points]))
    curve = sgd_curve(
        from_data(A, b, start), closure="exact", learning_rate=rate, num_steps=count, batch_size=size, sampling=sampling
    )
    np.testing.assert_allclose(curve.loss, expected, rtol=1e-13)


def test_row_resolved_is_exact_for_orthogonal_features():
    """Rows along the axes never couple modes, so that nothing is lost with the covariance."""
    A = np.diag([1.0, 2.0, 0.5, 3.0])
    problem = from_data(A, np.array([1.0, -1.0, 2.0, 0.3]))
    first, second = (
        sgd_curve(problem, closure=closure, learning_rate=0.1, num_steps=50) for closure in ("exact", "row_resolved")
    )
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-12)
    assert first.attrs["critical_learning_rate"] == pytest.approx(second.attrs["critical_learning_rate"])


def test_all_closures_are_gradient_descent_on_full_batches():
    A, b = gaussian_data(12, 5)
    x, losses = np.zeros(5), []
    for _ in range(21):
        losses.append(loss_of(A, b, x))
        x = x - 0.2 * A.T @ (A @ x - b) / 12
    for closure in ("limit", "gaussian", "kurtosis", "row_resolved", "exact"):
        curve = sgd_curve(from_data(A, b), closure=closure, learning_rate=0.2, num_steps=20, batch_size=12)
        np.testing.assert_allclose(curve.loss, losses, rtol=1e-11)
        np.testing.assert_allclose(curve.noise_free_loss, losses, rtol=1e-11)


def test_kurtosis_of_gaussian_data_is_near_three():
    """Left singular vectors of Gaussian data are uniform on the sphere: E kappa = 3n/(n+2)."""
    kappa = gaussian_problem(400, 100).kurtosis
    spread = kappa.std() / np.sqrt(len(kappa))
    assert abs(kappa.mean() - 3 * 400 / 402) < 4 * spread
