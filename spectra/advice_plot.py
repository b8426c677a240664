"""One picture of a recommendation: the spectrum behind it, and the learning rate it leads to."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.plot import figure, plot_density
from spectra.recommend.advice import Advice
from spectra.report import number

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot_advice", "plot_limit_curve", "plot_stages"]

LIMIT, RATE, CURVATURE = "#0072B2", "#D55E00", "#009E73"


def plot_advice(advice: Advice, run: "xr.DataTree") -> Any:
    """Draw the spectrum (if measured), the curvature along the probe steps, and learning rate against batch size.

    Parameters
    ----------
    advice : Advice
        What :func:`spectra.recommend.advise` made of the run.
    run : xarray.DataTree
        The run itself, for its spectral measure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    has_spectrum = "spectrum" in run.children
    result, axes = figure(ncols=2 + has_spectrum)
    if has_spectrum:
        plot_density(run["spectrum"].to_dataset(), ax=axes[0])
        adaptive = advice.run.optimizer is not None and advice.run.optimizer.is_adaptive
        name = "preconditioned Hessian" if adaptive else "Hessian"
        axes[0].set_title(f"{name} after {advice.stages[-1].step} real steps", fontsize="medium")
    plot_stages(advice, ax=axes[-2])
    plot_limit_curve(advice, ax=axes[-1])
    optimizer = advice.run.optimizer.label if advice.run.optimizer else "no optimizer"
    result.suptitle(f"{advice.run.attributes.get('task', '')}: {optimizer}, batch size {advice.requested_batch_size}")
    return result


def plot_stages(advice: Advice, *, ax: Any) -> Any:
    """Draw largest curvature (with residual) and stable limit against the real steps taken; return the Axes."""
    steps = [row.step for row in advice.stages]
    curvature = np.array([row.curvature for row in advice.stages])
    ax.errorbar(
        steps,
        curvature,
        yerr=[row.residual for row in advice.stages],
        marker="o",
        color=CURVATURE,
        label="largest curvature",
    )
    limits = np.array([row.max_stable_learning_rate for row in advice.stages])
    limits[~np.isfinite(limits)] = np.nan
    ax.plot(steps, limits, marker="s", color=LIMIT, label="largest stable learning rate")
    ax.set(xlabel="real optimizer steps before measuring", xticks=steps)
    if np.all(curvature > 0):
        ax.set_yscale("log")
    ax.set_title("what was measured on the way", fontsize="medium")
    ax.legend(fontsize="small")
    ax.grid(alpha=0.25)
    return ax


def plot_limit_curve(advice: Advice, *, ax: Any) -> Any:
    """Draw the stable limit against batch size with its interval, and the recommended rate; return the Axes."""
    sizes = np.array([row.batch_size for row in advice.curve])
    if len(sizes):
        limit = np.array([row.max_stable_learning_rate for row in advice.curve])
        low, high = (np.array([getattr(row, end) for row in advice.curve]) for end in ("low", "high"))
        if len(sizes) > 1:
            ax.fill_between(sizes, low, high, color=LIMIT, alpha=0.2, linewidth=0)
            ax.plot(sizes, limit, color=LIMIT, label="largest stable learning rate (95%)")
        else:
            error = [limit - low, high - limit]
            ax.errorbar(
                sizes,
                limit,
                yerr=error,
                fmt="s",
                color=LIMIT,
                label="largest stable learning rate (95%)",
                capsize=4,
            )
    rate = advice.learning_rate
    batch = advice.requested_batch_size
    if rate.value is not None and rate.low is not None and rate.high is not None:
        error = [[rate.value - rate.low], [rate.high - rate.value]]
        # Drawn slightly beside the batch size where it would hide the limit.
        place = batch * (1.0 if len(sizes) > 1 else 1.06)
        ax.errorbar(
            [place],
            [rate.value],
            yerr=error,
            fmt="o",
            color=RATE,
            capsize=4,
            label=f"recommended: {number(rate.value)}",
        )
    else:
        ax.plot([], [], color=RATE, label="recommendation withheld")
    saturation = advice.saturation_batch_size.value
    if len(sizes) > 1 and saturation is not None and sizes[0] <= saturation <= sizes[-1]:
        ax.axvline(saturation, color="0.4", linestyle=":", label=f"b* = {number(saturation)}")
    if len(sizes) == 1:
        ax.set_xlim(batch / 4, batch * 4)
    ax.set_xscale("log", base=2)
    ax.set(xlabel="batch size (samples)", ylabel="learning rate", yscale="log")
    ax.set_title("learning rate", fontsize="medium")
    ax.legend(fontsize="small")
    ax.grid(alpha=0.25)
    return ax
