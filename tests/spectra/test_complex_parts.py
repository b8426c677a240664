"""Complex variables as two real ones, and back."""

import numpy as np
import pytest
import xarray as xr

from spectra.complex_parts import join_complex, split_complex
from spectra.errors import ArgumentError


def plane(dtype=np.complex128) -> xr.Dataset:
    values = np.array([complex(np.nan, 1.0), complex(-0.0, np.inf), complex(2.0, -0.0)], dtype=dtype)
    return xr.Dataset({"z": ("point", values, {"unit": "1"}), "x": ("point", np.ones(3)), "w": 1j}, attrs={"a": 1})


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_there_and_back_keeps_every_bit(dtype):
    data = plane(dtype)
    parts = split_complex(data)
    assert not any(array.dtype.kind == "c" for array in parts.variables.values())
    found = join_complex(parts)
    xr.testing.assert_identical(found, data)
    assert found["z"].dtype == dtype
    assert found["z"].values.tobytes() == data["z"].values.tobytes()
    xr.testing.assert_identical(data, plane(dtype))


def test_names_that_are_taken_and_parts_that_are_lost():
    with pytest.raises(ArgumentError, match="'z__real' must not be a variable"):
        split_complex(plane().assign(z__real=1.0))
    with pytest.raises(KeyError, match="z__imaginary"):
        join_complex(split_complex(plane()).drop_vars("z__imaginary"))
