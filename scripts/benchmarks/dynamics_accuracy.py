"""Accuracy of problems that are known by products: critical learning rates and curves against the exact spectrum.

Random ReLU features of digits (n = 900, d = 400), raw and centered, several seeds, closure "limit" on both sides,
batch size 1, five epochs at 0.5 and 0.8 of the exact critical learning rate. Compared are stochastic Lanczos quadrature
alone, with the exact trace, and with eigenvalues summed one by one as :func:`spectra.dynamics.from_operator` does it.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from environment import environment, set_threads, write

set_threads(1)

import numpy as np  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[2]))

import spectra  # noqa: E402
from scripts.validation.least_squares import relu_features  # noqa: E402
from spectra.dynamics import Quadratic, from_data, from_operator, sgd_curve, stability  # noqa: E402
from spectra.report import finite_or_null  # noqa: E402

NUM_STEPS = 30


def plain(H: np.ndarray, exact: Quadratic, *, probes: int, trace: bool, seed: int) -> Quadratic:
    """Return the nodes of plain quadrature, with the loss of the exact modes."""
    measure = spectra.slq(H, num_probes=probes, num_steps=NUM_STEPS, rng=seed)
    values, weights = measure["ritz_value"].values.ravel(), measure["weight"].values.ravel()
    kept = np.isfinite(values) & (values > 1e-10 * np.nanmax(values))
    values, weights = values[kept], weights[kept] * len(H) / probes
    if trace:
        weights = weights * np.trace(H) / (weights @ values)
    return joined(values, weights, exact)


def joined(values: np.ndarray, weights: np.ndarray, exact: Quadratic) -> Quadratic:
    """Return a problem with these nodes for the noise and the exact ones for the loss."""
    return Quadratic(
        eigenvalue=np.append(values, exact.eigenvalue),
        multiplicity=np.append(weights, 0 * exact.eigenvalue),
        initial_loss=np.append(0 * values, exact.initial_loss),
        floor=exact.floor,
        num_samples=exact.num_samples,
    )


def measured(A: np.ndarray, b: np.ndarray, *, deflated: int, probes: int, seed: int) -> Quadratic:
    """Return the problem by products."""
    n = len(A)
    return from_operator(
        A.T @ A / n,
        -A.T @ b / n,
        loss=0.5 * float(b @ b) / n,
        trace=float(np.sum(A**2)) / n,
        num_samples=n,
        num_deflated=deflated,
        num_probes=probes,
        num_steps=NUM_STEPS,
        rng=seed,
    )


def deviations(problem: Quadratic, exact: Quadratic) -> dict[str, float]:
    """Return the critical rate over the exact one, and the largest relative deviations of curves."""
    critical = stability(exact, closure="limit").closure_learning_rate
    found = {"critical": stability(problem, closure="limit").closure_learning_rate / critical}
    steps = 5 * int(exact.num_samples or 0)
    for share in (0.5, 0.8):
        curves = [
            sgd_curve(p, closure="limit", learning_rate=share * critical, num_steps=steps).loss.values
            for p in (problem, exact)
        ]
        found[f"curve at {share}"] = float(np.max(np.abs(curves[0] / curves[1] - 1)))
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8, help="number of data seeds, each raw and centered")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        for centered in (False, True):
            A, b, _ = relu_features(300 + seed)
            if centered:
                A, b = A - A.mean(axis=0), b - b.mean()
            exact = replace(from_data(A, b), rows=None, coordinates=None, kurtosis=None, largest_row=None)
            H = A.T @ A / len(A)
            variants = {
                "plain, 2 probes": plain(H, exact, probes=2, trace=False, seed=seed),
                "plain, 10 probes": plain(H, exact, probes=10, trace=False, seed=seed),
                "2 probes + exact trace": plain(H, exact, probes=2, trace=True, seed=seed),
                "deflate 8 + 2 probes + trace": measured(A, b, deflated=8, probes=2, seed=seed),
                "deflate 8 + 8 probes + trace (default)": measured(A, b, deflated=8, probes=8, seed=seed),
                "deflate 30 + 8 probes + trace": measured(A, b, deflated=30, probes=8, seed=seed),
            }
            for name, problem in variants.items():
                rows.setdefault(name, []).append(deviations(problem, exact) | problem.evidence)
    result: dict = {"environment": environment(), "rows": rows, "summary": {}}
    for name, found in rows.items():
        critical = [row["critical"] for row in found]
        summary = {"critical": [min(critical), max(critical)]}
        for key in ("curve at 0.5", "curve at 0.8"):
            values = [row[key] for row in found]
            summary[key] = [float(np.median(values)), float(np.max(values))]
        result["summary"][name] = summary
        print(name, summary, file=sys.stderr, flush=True)
    write(finite_or_null(result), options.output)


if __name__ == "__main__":
    main()
