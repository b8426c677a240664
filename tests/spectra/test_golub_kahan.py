import numpy as np
import pytest
from scipy.sparse import random_array
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from spectra.arrays import to_host
from spectra.errors import (
    ArgumentError,
    BackendError,
    NonDeterministicError,
    NonFiniteError,
    NotSymmetricError,
    ShapeError,
)
from spectra.golub_kahan import Bidiagonalization, golub_kahan
from spectra.lanczos import lanczos
from spectra.operators import gram
from spectra.rectangular import RectangularOperator, as_rectangular
from spectra.start_vectors import start_vectors


def rectangular(rows, columns, singular_values=None, seed=0):
    generator = np.random.default_rng(seed)
    a = generator.standard_normal((rows, columns))
    if singular_values is None:
        return a
    left, _, right = np.linalg.svd(a, full_matrices=False)
    return (left * singular_values) @ right


def start(a, num=1, rng=0):
    return start_vectors(as_rectangular(a).like, num=num, rng=rng)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-13), ("float32", 2e-5)])
@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (20, 20)])
def test_all_singular_values_after_as_many_steps_as_the_shorter_side(xp, shape, dtype, bound):
    a = rectangular(*shape).astype(dtype)
    found = golub_kahan(xp.asarray(a), start(xp.asarray(a), num=2), num_steps=100)
    expected = np.sort(np.linalg.svd(a.astype(float), compute_uv=False))
    for i in range(2):
        if shape[0] < shape[1]:  # B has one column fewer than needed: its values lie below
            assert np.all(found.singular_values(i) <= expected * (1 + bound))
        else:
            np.testing.assert_allclose(found.singular_values(i), expected, atol=bound * expected[-1])
    assert found.num_matvecs == 2 * 2 * min(shape)


def test_equals_lanczos_on_the_gram_matrix():
    a = rectangular(40, 25)
    found = golub_kahan(a, start(a, num=3), num_steps=9)
    tri = lanczos(gram(a), start(a, num=3), num_steps=9)
    alpha, beta = found.couplings[:, ::2], found.couplings[:, 1::2]
    before = np.concatenate([np.zeros((3, 1)), beta[:, :-1]], axis=1)
    np.testing.assert_allclose(alpha**2 + before**2, tri.diagonal, rtol=1e-11)
    np.testing.assert_allclose(alpha * beta, tri.off_diagonal, rtol=1e-10)


def test_relation_and_orthonormality(xp):
    a = rectangular(30, 20)
    iteration = Bidiagonalization(xp.asarray(a), start(xp.asarray(a), num=2), store=4)
    iteration.advance(9)
    iteration.advance(3)
    bidiagonal = iteration.bidiagonal()
    for i in range(2):
        v = np.concatenate([to_host(block[i, ...]) for block in iteration._rights._blocks])[:12]
        u = np.concatenate([to_host(block[i, ...]) for block in iteration._lefts._blocks])[:12]
        np.testing.assert_allclose(v @ v.T, np.eye(12), atol=1e-14)
        np.testing.assert_allclose(u @ u.T, np.eye(12), atol=1e-14)
        np.testing.assert_allclose(a @ v.T, u.T @ bidiagonal.matrix(i), atol=1e-12)


def test_small_singular_values_survive():
    """Eigenvalues of A'A would be lost below sqrt(eps)."""
    a = rectangular(60, 20, np.geomspace(1e-11, 1.0, 20))
    found = golub_kahan(a, start(a), num_steps=20).singular_values(0)
    np.testing.assert_allclose(found, np.geomspace(1e-11, 1.0, 20), atol=1e-15, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e290])
def test_any_scale(scale):
    a = rectangular(30, 12)
    reference = golub_kahan(a, start(a), num_steps=12).singular_values(0)
    np.testing.assert_allclose(golub_kahan(a * scale, start(a), num_steps=12).singular_values(0) / scale, reference)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (np.zeros((6, 4)), [0.0]),
        (np.eye(6, 4), [1.0]),
        (np.outer(np.arange(1.0, 7.0), [1.0, 2.0, 0.0, 2.0]), [0.0, 3.0 * np.sqrt(91.0)]),
        (np.full((5, 1), 2.0), [2.0 * np.sqrt(5.0)]),
        (np.diag([1.0, 1.0, 3.0])[:, [2, 0, 1]], [1.0, 3.0]),
    ],
)
def test_spaces_that_end_early(xp, a, expected, dtype):
    a = xp.asarray(np.asarray(a, dtype=dtype))
    found = golub_kahan(a, start(a, num=2), num_steps=10)
    for i in range(2):
        np.testing.assert_allclose(found.singular_values(i), expected, atol=100 * np.finfo(dtype).eps)


def test_one_start_vector_ends_and_the_other_goes_on():
    a = np.diag([1.0, 2.0, 3.0, 4.0])
    v = np.stack([np.eye(4)[1], np.ones(4)], axis=1)
    found = golub_kahan(a, v, num_steps=4)
    assert found.singular_values(0).tolist() == [2.0]
    np.testing.assert_allclose(found.singular_values(1), [1.0, 2.0, 3.0, 4.0], rtol=1e-12)


