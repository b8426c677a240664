"""The ridge of a kernel and the error to expect, against cross-validation of scikit-learn: time, and who is right.

On digits (classes as columns) and diabetes, random training sets and an RBF kernel at the median distance. The same
ridges for all, on the same Gram matrix: `spectra.kernels.best_ridge` (exact leave-one-out with an interval and a
warning), GridSearchCV of KernelRidge with five folds, and RidgeCV on a Cholesky factor, which is leave-one-out too but
needs a factor of full rank. Predicted errors are compared with those on the samples that were left out.

    python scripts/benchmarks/kernel_peers.py --output kernel_peers.json
"""

import time
from typing import Any

from environment import arguments, set_threads, write

set_threads(1)

import numpy as np  # noqa: E402

NUM_RIDGES = 20
SHARES = np.geomspace(1e-6, 1.0, NUM_RIDGES)


def problem(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return samples and centered targets (n, C)."""
    from sklearn.datasets import load_diabetes, load_digits

    if name == "diabetes":
        X, y = load_diabetes(return_X_y=True)
        targets = y[:, None] / np.std(y)
    else:
        X, y = load_digits(return_X_y=True)
        targets = (y[:, None] == np.arange(10)).astype(float)
    return X, targets - np.mean(targets, axis=0)


def ours(K: np.ndarray, y: np.ndarray, ridges: np.ndarray) -> tuple[float, float]:
    """Return the ridge and the predicted error, summed over outputs."""
    from spectra.kernels import best_ridge

    found = best_ridge(K, y, ridges=ridges)
    return found.ridge, found.risk.risk


def grid_search(K: np.ndarray, y: np.ndarray, ridges: np.ndarray) -> tuple[float, float]:
    """Return what five-fold cross-validation says."""
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV, KFold

    folds = KFold(5, shuffle=True, random_state=0)
    search = GridSearchCV(
        KernelRidge(kernel="precomputed"), {"alpha": ridges}, cv=folds, scoring="neg_mean_squared_error", refit=False
    ).fit(K, y)
    return float(search.best_params_["alpha"]), -float(search.best_score_) * y.shape[1]


def ridge_cv(K: np.ndarray, y: np.ndarray, ridges: np.ndarray) -> tuple[float, float]:
    """Return what the leave-one-out search of linear regression says on a factor of the matrix."""
    from sklearn.linear_model import RidgeCV

    factor = np.linalg.cholesky(K + 1e-10 * np.trace(K) / len(K) * np.eye(len(K)))
    model = RidgeCV(alphas=ridges, fit_intercept=False).fit(factor, y)
    return float(model.alpha_), -float(model.best_score_) * y.shape[1]


WAYS = {"spectra": ours, "GridSearchCV": grid_search, "RidgeCV": ridge_cv}


def cell(name: str, n: int, repeats: int) -> dict[str, Any]:
    """Return times and deviations of one data set and size."""
    from spectra.kernels import RBF, median_distance

    X, targets = problem(name)
    matrix = RBF(median_distance(X))(X)
    rows: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for repeat in range(repeats):
        order = np.random.default_rng([600, repeat]).permutation(len(X))
        train, test = order[:n], order[n:]
        K, y = matrix[np.ix_(train, train)], targets[train]
        ridges = SHARES * float(np.linalg.eigvalsh(K)[-1])
        for way in list(WAYS) if repeat % 2 else list(WAYS)[::-1]:
            begin = time.process_time()
            ridge, predicted = WAYS[way](K, y, ridges)
            seconds = time.process_time() - begin
            fitted = matrix[np.ix_(test, train)] @ np.linalg.solve(K + ridge * np.eye(n), y)
            actual = float(np.mean(np.sum((targets[test] - fitted) ** 2, axis=1)))
            rows[way].append((seconds, predicted / actual - 1))
    result: dict[str, Any] = {"data": name, "n": n, "repeats": repeats}
    for way, found in rows.items():
        seconds, deviation = np.array(found).T
        result[way] = {
            "processor_seconds": float(np.median(seconds)),
            "over_spectra": float(np.median(seconds / np.array(rows["spectra"])[:, 0])),
            "mean_deviation": float(np.mean(deviation)),
            "rms_deviation": float(np.sqrt(np.mean(deviation**2))),
        }
    return result


def main() -> None:
    """Run all cells and write JSON."""
    options = arguments(__doc__ or "").parse_args()
    repeats = 3 if options.quick else 10
    sizes = {"diabetes": (200,), "digits": (300,) if options.quick else (300, 1000)}
    cells = [cell(name, n, repeats) for name, several in sizes.items() for n in several]
    write({"benchmark": "kernel_peers", "cells": cells}, options.output)


if __name__ == "__main__":
    main()
