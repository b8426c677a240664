import numpy as np
import pytest

from spectra.arrays import dtype_name, namespace, to_host
from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.kernels.dot_product import Linear, NeuralTangent
from spectra.kernels.operator import kernel_diagonal, kernel_operator
from spectra.kernels.stationary import RBF, Laplace
from spectra.testing import check_operator
from tests.cases import load
from tests.spectra.kernels.kernel_cases import KERNELS, of, points

every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=repr)


class Counting:
    """Something with rows on disk that counts how they are read."""

    def __init__(self, stored):
        self.stored = stored
        self.shape, self.dtype = stored.shape, stored.dtype
        self.most = self.reads = 0

    def __getitem__(self, key):
        part = self.stored[key]
        self.most = max(self.most, part.shape[0])
        self.reads += 1
        return part

    def __array__(self, *_, **__):
        raise AssertionError("read as a whole")


def gaussian(X, Y):
    """A kernel that is a function of two NumPy arrays."""
    return np.exp(-np.sum((X[:, None, :] - Y[None, :, :]) ** 2, axis=-1))


@every_kernel
@pytest.mark.parametrize("block", [1, 7, 30, 60, 1000, None])
def test_products_are_those_of_the_gram_matrix(kernel, block):
    X, V = points(), np.random.default_rng(1).standard_normal((60, 5))
    K = kernel(X)
    A = kernel_operator(kernel, X, block=block)
    np.testing.assert_allclose(A @ V, K @ V, atol=1e-12 * np.linalg.norm(K, 2))
    np.testing.assert_allclose(A @ V[:, 0], K @ V[:, 0], atol=1e-12 * np.linalg.norm(K, 2))
    assert A.num_matvecs == 6


@every_kernel
def test_it_is_a_symmetric_operator(kernel):
    check_operator(kernel_operator(kernel, points(), block=16))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_library(xp, dtype):
    X, V = points(), np.random.default_rng(1).standard_normal((60, 3))
    for kernel in (RBF(2.0), Laplace(2.0), NeuralTangent(2)):
        expected = kernel(X) @ V
        product = kernel_operator(kernel, of(xp, X, dtype), block=16) @ of(xp, V, dtype)
        assert namespace(product) is xp
        assert dtype_name(product.dtype) == dtype
        tolerance = (2e-6 if dtype == "float32" else 1e-13) * np.max(np.abs(expected)) * 4
        np.testing.assert_allclose(to_host(product), expected, atol=tolerance)
        np.testing.assert_allclose(
            to_host(kernel_diagonal(kernel, of(xp, X, dtype), block=16)), kernel.diagonal(X), rtol=1e-6
        )


@every_kernel
def test_the_diagonal_is_exact(kernel):
    X = points()
    for block in (1, 7, None):
        np.testing.assert_array_equal(kernel_diagonal(kernel, X, block=block), kernel.diagonal(X))
    np.testing.assert_array_equal(kernel_diagonal(lambda X, Y: kernel(X, Y), X), kernel.diagonal(X))


def test_each_tile_is_evaluated_once_for_all_columns():
    tiles = []

    def kernel(X, Y):
        tiles.append((X.shape[0], Y.shape[0]))
        return gaussian(X, Y)

    X = points()
    A = kernel_operator(kernel, X, block=20)
    tiles.clear()
    np.testing.assert_allclose(A @ np.eye(60), gaussian(X, X), atol=1e-14)
    assert tiles == [(20, 20)] * 6


def test_what_is_multiplied_and_the_points_stay_as_they_are():
    X, V = points(), np.ones((60, 2))
    X.flags.writeable = V.flags.writeable = False
    kernel_operator(Laplace(), X, block=7) @ V


def test_name_and_facts():
    A = kernel_operator(2.0 * RBF(3.0), points(), block=16)
    assert A.name == "Gram matrix of 2 RBF(length_scale=3.0)"
    assert A.facts == {"kernel": "2 RBF(length_scale=3.0)", "kernel_block": "16", "num_features": "4"}
    assert kernel_operator(gaussian, points()).name == "Gram matrix of gaussian"


def test_one_point_and_two():
    for n in (1, 2):
        X = np.arange(2.0 * n).reshape(n, 2)
        A = kernel_operator(Laplace(), X)
        np.testing.assert_allclose(A @ np.eye(n), Laplace()(X), rtol=1e-15)


def on_disk(kind, X, path):
    """Return points in a file."""
    if kind == "memmap":
        stored = np.memmap(path / "x.dat", dtype=X.dtype, mode="w+", shape=X.shape)
        stored[:] = X
        stored.flush()
        return np.memmap(path / "x.dat", dtype=X.dtype, mode="r", shape=X.shape)
    import zarr

    stored = zarr.create_array(path / "x.zarr", shape=X.shape, chunks=(13, X.shape[1]), dtype=X.dtype)
    stored[:] = X
    return zarr.open_array(path / "x.zarr", mode="r")


