r"""Is the verdict on overfitting right, and the amplification of noise beside it? On kernels where the truth is known.

Thresholds were chosen on other seeds, and without the Matérn kernel of order 9/2. Five studies:

designs       verdicts on Gaussian features with known eigenvalues, and the standard errors of the slopes
points        verdicts on kernels between points of a cube, normal points, clusters, and rows of three real data sets;
              beside them those of the same rule on the amplification that eigenvalues alone tell, which it replaced
noise         the amplification, told by leaving one out, against fits of all samples but one to labels that are noise
features      bounds for independent features against their extreme eigenvalues, and growth of condition numbers
separation    smallest eigenvalues of Matérn kernels against the separation of the points, and growth

The truth is that of the limit of many samples: power laws are tempered, exponential decay is catastrophic, spectra that
flatten are benign. A verdict is wrong if it calls a power law catastrophic, or exponential decay tempered or benign.

    python scripts/validate_overfitting_regime.py --quick      # n = 200, few draws, some seconds on two cores
    python scripts/validate_overfitting_regime.py              # all, minutes; writes results/overfitting_regime.json
"""

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.benchmarks.environment import environment, set_threads

if __name__ == "__main__":
    set_threads(1)

import numpy as np
from scipy.spatial.distance import pdist
from sklearn import datasets

from spectra.kernels.base import Kernel
from spectra.kernels.conditioning import kernel_condition
from spectra.kernels.dot_product import ArcCosine, NeuralTangent, Polynomial
from spectra.kernels.eigenlearning import eigenlearning
from spectra.kernels.gram import gram_spectrum
from spectra.kernels.independent_features import independent_features
from spectra.kernels.length_scale import median_distance
from spectra.kernels.local_exponent import SizeLevel, exponent_trend
from spectra.kernels.noise_amplification import noise_amplification
from spectra.kernels.overfitting_regime import OverfittingRegime, overfitting_regime
from spectra.kernels.regime_rule import regime_verdict
from spectra.kernels.stationary import RBF, Laplace, Matern
from spectra.report import finite_or_null

OUTPUT = Path(__file__).parent / "validation" / "results" / "overfitting_regime.json"
Row = dict[str, Any]
#: With exponents, decay lengths that n samples span, and numbers of spikes.
DESIGNS = (
    *product(("power",), (1.1, 1.2, 1.5, 2.0, 3.0, 4.0)),
    *product(("exponential",), (0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)),
    *(("1/(i log^2)", 0), ("spikes", 5), ("spikes", 20)),
)
STATIONARY: dict[str, Callable[[float], Kernel]] = {
    "Laplace": Laplace,
    "Matérn 3/2": lambda scale: Matern(scale, nu=1.5),
    "Matérn 5/2": lambda scale: Matern(scale, nu=2.5),
    "Matérn 9/2": lambda scale: Matern(scale, nu=4.5),
    "RBF": RBF,
}
DOT_PRODUCT: dict[str, Kernel] = {
    "NTK-1": NeuralTangent(1),
    "NTK-1, bias": NeuralTangent(1, bias=1.0),
    "NTK-3": NeuralTangent(3),
    "arc-cosine 1, bias": ArcCosine(1, bias=1.0),
    "polynomial 2": Polynomial(2),
    "polynomial 3": Polynomial(3),
}
#: In the limit of many samples.
TRUTH = {"power": "tempered", "exponential": "catastrophic", "1/(i log^2)": "benign", "spikes": "benign"}
WRONG = {("tempered", "catastrophic"), ("catastrophic", "tempered"), ("catastrophic", "benign")}
IDENTITY = ("kernel", "number", "share", "family", "dimension", "n", "truth")
#: Labels that are noise, for each fit to it.
LABELS = 64


def spectrum(name: str, number: float, n: int) -> tuple[np.ndarray, float]:
    """Return eigenvalues of an integral operator, and the sum of those that are left out."""
    last = 12 * n
    index = np.arange(1, last + 1.0)
    if name == "power":
        return index**-number, (last + 0.5) ** (1 - number) / (number - 1)
    if name == "exponential":
        rate = number / n
        index = np.arange(1, int(min(45 / rate, 20 * n)) + 1.0)
        return np.exp(-rate * index), math.exp(-rate * (index[-1] + 1)) / -math.expm1(-rate)
    if name == "spikes":
        return 1 / index[: int(number)], 2.0
    return 1 / (index * np.log(index + 1) ** 2), 1 / math.log(last + 1)


