"""Whether the split into bulk and outliers finds those that are there, and none in noise.

Margins were chosen on other seeds. Six studies:

nulls         bulks without outliers, Gaussian symmetric and Wishart: shares of draws with outliers, which are to be at
              most 1 %, misfits, and errors of the edge in units of its standard error
spikes        white noise with spikes, and Gaussian symmetric matrices with spikes: numbers of outliers found
decays        populations that decay like powers, whose spectra have no end of a bulk, which is not to be trusted
bulks         populations of two eigenvalues with and without outliers, where white noise is the wrong assumption
lanczos       the split of spectral measures, of matrices with and without outliers, and of bulks of several intervals
entries       heavy-tailed entries without structure, and spikes in Gaussian entries: the flag of permutations

    python scripts/validate_outliers.py --quick      # few draws, seconds
    python scripts/validate_outliers.py              # all, minutes on two cores; writes results/outliers.json
"""

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.benchmarks.environment import environment, set_threads

if __name__ == "__main__":
    set_threads(1)

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

import spectra
from spectra.bulk_split import BulkSplit
from spectra.outliers import split_bulk
from spectra.report import finite_or_null

OUTPUT = Path(__file__).parent / "validation" / "results" / "outliers.json"
Row = dict[str, Any]
#: Kind, variables (the order of symmetric ones), samples.
NULLS = (
    *(("symmetric", n, 0) for n in (50, 100, 400, 1600)),
    *(("Wishart", p, n) for p, n in ((50, 50), (50, 100), (50, 1000), (100, 100), (100, 200))),
    *(("Wishart", p, n) for p, n in ((200, 100), (200, 220), (300, 300), (300, 600), (300, 1200), (1200, 2400))),
)
#: Kind, variables, samples, spikes.
SPIKES: tuple[tuple[str, int, int, tuple[float, ...]], ...] = (
    ("Wishart", 300, 600, (2.2, 3.0, 6.0)),
    ("Wishart", 300, 600, (2.5, 4.0)),
    ("Wishart", 600, 300, (4.0, 6.0)),
    ("Wishart", 300, 1200, tuple(np.linspace(3, 20, 10))),
    ("Wishart", 300, 1200, tuple(np.linspace(4, 40, 30))),
    ("symmetric", 400, 0, (1.8, 3.0)),
    ("symmetric", 400, 0, (-2.0, 1.8, 3.0)),
)
#: Second eigenvalue of the population (the first is 1), its share, variables, samples, spikes.
BULKS: tuple[tuple[float, float, int, int, tuple[float, ...]], ...] = (
    (3.0, 0.5, 300, 1200, (12.0, 20.0)),
    (3.0, 0.5, 300, 1200, ()),
    (5.0, 0.2, 400, 800, (20.0, 30.0, 40.0)),
    (10.0, 0.5, 200, 2000, (30.0,)),
)
#: Exponent of the decay of the population, variables, samples.
DECAYS = tuple((power, p, 3 * p) for p in (100, 200, 500) for power in (0.5, 1.0, 2.0))
LANCZOS: tuple[tuple[str, int, int, tuple[float, ...], int, int], ...] = (
    *(("white", 1200, 2400, (2.5, 4.0, 10.0), m, 4) for m in (20, 40, 80)),
    *(("white", 1200, 2400, (), m, 4) for m in (20, 40, 80)),
    ("white", 300, 600, (3.0, 6.0), 40, 6),
    ("white", 300, 600, (), 40, 6),
    *(("two intervals", 400, 8000, (20.0,), m, 4) for m in (20, 40, 80)),
)
ENTRIES = (("t3", ()), ("t3 symmetric", ()), ("t2.5", ()), ("Gaussian", (4.0, 8.0)), ("Gaussian", ()))


