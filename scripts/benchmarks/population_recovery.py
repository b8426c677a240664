"""Populations from sample eigenvalues and nonlinear shrinkage, beside other methods on the same draws.

Recovery: Wasserstein-1 errors, in units of the mean of the population: of ``recover_population``, of its weights on a
grid, and of a fit by the criterion of QuEST (Ledoit and Wolf 2015: squares of differences, as many places as
eigenvalues, to convergence), written here, for QuEST itself is MATLAB. Shrinkage: PRIAL, the share of the avoidable
Frobenius error that is avoided, of ``shrink_covariance_eigenvalues``, of the oracle's eigenvalues with the recovered
population in place of the true one, and of nonlinshrink. Aspect ratios and methods are interleaved. nonlinshrink is no
dependency: install it aside and name its folder::

    pip install --target /tmp/aside --no-deps nonlinshrink
    python scripts/benchmarks/population_recovery.py --nonlinshrink /tmp/aside
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from environment import arguments, set_threads, write

set_threads(1)

import numpy as np  # noqa: E402
from scipy.optimize import least_squares  # noqa: E402
from scipy.stats import wasserstein_distance  # noqa: E402

from spectra.laws import (  # noqa: E402
    PopulationLaw,
    companion_stieltjes,
    recover_population,
    shrink_covariance_eigenvalues,
    support_edges,
)

POPULATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "one place": np.ones_like,
    "three places": lambda q: np.where(q < 0.2, 1.0, np.where(q < 0.6, 3.0, 10.0)),
    "uniform": lambda q: 1.0 + 4.0 * q,
    "two places": lambda q: np.where(q < 0.5, 1.0, 2.0),
    "power law": lambda q: 1.0 / (1.01 - q),
}
RATIOS = (0.1, 0.5, 2.0)
#: Nodes on each interval, and evaluations, of the fit by QuEST's criterion.
NODES, STEPS = 60, 40


def _quest(values: np.ndarray, ratio: float) -> np.ndarray:
    """Return as many places as eigenvalues, those of the nearest quantiles."""
    p = values.size
    levels = (np.arange(p) + 0.5) / p
    used = levels > 1.0 - 1.0 / ratio
    unit = float(np.linalg.norm(values))

    def quantiles(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places = np.exp(logs)
        angle = (np.arange(NODES) + 0.5) * np.pi / NODES
        edges = support_edges(places, aspect_ratio=ratio)
        x = np.concatenate([low + (high - low) * np.sin(0.5 * angle) ** 2 for low, high in edges])
        solution = companion_stieltjes(places, x, aspect_ratio=ratio)
        x, v = x[solution.converged], solution.companion[solution.converged]
        turns = np.mean(np.angle(1.0 + places * v[:, None]), axis=1)
        below = 1.0 + ((np.angle(v) + x * v.imag - ratio * turns) / np.pi - 1.0) / ratio
        below = np.maximum.accumulate(below)
        u = np.interp(levels[used], below, (-1.0 / v).real) + 1j * np.interp(levels[used], below, (-1.0 / v).imag)
        slopes = ratio / p * np.abs(u[:, None] / (u[:, None] - places)) ** 2 * places
        return (np.interp(levels[used], below, x) - values[used]) / unit, slopes / unit

    mean, variance = float(np.mean(values)), float(np.var(values))
    kept = np.clip(1.0 - ratio * mean**2 / variance, 0.05, 1.0)
    start = np.maximum(mean + np.sqrt(kept) * (values - mean), 0.02 * mean)
    found = least_squares(
        lambda s: quantiles(s)[0],
        np.log(start),
        jac=lambda s: quantiles(s)[1],
        ftol=1e-4,
        xtol=1e-6,
        gtol=1e-12,
        max_nfev=STEPS,
    )
    return np.exp(found.x)


def _oracle_shrinkage(values: np.ndarray, population: PopulationLaw, ratio: float) -> np.ndarray:
    """Return the limits of ``u' C u`` of sample eigenvectors u: ``1 / (x |v|^2)``; at 0, for p > n, by the mean."""
    shrunk = np.zeros(values.size)
    positive = values > 1e-9 * values[-1]
    x = np.maximum(values[positive], 1e-12)
    edges = support_edges(population, aspect_ratio=ratio)
    nearest = np.min([np.where(x < low, low - x, np.maximum(x - high, 0.0)) for low, high in edges], axis=0)
    ends = edges.ravel()
    inside = np.where(nearest > 0.0, ends[np.argmin(np.abs(x[:, None] - ends), axis=1)], x)
    v = companion_stieltjes(population, inside, aspect_ratio=ratio).companion
    shrunk[positive] = 1.0 / (inside * np.abs(v) ** 2)
    if not np.all(positive):
        total = population.moment(1) * values.size
        shrunk[~positive] = max(total - float(np.sum(shrunk)), 0.0) / float(np.sum(~positive))
    return shrunk