def test_kinds_of_matrices_agree():
    sparse = random_array((30, 20), density=0.3, rng=np.random.default_rng(0)).tocsr()
    dense = sparse.toarray()
    reference = golub_kahan(dense, start(dense), num_steps=6).couplings
    pair = RectangularOperator(lambda v: dense @ v, lambda u: dense.T @ u, shape=(30, 20), like=np.zeros(20))
    plain = LinearOperator((30, 20), matvec=lambda v: dense @ v, rmatvec=lambda u: dense.T @ u, dtype=float)
    for a in (sparse, aslinearoperator(sparse), plain, pair):
        np.testing.assert_allclose(golub_kahan(a, start(a), num_steps=6).couplings, reference, rtol=1e-10)
    integers = np.arange(12).reshape(4, 3)
    assert golub_kahan(integers, np.ones(3), num_steps=3).couplings.dtype == np.float64


def test_argument_stays_even_if_the_products_write_into_theirs():
    a, v = rectangular(9, 5), np.ones(5)
    a.flags.writeable = v.flags.writeable = False

    def spoil(matrix):
        def product(block):
            result = matrix @ block
            block[:] = np.nan
            return result

        return product

    pair = RectangularOperator(spoil(a), spoil(a.T), shape=(9, 5), like=np.zeros(5))
    np.testing.assert_array_equal(golub_kahan(pair, v, num_steps=3).couplings, golub_kahan(a, v, num_steps=3).couplings)


def test_checks_of_the_operator():
    a = rectangular(9, 5)
    iteration = Bidiagonalization(a, start(a), store=5)
    assert iteration.defect() < 1e-14
    assert iteration.num_matvecs == 3
    iteration.advance(5)
    assert iteration.num_matvecs == 2 + 2 * 5
    assert Bidiagonalization(np.zeros((3, 2)), np.ones((2, 1)), store=2).defect() == 0.0
    wrong = RectangularOperator(lambda v: a @ v, lambda u: -(a.T @ u), shape=(9, 5), like=np.zeros(5))
    with pytest.raises(NotSymmetricError, match="two products"):
        Bidiagonalization(wrong, start(a), store=5).defect()
    generator = np.random.default_rng(0)
    noisy = RectangularOperator(
        lambda v: (a @ v) * generator.standard_normal(), lambda u: a.T @ u, shape=(9, 5), like=np.zeros(5)
    )
    with pytest.raises(NonDeterministicError):
        Bidiagonalization(noisy, start(a), store=5).defect()


@pytest.mark.parametrize("call", [1, 4, 9, 12])
def test_non_finite_products_are_named(call):
    a, calls = rectangular(30, 20), []

    def product(matrix):
        def multiply(block):
            calls.append(1)
            result = matrix @ block
            if len(calls) == call:
                result[2, 1] = np.nan
            return result

        return multiply

    pair = RectangularOperator(product(a), product(a.T), shape=(30, 20), like=np.zeros(20))
    with pytest.raises(NonFiniteError, match=f"step {(call + 1) // 2} of start vector 1"):
        golub_kahan(pair, start(a, num=2), num_steps=15)


def test_wrong_calls():
    a = rectangular(9, 5)
    for bad in (np.ones(4), np.ones((5, 0)), np.ones((5, 1, 1))):
        with pytest.raises(ShapeError):
            golub_kahan(a, bad, num_steps=2)
    with pytest.raises(BackendError):
        golub_kahan(a, np.ones(5, dtype=np.float32), num_steps=2)
    with pytest.raises(ArgumentError):
        golub_kahan(a, np.ones(5), num_steps=0)
    for bad in (np.zeros(5), np.full(5, np.nan)):
        with pytest.raises(ArgumentError, match="column 0"):
            golub_kahan(a, bad, num_steps=2)
    for bad in (np.zeros((0, 3)), np.zeros(3)):
        with pytest.raises(ShapeError):
            as_rectangular(bad)
    for bad in (1j * a, "matrix"):
        with pytest.raises((BackendError, ShapeError)):
            as_rectangular(bad)
    with pytest.raises(ShapeError):
        RectangularOperator(None, None, shape=(3, 2), like=np.zeros(3))
    pair = RectangularOperator(lambda v: v, lambda u: u, shape=(3, 2), like=np.zeros(2))
    with pytest.raises(ShapeError, match="products with"):
        golub_kahan(pair, np.ones(2), num_steps=2)
    pair = RectangularOperator(lambda v: [1.0], lambda u: u, shape=(3, 2), like=np.zeros(2))
    with pytest.raises(BackendError, match="products with"):
        golub_kahan(pair, np.ones(2), num_steps=2)
    assert repr(pair) == "<RectangularOperator 'operator': 3 x 2, float64>"


def test_long_float32_vectors_of_pytorch():
    """Sums that begin with large terms: norms are accumulated in float64, so that both libraries agree to rounding."""
    torch = pytest.importorskip("torch")
    values = np.arange(1.0, 300_001.0) ** -0.5
    single = torch.as_tensor(values, dtype=torch.float32)[:, None]
    like = torch.zeros(len(values))
    a = RectangularOperator(lambda v: single * v, lambda v: single * v, shape=(len(values),) * 2, like=like)
    start = start_vectors(like, num=1)
    exact = RectangularOperator(
        lambda v: values[:, None] * v, lambda v: values[:, None] * v, shape=a.shape, like=np.zeros(len(values))
    )
    found = golub_kahan(a, start, num_steps=6).couplings
    np.testing.assert_allclose(found, golub_kahan(exact, start.double().numpy(), num_steps=6).couplings, rtol=2e-5)
