"""Accuracy of estimates for the products they cost, here and in other libraries.

Five spectra, three quantities, the same number of products for everybody: 60 for a trace, 10 probes of 30 steps for a
log-determinant and for a density. Errors are root mean squares over the seeds, in units that do not depend on scale:

* trace: over the nuclear norm;
* log-determinant: over the sum of ``|log eigenvalue|``;
* density: Wasserstein-1 distance to the eigenvalues, over the width of the spectrum.

Spectra are those of real problems, or synthetic ones mixed by a random rotation: sign probes have no variance on
diagonal matrices, and a matrix with nearly coordinate eigenvectors would flatter them. The indefinite one is shifted by
its norm for the log-determinant (``definite`` in the results says so). Where the matrix is semidefinite, methods that
must be told so are told, ours too.

A ratio below 1 means that ours is more accurate than the best of the others. An rms over k seeds has a relative
standard error of about ``1/sqrt(2k)``, a ratio of two sqrt(2) times that: with 40 seeds ratios below 1.32 are within
two standard errors of 1; and the smallest of several equal rms is below their mean.

    python scripts/benchmarks/accuracy_per_product.py --output accuracy.json
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from environment import arguments, set_threads, write


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A matrix with known eigenvalues."""

    name: str
    matrix: Any
    eigenvalues: Any

    @property
    def definite(self) -> bool:
        """Whether all eigenvalues are positive, beyond rounding."""
        return bool(self.eigenvalues[0] > 1e-12 * self.eigenvalues[-1])

    def made_definite(self) -> "Problem":
        """Return the problem itself, or one shifted by twice its norm."""
        import numpy as np

        if self.definite:
            return self
        shift = 2.0 * float(np.max(np.abs(self.eigenvalues)))
        return Problem(
            name=self.name,
            matrix=self.matrix + shift * np.eye(len(self.eigenvalues)),
            eigenvalues=self.eigenvalues + shift,
        )


