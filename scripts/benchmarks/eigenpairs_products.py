"""Products that extremal eigenpairs cost: ours, ARPACK (``eigsh``) and ``lobpcg``; warm and cold starts.

Every solver stops at residuals of 1e-6 times the norm; what it reached is checked with the dense matrix and recorded.

Run: ``python scripts/benchmarks/eigenpairs_products.py --output products.json``
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh, lobpcg

from spectra import eigenpairs
from spectra.provenance import provenance
from spectra.testing import matrix_with_spectrum

TOLERANCE = 1e-6
SEEDS = 3
N = 1000


def laplacian(side: int = 32) -> np.ndarray:
    """Return the five-point Laplacian of a square."""
    line = 2.0 * np.eye(side) - np.eye(side, k=1) - np.eye(side, k=-1)
    return np.kron(line, np.eye(side)) + np.kron(np.eye(side), line)


def spiked(n: int = N) -> np.ndarray:
    """Return a sample covariance matrix plus ten spikes from 4 to 40."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 2 * n))
    q = np.linalg.qr(rng.standard_normal((n, 10)))[0]
    return x @ x.T / (2 * n) + (q * np.linspace(4.0, 40.0, 10)) @ q.T


CASES: dict[str, tuple[Callable[[], np.ndarray], str, int, int]] = {
    "inverse, largest 1": (lambda: matrix_with_spectrum(1.0 / np.arange(1.0, N + 1.0)), "largest", 1, 1),
    "inverse, largest 5": (lambda: matrix_with_spectrum(1.0 / np.arange(1.0, N + 1.0)), "largest", 5, 1),
    "Marchenko-Pastur and spikes, largest 10": (spiked, "largest", 10, 1),
    "Marchenko-Pastur and spikes, smallest 2": (spiked, "smallest", 2, 1),
    "Laplacian 32 x 32, smallest 1": (laplacian, "smallest", 1, 1),
    "Laplacian 32 x 32, smallest 5": (laplacian, "smallest", 5, 2),
    "tenfold largest": (
        lambda: matrix_with_spectrum(np.concatenate([np.linspace(0.0, 1.0, N - 10), np.full(10, 2.0)])),
        "largest",
        10,
        10,
    ),
    "clustered largest 10": (
        lambda: matrix_with_spectrum(np.concatenate([np.linspace(0.0, 0.9, N - 10), np.linspace(1.0, 1.001, 10)])),
        "largest",
        10,
        1,
    ),
}
"""Matrix, end, number of pairs, and the multiplicity to be seen."""


