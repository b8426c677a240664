"""One picture of a prediction: loss curves, the loss at the budget against the learning rate, and batch sizes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.dynamics_summary import summarize_dynamics
from spectra.dynamics_tree import DYNAMICS_SCHEMA
from spectra.errors import ArgumentError
from spectra.plot import figure
from spectra.report import number

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot_batch_sizes", "plot_budget", "plot_curves", "plot_dynamics"]

#: Okabe and Ito (2008): apart for every kind of color vision; further lines begin anew.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Losses above this many times the one at the start are off the picture.
TALLEST = 2.0
#: Below this share of the highest loss the lowest one gets a logarithmic axis.
DEEP = 0.1
#: Axes over less than this ratio get labels at 2 and 5 too; and powers of ten that are labelled at most.
FEW_DECADES, MOST_TICKS = 30.0, 8
MEASURED, ABOVE = "measured, 2 standard errors", "measured, above the picture"
#: Inches to each side of an Axes, so that labels keep away from the neighbor.
GAP = 0.12
#: Longer names of tasks lose their beginning.
MAX_NAME = 60


def plot_dynamics(tree: "xr.DataTree") -> Any:
    """Draw predicted loss curves beside measured ones, the loss at the budget by learning rate, and batch sizes.

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`spectra.dynamics_tree.predict`.

    Returns
    -------
    matplotlib.figure.Figure
        Two Axes, and a third one where batch sizes were compared. The title ends with the verdict.

    Raises
    ------
    ArgumentError
        If it is another tree, or nothing was predicted.
    MissingExtraError
        Without matplotlib.

    Examples
    --------
    >>> from spectra.dynamics import from_data
    >>> from spectra.dynamics_tree import predict
    >>> problem = from_data([[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0])
    >>> len(plot_dynamics(predict(problem, closure="limit", batch_sizes=[1, 2], num_steps=10)).axes)
    3
    """
    if tree.attrs.get("schema") != DYNAMICS_SCHEMA:
        raise ArgumentError(
            f"a tree of spectra.dynamics_tree.predict is required, got schema {tree.attrs.get('schema')!r}"
        )
    if "best" not in tree.children:
        raise ArgumentError("this result holds no prediction yet, so there is nothing to plot")
    summary = summarize_dynamics(tree)
    has_sizes = summary["saturation"] is not None
    result, axes = figure(ncols=2 + has_sizes, width=5.4, height=5.2)
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    plot_curves(tree, ax=axes[0])
    plot_budget(tree, ax=axes[1])
    if has_sizes:
        plot_batch_sizes(tree, ax=axes[2])
    engine = result.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(w_pad=GAP)
    name = str(tree.attrs.get("task", tree.attrs.get("problem", "")))
    short = name if len(name) <= MAX_NAME else f"...{name[3 - MAX_NAME :]}"
    label = f"closure {tree.attrs['closure']}"
    if tree.attrs["momentum"]:
        kind = "Nesterov momentum" if tree.attrs["nesterov"] else "momentum"
        label += f", {kind} {tree.attrs['momentum']:g}"
    escaped = short.replace("$", r"\$")
    result.suptitle(f"{escaped}: {label}. {summary['answer']['verdict'].capitalize()}.")
    return result


def plot_curves(tree: "xr.DataTree", *, ax: Any) -> Any:
    """Draw the expected loss of each learning rate, without noise dashed, and what was measured as points.

    One color a learning rate, at the first batch size. Points are means over the runs with two standard errors; an
    arrow at the upper edge is a loss above the picture, or not finite.
    """
    size = int(tree.attrs["batch_size"])
    curves = tree["curves"].to_dataset().sel(batch_size=size)
    check = _check_at(tree, size)
    rates = curves["learning_rate"].values
    measured = [] if check is None else [float(rate) for rate in check["learning_rate"].values]
    alone = [rate for rate in measured if _nearest(rates, rate) is None]
    start = float(curves["loss"].values[0, 0])
    top = TALLEST * abs(start)
    shown = [curves["loss"].values, curves["noise_free_loss"].values]
    for i, rate in enumerate(rates):
        at, color = curves.isel(learning_rate=i), COLORS[i % len(COLORS)]
        _line(at["step"].values, at["loss"].values, top, ax=ax, color=color, label=number(float(rate)))
        _line(at["step"].values, at["noise_free_loss"].values, top, ax=ax, color=color, linestyle="--", linewidth=1)
    for j, rate in enumerate(measured):
        at = check.isel(learning_rate=j)  # type: ignore[union-attr]
        place = _nearest(rates, rate)
        color = COLORS[(len(rates) + alone.index(rate) if place is None else place) % len(COLORS)]
        shown.append(at["loss"].values)
        if place is None:
            _line(at["step"].values, at["predicted_loss"].values, top, ax=ax, color=color, label=number(rate))
        _points(at, top, ax=ax, color=color)
    values = np.concatenate([np.ravel(part) for part in shown])
    values = values[np.isfinite(values) & (values <= top)]
    _loss_axis(values, ax=ax)
    ax.set_xscale("symlog", linthresh=1, linscale=0.3)
    ax.set(xlabel="step", ylabel="training loss", xlim=(0, 1.05 * float(curves["step"].values[-1])))
    _plain_ticks(ax.xaxis)
    ax.set_title(f"batch size {size}", fontsize="medium")
    ax.plot([], [], color="0.4", label="expected")
    ax.plot([], [], color="0.4", linestyle="--", linewidth=1, label="without gradient noise")
    if measured:
        ax.errorbar([], [], yerr=[], fmt="o", color="0.4", markersize=4, label=MEASURED)
        if _is_lost(check["loss"].values, top):  # type: ignore[index]
            ax.plot([], [], "^", color="0.4", label=ABOVE)
    _legend(ax, title="learning rate")
    return ax


def plot_budget(tree: "xr.DataTree", *, ax: Any) -> Any:
    """Draw the expected loss at the budget against the learning rate, the best one, and the critical one.

    Where the critical learning rate is refused, the row-safe one takes its place. Diamonds are measured, at the first
    batch size; arrows at the upper edge are losses above the picture, or not finite.
    """
    landscape, best = tree["landscape"].to_dataset(), tree["best"].to_dataset()
    start = float(tree["curves"].to_dataset()["loss"].values[0, 0, 0])
    top, shown = TALLEST * abs(start), []
    for i, size in enumerate(best["batch_size"].values):
        color = COLORS[i % len(COLORS)]
        rates, losses = (landscape[name].values[i] for name in ("learning_rate", "loss"))
        _line(rates, losses, top, ax=ax, color=color, label=f"batch size {size}")
        row = best.isel(batch_size=i)
        ax.plot(float(row["learning_rate"]), float(row["loss"]), "o", color=color, markersize=7)
        limit = min(float(row["usable_learning_rate"]), float(row["noise_free_learning_rate"]))
        ax.axvline(limit, color=color, linestyle=":", linewidth=1)
        shown.append(losses)
    check = _check_at(tree, int(tree.attrs["batch_size"]))
    if check is not None and int(check["step"].values[-1]) == int(tree.attrs["num_steps"]):
        rates, ends, errors = check["learning_rate"].values, check["loss"].values[:, -1], check["stderr"].values[:, -1]
        kept = np.isfinite(ends) & (ends <= top)
        style = {"color": COLORS[0], "mfc": "none", "linewidth": 1}
        ax.errorbar(rates[kept], ends[kept], yerr=2 * errors[kept], fmt="D", label=MEASURED, **style)
        if not np.all(kept):
            _arrows(rates[~kept], ax=ax, color=COLORS[0], label=ABOVE)
        shown.append(ends)
    ax.plot([], [], "o", color="0.4", markersize=7, label="best")
    ax.plot([], [], ":", color="0.4", linewidth=1, label="row-safe" if _is_refused(best) else "critical")
    values = np.concatenate(shown)
    _loss_axis(values[np.isfinite(values) & (values <= top)], ax=ax)
    ax.set_xscale("log")
    _plain_ticks(ax.xaxis)
    ax.set(xlabel="learning rate", ylabel=f"loss after {tree.attrs['num_steps']} steps")
    ax.set_title("what the budget reaches", fontsize="medium")
    _legend(ax)
    return ax


def plot_batch_sizes(tree: "xr.DataTree", *, ax: Any) -> Any:
    """Draw the fewest steps to the target against the batch size, beside perfect scaling, with the knee."""
    found = tree["saturation"].to_dataset()
    sizes, steps = found["batch_size"].values, found["num_steps"].values
    known = np.isfinite(steps) & (steps > 0)
    ax.plot(sizes[known], steps[known], "o-", color=COLORS[0], label="fewest steps")
    if np.any(known):
        first = np.flatnonzero(known)[0]
        ideal = steps[first] * sizes[first] / sizes[known]
        ax.plot(sizes[known], ideal, color="0.5", linestyle="--", linewidth=1, label="same samples")
        ax.set(xscale="log", yscale="log", ylim=(0.7 * np.min(steps[known]), 1.4 * np.max(steps[known])))
        _plain_ticks(ax.xaxis)
        _plain_ticks(ax.yaxis)
    knee = float(found.attrs["knee"])
    if np.isfinite(knee):
        ax.axvline(knee, color=COLORS[1], linestyle=":", label=f"twice the fewest samples: {knee:.0f}")
    ax.set(xlabel="batch size", ylabel=f"steps to a loss of {number(float(found.attrs['target']))}")
    ax.grid(alpha=0.25)
    ax.set_title("what larger batches bring", fontsize="medium")
    _legend(ax)
    return ax


def _check_at(tree: "xr.DataTree", size: int) -> "xr.Dataset | None":
    """Return the check, if it was made at this batch size."""
    if "check" not in tree.children:
        return None
    check = tree["check"].to_dataset()
    return check if int(check.attrs["batch_size"]) == size else None


def _nearest(rates: np.ndarray, rate: float) -> int | None:
    """Return which learning rate this is, if it is one of them up to the digits that are printed."""
    i = int(np.argmin(np.abs(np.log(rates / rate))))
    return i if abs(rates[i] / rate - 1) < 0.01 else None


def _line(x: np.ndarray, y: np.ndarray, top: float, *, ax: Any, **style: Any) -> None:
    """Draw a line up to where it leaves the picture."""
    ax.plot(x, np.where(np.isfinite(y) & (y <= 10 * top), y, np.nan), **style)


def _points(check: "xr.Dataset", top: float, *, ax: Any, color: str) -> None:
    steps, losses, errors = (check[name].values for name in ("step", "loss", "stderr"))
    kept = np.isfinite(losses) & (losses <= top)
    ax.errorbar(steps[kept], losses[kept], yerr=2 * errors[kept], fmt="o", markersize=4, linewidth=1, color=color)
    lost = steps[~kept]
    if len(lost):
        _arrows(lost, ax=ax, color=color)


def _arrows(places: np.ndarray, *, ax: Any, **style: Any) -> None:
    """Mark at the upper edge what lies above the picture."""
    ax.plot(
        places,
        np.ones(len(places)),
        marker="^",
        linestyle="none",
        transform=ax.get_xaxis_transform(),
        clip_on=False,
        **style,
    )


def _is_lost(losses: np.ndarray, top: float) -> bool:
    return not np.all(np.isfinite(losses) & (losses <= top))


def _is_refused(best: "xr.Dataset") -> bool:
    """Whether every critical learning rate is refused, so that the row-safe ones are drawn."""
    return bool(np.all(np.isnan(best["critical_learning_rate"].values)))


def _loss_axis(values: np.ndarray, *, ax: Any) -> None:
    """Choose a scale for losses, and end the axis at what is shown."""
    if values.size == 0:
        return
    low, high = float(values.min()), float(values.max())
    if 0 < low < DEEP * high:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.3, high * 1.3)
        _plain_ticks(ax.yaxis)
    else:
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        ax.set_ylim(low - margin, high + margin)
    ax.grid(alpha=0.25)


def _plain_ticks(axis: Any) -> None:
    """Label some places with plain numbers: at most 8 powers of ten, also 2 and 5 where there are few of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if axis.get_scale() == "log":
        low, high = axis.get_view_interval()
        few = high / low < FEW_DECADES
        axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=MOST_TICKS))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend(ax: Any, *, title: str | None = None) -> None:
    ax.legend(fontsize="small", title=title, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2 + bool(title))
