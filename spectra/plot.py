"""Pictures of a spectral measure: Axes in, Axes out. Matplotlib is imported inside; nothing is saved or shown."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spectra.errors import ArgumentError, MissingExtraError
from spectra.isolated import BulkRange, isolated_ritz_values
from spectra.measure import cdf, cdf_bounds, density, validate_measure

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure", "plot_cdf", "plot_density"]

#: Okabe and Ito, "Color universal design" (2008): these stay apart for every kind of color vision.
BULK, OUTLIER, KNOWN = "#0072B2", "#D55E00", "#000000"

#: Outliers more than this many bulk widths away leave too little of a linear axis to the bulk.
LINEAR_REACH = 8.0
#: Points of the curves, about two for each dot of a printed column.
NUM_POINTS = 2000
#: More labels than this cannot be told apart; the outermost get one.
MAX_LABELS = 12

XScale = Literal["linear", "asinh"]


def figure(*, ncols: int = 1, width: float = 6.0, height: float = 4.2) -> "tuple[Figure, list[Axes]]":
    """Return a figure with a row of Axes, without pyplot and its global list of figures.

    Parameters
    ----------
    ncols : int
        Number of Axes.
    width, height : float
        Size of each, in inches.

    Returns
    -------
    matplotlib.figure.Figure
    list of matplotlib.axes.Axes
        Always a list, also of one.

    Raises
    ------
    MissingExtraError
        Without matplotlib.

    Examples
    --------
    >>> result, axes = figure(ncols=2)
    >>> len(axes)
    2
    """
    _require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    result = Figure(figsize=(width * ncols, height), layout="constrained")
    FigureCanvasAgg(result)
    return result, list(result.subplots(ncols=ncols, squeeze=False)[0])


def plot_density(
    measure: "xr.Dataset",
    *,
    ax: "Axes | None" = None,
    width: float | None = None,
    eigenvalues: Any = None,
    x_scale: XScale | None = None,
) -> "Axes":
    r"""Draw the smoothed spectral density on a logarithmic axis, with isolated eigenvalues marked.

    One eigenvalue among ``n`` raises the density by ``1 / (n width sqrt(2 pi))``. A dotted line shows this height and
    the axis ends a little below it, so that a bulk and single outliers are both visible. The darker band is the
    standard error over the probes. What is marked as an outlier: :func:`spectra.isolated.isolated_ritz_values`.

    Parameters
    ----------
    measure : xarray.Dataset
        A spectral measure of :func:`spectra.slq`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure of pyplot by default.
    width : float, optional
        Standard deviation of the Gaussian that smooths, in units of the eigenvalues. By default the extent of the
        bulk over its number of nodes per probe, which is what a quadrature of that many nodes resolves.
    eigenvalues : array_like, optional
        Known eigenvalues, drawn as ticks along the lower edge.
    x_scale : {"linear", "asinh"}, optional
        ``"asinh"`` is linear within the bulk and logarithmic beyond. By default it is taken if outliers lie more
        than 8 bulk widths away.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    SchemaError
        If ``measure`` is not a spectral measure.
    ArgumentError
        If ``width`` is not positive.
    MissingExtraError
        Without matplotlib.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.diag(np.linspace(1.0, 2.0, 50)), num_probes=2, num_steps=10)
    >>> ax = plot_density(measure, ax=figure()[1][0])
    >>> ax.get_yscale()
    'log'
    """
    validate_measure(measure)
    if width is not None and not (np.isfinite(width) and width > 0):
        raise ArgumentError(f"width must be positive and finite; got {width!r}")
    bulk = isolated_ritz_values(measure, width=width)
    width = bulk.resolution if width is None else float(width)
    ax = _axes(ax)
    grid = _set_x_axis(ax, bulk, x_scale, margin=4 * width)
    height, stderr = _density(measure, grid, width)
    single = 1 / (measure.attrs["dimension"] * width * np.sqrt(2 * np.pi))
    floor = single / 5
    ax.set(yscale="log", ylim=(floor, 4 * height.max()), ylabel=f"density (smoothed, width {width:.2g})")
    ax.fill_between(grid, floor, np.maximum(height, floor), color=BULK, alpha=0.2, linewidth=0)
    if stderr is not None:
        low, high = (np.maximum(height + sign * stderr, floor) for sign in (-1, 1))
        ax.fill_between(grid, low, high, color=BULK, alpha=0.35, linewidth=0)
    ax.plot(grid, np.maximum(height, floor), color=BULK, label=_cost(measure))
    ax.axhline(single, color="0.5", linestyle=":", linewidth=1, label="height of one eigenvalue")
    if count := len(bulk.isolated):
        peaks = _density(measure, bulk.isolated, width)[0]
        ax.vlines(bulk.isolated, floor, peaks, color=OUTLIER, linewidth=1.5)
        name = f"{count} outlier{'s' * (count > 1)} (isolated eigenvalue{'s' * (count > 1)})"
        ax.plot(bulk.isolated, peaks, "o", color=OUTLIER, markersize=5, label=name)
        _label(ax, bulk.isolated, peaks)
    if eigenvalues is not None:
        known = np.asarray(eigenvalues, dtype=np.float64).ravel()
        ticks = ax.plot(known, np.full(len(known), 0.02), "|", color=KNOWN, transform=ax.get_xaxis_transform())
        ticks[0].set(markersize=8, markeredgewidth=0.6, label=f"{len(known)} known eigenvalues")
    ax.legend(fontsize="small")
    return ax


def plot_cdf(measure: "xr.Dataset", *, ax: "Axes | None" = None, x_scale: XScale | None = None) -> "Axes":
    """Draw the distribution function of a spectral measure, with bounds that no smoothing enters.

    The band is that of Chebyshev, Markov and Stieltjes (:func:`spectra.cdf_bounds`): every measure with the moments
    that were measured has its distribution function inside. A kernel polynomial measure has none.

    Parameters
    ----------
    measure : xarray.Dataset
        A spectral measure of :func:`spectra.slq`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure of pyplot by default.
    x_scale : {"linear", "asinh"}, optional
        As in :func:`plot_density`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    SchemaError
        If ``measure`` is not a spectral measure.
    MissingExtraError
        Without matplotlib.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.diag(np.linspace(1.0, 2.0, 50)), num_probes=2, num_steps=10)
    >>> ax = plot_cdf(measure, ax=figure()[1][0])
    >>> ax.get_ylabel()
    'fraction of eigenvalues below'
    """
    validate_measure(measure)
    bulk = isolated_ritz_values(measure)
    ax = _axes(ax)
    grid = _set_x_axis(ax, bulk, x_scale, margin=bulk.resolution)
    if measure.attrs.get("method", "slq") == "slq":
        bounds = cdf_bounds(measure, grid)
        label = "bounds from the same moments"
        ax.fill_between(grid, bounds.low, bounds.high, color=BULK, alpha=0.25, linewidth=0, label=label)
    ax.plot(grid, cdf(measure, grid), color=BULK, label=_cost(measure))
    ax.set(yscale="linear", ylim=(-0.02, 1.02), ylabel="fraction of eigenvalues below")
    ax.legend(fontsize="small")
    return ax


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "plots need matplotlib, which is not installed. Run pip install 'spectra-probes[plot]'."
        ) from error


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    _require_matplotlib()
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def _cost(measure: "xr.Dataset") -> str:
    probes = measure.sizes["probe"]
    if measure.attrs.get("method", "slq") == "kpm":
        count, what = measure.sizes["moment"], "Chebyshev moment"
    else:
        count, what = measure.sizes["node"], "Lanczos step"
    return f"{probes} probe{'s' * (probes > 1)}, {count} {what}{'s' * (count > 1)}"


def _density(measure: "xr.Dataset", grid: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the density and its standard error over the probes; one probe leaves it unknown."""
    count = measure.sizes["probe"]
    each = np.stack([density(measure.isel(probe=[i]), grid, width=width).values for i in range(count)])
    return each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else None


