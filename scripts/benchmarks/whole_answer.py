"""What does the whole answer about a Hessian cost? Five top eigenvalues, smallest one, trace and density, by everybody.

* PyHessian as it comes: ``eigenvalues(top_n=5)``, ``trace()``, and ``density()``, whose smallest node is taken;
* the parts of `spectra`, hessian-eigenthings and curvlinops, each with the fewest products that reach the accuracy: a
  call for each quantity, or the end values, or all, from the nodes of the quadrature (`whole_answer_accuracy`).

Accuracy: every top eigenvalue 1e-4 relative, smallest eigenvalue 1 %, trace 1 %, density within 2e-3 of the width of
the spectrum in Wasserstein-1 distance; root mean squares over three seeds, not those of the timed runs. Reference:
converged eigenpairs, a trace of 4000 products (its standard error is printed), and a quadrature of 20 probes and 80
steps. PyHessian's own answers may be worse than this: it stops where its defaults stop. Processor times of interleaved
repeats over a loader of four batches; building the operators, with our self-check, is part of the time.

    python scripts/benchmarks/whole_answer.py --output whole_answer.json
    python scripts/benchmarks/whole_answer.py --models gpt --reps 3
"""

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

from environment import arguments, set_threads, write

TARGETS = {"PyHessian": 4.0, "best other": 3.0}
OURS = "ours, tuned"


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
    import math

    import numpy as np
    from whole_answer_accuracy import Answer

    import spectra

    pairs = spectra.eigenpairs(operator, num=5, which="both", max_steps=400, keep_vectors=False)
    if not bool(pairs["converged"].all()):
        raise RuntimeError("the reference eigenvalues have not converged")
    eigenvalues = np.sort(pairs["eigenvalue"].values)[::-1]
    measure = spectra.slq(operator, num_probes=5 if quick else 20, num_steps=80, rng=1000)
    traces = [spectra.trace(operator, num_matvecs=400, rng=1000 + i) for i in range(3 if quick else 10)]
    values, weights = measure["ritz_value"].values, measure["weight"].values
    finite = np.isfinite(values)
    trace = float(np.mean([estimate.value for estimate in traces]))
    return Answer(
        eigenvalues[:5],
        float(eigenvalues[-1]),
        trace,
        values[finite],
        weights[finite],
        notes={
            "top": eigenvalues[:5].tolist(),
            "smallest": float(eigenvalues[-1]),
            "trace": trace,
            "trace_stderr": math.hypot(*(estimate.stderr for estimate in traces)) / len(traces),
            "largest_residual": float(pairs["residual"].max()),
        },
    )


def our_calls(task: Any, operator: Any, runs: Any) -> tuple[Any, Callable[[], Any]]:
    """Return our calls, and a function that builds the operator."""
    from whole_answer_accuracy import STEPS, Answer, Calls, from_nodes

    import spectra

    def nodes(operator: Any, seed: int, *, num_probes: int, num_steps: int) -> Any:
        measure = spectra.slq(operator, num_probes=num_probes, num_steps=num_steps, rng=seed)
        products = int(measure.attrs["num_matvecs"])
        values, weights = measure["ritz_value"].values, measure["weight"].values
        answer = from_nodes(values, weights, n=operator.shape[0], products=products)
        answer.trace = operator.shape[0] * spectra.expectation(measure, lambda x: x).value
        return answer

    def end(which: str) -> Callable[..., Any]:
        def call(operator: Any, seed: int, *, num: int) -> Any:
            found = spectra.eigenpairs(
                operator, num=5 if which == "largest" else 1, which=which, max_steps=num, rng=seed, keep_vectors=False
            )
            values, products = found["eigenvalue"].values, int(found.attrs["num_matvecs"])
            return (
                Answer(values, products=products) if len(values) > 1 else Answer(smallest=values[0], products=products)
            )

        return call

    def trace(operator: Any, seed: int, *, num: int) -> Any:
        found = spectra.trace(operator, num_matvecs=num, rng=seed)
        return Answer(trace=found.value, products=found.num_matvecs)

    calls = Calls(
        top=end("largest"),
        smallest=end("smallest"),
        nodes=nodes,
        traces={"trace": trace},
        exact=operator,
        tune_top=runs.end,
        tune_smallest=runs.end,
        ends=[{"num": num} for num in STEPS],
    )
    return calls, lambda: fresh_operator(task)


def all_runs(
    task: Any, operator: Any, truth: Any, krylov: dict[bool, Any]
) -> tuple[dict[str, Callable[[int], Any]], dict[str, Any], dict[str, str]]:
    """Return everybody's way to the answer, what was chosen for them, and why some are missing."""
    from product_peers import math_attention
    from whole_answer_peers import TUNED, pyhessian

    runs: dict[str, Callable[[int], Any]] = {}
    settings, missing = {}, {}
    try:
        runs["PyHessian"] = pyhessian(task)
    except Exception as error:
        missing["PyHessian"] = f"{type(error).__name__}: {error}"[:300]
    for name, (prepare, orthogonal) in {OURS: (our_calls, True), **TUNED}.items():
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
    from whole_answer_accuracy import KrylovRuns

    task = network(name)
    operator = fresh_operator(task)
    truth = reference(operator, quick)
    print(f"{name}: reference ready", file=sys.stderr)
    krylov = {flag: KrylovRuns(operator, reorthogonalize=flag) for flag in (True, False)}
    runs, settings, missing = all_runs(task, operator, truth, krylov)
    rows = timed(runs, truth, reps)
    cell = {"n": operator.shape[0], "reference": truth.notes, "settings": settings, "missing": missing}
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

    from whole_answer_accuracy import ACCURACY

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
    from whole_answer_accuracy import ACCURACY

    cells = {}
    for name in ["mlp"] if options.quick else options.models.split(","):
        cells[name] = measure(name, reps=1 if options.quick else options.reps, quick=options.quick)
        show(name, cells[name])
    if options.output is not None:
        result = {"benchmark": "whole answer", "accuracy": ACCURACY, "peers": versions(), "cells": cells}
        write(result, options.output)


if __name__ == "__main__":
    main()
