r"""Is the law by which the eigenvalues of a kernel fall found, and its exponent? On kernels where both are known.

Random kernels of every class, with random length scales, dimensions and samples: Matern and Laplace on cubes, circles
and Gaussian inputs, neural tangent and arc-cosine kernels on spheres, Gaussian designs with power laws and exponential
ones, Gaussian kernels, polynomial kernels and designs of known rank, and spikes over a nugget or over a bulk of noise.
Seeds differ from those on which thresholds were chosen. Reported: the table of true and found laws, errors of the
exponents, and how often their intervals cover, in float64, in float32, and from eigenvalues alone.

    python scripts/validate_eigendecay.py --quick         # 24 kernels, half a minute on one core
    python scripts/validate_eigendecay.py                 # all, about ten minutes; writes results/eigendecay.json
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from spectra.kernels.dot_product import ArcCosine, NeuralTangent, Polynomial
from spectra.kernels.eigendecay import eigendecay
from spectra.kernels.length_scale import median_distance
from spectra.kernels.stationary import RBF, Laplace, Matern
from spectra.report import finite_or_null

OUTPUT = Path(__file__).parent / "validation" / "results" / "eigendecay.json"
FAMILIES = (
    "matern",
    "circle",
    "laplace",
    "tangent",
    "arc-cosine",
    "power design",
    "exponential design",
    "gaussian",
    "polynomial",
    "low rank",
    "nugget",
    "bulk",
)
#: Kernels whose length scale the samples hardly resolve: a study of its own, for exponents there are not those of the
#: limit.
SHORT = ("short matern", "short gaussian")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A Gram matrix of which the law is known, and its exponent or rank."""

    name: str
    law: str
    number: float
    matrix: np.ndarray


