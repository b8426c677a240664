import numpy as np
import pytest

from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.kernels.dimension_table import QUANTITIES
from spectra.kernels.large import kernel_dimension
from spectra.kernels.stationary import RBF, Laplace


def points(n, d=3, dtype=np.float64):
    return np.random.default_rng(0).standard_normal((n, d)).astype(dtype)


def test_eigenvalues_and_columns_agree_on_both_sides_of_the_switch():
    X, ridges = points(401), 401 * np.array([1e-3, 1e-2])
    dense, columns = (kernel_dimension(RBF(2.0), X, ridges, dense_up_to=m) for m in (401, 400))
    assert dense.attrs["method"] == "eigenvalues"
    assert columns.attrs["method"] == "columns"
    assert columns.attrs["num_columns"] < 401
    for name in QUANTITIES:
        assert np.all(columns[f"{name}_low"] <= dense[name] * (1 + 1e-9))
        assert np.all(dense[name] <= columns[f"{name}_high"] * (1 + 1e-9))
        np.testing.assert_allclose(columns[name], dense[name], rtol=1e-2)


def test_eigenvalues_and_products_agree_on_both_sides_of_the_switch():
    """z-test over seeds and quantities."""
    X, ridges = points(601), 601 * np.array([1e-3, 1e-2])
    dense = kernel_dimension(Laplace(1.5), X, ridges, dense_up_to=601)
    z, hits = [], []
    for seed in range(12):
        found = kernel_dimension(Laplace(1.5), X, ridges, dense_up_to=600, num_columns=100, rng=seed)
        assert found.attrs["method"] == "products"
        assert found.attrs["num_blocks"] > 0
        for name in QUANTITIES:
            z.append((found[name].values - dense[name].values) / found[f"{name}_stderr"].values)
            hits.append((found[f"{name}_low"] <= dense[name]) & (dense[name] <= found[f"{name}_high"]))
    assert np.mean(np.square(z)) < 31 / 29 + 3.5 * np.sqrt(2.5 / 12)
    assert np.mean(hits) > 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / 12)


def test_columns_and_products_agree_on_both_sides_of_their_switch():
    X, ridge = points(700), 0.7
    many, few = (kernel_dimension(RBF(2.0), X, ridge, dense_up_to=0, num_columns=k) for k in (400, 40))
    assert (many.attrs["method"], few.attrs["method"]) == ("columns", "products")
    for name in QUANTITIES:
        assert few[f"{name}_low"].item() <= many[name].item() <= few[f"{name}_high"].item()


def test_ridges_below_single_precision_are_computed_in_double():
    X = points(500, dtype=np.float32)
    options = {"dense_up_to": 0, "num_columns": 50}
    assert kernel_dimension(Laplace(1.0), X, 0.5, **options).attrs["dtype"] == "float32"
    tiny = kernel_dimension(Laplace(1.0), X, 1e-5, **options)
    assert tiny.attrs["dtype"] == "float64"
    assert tiny["effective_ridge"].item() == 1e-5


def test_functions_and_lists_will_do():
    X = points(50)
    first = kernel_dimension(lambda A, B: np.exp(-np.sum((A[:, None] - B) ** 2, axis=2)), X.tolist(), 0.1)
    second = kernel_dimension(RBF(2**-0.5), X, 0.1)
    assert first["df1"].item() == pytest.approx(second["df1"].item(), rel=1e-9)


def test_bad_input():
    X = points(20)
    for ridges in ([], [-1.0], "a"):
        with pytest.raises(ArgumentError):
            kernel_dimension(RBF(1.0), X, ridges)
    for limit in (0, 100):
        with pytest.raises(NonFiniteError):
            kernel_dimension(RBF(1.0), np.full((3, 2), np.nan), 1.0, dense_up_to=limit)
        with pytest.raises(ArgumentError):
            kernel_dimension(lambda A, B: np.zeros((len(A), len(B))), X, 1.0, dense_up_to=limit)


@pytest.mark.parametrize(
    ("X", "error"),
    [
        (3.0, ShapeError),
        (None, ShapeError),
        (np.arange(5.0), ShapeError),
        (np.ones((3, 2)) * 1j, BackendError),
        (np.ma.masked_array(np.eye(3)), BackendError),
    ],
)
@pytest.mark.parametrize("dense", [0, 100])
def test_samples_that_are_none(X, error, dense):
    with pytest.raises(error):
        kernel_dimension(lambda X, Y: X @ Y.T, X, 0.1, dense_up_to=dense)


def test_kernels_that_are_none():
    with pytest.raises(ArgumentError, match="kernel"):
        kernel_dimension(3, points(5), 0.1)
    with pytest.raises(ShapeError, match="kernel"):
        kernel_dimension(lambda X, Y: np.eye(2), points(5), 0.1)


def test_a_kernel_in_single_precision_has_its_rounding():
    def single(X, Y):
        return RBF()(X, Y).astype(np.float32)

    table = kernel_dimension(single, points(30), 0.0)
    assert table["effective_ridge"].item() > 30 * np.finfo(np.float32).eps


def test_products_on_a_strict_library():
    xs = pytest.importorskip("array_api_strict")
    X, settings = points(60), {"dense_up_to": 0, "num_columns": 3}
    found = kernel_dimension(Laplace(0.2), xs.asarray(X), 0.1, **settings)
    np.testing.assert_allclose(found["df1"], kernel_dimension(Laplace(0.2), X, 0.1, **settings)["df1"], rtol=1e-12)
