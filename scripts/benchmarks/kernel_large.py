"""Law and effective dimension of a kernel on 20 000 samples: seconds, CPU seconds, peak memory, and what they went to.

Each kernel runs in a process of its own, so that the peak of its memory is its own. The law is that of 1500 random rows
and of random halves of them; the effective dimensions at three ridges are those of all samples. Accuracy is not
measured here: see the tests against all eigenvalues.

    python scripts/benchmarks/kernel_large.py --output kernel_large.json
"""

import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

from environment import arguments, set_threads, write

THREADS = 2
RIDGES_PER_SAMPLE = (1e-4, 1e-3, 1e-2)


def measure(name: str, *, n: int, dimension: int) -> dict[str, Any]:
    """Run one kernel in this process."""
    import numpy as np

    from spectra.kernels import RBF, Laplace, eigendecay, kernel_dimension

    X = np.random.default_rng(0).standard_normal((n, dimension)).astype(np.float32)
    scale = float(np.sqrt(2.0 * dimension))
    kernel = {"Laplace": Laplace, "RBF": RBF}[name](scale)
    before = resource.getrusage(resource.RUSAGE_SELF)
    imported = before.ru_maxrss
    begin = time.perf_counter()
    decay = eigendecay(X, kernel=kernel)
    law_seconds = time.perf_counter() - begin
    table = kernel_dimension(kernel, X, n * np.array(RIDGES_PER_SAMPLE))
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF)
    cost = ("method", "num_columns", "num_products", "num_blocks", "dtype")
    return {
        "kernel": repr(kernel),
        "n": n,
        "dimension": dimension,
        "ridge_per_sample": list(RIDGES_PER_SAMPLE),
        "wall_seconds": seconds,
        "wall_seconds_of_the_law": law_seconds,
        "law": str(decay),
        "load_average": os.getloadavg()[0],
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_gib": after.ru_maxrss / 2**20,
        "gib_after_imports": imported / 2**20,
        **{key: table.attrs[key] for key in cost},
        **{key: table[key].values.tolist() for key in ("df1", "df1_stderr", "df1_low", "df1_high")},
        **{key: table[key].values.tolist() for key in ("overfitting_coefficient", "effective_ridge")},
        "is_trustworthy": table["is_trustworthy"].values.tolist(),
    }


def main() -> None:
    """Run each kernel in a process of its own and write JSON."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", choices=("Laplace", "RBF"), help="run one kernel in this process and print it")
    parser.add_argument("--num-samples", type=int, default=20_000)
    options = parser.parse_args()
    set_threads(THREADS)
    n = 5_000 if options.quick else options.num_samples
    if options.only is not None:
        print(json.dumps(measure(options.only, n=n, dimension=10)))
        return
    cells = []
    for name in ("Laplace", "RBF"):
        command = [sys.executable, __file__, "--only", name, "--num-samples", str(n)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        cells.append(json.loads(done.stdout))
    write({"benchmark": "kernel_large", "cells": cells}, options.output)


if __name__ == "__main__":
    main()
