"""How much memory does the quadrature need at most? Peak traced allocation over p m n itemsize.

The operator is a diagonal matrix, whose product allocates one block (n, p): that block counts as part of the operator
and is reported beside the peak. What exceeds the basis is given in blocks of p n numbers, for that is what vectors of
the iteration take: with m = 30 steps three blocks are 10 %. Without a stored basis only such blocks remain.

    python scripts/benchmarks/memory.py --output memory.json
"""

import tracemalloc
from collections.abc import Callable
from typing import Any

from environment import arguments, set_threads, write


def peak(call: Callable[[], Any]) -> int:
    """Return the largest number of bytes traced at once during a call, beyond those before it."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def measure(*, n: int, num_probes: int, num_steps: int, dtype: str) -> dict[str, Any]:
    """Measure slq, and Lanczos without a stored basis."""
    import numpy as np

    import spectra

    diagonal = np.linspace(0.0, 1.0, n).astype(dtype)[:, None]
    operator = spectra.Operator(lambda block: diagonal * block, like=np.zeros(n, dtype=dtype))
    start = spectra.start_vectors(operator.like, num=num_probes)
    spectra.slq(operator, num_probes=1, num_steps=1)  # imports
    block = num_probes * n * np.dtype(dtype).itemsize
    basis = block * num_steps
    rows = {}
    for name, call, theory in (
        ("slq", lambda: spectra.slq(operator, num_probes=num_probes, num_steps=num_steps), basis),
        ("lanczos", lambda: spectra.lanczos(operator, start, num_steps=num_steps), basis),
        (
            "lanczos without stored basis",
            lambda: spectra.lanczos(operator, start, num_steps=num_steps, reorthogonalize=False),
            0,
        ),
    ):
        bytes_at_most = peak(call)
        rows[name] = {
            "peak_bytes": bytes_at_most,
            "theory_bytes": theory,
            "ratio": bytes_at_most / theory if theory else None,
            "blocks_beyond_theory": (bytes_at_most - theory) / block,
            "of_these_the_operator_makes": 1,
        }
    return {"n": n, "num_probes": num_probes, "num_steps": num_steps, "dtype": dtype, "peaks": rows}


def main() -> None:
    """Measure and write."""
    options = arguments(__doc__).parse_args()
    set_threads(1)
    n = 2_000 if options.quick else 200_000
    cells = [
        measure(n=n, num_probes=num_probes, num_steps=num_steps, dtype=dtype)
        for num_probes, num_steps, dtype in ((10, 30, "float64"), (10, 30, "float32"), (1, 100, "float64"))
    ]
    write({"benchmark": "memory", "cells": cells}, options.output)


if __name__ == "__main__":
    main()