def sphere(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Return uniform points on the unit sphere of R^d."""
    X = rng.standard_normal((n, d))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def case(family: str, rng: np.random.Generator, n: int, dtype: Any = np.float64) -> Case:
    """Draw a kernel of a family."""

    def of(name: str, law: str, number: float, kernel: Any, X: np.ndarray) -> Case:
        return Case(name=name, law=law, number=number, matrix=kernel(X.astype(dtype)))

    scale = float(rng.uniform(0.3, 1.5))
    if family == "matern":
        nu, d = float(rng.choice([0.5, 1.5, 2.5])), int(rng.integers(1, 4))
        return of(f"Matern {nu} on [0, 1]^{d}", "polynomial", 1 + 2 * nu / d, Matern(scale, nu=nu), rng.random((n, d)))
    if family == "circle":
        nu = float(rng.choice([0.5, 1.5]))
        return of(f"Matern {nu} on a circle", "polynomial", 1 + 2 * nu, Matern(scale, nu=nu), sphere(rng, n, 2))
    if family == "laplace":
        d = int(rng.integers(2, 17))
        X = rng.standard_normal((n, d))
        return of(f"Laplace, N(0, I_{d})", "polynomial", 1 + 1 / d, Laplace(scale * float(np.sqrt(2 * d))), X)
    if family == "tangent":
        d, depth = int(rng.integers(2, 7)), int(rng.integers(1, 4))
        kernel = NeuralTangent(num_hidden=depth, bias=1.0)
        return of(f"NTK-{depth} on S^{d - 1}", "polynomial", d / (d - 1), kernel, sphere(rng, n, d))
    if family == "arc-cosine":
        d = int(rng.integers(3, 5))
        kernel = ArcCosine(order=1, bias=1.0)
        return of(f"arc-cosine 1 on S^{d - 1}", "polynomial", (d + 2) / (d - 1), kernel, sphere(rng, n, d))
    if family in SHORT:
        d, share = int(rng.integers(1, 6)), float(10 ** rng.uniform(-1.2, 0.0))
        X = rng.standard_normal((n, d)) if rng.random() < 0.6 else rng.random((n, d))
        length, nu = share * median_distance(X), float(rng.choice([0.5, 1.5, 2.5]))
        if family == "short gaussian":
            return of(f"RBF {share:.2f} medians, d = {d}", "exponential", np.nan, RBF(length), X)
        return of(f"Matern {nu} {share:.2f} medians, d = {d}", "polynomial", 1 + 2 * nu / d, Matern(length, nu=nu), X)
    if family == "gaussian":
        d = int(rng.integers(1, 6))
        X = rng.standard_normal((n, d)) if rng.random() < 0.6 else 2 * rng.random((n, d))
        length = float(rng.uniform(0.3, 1.5) * np.sqrt(d))
        return of(f"RBF {length:.2f}, d = {d}", "exponential", np.nan, RBF(length), X)
    if family == "polynomial":
        d = int(rng.integers(2, 6))
        degree = max(q for q in range(1, int(rng.integers(2, 5)) + 1) if comb(d + q, q) < 0.5 * n)
        X = rng.standard_normal((n, d))
        return of(f"polynomial {degree}, d = {d}", "finite_rank", comb(d + degree, degree), Polynomial(degree), X)
    return design(family, rng, n, dtype)


def design(family: str, rng: np.random.Generator, n: int, dtype: Any) -> Case:
    """Draw a Gram matrix of Gaussian features."""
    if family == "power design":
        number, p = float(rng.uniform(1.2, 4)), 8 * n
        weight, law = np.arange(1, p + 1) ** (-number / 2), "polynomial"
    elif family == "exponential design":
        number = float(10 ** rng.uniform(-1.8, -0.3))
        weight, law = np.exp(-number * np.arange(int(40 / number)) / 2), "exponential"
    else:
        number = float(rng.integers(1, n // 4 if family == "low rank" else 40))
        weight = np.arange(1, number + 1) ** -float(rng.uniform(0, 0.8))
        law = "finite_rank" if family == "low rank" else "plateau"
    features = rng.standard_normal((n, weight.size)) * weight
    matrix = features @ features.T
    if family == "nugget":
        matrix += 10 ** rng.uniform(-6, -2) * np.eye(n)
    if family == "bulk":
        width = int(n * rng.uniform(2, 5))
        noise = rng.standard_normal((n, width))
        matrix += 10 ** rng.uniform(-2.5, -1) * noise @ noise.T / width
    return Case(name=f"{family} {number:.3g}", law=law, number=number, matrix=matrix.astype(dtype))


def found(one: Case, *, eigenvalues: bool = False) -> dict[str, Any]:
    """Return what is found of a case beside what is true."""
    result = eigendecay(np.linalg.eigvalsh(one.matrix).clip(0) if eigenvalues else one.matrix)
    return {
        "case": one.name,
        "true": one.law,
        "number": one.number,
        "found": result.law,
        "exponent": result.decay_exponent,
        "fitted_exponent": result.fitted_exponent,
        "low": result.low,
        "high": result.high,
        "rank": result.rank,
        "shape": result.shape,
        "is_trustworthy": result.is_trustworthy,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the confusion table, errors of exponents and coverage of a set of cases."""
    table = Counter(f"{row['true']} -> {row['found']}" for row in rows)
    known = [row for row in rows if row["true"] == row["found"] == "polynomial"]
    errors = np.array([abs(row["exponent"] / row["number"] - 1) for row in known])
    ranks = [row["rank"] == row["number"] for row in rows if row["true"] == row["found"] in ("finite_rank", "plateau")]
    covered = [row["low"] <= row["number"] <= row["high"] for row in known]
    return {
        "num_cases": len(rows),
        "table": dict(sorted(table.items())),
        "accuracy": float(np.mean([row["true"] == row["found"] for row in rows])),
        "exponent_error_median": float(np.median(errors)) if known else np.nan,
        "exponent_error_p90": float(np.quantile(errors, 0.9)) if known else np.nan,
        "exponent_error_max": float(np.max(errors)) if known else np.nan,
        "coverage": float(np.mean(covered)) if known else np.nan,
        "width_median": float(np.median([(r["high"] - r["low"]) / 2 / r["exponent"] for r in known])) if known else 0,
        "ranks_exact": float(np.mean(ranks)) if ranks else np.nan,
    }


def study(
    num: int,
    n: int,
    seed: int,
    *,
    dtype: Any = np.float64,
    eigenvalues: bool = False,
    families: tuple[str, ...] = FAMILIES,
) -> dict[str, Any]:
    """Return what is found of random kernels, families in turn."""
    rows = []
    for i in range(num):
        rng = np.random.default_rng([seed, i])
        rows.append(found(case(families[i % len(families)], rng, n, dtype), eigenvalues=eigenvalues))
    return {"n": n, "seed": seed, **summary(rows), "cases": rows}


def main() -> None:
    """Run the studies and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="24 kernels in float64 only")
    parser.add_argument("--first-seed", type=int, default=4000, help="seed of the first study")
    parser.add_argument("-o", "--output", type=Path, help=f"JSON file; by default {OUTPUT.name} unless --quick")
    options = parser.parse_args()
    output = options.output or (None if options.quick else OUTPUT)
    if output and not output.parent.is_dir():
        parser.error(f"there is no folder {output.parent}")
    seed = options.first_seed
    planned: dict[str, dict[str, Any]] = {"float64": {"num": 120, "n": 400, "seed": seed}}
    if options.quick:
        planned["float64"] |= {"num": 24, "n": 300}
    else:
        planned["float64, n = 200"] = {"num": 120, "n": 200, "seed": seed + 1}
        planned["float64, n = 80"] = {"num": 120, "n": 80, "seed": seed + 5}
        planned["float32"] = {"num": 96, "n": 400, "seed": seed + 2, "dtype": np.float32}
        planned["eigenvalues alone"] = {"num": 96, "n": 400, "seed": seed + 3, "eigenvalues": True}
        planned["float64, n = 1000"] = {"num": 48, "n": 1000, "seed": seed + 4}
        planned["short length scales"] = {"num": 120, "n": 400, "seed": seed + 6, "families": SHORT}
    results = {}
    for name, settings in planned.items():
        results[name] = study(**settings)
        brief = {key: value for key, value in results[name].items() if key != "cases"}
        print(f"{name}: {json.dumps(finite_or_null(brief))}", flush=True)
        if output:
            output.write_text(json.dumps(finite_or_null(results), indent=1) + "\n")


if __name__ == "__main__":
    main()