class Counter:
    """Counts the columns multiplied."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix, self.count = matrix, 0
        self.operator = LinearOperator(matrix.shape, matvec=self.matmat, matmat=self.matmat, dtype=np.float64)

    def matmat(self, block: np.ndarray) -> np.ndarray:
        """Multiply."""
        self.count += block.shape[1] if block.ndim == 2 else 1
        return self.matrix @ block


def judge(matrix: np.ndarray, spectrum: np.ndarray, values: np.ndarray, vectors: np.ndarray, end: str) -> dict:
    """Return the residual reached, and whether the wanted eigenvalues are the ones found."""
    norm = float(np.max(np.abs(spectrum)))
    residual = np.linalg.norm(matrix @ vectors - vectors * values, axis=0) / norm
    wanted = spectrum[::-1][: len(values)] if end == "largest" else spectrum[: len(values)]
    found = np.sort(values)[::-1] if end == "largest" else np.sort(values)
    return {"residual": float(residual.max()), "error": float(np.max(np.abs(found - wanted)) / norm)}


def ours(matrix: np.ndarray, end: str, num: int, **options: Any) -> tuple[int, np.ndarray, np.ndarray]:
    """Run this package."""
    pairs = eigenpairs(matrix, num=num, which=end, tolerance=TOLERANCE, max_steps=5000, **options)
    return int(pairs.attrs["num_matvecs"]), pairs["eigenvalue"].values, pairs["eigenvector"].values.T


def arpack(matrix: np.ndarray, end: str, num: int, seed: int, tol: float, ncv: int | None) -> tuple:
    """Run ARPACK."""
    counter = Counter(matrix)
    start = np.random.default_rng(seed).standard_normal(matrix.shape[0])
    try:
        values, vectors = eigsh(
            counter.operator, k=num, which="LA" if end == "largest" else "SA", tol=tol, v0=start, ncv=ncv, maxiter=5000
        )
    except ArpackError as error:
        values, vectors = getattr(error, "eigenvalues", np.zeros(0)), getattr(error, "eigenvectors", np.zeros((N, 0)))
    return counter.count, values, vectors


def block_conjugate_gradients(matrix: np.ndarray, end: str, num: int, seed: int, tol: float) -> tuple:
    """Run LOBPCG without a preconditioner."""
    counter = Counter(matrix)
    start = np.random.default_rng(seed).standard_normal((matrix.shape[0], num))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, vectors = lobpcg(counter.operator, start, largest=end == "largest", tol=tol, maxiter=2000)
    return counter.count, values, vectors


def cold_rows() -> list[dict[str, Any]]:
    """Compare the solvers."""
    rows = []
    for name, (build, end, num, multiplicity) in CASES.items():
        matrix = build()
        spectrum = np.linalg.eigvalsh(matrix)
        norm = float(np.max(np.abs(spectrum)))
        wanted = spectrum[::-1][:num] if end == "largest" else spectrum[:num]
        relative = TOLERANCE * norm / float(np.max(np.abs(wanted)))  # ARPACK's is relative to each eigenvalue
        vectors = max(2 * num + 1, 20)
        bounded = max(vectors, 2 * num + 2 * multiplicity) * matrix.shape[0] * 8
        solvers: dict[str, Callable[[int], tuple]] = {
            "spectra": lambda seed, a=matrix, e=end, k=num, b=multiplicity: ours(a, e, k, rng=seed, num_starts=b),
            "spectra, memory of eigsh": lambda seed, a=matrix, e=end, k=num, b=multiplicity, m=bounded: ours(
                a, e, k, rng=seed, num_starts=b, max_basis_bytes=m
            ),
            "spectra, verified": lambda seed, a=matrix, e=end, k=num: ours(a, e, k, rng=seed, verify_steps=2000),
            "eigsh": lambda seed, a=matrix, e=end, k=num, t=relative: arpack(a, e, k, seed, t, None),
            "eigsh, 100 vectors": lambda seed, a=matrix, e=end, k=num, t=relative: arpack(a, e, k, seed, t, 100),
            "lobpcg": lambda seed, a=matrix, e=end, k=num, t=TOLERANCE * norm: block_conjugate_gradients(
                a, e, k, seed, t
            ),
        }
        for solver, run in solvers.items():
            results = [run(seed) for seed in range(SEEDS)]
            judged = [judge(matrix, spectrum, values, vectors, end) for _, values, vectors in results if len(values)]
            row = {
                "case": name,
                "solver": solver,
                "num_matvecs": [count for count, _, _ in results],
                "found": [len(values) for _, values, _ in results],
                "residual": max((j["residual"] for j in judged), default=None),
                "error": max((j["error"] for j in judged), default=None),
            }
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def warm_rows() -> list[dict[str, Any]]:
    """Compare a cold start after a change of the matrix with one from the earlier eigenvectors."""
    n = 600
    index = np.arange(1.0, n + 1.0)
    spectra = {
        "inverse": 1.0 / index,
        "inverse square root": index**-0.5,
        "spiked": np.concatenate([np.linspace(0.0, 2.0, n - 10), np.linspace(4.0, 40.0, 10)]),
        "uniform": np.linspace(0.0, 1.0, n),
    }
    rows = []
    for name, values in spectra.items():
        matrix = matrix_with_spectrum(values)
        for change in (0.1, 0.01, 0.001):
            for kind in ("noise", "drift"):
                rng = np.random.default_rng(1)
                if kind == "noise":
                    noise = rng.standard_normal((n, n))
                    noise += noise.T
                    later = matrix + change * np.max(values) / np.linalg.norm(noise, 2) * noise
                else:
                    scaling = np.exp(change * rng.standard_normal(n))
                    later = scaling[:, None] * matrix * scaling
                for num in (1, 5):
                    for tolerance in (1e-6, 1e-3):
                        rows.append(_warm_row(matrix, later, num, tolerance, case=name, change=change, kind=kind))
                        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def _warm_row(matrix: np.ndarray, later: np.ndarray, num: int, tolerance: float, **names: Any) -> dict[str, Any]:
    counts: dict[str, list[int]] = {"cold": [], "warm": [], "block": []}
    top = np.linalg.eigvalsh(later)[::-1][:num]
    error = 0.0
    for seed in range(SEEDS):
        options: dict[str, Any] = {"num": num, "tolerance": tolerance, "max_steps": 2000}
        earlier = eigenpairs(matrix, **options, rng=seed)
        block = np.hstack(
            [earlier["eigenvector"].values.T, np.random.default_rng(seed).standard_normal((len(later), 1))]
        )
        for how, extra in {
            "cold": {"rng": seed + 100},
            "warm": {"rng": seed + 100, "start": earlier},
            "block": {"start": block},
        }.items():
            pairs = eigenpairs(later, **options, **extra)
            counts[how].append(int(pairs.attrs["num_matvecs"]))
            if how == "warm":
                error = max(error, float(np.max(np.abs(pairs["eigenvalue"].values - top)) / np.max(np.abs(top))))
    means = {how: float(np.mean(products)) for how, products in counts.items()}
    return {
        **names,
        "num": num,
        "tolerance": tolerance,
        **means,
        "ratio": means["warm"] / means["cold"],
        "error": error,
    }


def main() -> None:
    """Write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    output = parser.parse_args().output
    content = {"cold": cold_rows(), "warm": warm_rows(), "environment": provenance()}
    output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
