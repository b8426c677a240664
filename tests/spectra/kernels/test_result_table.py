"""Results as datasets: every field is kept, in a form that a file can hold."""

import json
from dataclasses import dataclass

import numpy as np

import spectra
from spectra.kernels.result_table import result_table


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    size: np.ndarray
    value: np.ndarray
    number: float
    flag: bool
    missing: float | None
    remarks: tuple[str, ...]
    bulky: object = None


EXAMPLE = Example(
    size=np.array([4, 2]),
    value=np.array([1.0, 2.0]),
    number=np.float64(0.5),
    flag=np.bool_(True),
    missing=None,
    remarks=("one", "two"),
)


def table():
    return result_table(EXAMPLE, dims={"size": "size", "value": "size"}, skip=("bulky",))


def test_arrays_are_variables_and_all_else_attributes():
    found = table()
    assert found["size"].values.tolist() == [4, 2]
    assert found["value"].dims == ("size",)
    assert (found.attrs["number"], found.attrs["flag"]) == (0.5, 1)
    assert type(found.attrs["number"]) is float
    assert type(found.attrs["flag"]) is int
    assert np.isnan(found.attrs["missing"])
    assert json.loads(found.attrs["remarks"]) == ["one", "two"]
    assert "bulky" not in found.attrs


def test_a_file_holds_it(tmp_path):
    named = table().assign_attrs(schema="spectra/curve", schema_version=1).rename(value="loss")
    spectra.save(named, tmp_path / "a.nc")
    again = spectra.load(tmp_path / "a.nc")
    assert again.attrs["number"] == 0.5
    assert np.isnan(again.attrs["missing"])
