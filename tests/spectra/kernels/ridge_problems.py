"""Small kernel regression problems that several test files share."""

import numpy as np


def noisy_plane(n, rng, *, noise=0.5, outputs=1):
    """Points of a Gaussian in the plane, and noisy values of smooth functions there."""
    X = rng.standard_normal((n, 2))
    signal = np.column_stack([np.sin(2 * X[:, 0] + c) * X[:, 1] for c in range(outputs)])
    return X, signal + noise * rng.standard_normal((n, outputs))


def laplace(n, *, seed=0, outputs=1, length=1.0):
    """Return a well-conditioned Gram matrix and targets."""
    X, y = noisy_plane(n, np.random.default_rng(seed), outputs=outputs)
    return np.exp(-np.linalg.norm(X[:, None] - X, axis=2) / length), y


def smooth(n, *, seed=0, length=1.0):
    """Return the Gram matrix of a Gaussian kernel, singular to rounding, and targets."""
    X, y = noisy_plane(n, np.random.default_rng(seed))
    return np.exp(-np.sum((X[:, None] - X) ** 2, axis=2) / (2 * length**2)), y
