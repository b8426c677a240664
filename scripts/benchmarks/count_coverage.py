"""Coverage of the intervals of counts, negative mass and distances, and how wide they are.

Diagonal operators of order 300, whose spectra are known; probes on the sphere make the basis irrelevant. Nominal level
95 %. A cell: spectrum, quantity, probes, steps; coverage over the seeds, median width, and the mean error of the value.

    python scripts/benchmarks/count_coverage.py --output count_coverage.json
"""

from collections.abc import Callable, Iterator
from typing import Any

from environment import arguments, set_threads, write

N = 300


def spectra_of(n: int) -> dict[str, Any]:
    """Return the eigenvalues of each case."""
    import numpy as np

    generator = np.random.default_rng(0)
    bulk = np.linalg.eigvalsh(np.cov(generator.standard_normal((n, 3 * n))))
    zeros = np.zeros(n)
    zeros[: n // 4] = generator.standard_normal(n // 4)
    return {
        "power law 1/i": 1.0 / np.arange(1.0, n + 1.0),
        "Marchenko-Pastur + 10 spikes": np.sort(bulk) + np.where(np.arange(n) < n - 10, 0.0, np.arange(n) - n + 15.0),
        "exponential decay to 1e-8": np.geomspace(1e-8, 1.0, n),
        "indefinite, 75% zeros": zeros,
        "two clusters": np.concatenate([generator.uniform(0.0, 1.0, n // 2), generator.uniform(5.0, 6.0, n - n // 2)]),
        "semicircle": np.linalg.eigvalsh(_symmetric(generator.standard_normal((n, n)))),
        "ten values": np.repeat(np.arange(-3.0, 7.0), n // 10),
        "heavy tail": np.sort(1.0 / generator.uniform(0.0, 1.0, n)),
    }


def _symmetric(a: Any) -> Any:
    return (a + a.T) / (2.0 * len(a)) ** 0.5


def questions(values: Any) -> dict[str, tuple[Callable[[Any, Any], Any], float]]:
    """Return for each quantity how it is estimated from a measure and an independent one, and its true value."""
    import numpy as np

    from spectra.bulk import eigenvalue_count, negative_mass
    from spectra.distances import kolmogorov, wasserstein

    n = len(values)
    values = np.sort(values)
    low, top = 0.5 * (values[[n // 3, n - 12]] + values[[n // 3 + 1, n - 11]])
    shift = 0.1 * float(np.std(values))
    sorted_, moved = values, np.sort(values) + shift

    def sup(x: Any, y: Any) -> float:
        points = np.concatenate([x, y])
        f, g = (np.searchsorted(z, points, side="right") / len(z) for z in (x, y))
        return float(np.max(np.abs(f - g)))

    return {
        "count, middle": (lambda m, _: eigenvalue_count(m, low, top), np.sum((values > low) & (values <= top))),
        "count, top": (lambda m, _: eigenvalue_count(m, top, np.inf), np.sum(values > top)),
        "negative mass": (lambda m, _: negative_mass(m), np.mean(values < 0)),
        "Wasserstein to the spectrum": (lambda m, _: wasserstein(m, sorted_), 0.0),
        "Wasserstein to a shifted one": (lambda m, _: wasserstein(m, moved), shift),
        "Wasserstein of two measures": (lambda m, o: wasserstein(m, o), shift),
        "Kolmogorov to the spectrum": (lambda m, _: kolmogorov(m, sorted_), 0.0),
        "Kolmogorov to a shifted one": (lambda m, _: kolmogorov(m, moved), sup(values, moved)),
        "Kolmogorov of two measures": (lambda m, o: kolmogorov(m, o), sup(values, moved)),
    }


def cells(
    *, method: str, num_probes: int, num_steps: int, num_seeds: int, quantities: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Measure every spectrum."""
    import numpy as np

    import spectra
    from spectra.chebyshev import kernel_polynomial

    def measure(values: Any, rng: int) -> Any:
        column = values[:, None]
        operator = spectra.Operator(lambda block: column * block, like=values)
        if method == "kpm":
            return kernel_polynomial(operator, num_probes=num_probes, num_moments=2 * num_steps, rng=rng)
        return spectra.slq(operator, num_probes=num_probes, num_steps=num_steps, rng=rng, check_symmetry=False)

    for name, values in spectra_of(N).items():
        asked = {k: v for k, v in questions(values).items() if k.startswith(quantities)}
        shift = 0.1 * float(np.std(values))
        pairs = any(quantity.endswith("two measures") for quantity in asked)
        found: dict[str, list[tuple[float, float, float]]] = {quantity: [] for quantity in asked}
        for seed in range(num_seeds):
            first = measure(values, seed)
            second = measure(values + shift, num_seeds + seed) if pairs else None
            for quantity, (ask, _) in asked.items():
                estimate = ask(first, second)
                found[quantity].append((estimate.value, estimate.low, estimate.high))
        for quantity, (_, truth) in asked.items():
            value, low, high = np.array(found[quantity], dtype=np.float64).T
            slack = 1e-9 * max(1.0, abs(float(truth)))
            yield {
                "spectrum": name,
                "quantity": quantity,
                "method": method,
                "num_probes": num_probes,
                "num_steps": num_steps,
                "num_seeds": num_seeds,
                "truth": float(truth),
                "coverage": float(np.mean((low <= truth + slack) & (truth <= high + slack))),
                "median_width": float(np.median(high - low)),
                "mean_error": float(np.mean(value - truth)),
                "rms_error": float(np.sqrt(np.mean((value - truth) ** 2))),
            }


def main() -> None:
    """Measure and write."""
    parser = arguments(__doc__)
    parser.add_argument("--plan", type=int, nargs="*", choices=range(4), help="parts of the plan; by default all")
    options = parser.parse_args()
    set_threads(1)
    seeds = 4 if options.quick else 200
    bulk, kolmogorov, every = ("count", "negative", "Wasserstein"), ("Kolmogorov",), ("",)
    plan = [("slq", 10, 30, bulk), ("slq", 5, 20, kolmogorov), ("slq", 5, 30, bulk), ("kpm", 10, 30, every)]
    rows: list[dict[str, Any]] = []
    chosen = range(1 if options.quick else len(plan)) if options.plan is None else options.plan
    for method, num_probes, num_steps, quantities in (plan[i] for i in chosen):
        rows += cells(method=method, num_probes=num_probes, num_steps=num_steps, num_seeds=seeds, quantities=quantities)
    write({"benchmark": "count_coverage", "dimension": N, "level": 0.95, "cells": rows}, options.output)


if __name__ == "__main__":
    main()