@pytest.mark.parametrize("kind", ["memmap", "zarr"])
def test_points_on_disk_are_read_by_the_block(kind, tmp_path):
    X, V = points(), np.random.default_rng(1).standard_normal((60, 3))
    stored = on_disk(kind, X, tmp_path)
    kernel = Laplace(2.0)
    np.testing.assert_allclose(kernel_operator(kernel, stored, block=16) @ V, kernel(X) @ V, rtol=1e-12)
    counting = Counting(stored)
    A = kernel_operator(kernel, counting, block=16)
    np.testing.assert_allclose(A @ V, kernel(X) @ V, rtol=1e-12)
    np.testing.assert_array_equal(kernel_diagonal(kernel, counting, block=16), np.ones(60))
    assert counting.most == 16
    assert counting.reads == (1 + 4 + 6) + (1 + 4)


@pytest.mark.parametrize(
    ("stored", "computed"),
    [
        ("float32", "float32"),
        ("float16", "float32"),
        ("float64", "float64"),
        ("int16", "float64"),
        ("uint8", "float64"),
    ],
)
def test_dtypes_of_points_on_disk(stored, computed, tmp_path):
    X = np.round(4 * points()).clip(0, 100).astype(stored)
    A = kernel_operator(Linear(), on_disk("zarr", X, tmp_path), block=16)
    assert dtype_name(A.dtype) == computed
    product = A @ np.ones(60, dtype=computed)
    np.testing.assert_allclose(product, X.astype(float) @ X.astype(float).sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("kind", ["memmap", "zarr", "numpy"])
def test_points_of_the_host_are_moved_to_another_library(library, kind, tmp_path):
    xp = load(library)
    X = points()
    stored = X if kind == "numpy" else on_disk(kind, X, tmp_path)
    like = xp.zeros(1, dtype=xp.float32)
    A = kernel_operator(RBF(2.0), stored, block=16, like=like)
    product = A @ xp.ones(60, dtype=xp.float32)
    assert namespace(product) is xp
    np.testing.assert_allclose(to_host(product), RBF(2.0)(X) @ np.ones(60), rtol=1e-5)


def test_missing_values_on_disk_are_found_when_they_are_read(tmp_path):
    X = points()
    X[40, 1] = np.nan
    with pytest.raises(NonFiniteError, match="row 40"):
        kernel_operator(RBF(), X)
    A = kernel_operator(gaussian, on_disk("memmap", X, tmp_path), block=16)
    with pytest.raises(NonFiniteError, match="row 8"):
        A @ np.ones(60)


@pytest.mark.parametrize(
    ("kernel", "X", "settings", "error"),
    [
        ("rbf", points(), {}, ArgumentError),
        (RBF(), points(), {"block": 0}, ArgumentError),
        (RBF(), [[1.0]], {}, BackendError),
        (RBF(), np.ma.ones((3, 2)), {}, BackendError),
        (RBF(), np.ones(3), {}, ShapeError),
        (RBF(), np.ones((0, 3)), {}, ShapeError),
        (RBF(), Counting(np.ones(3)), {}, ShapeError),
        (RBF(), Counting(np.ones((3, 2), dtype=complex)), {}, BackendError),
        (RBF((1.0, 2.0)), points(), {}, ShapeError),
        (RBF(), points(), {"like": np.zeros(1, dtype=int)}, BackendError),
        (lambda X, Y: X @ Y.T[:, :0], points(), {}, ShapeError),
        (lambda X, Y: (X @ Y.T).tolist(), points(), {}, BackendError),
        (lambda X, Y: (X @ Y.T).astype(np.float32), points(), {}, BackendError),
    ],
)
def test_calls_that_cannot_be(kernel, X, settings, error):
    for function in (kernel_operator, kernel_diagonal):
        with pytest.raises(error):
            function(kernel, X, **settings)


def test_arrays_of_two_libraries_are_not_mixed():
    torch = load("torch")
    with pytest.raises(BackendError, match="convert"):
        kernel_operator(RBF(), torch.ones((3, 2)), like=np.zeros(1))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_the_device(dtype):
    cupy = load("cupy")
    X, V = points(500), np.random.default_rng(1).standard_normal((500, 4))
    for kernel in (RBF(2.0), Laplace(2.0), NeuralTangent(2)):
        expected = kernel(X) @ V
        product = kernel_operator(kernel, of(cupy, X, dtype), block=128) @ of(cupy, V, dtype)
        tolerance = (1e-5 if dtype == "float32" else 1e-12) * np.max(np.abs(expected))
        np.testing.assert_allclose(to_host(product), expected, atol=tolerance)


def test_a_template_that_is_no_array():
    with pytest.raises(BackendError, match="like must be an array"):
        kernel_operator(RBF(), points(4, 2), like="float32")


def test_parameters_that_learn_leave_no_graph():
    torch = pytest.importorskip("torch")
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    X = torch.asarray(points(4, 2))
    assert not kernel_diagonal(lambda X, Y: torch.exp(-torch.cdist(X, Y) / scale), X).requires_grad