def _peer(folder: str | None) -> Any:
    """Return nonlinshrink; None if it does not import."""
    if folder is not None:
        sys.path.append(folder)
    try:
        import nonlinshrink
    except ImportError as error:
        print(f"nonlinshrink is left out: {error}", file=sys.stderr)
        return None
    return nonlinshrink


def _draw(name: str, p: int, ratio: float, seed: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return population eigenvalues, data of n columns, and eigenvalues and eigenvectors of the sample covariance."""
    population = POPULATIONS[name]((np.arange(p) + 0.5) / p)
    n = round(p / ratio)
    data = np.random.default_rng(seed).standard_normal((p, n)) * np.sqrt(population)[:, None]
    values, vectors = np.linalg.eigh(data @ data.T / n)
    return population, data, np.maximum(values, 0.0), vectors


def _summary(values: list[float]) -> dict[str, float | None]:
    """Return mean and standard error."""
    spread = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "standard error": spread}


def main() -> None:
    """Run all methods on every draw."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--nonlinshrink", metavar="FOLDER", help="folder with nonlinshrink")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 400])
    options = parser.parse_args()
    peer = _peer(options.nonlinshrink)
    errors: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    prials: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    seconds: dict[str, list[float]] = defaultdict(list)
    cases = [
        (p, name, draw, ratio)
        for p in options.sizes
        for name in POPULATIONS
        for draw in range(options.draws)
        for ratio in RATIOS
    ]
    if options.quick:
        cases = [(60, name, 0, ratio) for name in POPULATIONS for ratio in RATIOS]
    for p, name, draw, ratio in cases:
        population, data, values, vectors = _draw(name, p, ratio, [options.seed, p, draw, round(100 * ratio)])
        key, mean = f"{name}, p = {p}, ratio {ratio:g}", float(np.mean(population))
        grid = np.append(0.0, np.geomspace(0.5 * np.min(values[values > 1e-5 * values[-1]]), values[-1], 149))
        laws: dict[str, Callable[[], PopulationLaw]] = {
            "ours": lambda: recover_population(values, aspect_ratio=ratio).law,  # noqa: B023
            "ours, on a grid": lambda: recover_population(values, aspect_ratio=ratio, grid=grid).law,  # noqa: B023
            "QuEST's criterion": lambda: PopulationLaw(values=_quest(values, ratio)),  # noqa: B023
        }
        found = {}
        for method, call in laws.items():
            start = time.perf_counter()
            found[method] = call()
            seconds[method].append(time.perf_counter() - start)
            law = found[method]
            errors[key][method].append(wasserstein_distance(population, law.values, None, law.weights) / mean)
        errors[key]["sample eigenvalues"].append(wasserstein_distance(population, values) / mean)
        oracle = (vectors**2).T @ population
        shrunk = {
            "ours, analytical": shrink_covariance_eigenvalues(values, num_samples=data.shape[1]),
            "ours, by the recovered population": _oracle_shrinkage(values, found["ours"], ratio),
        }
        if peer is not None:
            theirs = peer.shrink_cov(data.T, 0)
            shrunk["nonlinshrink"] = np.einsum("ij,ik,kj->j", vectors, theirs, vectors)
        for method, those in shrunk.items():
            loss = float(np.sum((those - oracle) ** 2) / np.sum((values - oracle) ** 2))
            prials[key][method].append(1.0 - loss)
    differences = {
        key: _summary((np.array(row["ours"]) - np.array(row["QuEST's criterion"])).tolist())
        for key, row in errors.items()
    }
    result = {
        "wasserstein error over mean": {key: {m: _summary(v) for m, v in row.items()} for key, row in errors.items()},
        "ours less QuEST's criterion": differences,
        "PRIAL": {key: {m: _summary(v) for m, v in row.items()} for key, row in prials.items()},
        "median seconds": {method: float(np.median(took)) for method, took in seconds.items()},
    }
    write(result, options.output)


if __name__ == "__main__":
    main()
