"""What does a curvature product cost? Time per vector over that of plain PyTorch, ours and other libraries'.

Two units, timed in every round beside everything else: **A**, a double backward of plain PyTorch whose graph is built
for each vector (math attention), and **B**, one gradient. A ratio is the median over rounds of ratios within a round;
the order within rounds rotates. Clock: processor time of one thread. Every product is compared with one in float64 that
shares no code with any of them before it is timed. What is off by more than 1e-4, and by more than three times what
the same plain double backward in float32 is off (an activation near its kink), is marked WRONG.

Below the table: the targets, and how far the best of ours is from the operation count of an exact product of one
vector, 2 gradients for a Hessian and 4/3 for a Gauss-Newton matrix (a forward pass is a third of a gradient).

    python scripts/benchmarks/products.py --output products.json
    python scripts/benchmarks/products.py --models mlp32,gpt --reps 5 --num-batches 4 --strategies all
"""

import gc
import inspect
import time
from collections.abc import Callable
from typing import Any

from environment import arguments, set_threads, write

COLUMNS = 8
WRONG = 1e-4
#: Claims about a block of 8, per vector: library and way (None: unit A), matrix, factor, and whether it is a speedup.
TARGETS = (
    (None, "hessian", 0.60),
    (None, "gauss_newton", 0.45),
    ("PyHessian: hessian, loader", "hessian", 1.6),
    ("hessian-eigenthings: hessian, one vector", "hessian", 1.6),
    ("hessian-eigenthings: gauss_newton, one vector", "gauss_newton", 1.6),
    ("curvlinops: hessian, one vector", "hessian", 1.6),
    ("curvlinops: gauss_newton, one vector", "gauss_newton", 1.6),
    ("PyHessian: hessian, kept graph", "hessian", 1.0),
    (f"curvlinops: hessian, block of {COLUMNS}", "hessian", 1.0),
    (f"curvlinops: gauss_newton, block of {COLUMNS}", "gauss_newton", 1.0),
)
LIMITS = {"hessian": 2.0, "gauss_newton": 4.0 / 3.0}
OURS = {"hessian": "HessianOperator", "gauss_newton": "GaussNewtonOperator"}


