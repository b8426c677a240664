"""One picture of the spectra of a task: density and distribution function of each matrix, and of each layer."""

from typing import TYPE_CHECKING, Any

from spectra.errors import ArgumentError
from spectra.plot import figure, plot_cdf, plot_density

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot_spectrum"]

_WIDTH, _HEIGHT = 6.0, 4.0


def plot_spectrum(tree: "xr.DataTree", *, max_rows: int = 12) -> Any:
    """Draw one row a matrix, and below it one a layer: density with outliers, and distribution function with bounds.

    Parameters
    ----------
    tree : xarray.DataTree
        From `spectra.survey` or `probes.measure`.
    max_rows : int
        Rows at most; further layers are left out, and the title says how many.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        If there is nothing to draw.
    MissingExtraError
        Without matplotlib.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> picture = plot_spectrum(spectra.survey(np.diag(np.linspace(0.0, 1.0, 60))))
    >>> len(picture.axes)
    2
    """
    found = _nodes(tree)
    if not found:
        raise ArgumentError("this tree holds no spectral measure to plot")
    shown = dict(list(found.items())[:max_rows])
    result, _ = figure(width=2 * _WIDTH, height=_HEIGHT * len(shown))
    result.clear()
    rows = result.subplots(nrows=len(shown), ncols=2, squeeze=False)
    for (name, node), axes in zip(shown.items(), rows, strict=True):
        measure = node["measure"].to_dataset()
        plot_density(measure, ax=axes[0])
        plot_cdf(measure, ax=axes[1])
        n = measure.attrs["dimension"]
        axes[0].set_title(f"{name}, {n} x {n}, {node.attrs['num_matvecs']} products", fontsize="medium")
    left_out = len(found) - len(shown)
    title = str(tree.attrs.get("task", tree.attrs.get("operator", "")))
    result.suptitle(f"{title} ({left_out} layers left out)" if left_out else title)
    return result


def _nodes(tree: "xr.DataTree") -> dict[str, "xr.DataTree"]:
    """Return matrices and layers that hold a measure, with their titles."""
    if "measure" in tree.children:
        return {str(tree.attrs.get("operator", "matrix")): tree}
    found = {}
    for name, node in tree.children.items():
        if "measure" in node.children:
            found[str(name)] = node
        if "layers" in node.children:
            found |= {f"{name} of {layer}": block for layer, block in node["layers"].children.items()}
    return found
