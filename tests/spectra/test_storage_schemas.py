"""Schemas of files: what is known, what is asked for, complex variables whole or in parts."""

import numpy as np
import pytest
import xarray as xr

from spectra.errors import SchemaError
from spectra.storage_schemas import SCHEMAS, TREE_SCHEMAS, check_schema, plain


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_asks_for_its_variables_and_reads_its_newest_version(schema):
    version, names = SCHEMAS[schema]
    attrs = {"schema": schema, "schema_version": version}
    check_schema(xr.Dataset(dict.fromkeys(names, 1.0), attrs=attrs), "data")
    check_schema(xr.Dataset({f"{name}__real": 1.0 for name in names}, attrs=attrs), "data")
    with pytest.raises(SchemaError, match="up to version"):
        check_schema(xr.Dataset(dict.fromkeys(names, 1.0), attrs=attrs | {"schema_version": version + 1}), "data")
    if names:
        with pytest.raises(SchemaError, match=f"data is incomplete.*{names[-1]}"):
            check_schema(xr.Dataset(dict.fromkeys(names[:-1], 1.0), attrs=attrs), "data")


def test_trees_are_known():
    assert set(TREE_SCHEMAS) < set(SCHEMAS)


def test_scalars_of_numpy_become_those_of_python():
    assert type(plain(np.int32(3))) is int
    assert plain("text") == "text"
