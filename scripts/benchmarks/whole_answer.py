"""What does the whole answer about a Hessian cost? Five top eigenvalues, smallest one, trace and density, by everybody.

* ours, tuned: everything from one run of stochastic Lanczos quadrature, the smallest that reaches the accuracy;
* ``probes.measure`` as it comes, where it takes ``matrices=``;
* PyHessian as it comes: ``eigenvalues(top_n=5)``, ``trace()``, and ``density()``, whose smallest node is taken;
* hessian-eigenthings and curvlinops, tuned: see `whole_answer_peers`.

Accuracy: every top eigenvalue 1e-4 relative, smallest eigenvalue 1 %, trace 1 %, density within 2e-3 of the width of
the spectrum in Wasserstein-1 distance; root mean squares over three seeds, not those of the timed runs. Reference:
converged eigenpairs, a trace of 1000 products, and a quadrature of 20 probes and 80 steps. PyHessian's own answers may
be worse than this: it stops where its defaults stop. Processor times of interleaved repeats over a loader of four
batches; building the operators, with our self-check, is part of the time.

    python scripts/benchmarks/whole_answer.py --output whole_answer.json
    python scripts/benchmarks/whole_answer.py --models gpt --reps 3
"""

import gc
import inspect
import sys
import time
from collections.abc import Callable
from typing import Any

from environment import arguments, set_threads, write

TARGETS = {"PyHessian": 4.0, "best other": 3.0}
ONE_RUN = "ours, one run"


def network(name: str) -> Any:
    """Return a network over four batches."""
    import networks

    if name == "mlp":
        return networks.mlp(batch_size=128, num_batches=4)
    if name == "cnn":
        return networks.cnn(batch_size=64, num_batches=4)
    if name == "gpt":
        return networks.gpt(batch_size=4, num_batches=4)
    return networks.NETWORKS[name](num_batches=4)


def fresh_operator(task: Any) -> Any:
    """Return our Hessian as a user builds it."""
    import probes

    return probes.HessianOperator(task.model, task.loss, task.data, **task.operator_options())


def reference(operator: Any, quick: bool) -> Any:
    """Return converged answers, from many more products than anybody else spends."""
    import numpy as np
    from whole_answer_peers import Answer

    import spectra

    pairs = spectra.eigenpairs(operator, num=5, which="both", max_steps=400, keep_vectors=False)
    if not bool(pairs["converged"].all()):
        raise RuntimeError("the reference eigenvalues have not converged")
    eigenvalues = np.sort(pairs["eigenvalue"].values)[::-1]
    measure = spectra.slq(operator, num_probes=5 if quick else 20, num_steps=80, rng=1000)
    trace = spectra.trace(operator, num_matvecs=200 if quick else 1000, rng=1000)
    values, weights = measure["ritz_value"].values, measure["weight"].values
    finite = np.isfinite(values)
    return Answer(
        eigenvalues[:5],
        float(eigenvalues[-1]),
        trace.value,
        values[finite],
        weights[finite],
        notes={
            "top": eigenvalues[:5].tolist(),
            "smallest": float(eigenvalues[-1]),
            "trace": trace.value,
            "trace_stderr": trace.stderr,
            "largest_residual": float(pairs["residual"].max()),
        },
    )


def one_run(operator: Any, seed: int, *, num_probes: int, num_steps: int) -> Any:
    """Read everything from one run of ours."""
    from whole_answer_peers import from_nodes

    import spectra

    measure = spectra.slq(operator, num_probes=num_probes, num_steps=num_steps, rng=seed)
    products = int(measure.attrs["num_matvecs"])
    answer = from_nodes(measure["ritz_value"].values, measure["weight"].values, n=operator.shape[0], products=products)
    answer.trace = operator.shape[0] * spectra.expectation(measure, lambda x: x).value
    return answer


def our_runs(task: Any, operator: Any, truth: Any, reorthogonalized: Any) -> tuple[dict[str, Callable[[int], Any]], dict[str, Any]]:
    """Return our ways to the answer, and what was chosen for them."""
    import probes
    from whole_answer_peers import ACCURACY, quadratures, tuned

    runs: dict[str, Callable[[int], Any]] = {}
    # Of the same nodes all but the trace are read: no fewer products than these suffice.
    least = tuned(reorthogonalized.answer, quadratures(), truth, ("top", "smallest", "density"))
    sizes = [s for s in quadratures() if least and s["num_probes"] * s["num_steps"] >= least["products"]]
    chosen = tuned(lambda seed, **s: one_run(operator, seed, **s), sizes, truth, tuple(ACCURACY))
    if chosen is not None:
        size = {key: chosen[key] for key in ("num_probes", "num_steps")}
        runs[ONE_RUN] = lambda seed: one_run(fresh_operator(task), seed, **size)
    if "matrices" in inspect.signature(probes.measure).parameters:
        runs["ours, probes.measure"] = lambda seed: read_run(probes.measure(task, matrices=["hessian"], rng=seed))
    return runs, {ONE_RUN: chosen}


