"""The picture of PyHessian's ``density_plot.py``: Axes out, and no file unless a path is given."""

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import ArgumentError, MissingExtraError, ShapeError
from spectra.plot import BULK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["get_esd_plot"]

_NUM_POINTS = 2000
#: What PyHessian's picture shows below a density of one.
_DECADES = 1e-7


def get_esd_plot(
    eigenvalues: Any,
    weights: Any,
    *,
    ax: "Axes | None" = None,
    path: "str | PathLike[str] | None" = None,
    width: float | None = None,
) -> "Axes":
    r"""Draw the smoothed density :math:`\frac1p \sum_{ik} w_{ik} N(x; \theta_{ik}, \sigma^2)`, logarithmically.

    Parameters
    ----------
    eigenvalues, weights : lists of lists
        From :meth:`probes.compat.pyhessian.hessian.density`: Ritz values and weights, one list for each probe.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure of pyplot by default.
    path : str or path, optional
        Where to save the figure. PyHessian writes ``example.pdf`` into the working directory.
    width : float, optional
        Standard deviation :math:`\sigma` in units of the eigenvalues. By default the range between the 1% and 99%
        quantiles over the number of nodes, as in :func:`spectra.density <spectra.measure.density>`: no outlier blurs
        the bulk. PyHessian's depends on the unit, ``sqrt(1e-5 max(1, range))``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ShapeError
        If a list of weights does not fit its eigenvalues, or there are none.
    ArgumentError
        If ``width`` is not positive, a number is not finite, or a weight is negative.
    MissingExtraError
        Without matplotlib.

    Notes
    -----
    :func:`spectra.plot.plot_density` draws the same from a measure, with error bars and outliers marked.

    Examples
    --------
    >>> from spectra.plot import figure
    >>> ax = get_esd_plot([[0.0, 1.0]], [[0.9, 0.1]], ax=figure()[1][0])
    >>> ax.get_yscale(), ax.get_xlabel()
    ('log', 'eigenvalue')
    """
    values, masses, num_nodes = _pooled(eigenvalues, weights)
    if width is None:
        width = _default_width(values, masses, num_nodes)
    if not (np.isfinite(width) and width > 0):
        raise ArgumentError(f"width must be positive and finite; got {width!r}")
    margin = max(4 * width, 0.02 * float(np.ptp(values)))
    grid = np.union1d(np.linspace(values.min() - margin, values.max() + margin, _NUM_POINTS), values)
    height = np.zeros(len(grid))
    for value, mass in zip(values, masses, strict=True):
        z = (grid - value) / width
        height += mass * np.exp(-0.5 * np.minimum(z * z, 1400.0))
    height /= width * np.sqrt(2.0 * np.pi)
    if ax is None:
        ax = _new_axes()
    ax.plot(grid, height, color=BULK)
    ax.set(
        yscale="log",
        xlim=(grid[0], grid[-1]),
        ylim=(_DECADES * height.max(), 4 * height.max()),
        xlabel="eigenvalue",
        ylabel=f"density (smoothed, width {width:.2g})",
    )
    if path is not None:
        ax.figure.canvas.print_figure(path)
    return ax


def _pooled(eigenvalues: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Return all nodes in ascending order, their weights over the number of probes, and the nodes of a probe."""
    nodes = [np.asarray(probe, dtype=np.float64) for probe in eigenvalues]
    masses = [np.asarray(probe, dtype=np.float64) for probe in weights]
    shapes = [probe.shape for probe in nodes], [probe.shape for probe in masses]
    if not nodes or shapes[0] != shapes[1] or any(len(shape) != 1 or shape[0] == 0 for shape in shapes[0]):
        raise ShapeError(
            "eigenvalues and weights must be lists with one list of numbers for each probe, of equal lengths; got "
            f"lengths {shapes[0]} and {shapes[1]}."
        )
    values, mass = np.concatenate(nodes), np.concatenate(masses) / len(nodes)
    if not (np.all(np.isfinite(values)) and np.all(np.isfinite(mass)) and np.all(mass >= 0) and np.any(mass > 0)):
        raise ArgumentError("eigenvalues and weights must be finite, the weights not negative and not all zero.")
    order = np.argsort(values)
    return values[order], mass[order], max(len(probe) for probe in nodes)


def _default_width(values: np.ndarray, masses: np.ndarray, num_nodes: int) -> float:
    """Return the spacing of nodes in the bulk; for a single eigenvalue one percent of it."""
    share = np.cumsum(masses) / np.sum(masses)
    low, high = values[np.searchsorted(share, [0.01, 0.99])]
    largest = float(np.max(np.abs(values)))
    for spread in (high - low, values[-1] - values[0]):
        if spread > 1e-9 * largest:
            return float(spread) / num_nodes
    return 0.01 * largest if largest > 0 else 0.01


def _new_axes() -> "Axes":
    try:
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "plots need matplotlib, which is not installed. Run pip install 'spectra-probes[plot]'."
        ) from error
    return pyplot.subplots(layout="constrained")[1]
