"""Methods for games: identities of the weights, iterates against polynomials, array libraries, refusals."""

import numpy as np
import pytest

from spectra.arrays import to_host
from spectra.dynamics.average_case import marchenko_pastur_method
from spectra.dynamics.games import DiskMethod, bilinear_game_method, disk_method
from spectra.errors import ArgumentError, NonFiniteError, ShapeError

CENTER, RADIUS = 2.0, 1.5


def field_of(matrix, solution):
    return lambda x: matrix @ (x - solution)


def game(rows, columns, seed=0):
    m = np.random.default_rng(seed).standard_normal((rows, columns)) / np.sqrt(max(rows, columns))
    return np.block([[np.zeros((rows, rows)), m], [-m.T, np.zeros((columns, columns))]])


@pytest.mark.parametrize("num_steps", [0, 1, 2, 7, 30])
def test_weights_and_error_are_those_of_the_definition(num_steps):
    method = DiskMethod(center=CENTER, radius=RADIUS)
    beta = (CENTER / RADIUS) ** (2.0 * np.arange(num_steps + 1)) * np.arange(1, num_steps + 2)
    np.testing.assert_allclose(method.weights(num_steps), beta / beta.sum(), rtol=1e-12)
    np.testing.assert_allclose(method.newest_shares(num_steps)[-1], beta[-1] / beta.sum(), rtol=1e-12)
    np.testing.assert_allclose(method.expected_error(num_steps), 1 / beta.sum(), rtol=1e-12)


def test_many_steps_neither_overflow_nor_lose_the_sum():
    method = DiskMethod(center=1.0, radius=1e-3)
    assert method.expected_error(1000) == 0.0
    np.testing.assert_allclose(method.weights(1000).sum(), 1.0)
    np.testing.assert_allclose(DiskMethod(center=1.0, radius=1 - 1e-9).weights(3000).sum(), 1.0)


def test_iterate_is_the_average_of_plain_steps():
    rng = np.random.default_rng(0)
    matrix, solution = rng.standard_normal((5, 5)) / 5 + 2 * np.eye(5), rng.standard_normal(5)
    y, points = np.zeros(5), [np.zeros(5)]
    for _ in range(8):
        y = y - matrix @ (y - solution) / CENTER
        points.append(y)
    run = disk_method(field_of(matrix, solution), np.zeros(5), center=CENTER, radius=RADIUS, num_steps=8)
    expected = DiskMethod(center=CENTER, radius=RADIUS).weights(8) @ np.array(points)
    np.testing.assert_allclose(run.iterate, expected, rtol=1e-12)
    np.testing.assert_allclose(run.residual_norms[-1], np.linalg.norm(matrix @ (expected - solution)), rtol=1e-10)
    np.testing.assert_allclose(run.residual_norms[0], np.linalg.norm(matrix @ solution), rtol=1e-12)
    assert run.num_evaluations == 9


def test_evaluations_are_counted_as_they_are():
    calls = []

    def field(x):
        calls.append(1)
        return game(3, 4) @ x + 1.0

    run = bilinear_game_method(field, np.zeros(7), smallest=0.1, largest=3.0, num_steps=5)
    assert len(calls) == run.num_evaluations == 11
    calls.clear()
    assert disk_method(field, np.zeros(7), center=2.0, radius=1.0, num_steps=5).num_evaluations == len(calls) == 6


def test_radius_zero_is_a_single_step():
    run = disk_method(lambda x: 2.0 * x - 6.0, np.zeros(2), center=2.0, radius=0.0, num_steps=3)
    np.testing.assert_array_equal(run.iterate, [3.0, 3.0])
    np.testing.assert_array_equal(run.expected_errors, [1.0, 0.0, 0.0, 0.0])


def test_gain_over_the_last_plain_step_is_bounded_by_the_limit_in_the_notes():
    method = DiskMethod(center=CENTER, radius=RADIUS)
    gain = 1 / method.newest_shares(400)
    assert np.all(np.diff(gain) >= 0)
    limit = 1 / (1 - (RADIUS / CENTER) ** 2)
    assert 0.98 * limit < gain[-1] < limit


def test_bilinear_iterates_are_those_of_the_polynomial_in_the_hamiltonian():
    a, solution = game(4, 6), np.random.default_rng(1).standard_normal(10)
    run = bilinear_game_method(field_of(a, solution), np.zeros(10), smallest=0.05, largest=3.3, num_steps=6)
    values, vectors = np.linalg.eigh(a.T @ a)
    factors = marchenko_pastur_method(smallest=0.05, largest=3.3, num_steps=6).residual_polynomials(values)[-1]
    expected = solution + vectors @ (factors * (vectors.T @ (-solution)))
    np.testing.assert_allclose(run.iterate, expected, atol=1e-12)
    np.testing.assert_allclose(run.residual_norms[-1], np.linalg.norm(a @ (expected - solution)), rtol=1e-9)
    assert len(run.residual_norms) == len(run.expected_errors) == 7