def features(values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n samples of independent Gaussian features."""
    return rng.standard_normal((n, values.size)) * np.sqrt(values)


def points(family: str, d: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return points in rows; of real data random rows, in units of the standard deviations, or pixels."""
    if family == "cube":
        return rng.random((n, d))
    if family == "normal":
        return rng.standard_normal((n, d))
    if family == "sphere":
        X = rng.standard_normal((n, d))
    elif family == "clusters":
        X = 3 * rng.standard_normal((8, d))[rng.integers(8, size=n)]
        return X + rng.uniform(0.3, 1.0, size=(n, 1)) * rng.standard_normal((n, d))
    else:
        X = getattr(datasets, f"load_{family.removesuffix(' directions')}")().data
        X = X / 16 if "digits" in family else (X - X.mean(0)) / X.std(0)
        X = X[rng.permutation(len(X))[:n]]
    directions = family == "sphere" or "directions" in family
    return X / np.linalg.norm(X, axis=1, keepdims=True) if directions else X


def design(case: tuple[str, float, int, list[int]]) -> Row:
    """Return the verdict on Gaussian features, with the tail of eigenvalues on the diagonal."""
    name, number, n, seed = case
    rng = np.random.default_rng(seed)
    values, tail = spectrum(name, number, n)
    Z = features(values, n, rng)
    found = overfitting_regime(Z @ Z.T + tail * np.eye(n), rng=int(rng.integers(2**31)))
    return {"kernel": name, "number": number, "n": n, "truth": TRUTH[name], **brief(found)}


def brief(found: OverfittingRegime) -> Row:
    """Return the numbers of a verdict."""
    return {
        "verdict": found.verdict,
        "slope": rounded(found.slope),
        "stderr": rounded(found.slope_stderr),
        "exponent": rounded(found.local_exponent),
        "amplification": rounded(found.amplification.mean),
    }


def point_kernel(case: tuple[str, float, str, int, int, list[int]]) -> Row:
    """Return the verdict on a kernel between points, and that of the statistic it replaced."""
    name, share, family, d, n, seed = case
    rng = np.random.default_rng(seed)
    X = points(family, d, n, rng)
    K = (STATIONARY[name](share * median_distance(X)) if name in STATIONARY else DOT_PRODUCT[name])(X)
    found = overfitting_regime(K, rng=int(rng.integers(2**31)))
    truth = "finite rank" if name.startswith("polynomial") else "catastrophic" if name == "RBF" else "tempered"
    row = {"kernel": name, "share": share, "family": family, "dimension": X.shape[1], "n": n, "truth": truth}
    return {**row, **brief(found), "replaced": replaced(K, rng)}


def replaced(K: np.ndarray, rng: np.random.Generator) -> str:
    """Return the verdict of the same rule on the amplification of eigenvalues alone, at n, n/2 and n/4 samples."""
    levels = []
    for size, draws in ((len(K), 1), (len(K) // 2, 4), (len(K) // 4, 4)):
        logs = []
        for _ in range(draws):
            rows = rng.permutation(len(K))[:size]
            w = np.linalg.eigvalsh(K[np.ix_(rows, rows)])
            floor = size * np.finfo(float).eps * w[-1]
            inverse = 1 / (np.maximum(w, 0) + floor)
            coefficient = size * np.sum(inverse**2) / np.sum(inverse) ** 2
            logs.append(math.log(coefficient) if w[0] > 10 * floor else math.nan)
        levels.append(SizeLevel(size=size, logs=np.array(logs)))
    return regime_verdict(exponent_trend(levels, len(K))).regime


def noise(case: tuple[str, str, int, int, int, list[int]]) -> Row:
    """Return amplifications of noise, by leaving one out and of fits to noise, over draws of the points."""
    name, family, d, n, draws, seed = case
    told, fitted, typical = [], [], []
    for rng in (np.random.default_rng([*seed, draw]) for draw in range(draws)):
        X = points(family, d, n + 400, rng)
        kernel = STATIONARY[name](median_distance(X)) if name in STATIONARY else DOT_PRODUCT[name]
        K, across = kernel(X[:n]), kernel(X[n:], X[: n - 1])
        found = noise_amplification(K)
        # All but one sample, which is what leaving one out is about, with the ridge of rounding that it was told for.
        part = gram_spectrum(K[:-1, :-1], vectors=True)
        assert part.eigenvector is not None
        labels = part.eigenvector.T @ rng.standard_normal((n - 1, LABELS))
        weights = part.eigenvector @ (labels / (part.eigenvalue + found.effective_ridge)[:, None])
        squares = np.mean((across @ weights) ** 2, axis=1)
        told.append(found)
        fitted.append(1 + float(np.mean(squares)))
        typical.append(1 + float(np.median(squares)))
    means = [found.mean for found in told]
    gap = np.subtract(means, fitted)
    return {
        "kernel": name,
        "family": family,
        "dimension": X.shape[1],
        "n": n,
        "draws": draws,
        "leave_one_out": rounded(np.mean(means)),
        "leave_one_out_stderr": stderr(means),
        "fits": rounded(np.mean(fitted)),
        "fits_stderr": stderr(fitted),
        "z": rounded(np.mean(gap) / stderr(gap)),
        "leave_one_out_median": rounded(np.mean([found.median for found in told])),
        "fits_median": rounded(np.mean(typical)),
        "gaussian": [rounded(v) for v in np.quantile([found.gaussian for found in told], (0, 0.5, 1))],
    }


def bounds(case: tuple[str, float, int, int, list[int]]) -> Row:
    """Return how often bounds for independent features fail, how generous they are, and how w_i / n is biased."""
    name, number, n, draws, seed = case
    values = np.arange(1, 12 * n + 1.0) ** -number if name == "power" else np.exp(-number * np.arange(1, 1201.0))
    found = independent_features(values, num_samples=n)
    drawn = []
    for draw in range(draws):
        Z = features(values, n, np.random.default_rng([*seed, draw]))
        drawn.append(np.linalg.svd(Z, compute_uv=False) ** 2)
    w = np.array(drawn)
    at = np.array([share for share in (0.02, 0.05, 0.1, 0.2, 0.5) if share * n >= 2])
    picked = (at * n).astype(int) - 1
    bias = np.exp(np.mean(np.log(w[:, picked] / n), axis=0)) / values[picked]
    return {
        "kernel": name,
        "number": number,
        "n": n,
        "draws": draws,
        "largest_above": int(np.sum(w[:, 0] > found.largest)),
        "smallest_below": int(np.sum(w[:, -1] < found.smallest)),
        "condition_number": rounded(np.median(w[:, 0] / w[:, -1])),
        "bound_over_it": rounded(found.condition_number() / np.median(w[:, 0] / w[:, -1])),
        "mean_log_condition": float(np.mean(np.log(w[:, 0] / w[:, -1]))),
        "eigenvalue_ratio": {f"{share:g} n": rounded(ratio) for share, ratio in zip(at, bias, strict=True)},
    }


def separation(case: tuple[float, int, tuple[int, ...], int, list[int]]) -> Row:
    """Return how smallest eigenvalues follow the separation of points, and condition numbers their number."""
    nu, d, sizes, draws, seed = case
    kernel, found, gaps = Matern(1.0, nu=nu), [], []
    for draw, n in product(range(draws), sizes):
        X = np.linspace(0, 1, n)[:, None] if d == 0 else np.random.default_rng([*seed, draw, n]).random((n, d))
        found.append(kernel_condition(kernel(X)))
        gaps.append(float(np.min(pdist(X))))
    smallest = np.array([one.smallest for one in found])
    # Rounding would flatten the slopes: matrices near it do not count, nor sizes at which every fourth comes near it.
    clear = np.array([one.smallest > 10 * one.ridge_floor for one in found])
    kept = np.mean(clear.reshape(draws, -1), axis=0) > 0.75
    logs = np.log([one.condition_number for one in found]).reshape(draws, -1)[:, kept]
    again = np.random.default_rng([*seed, 99]).integers(draws, size=(200, draws))
    slopes = [np.polyfit(np.log(sizes)[kept], np.median(logs[rows], axis=0), 1)[0] for rows in (range(draws), *again)]
    largest = [one.feature_dependence for one in found[len(sizes) - 1 :: len(sizes)] if one.feature_dependence]
    return {
        "nu": nu,
        "points": f"cube, d = {d}" if d else "equispaced, d = 1",
        "draws": draws,
        "sizes": np.array(sizes)[kept].tolist(),
        "smallest_in_separation": rounded(np.polyfit(np.log(gaps)[clear], np.log(smallest[clear]), 1)[0]),
        "median_condition_in_n": rounded(slopes[0]),
        "median_condition_in_n_stderr": rounded(np.std(slopes[1:])),
        "independent": rounded(1 + 2 * nu / max(d, 1)),
        "feature_dependence": rounded(np.median(largest)) if largest else math.nan,
    }


def stderr(values: Any) -> float:
    """Return the standard error of a mean, to four digits."""
    return rounded(np.std(values, ddof=1) / math.sqrt(len(values)))


def rounded(value: Any) -> float:
    """Return a number to four digits."""
    return float(f"{value:.4g}")


def plan(quick: bool, seed: int) -> dict[str, tuple[Callable[..., Row], list[Any]]]:
    """Return the function and the cases of each study."""
    scales, real = (0.3, 1.0, 3.0), ("digits", "diabetes", "breast_cancer")
    clouds: list[Any] = list(product(STATIONARY, scales, ("cube", "normal", "clusters"), (1, 2, 3, 4, 8, 16)))
    clouds += product(STATIONARY, scales, real, (0,))
    networks = [name for name in DOT_PRODUCT if "polynomial" not in name]
    clouds += product(networks, (1.0,), ("sphere",), (3, 4, 6, 11))
    clouds += product(networks, (1.0,), [f"{family} directions" for family in real], (0,))
    clouds += product(("polynomial 2", "polynomial 3"), (1.0,), ("normal",), (3, 4))
    large = [one for one in clouds if one[1] == 1 and not one[2].startswith(real[1:]) and one[3] in (0, 2, 4, 11)]
    noisy = list(product(("Laplace", "Matérn 3/2", "RBF"), ("cube",), (1, 2, 3, 8)))
    noisy += [(name, *on) for name, on in product(("Laplace", "RBF"), (("clusters", 4), ("digits", 0)))]
    noisy += [("NTK-3", "sphere", 4), ("NTK-3", "digits directions", 0)]
    if quick:
        clouds, noisy = clouds[::6], noisy[::2]
    amounts = {200: 1} if quick else {100: 20, 200: 20, 400: 10, 1000: 2}
    drawn = {200: (clouds, 1)} if quick else {200: (clouds, 2), 400: (clouds, 2), 1000: (large, 1)}
    tested = {100: 4} if quick else {100: 12, 400: 12}
    bounded = {10: 20, 30: 20, 60: 20} if quick else {10: 100, 30: 100, 100: 100, 200: 20}
    sizes, repeats = ((20, 40, 80), 3) if quick else ((40, 80, 160, 320), 16)
    spread: list[Any] = [(nu, 0, (10, 20, 40, 80), 1) for nu in (0.5, 1.5, 2.5)]
    spread += [(nu, d, sizes, repeats) for nu, d in product((0.5, 1.5), (1, 2, 3)) if nu < 1 or d > 1]
    laws = (*product(("power",), (1.5, 2.0, 3.0)), *product(("exponential",), (0.05, 0.1, 0.3)))
    studies: dict[str, tuple[Callable[..., Row], list[Any]]] = {
        "designs": (design, [(*one, n) for n, many in amounts.items() for one in DESIGNS for _ in range(many)]),
        "points": (point_kernel, [(*one, n) for n, (own, many) in drawn.items() for one in own for _ in range(many)]),
        "noise": (noise, [(*one, n, draws) for n, draws in tested.items() for one in noisy]),
        "features": (bounds, [(*law, n, draws) for n, draws in bounded.items() for law in laws]),
        "separation": (separation, spread),
    }
    return {
        name: (function, [(*case, [seed, study, i]) for i, case in enumerate(cases)])
        for study, (name, (function, cases)) in enumerate(studies.items())
    }


def counted(rows: list[Row], *keys: str, verdict: str = "verdict") -> dict[str, dict[str, int]]:
    """Return how often each verdict was given in each group."""
    table: dict[str, Counter[str]] = {}
    for row in rows:
        table.setdefault(", ".join(str(row[key]) for key in keys), Counter())[row[verdict]] += 1
    return {group: dict(sorted(found.items())) for group, found in table.items()}


def cells(rows: list[Row]) -> list[Row]:
    """Return the means over draws of each kind of kernel or design and size."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple((key, row[key]) for key in row if key in IDENTITY), []).append(row)
    found = []
    for identity, own in groups.items():
        numbers = {key: np.array([row[key] for row in own]) for key in ("slope", "stderr", "exponent", "amplification")}
        cell = {**dict(identity), "verdicts": dict(Counter(row["verdict"] for row in own))}
        cell |= {key: rounded(np.mean(values)) for key, values in numbers.items()}
        if len(own) >= 10:
            cell["slope_spread"] = rounded(np.std(numbers["slope"], ddof=1))
        found.append(cell)
    return found


def summary(found: dict[str, list[Row]]) -> Row:
    """Return the tables of all studies."""
    designs, kernels = found["designs"], found["points"]
    wrong = [row for row in designs + kernels if (row["truth"], row["verdict"]) in WRONG]
    both = [row for row in kernels if row["truth"] == "tempered" and row["n"] == 400]
    spread = [cell["stderr"] / cell["slope_spread"] for cell in cells(designs) if cell.get("slope_spread", 0) > 0]
    values, tail = spectrum("1/(i log^2)", 0, 100_000)
    slow = eigenlearning(values, num_samples=1e5, ridge=0.0, residual_trace=tail)
    return {
        "designs": counted(designs, "kernel", "number", "n"),
        "points": counted(kernels, "kernel", "n"),
        "points by data": counted(kernels, "truth", "family"),
        "wrong designs": counted([row for row in wrong if "number" in row], "kernel", "number", "n"),
        "wrong points": counted([row for row in wrong if "share" in row], "kernel", "share", "n"),
        "power laws at n = 400": counted(both, "kernel"),
        "the same by the amplification of eigenvalues": counted(both, "kernel", verdict="replaced"),
        "slope stderr over spread": [rounded(value) for value in np.quantile(spread, (0, 0.5, 1))] if spread else [],
        "amplification of 1/(i log^2) at n = 1e5": rounded(slow.overfitting_coefficient),
        "rms z of the amplification": rounded(np.sqrt(np.mean([row["z"] ** 2 for row in found["noise"]]))),
        "violations of bounds": sum(row["largest_above"] + row["smallest_below"] for row in found["features"]),
        "growth of designs": growth(found["features"]),
    }


def growth(rows: list[Row]) -> Row:
    """Return how log condition numbers of designs grow beyond n = 10: in log n for powers, in n for exponentials."""
    slopes = {}
    for name, number in dict.fromkeys((row["kernel"], row["number"]) for row in rows):
        own = [row for row in rows if (row["kernel"], row["number"]) == (name, number) and row["n"] > 10]
        n = np.array([row["n"] for row in own], dtype=float)
        logs = [row["mean_log_condition"] for row in own]
        slopes[f"{name} {number:g}"] = rounded(np.polyfit(np.log(n) if name == "power" else n, logs, 1)[0])
    return slopes


def main() -> None:
    """Run the studies and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="n = 200, few draws")
    parser.add_argument("--seed", type=int, default=20611, help="seed of all draws")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("-o", "--output", type=Path, help=f"JSON file; by default {OUTPUT.name} unless --quick")
    options = parser.parse_args()
    output = options.output or (None if options.quick else OUTPUT)
    if output and not output.parent.is_dir():
        parser.error(f"there is no folder {output.parent}")
    begin = time.perf_counter()
    found = {}
    with ProcessPoolExecutor(options.workers) as workers:
        for study, (function, cases) in plan(options.quick, options.seed).items():
            found[study] = list(workers.map(function, cases, chunksize=4))
            print(f"{study}: {len(cases)} cases, {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    report = summary(found)
    tables = {study: found[study] for study in ("noise", "features", "separation")}
    print(json.dumps(finite_or_null(report | tables), ensure_ascii=False, indent=1))
    if output:
        tables |= {study: cells(found[study]) for study in ("designs", "points")}
        whole = {"environment": environment(), "seed": options.seed, "summary": report, **tables}
        output.write_text(json.dumps(finite_or_null(whole), ensure_ascii=False).replace("}, {", "},\n{") + "\n")


if __name__ == "__main__":
    main()
