import tracemalloc

import numpy as np
import pytest

from spectra import Operator, lanczos
from spectra.arrays import to_host
from spectra.bounded_basis import BoundedBasis
from spectra.errors import NonFiniteError, NotSymmetricError
from spectra.products import Products
from spectra.start_vectors import start_vectors, unit_rows
from spectra.testing import matrix_with_spectrum, spectrum
from spectra.thick_restart import ThickRestart, at_ends
from tests.cases import N, matrix


def diagonal(values):
    return Operator(lambda block: values[:, None] * block, like=np.zeros(len(values)))


def search_of(a, *, block=1, max_rows=1000, seed=0):
    products = Products(a)
    like = products.operator.like
    return ThickRestart(
        products, unit_rows(start_vectors(like, num=block, rng=seed), products.operator)[0], max_rows=max_rows
    )


def rows_of(search):
    return to_host(search.basis.take(np.arange(search.basis.num_rows)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("block", "max_rows"), [(1, 1000), (1, 10), (3, 1000), (3, 14)])
def test_projected_matrix_and_residuals_are_those_of_the_operator(xp, block, max_rows, dtype):
    a = matrix("indefinite").astype(dtype)
    bound = 200 * np.finfo(dtype).eps
    search = search_of(xp.asarray(a), block=block, max_rows=max_rows)
    for _ in range(12):
        if search.basis.num_rows + block > max_rows:
            search.restart(num=2, which="largest")
        search.step()
        q, pairs = rows_of(search), search.ritz()
        np.testing.assert_allclose(q @ q.T, np.eye(len(q)), atol=bound)
        y = pairs.coefficients.T @ q
        image = y @ (a.astype(float) * 2.0**-search.products.exponent)
        residual = np.linalg.norm(image - pairs.values[:, None] * y, axis=1)
        np.testing.assert_allclose(pairs.residuals, residual, atol=bound)
        np.testing.assert_allclose(np.sum(y * image, axis=1), pairs.values, atol=bound)
    assert search.basis.num_allocated <= max_rows
    assert (search.num_restarts > 0) == (max_rows < N)


def test_block_of_one_is_lanczos():
    a = matrix("uniform")
    search = search_of(a)
    for _ in range(12):
        search.step()
    expected = lanczos(a, start_vectors(np.zeros(N), num=1), num_steps=12).ritz(0)
    np.testing.assert_allclose(search.products.unscaled(search.ritz().values), expected.values, atol=1e-14)
    np.testing.assert_allclose(search.products.unscaled(search.ritz().residuals), expected.residuals, atol=1e-14)


def test_ends_of_each_start_are_those_of_lanczos_alone():
    a, starts = matrix("spiked"), start_vectors(np.zeros(N), num=3)
    search = search_of(a, block=3)
    for _ in range(6):
        search.step()
    alone = lanczos(a, starts, num_steps=6)
    expected = [[alone.ritz(i).values[k] for i in range(3)] for k in (-1, 0)]
    np.testing.assert_allclose(search.products.unscaled(search.start_ends), expected, rtol=1e-11)


@pytest.mark.parametrize("which", ["largest", "smallest", "both", "magnitude"])
@pytest.mark.parametrize(("block", "max_rows"), [(1, 12), (1, 30), (2, 16), (4, 40)])
def test_restarts_reach_what_the_full_basis_reaches(which, block, max_rows):
    values = np.linspace(-1.0, 1.3, 200) ** 3
    search = search_of(diagonal(values), block=block, max_rows=max_rows)
    search.run(num=2, which=which, tolerance=1e-9, max_steps=3000)
    pairs = search.ritz()
    found = search.products.unscaled([pairs.values[i] for _, i in at_ends(pairs.values, 2, which)])
    expected = [np.sort(values)[i] for _, i in at_ends(np.sort(values), 2, which)]
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert search.num_restarts > 0
    assert search.basis.num_allocated <= max_rows


def test_storage_stays_below_the_limit():
    n, max_rows = 40_000, 24
    values = np.linspace(0.0, 1.0, n) ** 3
    column = values[:, None]
    operator = Operator(lambda block: column * block, like=np.zeros(n))
    tracemalloc.start()
    try:
        search = search_of(operator, max_rows=max_rows)
        search.run(num=1, which="largest", tolerance=1e-12, max_steps=200)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert search.num_restarts > 5
    row = 8 * n
    # The basis; beside it a dozen vectors of the current step, and panels of half a MiB.
    assert max_rows * row <= peak <= (max_rows + 12) * row + 2**21


def test_no_ghosts():
    values = np.concatenate([np.linspace(0.0, 1.0, 390), np.linspace(3.0, 12.0, 10)])
    for max_rows in (1000, 60):
        search = search_of(diagonal(values), max_rows=max_rows)
        for _ in range(180):
            if search.basis.num_rows + 1 > max_rows:
                search.restart(num=10, which="largest")
            search.step()
        found = search.products.unscaled(search.ritz().values)
        assert np.sum(found > 2.0) == 10
        q = rows_of(search)
        np.testing.assert_allclose(q @ q.T, np.eye(len(q)), atol=1e-13)


def test_a_block_sees_copies():
    values = np.concatenate([np.linspace(0.0, 1.0, 96), [5.0] * 4])
    for block, seen in ((1, 1), (3, 3), (4, 4), (6, 4)):
        for max_rows in (100, 40):
            search = search_of(diagonal(values), block=block, max_rows=max_rows)
            search.run(num=6, which="largest", tolerance=1e-10, max_steps=500)
            found = np.sum(search.products.unscaled(search.ritz().values) > 4.999)
            assert seen <= found <= 4  # rounding brings up further copies, as it does without restarts


@pytest.mark.parametrize("name", ["zero", "identity", "rank_one", "two_values"])
@pytest.mark.parametrize("block", [1, 2, N, N + 3])
def test_exhausted_spaces_end(xp, name, block):
    search = search_of(xp.asarray(matrix(name)), block=block)
    search.run(num=5, which="both", tolerance=1e-8, max_steps=100)
    assert search.exhausted
    values = search.products.unscaled(search.ritz().values)
    exact = np.unique(spectrum(name, N))
    assert np.max(np.min(np.abs(values[:, None] - exact), axis=1)) <= 1e-13
    assert search.basis.num_rows <= min(N, block * len(exact))
    assert np.all(search.ritz().residuals <= 1e-12)


def test_orders_one_and_two():
    for a in (np.array([[-2.0]]), np.diag([1.0, 3.0])):
        search = search_of(a, block=2)
        search.run(num=3, which="largest", tolerance=1e-8, max_steps=10)
        np.testing.assert_allclose(search.products.unscaled(search.ritz().values), np.diag(a), rtol=1e-14)


def test_units_do_not_matter():
    a = matrix("spiked")
    reference = search_of(a, max_rows=12)
    reference.run(num=2, which="largest", tolerance=1e-8, max_steps=100)
    for exponent in (-600, 600):
        search = search_of(np.ldexp(a, exponent), max_rows=12)
        search.run(num=2, which="largest", tolerance=1e-8, max_steps=100)
        values = np.ldexp(search.products.unscaled(search.ritz().values), -exponent)
        np.testing.assert_allclose(values, reference.products.unscaled(reference.ritz().values), rtol=1e-13)
        assert search.num_steps == reference.num_steps


@pytest.mark.parametrize("block", [1, 3])
def test_bad_operators(block):
    skew = np.triu(np.random.default_rng(0).standard_normal((N, N)))
    with pytest.raises(NotSymmetricError):
        search_of(skew, block=block).run(num=1, which="largest", tolerance=1e-6, max_steps=20)
    calls = []

    def later_nan(v):
        calls.append(1)
        return v * (np.nan if len(calls) > 4 else np.arange(N)[:, None])

    with pytest.raises(NonFiniteError):
        search_of(Operator(later_nan, like=np.zeros(N)), block=block).run(
            num=1, which="largest", tolerance=1e-12, max_steps=20
        )


def test_locked_pairs_and_an_injected_vector():
    a = matrix_with_spectrum(spectrum("spiked", N))
    search = search_of(a)
    search.run(num=2, which="largest", tolerance=1e-12, max_steps=N)
    search.lock(search.ritz(), [-2, -1])
    locked = rows_of(search)
    search.inject(unit_rows(start_vectors(np.zeros(N), num=1, rng=1), search.products.operator)[0])
    start = rows_of(search)[2]
    for _ in range(5):
        search.step()
    diagonal, coupling = search.injected()
    projector = np.eye(N) - locked.T @ locked
    alone = lanczos(projector @ a @ projector, start, num_steps=5)
    np.testing.assert_allclose(search.products.unscaled(diagonal), alone.diagonal[0], atol=1e-10)
    np.testing.assert_allclose(search.products.unscaled(np.abs(coupling)), alone.off_diagonal[0], atol=1e-10)


def test_basis_recombines_in_place(xp):
    products = Products(xp.eye(90, dtype=xp.float64))
    basis = BoundedBasis(products, max_rows=70)
    basis.extend(xp.matrix_transpose(start_vectors(products.operator.like, num=70)), threshold=1e-12)
    before = to_host(basis.take(np.arange(70)))
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((70, 40)))[0]
    np.testing.assert_allclose(to_host(basis.combine(rotation)), rotation.T @ before, atol=1e-13)
    basis.recombine(rotation)
    np.testing.assert_allclose(to_host(basis.take(np.arange(40))), rotation.T @ before, atol=1e-13)
    assert basis.num_rows == 40
    assert basis.num_allocated == 70


def test_basis_drops_what_is_dependent():
    basis = BoundedBasis(Products(np.eye(6)), max_rows=6)
    block = np.array([[1.0, 0, 0, 0, 0, 0], [1.0, 1e-17, 0, 0, 0, 0], [0, 0, 2.0, 0, 0, 0]])
    coupling, overlap = basis.extend(block, threshold=1e-14)
    assert (coupling.shape, overlap.shape, basis.num_rows) == ((2, 3), (0, 3), 2)
    np.testing.assert_allclose(coupling.T @ to_host(basis.take(np.arange(2))), block, atol=1e-15)
    coupling, overlap = basis.extend(block, threshold=1e-14)
    assert coupling.shape == (0, 3)
    assert basis.num_rows == 2
