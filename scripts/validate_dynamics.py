r"""Do predicted loss curves come true? Simulate SGD many times and compare the means, in standard errors.

Every case is a data set, settings and the closures to compare; the same simulated runs are the referee of all closures.
For each it reports the largest relative deviation of the predicted from the simulated mean over the recorded steps, the
largest relative standard error of that mean, the root mean square of z = (simulated - predicted) / stderr, the largest
\\|z\\|, and whether the mean is resolved, that is not carried by a single run. Records of one curve are correlated.

Learning rates are given as shares of one critical rate, so that all closures are compared at one rate: that of
"limit" for Gaussian data, the exact one for real data, and that of "kurtosis" where the exact one costs too much.

    python scripts/validate_dynamics.py --quick                       # four cases, half a minute on one core
    python scripts/validate_dynamics.py -o dynamics.json              # all, three data seeds, about half an hour
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.validation.least_squares import DATA
from spectra.dynamics import Population, from_data, sgd_curve, simulate_sgd, stability, z_scores
from spectra.report import finite_or_null

ALL = ("limit", "gaussian", "kurtosis", "row_resolved", "exact")
MODES = ("limit", "gaussian", "kurtosis")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One set of simulated runs, and the closures that are compared with it."""

    name: str
    data: str = "gaussian"
    share: float = 0.5
    epochs: float = 8
    num_runs: int = 128
    closures: tuple[str, ...] = MODES
    settings: dict[str, Any] = field(default_factory=dict)
    schedule: str = "constant"
    risk: bool = False

    @property
    def reference(self) -> str:
        """Closure whose critical learning rate the share is of."""
        return {"digits": "exact", "diabetes": "exact", "relu features": "kurtosis"}.get(self.data, "limit")


def cases() -> list[Case]:
    """Return all cases."""
    found = [Case(name=f"batch 1, {share} of critical", share=share) for share in (0.2, 0.5, 0.8, 0.95)]
    for size, share in ((8, 0.5), (64, 0.5), (64, 0.9)):
        found.append(Case(name=f"batch {size}, {share}", share=share, settings=batch(size, "with_replacement")))
    for size in (64, 512):
        found.append(Case(name=f"batch {size}, no replacement", settings=batch(size)))
    found += [
        Case(name="heavy ball, batch 1", settings={"momentum": 0.9}),
        Case(name="heavy ball, batch 1, 0.9", share=0.9, settings={"momentum": 0.9}),
        Case(name="Nesterov, batch 1", settings={"momentum": 0.9, "nesterov": True}),
        Case(name="heavy ball, batch 64", settings=batch(64) | {"momentum": 0.9}),
        Case(name="heavy ball, batch 256", settings=batch(256) | {"momentum": 0.8}, epochs=40),
        Case(name="Nesterov, batch 256", settings=batch(256) | {"momentum": 0.8, "nesterov": True}, epochs=40),
        Case(name="cosine to 0, peak 0.9", data="gaussian 600 x 300", share=0.9, schedule="cosine", num_runs=600),
        Case(name="batches 4, 16, 64", data="gaussian 600 x 300", schedule="batches", num_runs=600, epochs=12),
        Case(name="momentum grows to 0.95", data="gaussian 600 x 300", schedule="momentum", num_runs=600),
        Case(name="ridge 0.1, batch 1", settings={"weight_decay": 0.1}, risk=True),
        Case(name="ridge 0.5, batch 16", settings=batch(16) | {"weight_decay": 0.5}, risk=True, share=0.8),
        Case(name="more parameters than samples", data="gaussian 300 x 600", num_runs=600),
    ]
    for share, runs in ((0.2, 1000), (0.5, 1000), (0.8, 1000)):
        found.append(Case(name=f"digits, batch 1, {share}", data="digits", share=share, num_runs=runs, closures=ALL))
    found += [
        Case(name="digits, batch 16", data="digits", settings=batch(16), num_runs=600, closures=ALL),
        Case(name="diabetes, batch 1, 0.2", data="diabetes", share=0.2, num_runs=600, closures=ALL),
        Case(name="ReLU features of digits, 0.2", data="relu features", share=0.2, num_runs=600),
        Case(name="ReLU features of digits, 0.5", data="relu features", share=0.5, num_runs=600),
        Case(name="ReLU features of digits, batch 64", data="relu features", settings=batch(64)),
    ]
    return found


def batch(size: int, sampling: str = "without_replacement") -> dict[str, Any]:
    """Return the settings of a batch size."""
    return {"batch_size": size, "sampling": sampling}