def null(kind: str, p: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float]]:
    """Return eigenvalues of noise by its tridiagonal model (Dumitriu and Edelman 2002), and the edges of its limit."""
    if kind == "symmetric":
        diagonal = rng.normal(size=p) * math.sqrt(2 / p)
        return eigvalsh_tridiagonal(diagonal, np.sqrt(rng.chisquare(np.arange(p - 1, 0, -1)) / p)), (-2.0, 2.0)
    small, large = min(p, n), max(p, n)
    own, other = rng.chisquare(large - np.arange(small)), rng.chisquare(np.arange(small - 1, 0, -1))
    diagonal = (own + np.append(0.0, other)) / n
    values = eigvalsh_tridiagonal(diagonal, np.sqrt(own[:-1] * other) / n)
    edges = (1 - math.sqrt(p / n)) ** 2, (1 + math.sqrt(p / n)) ** 2
    return np.append(np.zeros(p - small), values), edges


def spiked(p: int, n: int, spikes: tuple[float, ...], rng: np.random.Generator, bulk: Any = 1.0) -> np.ndarray:
    """Return data of a population with a bulk and spikes in place of some of its eigenvalues."""
    scales = np.sqrt(np.broadcast_to(bulk, p).copy())
    scales[: len(spikes)] = np.sqrt(spikes)
    return scales[:, None] * rng.standard_normal((p, n))


