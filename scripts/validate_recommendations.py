"""Do the recommended learning rates come true? Sweep the rate on real tasks and compare.

For every cell (task x optimizer x batch size x seed) this trains from the same initial state at each rate of a factor-2
grid, finds the best final training loss and the divergence threshold, and then trains *at* the rate that
``probes.recommend`` suggests and at the rate of a learning-rate range test, so that the regret is measured and not
interpolated::

    regret = (loss - best loss of the sweep) / (initial loss - best loss of the sweep)       1 if diverged

The threshold is the largest grid rate below the first one that ends non-finite or above the initial loss. Results go
to a JSON file that is continued when the script is started again; the table is printed as Markdown.

    python scripts/validate_recommendations.py --quick        # within ten minutes on two cores
    python scripts/validate_recommendations.py                # everything
"""

import argparse
import copy
import json
import math
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

import probes
from probes.objective import forward
from probes.parameters import select
from probes.training import TrainingRun
from spectra.recommend import OptimizerSpec, advise

GRIDS = {
    "sgd": 2.0 ** np.arange(-8, 5),
    "momentum": 2.0 ** np.arange(-11, 2),
    "adamw": 2.0 ** np.arange(-13, 0),
}


@dataclass(frozen=True)
class Cell:
    """One setting that is swept."""

    task: str
    optimizer: str
    batch_size: int
    seed: int
    num_steps: int
    reference_size: int | None = None

    @property
    def key(self) -> str:
        """Name of the cell in the result file."""
        return f"{self.task}|{self.optimizer}|b{self.batch_size}|seed{self.seed}|{self.num_steps}"


def cells(quick: bool) -> list[Cell]:
    """Return the cells of the quick or the full validation."""
    if quick:
        found = [Cell(task, o, 64, 0, 200) for task in ("digits_mlp", "digits_cnn") for o in GRIDS]
        # 256 sequences of 64 tokens in place of 512, to end within ten minutes.
        return found + [Cell("char_transformer", o, 16, 0, 100, 256) for o in GRIDS]
    sizes = {"digits_mlp": (16, 64, 256), "digits_cnn": (16, 64, 256), "char_transformer": (8, 32)}
    return [
        Cell(task, optimizer, size, seed, 200)
        for task, batch_sizes in sizes.items()
        for size in batch_sizes
        for optimizer in GRIDS
        for seed in (0, 1)
    ]


def mean_loss(task: probes.Task, model: torch.nn.Module) -> float:
    """Return the mean training loss over (at most 1024 samples of) the data, in evaluation mode."""
    from probes.losses import read_loss

    samples = task.samples()
    order = np.random.default_rng(123).permutation(samples.num_samples)[:1024]
    loss, total = read_loss(task.loss), 0.0
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for rows in np.array_split(order, 8):
            batch = samples.take(rows)
            total += float(loss.value(forward(model, batch, task.output), batch.target)) * len(rows)
    model.train(was_training)
    return total / len(order)


def train(task: probes.Task, cell: Cell, rate: float) -> float:
    """Return the final loss after training at a constant rate; infinity when it diverged."""
    model = copy.deepcopy(task.model)
    run = TrainingRun(
        task,
        model,
        list(select(model, task.parameters).values()),
        task.samples(),
        optimizer=OptimizerSpec(kind=cell.optimizer),
        batch_size=cell.batch_size,
        learning_rate=rate,
        rng=np.random.default_rng([cell.seed, 7]),
    )
    if not run.advance(cell.num_steps):
        return math.inf
    final = mean_loss(task, model)
    return final if math.isfinite(final) else math.inf


def range_test(task: probes.Task, cell: Cell, *, num_steps: int = 100, low: float = 1e-6, high: float = 10.0) -> float:
    """Return the suggestion of a learning-rate range test: steepest descent of the smoothed loss of a ramp.

    The ramp is exponential, the loss is exponentially smoothed (0.95, bias-corrected) against the logarithm of the
    rate, and the ramp stops at four times the best smoothed loss (Smith 2017, arXiv 1506.01186; the rule that range
    finders apply).
    """
    model = copy.deepcopy(task.model)
    run = TrainingRun(
        task,
        model,
        list(select(model, task.parameters).values()),
        task.samples(),
        optimizer=OptimizerSpec(kind=cell.optimizer),
        batch_size=cell.batch_size,
        learning_rate=low,
        rng=np.random.default_rng([cell.seed, 8]),
    )
    rates, smoothed, average = [], [], 0.0
    for index in range(num_steps):
        rate = low * (high / low) ** (index / (num_steps - 1))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        alive = run.advance(1)
        if not math.isfinite(run.losses[-1]):
            break
        average = 0.95 * average + 0.05 * run.losses[-1]
        rates.append(rate)
        smoothed.append(average / (1 - 0.95 ** (index + 1)))
        if not alive or smoothed[-1] > 4 * min(smoothed):
            break
    slope = np.gradient(np.array(smoothed), np.log(rates))
    return float(rates[int(np.argmin(slope))])