def our_products(task: Any, block: Any, wanted: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """Return our products, automatic and with each strategy wanted, and what was built."""
    from product_peers import Product

    import probes

    products, built = [], {}
    for matrix, kind in OURS.items():
        operator_class = getattr(probes, kind)
        forced = [s for s in wanted if s in getattr(operator_class, "strategies", ())]
        if wanted == ["all"]:  # differences of gradients are no exact product and never chosen
            forced = [s for s in getattr(operator_class, "strategies", ()) if s != "differences"]
        if "strategy" not in inspect.signature(operator_class.__init__).parameters:
            forced = []
        for strategy in [None, *forced]:
            options = task.operator_options() | ({} if strategy is None else {"strategy": strategy})
            name = strategy or "automatic"
            try:
                checked = 0.0
                for _ in range(2):  # the first imports modules and uses kernels for the first time
                    began = time.process_time()
                    operator = operator_class(task.model, task.loss, task.data, **options)
                    checked = time.process_time() - began
                    if checked > 10.0:
                        break
                began = time.process_time()
                operator_class(task.model, task.loss, task.data, **options, check=False)
                bare = time.process_time() - began
            except Exception as error:  # a strategy that does not suit this network is a result
                built[f"{matrix}, {name}"] = {"failed": f"{type(error).__name__}: {error}"[:300]}
                continue
            built[f"{matrix}, {name}"] = {"operator": operator, "seconds": checked, "seconds_without_check": bare}
            for part in (block[:, :1].reshape(-1), block):
                columns = part.shape[1] if part.ndim == 2 else 1
                products.append(
                    Product(
                        library="probes",
                        name=f"{name}, " + (f"block of {columns}" if part.ndim == 2 else "one vector"),
                        matrix=matrix,
                        columns=columns,
                        run=lambda operator=operator, part=part: operator @ part,
                        flat=lambda result: result.reshape(len(result), -1),
                    )
                )
    return products, built


def time_rounds(calls: dict[str, Callable[[], Any]], reps: int) -> dict[str, list[float]]:
    """Time every call once per round, in rotating order, each long enough for the clock; seconds of one call."""
    repeats = {}
    for label, call in calls.items():  # warm: first use of kernels, caches, and how long a call takes
        call()
        began = time.process_time()
        call()
        repeats[label] = max(1, min(20, round(0.04 / max(time.process_time() - began, 1e-6))))
    seconds: dict[str, list[float]] = {label: [] for label in calls}
    labels = list(calls)
    for rep in range(reps):
        shift = rep * 5 % len(labels)
        for label in labels[shift:] + labels[:shift]:
            gc.collect()
            began = time.process_time()
            for _ in range(repeats[label]):
                calls[label]()
            seconds[label].append((time.process_time() - began) / repeats[label])
    return seconds


def measure(name: str, *, num_batches: int, reps: int, strategies: list[str]) -> dict[str, Any]:
    """Check and time all products of one network."""
    import torch
    from networks import NETWORKS
    from product_peers import math_attention, peer_products, trainable
    from product_reference import plain_products, reference

    task = NETWORKS[name](num_batches=num_batches)
    n = sum(p.numel() for p in trainable(task.model))
    block = torch.randn(COLUMNS, n, generator=torch.Generator().manual_seed(1)).T  # as Lanczos hands over its vectors
    products, gradients = plain_products(task, block)
    ours, built = our_products(task, block, strategies)
    peers, missing = peer_products(task, block)
    checked = block[:, : 2 if n > 5e6 else COLUMNS]
    truth = {matrix: reference(task, matrix, checked) for matrix in OURS}
    rounding = {m: relative_errors(reference(task, m, checked, torch.float32), truth[m]) for m in OURS}
    rows: dict[str, dict[str, Any]] = {}
    calls = dict(gradients)
    for product in [*products, *ours, *peers]:
        context = math_attention if product.library not in ("probes", "PyTorch") else None
        run = _within(context, product.run)
        try:
            found = product.flat(run()).double()
        except Exception as error:
            missing[product.label] = f"{type(error).__name__}: {error}"[:300]
            continue
        off = relative_errors(found, truth[product.matrix])
        plain = rounding[product.matrix][: len(off)]
        rows[product.label] = {
            "matrix": product.matrix,
            "columns": product.columns,
            "relative_error": max(off),
            "float32_error": max(plain),
            "wrong": not max(off) <= max(WRONG, 3.0 * max(plain)),
        }
        calls[product.label] = run
    seconds = time_rounds(calls, reps)
    unit_a, unit_b = seconds[products[0].label], seconds["gradient (B)"]
    rows |= {label: {"matrix": None, "columns": 1, "relative_error": None, "wrong": False} for label in gradients}
    for label, row in rows.items():
        per_vector = [s / row["columns"] for s in seconds[label]]
        row |= {
            "seconds_per_vector": per_vector,
            "over_double_backward": ratio(per_vector, unit_a),
            "over_gradient": ratio(per_vector, unit_b),
        }
    for entry in built.values():
        operator = entry.pop("operator", None)
        if operator is not None:
            entry["strategy"] = getattr(operator, "product_strategy", None)
            entry["gradients"] = entry["seconds"] / median(unit_b)
            entry["gradients_without_check"] = entry["seconds_without_check"] / median(unit_b)
    return {"n": n, "num_batches": num_batches, "rows": rows, "built": built, "missing": missing, **compare(rows)}


def relative_errors(found: Any, truth: Any) -> list[float]:
    """Return the relative error of each column that is known exactly."""
    columns = min(found.shape[1], truth.shape[1])
    off = (found[:, :columns] - truth[:, :columns]).norm(dim=0) / truth[:, :columns].norm(dim=0)
    return off.tolist()


def _within(context: Callable[[], Any] | None, run: Callable[[], Any]) -> Callable[[], Any]:
    if context is None:
        return run

    def inside() -> Any:
        with context():
            return run()

    return inside


def median(values: list[float]) -> float:
    """Return the median."""
    return sorted(values)[len(values) // 2] if len(values) % 2 else sum(sorted(values)[len(values) // 2 - 1 :][:2]) / 2


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Return the median of ratios within rounds, and their range."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": median(ratios), "low": min(ratios), "high": max(ratios)}


def compare(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Hold our automatic block product against the targets and the operation count."""
    claims, limits = [], {}
    for peer, matrix, required in TARGETS:
        ours = rows.get(f"probes: {matrix}, automatic, block of {COLUMNS}")
        if ours is None or (peer is not None and peer not in rows):
            continue
        if peer is None:
            observed = ours["over_double_backward"]["median"]
            claims.append((f"{matrix}: over A at most", required, observed, observed <= required))
        else:
            observed = ratio(rows[peer]["seconds_per_vector"], ours["seconds_per_vector"])["median"]
            wrong = " (WRONG there)" if rows[peer]["wrong"] else ""
            claims.append((f"faster than {peer}{wrong}", required, observed, observed >= required))
    for matrix, limit in LIMITS.items():
        ours = [row for label, row in rows.items() if label.startswith(f"probes: {matrix}, automatic")]
        best = min((row["over_gradient"]["median"] for row in ours), default=None)
        limits[matrix] = {"gradients": best, "operation_count": limit}
    keys = ("claim", "required", "observed", "passed")
    return {"targets": [dict(zip(keys, claim, strict=True)) for claim in claims], "limits": limits}


def show(name: str, cell: dict[str, Any]) -> None:
    """Print the table of one network."""
    print(f"\n{name}: n = {cell['n']}, {cell['num_batches']} batch(es); per vector, medians of ratios within rounds")
    print(f"{'':58s}{'ms':>9s}{'/ A':>7s}{'/ B':>7s}{'error':>10s}")
    for label, row in cell["rows"].items():
        error = row["relative_error"]
        tail = "" if error is None else f"{error:10.1e}" + ("  WRONG" if row["wrong"] else "")
        print(
            f"{label:58s}{1e3 * median(row['seconds_per_vector']):9.2f}"
            f"{row['over_double_backward']['median']:7.2f}{row['over_gradient']['median']:7.2f}{tail}"
        )
    for label, entry in cell["built"].items():
        if "failed" in entry:
            print(f"left out: {label}: {entry['failed']}")
        else:
            print(
                f"building {label} ({entry['strategy'] or 'the only strategy'}): {entry['gradients']:.1f} gradients, "
                f"{entry['gradients_without_check']:.1f} without self-check"
            )
    for label, reason in cell["missing"].items():
        print(f"left out: {label}: {reason}")
    for target in cell["targets"]:
        verdict = "met" if target["passed"] else "MISSED"
        print(f"{target['claim']:62s} required {target['required']:.2f}, observed {target['observed']:.2f}  {verdict}")
    for matrix, limit in cell["limits"].items():
        if limit["gradients"] is not None:
            print(f"{matrix}: {limit['gradients']:.2f} gradients; operation count {limit['operation_count']:.2f}")


def main() -> None:
    """Measure, print and write."""
    parser = arguments(__doc__)
    parser.add_argument("--models", default="mlp32,mlp512,cnn,resnet20,gpt,gpt4,minilm", help="names, by commas")
    parser.add_argument("--reps", type=int, default=9)
    parser.add_argument("--num-batches", type=int, default=1)
    parser.add_argument("--strategies", default="all", help="of our operators: names by commas, 'all' or ''")
    options = parser.parse_args()
    set_threads(1)
    from product_peers import versions

    cells = {}
    for name in ["mlp32"] if options.quick else options.models.split(","):
        strategies = [part for part in options.strategies.split(",") if part]
        try:
            cells[name] = measure(
                name, num_batches=options.num_batches, reps=2 if options.quick else options.reps, strategies=strategies
            )
        except ImportError as error:
            print(f"\n{name} left out: {error}")
            continue
        show(name, cells[name])
    if options.output is not None:
        write({"benchmark": "products", "peers": versions(), "cells": cells}, options.output)


if __name__ == "__main__":
    main()
