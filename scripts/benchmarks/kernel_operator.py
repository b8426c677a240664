"""The cost of a product with a Gram matrix, for one column and for 32, and what symmetric tiles save.

For each kernel and dtype: seconds of ``kernel_operator(kernel, X) @ V`` with V of 1 and 32 columns, of the same with
whole rows ``kernel(X[rows], X) @ V`` (512 rows, so a block of n x 512 numbers; evaluates every entry twice), and of
BLAS alone, which is what columns cost however the kernel is evaluated. Repeats are interleaved; times are minima.
``ratio`` is 32 columns over one. It rises as evaluations become cheaper: read it with the seconds.

    python scripts/benchmarks/kernel_operator.py --threads 2 --output kernel_operator.json
    python scripts/benchmarks/kernel_operator.py --n 6000 --blocks 384 768 1024 2048
"""

import time
from collections.abc import Callable
from typing import Any

from environment import arguments, set_threads, write

#: Points per block of whole rows.
ROWS = 512


def fastest(calls: dict[str, Callable[[], Any]], *, repeats: int) -> dict[str, dict[str, float]]:
    """Return the least wall and processor time of each call, called in turn."""
    best = {name: {"wall": float("inf"), "processor": float("inf")} for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            wall, processor = time.perf_counter(), time.process_time()
            call()
            found = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
            best[name] = {clock: min(best[name][clock], found[clock]) for clock in found}
    return best


def measure(kernel: Any, *, n: int, d: int, dtype: str, blocks: list[int | None], repeats: int) -> dict[str, Any]:
    """Time one kernel."""
    import numpy as np

    from spectra.kernels.operator import kernel_operator

    generator = np.random.default_rng(0)
    X = generator.standard_normal((n, d)).astype(dtype)
    columns = {k: generator.standard_normal((n, k)).astype(dtype) for k in (1, 32)}
    tile = kernel(X[:ROWS], X[:ROWS].copy())

    def whole_rows(V: Any) -> Any:
        return np.concatenate([kernel(X[i : i + ROWS], X) @ V for i in range(0, n, ROWS)])

    def blas_only(V: Any) -> None:
        for i in range(0, n, ROWS):
            for _ in range(0, n, ROWS):
                tile[:, : min(ROWS, n - i)] @ V[i : i + ROWS]

    calls: dict[str, Callable[[], Any]] = {}
    for k, V in columns.items():
        for block in blocks:
            operator = kernel_operator(kernel, X, block=block)
            name = f"tiles of {operator.facts['kernel_block']}"
            calls[f"{name}, {k}"] = lambda operator=operator, V=V: operator @ V
        calls[f"whole rows, {k}"] = lambda V=V: whole_rows(V)
        calls[f"BLAS alone, {k}"] = lambda V=V: blas_only(V)
    times = fastest(calls, repeats=repeats)
    ways = [name.rpartition(",")[0] for name in calls if name.endswith(", 1")]
    return {
        "kernel": repr(kernel),
        "dtype": dtype,
        "n": n,
        "d": d,
        "ways": {
            way: {
                clock: {
                    "one": times[f"{way}, 1"][clock],
                    "32": times[f"{way}, 32"][clock],
                    "ratio": times[f"{way}, 32"][clock] / times[f"{way}, 1"][clock],
                }
                for clock in ("wall", "processor")
            }
            for way in ways
        },
    }


def main() -> None:
    """Measure and write."""
    parser = arguments(__doc__)
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--blocks", type=int, nargs="+", help="sides of tiles; by default that of the operator")
    parser.add_argument("--kernels", nargs="+", default=["RBF", "Laplace", "Matern", "NeuralTangent"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    options = parser.parse_args()
    set_threads(options.threads)
    from spectra.kernels.dot_product import NeuralTangent
    from spectra.kernels.stationary import RBF, Laplace, Matern

    kernels = {"RBF": RBF(3.0), "Laplace": Laplace(3.0), "Matern": Matern(3.0), "NeuralTangent": NeuralTangent()}
    cells = [
        measure(
            kernels[name],
            n=1000 if options.quick else options.n,
            d=options.features,
            dtype=dtype,
            blocks=options.blocks or [None],
            repeats=options.repeats,
        )
        for dtype in options.dtypes
        for name in options.kernels
    ]
    write({"benchmark": "kernel_operator", "cells": cells}, options.output)


if __name__ == "__main__":
    main()
