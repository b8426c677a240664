import numpy as np
import pytest

import spectra.orthogonal
from spectra import Operator, eigenpairs, lanczos, start_vectors, trace
from spectra.arrays import PIECE, inner, inner_with_rows, to_host
from spectra.orthogonal import orthonormalize, project_out, thin_factors

LONG = 300_000
"""Coordinates beyond which float32 sums in one piece lose digits."""


def power_law_rows(n=LONG, k=4, dtype=np.float32):
    """Return rows that begin with large entries, the hard case for sums in order."""
    decay = np.arange(1.0, n + 1.0) ** -0.5
    return (decay * np.random.default_rng(0).standard_normal((k, n))).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 7, PIECE, PIECE + 1, 2 * PIECE + 5])
def test_inner_products_are_float64(xp, dtype, n):
    rows = power_law_rows(n, 3, dtype)
    found = inner_with_rows(xp.asarray(rows), xp.asarray(rows.T.copy()))
    exact = rows.astype(float) @ rows.T.astype(float)
    assert found.dtype == xp.float64
    np.testing.assert_allclose(to_host(found), exact, atol=1e-5 * np.max(exact))
    own = inner(xp.asarray(rows), xp.asarray(rows))
    np.testing.assert_allclose(to_host(own), np.diagonal(exact), rtol=1e-7 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_factors_of_long_columns(xp, dtype):
    columns = power_law_rows(dtype=dtype).T.copy()
    columns[:, 3] = 1e-3 * columns[:, 3] + 5.0 * columns[:, 0]  # nearly dependent, and of another size
    q, r = thin_factors(xp.asarray(columns))
    q = to_host(q)
    assert np.max(np.abs(q.T @ q - np.eye(4))) <= (1e-6 if dtype == "float32" else 1e-13)
    remainder = np.linalg.norm(columns - q @ r, axis=0) / np.linalg.norm(columns, axis=0)
    assert np.max(remainder) <= (2e-6 if dtype == "float32" else 1e-13)


def test_a_long_float32_direction_that_the_others_hide_is_found(xp):
    rows = np.random.default_rng(3).standard_normal((3, 3 * PIECE))
    rows, _ = np.linalg.qr(rows.T)
    block = np.stack([rows[:, 0], rows[:, 1], rows[:, 0] + 1e-4 * rows[:, 2]]).astype(np.float32)
    found = orthonormalize(xp.asarray(block), threshold=1e-6)
    q = to_host(found.rows)
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(found.coupling.T @ q, block, atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(q @ rows[:, 2]), 1.0, rtol=1e-5)
    assert found.coupling.shape == (3, 3)


@pytest.mark.parametrize("n", [PIECE + 1, LONG])
def test_no_whitening_follows_one_that_left_rounding(xp, n, monkeypatch):
    made = []
    gram = spectra.orthogonal._gram
    monkeypatch.setattr(spectra.orthogonal, "_gram", lambda rows: made.append(gram(rows)) or made[-1])
    q, _ = thin_factors(xp.asarray(power_law_rows(n).T.copy()))
    assert len(made) <= 2
    made.clear()
    again, factor = thin_factors(q)
    assert len(made) == 1
    np.testing.assert_allclose(factor, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(to_host(again), to_host(q), atol=1e-6)


def test_long_float32_blocks_stay_orthogonal_to_those_before(xp):
    rows = power_law_rows(k=6)
    first = orthonormalize(xp.asarray(rows[:3]), threshold=1e-4)
    second = orthonormalize(xp.asarray(rows[3:]), first.rows, threshold=1e-4)
    basis = np.concatenate([to_host(first.rows), to_host(second.rows)])
    assert np.max(np.abs(basis @ basis.T - np.eye(6))) <= 1e-6


@pytest.mark.parametrize("n", [50, 2 * PIECE])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dependent_rows_are_dropped(xp, n, dtype):
    rows = np.random.default_rng(1).standard_normal((3, n)).astype(dtype)
    block = np.stack([rows[0], rows[1], rows[0] + rows[1], 0.0 * rows[0]])
    found = orthonormalize(xp.asarray(block), threshold=1e-4 * np.sqrt(n))
    assert found.rows.shape[0] == 2
    np.testing.assert_allclose(
        found.coupling.T @ to_host(found.rows), block, atol=1e-5 if dtype == "float32" else 1e-12
    )
    nothing = orthonormalize(xp.asarray(0.0 * block), threshold=0.0)
    assert nothing.rows.shape == (0, n)


def test_what_is_left_is_orthogonal(xp):
    rows = np.random.default_rng(2).standard_normal((5, 60))
    against = orthonormalize(xp.asarray(rows[:3]), threshold=1e-12)
    found = orthonormalize(xp.asarray(rows), against.rows, threshold=1e-10)
    assert found.rows.shape[0] == 2
    basis = np.concatenate([to_host(against.rows), to_host(found.rows)])
    np.testing.assert_allclose(basis @ basis.T, np.eye(5), atol=1e-14)
    np.testing.assert_allclose(
        found.overlap.T @ to_host(against.rows) + found.coupling.T @ to_host(found.rows), rows, atol=1e-12
    )
    rest, overlap = project_out(xp.asarray(rows), against.rows)
    np.testing.assert_allclose(to_host(overlap).T @ to_host(against.rows) + to_host(rest), rows, atol=1e-13)


def test_long_float32_vectors_of_pytorch():
    torch = pytest.importorskip("torch")
    values = torch.arange(1, LONG + 1, dtype=torch.float64) ** -0.5
    single = values.float()
    A = Operator(lambda block: single[:, None] * block, like=torch.zeros(LONG))
    T = lanczos(A, start_vectors(A.like, num=1), num_steps=10, keep_basis=True)
    q = T.basis[0].double()
    assert float((q @ q.T - torch.eye(10)).abs().max()) <= 1e-5
    rayleigh = torch.sum(q * values * q, dim=1).numpy()
    np.testing.assert_allclose(T.diagonal[0], rayleigh, rtol=1e-6)
    pairs = eigenpairs(A, num=2, keep_vectors=False, tolerance=1e-5)
    np.testing.assert_allclose(pairs["eigenvalue"], [1.0, 2.0**-0.5], rtol=1e-6)
    assert pairs["converged"].values.all()
    estimate = trace(A, num_matvecs=20)
    assert estimate.low <= float(values.sum()) <= estimate.high
