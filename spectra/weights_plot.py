"""Pictures of weight matrices: singular values of each with the edge of noise, or all layers side by side."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import ArgumentError
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.plot import figure
from spectra.report import number
from spectra.weights_summary import bulk_end, summarize_weights
from spectra.weights_words import printable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot_layer", "plot_layers", "plot_weights"]

#: Okabe and Ito (2008): apart for every kind of color vision.
BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#777777"
#: Matrices that are drawn on their own beside the overview: those with the largest spikes relative to noise.
NUM_SHOWN = 2
#: More matrices have ticks where matplotlib puts them.
MAX_TICKS = 12
#: Longer names lose their beginning.
MAX_NAME = 36
#: Points of the curve of a law, and bins of a histogram for each root of the number of values.
NUM_POINTS, BINS = 400, 3.0


def plot_weights(weights: "xr.Dataset") -> Any:
    """Draw all matrices side by side, and the ones with the largest spikes on their own.

    Parameters
    ----------
    weights : xarray.Dataset
        Of :func:`probes.weights.weight_spectra`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        If it is another dataset.
    MissingExtraError
        Without matplotlib.
    """
    layers = summarize_weights(weights)["layers"]
    usable = [i for i, row in enumerate(layers) if bulk_end(row) > 0]
    excess = {i: layers[i]["spectral_norm"] / bulk_end(layers[i]) for i in usable}
    shown = sorted(usable, key=lambda i: -excess[i])[:NUM_SHOWN]
    result, axes = figure(ncols=1 + len(shown), width=5.0, height=4.4)
    plot_layers(weights, ax=axes[0])
    for ax, i in zip(axes[1:], shown, strict=True):
        plot_layer(weights, i, ax=ax)
    return result


def plot_layers(weights: "xr.Dataset", *, ax: Any) -> Any:
    """Draw, for each matrix, the bulk of its singular values and the spikes, in units of the end of the bulk.

    That end is the one of :func:`spectra.weights_summary.bulk_end`: of white noise where the bulk is that, otherwise of
    a bulk of any law, and the norm where there is no bulk. The largest values of a bulk lie about its end, a little
    above or below.
    """
    layers = summarize_weights(weights)["layers"]
    edge = np.array([bulk_end(row) for row in layers])
    norm = weights["spectral_norm"].values
    unit = np.where(np.isfinite(edge), edge, norm)
    places = np.arange(norm.size)
    values = weights["singular_value"].values
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = values / unit[:, None]
    for place, row, layer in zip(places, relative, layers, strict=True):
        seen = row[np.isfinite(row) & (row > 0)]
        ax.plot(np.full(seen.shape, place), seen, "_", color=BLUE, markersize=5, alpha=0.4)
        high = seen[: max(layer["num_spikes"], 0)]
        ax.plot(np.full(high.shape, place), high, "o", color=ORANGE, markersize=3)
    ax.axhline(1.0, color=GRAY, linestyle=":", label="end of the bulk")
    ax.plot([], [], "o", color=ORANGE, markersize=3, label="spike")
    ax.set_yscale("log")
    ax.set_xlim(-0.5, norm.size - 0.5)
    if norm.size <= MAX_TICKS:
        ax.set_xticks(places)
    shown = relative[np.isfinite(relative) & (relative > 0)]
    if shown.size:
        ax.set_ylim(max(shown.min(), 1e-3), 1.5 * max(shown.max(), 1.0))
    count = "1 weight matrix" if norm.size == 1 else f"{norm.size} weight matrices"
    without = "" if np.isfinite(edge).all() else ", or norm"
    _title(ax, count, "matrix, in the order of the file", f"singular value / end of the bulk{without}")
    return ax


def plot_layer(weights: "xr.Dataset", layer: int | str, *, ax: Any) -> Any:
    """Draw the singular values of a matrix as a histogram, the Marchenko-Pastur law, and the edges of both splits.

    Parameters
    ----------
    weights : xarray.Dataset
    layer : int or str
        Row or name.
    ax : matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        If there is no such row.
    """
    names = weights["layer"].values.tolist()
    if layer not in names and not (isinstance(layer, int) and -len(names) <= layer < len(names)):
        raise ArgumentError(f"layer must be one of {len(names)} rows or their names; got {layer!r}")
    row = weights.isel(layer=names.index(layer) if layer in names else int(layer))
    values = row["singular_value"].values
    values = values[np.isfinite(values)]
    upper, sigma = float(row["marchenko_pastur_upper"]), float(row["sigma"])
    ladder = float(row["ladder_upper"])
    edges = [edge for edge in (upper, ladder) if math.isfinite(edge)]
    reach = 1.6 * max(edges) if edges else math.inf
    inside = values[values <= reach]
    bins = max(8, int(BINS * math.sqrt(inside.size)))
    count, _, _ = ax.hist(
        inside, bins=bins, weights=np.full(inside.shape, 1 / max(values.size, 1)), color=BLUE, alpha=0.5
    )
    top = float(np.max(count, initial=0.0))
    if math.isfinite(sigma) and inside.size:
        n = max(int(row["num_rows"]), int(row["num_columns"]))
        law = MarchenkoPastur(aspect_ratio=float(row["aspect_ratio"]), variance=sigma**2)
        points = np.linspace(max(math.sqrt(n * law.smallest), 1e-9 * upper), upper, NUM_POINTS)
        # Of all values: those that are no part of the bulk are not under the curve.
        bulk = 1 - max(int(row["marchenko_pastur_num_spikes"]), 0) / values.size
        density = bulk * law.pdf(points**2 / n) * 2 * points / n
        width = (inside.max() - inside.min()) / bins
        top = max(top, width * float(density.max()))
        fits = bool(row["marchenko_pastur_is_trustworthy"])
        label = "Marchenko-Pastur" if fits else "Marchenko-Pastur (does not fit)"
        ax.plot(points, density * width, color=ORANGE, alpha=1.0 if fits else 0.5, label=label)
        ax.axvline(upper, color=ORANGE, linestyle=":")
    if math.isfinite(ladder):
        ax.axvline(ladder, color=GREEN, linestyle="--", label="law-free edge")
    beyond = values[values > reach]
    name = printable(str(row["layer"].values))
    short = name if len(name) <= MAX_NAME else f"...{name[3 - MAX_NAME :]}"
    text = f"{short}: norm {number(float(row['spectral_norm']))}"
    if beyond.size:
        text += f", {beyond.size} beyond"
    _title(ax, text.replace("$", r"\$"), "singular value", "share of singular values")
    ax.set_ylim(0, 1.25 * max(top, 1e-9))
    return ax


def _title(ax: Any, title: str, x: str, y: str) -> None:
    """Name an Axes and what it shows."""
    ax.set_title(title, fontsize="medium")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(True, which="major", alpha=0.3)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small")