def gram(X: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of the sample covariance."""
    return np.linalg.eigvalsh(X @ X.T / X.shape[1])


def nulls(case: tuple[str, int, int, int, list[int]]) -> Row:
    """Return how often noise shows outliers, and how far edges are off."""
    kind, p, n, draws, seed = case
    rng = np.random.default_rng(seed)
    found: dict[str, list[BulkSplit]] = {"edge": []} | ({"marchenko_pastur": [], "auto": []} if n else {})
    for _ in range(draws):
        values, edges = null(kind, p, n, rng)
        for method, own in found.items():
            own.append(split_bulk(values, num_samples=n or None, method=method))  # type: ignore[arg-type]
    row: Row = {"kind": kind, "p": p, "n": n, "draws": draws}
    for method, own in found.items():
        z = [(one.high - edges[1]) / one.high_stderr for one in own]
        low = [(one.low - edges[0]) / one.low_stderr for one in own if one.low_kind == "soft"]
        row[method] = {
            "with_outliers": sum(one.num_outliers > 0 for one in own),
            "below": sum(bool(np.any(one.side < 0)) for one in own),
            "not_trustworthy": sum(not one.is_trustworthy for one in own),
            "misfit": [rounded(v) for v in np.quantile([one.misfit for one in own], (0.5, 0.99, 1))],
            "misfit_limit": rounded(own[0].misfit_limit),
            "z_of_high": [rounded(np.mean(z)), rounded(np.sqrt(np.mean(np.square(z))))],
            "z_of_low": [rounded(np.mean(low)), rounded(np.sqrt(np.mean(np.square(low))))] if low else [],
        }
    return row


def spikes(case: tuple[str, int, int, tuple[float, ...], int, list[int]]) -> Row:
    """Return numbers of outliers of noise with spikes."""
    kind, p, n, size, draws, seed = case
    rng = np.random.default_rng(seed)
    found: dict[str, Counter[int]] = {"edge": Counter()} | ({"marchenko_pastur": Counter()} if n else {})
    for _ in range(draws):
        if n:
            values = gram(spiked(p, n, size, rng))
        else:
            W = rng.standard_normal((p, p))
            values = np.linalg.eigvalsh(
                (W + W.T) / math.sqrt(2 * p) + np.diag(np.append(size, np.zeros(p - len(size))))
            )
        for method, counts in found.items():
            counts[split_bulk(values, num_samples=n or None, method=method).num_outliers] += 1  # type: ignore[arg-type]
    return {"kind": kind, "p": p, "n": n, "spikes": len(size), **counted(found)}


def bulks(case: tuple[float, float, int, int, tuple[float, ...], int, list[int]]) -> Row:
    """Return numbers of outliers of a population of two eigenvalues and spikes."""
    second, share, p, n, size, draws, seed = case
    rng = np.random.default_rng(seed)
    found: dict[str, Counter[int]] = {"auto": Counter(), "edge": Counter(), "marchenko_pastur": Counter()}
    trusted = Counter({method: 0 for method in found})
    bulk = np.where(np.arange(p) < p - round(share * p), 1.0, second)
    for _ in range(draws):
        values = gram(spiked(p, n, size, rng, bulk))
        for method, counts in found.items():
            one = split_bulk(values, num_samples=n, method=method)  # type: ignore[arg-type]
            counts[one.num_outliers] += 1
            trusted[method] += one.is_trustworthy
    row = {"second": second, "share": share, "p": p, "n": n, "spikes": len(size)}
    return {**row, **counted(found), "trustworthy": dict(trusted)}


def decays(case: tuple[float, int, int, int, list[int]]) -> Row:
    """Return how often an end of the bulk is trusted where there is none."""
    power, p, n, draws, seed = case
    rng = np.random.default_rng(seed)
    trusted: Counter[str] = Counter()
    for _ in range(draws):
        X = spiked(p, n, (), rng, np.arange(1, p + 1) ** -power)
        S = X @ X.T / n
        trusted["edge"] += split_bulk(np.linalg.eigvalsh(S)).is_trustworthy
        for steps in (40, 80):
            measure = spectra.slq(S, num_probes=4, num_steps=steps, rng=int(rng.integers(2**31)))
            trusted[f"lanczos, {steps} steps"] += split_bulk(measure).is_trustworthy
    return {"power": power, "p": p, "n": n, "draws": draws, "trustworthy": dict(trusted)}


def lanczos(case: tuple[str, int, int, tuple[float, ...], int, int, int, list[int]]) -> Row:
    """Return numbers of outliers from spectral measures, and errors of edges in standard errors."""
    kind, p, n, size, steps, probes, draws, seed = case
    rng = np.random.default_rng(seed)
    bulk = 1.0 if kind == "white" else np.where(np.arange(p) < p // 2, 1.0, 5.0)
    edges = (1 - math.sqrt(p / n)) ** 2, (1 + math.sqrt(p / n)) ** 2
    own = []
    for _ in range(draws):
        X = spiked(p, n, size, rng, bulk)
        S = X @ X.T / n
        own.append(split_bulk(spectra.slq(S, num_probes=probes, num_steps=steps, rng=int(rng.integers(2**31)))))
    row = {"kind": kind, "p": p, "n": n, "spikes": len(size), "steps": steps, "probes": probes, "draws": draws}
    row |= counted({"outliers": Counter(one.num_outliers for one in own)})
    row["trustworthy"] = sum(one.is_trustworthy for one in own)
    row["trustworthy_and_some_missed"] = sum(one.is_trustworthy and one.num_outliers < len(size) for one in own)
    row["undecided"] = sum(any("would be outside" in remark for remark in one.remarks) for one in own)
    row["misfit"] = [rounded(v) for v in np.quantile([one.misfit for one in own], (0, 0.5, 1))]
    row["misfit_limit"] = rounded(own[0].misfit_limit)
    if kind == "white":
        for end, edge in zip(("low", "high"), edges, strict=True):
            error = np.array([getattr(one, end) - edge for one in own])
            z = error / [getattr(one, f"{end}_stderr") for one in own]
            row[f"rms_error_of_{end}"] = rounded(np.sqrt(np.mean(error**2)))
            row[f"rms_z_of_{end}"] = rounded(np.sqrt(np.mean(z**2)))
    return row


def entries(case: tuple[str, tuple[float, ...], int, list[int]]) -> Row:
    """Return numbers of outliers, and how often permutations call the entries heavy-tailed."""
    kind, size, draws, seed = case
    rng = np.random.default_rng(seed)
    counts: Counter[int] = Counter()
    heavy = unseen = 0
    for _ in range(draws):
        if kind == "Gaussian":
            X = spiked(300, 600, size, rng)
        elif kind == "t3 symmetric":
            X = rng.standard_t(3, size=(400, 400))
            X = np.triu(X) + np.triu(X, 1).T
        else:
            X = rng.standard_t(float(kind[1:]), size=(300, 600))
        values = np.linalg.eigvalsh(X) if "symmetric" in kind else gram(X)
        one = split_bulk(values, method="edge", matrix=X, rng=int(rng.integers(2**31)))
        counts[one.num_outliers] += 1
        heavy += bool(one.heavy_tailed)
        unseen += one.num_outliers > 0 and not one.heavy_tailed
    row = {"kind": kind, "spikes": len(size), "draws": draws, **counted({"outliers": counts})}
    return row | {"heavy_tailed": heavy, "outliers_without_flag": unseen}


def counted(found: dict[str, Counter[int]]) -> Row:
    """Return numbers of draws by numbers of outliers."""
    return {name: {str(key): counts[key] for key in sorted(counts)} for name, counts in found.items()}


def rounded(value: Any) -> float:
    """Return a number to four digits."""
    return float(f"{value:.4g}")


def plan(quick: bool, seed: int) -> dict[str, tuple[Callable[..., Row], list[Any]]]:
    """Return the function and the cases of each study."""
    share = 20 if quick else 1

    def draws(p: int) -> int:
        return max((3000 if p <= 100 else 1000 if p <= 220 else 600 if p <= 400 else 60) // share, 2)

    few = max(40 // share, 2)
    studies: list[tuple[Callable[..., Row], list[Any]]] = [
        (nulls, [(*case, draws(case[1])) for case in NULLS]),
        (spikes, [(*case, 100 // share) for case in SPIKES]),
        (bulks, [(*case, few) for case in BULKS]),
        (lanczos, [(*case, few) for case in LANCZOS]),
        (entries, [(*case, few // 2) for case in ENTRIES]),
        (decays, [(*case, few) for case in DECAYS]),
    ]
    return {
        function.__name__: (function, [(*case, [seed, k, i]) for i, case in enumerate(cases)])
        for k, (function, cases) in enumerate(studies)
    }


def timing(seed: int) -> Row:
    """Return milliseconds of a split, the best of 20: timings are of this machine."""
    X = spiked(300, 600, (3.0, 6.0), np.random.default_rng(seed))
    S = X @ X.T / 600
    values, measure = np.linalg.eigvalsh(S), spectra.slq(S, num_probes=10, num_steps=80)
    calls = {
        "edge": lambda: split_bulk(values),
        "marchenko_pastur": lambda: split_bulk(values, num_samples=600, method="marchenko_pastur"),
        "edge, N = 3000": lambda: split_bulk(np.tile(values, 10)),
        "lanczos, 10 probes of 80 steps": lambda: split_bulk(measure),
    }
    row = {}
    for name, call in calls.items():
        took = []
        for _ in range(20):
            begin = time.perf_counter()
            call()
            took.append(1e3 * (time.perf_counter() - begin))
        row[name] = rounded(min(took))
    return row


def main() -> None:
    """Run the studies and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few draws")
    parser.add_argument("--seed", type=int, default=80411, help="seed of all draws")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("-o", "--output", type=Path, help=f"JSON file; by default {OUTPUT.name} unless --quick")
    options = parser.parse_args()
    output = options.output or (None if options.quick else OUTPUT)
    if output and not output.parent.is_dir():
        parser.error(f"there is no folder {output.parent}")
    begin = time.perf_counter()
    found: Row = {}
    with ProcessPoolExecutor(options.workers) as workers:
        for study, (function, cases) in plan(options.quick, options.seed).items():
            found[study] = list(workers.map(function, cases))
            print(f"{study}: {len(cases)} cases, {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    found["milliseconds"] = timing(options.seed)
    text = json.dumps(finite_or_null(found), ensure_ascii=False).replace("}, {", "},\n{")
    print(text)
    if output:
        whole = {"environment": environment(), "seed": options.seed, **found}
        output.write_text(json.dumps(finite_or_null(whole), ensure_ascii=False).replace("}, {", "},\n{") + "\n")


if __name__ == "__main__":
    main()