def evaluate(cell: Cell) -> dict:
    """Sweep one cell, and train at the suggestions."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    task = getattr(probes.examples, cell.task)()
    initial = mean_loss(task, task.model)
    grid = GRIDS[cell.optimizer]
    losses, failures = [], 0
    for rate in grid:
        losses.append(math.inf if failures >= 2 else train(task, cell, float(rate)))
        failures = failures + 1 if losses[-1] > initial else 0
    swept = time.perf_counter() - started
    best = int(np.argmin(losses))
    unstable = [i for i, loss in enumerate(losses) if loss > initial]
    threshold = float(grid[unstable[0] - 1]) if unstable and unstable[0] else None
    started = time.perf_counter()
    run = probes.measure_run(
        task,
        optimizer=cell.optimizer,
        batch_size=cell.batch_size,
        plan=probes.MeasurementPlan(num_probes=0, reference_size=cell.reference_size),
        rng=cell.seed,
    )
    advice = advise(run)
    measured = time.perf_counter() - started
    suggestions = {
        "recommended": advice.learning_rate.evidence["unwithheld_value"],
        "limit": advice.max_stable_learning_rate.value,
        "range_test": range_test(task, cell),
    }
    rules = {}
    for name, rate in suggestions.items():
        if rate is None:
            continue
        final = train(task, cell, rate)
        spread = initial - losses[best]
        rules[name] = {
            "rate": rate,
            "ratio_to_best": rate / float(grid[best]),
            "ratio_to_threshold": rate / threshold if threshold else None,
            "above_threshold": bool(threshold and rate > threshold),
            "final_loss": final if math.isfinite(final) else None,
            "diverged": not final <= initial,
            "regret": min(1.0, (final - losses[best]) / spread) if final <= initial else 1.0,
        }
    return {
        **asdict(cell),
        "initial_loss": initial,
        "best_rate": float(grid[best]),
        "best_loss": losses[best],
        "best_is_at_edge": best in (0, len(grid) - 1),
        "threshold": threshold,
        "verdict": str(advice.verdict),
        "reason": advice.learning_rate.reason,
        "rules": rules,
        "sweep": {
            f"{rate:.6g}": loss if math.isfinite(loss) else None for rate, loss in zip(grid, losses, strict=True)
        },
        "seconds_sweep": swept,
        "seconds_recommendation": measured,
    }


def text_of(value: float | None, form: str = ".3g") -> str:
    """Return a number for the table."""
    return "-" if value is None else format(value, form)


def tables(results: list[dict]) -> str:
    """Return the table of cells and the summary by optimizer and rule, as Markdown."""
    columns = "task|optimizer|batch|seed|best|threshold|suggested|/ best|/ threshold|regret|verdict"
    lines = _header(f"{columns}|range test / best|its regret")
    for item in results:
        ours, test = item["rules"].get("recommended", {}), item["rules"]["range_test"]
        cells = (
            item["task"],
            item["optimizer"],
            str(item["batch_size"]),
            str(item["seed"]),
            text_of(item["best_rate"]),
            text_of(item["threshold"]),
            text_of(ours.get("rate")),
            text_of(ours.get("ratio_to_best"), ".2f"),
            text_of(ours.get("ratio_to_threshold"), ".2f"),
            text_of(ours.get("regret"), ".3f"),
            item["verdict"],
            text_of(test["ratio_to_best"], ".2f"),
            text_of(test["regret"], ".3f"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    summary = "optimizer|rule|cells|ratio to best: median [min, max]|regret: median, max|above threshold or diverged"
    lines += ["", *_header(summary)]
    for optimizer in GRIDS:
        for rule, label in (
            ("recommended", "**recommended**"),
            ("limit", "stable limit"),
            ("range_test", "range test"),
        ):
            found = [r["rules"][rule] for r in results if r["optimizer"] == optimizer and rule in r["rules"]]
            if not found:
                continue
            ratios, regrets = [f["ratio_to_best"] for f in found], [f["regret"] for f in found]
            above = sum(f["above_threshold"] or f["diverged"] for f in found)
            spread = f"{np.median(ratios):.2f} [{min(ratios):.2g}, {max(ratios):.2g}]"
            cost = f"{np.median(regrets):.3f}, {max(regrets):.2f}"
            lines.append(f"| {optimizer} | {label} | {len(found)} | {spread} | {cost} | {above} |")
    return "\n".join(lines)


def _header(columns: str) -> list[str]:
    """Return the first two lines of a Markdown table."""
    names = columns.split("|")
    return [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]


def main() -> None:
    """Run the cells that the result file lacks, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="nine cells, within ten minutes on two cores")
    parser.add_argument(
        "--results", type=Path, default=None, help="JSON file to continue (default build/validation*.json)"
    )
    parser.add_argument("--table", type=Path, default=None, help="also write the Markdown table to this file")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    arguments = parser.parse_args()
    path = arguments.results or Path("build") / ("validation_quick.json" if arguments.quick else "validation.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = json.loads(path.read_text())["cells"] if path.exists() else {}
    wanted = cells(arguments.quick)
    # The longest first, so that no worker is left alone with one at the end.
    missing = sorted((cell for cell in wanted if cell.key not in stored), key=lambda cell: cell.task)
    with ProcessPoolExecutor(arguments.workers) as pool:
        futures = {pool.submit(evaluate, cell): cell for cell in missing}
        for number, future in enumerate(as_completed(futures), 1):
            cell = futures[future]
            stored[cell.key] = future.result()
            environment = {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            }
            path.write_text(json.dumps({"environment": environment, "cells": stored}, indent=1))
            print(
                f"{number}/{len(missing)} {cell.key}: {stored[cell.key]['seconds_sweep']:.0f} s sweep",
                flush=True,
            )
    text = tables([stored[cell.key] for cell in wanted])
    print(text)
    if arguments.table:
        arguments.table.write_text(text + "\n")


if __name__ == "__main__":
    main()