def peer_runs(
    task: Any, operator: Any, truth: Any, krylov: dict[bool, Any]
) -> tuple[dict[str, Callable[[int], Any]], dict[str, Any], dict[str, str]]:
    """Return the ways of the other libraries, what was chosen for them, and why some are missing."""
    from product_peers import math_attention
    from whole_answer_peers import TUNED, pyhessian

    runs, settings, missing = {}, {}, {}
    try:
        runs["PyHessian"] = pyhessian(task)
    except Exception as error:
        missing["PyHessian"] = f"{type(error).__name__}: {error}"[:300]
    for name, (prepare, orthogonal) in TUNED.items():
        began = time.process_time()
        try:
            calls, build = prepare(task, operator, krylov[orthogonal])
            plan = settings[name] = calls.plan(krylov[orthogonal], truth)
        except Exception as error:
            missing[name] = f"{type(error).__name__}: {error}"[:300]
            continue
        print(f"tuned {name} in {time.process_time() - began:.0f} s", file=sys.stderr)

        def run(seed: int, calls: Any = calls, build: Any = build, plan: Any = plan) -> Any:
            with math_attention():
                return calls.run(build(), seed, plan)

        runs[name] = run
    return runs, settings, missing


def timed(runs: dict[str, Callable[[int], Any]], truth: Any, reps: int) -> dict[str, dict[str, Any]]:
    """Run everybody in turn; return seconds, products and errors of each repeat."""
    rows: dict[str, dict[str, Any]] = {label: {"seconds": [], "products": [], "errors": []} for label in runs}
    for rep in range(reps):
        for label, run in runs.items():
            gc.collect()
            began = time.process_time()
            try:
                found = run(100 + rep)
            except Exception as error:  # a peer that fails is a result
                rows[label]["failed"] = f"{type(error).__name__}: {error}"[:300]
                continue
            rows[label]["seconds"].append(time.process_time() - began)
            rows[label]["products"].append(found.products)
            rows[label]["errors"].append(found.errors(truth))
            rows[label]["parts"] = found.notes
    return rows


def measure(name: str, *, reps: int, quick: bool) -> dict[str, Any]:
    """Tune, run and compare on one network."""
    import numpy as np
    from whole_answer_peers import KrylovRuns

    task = network(name)
    operator = fresh_operator(task)
    truth = reference(operator, quick)
    print(f"{name}: reference ready", file=sys.stderr)
    krylov = {flag: KrylovRuns(operator, reorthogonalize=flag) for flag in (True, False)}
    runs, settings = our_runs(task, operator, truth, krylov[True])
    others, chosen, missing = peer_runs(task, operator, truth, krylov)
    rows = timed(runs | others, truth, reps)
    cell = {"n": operator.shape[0], "reference": truth.notes, "settings": settings | chosen, "missing": missing}
    finished = {label: np.array(row["seconds"]) for label, row in rows.items() if len(row["seconds"]) == reps}
    speedups = {}
    for ours in (label for label in finished if label.startswith("ours")):
        ratios = {k: float(np.median(v / finished[ours])) for k, v in finished.items() if not k.startswith("ours")}
        tuned_ratios = [ratio for label, ratio in ratios.items() if label != "PyHessian"]
        ratios |= {"best other": min(tuned_ratios)} if tuned_ratios else {}
        speedups[ours] = ratios
    return {**cell, "rows": rows, "speedups": speedups}


def show(name: str, cell: dict[str, Any]) -> None:
    """Print the table of one network."""
    from statistics import median

    from whole_answer_peers import ACCURACY

    said = cell["reference"]
    print(f"\n{name}: n = {cell['n']}; trace {said['trace']:.4g} ± {said['trace_stderr']:.2g}, ", end="")
    print(f"top {', '.join(f'{value:.4g}' for value in said['top'])}, smallest {said['smallest']:.4g}")
    print(f"{'':24s}{'s':>9s}{'products':>10s}" + "".join(f"{key:>12s}" for key in ACCURACY) + "  (rms errors)")
    for label, row in cell["rows"].items():
        if not row["seconds"]:
            print(f"{label:24s} failed: {row['failed']}")
            continue
        rms = {key: (sum(e[key] ** 2 for e in row["errors"]) / len(row["errors"])) ** 0.5 for key in ACCURACY}
        text = "".join(f"{rms[key]:11.1e}" + ("!" if rms[key] > bound else " ") for key, bound in ACCURACY.items())
        parts = f"  {row['parts']}" if row["parts"] else ""
        print(f"{label:24s}{median(row['seconds']):9.2f}{median(row['products']):10.0f}{text}{parts}")
    for label, setting in cell["settings"].items():
        print(f"settings of {label}: {setting or 'the accuracy is not reached'}")
    for label, reason in cell["missing"].items():
        print(f"left out: {label}: {reason}")
    for ours, ratios in cell["speedups"].items():
        for label, required in TARGETS.items():
            if label in ratios:
                verdict = "met" if ratios[label] >= required else "MISSED"
                print(f"{ours}: {ratios[label]:.2f} times faster than {label}, required {required:.1f}  {verdict}")


def main() -> None:
    """Measure, print and write."""
    parser = arguments(__doc__)
    parser.add_argument("--models", default="mlp,cnn,gpt", help="names, by commas: these or those of networks.py")
    parser.add_argument("--reps", type=int, default=3)
    options = parser.parse_args()
    set_threads(1)
    from product_peers import versions
    from whole_answer_peers import ACCURACY

    cells = {}
    for name in ["mlp"] if options.quick else options.models.split(","):
        cells[name] = measure(name, reps=1 if options.quick else options.reps, quick=options.quick)
        show(name, cells[name])
    if options.output is not None:
        result = {"benchmark": "whole answer", "accuracy": ACCURACY, "peers": versions(), "cells": cells}
        write(result, options.output)


if __name__ == "__main__":
    main()