def test_scale_of_the_field_changes_nothing():
    a, solution = game(4, 6), np.ones(10)
    plain = bilinear_game_method(field_of(a, solution), np.zeros(10), smallest=0.1, largest=3.0, num_steps=5)
    small = bilinear_game_method(
        field_of(1e-10 * a, solution), np.zeros(10), smallest=1e-21, largest=3e-20, num_steps=5
    )
    np.testing.assert_allclose(small.iterate, plain.iterate, rtol=1e-9)
    matrix = 2 * np.eye(10) + a
    one = disk_method(field_of(matrix, solution), np.zeros(10), center=2.0, radius=1.5, num_steps=5)
    other = disk_method(field_of(1e-10 * matrix, solution), np.zeros(10), center=2e-10, radius=1.5e-10, num_steps=5)
    np.testing.assert_allclose(other.iterate, one.iterate, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_array_libraries(xp, dtype):
    a = game(4, 6).astype(dtype)
    b, start = a @ np.ones(10, dtype=dtype), np.zeros(10, dtype=dtype)
    matrix, linear = xp.asarray(a), xp.asarray(b)
    run = bilinear_game_method(
        lambda x: xp.matmul(matrix, x) - linear, xp.asarray(start), smallest=0.1, largest=3.0, num_steps=5
    )
    plain = bilinear_game_method(
        lambda x: a.astype(float) @ (x - 1), np.zeros(10), smallest=0.1, largest=3.0, num_steps=5
    )
    assert run.iterate.dtype == getattr(xp, dtype)
    np.testing.assert_allclose(to_host(run.iterate), plain.iterate, atol=1e-12 if dtype == "float64" else 1e-5)
    disk = disk_method(
        lambda x: 2.0 * x + xp.matmul(matrix, x) - linear, xp.asarray(start), center=2.0, radius=1.5, num_steps=5
    )
    assert disk.iterate.dtype == getattr(xp, dtype)


def test_lists_and_integers_become_floats():
    for start in ([0, 0], np.zeros(2, dtype=int)):
        run = disk_method(lambda x: 2.0 * x - 6.0, start, center=2.0, radius=0.0, num_steps=1)
        assert run.iterate.dtype == np.float64


def test_divergence_is_data():
    run = disk_method(lambda x: -x + 1.0, np.zeros(2), center=1.0, radius=0.5, num_steps=30)
    assert run.residual_norms[-1] > 1e6 * run.residual_norms[0]


def test_bad_calls_are_refused():
    for center, radius in ((1.0, 1.0), (1.0, -0.1), (-1.0, 0.0), (0.0, 0.0)):
        with pytest.raises(ArgumentError, match="0 <= radius < center"):
            disk_method(lambda x: x, np.zeros(2), center=center, radius=radius, num_steps=1)
    with pytest.raises(ArgumentError, match="finite"):
        DiskMethod(center=np.nan, radius=0.0)
    for bad in (-1, 1.5, True):
        with pytest.raises(ArgumentError, match="num_steps"):
            disk_method(lambda x: x, np.zeros(2), center=1.0, radius=0.5, num_steps=bad)
    for start in (np.zeros((2, 2)), np.zeros(0), 1.0):
        with pytest.raises(ShapeError, match="start must be a vector"):
            disk_method(lambda x: x, start, center=1.0, radius=0.5, num_steps=1)
    with pytest.raises(ShapeError, match="keep the shape"):
        disk_method(lambda x: x[:1], np.zeros(2), center=1.0, radius=0.5, num_steps=1)
    with pytest.raises(ArgumentError, match="skew-symmetric"):
        bilinear_game_method(lambda x: x + 1.0, np.zeros(2), smallest=0.5, largest=1.0, num_steps=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("when", [0, 1, 2, 3, 4, 6])
def test_products_that_are_not_finite_are_refused(bad, when):
    matrix = game(2, 2)
    calls = []

    def field(x):
        calls.append(1)
        return np.where(len(calls) - 1 == when, bad, matrix @ x - 1.0)

    with pytest.raises(NonFiniteError, match="must be finite"):
        bilinear_game_method(field, np.zeros(4), smallest=0.1, largest=3.0, num_steps=3)
    calls.clear()
    with pytest.raises(NonFiniteError, match="must be finite"):
        disk_method(field, np.zeros(4), center=2.0, radius=1.0, num_steps=6)
