"""Coverage and error of the trace family: how often intervals of level 95% hold the truth, on six spectra.

    python scripts/benchmarks/trace_coverage.py --output coverage.json [--num-seeds 200] [--dimension 400]

Writes JSON: for each spectrum and estimator the rms error relative to the scale of the quantity (for a trace: the sum
of the moduli of what is summed), the root mean square of the standard errors over the rms error, the coverage among the
runs that give an interval, the fraction of these, and the products spent. Takes about twenty
minutes on one core.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spectra.diagonals import diagonal
from spectra.effective_ranks import effective_rank
from spectra.krylov_aware import krylov_aware_trace
from spectra.matrix_functions import log_determinant, trace_function
from spectra.norms import frobenius_norm, schatten_norm
from spectra.stochastic_trace import trace
from spectra.testing import matrix_with_spectrum


def spectra_of(n: int) -> dict[str, np.ndarray]:
    """Return the six spectra."""
    generator = np.random.default_rng(0)
    samples = generator.standard_normal((n, 2 * n))
    spiked = np.linalg.eigvalsh(samples @ samples.T / (2 * n))
    spiked[:10] = np.linspace(4.0, 40.0, 10)
    indefinite = np.zeros(n)
    indefinite[: n // 4] = generator.standard_normal(n // 4)
    return {
        "power law": 1.0 / np.arange(1.0, n + 1.0),
        "Marchenko-Pastur and 10 spikes": spiked,
        "exponential kernel and ridge": np.exp(-np.arange(n) / 5.0) + 1e-3,
        "indefinite, 75% zeros": indefinite,
        "two clusters": np.where(np.arange(n) < n // 3, 10.0, 1.0) * (1.0 + 0.05 * generator.uniform(-1, 1, n)),
        "flat": np.linspace(0.9, 1.1, n),
    }


def entropy_rank(values: np.ndarray) -> float:
    """Return the entropy rank from all eigenvalues."""
    p = values / np.sum(values)
    return float(np.exp(-np.sum(p * np.log(p))))


def cases(A: np.ndarray, values: np.ndarray) -> dict[str, tuple[Callable[[int], Any], Any, float]]:
    """Return for each estimator: a function of the seed, the truth, and the scale of errors."""
    nuclear, total = float(np.sum(np.abs(values))), float(np.sum(values))
    frobenius = float(np.sqrt(np.sum(values**2)))
    definite = bool(np.min(values) > 0)
    found: dict[str, tuple[Callable[[int], Any], Any, float]] = {}
    for num in (20, 60, 120):
        for method in ("auto", "xtrace", "xnystrace", "hutch++", "hutchinson"):
            if method == "xnystrace" and not definite:
                continue
            found[f"trace {method} {num}"] = (
                lambda seed, m=method, k=num: trace(A, method=m, num_matvecs=k, rng=seed),
                total,
                nuclear,
            )
        for method in ("leave_one_out", "hutchinson"):
            found[f"frobenius {method} {num}"] = (
                lambda seed, m=method, k=num: frobenius_norm(A, method=m, num_matvecs=k, rng=seed),
                frobenius,
                frobenius,
            )
    for num in (30, 90):
        for method in ("hutchinson", "xdiag", "deflated"):
            found[f"diagonal {method} {num}"] = (
                lambda seed, m=method, k=num: diagonal(A, method=m, num_matvecs=k, rng=seed),
                np.diag(A),
                float(np.linalg.norm(np.diag(A))) / np.sqrt(len(A)),
            )
    top = float(np.max(np.abs(values)))
    for name, f in {"exp": lambda x: np.exp(x / top), "square": np.square}.items():
        y = f(values)
        sums = float(np.sum(y)), float(np.sum(np.abs(y)))
        found[f"trace_function slq {name}"] = (lambda seed, f=f: trace_function(A, f, rng=seed), *sums)
        found[f"krylov_aware {name}"] = (lambda seed, f=f: krylov_aware_trace(A, f, rng=seed), *sums)
    found["schatten 1"] = (lambda seed: schatten_norm(A, 1, rng=seed), nuclear, nuclear)
    rank = frobenius**2 / top**2
    found["stable rank"] = (lambda seed: effective_rank(A, kind="stable", rng=seed), rank, rank)
    if definite:
        logs = np.log(values)
        sums = float(np.sum(logs)), float(np.sum(np.abs(logs)))
        bound = float(np.min(values)) * 0.999
        found["log_determinant"] = (lambda seed: log_determinant(A, rng=seed), *sums)
        found["log_determinant bracketed"] = (lambda seed: log_determinant(A, lower_bound=bound, rng=seed), *sums)
        found["krylov_aware log"] = (lambda seed: krylov_aware_trace(A, np.log, rng=seed), *sums)
        rank = entropy_rank(values)
        found["entropy rank"] = (lambda seed: effective_rank(A, rng=seed), rank, rank)
        rank = total**2 / frobenius**2
        found["participation ratio"] = (lambda seed: effective_rank(A, kind="participation", rng=seed), rank, rank)
    return found


def measure(run: Callable[[int], Any], truth: Any, scale: float, num_seeds: int) -> dict[str, float | int | None]:
    """Return error, calibration and coverage of one estimator."""
    errors, stderrs, covered = [], [], []
    for seed in range(num_seeds):
        estimate = run(seed)
        errors.append(estimate.value - truth)
        if estimate.low is not None:
            stderrs.append(estimate.stderr)
            covered.append(np.mean((estimate.low <= truth) & (truth <= estimate.high)))
    rms = float(np.sqrt(np.mean(np.square(errors))))
    return {
        "relative_rms": rms / scale,
        "stderr_over_rms": float(np.sqrt(np.mean(np.square(stderrs)))) / rms if stderrs and rms > 0 else None,
        "coverage": float(np.mean(covered)) if covered else None,
        "with_interval": len(covered) / num_seeds,
        "num_matvecs": estimate.num_matvecs,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--num-seeds", type=int, default=200)
    parser.add_argument("--dimension", type=int, default=400)
    parser.add_argument("--only", default="", help="part of the name of an estimator")
    options = parser.parse_args()
    result: dict[str, Any] = {"num_seeds": options.num_seeds, "dimension": options.dimension, "level": 0.95}
    result["spectra"] = {}
    for name, values in spectra_of(options.dimension).items():
        A = matrix_with_spectrum(values, 1)
        rows = result["spectra"][name] = {}
        for case, (run, truth, scale) in cases(A, values).items():
            if options.only in case:
                rows[case] = measure(run, truth, scale, options.num_seeds)
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
