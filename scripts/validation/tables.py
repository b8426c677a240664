"""Tables of a validation, as Markdown."""

from collections.abc import Iterable, Sequence

import numpy as np

from scripts.validation.cells import GRIDS, Cell
from scripts.validation.finders import FINDERS

__all__ = ["RULES", "cell_table", "summary_table"]

RULES = ("self-consistent", "one probe", *FINDERS)


def summary_table(results: dict[str, dict], cells: Iterable[Cell]) -> str:
    """Return one line for each optimizer and rule."""
    chosen = [(cell, results[cell.key]) for cell in cells if cell.key in results]
    lines = _header(
        "optimizer|rule|cells|no answer|rate / best: median [min, max]|within 2x|within 4x|regret: median, mean, max|"
        "above the threshold|diverged"
    )
    for optimizer in GRIDS:
        for rule in RULES:
            entries = [result["rules"].get(rule) for cell, result in chosen if cell.optimizer == optimizer]
            found = [entry for entry in entries if entry is not None]
            if not found:
                continue
            ratios = np.array([entry["ratio_to_best"] for entry in found])
            regrets = np.array([entry["regret"] for entry in found])
            lines.append(
                _line(
                    optimizer,
                    f"**{rule}**" if rule == RULES[0] else rule,
                    str(len(found)),
                    str(len(entries) - len(found)),
                    f"{np.median(ratios):.2f} [{ratios.min():.2g}, {ratios.max():.2g}]",
                    _share(ratios, 2.0),
                    _share(ratios, 4.0),
                    f"{np.median(regrets):.3f}, {regrets.mean():.3f}, {regrets.max():.2f}",
                    str(sum(entry["above_threshold"] for entry in found)),
                    str(sum(entry["diverged"] for entry in found)),
                )
            )
    return "\n".join(lines)


def cell_table(results: dict[str, dict], cells: Iterable[Cell]) -> str:
    """Return one line for each cell."""
    lines = _header(
        "task|optimizer|batch|schedule|seed|best|threshold|recommended|/ best|regret|verdict|one probe / best|regret|"
        + "|".join(f"{finder} regret" for finder in FINDERS)
    )
    for cell in cells:
        if cell.key not in results:
            continue
        result = results[cell.key]
        ours, probe = result["rules"].get(RULES[0]), result["rules"].get(RULES[1])
        lines.append(
            _line(
                cell.task,
                cell.optimizer,
                str(cell.batch_size),
                cell.schedule,
                str(cell.seed),
                _text(result["best_rate"]),
                _text(result["threshold"]),
                _text(ours and ours["rate"]),
                _text(ours and ours["ratio_to_best"], ".2f"),
                _text(ours and ours["regret"], ".3f"),
                result["verdict"],
                _text(probe and probe["ratio_to_best"], ".2f"),
                _text(probe and probe["regret"], ".3f"),
                *(
                    _text(entry["regret"] if (entry := result["rules"].get(finder)) else None, ".3f")
                    for finder in FINDERS
                ),
            )
        )
    return "\n".join(lines)


def _share(ratios: np.ndarray, factor: float) -> str:
    # A part in a thousand of slack: candidates are powers of two apart, as the grid is.
    inside = np.abs(np.log(ratios)) <= np.log(factor) + 1e-3
    return f"{int(inside.sum())}/{len(ratios)}"


def _text(value: float | None, form: str = ".3g") -> str:
    return "-" if value is None else format(value, form)


def _header(columns: str) -> list[str]:
    names = columns.split("|")
    return [_line(*names), "|" + "---|" * len(names)]


def _line(*cells: Sequence[str] | str) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
