"""What counts as the same whole answer, and the cheapest calls that give it, for `whole_answer`. Nothing to run.

Settings are tuned with exact products, so that a wrong product of a library does not count against its algorithms. They
may take what is cheapest: a call for each quantity, or the end values, or all, from the nodes of the quadrature.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.stats import wasserstein_distance

#: Eigenvalues over the norm, trace over the nuclear norm, Wasserstein-1 distance over the width of the spectrum.
ACCURACY = {"top": 1e-4, "smallest": 1e-4, "trace": 1e-2, "density": 2e-3}
SEEDS = 5
#: The rms error of a trace scatters more than that of a Ritz value.
TRACE_SEEDS = 10
#: Of an estimate of the trace; multiples of 6, for Hutch++ takes thirds and XTrace halves.
PRODUCTS = (6, 12, 18, 24, 36, 48, 60, 72, 90, 120, 180, 240, 300, 420, 600)
STEPS = (10, 15, 20, 25, 30, 35, 40, 50, 60)
PROBES = (1, 2, 3)
#: What else may be read from the nodes where the trace is estimated by itself.
NODES = (("top", "smallest", "density"), ("smallest", "density"), ("density",))


@dataclass(eq=False)
class Answer:
    """Five top eigenvalues, the smallest, the trace, a density as nodes and weights (None: not asked), and the cost."""

    top: Any = None
    smallest: float | None = None
    trace: float | None = None
    nodes: Any = None
    weights: Any = None
    products: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    def errors(self, truth: "Truth") -> dict[str, float]:
        """Return the errors in the units of the accuracy; without five top eigenvalues these are off by 1."""
        errors = {}
        if self.top is not None:
            found = np.sort(np.asarray(self.top, dtype=float))[::-1]
            five = len(found) >= 5 and np.all(np.isfinite(found[:5]))
            errors["top"] = float(np.max(np.abs(found[:5] - truth.top))) / truth.norm if five else 1.0
        if self.smallest is not None:
            errors["smallest"] = abs(float(self.smallest) - truth.smallest) / truth.norm
        if self.trace is not None:
            errors["trace"] = abs(float(self.trace) - truth.trace) / truth.nuclear_norm
        if self.nodes is not None:
            distance = wasserstein_distance(self.nodes, truth.nodes, self.weights, truth.weights)
            errors["density"] = float(distance) / float(truth.top[0] - truth.smallest)
        return errors


@dataclass(eq=False, kw_only=True)
class Truth(Answer):
    """A converged answer, the norms that errors are relative to, and what the others have to reach in rms."""

    smallest: float
    trace: float
    norm: float
    nuclear_norm: float
    bounds: dict[str, float] = field(default_factory=lambda: dict(ACCURACY))


def rms(answers: list[Answer], truth: Truth) -> dict[str, float]:
    """Return the root mean square errors of whole answers."""
    errors = [answer.errors(truth) for answer in answers]
    return {key: math.sqrt(sum(error[key] ** 2 for error in errors) / len(errors)) for key in ACCURACY}


def from_nodes(values: Any, weights: Any, *, n: int, products: int) -> Answer:
    """Read everything from the nodes of several Lanczos runs, (probe, node); NaN where a run has fewer."""
    finite = np.isfinite(values)
    ordered = -np.sort(-np.where(finite, values, -np.inf), axis=1)
    top = ordered[:, :5].max(axis=0)  # Ritz values lie inside the spectrum, so that of each rank the largest is best
    trace = n * float(np.sum(values[finite] * weights[finite])) / len(values)
    return Answer(top, float(values[finite].min()), trace, values[finite], weights[finite], products)


def tuned(
    answer: Callable[..., Answer], settings: list[dict[str, Any]], truth: Truth, keys: tuple[str, ...]
) -> dict[str, Any] | None:
    """Return the first settings that reach the bounds in rms over the seeds, with their products; None if none do."""
    for setting in settings:
        squares = dict.fromkeys(keys, 0.0)
        seeds = TRACE_SEEDS if "trace" in keys else SEEDS
        for seed in range(seeds):
            found = answer(seed, **setting)
            errors = found.errors(truth)
            squares = {key: squares[key] + errors[key] ** 2 / seeds for key in keys}
            if any(math.sqrt(squares[key]) > truth.bounds[key] for key in keys):
                break
        else:
            return {**setting, "products": found.products}
    return None


def quadratures() -> list[dict[str, Any]]:
    """Return all numbers of probes and steps, in ascending order of products."""
    pairs = sorted(itertools.product(PROBES, STEPS), key=lambda pair: pair[0] * pair[1])
    return [{"num_probes": p, "num_steps": s} for p, s in pairs]


class KrylovRuns:
    """Lanczos runs of exact products, kept at their full length so that every shorter one is read off.

    With full reorthogonalization, as in hessian-eigenthings, or with none, as in curvlinops. Equal methods find equal
    numbers in every library, up to the random vectors, so that one set of runs serves to tune them all.
    """

    def __init__(self, operator: Any, *, reorthogonalize: bool) -> None:
        self.operator, self.reorthogonalize = operator, reorthogonalize
        self._found: dict[int, tuple[Any, Any]] = {}

    def answer(self, seed: int, *, num_probes: int, num_steps: int) -> Answer:
        """Return what the nodes of so many runs of so many steps say."""
        values, weights = np.empty((num_probes, num_steps)), np.empty((num_probes, num_steps))
        for probe in range(num_probes):
            alpha, beta = self._run(1000 * seed + probe)
            values[probe], vectors = eigh_tridiagonal(alpha[:num_steps], beta[: num_steps - 1])
            weights[probe] = vectors[0] ** 2
        return from_nodes(values, weights, n=self.operator.shape[0], products=num_probes * num_steps)

    def end(self, seed: int, *, num: int) -> Answer:
        """Return the extreme Ritz values of one run."""
        return self.answer(seed + 500, num_probes=1, num_steps=num)

    def _run(self, seed: int) -> tuple[Any, Any]:
        if seed in self._found:
            return self._found[seed]
        num, n = max(STEPS), self.operator.shape[0]
        v = torch.randn(n, generator=torch.Generator().manual_seed(seed))
        basis = torch.zeros(num + 1, n)
        basis[0] = v / v.norm()
        alpha, beta = np.zeros(num), np.zeros(num)
        for step in range(num):
            w = self.operator @ basis[step]
            if step:
                w = w - beta[step - 1] * basis[step - 1]
            alpha[step] = float(w @ basis[step])
            w = w - alpha[step] * basis[step]
            if self.reorthogonalize:
                for _ in range(2):
                    w = w - basis[: step + 1].T @ (basis[: step + 1] @ w)
            beta[step] = float(w.norm())
            basis[step + 1] = w / beta[step]
        self._found[seed] = alpha, beta
        return alpha, beta


@dataclass(eq=False, kw_only=True)
class Calls:
    """Ways of one library to the parts of the answer, each ``f(operator, seed, **setting) -> Answer``.

    Attributes
    ----------
    top, smallest, nodes : callable
        End values, and nodes of a quadrature.
    traces : dict of callable
        By name.
    exact : object
        Exact products, as an operator of this library.
    tune_top, tune_smallest : callable
        ``f(seed, **setting)``: the same as ``top`` and ``smallest``, or cheaper and equivalent.
    ends : list of dict
        Settings of the end values, in ascending order of products.
    """

    top: Callable[..., Answer]
    smallest: Callable[..., Answer]
    nodes: Callable[..., Answer]
    traces: dict[str, Callable[..., Answer]]
    exact: Any
    tune_top: Callable[..., Answer]
    tune_smallest: Callable[..., Answer]
    ends: list[dict[str, Any]]
    _seen: dict[tuple[str, int, int], Answer] = field(default_factory=dict)

    def plan(self, runs: KrylovRuns, truth: Truth) -> list[tuple[str, dict[str, Any]]]:
        """Return the calls, and their settings, that reach the accuracy with the fewest products.

        Raises
        ------
        RuntimeError
            Some part is not reached within the largest settings.
        """

        def find(
            call: Callable[..., Answer], settings: list[dict[str, Any]], *keys: str, below: float = math.inf
        ) -> dict[str, Any]:
            cheaper = [s for s in settings if s.get("num", s.get("num_probes", 0) * s.get("num_steps", 0)) < below]
            return tuned(call, cheaper, truth, keys) or {"products": math.inf}

        trace: tuple[str, dict[str, Any]] = ("trace", {"products": math.inf})
        for name, call in self.traces.items():
            setting = find(
                lambda seed, *, num, name=name, call=call: self._trace(name, call, seed, num),
                [{"num": num} for num in PRODUCTS],
                "trace",
                below=trace[1]["products"],
            )
            if setting["products"] < trace[1]["products"]:
                trace = (f"trace, {name}", setting)
        top = ("top", find(self.tune_top, self.ends, "top"))
        smallest = ("smallest", find(self.tune_smallest, self.ends, "smallest"))
        nodes = [("nodes", find(runs.answer, quadratures(), *keys)) for keys in NODES]
        least = min(nodes[0][1]["products"], top[1]["products"] + nodes[1][1]["products"]) + trace[1]["products"]
        everything = find(runs.answer, quadratures(), "top", "smallest", "trace", "density", below=least)
        nodes.insert(0, ("nodes", everything))
        plans = [[nodes[0]], [nodes[1], trace], [nodes[2], trace, top], [nodes[3], trace, top, smallest]]
        best = min(plans, key=lambda plan: sum(setting["products"] for _, setting in plan))
        if any(setting["products"] == math.inf for _, setting in best):
            unreached = [name for name, setting in plans[-1] if setting["products"] == math.inf]
            raise RuntimeError(f"the accuracy is not reached within the largest settings: {', '.join(unreached)}")
        return best

    def _trace(self, name: str, call: Callable[..., Answer], seed: int, num: int) -> Answer:
        if (name, seed, num) not in self._seen:
            self._seen[name, seed, num] = call(self.exact, seed, num=num)
        return self._seen[name, seed, num]

    def run(self, operator: Any, seed: int, plan: list[tuple[str, dict[str, Any]]]) -> Answer:
        """Make the calls of a plan; later ones replace what earlier ones said."""
        total = Answer()
        calls = {"nodes": self.nodes, "top": self.top, "smallest": self.smallest}
        calls |= {f"trace, {name}": call for name, call in self.traces.items()}
        for name, setting in plan:
            found = calls[name](operator, seed, **{k: v for k, v in setting.items() if k != "products"})
            for part in ("top", "smallest", "trace", "nodes", "weights"):
                value = getattr(found, part)
                if value is not None:
                    setattr(total, part, value)
            total.products += found.products
        return total
