"""One picture of a kernel: eigenvalues with their law, effective dimension, error by ridge, and the learning curve."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import ArgumentError
from spectra.kernel_summary import readable, summarize_kernel
from spectra.kernels.analysis import KERNEL_SCHEMA
from spectra.plot import figure
from spectra.report import number

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot_decay", "plot_dimension", "plot_kernel", "plot_learning_curve", "plot_ridges"]

#: Okabe and Ito (2008): apart for every kind of color vision.
BLUE, ORANGE, GREEN, PURPLE, GRAY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"
#: Eigenvalues from this share of n on feel the end of the sample: a line beyond it is not drawn.
HEAD = 0.3
#: Rounding is drawn where it is above this share of the smallest eigenvalue shown, and effective dimensions up to this
#: share of the samples.
NEAR, FULL = 1e-3, 0.995
#: Ratio of sizes whose labels do not touch.
APART = 1.4
#: Longer names of kernels and data lose their beginning.
MAX_NAME = 60


def plot_kernel(tree: "xr.DataTree") -> Any:
    """Draw decay and effective dimension, and with targets the error by ridge and the learning curve.

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`spectra.kernels.analyze`, also an interrupted one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        If it is another tree, or holds nothing yet.
    MissingExtraError
        Without matplotlib.

    Examples
    --------
    >>> from spectra.kernels import Laplace, analyze
    >>> X = np.random.default_rng(0).uniform(size=(100, 1))
    >>> len(plot_kernel(analyze(X, np.sin(5 * X[:, 0]), kernel=Laplace(1.0))).axes)
    4
    """
    if tree.attrs.get("schema") != KERNEL_SCHEMA:
        raise ArgumentError(f"a tree of spectra.kernels.analyze is required, got schema {tree.attrs.get('schema')!r}")
    parts = [
        (part, draw)
        for part, draw in (
            ("decay", plot_decay),
            ("decay", plot_dimension),
            ("path", plot_ridges),
            ("extrapolation", plot_learning_curve),
        )
        if part in tree.children
    ]
    if not parts:
        raise ArgumentError("this result holds nothing yet, so there is nothing to plot")
    result, axes = figure(ncols=len(parts), width=4.6, height=4.4)
    for ax, (_, draw) in zip(axes, parts, strict=True):
        draw(tree, ax=ax)
    names = [readable(str(tree.attrs[key])) for key in ("data", "kernel") if tree.attrs[key]]
    short = [name if len(name) <= MAX_NAME else f"...{name[3 - MAX_NAME :]}" for name in names]
    answer = summarize_kernel(tree)["answer"]
    verdict = "" if answer is None else f". {answer['verdict'].capitalize()}"
    result.suptitle(f"{', '.join(short)}{verdict}".replace("$", r"\$"))
    return result


def plot_decay(tree: "xr.DataTree", *, ax: Any) -> Any:
    """Draw the eigenvalues of the Gram matrix, the floor of rounding, and the fitted power law.

    Two logarithmic axes: a power law is a straight line, until the end of the sample bends it.
    """
    decay = tree["decay"].to_dataset()
    values = decay["eigenvalue"].values
    floor = tree.attrs["ridge_floor"]
    index = np.arange(1, values.size + 1)
    shown = values > 0.1 * floor
    ax.loglog(index[shown], values[shown], ".", color=BLUE, markersize=3, label="eigenvalues")
    exponent = decay.attrs["decay_exponent"]
    if decay.attrs["law"] == "polynomial":
        head = np.flatnonzero(shown & (index <= max(HEAD * values.size, 10)))[1:]
        if head.size > 2:
            level = np.exp(np.mean(np.log(values[head]) + exponent * np.log(index[head])))
            ax.loglog(index[head], level * index[head] ** -exponent, color=ORANGE, label=f"exponent {number(exponent)}")
    if floor > NEAR * values[shown].min():
        ax.axhline(floor, color=GRAY, linestyle=":", label="rounding")
    _title(ax, f"Law: {decay.attrs['law'].replace('_', ' ')}", "index", "eigenvalue")
    return ax


def plot_dimension(tree: "xr.DataTree", *, ax: Any) -> Any:
    """Draw the effective dimension against the threshold kappa: the curve from which the law is read."""
    decay = tree["decay"].to_dataset()
    n = decay.attrs["num_samples"]
    part = decay.isel(point=decay["df1"].values < FULL * n)
    ax.loglog(part["kappa"].values, part["df1"].values, color=BLUE, label="effective dimension")
    ax.loglog(part["kappa"].values, part["df2"].values, color=GREEN, linestyle="--", label="df2")
    ax.axhline(n, color=GRAY, linestyle=":", label=f"{n} samples")
    ax.set_ylim(bottom=0.5)
    _title(ax, "Effective dimension", "threshold kappa", "directions above it")
    return ax


def plot_ridges(tree: "xr.DataTree", *, ax: Any) -> Any:
    """Draw leave-one-out and training error against the ridge, the best ridge, and those that do as well."""
    path, best = tree["path"].to_dataset(), tree["best"].attrs
    variance = path.attrs["label_variance"]
    ax.set_xscale("log")
    if np.any(path["leave_one_out"].values > 0):
        ax.set_yscale("log")
    ax.plot(path["ridge"].values, path["leave_one_out"].values, color=BLUE, label="leave-one-out")
    untrusted = ~path["is_trustworthy"].values.astype(bool)
    if np.any(untrusted):
        bad = path.isel(ridge=untrusted)
        ax.plot(bad["ridge"].values, bad["leave_one_out"].values, "x", color=ORANGE, label="not to be trusted")
    train = path["train_error"].values
    ax.plot(path["ridge"].values, np.where(train > 0, train, np.nan), color=GREEN, linestyle="--", label="training")
    ax.axvspan(best["low"], best["high"], color=BLUE, alpha=0.12, linewidth=0)
    ax.axvline(best["ridge"], color=BLUE, linewidth=1)
    ax.axhline(variance, color=GRAY, linestyle=":", label="variance of targets")
    shown = np.concatenate([path["leave_one_out"].values, [variance]])
    shown = shown[shown > 0]
    if shown.size:
        ax.set_ylim(0.3 * shown.min(), min(3 * shown.max(), 1e2 * max(variance, shown.min())))
    _title(ax, f"Best ridge {number(best['ridge'])}", "ridge", "squared error")
    return ax


def plot_learning_curve(tree: "xr.DataTree", *, ax: Any) -> Any:
    """Draw errors against the number of samples: fits, theory, leave-one-out, and two extrapolations."""
    beyond = tree["extrapolation"].to_dataset().isel(ridge=0)
    if "curve" in tree.children:
        below = tree["curve"].to_dataset().isel(ridge=0)
        sizes = below["num_samples"].values
        ax.plot(sizes, below["test_error"].values, color=BLUE, label="theory")
        ax.errorbar(
            sizes,
            below["measured_error"].values,
            yerr=2 * below["measured_stderr"].values,
            fmt="o",
            color=BLUE,
            markersize=4,
            label="fits, 2 standard errors",
        )
    sizes = beyond["num_samples"].values
    ax.plot(sizes, beyond["power_fit"].values, color=ORANGE, linestyle="--", label="power fit")
    ax.plot(sizes, beyond["eigen_tail"].values, color=PURPLE, linestyle="-.", label="eigenvalue tail")
    ax.fill_between(sizes, beyond["low"].values, beyond["high"].values, color=ORANGE, alpha=0.15, linewidth=0)
    risk = tree["risk"].attrs
    ax.errorbar(
        [risk["num_samples"]],
        [risk["risk"]],
        yerr=[[risk["risk"] - risk["low"]], [risk["high"] - risk["risk"]]],
        fmt="s",
        color="black",
        markersize=5,
        label="leave-one-out",
    )
    ax.set_xscale("log")
    if risk["risk"] > 0:
        ax.set_yscale("log")
    shown = sorted({int(line) for part in ax.get_lines() for line in part.get_xdata()})
    ticks = [size for i, size in enumerate(shown) if i == 0 or size > APART * shown[i - 1]]
    ax.set_xticks(ticks, labels=[str(size) for size in ticks])
    ax.set_xticks([], minor=True)
    _title(ax, "Learning curve", "samples", "squared error")
    return ax


def _title(ax: Any, title: str, x: str, y: str) -> None:
    """Name an Axes and what it shows."""
    ax.set_title(title, fontsize="medium")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(True, which="major", alpha=0.3)
    ax.legend(fontsize="small")
