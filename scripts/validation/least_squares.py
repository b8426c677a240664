"""Least-squares data sets for checks of loss curves: name to a function of a seed."""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["DATA"]

Data = tuple[np.ndarray, np.ndarray, dict[str, Any] | None]


def gaussian(n: int, d: int, *, noise: float = 0.5) -> Callable[[int], Data]:
    """Return data with independent standard normal entries, a random teacher of norm 1 and label noise."""

    def draw(seed: int) -> Data:
        rng = np.random.default_rng([seed, n, d])
        A = rng.standard_normal((n, d))
        teacher = rng.standard_normal(d) / np.sqrt(d)
        population = {"hessian": np.eye(d), "minimizer": teacher, "floor": noise**2 / 2}
        return A, A @ teacher + noise * rng.standard_normal(n), population

    return draw


def digits(seed: int) -> Data:
    """Return 600 raw digits, intensities in [0, 1] and a constant, and their value over ten as the target."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    chosen = np.random.default_rng([seed, 600]).permutation(len(y))[:600]
    A = np.column_stack([X[chosen] / 16, np.ones(600)])
    return A[:, A.std(axis=0) + A.mean(axis=0) > 0], y[chosen] / 10, None


def standardized_digits(seed: int) -> Data:
    """Return the same digits with every feature divided by its standard deviation: samples of very unequal size."""
    A, y, _ = digits(seed)
    varying = A[:, A.std(axis=0) > 0]
    return (varying - varying.mean(axis=0)) / varying.std(axis=0), y - y.mean(), None


def diabetes(seed: int) -> Data:
    """Return the diabetes data: 442 samples, 10 standardized features; the seed does not matter."""
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    return X * np.sqrt(len(y)), (y - y.mean()) / y.std(), None


def relu_features(seed: int) -> Data:
    """Return 400 random ReLU features of 900 digits."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng([seed, 900])
    chosen = rng.permutation(len(y))[:900]
    weights = rng.standard_normal((64, 400)) / 8
    return np.maximum(X[chosen] / 16 @ weights, 0.0), y[chosen] / 10, None


DATA: dict[str, Callable[[int], Data]] = {
    "gaussian": gaussian(2000, 1000),
    "gaussian 600 x 300": gaussian(600, 300),
    "gaussian 300 x 600": gaussian(300, 600),
    "digits": digits,
    "standardized digits": standardized_digits,
    "diabetes": diabetes,
    "relu features": relu_features,
}
