"""Do the recommended learning rates come true? Sweep the rate on real tasks and compare.

For every cell (task x optimizer x batch size x schedule x seed) this trains from one initial state at the rates of a
factor-2 grid, finds the best final training loss and the divergence threshold, and then trains *at* the rate that
``probes.recommend`` suggests, at that of its one-probe rule, and at those of three range-test finders, so that regrets
are measured and not interpolated::

    regret = (loss - best loss of the sweep) / (initial loss - best loss of the sweep)       1 if diverged

It is negative where a rate between those of the grid does better. The threshold is the largest grid rate below the
first one above the best that ends non-finite or above the initial loss. Rules were tuned on one half of the tasks only;
the other half is reported separately. Results go to JSON files in a folder, and the script continues what it finds
there; every part is seeded.

    python scripts/validate_recommendations.py --quick        # twelve cells, some minutes on two cores
    python scripts/validate_recommendations.py                # everything, hours
"""

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.validation.cells import HELD_OUT, TUNING, Cell, cells
from scripts.validation.finders import suggestions
from scripts.validation.plots import plot_validation
from scripts.validation.suggest import recommendation
from scripts.validation.sweep import regret, sweep, train
from scripts.validation.tables import cell_table, summary_table


def measured(cell: Cell) -> str:
    """Return the key of what does not depend on the schedule."""
    return cell.key.replace(cell.schedule, "any")


def outcomes(cell: Cell, swept: dict, advice: dict, found: dict[str, float | None]) -> dict:
    """Train at every suggestion and compare with the sweep."""
    torch.set_num_threads(1)
    factor = (advice["peak_factor"] or 1.0) if cell.schedule == "linear" else 1.0
    rates = {
        "self-consistent": advice["self_consistent"],
        "one probe": advice["one_probe"],
    }
    rates = {name: rate and rate * factor for name, rate in rates.items()} | found
    task, rules = cell.build(), {}
    for name, rate in rates.items():
        if rate is None:
            continue
        final = train(task, cell, rate)
        rules[name] = {
            "rate": rate,
            "ratio_to_best": rate / swept["best_rate"],
            "above_threshold": bool(swept["threshold"] and rate > swept["threshold"] * 1.001),
            "final_loss": final if math.isfinite(final) else None,
            "diverged": not final <= swept["initial_loss"],
            "regret": regret(final, swept),
        }
    return {
        "best_rate": swept["best_rate"],
        "threshold": swept["threshold"],
        "verdict": advice["verdict"],
        "seconds": advice["seconds"],
        "epochs": advice["epochs"],
        "rules": rules,
    }


class Store:
    """A JSON file of results by key, written whole after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, dict] = json.loads(path.read_text()) if path.exists() else {}

    def fill(self, pool: ProcessPoolExecutor, jobs: dict[str, tuple[Callable[..., dict], tuple]]) -> None:
        """Run the jobs whose key is missing."""
        if self.path.exists():
            self.results |= json.loads(self.path.read_text())
        missing = {key: job for key, job in jobs.items() if key not in self.results}
        futures = {pool.submit(function, *arguments): key for key, (function, arguments) in missing.items()}
        for number, future in enumerate(as_completed(futures), 1):
            self.results[futures[future]] = future.result()
            partial = self.path.with_suffix(".part")
            partial.write_text(json.dumps(self.results, indent=1))
            os.replace(partial, self.path)
            print(f"{self.path.stem} {number}/{len(missing)} {futures[future]}", flush=True)


def run(wanted: list[Cell], folder: Path, workers: int) -> dict[str, dict]:
    """Run every part that the folder lacks; return the outcomes of the cells."""
    folder.mkdir(parents=True, exist_ok=True)
    sweeps, advice, found, results = (
        Store(folder / f"{name}.json") for name in ("sweeps", "advice", "finders", "outcomes")
    )
    with ProcessPoolExecutor(workers) as pool:
        advice.fill(pool, {measured(cell): (recommendation, (cell,)) for cell in wanted})
        found.fill(pool, {measured(cell): (suggestions, (cell,)) for cell in wanted})
        sweeps.fill(pool, {cell.key: (sweep, (cell,)) for cell in wanted})
        results.fill(
            pool,
            {
                cell.key: (
                    outcomes,
                    (cell, sweeps.results[cell.key], advice.results[measured(cell)], found.results[measured(cell)]),
                )
                for cell in wanted
            },
        )
    (folder / "environment.json").write_text(
        json.dumps({"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__})
    )
    return results.results


def report(results: dict[str, dict], wanted: list[Cell]) -> str:
    """Return the tables of both halves."""
    parts = []
    for title, tasks in (("Held-out tasks", HELD_OUT), ("Tuning tasks", TUNING)):
        for schedule in ("constant", "linear"):
            half = [cell for cell in wanted if cell.task in tasks and cell.schedule == schedule]
            if any(cell.key in results for cell in half):
                parts.append(f"### {title}, {schedule} learning rate\n\n{summary_table(results, half)}")
    parts.append(f"### Every cell\n\n{cell_table(results, wanted)}")
    return "\n\n".join(parts)


def main() -> None:
    """Run the cells that the folder lacks, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="twelve cells, some minutes on two cores")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds to run (default both)")
    parser.add_argument("--tasks", nargs="+", default=[*TUNING, *HELD_OUT], help="tasks to run (default all)")
    parser.add_argument("--folder", type=Path, default=Path("build/validation"), help="results, to be continued")
    parser.add_argument("--table", type=Path, default=None, help="also write the Markdown tables to this file")
    parser.add_argument("--plot", type=Path, default=None, help="also draw the results into this file (.png, .svg)")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    arguments = parser.parse_args()
    wanted = [c for c in cells(quick=arguments.quick) if c.seed in arguments.seeds and c.task in arguments.tasks]
    results = run(wanted, arguments.folder, arguments.workers)
    text = report(results, wanted)
    print(text)
    if arguments.plot:
        plot_validation(results, wanted, arguments.plot)
    if arguments.table:
        arguments.table.write_text(text + "\n")


if __name__ == "__main__":
    main()
