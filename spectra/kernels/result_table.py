"""Results of analyses as datasets, so that they can be files."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["result_table"]


def result_table(result: Any, *, dims: Mapping[str, str | tuple[str, ...]], skip: tuple[str, ...] = ()) -> "xr.Dataset":
    """Return a frozen dataclass as a dataset: its arrays as variables, all else as attributes.

    Parameters
    ----------
    result : dataclass instance
        Of arrays, numbers, texts, tuples of texts and None.
    dims : mapping of str to str or tuple of str
        Dimensions of the fields that are arrays; those of equal dimensions have equal lengths. A field named like its
        dimension becomes the coordinate.
    skip : tuple of str
        Fields that are left out.

    Returns
    -------
    xarray.Dataset
        Attributes hold what netCDF can: None is NaN, a truth value 0 or 1, a tuple its JSON text.

    Notes
    -----
    Source: a convention of this project.

    Examples
    --------
    >>> from spectra.kernels.gram import gram_spectrum
    >>> table = result_table(
    ...     gram_spectrum(np.eye(2)), dims={"eigenvalue": "mode"}, skip=("eigenvector", "centered_eigenvalue")
    ... )
    >>> table["eigenvalue"].dims, table.attrs["num_samples"], table.attrs["remarks"]
    (('mode',), 2, '[]')
    """
    import xarray as xr

    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    attrs: dict[str, Any] = {}
    for field in fields(result):
        name, value = field.name, getattr(result, field.name)
        if name in skip:
            continue
        if name in dims:
            place = coords if dims[name] == name else variables
            place[name] = (dims[name], np.asarray(value))
        else:
            attrs[name] = _plain(value)
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _plain(value: Any) -> Any:
    """Return what an attribute of a file can hold."""
    if value is None:
        return math.nan
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, tuple):
        return json.dumps(value)
    return value.item() if isinstance(value, np.generic) else value
