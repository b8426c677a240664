"""A block run: Lanczos of each start vector, Ritz pairs of all, and a trace whose samples outlive the growth."""

import numpy as np
import pytest

import spectra
from spectra.block_run import BlockRun
from spectra.operators import as_operator
from spectra.start_vectors import start_vectors
from spectra.testing import matrix_with_spectrum

N = 80


@pytest.fixture
def run():
    values = np.concatenate([np.linspace(-0.1, 0.2, N - 3), [1.0, 2.0, 3.0]])
    found = BlockRun(as_operator(matrix_with_spectrum(values, 1)), num_starts=3, seed=2)
    for _ in range(6):
        found.step()
    return found


def test_each_start_vector_alone_gives_its_lanczos_matrix(run):
    alone = spectra.lanczos(run.operator, start_vectors(run.operator.like, num=3, rng=2), num_steps=6)
    together = run.iteration()[0].tridiagonal()
    np.testing.assert_allclose(together.diagonal, alone.diagonal, atol=1e-13)
    np.testing.assert_allclose(together.off_diagonal, alone.off_diagonal, atol=1e-13)


def test_ritz_pairs_have_the_residuals_they_claim(run):
    pairs = run.ritz()
    index = list(range(len(pairs.values)))
    y = run.vectors(pairs, index)
    a = run.operator @ np.eye(N)
    residual = np.linalg.norm(a @ y.T - pairs.values * y.T, axis=0)
    np.testing.assert_allclose(residual, pairs.residuals, atol=1e-13)
    np.testing.assert_allclose(y @ y.T, np.eye(len(index)), atol=1e-12)


@pytest.mark.parametrize("first", [0, 3, 6])
def test_samples_refer_to_the_space_as_it_is_now_whenever_they_were_drawn(run, first):
    a = run.operator @ np.eye(N)
    early = BlockRun(run.operator, num_starts=3, seed=2)
    for step in range(6):
        if step == first:
            early.sample(5)
        early.step()
    if first == 6:
        early.sample(5)
    pairs = early.ritz()
    v = early.vectors(pairs, list(range(len(pairs.values))))
    g = start_vectors(run.operator.like, num=5, rng=2, first=2**20)
    g = g - v.T @ (v @ g)
    g = g / np.linalg.norm(g, axis=0)
    found = early.trace()
    np.testing.assert_allclose(found.samples, (N - 18) * np.sum(g * (a @ g), axis=0), rtol=1e-10)
    assert found.inside == pytest.approx(np.trace(v @ a @ v.T))


def test_the_trace_of_a_smaller_space_is_that_of_fewer_steps(run):
    run.sample(4)
    shorter = BlockRun(run.operator, num_starts=3, seed=2)
    for _ in range(4):
        shorter.step()
    shorter.sample(4)
    np.testing.assert_allclose(run.trace(num_rows=12).samples, shorter.trace().samples, rtol=1e-10)


def test_more_samples_never_change_earlier_ones(run):
    run.sample(3)
    before = run.trace().samples
    run.sample(2)
    np.testing.assert_allclose(run.trace().samples[:3], before, rtol=1e-12)


def test_the_whole_space_leaves_nothing_to_chance():
    values = np.array([-1.0, 2.0, 4.0, 4.5, 9.0])
    run = BlockRun(as_operator(matrix_with_spectrum(values)), num_starts=2, seed=0)
    while run.can_step:
        run.step()
    assert run.is_complete
    assert run.is_exhausted
    assert run.trace().value == pytest.approx(18.5)
    assert len(run.trace().samples) == 0
    np.testing.assert_allclose(run.ritz().values, values, atol=1e-12)
    assert run.products.num_matvecs == 6


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_the_start_vectors_cannot_see_is_found_by_fresh_ones(dtype):
    run = BlockRun(as_operator(np.eye(20, dtype=dtype)), num_starts=2, seed=0)
    run.step()
    assert run.is_exhausted
    assert run.num_rows == 2
    run.start_anew(3)
    run.step()
    assert run.num_rows == 5
    np.testing.assert_allclose(run.ritz().values, np.ones(5), atol=1e-6)
    seen = run.iteration()[0].tridiagonal()
    assert np.all(seen.num_steps <= 2)  # of the two rows that the start vectors span
    np.testing.assert_allclose(np.concatenate([seen.ritz(i).values for i in range(2)]), 1.0, atol=1e-6)


def test_memory_is_counted_before_it_is_taken():
    run = BlockRun(as_operator(np.diag(np.arange(1.0, 101.0))), num_starts=2, seed=0, max_basis_bytes=8 * 100 * 9)
    while run.can_step:
        run.step()
    assert (run.num_steps, run.room) == (3, 1)
    run.sample(1)
    assert run.room == 0
