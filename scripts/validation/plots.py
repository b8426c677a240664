"""One picture of a validation: recommended against best rates, and the regrets of all rules."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from scripts.validation.cells import GRIDS, Cell
from scripts.validation.tables import RULES

__all__ = ["plot_validation"]

_COLORS = {"sgd": "#0072B2", "momentum": "#D55E00", "adamw": "#009E73"}
_NAMES = {"sgd": "SGD", "momentum": "momentum 0.9", "adamw": "AdamW"}


def plot_validation(results: dict[str, dict], cells: Iterable[Cell], path: Path) -> None:
    """Write the picture: left, recommended against best rate of each cell; right, the regrets, one panel an optimizer.

    Filled marks are held-out tasks, open ones the tasks on which rules were tuned.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = [(cell, results[cell.key]) for cell in cells if cell.key in results]
    figure, (left, *panels) = plt.subplots(
        1, 4, figsize=(13, 4.2), layout="constrained", gridspec_kw={"width_ratios": [1.5, 1, 1, 1]}
    )
    ends = np.array([1e-5, 30.0])
    left.fill_between(ends, ends / 4, ends * 4, color="0.93", linewidth=0)
    left.fill_between(ends, ends / 2, ends * 2, color="0.85", linewidth=0)
    left.plot(ends, ends, color="0.4", linewidth=0.8)
    for optimizer, color in _COLORS.items():
        for held_out in (True, False):
            pairs = [
                (result["best_rate"], result["rules"][RULES[0]]["rate"])
                for cell, result in chosen
                if cell.optimizer == optimizer and cell.is_held_out is held_out and RULES[0] in result["rules"]
            ]
            if pairs:
                left.scatter(
                    *np.array(pairs).T,
                    s=22,
                    facecolor=color if held_out else "none",
                    edgecolor=color,
                    label=_NAMES[optimizer] if held_out else None,
                )
    rates = [result["best_rate"] for _, result in chosen]
    left.set(
        xscale="log",
        yscale="log",
        xlim=(min(rates) / 2, max(rates) * 2),
        ylim=(min(rates) / 8, max(rates) * 2),
        xlabel="best learning rate of the sweep",
        ylabel="recommended learning rate",
    )
    left.set_title("filled: held-out tasks; bands: factors 2 and 4", fontsize="medium")
    left.legend(fontsize="small", loc="upper left")
    for axis, optimizer in zip(panels, GRIDS, strict=True):
        held = [result for cell, result in chosen if cell.optimizer == optimizer and cell.is_held_out]
        for place, rule in enumerate(RULES):
            regrets = [result["rules"][rule]["regret"] for result in held if rule in result["rules"]]
            jitter = np.linspace(-0.25, 0.25, len(regrets)) if len(regrets) > 1 else np.zeros(len(regrets))
            axis.scatter(np.maximum(regrets, 1e-3), place + jitter, s=12, color=_COLORS[optimizer], alpha=0.6)
            if regrets:
                median = max(float(np.median(regrets)), 1e-3)
                axis.plot([median] * 2, [place - 0.35, place + 0.35], color="black", linewidth=1.5)
        axis.set(xscale="log", xlim=(8e-4, 1.3), yticks=range(len(RULES)), xlabel="regret (held-out tasks)")
        axis.set_yticklabels(RULES if optimizer == "sgd" else [], fontsize="small")
        axis.invert_yaxis()
        axis.set_title(f"{_NAMES[optimizer]}; bar: median", fontsize="medium")
        axis.grid(axis="x", alpha=0.25)
    figure.savefig(path, dpi=110)
    plt.close(figure)
