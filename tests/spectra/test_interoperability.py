import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator, cg, eigsh, lobpcg, minres

import spectra
from spectra import Operator, as_operator, gram
from spectra.arrays import to_host
from spectra.errors import BackendError, ShapeError
from spectra.exchange import library_of
from spectra.interoperability import as_scipy, in_library
from spectra.testing import check_operator
from tests.cases import N, matrix

FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_products_equal_those_of_the_operator(xp, dtype):
    a = matrix("indefinite").astype(dtype)
    linear = as_scipy(xp.asarray(a))
    block = np.random.default_rng(0).standard_normal((N, 3)).astype(dtype)
    assert linear.dtype == dtype
    assert linear.shape == (N, N)
    for product in (linear @ block, linear.H @ block, linear.T @ block, linear.matmat(block)):
        assert product.dtype == dtype
        np.testing.assert_allclose(product, a @ block, atol=TOLERANCE[dtype] * 8)
    np.testing.assert_allclose(linear.matmat(block[:, :1]), a @ block[:, :1], atol=TOLERANCE[dtype] * 8)
    np.testing.assert_allclose(linear @ block[:, 0], a @ block[:, 0], atol=TOLERANCE[dtype] * 8)


def test_products_are_counted():
    linear = as_scipy(matrix("spiked"))
    linear @ np.ones((N, 3))
    linear @ np.ones(N)
    linear.rmatvec(np.ones(N))
    assert linear.operator.num_matvecs == 5
    operator = as_operator(matrix("spiked"))
    assert as_scipy(operator).operator is operator


def test_eigsh(xp):
    a = matrix("spiked")
    linear = as_scipy(xp.asarray(a))
    values, vectors = eigsh(linear, k=4, which="LA", v0=np.ones(N))
    np.testing.assert_allclose(values, np.linalg.eigvalsh(a)[-4:], rtol=1e-12)
    np.testing.assert_allclose(a @ vectors, vectors * values, atol=1e-10)
    assert linear.operator.num_matvecs > 0


def test_lobpcg(xp):
    a = matrix("spiked")
    start = np.random.default_rng(0).standard_normal((N, 3))
    values, _ = lobpcg(as_scipy(xp.asarray(a)), start, largest=True, tol=1e-9, maxiter=200)
    np.testing.assert_allclose(np.sort(values), np.linalg.eigvalsh(a)[-3:], rtol=1e-10)


def test_cg_and_minres(xp):
    a, right = matrix("spiked"), np.random.default_rng(0).standard_normal(N)
    linear = as_scipy(xp.asarray(a))
    for solve in (cg, minres):
        solution, info = solve(linear, right, rtol=1e-12)
        assert info == 0
        np.testing.assert_allclose(solution, np.linalg.solve(a, right), rtol=1e-7, atol=1e-9)


def test_arithmetic_of_scipy():
    linear = as_scipy(matrix("indefinite"))
    v = np.random.default_rng(0).standard_normal(N)
    combined = 2.0 * linear + aslinearoperator(np.eye(N)) @ linear
    np.testing.assert_allclose(combined @ v, 3.0 * (linear @ v), rtol=1e-12, atol=1e-12)


def test_other_dtypes_of_vectors():
    linear = as_scipy(matrix("spiked").astype(np.float32))
    for v in (np.ones(N, dtype=int), np.ones(N), np.ones(N, dtype=np.float16)):
        assert (linear @ v).dtype == np.float32
    with pytest.raises(BackendError, match="multiplies real vectors, got numpy complex128"):
        linear @ np.ones(N, dtype=complex)
    read_only = np.ones(N, dtype=np.float32)
    read_only.flags.writeable = False
    np.testing.assert_allclose(linear @ read_only, matrix("spiked") @ np.ones(N), rtol=1e-4)


def test_there_and_back(xp):
    a = matrix("inverse")
    operator = as_operator(as_scipy(xp.asarray(a)))
    assert library_of(operator.like) == "numpy"
    check_operator(operator)
    ours = spectra.slq(operator, num_probes=2, num_steps=8)
    reference = spectra.slq(a, num_probes=2, num_steps=8)
    np.testing.assert_allclose(ours["ritz_value"], reference["ritz_value"], rtol=1e-12)


def test_wrong_operators():
    with pytest.raises(ShapeError):
        as_scipy(np.ones((2, 3)))
    with pytest.raises(BackendError):
        as_scipy(np.eye(2, dtype=complex))
    with pytest.raises(BackendError):
        as_scipy([[1.0]])


def test_any_operator_of_the_cases(any_operator):
    linear = as_scipy(any_operator)
    v = np.random.default_rng(0).standard_normal(linear.shape[0])
    np.testing.assert_array_equal(linear @ v, as_operator(any_operator) @ v)


