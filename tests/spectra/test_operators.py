from typing import ClassVar

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

import spectra
from spectra import Operator, as_operator, gram
from spectra.arrays import to_host
from spectra.errors import ArgumentError, BackendError, ShapeError
from spectra.testing import check_operator
from tests.cases import matrix


def test_every_operator_conforms(any_operator):
    check_operator(any_operator)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_product_in_every_library(xp, dtype):
    a = matrix("spiked", 6)
    operator = as_operator(xp.asarray(a.astype(dtype)))
    block = np.arange(12.0).reshape(6, 2).astype(dtype)
    product = operator @ xp.asarray(block)
    assert product.dtype == operator.dtype == getattr(xp, dtype)
    np.testing.assert_allclose(to_host(product), a @ block, rtol=100 * np.finfo(dtype).eps)
    np.testing.assert_allclose(to_host(operator @ xp.asarray(block[:, 1])), a @ block[:, 1], rtol=1e-4)


def test_counts_columns():
    operator = as_operator(np.eye(3))
    operator @ np.ones(3)
    operator @ np.ones((3, 4))
    assert operator.num_matvecs == 5
    shifted = operator.shift(1.0)
    shifted @ np.ones((3, 2))
    assert (shifted.num_matvecs, operator.num_matvecs) == (2, 7)


def test_operator_passes_through_and_is_renamed():
    operator = as_operator(np.eye(3), name="unit")
    assert as_operator(operator) is operator
    assert as_operator(operator, name="unit") is operator
    assert as_operator(operator, name="other").name == "other"
    with pytest.raises(ShapeError, match=r"like must have shape \(3,\)"):
        as_operator(operator, like=np.zeros(4))


def test_algebra_against_dense():
    a, b, d, v = matrix("inverse", 5), matrix("spiked", 5, rng=1), np.linspace(-1.0, 1.0, 5), np.ones((5, 2))
    A, B = as_operator(a), as_operator(b)
    np.testing.assert_allclose(A.shift(2.0) @ v, a @ v + 2.0 * v)
    np.testing.assert_allclose(A.scale(-3.0) @ v, -3.0 * (a @ v))
    np.testing.assert_allclose((A + B) @ v, (a + b) @ v)
    np.testing.assert_allclose((A - B) @ v, (a - b) @ v, atol=1e-15)
    np.testing.assert_allclose((2 * A - B * 3.0 / np.float32(2.0)) @ v, (2 * a - 1.5 * b) @ v, atol=1e-15)
    np.testing.assert_allclose(A.congruence(d) @ v, np.diag(d) @ a @ np.diag(d) @ v)


def test_exact_identities_of_the_algebra():
    a, v = matrix("spiked", 6), np.linspace(-1.0, 2.0, 12).reshape(6, 2)
    A = as_operator(a)
    np.testing.assert_array_equal((-A) @ v, -(A @ v))
    np.testing.assert_array_equal((A - A) @ v, 0.0)
    np.testing.assert_array_equal((0.0 * A) @ v, 0.0)
    np.testing.assert_array_equal((A + A) @ v, (2 * A) @ v)
    np.testing.assert_array_equal((np.float64(0.5) * A) @ v, (A / 2) @ v)


def test_algebra_in_every_library(xp):
    a, b, v = matrix("inverse", 6), matrix("spiked", 6, rng=1), np.arange(12.0).reshape(6, 2)
    A, B = as_operator(xp.asarray(a)), as_operator(xp.asarray(b))
    block = xp.asarray(v)
    np.testing.assert_allclose(to_host((2 * A - B / 4) @ block), (2 * a - b / 4) @ v)
    np.testing.assert_allclose(to_host((-(A + B)) @ block), -(a + b) @ v)
    np.testing.assert_array_equal(to_host(block), v)


@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_array, sparse.coo_array])
def test_gram_against_dense(wrap):
    b = np.random.default_rng(0).integers(-3, 4, size=(4, 6))
    np.testing.assert_allclose(gram(wrap(b)) @ np.ones(6), b.T @ b @ np.ones(6))


def test_argument_that_the_function_overwrites_is_a_copy():
    def overwrite(block):
        block *= 2.0
        return block

    v = np.ones((3, 2))
    np.testing.assert_array_equal(Operator(overwrite, like=np.zeros(3)) @ v, 2.0 * v)
    np.testing.assert_array_equal(v, 1.0)


def test_read_only_arrays_are_accepted():
    a, v = np.eye(3), np.ones(3)
    a.flags.writeable = v.flags.writeable = False
    np.testing.assert_array_equal(as_operator(a) @ v, v)


def test_dense_matrix_follows_the_dtype_of_like():
    assert as_operator(np.eye(3), like=np.zeros(3, dtype=np.float32)).dtype == np.float32
    assert as_operator(np.eye(3, dtype=np.int64)).dtype == np.float64
    assert as_operator(sparse.eye_array(3, dtype=np.int32)).dtype == np.float64
    assert as_operator(sparse.eye_array(3, dtype=np.float32)).dtype == np.float32


def test_torch_matrix_that_requires_grad():
    torch = pytest.importorskip("torch")
    a = torch.eye(3, dtype=torch.float64, requires_grad=True)
    product = as_operator(a) @ torch.ones(3, dtype=torch.float64, requires_grad=True)
    assert not product.requires_grad


class Duck:
    shape = (3, 3)

    def __matmul__(self, other):
        return 2.0 * other


