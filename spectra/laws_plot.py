"""Pictures of laws of random matrices: eigenvalues with law, edges and outliers; density and distribution of one."""

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import ArgumentError
from spectra.laws.base import Law
from spectra.laws.generalized_marchenko_pastur import GeneralizedMarchenkoPastur
from spectra.laws.population import PopulationLaw
from spectra.laws_fit import LAWS
from spectra.laws_summary import summarize_laws
from spectra.laws_verdict import LAW_NAMES
from spectra.plot import figure
from spectra.report import number

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot_law", "plot_laws"]

#: Okabe and Ito (2008): apart for every kind of color vision.
BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#777777"
#: Points of the curve of a law in each interval, and bins of a histogram for each root of the number of values.
NUM_POINTS, BINS = 300, 2.5
#: Outliers more than this many widths of the bulk away are named, not drawn to scale.
REACH = 1.5
#: Share of the eigenvalues that must lie in or near the bulk for that to be drawn rather than everything.
LEAST_SEEN = 0.5
#: Quantiles of the histogram's bars that set the height, so that a pole of the density does not.
HEIGHT = 1.25


def plot_laws(analysis: "xr.Dataset") -> Any:
    """Draw the eigenvalues as a histogram with the law, the edges and the outliers, and the distribution function.

    Parameters
    ----------
    analysis : xarray.Dataset
        Of :func:`spectra.laws_analysis.analyze_spectrum`.

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
    summary = summarize_laws(analysis)
    law = _law_of(analysis, summary)
    result, axes = figure(ncols=2, width=6.0, height=4.4)
    values, weights = analysis["eigenvalue"].values, analysis["weight"].values
    left, right, width = _view(values, summary["split"])
    _draw_density(axes[0], values, weights, summary, law, (left, right, width))
    _draw_distribution(axes[1], values, weights, summary, law, (left, right))
    return result


def _view(values: Any, split: dict[str, Any]) -> tuple[float, float, float]:
    """Return the ends of what is drawn, and the width of the bulk: the bulk with what lies near, or everything."""
    smallest, largest = float(values[0]), float(values[-1])
    low, high = split["low"], split["high"]
    near = (values >= low - REACH * (high - low)) & (values <= high + REACH * (high - low))
    if high > low and np.mean(near) > LEAST_SEEN:
        left, right = min(low, float(values[near][0])), max(high, float(values[near][-1]))
    else:
        left, right = smallest, largest
        low, high = smallest, largest
    width = (high - low) or abs(high) or 1.0
    margin = 0.04 * ((right - left) or width)
    return left - margin, right + margin, width


def plot_law(table: "xr.Dataset") -> Any:
    """Draw density and distribution function of a law.

    Parameters
    ----------
    table : xarray.Dataset
        Of :func:`spectra.law_table.tabulate_law`.

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
    if table.attrs.get("schema") != "spectra/law":
        raise ArgumentError(
            f"a dataset of spectra.law_table.tabulate_law is required, got schema {table.attrs.get('schema')!r}"
        )
    result, axes = figure(ncols=2, width=6.0, height=4.4)
    x, intervals = table["x"].values, table["interval"].values
    for i in np.unique(intervals):
        axes[0].plot(x[intervals == i], table["pdf"].values[intervals == i], color=ORANGE)
    atoms = json.loads(str(table.attrs["atoms"]))
    for place, mass in atoms:
        axes[0].axvline(place, color=GRAY, linestyle=":", label=f"mass {number(mass)} at {number(place)}")
    places, shares = x, table["cdf"].values
    for place, mass in atoms:
        # The step of an atom, which the grid between the edges does not show.
        i = int(np.searchsorted(places, place))
        before = float(shares[i - 1]) if i else 0.0
        places, shares = np.insert(places, i, [place, place]), np.insert(shares, i, [before, before + mass])
    axes[1].plot(places, shares, color=ORANGE)
    bounded = table["pdf"].values[np.isfinite(table["pdf"].values)]
    if bounded.size:
        axes[0].set_ylim(0.0, HEIGHT * max(float(np.quantile(bounded, 0.97)), 1e-300))
    axes[1].set_ylim(0.0, 1.02)
    for at in np.atleast_1d(table["at"].values).tolist():
        for ax in axes:
            ax.axvline(at, color=GREEN, linestyle="--", linewidth=1.0)
    title = str(table.attrs["label"])
    _name(axes[0], title, "eigenvalue", "density")
    _name(axes[1], "distribution function", "eigenvalue", "share up to here")
    return result


def _law_of(analysis: "xr.Dataset", summary: dict[str, Any]) -> Law | None:
    """Return the law that was found, or the one that was asked for though it does not fit."""
    chosen = summary["answer"]["law"] or (summary["laws"][0]["law"] if len(summary["laws"]) == 1 else None)
    row = next((row for row in summary["laws"] if row["law"] == chosen), None)
    if row is None or not row["parameters"]:
        return None
    if chosen == "generalized":
        if not analysis.sizes["atom"]:
            return None
        population = PopulationLaw(
            values=analysis["population_value"].values, weights=analysis["population_weight"].values
        )
        return GeneralizedMarchenkoPastur(population=population, **row["parameters"])
    return LAWS[str(chosen)](**row["parameters"])


