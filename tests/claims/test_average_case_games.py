"""Domingo-Enrich, Pedregosa and Scieur (2020), Average-case Acceleration for Bilinear Games and Normal Matrices.

The statements: for a normal matrix whose eigenvalues are uniform on a disk, averaging plain steps with growing weights
has the smallest expected error that a first-order method can have; for zero-sum bilinear games that method is the
optimal one for minimizing the Hamiltonian.
"""

import numpy as np
import pytest

from spectra.dynamics.average_case import average_case_optimal, marchenko_pastur_method
from spectra.dynamics.games import DiskMethod, bilinear_game_method, disk_method
from spectra.dynamics.heavy_ball import optimal_heavy_ball

CENTER, RADIUS = 2.0, 1.5


def disk_rule(num_radii=40, num_angles=64):
    """Return nodes and weights that integrate |polynomial|^2 over the uniform disk exactly up to degree 31."""
    squared, weights = np.polynomial.legendre.leggauss(num_radii)
    radii = RADIUS * np.sqrt((squared + 1) / 2)
    angles = 2 * np.pi * np.arange(num_angles) / num_angles
    nodes = CENTER + np.outer(radii, np.exp(1j * angles))
    return nodes.ravel(), np.repeat(weights / 2 / num_angles, num_angles)


def smallest_error(nodes, weights, degree):
    """Return the least mean of |P|^2 over real polynomials of a degree with P(0) = 1, by least squares."""
    scaled = nodes / np.abs(nodes).max()
    columns = scaled[:, None] ** np.arange(1, degree + 1)
    root = np.sqrt(weights)
    columns, target = root[:, None] * columns, -root
    columns, target = np.vstack([columns.real, columns.imag]), np.r_[target, np.zeros_like(target)]
    basis = np.linalg.qr(columns)[0]
    return float(np.sum((target - basis @ (basis.T @ target)) ** 2))


def disk_matrix(num=12):
    """Return a real normal matrix whose eigenvalues are spread evenly over the disk."""
    radii = RADIUS * np.sqrt((np.arange(num) + 0.5) / num)
    z = (CENTER + np.outer(radii, np.exp(1j * np.pi * (np.arange(num) + 0.5) / num))).ravel()
    a = np.zeros((2 * z.size, 2 * z.size))
    for i, value in enumerate(z):
        a[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[value.real, value.imag], [-value.imag, value.real]]
    q = np.linalg.qr(np.random.default_rng(0).standard_normal(a.shape))[0]
    return q @ a @ q.T, z


@pytest.mark.parametrize("num_steps", [1, 2, 5, 12, 25])
def test_expected_error_on_the_disk_is_that_of_the_residual_polynomial(num_steps):
    nodes, weights = disk_rule()
    powers = (1 - nodes / CENTER)[:, None] ** np.arange(num_steps + 1)
    polynomial = powers @ DiskMethod(center=CENTER, radius=RADIUS).weights(num_steps)
    found = DiskMethod(center=CENTER, radius=RADIUS).expected_error(num_steps)
    np.testing.assert_allclose(weights @ np.abs(polynomial) ** 2, found, rtol=1e-11)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 10])
def test_no_polynomial_has_a_smaller_expected_error_on_the_disk(num_steps):
    found = DiskMethod(center=CENTER, radius=RADIUS).expected_error(num_steps)
    # powers of z as columns: the condition of degree 10 leaves seven digits
    np.testing.assert_allclose(smallest_error(*disk_rule(), num_steps), found, rtol=1e-6)


def test_runs_from_random_starts_have_the_expected_error():
    a, z = disk_matrix()
    solution = np.ones(len(a))
    powers = (1 - z / CENTER)[:, None] ** np.arange(7)
    expected = np.mean(np.abs(powers @ DiskMethod(center=CENTER, radius=RADIUS).weights(6)) ** 2)
    rng, ratios = np.random.default_rng(1), []
    for _ in range(60):
        offset = rng.standard_normal(len(a))
        run = disk_method(lambda x: a @ (x - solution), solution + offset, center=CENTER, radius=RADIUS, num_steps=6)
        ratios.append(np.sum((run.iterate - solution) ** 2) / len(a))
    assert abs(np.mean(ratios) - expected) < 4 * np.std(ratios, ddof=1) / np.sqrt(60)
    # 144 eigenvalues stand for the disk: midpoints of twelve radii leave out the outermost twenty-fourth
    np.testing.assert_allclose(expected, run.expected_errors[6], rtol=0.15)
    plain = np.mean(np.abs(1 - z / CENTER) ** 12)
    assert expected < 0.7 * plain