def test_anything_with_shape_and_matmul():
    np.testing.assert_array_equal(as_operator(Duck(), like=np.zeros(3)) @ np.ones(3), 2.0)
    duck = Duck()
    duck.like, duck.name = np.zeros(3), "duck"
    assert as_operator(duck).name == "duck"
    with pytest.raises(BackendError, match="pass like="):
        as_operator(Duck())


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ([[1.0]], BackendError),
        (np.zeros((0, 0)), ShapeError),
        (np.zeros((2, 3)), ShapeError),
        (np.zeros(3), ShapeError),
        (np.eye(3, dtype=np.complex128), BackendError),
        (np.eye(3, dtype=np.float16), BackendError),
        (np.eye(3, dtype=object), BackendError),
        (np.ma.masked_array(np.eye(3)), BackendError),
        (sparse.eye_array(3, dtype=np.complex128), BackendError),
    ],
)
def test_what_cannot_be_an_operator(bad, error):
    with pytest.raises(error):
        as_operator(bad)


def test_complex_products_never_lose_their_imaginary_part():
    a = LinearOperator((3, 3), matvec=lambda v: 1j * v, dtype=np.float64)
    with pytest.raises(BackendError, match="real product"):
        as_operator(a) @ np.ones(3)
    assert as_operator(LinearOperator((3, 3), matvec=lambda v: v, dtype=np.int64)).dtype == np.float64


@pytest.mark.parametrize("like", [np.zeros(0), np.zeros((3, 1)), np.float64(1.0)])
def test_like_is_one_vector(like):
    with pytest.raises((ShapeError, BackendError)):
        Operator(lambda v: v, like=like)


def test_wrong_arguments_of_a_product():
    operator = as_operator(np.eye(3))
    for bad in (np.ones(4), np.ones((4, 1)), np.ones((3, 0)), np.ones((3, 1, 1))):
        with pytest.raises(ShapeError, match="multiplies arrays of shape"):
            operator @ bad
    for bad in (np.ones(3, dtype=np.float32), np.ones(3, dtype=np.int64), np.ones(3) + 0j, [1.0, 1.0, 1.0]):
        with pytest.raises(BackendError, match="convert it first"):
            operator @ bad
    assert operator.num_matvecs == 0


def test_other_library_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(BackendError, match="torch"):
        as_operator(np.eye(3)) @ torch.ones(3, dtype=torch.float64)
    with pytest.raises(BackendError, match="library and device"):
        as_operator(np.eye(3), like=torch.ones(3))
    with pytest.raises(BackendError, match="NumPy arrays"):
        as_operator(sparse.eye_array(3), like=torch.ones(3))


@pytest.mark.parametrize(
    ("matmat", "error"),
    [
        (lambda v: v[:-1], ShapeError),
        (lambda v: v[:, 0], ShapeError),
        (lambda v: v.astype(np.float32), BackendError),
        (lambda v: v * 1j, BackendError),
        (lambda v: None, BackendError),
    ],
)
def test_wrong_results_of_a_product(matmat, error):
    with pytest.raises(error, match="the product returned by 'bad'"):
        Operator(matmat, like=np.zeros(3), name="bad") @ np.ones((3, 2))


def test_wrong_operands_of_the_algebra():
    A = as_operator(np.eye(3))
    for bad in (np.nan, np.inf, "x", 1j, None):
        with pytest.raises(ArgumentError, match="finite real number"):
            A.shift(bad)
        with pytest.raises(ArgumentError):
            A.scale(bad)
    with pytest.raises(ShapeError):
        A + as_operator(np.eye(4))
    with pytest.raises(BackendError):
        A + as_operator(np.eye(3, dtype=np.float32))
    for wrong in (1.0, np.eye(3), None):
        with pytest.raises(TypeError):
            A + wrong
        with pytest.raises(TypeError):
            wrong - A
    for wrong in (1j, "x", None, np.ones(3), np.eye(3)):
        with pytest.raises(TypeError):
            A * wrong
        with pytest.raises(TypeError):
            wrong * A
        with pytest.raises(TypeError):
            A / wrong
    with pytest.raises(TypeError):
        np.eye(3) @ A
    with pytest.raises(ArgumentError, match="finite"):
        np.nan * A
    with pytest.raises(ArgumentError, match="must not be zero"):
        A / 0
    with pytest.raises(ShapeError):
        A - as_operator(np.eye(4))
    with pytest.raises(ShapeError):
        A.congruence(np.ones(4))
    with pytest.raises(ShapeError):
        gram(np.ones(3))
    with pytest.raises(BackendError):
        gram(Duck())


def test_repr_names_order_and_cost():
    assert repr(as_operator(np.eye(3), name="unit")) == "<Operator 'unit': 3 x 3, float64, 0 products>"


def test_facts_of_an_operator_are_stored_with_results():
    class Reporting:
        shape, like, name = (3, 3), np.zeros(3), "reporting"
        facts: ClassVar[dict[str, str]] = {"product_strategy": "by hand"}

        def __matmul__(self, other):
            return 2.0 * other

    operator = as_operator(Reporting())
    assert operator.facts == {"product_strategy": "by hand"}
    assert as_operator(np.eye(2)).facts == {}
    assert spectra.slq(operator, num_probes=2, num_steps=2).attrs["product_strategy"] == "by hand"
    assert spectra.eigenpairs(operator).attrs["product_strategy"] == "by hand"
    assert spectra.survey(operator).attrs["product_strategy"] == "by hand"