def _points(law: Law, left: float, right: float) -> list[np.ndarray]:
    """Return points of each interval of the support, denser towards its ends, that are within sight."""
    half = np.sin(0.5 * np.pi * (np.arange(NUM_POINTS) + 0.5) / NUM_POINTS) ** 2
    return [low + (high - low) * half for low, high in law.support if high > left and low < right]


def _draw_density(
    ax: Any, values: Any, weights: Any, summary: dict[str, Any], law: Law | None, view: tuple[float, float, float]
) -> None:
    left, right, width = view
    zeros = float(np.sum(weights[values == 0.0])) if summary["attributes"]["num_zeros"] else 0.0
    seen = (values >= left) & (values <= right)
    seen &= ~((values == 0.0) & (zeros > 0.0))
    size = int(np.count_nonzero(seen))
    bins = max(8, int(BINS * math.sqrt(size) * (right - left) / (1.1 * width))) if size else 8
    share = _share_of_zeros(summary)
    heights, _, _ = ax.hist(
        values[seen],
        bins=min(bins, 400),
        range=(left, right),
        weights=(1.0 - share) * weights[seen] * min(bins, 400) / (right - left),
        color=BLUE,
        alpha=0.5,
        label="eigenvalues",
    )
    if law is not None:
        fits = summary["answer"]["law"] is not None
        name = LAW_NAMES[summary["answer"]["law"] or summary["laws"][0]["law"]]
        for i, points in enumerate(_points(law, left, right)):
            label = (name if fits else f"{name} (does not fit)") if i == 0 else None
            ax.plot(points, np.asarray(law.pdf(points)), color=ORANGE, linestyle="-" if fits else ":", label=label)
    _mark(ax, summary, left, right)
    top = float(np.max(heights[1:], initial=0.0)) or float(np.max(heights, initial=1.0))
    ax.set_ylim(0.0, HEIGHT * top)
    ax.set_xlim(left, right)
    beyond = int(np.count_nonzero((values > right) | (values < left)))
    title = str(summary["attributes"]["source"]).replace("$", r"\$")
    if beyond:
        title += f": {beyond} farther out, up to {number(float(np.max(np.abs(values))))}"
    if zeros:
        title += f"{',' if beyond else ':'} {summary['attributes']['num_zeros']} at 0 not drawn"
    _name(ax, title, "eigenvalue", "density")


def _share_of_zeros(summary: dict[str, Any]) -> float:
    """Return the share of eigenvalues that more variables than samples force to be 0 and that were not given."""
    about = summary["attributes"]
    variables = round(about["aspect_ratio"] * about["num_samples"]) if about["num_samples"] else 0
    return max(0.0, 1.0 - about["num_eigenvalues"] / variables) if variables else 0.0


def _draw_distribution(
    ax: Any, values: Any, weights: Any, summary: dict[str, Any], law: Law | None, view: tuple[float, float]
) -> None:
    share = _share_of_zeros(summary)
    total = share + (1.0 - share) * np.cumsum(weights)
    first = 0.0 if share else min(view[0], float(values[0]))
    ax.step([first, *values, view[1]], [share, *total, 1.0], where="post", color=BLUE, label="eigenvalues")
    if law is not None:
        atoms = [place for place, _ in law.atoms]
        steps = [np.nextafter(place, -np.inf) for place in atoms]
        points = np.sort(np.concatenate([[view[0]], steps, atoms, *_points(law, *view), [view[1]]]))
        ax.plot(points, np.asarray(law.cdf(points)), color=ORANGE, linestyle="--", label="law")
    _mark(ax, summary, *view, labels=False)
    ax.set_xlim(*view)
    ax.set_ylim(0.0, 1.02)
    _name(ax, "distribution function", "eigenvalue", "share up to here")


def _mark(ax: Any, summary: dict[str, Any], left: float, right: float, *, labels: bool = True) -> None:
    """Mark edges and outliers."""
    split = summary["split"]
    edges = [edge for edge in (split["low"], split["high"]) if math.isfinite(edge)]
    for i, edge in enumerate(edges):
        ax.axvline(edge, color=GREEN, linestyle="--", linewidth=1.0, label="edges" if labels and i == 0 else None)
    found = [row["value"] for row in summary["outliers"] if left <= row["value"] <= right]
    if found:
        # On the axis, at a height that does not depend on the scale.
        ax.plot(
            found,
            np.full(len(found), 0.03),
            "v",
            color=ORANGE,
            markersize=6,
            transform=ax.get_xaxis_transform(),
            label="outliers" if labels else None,
        )


def _name(ax: Any, title: str, x: str, y: str) -> None:
    """Name an Axes and what it shows."""
    ax.set_title(title, fontsize="medium")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(True, which="major", alpha=0.3)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small")
