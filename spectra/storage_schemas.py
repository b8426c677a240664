"""Which results can be files: their schemas, versions and the variables that they must hold."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.complex_measure_schema import COMPLEX_MEASURE_SCHEMA, COMPLEX_MEASURE_SCHEMA_VERSION
from spectra.complex_parts import REAL
from spectra.errors import SchemaError
from spectra.measure_schema import MEASURE_SCHEMA, MEASURE_SCHEMA_VERSION

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SCHEMAS", "TREE_SCHEMAS", "check_schema", "plain"]

#: Newest version of each schema that this release reads, and the variables a file of it must hold.
SCHEMAS: dict[str, tuple[int, tuple[str, ...]]] = {
    "spectra/bulk-split": (1, ("value", "side")),
    MEASURE_SCHEMA: (MEASURE_SCHEMA_VERSION, ("ritz_value", "weight")),
    COMPLEX_MEASURE_SCHEMA: (
        COMPLEX_MEASURE_SCHEMA_VERSION,
        ("ritz_value", "weight", "residual", "num_nodes", "hessenberg"),
    ),
    "spectra/curve": (1, ("loss",)),
    "spectra/dynamics": (1, ()),
    "spectra/effective-dimension": (1, ("df1", "df2", "kappa")),
    "spectra/eigendecay": (1, ("eigenvalue", "kappa")),
    "spectra/eigenpairs": (1, ("eigenvalue", "residual")),
    "spectra/gradient-norms": (1, ("noiseless", "noisy", "gradient_norm_squared")),
    "spectra/kernel": (1, ()),
    "spectra/kernel-extrapolation": (1, ("test_error", "low", "high")),
    "spectra/law": (1, ("pdf", "cdf", "quantile")),
    "spectra/laws": (1, ("value", "spike", "distance", "eigenvalue")),
    "spectra/learning-curve": (1, ("test_error",)),
    "spectra/linearization": (1, ("loss", "predicted_loss")),
    "spectra/linearization-checks": (1, ("loss",)),
    "spectra/quadratic": (1, ("eigenvalue", "multiplicity", "initial_loss")),
    "spectra/ridge-path": (1, ("leave_one_out", "gcv")),
    "spectra/run": (2, ()),
    "spectra/saturation": (1, ("num_steps", "num_samples")),
    "spectra/signsgd": (1, ("risk", "floor", "start_alignment")),
    "spectra/simulation": (1, ("loss", "stderr")),
    "spectra/spectrum": (1, ()),
    "spectra/survey": (1, ()),
    "spectra/unrolling": (1, ("iterate_error", "derivative_error", "forgetting", "burn_in")),
    "spectra/weights": (1, ("singular_value", "marchenko_pastur_num_spikes", "exponent")),
    "spectra/z-scores": (1, ("z", "relative_deviation", "simulated", "predicted")),
}
TREE_SCHEMAS = ("spectra/dynamics", "spectra/kernel", "spectra/run", "spectra/spectrum", "spectra/survey")


def check_schema(data: "xr.Dataset | xr.DataTree", name: str) -> None:
    """Raise unless data are a result of a schema and version that this release knows, with its variables.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataTree
        Complex variables may be whole or in parts.
    name : str
        For the message.

    Raises
    ------
    SchemaError
        If the schema is unknown or newer, or a variable is missing.

    Notes
    -----
    Reads attributes and names only. Source: a convention of this project.

    Examples
    --------
    >>> import xarray as xr
    >>> check_schema(xr.Dataset({"loss": 1.0}, attrs={"schema": "spectra/curve", "schema_version": 1}), "curve")
    """
    schema, version = (plain(data.attrs.get(key)) for key in ("schema", "schema_version"))
    known = ", ".join(SCHEMAS)
    if schema is None:
        raise SchemaError(f"{name} has no attribute 'schema', so it is no result of spectra (known: {known})")
    if not isinstance(schema, str) or schema not in SCHEMAS:
        raise SchemaError(f"{name} has the unknown schema {schema!r}; this release knows {known}")
    newest, variables = SCHEMAS[schema]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise SchemaError(f"{name} must have a whole number from 1 as 'schema_version'; got {version!r}")
    if version > newest:
        raise SchemaError(
            f"{name} has version {version} of the schema {schema!r}, and this release reads up to version {newest}. "
            "Upgrade with pip install -U spectra-probes"
        )
    missing = [name for name in variables if not {name, f"{name}{REAL}"} & set(data.variables)]
    if missing:
        raise SchemaError(f"{name} is incomplete: the schema {schema!r} asks for {', '.join(missing)}")


def plain(value: object) -> object:
    """Return a NumPy scalar, as files give attributes, as a Python one; all else as it is.

    Parameters
    ----------
    value : object

    Returns
    -------
    object

    Notes
    -----
    Source: a convention of this project.

    Examples
    --------
    >>> plain(np.float64(0.5)), plain("text")
    (0.5, 'text')
    """
    return value.item() if isinstance(value, np.generic) else value