def compare(case: Case, *, seed: int) -> dict[str, Any]:
    """Simulate a case and compare every closure with it."""
    A, b, population = DATA[case.data](seed)
    problem = from_data(A, b)
    n = len(b)
    fixed = {k: case.settings[k] for k in ("batch_size", "sampling", "momentum", "nesterov") if k in case.settings}
    limits = stability(problem, closure=case.reference, **fixed)
    rate = case.share * limits.closure_learning_rate
    num_steps = max(int(case.epochs * n / case.settings.get("batch_size", 1)), 20)
    settings = dict(case.settings)
    if case.schedule == "cosine":
        learning_rate: Any = 0.5 * rate * (1 + np.cos(np.pi * np.arange(num_steps) / num_steps))
    elif case.schedule == "batches":
        per = int(case.epochs * n / 3)
        settings["batch_size"] = np.repeat([4, 16, 64], [per // 4, per // 16, per // 64])
        num_steps = len(settings["batch_size"])
        learning_rate = 4 * rate
    elif case.schedule == "momentum":
        settings["momentum"] = 0.95 * np.arange(1, num_steps + 1) / num_steps
        learning_rate = rate * 0.1
    else:
        learning_rate = rate
    common = settings | {"learning_rate": learning_rate, "num_steps": num_steps}
    measure = Population(**population) if case.risk and population else None
    begin = time.perf_counter()
    runs = simulate_sgd(A, b, num_runs=case.num_runs, rng=1000 + seed, population=measure, **common)
    found: dict[str, Any] = {
        "case": case.name,
        "data": case.data,
        "seed": seed,
        "num_runs": case.num_runs,
        "num_steps": num_steps,
        "learning_rate": float(np.max(learning_rate)),
        "reference": case.reference,
        "row_safe_ratio": limits.disagreement,
        "relative_stderr": float(np.nanmax(runs["relative_stderr"])),
        "mean_resolved": bool(np.all(runs["mean_resolved"])),
        "seconds": time.perf_counter() - begin,
        "closures": {},
    }
    for closure in case.closures:
        curve = sgd_curve(problem, closure=closure, record=runs["step"].values, population=measure, **common)
        found["closures"][closure] = scores(runs, curve, "loss")
        if measure is not None:
            found["closures"][closure]["risk"] = scores(runs, curve, "risk")
    return found


def scores(runs: Any, curve: Any, variable: str) -> dict[str, float]:
    """Return how far a curve is from the simulated mean."""
    compared = z_scores(runs, curve, variable=variable)
    z = compared["z"].values
    return {
        "max_relative_deviation": float(compared.attrs["max_relative_deviation"]),
        "rms_z": float(compared.attrs["rms_z"]),
        "max_z": float(np.nanmax(np.abs(z))),
    }


def line(found: dict[str, Any]) -> str:
    """Return a case as a line of text."""
    parts = [
        f"{closure} {item['max_relative_deviation']:.3f} (z {item['rms_z']:.2f})"
        + (f" risk {item['risk']['max_relative_deviation']:.3f}" if "risk" in item else "")
        for closure, item in found["closures"].items()
    ]
    resolved = "" if found["mean_resolved"] else " UNRESOLVED MEAN"
    return (
        f"{found['case']} [{found['data']}, seed {found['seed']}] stderr {found['relative_stderr']:.3f}{resolved}: "
        + "; ".join(parts)
    )


def main() -> None:
    """Run the cases and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="four cases, one data seed")
    parser.add_argument("--seeds", type=int, default=3, help="number of data seeds")
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--first-seed", type=int, default=100, help="first data seed")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    if options.output and not options.output.parent.is_dir():
        parser.error(f"there is no folder {options.output.parent}")
    chosen = cases()
    if options.quick:
        names = ("batch 1, 0.5 of critical", "heavy ball, batch 64", "cosine to 0, peak 0.9", "digits, batch 1, 0.2")
        chosen = [case for case in chosen if case.name in names]
        options.seeds = 1
    if options.only:
        chosen = [case for case in chosen if options.only in case.name]
        if not chosen:
            parser.error(f"no case has {options.only!r} in its name")
    results = []
    for case in chosen:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            found = compare(case, seed=seed)
            results.append(found)
            print(line(found), flush=True)
            if options.output:
                options.output.write_text(json.dumps(finite_or_null(results), indent=1) + "\n")


if __name__ == "__main__":
    main()
