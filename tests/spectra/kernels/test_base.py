import math

import numpy as np
import pytest

from spectra.arrays import dtype_name, namespace, to_host
from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.kernels.dot_product import ArcCosine, Linear, NeuralTangent, Polynomial
from spectra.kernels.stationary import RBF, Laplace, Matern, Periodic
from tests.spectra.kernels.kernel_cases import KERNELS, of, points

every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=repr)


@every_kernel
def test_without_second_points_it_is_exactly_symmetric_with_the_exact_diagonal(kernel):
    X = points()
    K = kernel(X)
    np.testing.assert_array_equal(K, K.T)
    np.testing.assert_array_equal(np.diag(K), kernel.diagonal(X))
    np.testing.assert_array_equal(kernel(X, X), K)


@every_kernel
def test_blocks_are_parts_of_the_gram_matrix(kernel):
    X = points()
    K = kernel(X)
    scale = np.max(np.abs(K))
    np.testing.assert_allclose(kernel(X, X.copy()), K, atol=1e-13 * scale)
    np.testing.assert_allclose(kernel(X[:7], X[20:]), K[:7, 20:], atol=1e-13 * scale)
    np.testing.assert_allclose(kernel(X[20:], X[:7]), kernel(X[:7], X[20:]).T, atol=1e-13 * scale)


@every_kernel
def test_positive_semidefinite(kernel):
    values = np.linalg.eigvalsh(kernel(points()))
    assert values[0] >= -60 * np.finfo(float).eps * values[-1]


@every_kernel
def test_copies_and_near_copies_look_like_the_point_itself(kernel):
    """1e-9 away no kernel differs by more than the first derivative allows, some ten times 1e-9."""
    X = points()
    diagonal = kernel.diagonal(X)
    block = kernel(X, X.copy())
    assert abs(block[0, -1] / diagonal[0] - 1) < 1e-15 * 4
    assert abs(block[0, -2] / diagonal[0] - 1) < 5e-8


@every_kernel
def test_every_library_gives_the_numbers_of_numpy(kernel, xp):
    X = points()
    Y = X[::2] + 0.1
    expected, square = kernel(X, Y), kernel(X)
    scale = np.max(np.abs(expected))
    block = kernel(of(xp, X), of(xp, Y))
    assert namespace(block) is xp
    np.testing.assert_allclose(to_host(block), expected, atol=1e-13 * scale)
    np.testing.assert_allclose(to_host(kernel(of(xp, X))), square, atol=1e-13 * np.max(np.abs(square)))
    np.testing.assert_allclose(to_host(kernel.diagonal(of(xp, X))), np.diag(square), rtol=1e-14)


@every_kernel
def test_single_precision(kernel, xp):
    """Blocks of float32 err by a few of its units, also next to copies, and with inputs that are shifted by 100."""
    X = points()
    for shift in (0.0, 0.0 if isinstance(kernel, Linear | Polynomial) else 100.0):
        low = (X + shift).astype(np.float32)
        low[-1] = low[0]
        exact = kernel(low.astype(np.float64))
        block = kernel(of(xp, low, "float32"))
        assert dtype_name(block.dtype) == "float32"
        error = np.linalg.norm(to_host(block) - exact, 2) / np.linalg.norm(exact, 2)
        assert error < 2e-6


@every_kernel
def test_points_keep_their_values_and_one_is_enough(kernel):
    X = points()
    X.flags.writeable = False
    kernel(X, X[:3])
    one = X[:1]
    np.testing.assert_allclose(kernel(one), kernel.diagonal(one)[:, None])
    assert kernel(X[:1], X[:2]).shape == (1, 2)


@every_kernel
def test_repr_is_equality(kernel):
    assert kernel == kernel
    assert kernel != RBF(17.0)
    assert hash(kernel) == hash(kernel)
    assert "object at" not in repr(kernel)


