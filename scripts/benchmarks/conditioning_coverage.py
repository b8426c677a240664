"""Count how often the intervals of spectra.condition_number hold, and what they cost.

Counts, over many seeds, how often the interval contains the true condition number, how often it is two-sided, how wide
it is, and how many products it took; for definite, indefinite, singular and rectangular matrices with known spectra.
Products are with diagonal matrices: start vectors are uniform on the sphere, so that the eigenvectors do not matter.
Also: products against the number of start vectors, numpy.linalg.cond as an oracle on dense matrices, and, where pyamg
is installed, its estimate from as many products.

    python scripts/benchmarks/conditioning_coverage.py --output conditioning_coverage.json
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import spectra
from spectra.conditioning import ConditionNumber, condition_number
from spectra.pseudo_conditioning import pseudo_condition_number
from spectra.rectangular import RectangularOperator


def laplacian(n: int) -> np.ndarray:
    """Return the eigenvalues of the five-point Laplacian on a square grid of about n points."""
    k = round(np.sqrt(n))
    values = 2.0 - 2.0 * np.cos(np.pi * np.arange(1, k + 1) / (k + 1))
    return (values[:, None] + values[None, :]).ravel()


def wishart(n: int) -> np.ndarray:
    """Return the eigenvalues of a sample covariance matrix, n variables and 2 n samples."""
    return np.linalg.svd(np.random.default_rng(0).standard_normal((n, 2 * n)), compute_uv=False) ** 2 / (2 * n)


POSITIVE: dict[str, Callable[[int], np.ndarray]] = {
    "power law 1/i": lambda n: 1.0 / np.arange(1.0, n + 1.0),
    "Wishart, aspect 1/2": wishart,
    "Laplacian 2-D": laplacian,
    "geometric to 1e-3": lambda n: np.geomspace(1e-3, 1.0, n),
    "exponential decay + 1e-3": lambda n: np.exp(-np.arange(n) / 10.0) + 1e-3,
    "two clusters": lambda n: np.where(np.arange(n) < n // 2, 1.0, 100.0) * (1.0 + 1e-3 * np.arange(n) / n),
    "one eigenvalue below the bulk": lambda n: np.append(0.1, np.linspace(1.0, 2.0, n - 1)),
}
INDEFINITE: dict[str, Callable[[int], np.ndarray]] = {
    "few negative": lambda n: np.append(-np.geomspace(0.02, 0.5, 8), np.linspace(0.05, 1.0, n - 8)),
    "balanced": lambda n: np.append(np.linspace(-1.0, -0.1, n // 2), np.linspace(0.1, 1.0, n - n // 2)),
}
SINGULAR: dict[str, Callable[[int], np.ndarray]] = {
    "3/4 zeros": lambda n: np.append(np.zeros(3 * n // 4), np.linspace(0.02, 1.0, n - 3 * n // 4)),
    "indefinite, half zeros": lambda n: np.concatenate(
        [np.zeros(n // 2), np.linspace(-0.5, -0.1, n // 4), np.linspace(0.1, 1.0, n - n // 2 - n // 4)]
    ),
}


def diagonal(values: np.ndarray) -> spectra.Operator:
    """Return a diagonal operator in the dtype of its values."""
    return spectra.Operator(lambda block: values[:, None] * block, like=np.zeros_like(values))


def rectangular(values: np.ndarray) -> RectangularOperator:
    """Return a matrix of twice as many rows as columns with these singular values."""
    n = len(values)

    def matmat(block: np.ndarray) -> np.ndarray:
        return np.concatenate([values[:, None] * block, np.zeros_like(block)])

    return RectangularOperator(matmat, lambda block: values[:, None] * block[:n], shape=(2 * n, n), like=values)


def summary(results: list[ConditionNumber], truth: float) -> dict[str, float]:
    """Return coverage, share of two-sided intervals, median width and cost."""
    low, high = np.array([r.low for r in results]), np.array([r.high for r in results])
    settled = np.array([r.status in {"certified", "exact"} for r in results])
    width = float(np.median((high / low)[settled])) if np.any(settled) else None
    return {
        "condition_number": truth,
        "coverage": float(np.mean((low <= truth) & (truth <= high))),
        "low_holds": float(np.mean(low <= truth)),
        "settled": float(np.mean(settled)),
        "median_high_over_low": width,
        "median_value_over_truth": float(np.median([r.value for r in results]) / truth),
        "mean_matvecs": float(np.mean([r.num_matvecs for r in results])),
    }


def coverage(seeds: int, sizes: list[int], max_steps: int) -> list[dict]:
    """Return a row for each kind of matrix, spectrum, size and dtype."""
    rows = []
    for n in sizes:
        for dtype in (np.float64, np.float32):
            for kind, table in (
                ("definite", POSITIVE),
                ("indefinite", INDEFINITE),
                ("rectangular", {name: POSITIVE[name] for name in ("Wishart, aspect 1/2", "two clusters")}),
                ("pseudo", SINGULAR),
            ):
                for name, law in table.items():
                    values = law(n).astype(dtype)
                    modulus = np.abs(values.astype(np.float64))
                    kept = modulus[modulus > (1e-4 * np.max(modulus) if kind == "pseudo" else 0.0)]
                    truth = float(np.max(kept) / np.min(kept))
                    operator = rectangular(values) if kind == "rectangular" else diagonal(values)
                    measure = pseudo_condition_number if kind == "pseudo" else condition_number
                    began = time.perf_counter()
                    results = [measure(operator, rng=seed, max_steps=max_steps) for seed in range(seeds)]
                    row = {"kind": kind, "spectrum": name, "n": len(values), "dtype": np.dtype(dtype).name}
                    row |= summary(results, truth)
                    row["seconds_per_run"] = (time.perf_counter() - began) / seeds
                    if kind == "pseudo":
                        nullity = len(values) - len(kept)
                        inside = [r.nullity.low <= nullity <= r.nullity.high for r in results if r.nullity]
                        row |= {"nullity": nullity, "nullity_coverage": float(np.mean(inside))}
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    return rows


def start_vectors_against_products(n: int) -> list[dict]:
    """Return the products to an interval of 10%, for 1, 2, 3 and 10 start vectors."""
    rows = []
    for name, law in POSITIVE.items():
        operator = diagonal(law(n))
        row: dict = {"spectrum": name, "n": n}
        for num_starts in (1, 2, 3, 10):
            runs = [condition_number(operator, num_starts=num_starts, max_steps=400, rng=seed) for seed in range(5)]
            row[str(num_starts)] = float(np.mean([r.num_matvecs for r in runs]))
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def oracle(n: int) -> list[dict]:
    """Compare with numpy.linalg.cond, and with pyamg where it is installed, on dense matrices."""
    try:
        from pyamg.util.linalg import condest
    except ImportError:
        condest = None
    rows = []
    for name, law in (POSITIVE | INDEFINITE).items():
        matrix = spectra.testing.matrix_with_spectrum(law(n))
        result = condition_number(matrix, max_steps=n)
        row = {
            "spectrum": name,
            "n": matrix.shape[0],
            "numpy": float(np.linalg.cond(matrix)),
            "low": result.low,
            "value": result.value,
            "high": result.high,
            "num_steps": result.num_steps,
            "pyamg": None if condest is None else float(condest(matrix, maxiter=result.num_steps, symmetric=True)),
            "pyamg_default": None if condest is None else float(condest(matrix, symmetric=True)),
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    """Run everything and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--max-steps", type=int, default=300)
    options = parser.parse_args()
    content = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "spectra": spectra.__version__,
        "seeds": options.seeds,
        "coverage": coverage(options.seeds, options.sizes, options.max_steps),
        "products_by_num_starts": start_vectors_against_products(2000),
        "oracle": oracle(300),
    }
    if options.output is not None:
        options.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
