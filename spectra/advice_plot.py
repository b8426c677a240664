"""One picture of a recommendation: what became of the rates that were tried, and the stable limit by batch size."""

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.plot import figure, plot_density
from spectra.recommend.advice import Advice
from spectra.report import number

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["advice_svg", "plot_advice", "plot_candidates", "plot_limit_curve", "plot_stages"]

#: Of the palette of Okabe and Ito (2008): apart for every kind of color vision.
LIMIT, RATE, CURVATURE, LOSS = "#0072B2", "#D55E00", "#009E73", "#000000"

#: Longer names of tasks lose their beginning: the last part says which one it is.
MAX_NAME = 60

#: Ratio of the ends of an axis up to which its decades alone would label it too thinly.
FEW_DECADES = 50.0


def plot_advice(advice: Advice, run: "xr.DataTree | None" = None) -> Any:
    """Draw the candidate rates (or the stages, where none were tried) and learning rate against batch size.

    Parameters
    ----------
    advice : Advice
        What :func:`spectra.recommend.advise` made of the run.
    run : xarray.DataTree, optional
        The run itself: if it has a spectral measure, that is drawn first.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    has_spectrum = run is not None and "spectrum" in run.children
    result, axes = figure(ncols=2 + has_spectrum)
    result.set_layout_engine("constrained", wspace=0.08)
    if has_spectrum and run is not None:
        plot_density(run["spectrum"].to_dataset(), ax=axes[0])
        adaptive = advice.run.optimizer is not None and advice.run.optimizer.is_adaptive
        name = "preconditioned Hessian" if adaptive else "Hessian"
        after = f" after {advice.stages[-1].step} real steps" if advice.stages else ""
        axes[0].set_title(f"{name}{after}", fontsize="medium")
    (plot_candidates if advice.candidates else plot_stages)(advice, ax=axes[-2])
    plot_limit_curve(advice, ax=axes[-1])
    optimizer = advice.run.optimizer.label if advice.run.optimizer else "no optimizer"
    result.suptitle(f"{_shown_name(advice)}: {optimizer}, batch size {advice.requested_batch_size}")
    return result


def _shown_name(advice: Advice) -> str:
    """Return the name of the task, not too long, and with nothing in it that would be read as a formula."""
    name = str(advice.run.attributes.get("task", ""))
    short = name if len(name) <= MAX_NAME else f"...{name[3 - MAX_NAME :]}"
    return short.replace("$", r"\$")


def _is_positive(*values: Any) -> bool:
    """Whether there is something to draw, and all of it has a logarithm."""
    finite = [entry for part in values for entry in np.ravel(np.asarray(part, float)) if np.isfinite(entry)]
    return len(finite) > 0 and min(finite) > 0


def plot_candidates(advice: Advice, *, ax: Any) -> Any:
    """Draw ``q`` and the loss after the steps against the candidate rate, with the recommendation; return the Axes.

    The loss has the axis on the right. A candidate that diverged is a cross at the upper edge.
    """
    rates = np.array([row.learning_rate for row in advice.candidates])
    consistency = np.array([row.consistency for row in advice.candidates])
    losses = np.array([row.loss for row in advice.candidates])
    diverged = ~np.isfinite(losses)
    consistency[~np.isfinite(consistency) | (consistency <= 0)] = np.nan
    ax.plot(rates, consistency, marker="s", color=LIMIT, label="q = rate / its own stable limit")
    ax.axhline(1.0, color=LIMIT, linestyle=":", linewidth=1, label="q = 1: the limit itself")
    ax.set(xscale="log", xlabel="learning rate tried")
    if np.any(np.isfinite(consistency)):
        ax.set_yscale("log")
    ax.set_ylabel("q", color=LIMIT)
    right = ax.twinx()
    right.plot(rates[~diverged], losses[~diverged], marker="o", color=LOSS, label="loss after the steps (right)")
    right.axhline(advice.stages[0].loss, color=LOSS, linestyle="--", linewidth=1, label="loss at the start (right)")
    if _is_positive(losses, advice.stages[0].loss):
        right.set_yscale("log")
    if diverged.any():
        right.plot(
            rates[diverged],
            np.ones(diverged.sum()),
            "x",
            color=LOSS,
            transform=right.get_xaxis_transform(),
            clip_on=False,
            label="diverged",
        )
    right.set_ylabel("loss")
    # Both dashed lines are often the highest on their axes: at different heights they are two.
    ax.margins(y=0.15)
    rate = advice.learning_rate
    constant = advice.constant_learning_rate
    if constant is not None and rate.value is not None and rate.low is not None and rate.high is not None:
        scale = constant / rate.value
        ax.axvspan(rate.low * scale, rate.high * scale, color=RATE, alpha=0.12, linewidth=0)
        ax.axvline(constant, color=RATE, label=f"recommended: {number(constant)}")
    ax.set_title(f"after {max(row.num_steps for row in advice.candidates)} real steps at each rate", fontsize="medium")
    handles = [handle for part in (ax, right) for handle in part.get_legend_handles_labels()[0]]
    labels = [label for part in (ax, right) for label in part.get_legend_handles_labels()[1]]
    ax.legend(handles, labels, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    ax.grid(alpha=0.25)
    for axis in (ax.xaxis, ax.yaxis, right.yaxis):
        _plain_ticks(axis)
    return ax


def _plain_ticks(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers; also at 2 and 5 where it spans few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if axis.get_scale() != "log":
        return
    low, high = axis.get_view_interval()
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_formatter(plain)
    axis.set_minor_locator(LogLocator(subs=(2, 5)))
    axis.set_minor_formatter(plain if high / low < FEW_DECADES else NullFormatter())


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
    if len(curvature) and np.all(curvature > 0):
        ax.set_yscale("log")
    ax.set_title("what was measured on the way", fontsize="medium")
    ax.legend(fontsize="small")
    ax.grid(alpha=0.25)
    return ax


def plot_limit_curve(advice: Advice, *, ax: Any) -> Any:
    """Draw the stable limit against batch size with its interval, and the recommended rate; return the Axes."""
    sizes = np.array([row.batch_size for row in advice.curve])
    limit = np.array([row.max_stable_learning_rate for row in advice.curve])
    low, high = (np.array([getattr(row, end) for row in advice.curve]) for end in ("low", "high"))
    label = "largest stable learning rate (95%)"
    if len(sizes) > 1:
        ax.fill_between(sizes, low, high, color=LIMIT, alpha=0.2, linewidth=0)
        ax.plot(sizes, limit, color=LIMIT, label=label)
        if advice.curve[0].learning_rate is not None:
            scaled = [row.learning_rate for row in advice.curve]
            ax.plot(sizes, scaled, color=RATE, linestyle="--", linewidth=1, label="recommended, extrapolated")
    elif len(sizes):
        ax.errorbar(sizes, limit, yerr=[limit - low, high - limit], fmt="s", color=LIMIT, label=label, capsize=4)
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
    if saturation is not None and len(sizes) > 1:
        ax.axvline(saturation, color="0.4", linestyle=":", label=f"b* = {number(saturation)}")
    if len(sizes) <= 1:
        ax.set_xlim(batch / 4, batch * 4)
    ax.set_xscale("log", base=2)
    ax.set(xlabel="batch size (samples)", ylabel="learning rate")
    if _is_positive(limit, [] if rate.value is None else rate.value):
        ax.set_yscale("log")
    else:
        ax.text(0.5, 0.5, "no stable limit to draw", transform=ax.transAxes, ha="center", va="center")
    ax.set_title("learning rate x batch size", fontsize="medium")
    ax.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    ax.grid(alpha=0.25)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _plain_ticks(ax.yaxis)
    return ax


def advice_svg(advice: Advice, run: "xr.DataTree | None" = None) -> str:
    """Return the picture of :func:`plot_advice` as one ``<svg>`` element for an HTML page, without references outside.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    drawn = plot_advice(advice, run)
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "spectra"}):
        drawn.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    # An element within HTML needs neither prolog nor namespaces, which are addresses.
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    opening, rest = svg.split(">", 1)
    opening = re.sub(r'\s+(xmlns(:\w+)?|width|height|version)="[^"]*"', "", opening)
    return f'{opening} role="img" aria-label="rates that were tried, and stable limit by batch size">{rest}'.strip()