@pytest.mark.parametrize("target", ["numpy", "torch", "array_api_strict"])
def test_vectors_of_another_library(xp, target):
    a = matrix("spiked")
    operator = as_operator(xp.asarray(a))
    moved = in_library(operator, target)
    assert library_of(moved.like) == target
    assert (moved is operator) == (library_of(operator.like) == target)
    check_operator(moved)
    assert operator.num_matvecs == moved.num_matvecs
    ours = spectra.slq(moved, num_probes=3, num_steps=10)
    reference = spectra.slq(a, num_probes=3, num_steps=10)
    np.testing.assert_allclose(ours["ritz_value"], reference["ritz_value"], rtol=1e-9)
    assert ours.attrs["operator"] == operator.name


def test_a_product_that_writes_into_its_argument_stays_harmless():
    torch = pytest.importorskip("torch")

    def matmat(block):
        block *= 3.0
        return block

    moved = in_library(Operator(matmat, like=torch.zeros(4, dtype=torch.float64)), "numpy")
    v = np.ones(4)
    np.testing.assert_array_equal(moved @ v, 3.0)
    np.testing.assert_array_equal(as_scipy(moved) @ v, 3.0)
    np.testing.assert_array_equal(v, 1.0)


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("name", FORMATS)
def test_every_sparse_format_is_accepted(kind, name):
    for dtype in (np.float64, np.float32, np.int64, np.int8, bool):
        sparse = kind(np.array([[2, 1, 0], [1, 2, 0], [0, 0, 1]], dtype=dtype)).asformat(name)
        operator = as_operator(sparse)
        dense = sparse.toarray().astype(float)
        v = np.arange(3.0).astype(operator.dtype)
        assert type(operator @ v) is np.ndarray
        np.testing.assert_array_equal(operator @ v, dense @ v)
        np.testing.assert_array_equal(operator @ np.stack([v, v], axis=1), dense @ np.stack([v, v], axis=1))
        np.testing.assert_array_equal(gram(sparse) @ v, dense.T @ (dense @ v))


@pytest.mark.parametrize("layout", ["to_sparse_coo", "to_sparse_csr", "to_sparse_csc"])
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_sparse_tensors_are_accepted(layout):
    torch = pytest.importorskip("torch")
    a = scipy.sparse.diags_array([-np.ones(N - 1), 2.0 * np.ones(N), -np.ones(N - 1)], offsets=[-1, 0, 1]).toarray()
    operator = as_operator(getattr(torch.from_numpy(a), layout)())
    check_operator(operator)
    ours, reference = (spectra.slq(x, num_probes=2, num_steps=8) for x in (operator, a))
    np.testing.assert_allclose(ours["ritz_value"], reference["ritz_value"], rtol=1e-10)
    np.testing.assert_allclose(to_host(gram(operator.like.new_tensor(a)) @ operator.like), 0.0)


def test_linear_operators_without_or_with_complex_dtype():
    real = LinearOperator((3, 3), matvec=lambda v: 2.0 * v)
    np.testing.assert_array_equal(as_operator(real) @ np.ones(3), 2.0)
    whole = LinearOperator((3, 3), matvec=lambda v: 2 * v, dtype=np.int64)
    np.testing.assert_array_equal(as_operator(whole) @ np.full(3, 0.5), 1.0)
    for dtype in (complex, None):
        with pytest.raises(BackendError, match="real symmetric form"):
            as_operator(LinearOperator((3, 3), matvec=lambda v: 1j * v, dtype=dtype))
    lying = LinearOperator((3, 3), matvec=lambda v: 1j * v, dtype=np.float64)
    with pytest.raises(BackendError, match="a real product is required"):
        as_operator(lying) @ np.ones(3)


def test_integer_and_read_only_matrices():
    a = np.array([[2, 1], [1, 2]])
    a.flags.writeable = False
    for dtype in (np.int64, np.int8, np.uint16, bool):
        assert as_operator(a.astype(dtype)).dtype == np.float64
    read_only = a.astype(float)
    read_only.flags.writeable = False
    assert spectra.eigenpairs(read_only)["eigenvalue"].values[0] == pytest.approx(3.0)
    sparse = scipy.sparse.csr_array(read_only)
    sparse.data.flags.writeable = False
    np.testing.assert_array_equal(as_scipy(sparse) @ np.ones(2), 3.0)


def test_anything_with_shape_and_matmul():
    class Twice:
        shape = (3, 3)

        def __matmul__(self, other):
            return 2.0 * other

    torch = pytest.importorskip("torch")
    operator = as_operator(Twice(), like=torch.zeros(3, dtype=torch.float64))
    np.testing.assert_array_equal(as_scipy(operator) @ np.ones(3), 2.0)
    with pytest.raises(BackendError, match="pass like="):
        as_scipy(Twice())