def problems(n: int) -> list[Problem]:
    """Return the five spectra at about n dimensions."""
    import numpy as np
    from sklearn.datasets import load_digits

    from spectra.testing import matrix_with_spectrum

    rng = np.random.default_rng(0)
    x = rng.standard_normal((n - 10, 2 * n))
    bulk = np.linalg.eigvalsh(x @ x.T / (2 * n))
    spiked = np.concatenate([bulk, np.geomspace(5.0, 50.0, 10)])
    side = round(math.sqrt(n))
    line = 2.0 * np.eye(side) - np.eye(side, k=1) - np.eye(side, k=-1)
    images = load_digits().data[:n] / 16.0
    squares = np.sum(images**2, axis=1)
    distance = np.maximum(squares[:, None] + squares[None, :] - 2.0 * images @ images.T, 0.0)
    kernel = np.exp(-0.5 * distance / np.median(distance)) + 1e-3 * np.eye(len(images))
    quarter = rng.standard_normal(n // 4)
    indefinite = np.concatenate([np.zeros(n - n // 4), np.sign(quarter) * np.abs(quarter) ** 3])
    matrices = {
        "power law 1/i": matrix_with_spectrum(1.0 / np.arange(1.0, n + 1.0)),
        "Marchenko-Pastur and 10 spikes": matrix_with_spectrum(spiked, 1),
        "Laplacian of a square grid": np.kron(line, np.eye(side)) + np.kron(np.eye(side), line),
        "RBF kernel of the digits and ridge 1e-3": 0.5 * (kernel + kernel.T),
        "indefinite, three quarters zero": matrix_with_spectrum(indefinite, 2),
    }
    return [Problem(name=name, matrix=a, eigenvalues=np.linalg.eigvalsh(a)) for name, a in matrices.items()]


def our_methods() -> list[Any]:
    """Return what this library offers by default, and with definiteness declared."""
    import numpy as np
    from peer_interface import Answer, Budget, Method

    import spectra
    from spectra import matrix_functions, stochastic_trace

    def trace(definite: bool) -> Any:
        def prepare(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
            options = {"positive_semidefinite": True} if definite else {}

            def run(seed: int) -> Answer:
                estimate = stochastic_trace.trace(matrix, num_matvecs=budget.products, rng=seed, **options)
                return Answer(estimate.value, estimate.num_matvecs)

            return run

        return prepare

    def log_determinant(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
        def run(seed: int) -> Answer:
            estimate = matrix_functions.log_determinant(
                matrix, num_probes=budget.probes, num_steps=budget.steps, rng=seed
            )
            return Answer(estimate.value, estimate.num_matvecs)

        return run

    def density(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
        def run(seed: int) -> Answer:
            measure = spectra.slq(matrix, num_probes=budget.probes, num_steps=budget.steps, rng=seed)
            return Answer(measure, int(measure.attrs["num_matvecs"]))

        return run

    return [
        Method(library="spectra", name="trace", quantity="trace", prepare=trace(False)),
        Method(library="spectra", name="trace, PSD", quantity="trace", prepare=trace(True), needs_definite=True),
        Method(library="spectra", name="log_determinant", quantity="log_determinant", prepare=log_determinant),
        Method(library="spectra", name="slq", quantity="density", prepare=density),
    ]


def distance(answer: Any, eigenvalues: Any) -> float:
    """Return the Wasserstein-1 distance of a measure, or of nodes and weights, to the eigenvalues."""
    import spectra

    if hasattr(answer, "data_vars"):
        return float(spectra.wasserstein_distance(answer, eigenvalues))
    from scipy.stats import wasserstein_distance

    values, weights = answer
    return float(wasserstein_distance(values, eigenvalues, u_weights=weights))


def error(method: Any, problem: Problem, answer: Any) -> float:
    """Return the error of one answer, in units without scale."""
    import numpy as np

    values = problem.eigenvalues
    if method.quantity == "trace":
        return float((answer - np.sum(values)) / np.sum(np.abs(values)))
    if method.quantity == "log_determinant":
        return float((answer - np.sum(np.log(values))) / np.sum(np.abs(np.log(values))))
    return distance(answer, values) / float(values[-1] - values[0])


def measure(method: Any, problem: Problem, budget: Any, seeds: int) -> dict[str, Any]:
    """Run one method on one problem for all seeds."""
    import numpy as np

    began = time.process_time()
    try:
        run = method.prepare(problem.matrix, budget)
        answers = [run(seed) for seed in range(seeds)]
        errors = np.array([error(method, problem, answer.value) for answer in answers])
    except Exception as failure:  # a peer that fails is a result
        return {"failed": f"{type(failure).__name__}: {failure}"[:300]}
    if not np.all(np.isfinite(errors)):
        return {"failed": f"{int(np.sum(~np.isfinite(errors)))} of {seeds} answers are not finite"}
    spent = [answer.num_matvecs for answer in answers if answer.num_matvecs is not None]
    return {
        "rms": float(np.sqrt(np.mean(errors**2))),
        "median": float(np.median(np.abs(errors))),
        "largest": float(np.max(np.abs(errors))),
        "num_matvecs": max(spent) if spent else None,
        "processor_seconds": time.process_time() - began,
    }


def compare(problem: Problem, methods: list[Any], quantity: str, budget: Any, seeds: int) -> dict[str, Any]:
    """Run all methods for one quantity of one problem; give the ratio of ours to the best peer."""
    if quantity == "log_determinant":
        problem = problem.made_definite()
    chosen = [m for m in methods if m.quantity == quantity and (problem.definite or not m.needs_definite)]
    results = {method.label: measure(method, problem, budget, seeds) for method in chosen}
    finished = {label: result["rms"] for label, result in results.items() if "rms" in result}
    ours = {label: rms for label, rms in finished.items() if label.startswith("spectra:")}
    others = {label: rms for label, rms in finished.items() if label not in ours}
    summary: dict[str, Any] = {"methods": results, "definite": problem.definite}
    if ours and others:
        summary["ours"] = min(ours, key=lambda label: ours[label])
        summary["best_peer"] = min(others, key=lambda label: others[label])
        best = others[summary["best_peer"]]
        summary["ratio"] = ours[summary["ours"]] / best if best > 0 else None
        default = next(iter(ours.values()))
        summary["ratio_of_default"] = default / best if best > 0 else None
    return summary


def main() -> None:
    """Compare and write."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--n", type=int, default=1024, help="dimension, about")
    parser.add_argument("--quantity", choices=("trace", "log_determinant", "density"), action="append")
    options = parser.parse_args()
    set_threads(1)
    from peer_interface import Budget
    from peers import peer_methods

    peers, missing = peer_methods()
    methods = our_methods() + peers
    budget = Budget()
    cells: dict[str, Any] = {}
    for quantity in options.quantity or ("trace", "log_determinant", "density"):
        cells[quantity] = {}
        for problem in problems(256 if options.quick else options.n):
            cell = compare(problem, methods, quantity, budget, 5 if options.quick else options.seeds)
            cells[quantity][problem.name] = cell
            found = {k: cell[k] for k in ("ours", "best_peer", "ratio", "ratio_of_default") if k in cell}
            print(f"{quantity}, {problem.name}: {found}")
    result = {
        "benchmark": "accuracy per product",
        "seeds": 5 if options.quick else options.seeds,
        "budget": {"trace": budget.products, "probes": budget.probes, "steps": budget.steps},
        "peers_missing": missing,
        "cells": cells,
    }
    write(result, options.output)


if __name__ == "__main__":
    main()