def _set_x_axis(ax: "Axes", bulk: BulkRange, scale: XScale | None, *, margin: float) -> np.ndarray:
    """Prepare the axis of the eigenvalues, and return places that are equidistant on it."""
    if scale not in (None, "linear", "asinh"):
        raise ArgumentError(f"x_scale must be 'linear' or 'asinh'; got {scale!r}")
    low, high = bulk.ends
    if scale is None:
        scale = "asinh" if 0 < LINEAR_REACH * (bulk.high - bulk.low) < high - low else "linear"
    ax.set_xlabel("eigenvalue")
    ax.grid(alpha=0.25)
    if scale == "linear":
        edge = max(margin, 0.04 * (high - low))
        ax.set(xscale="linear", xlim=(low - edge, high + edge))
        return np.union1d(np.linspace(low - edge, high + edge, NUM_POINTS), bulk.isolated)
    unit = max(abs(bulk.low), abs(bulk.high)) or high - low
    ends = np.arcsinh(np.array([low - margin, high + margin]) / unit)
    ends += np.array([-0.04, 0.04]) * np.ptp(ends)
    grid = unit * np.sinh(np.linspace(ends[0], ends[1], NUM_POINTS))
    ax.set_xscale("asinh", linear_width=unit)
    ax.set_xlim(grid[0], grid[-1])
    _set_decades(ax, unit, max(-low, high))
    ax.set_xlabel(f"eigenvalue (linear up to about ±{unit:.2g}, logarithmic beyond)")
    return np.union1d(grid, bulk.isolated)


def _set_decades(ax: "Axes", unit: float, largest: float) -> None:
    """Put ticks at zero, at the unit's decade and at those beyond, which never run into each other."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    decades = 10.0 ** np.arange(np.ceil(np.log10(unit) - 0.3), np.floor(np.log10(largest)) + 2)
    minor = np.outer(decades, np.arange(0.2, 1, 0.1)).ravel()
    ax.xaxis.set_major_locator(FixedLocator([*-decades, 0.0, *decades]))
    ax.xaxis.set_minor_locator(FixedLocator([*-minor, *minor]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _label(ax: "Axes", values: np.ndarray, peaks: np.ndarray) -> None:
    """Write values above their marks, moved apart sideways where they would overlap."""
    from matplotlib.patheffects import withStroke

    outermost = np.sort(np.argsort(-np.abs(values))[:MAX_LABELS])
    values, peaks = values[outermost], peaks[outermost]
    size = 8.0
    points = ax.transData.transform(np.column_stack([values, peaks]))[:, 0] * 72 / ax.figure.dpi
    places = points.copy()
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + 1.3 * size)
    for group in np.split(np.arange(len(places)), 1 + np.flatnonzero(np.diff(places) > 1.31 * size)):
        places[group] -= np.mean(places[group] - points[group])
    style: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": size, "color": OUTLIER}
    style["path_effects"] = [withStroke(linewidth=2, foreground=ax.get_facecolor())]
    for value, peak, shift in zip(values, peaks, places - points, strict=True):
        ax.annotate(f"{value:.3g}", (value, peak), xytext=(shift, 6), textcoords="offset points", **style)
