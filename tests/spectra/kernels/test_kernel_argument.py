import builtins
import pickle

import numpy as np
import pytest

from spectra.errors import ArgumentError, MissingExtraError
from spectra.kernels.dot_product import ArcCosine, Linear, NeuralTangent, Polynomial
from spectra.kernels.kernel_argument import KERNEL_NAMES, PairwiseKernel, kernel_parameters, resolve_kernel
from spectra.kernels.length_scale import median_distance
from spectra.kernels.stationary import RBF, Laplace, Matern, Periodic

X = np.random.default_rng(0).standard_normal((12, 3))


@pytest.mark.parametrize("name", KERNEL_NAMES)
def test_every_name_is_a_symmetric_kernel_of_blocks(name):
    kernel = resolve_kernel(name, X)
    K = np.asarray(kernel(X, X))
    assert K.shape == (12, 12)
    np.testing.assert_allclose(K, K.T, atol=1e-14)
    np.testing.assert_allclose(kernel(X[:5], X[2:]), K[:5, 2:], atol=1e-13)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kernel))(X, X), K)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("rbf", {"length_scale": 2.0}, RBF(2.0)),
        ("rbf", {"gamma": 0.125}, RBF(2.0)),
        ("laplace", {"length_scale": 2.0}, Laplace(2.0)),
        ("matern", {"length_scale": 2.0, "nu": 2.5}, Matern(2.0, nu=2.5)),
        ("periodic", {"period": 3.0}, Periodic(period=3.0)),
        ("linear", {}, Linear()),
        ("polynomial", {"degree": 2, "coef0": 0.5}, Polynomial(2, offset=0.5)),
        ("poly", {"degree": 2, "offset": 0.5, "gamma": 0.1}, Polynomial(2, offset=0.5, scale=0.1)),
        ("arc-cosine", {"order": 0}, ArcCosine(0)),
        ("ntk", {"num_hidden": 3}, NeuralTangent(3)),
        ("neural-tangent", {}, NeuralTangent()),
    ],
)
def test_names_and_parameters(name, parameters, expected):
    assert resolve_kernel(name, parameters=parameters) == expected


@pytest.mark.parametrize(("name", "kind"), [("rbf", RBF), ("laplace", Laplace), ("matern", Matern)])
def test_median_distance_is_the_default_length_scale(name, kind):
    assert resolve_kernel(name, X) == kind(median_distance(X))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("rbf", {"gamma": 0.3}),
        ("linear", {}),
        ("polynomial", {"gamma": 0.2, "degree": 2, "coef0": 0.5}),
        ("polynomial", {}),
        ("laplacian", {"gamma": 0.4}),
        ("laplacian", {}),
        ("cosine", {}),
        ("sigmoid", {"gamma": 0.1, "coef0": 0.2}),
    ],
)
def test_names_of_scikit_learn_mean_what_they_mean_there(name, parameters):
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    expected = pairwise.pairwise_kernels(X, X[:4], metric=name, **parameters)
    np.testing.assert_allclose(resolve_kernel(name, X, parameters)(X, X[:4]), expected, rtol=1e-12, atol=1e-14)


def test_objects_and_functions_are_taken_as_they_are():
    kernel = RBF(2.0) + Linear(1.0)
    assert resolve_kernel(kernel) is kernel

    def power(A, B, q=1):
        return (A @ B.T) ** q

    assert resolve_kernel(power) is power
    np.testing.assert_array_equal(resolve_kernel(power, X, {"q": 2})(X, X), (X @ X.T) ** 2)


def test_unknown_name_lists_the_known():
    with pytest.raises(ArgumentError) as caught:
        resolve_kernel("gaussian", X)
    assert all(name in str(caught.value) for name in KERNEL_NAMES)


def test_unknown_parameter_lists_the_known():
    with pytest.raises(ArgumentError, match="length_scale, nu"):
        resolve_kernel("matern", X, {"order": 2})
    assert kernel_parameters("polynomial") == ("degree", "offset", "scale", "coef0", "gamma")


@pytest.mark.parametrize(
    ("kernel", "data", "parameters"),
    [
        ("rbf", None, {}),
        ("rbf", X, {"gamma": 1.0, "length_scale": 1.0}),
        ("rbf", X, {"gamma": -1.0}),
        ("rbf", X, {"length_scale": 0.0}),
        ("rbf", np.ones((5, 2)), {}),
        ("rbf", X[:1], {}),
        ("poly", X, {"gamma": 1.0, "scale": 1.0}),
        ("cosine", X, {"gamma": 1.0}),
        (RBF(1.0), X, {"length_scale": 2.0}),
        (3, X, {}),
        (None, X, {}),
        ("precomputed", X, {}),
    ],
)
def test_bad_input(kernel, data, parameters):
    with pytest.raises(ArgumentError):
        resolve_kernel(kernel, data, parameters)


def test_missing_scikit_learn_is_said_when_it_is_needed(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    kernel = resolve_kernel("laplacian")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="pip install scikit-learn"):
        kernel(X, X)
    assert resolve_kernel("rbf", X)(X, X).shape == (12, 12)


def test_equal_parameters_make_equal_kernels():
    assert resolve_kernel("laplacian", X, {"gamma": 0.1}) == PairwiseKernel("laplacian", (("gamma", 0.1),))