@pytest.mark.parametrize("degree", [1, 2, 3, 6, 7])
def test_the_best_method_for_a_bilinear_game_is_the_best_one_for_its_hamiltonian(degree):
    squared = np.linspace(0.2, 2.0, 60)
    game = np.r_[1j * np.sqrt(squared), -1j * np.sqrt(squared)]
    best = smallest_error(game, np.full(120, 1 / 120), degree)
    hamiltonian = average_case_optimal(squared, np.ones(60), num_steps=max(degree // 2, 1)).expected_errors
    # an odd power more than the Hamiltonian takes helps nothing
    np.testing.assert_allclose(best, hamiltonian[degree // 2], rtol=1e-8)


EDGES = {"smallest": (1 - np.sqrt(0.5)) ** 2, "largest": (1 + np.sqrt(0.5)) ** 2}


def test_random_matrices_have_the_expected_error_of_the_law():
    method, rng, found = marchenko_pastur_method(**EDGES, num_steps=4), np.random.default_rng(0), []
    for _ in range(8):
        squared = np.linalg.svd(rng.standard_normal((300, 600)) / np.sqrt(600), compute_uv=False) ** 2
        found.append(np.mean(method.residual_polynomials(squared) ** 2, axis=1))
    stderr = np.std(found, axis=0, ddof=1) / np.sqrt(8)
    assert np.all(np.abs(np.mean(found, axis=0) - method.expected_errors)[1:] < 4 * stderr[1:])
    # that is better than Polyak's method for the same edges
    ball = optimal_heavy_ball(EDGES["smallest"], EDGES["largest"])
    previous, factor = np.ones_like(squared), 1 - ball.learning_rate * squared
    for _ in range(3):
        previous, factor = factor, factor - ball.learning_rate * squared * factor + ball.momentum * (factor - previous)
    assert np.mean(found, axis=0)[4] < np.mean(factor**2)


def test_runs_of_a_bilinear_game_have_the_error_of_the_polynomial_of_its_singular_values():
    rng, ratios = np.random.default_rng(0), []
    m = rng.standard_normal((30, 60)) / np.sqrt(60)
    a = np.block([[np.zeros((30, 30)), m], [-m.T, np.zeros((60, 60))]])
    projection = np.linalg.pinv(a) @ a  # equilibria are not unique: the rest of the error stays
    squared = np.linalg.svd(m, compute_uv=False) ** 2
    expected = np.mean(marchenko_pastur_method(**EDGES, num_steps=4).residual_polynomials(squared)[-1] ** 2)
    for _ in range(80):
        start = projection @ rng.standard_normal(90)
        run = bilinear_game_method(lambda x: a @ x, start, num_steps=4, **EDGES)
        ratios.append(np.sum(run.iterate**2) / 60)
    assert abs(np.mean(ratios) - expected) < 4 * np.std(ratios, ddof=1) / np.sqrt(80)


def test_plain_steps_diverge_on_bilinear_games_where_the_hamiltonian_method_converges():
    rng = np.random.default_rng(3)
    m = rng.standard_normal((20, 40)) / np.sqrt(40)
    a = np.block([[np.zeros((20, 20)), m], [-m.T, np.zeros((40, 40))]])
    x = a @ rng.standard_normal(60)
    values = np.linalg.svd(m, compute_uv=False) ** 2
    run = bilinear_game_method(lambda y: a @ y, x, smallest=values[-1], largest=values[0], num_steps=60)
    plain = x
    for _ in range(60):
        plain = plain - 0.5 * a @ plain
    assert run.residual_norms[-1] < 1e-10 * run.residual_norms[0]
    assert np.linalg.norm(plain) > np.linalg.norm(x)
