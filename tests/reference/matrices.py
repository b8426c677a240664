"""Real matrices, the same for all comparisons: no spectrum of them was made by hand."""

from functools import cache

import numpy as np
import scipy.sparse

__all__ = ["MATRICES", "NEIGHBORS", "POSITIVE_DEFINITE"]

NEIGHBORS = 8


@cache
def _images() -> np.ndarray:
    from sklearn.datasets import load_digits

    return load_digits().data / 16.0


def digits_gram() -> np.ndarray:
    """Return the second moments of the pixels of the digits, 64 x 64: singular, for some pixels are always dark."""
    images = _images()
    return images.T @ images / len(images)


def digits_kernel() -> np.ndarray:
    """Return an RBF kernel of 300 digits, median bandwidth, ridge 1e-3: rapid decay, positive definite."""
    distance = _squares(_images()[:300])
    return np.exp(-0.5 * distance / np.median(distance)) + 1e-3 * np.eye(300)


def graph_laplacian() -> np.ndarray:
    """Return the Laplacian of the neighbor graph of 400 digits: sparse, one zero per connected part."""
    distance = _squares(_images()[:400])
    nearest = np.argsort(distance + np.diag(np.full(400, np.inf)), axis=1)[:, :NEIGHBORS]
    links = np.zeros((400, 400))
    np.put_along_axis(links, nearest, 1.0, axis=1)
    links = np.maximum(links, links.T)
    return np.diag(links.sum(axis=1)) - links


def cancer_covariance() -> np.ndarray:
    """Return the covariance of the 30 breast-cancer features in their own units: ten decades of eigenvalues."""
    from sklearn.datasets import load_breast_cancer

    return np.cov(load_breast_cancer().data.T)


def _squares(points: np.ndarray) -> np.ndarray:
    """Return all squared distances."""
    norms = np.sum(points**2, axis=1)
    squares = np.maximum(norms[:, None] + norms[None, :] - 2.0 * points @ points.T, 0.0)
    return 0.5 * (squares + squares.T)


MATRICES = {
    "digits Gram": digits_gram,
    "digits kernel": digits_kernel,
    "graph Laplacian": graph_laplacian,
    "cancer covariance": cancer_covariance,
    "sparse Laplacian": lambda: scipy.sparse.csr_array(graph_laplacian()),
}
POSITIVE_DEFINITE = ("digits kernel", "cancer covariance")
