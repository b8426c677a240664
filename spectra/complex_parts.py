"""Complex variables of a dataset as two real ones, since netCDF has no complex numbers."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["REAL", "join_complex", "split_complex"]

#: Ends of the names of the two parts, and the attribute that marks them.
REAL, _IMAGINARY, _MARK = "__real", "__imaginary", "complex_part_of"


def split_complex(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return a dataset with the real and the imaginary part in place of each complex variable.

    Parameters
    ----------
    dataset : xarray.Dataset
        Coordinates stay as they are.

    Returns
    -------
    xarray.Dataset
        The parts of ``name`` are ``name__real`` and ``name__imaginary``, both with the attribute ``complex_part_of``.

    Raises
    ------
    ArgumentError
        If the name of a part is taken.

    Notes
    -----
    Costs a copy of the complex variables. Source: a convention of this project.

    Examples
    --------
    >>> import xarray as xr
    >>> plane = xr.Dataset({"z": ("point", [1 + 2j])})
    >>> sorted(split_complex(plane)), join_complex(split_complex(plane)).identical(plane)
    (['z__imaginary', 'z__real'], True)
    """
    result = dataset
    for name in [str(name) for name, array in dataset.data_vars.items() if array.dtype.kind == "c"]:
        array = dataset[name]
        parts = {f"{name}{REAL}": array.values.real.copy(), f"{name}{_IMAGINARY}": array.values.imag.copy()}
        taken = [part for part in parts if part in dataset.variables]
        if taken:
            raise ArgumentError(f"{taken[0]!r} must not be a variable beside the complex {name!r}; rename one of them")
        attrs = {**array.attrs, _MARK: name}
        result = result.drop_vars(name).assign({part: (array.dims, values, attrs) for part, values in parts.items()})
    return result


def join_complex(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return a dataset with the complex variables that `split_complex` has taken apart.

    Parameters
    ----------
    dataset : xarray.Dataset

    Returns
    -------
    xarray.Dataset
        NaN, infinity and the sign of 0 are kept in either part.

    Raises
    ------
    KeyError
        If one part of a variable is missing.

    Notes
    -----
    Costs a copy of the complex variables. Source: a convention of this project.

    Examples
    --------
    >>> import xarray as xr
    >>> join_complex(xr.Dataset({"x": ("point", [1.0])}))["x"].dtype
    dtype('float64')
    """
    result = dataset
    for name in sorted({str(array.attrs[_MARK]) for array in dataset.data_vars.values() if _MARK in array.attrs}):
        real, imaginary = dataset[f"{name}{REAL}"], dataset[f"{name}{_IMAGINARY}"]
        whole = np.empty(real.shape, dtype=np.result_type(real.dtype, np.complex64))
        whole.real, whole.imag = real.values, imaginary.values
        attrs = {key: value for key, value in real.attrs.items() if key != _MARK}
        result = result.drop_vars([real.name, imaginary.name]).assign({name: (real.dims, whole, attrs)})
    return result
