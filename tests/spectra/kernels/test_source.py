import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.kernels.gram import GramSpectrum, center, gram_spectrum
from spectra.kernels.source import as_source, as_spectrum

X = np.random.default_rng(0).standard_normal((12, 3))


def linear(X, Y):
    return X @ Y.T


def test_every_source_gives_the_same_eigenvalues():
    K = linear(X, X)
    expected = gram_spectrum(K).eigenvalue
    np.testing.assert_allclose(as_spectrum(K).eigenvalue, expected)
    np.testing.assert_allclose(as_spectrum(X, kernel=linear).eigenvalue, expected)
    np.testing.assert_allclose(as_spectrum(expected).eigenvalue, expected)
    known = gram_spectrum(K)
    assert as_spectrum(known) is known


def test_a_square_array_is_data_with_a_kernel_only():
    square = np.eye(3)
    assert as_spectrum(square).eigenvalue.tolist() == [1.0, 1.0, 1.0]
    assert as_spectrum(2 * square, kernel=linear).eigenvalue.tolist() == [4.0, 4.0, 4.0]


def test_options_of_the_decomposition():
    found = as_spectrum(X, kernel=linear, centered=True, vectors=True)
    K = linear(X, X)
    np.testing.assert_allclose(found.eigenvector @ np.diag(found.eigenvalue) @ found.eigenvector.T, K, atol=1e-12)
    np.testing.assert_allclose(found.centered_eigenvalue, np.linalg.eigvalsh(center(K))[::-1].clip(0), atol=1e-12)


def test_rounding_of_the_kernel_is_that_of_the_data():
    found = as_spectrum(X.astype(np.float32), kernel=linear)
    assert found.eps == np.finfo(np.float32).eps
    told = as_spectrum(linear(X, X), eps=np.finfo(np.float32).eps)
    assert told.eps == found.eps
    assert told.ridge_floor == pytest.approx(12 * told.eps * told.eigenvalue[0])
    assert as_spectrum(told, eps=1e-3).ridge_floor > told.ridge_floor


def test_many_samples_are_drawn_from():
    found = as_source(X, kernel=linear, max_dense=10, subsample=5, rng=3)
    assert found.matrix.shape == (5, 5)
    assert found.num_available == 12
    assert "5 of 12 samples" in found.remarks[0]
    again = as_spectrum(X, kernel=linear, max_dense=10, subsample=5, rng=3)
    np.testing.assert_array_equal(again.eigenvalue, gram_spectrum(found.matrix).eigenvalue)
    assert again.remarks[0] == found.remarks[0]
    other = as_spectrum(X, kernel=linear, max_dense=10, subsample=5, rng=4)
    assert other.eigenvalue[0] != again.eigenvalue[0]


def test_a_spectral_measure_is_refused_with_advice():
    measure = spectra.slq(np.eye(5), num_probes=2)
    with pytest.raises(ArgumentError, match=r"spectra\.effective_dimension"):
        as_spectrum(measure)


@pytest.mark.parametrize(
    ("source", "settings", "error", "words"),
    [
        (X, {}, ShapeError, "kernel="),
        (np.zeros((2, 2, 2)), {}, ShapeError, "kernel="),
        (np.ones(3), {"kernel": linear}, ShapeError, "data"),
        (np.ones((0, 3)), {"kernel": linear}, ShapeError, "data"),
        (X, {"kernel": lambda X, Y: X}, ShapeError, "kernel"),
        (X, {"kernel": lambda X, Y: 3.0}, ShapeError, "kernel"),
        (X, {"kernel": lambda X, Y: np.full((12, 12), np.nan)}, NonFiniteError, "finite"),
        (X, {"kernel": lambda X, Y: np.triu(np.ones((12, 12)))}, NotSymmetricError, "symmetric"),
        (X, {"kernel": linear, "num_samples": 12}, ArgumentError, "num_samples"),
        (X, {"kernel": linear, "max_dense": 0}, ArgumentError, "max_dense"),
        (np.eye(2), {"num_samples": 2}, ArgumentError, "num_samples"),
        (np.eye(2), {"eps": -1.0}, ArgumentError, "eps"),
        (np.ones(3), {"vectors": True}, ArgumentError, "eigenvectors"),
        (np.ones(3), {"num_samples": 2}, ArgumentError, "2 samples"),
        (GramSpectrum.of_eigenvalues([1.0]), {"kernel": linear}, ArgumentError, "kernel="),
        (GramSpectrum.of_eigenvalues([1.0]), {"num_samples": 3}, ArgumentError, "num_samples"),
    ],
)
def test_bad_sources(source, settings, error, words):
    with pytest.raises(error, match=words):
        as_spectrum(source, **settings)