def test_equality_by_parameters():
    assert RBF([1.0, 2.0]) == RBF(np.array([1, 2]))
    assert RBF(1.0) != Laplace(1.0)
    assert 2 * RBF() + 1 == RBF() * 2.0 + 1.0
    assert repr((RBF() + 1) * Laplace()) == "(RBF(length_scale=1.0) + Constant(value=1.0)) * Laplace(length_scale=1.0)"


def test_integers_are_float64():
    X = np.arange(6).reshape(3, 2)
    assert RBF()(X).dtype == np.float64
    np.testing.assert_array_equal(RBF()(X), RBF()(X.astype(float)))


def test_constant_features_change_nothing():
    X = points()
    more = np.column_stack([X, np.full(len(X), 7.0)])
    np.testing.assert_allclose(Laplace()(more), Laplace()(X), atol=1e-13)


@pytest.mark.parametrize("factor", [1e-14, 1e14])
def test_units_of_the_inputs(factor):
    X = points()
    for make in (RBF, Laplace, lambda scale: Matern(scale, nu=1.2)):
        np.testing.assert_allclose(make(2.0 * factor)(factor * X), make(2.0)(X), atol=1e-13)
    for kernel, power in ((ArcCosine(1), 2), (NeuralTangent(2), 2), (ArcCosine(2), 4)):
        np.testing.assert_allclose(kernel(factor * X) / factor**power, kernel(X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("X", "Y", "error"),
    [
        ([[1.0]], None, BackendError),
        (np.ma.ones((2, 2)), None, BackendError),
        (np.ones(3), None, ShapeError),
        (np.ones((0, 3)), None, ShapeError),
        (np.ones((3, 0)), None, ShapeError),
        (np.ones((3, 2), dtype=complex), None, BackendError),
        (np.ones((3, 2), dtype=np.float16), None, BackendError),
        (np.ones((3, 2)), np.ones((3, 4)), ShapeError),
        (np.ones((3, 2)), np.ones((3, 2), dtype=np.float32), BackendError),
        (np.ones((3, 2)), np.full((3, 2), np.inf), NonFiniteError),
    ],
)
def test_points_that_cannot_be(X, Y, error):
    with pytest.raises(error):
        Laplace()(X, Y)


def test_a_missing_value_is_found(xp):
    X = points()
    X[5, 2] = np.nan
    with pytest.raises(NonFiniteError, match="row 5"):
        RBF()(of(xp, X))
    with pytest.raises(NonFiniteError, match="row 5"):
        RBF().diagonal(of(xp, X))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RBF(0.0),
        lambda: RBF(-1.0),
        lambda: RBF("wide"),
        lambda: RBF([1.0, 0.0]),
        lambda: RBF([]),
        lambda: RBF(np.ones((2, 2))),
        lambda: Laplace(math.inf),
        lambda: Laplace(math.nan),
        lambda: Matern(nu=0.0),
        lambda: Matern(nu=51.0),
        lambda: Periodic(period=0.0),
        lambda: Linear(-1.0),
        lambda: Polynomial(0),
        lambda: Polynomial(1.5),
        lambda: Polynomial(2, offset=-1.0),
        lambda: Polynomial(2, scale=0.0),
        lambda: ArcCosine(3),
        lambda: ArcCosine(-1),
        lambda: ArcCosine(1, bias=-0.1),
        lambda: NeuralTangent(0),
        lambda: NeuralTangent(1, bias=math.nan),
        lambda: NeuralTangent(1, input_scale=0.0),
        lambda: RBF() * 0.0,
        lambda: -1.0 * RBF(),
        lambda: RBF() + 0.0,
    ],
)
def test_parameters_that_cannot_be(make):
    with pytest.raises(ArgumentError):
        make()


def test_kernels_do_not_combine_with_anything():
    for other in ("kernel", np.ones(2), None):
        with pytest.raises(TypeError):
            RBF() + other
        with pytest.raises(TypeError):
            other * RBF()


def test_length_scales_must_fit_the_features():
    with pytest.raises(ShapeError, match="2 length scales"):
        RBF([1.0, 2.0])(np.ones((3, 3)))
