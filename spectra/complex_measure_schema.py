"""What makes a dataset a measure in the complex plane, and its Hessenberg matrices."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import SchemaError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "COMPLEX_MEASURE_SCHEMA",
    "COMPLEX_MEASURE_SCHEMA_VERSION",
    "hessenberg_matrices",
    "validate_complex_measure",
]

COMPLEX_MEASURE_SCHEMA = "spectra/complex_measure"
COMPLEX_MEASURE_SCHEMA_VERSION = 1

_VARIABLES = {
    "ritz_value": ("probe", "node"),
    "weight": ("probe", "node"),
    "residual": ("probe", "node"),
    "num_nodes": ("probe",),
    "hessenberg": ("probe", "row", "step"),
}


def validate_complex_measure(measure: Any) -> None:
    """Raise SchemaError unless ``measure`` is a measure as `normal_spectrum` returns it.

    Parameters
    ----------
    measure : object

    Raises
    ------
    SchemaError
        If the schema is another one or newer, a variable, dimension or attribute is missing, or a Hessenberg matrix is
        not finite.

    Notes
    -----
    No products. Source: a convention of this project.

    Examples
    --------
    >>> from spectra.complex_measure import normal_spectrum
    >>> validate_complex_measure(normal_spectrum(np.eye(3), num_probes=2))
    """
    attrs = getattr(measure, "attrs", None)
    if attrs is None or not hasattr(measure, "data_vars"):
        raise SchemaError(
            f"a complex measure (the Dataset of normal_spectrum) is required, got {type(measure).__name__}"
        )
    if attrs.get("schema") != COMPLEX_MEASURE_SCHEMA:
        raise SchemaError(
            f"a dataset with schema {COMPLEX_MEASURE_SCHEMA!r} is required, got schema {attrs.get('schema')!r}"
        )
    version = attrs.get("schema_version")
    if version != COMPLEX_MEASURE_SCHEMA_VERSION:
        raise SchemaError(f"schema version {COMPLEX_MEASURE_SCHEMA_VERSION} can be read, got {version!r}")
    for name, dims in _VARIABLES.items():
        came = measure[name].dims if name in measure else None
        if came != dims:
            raise SchemaError(f"variable {name!r} with dimensions {dims} is required, got {came}; select with a list")
    missing = [name for name in ("dimension", "num_matvecs", "is_normal", "normality_defect") if name not in attrs]
    if missing:
        raise SchemaError(f"attributes are missing: {', '.join(missing)}")
    count = measure["num_nodes"].values
    if count.size == 0 or np.any(count < 1) or np.any(count > measure.sizes["step"]):
        raise SchemaError(f"every probe needs between 1 node and as many as there are steps, got {count.tolist()}")
    if not np.all(np.isfinite(measure["hessenberg"].values)):
        raise SchemaError("the Hessenberg matrices contain NaN or infinity")


def hessenberg_matrices(measure: "xr.Dataset") -> list[np.ndarray]:
    """Return the Hessenberg matrix of each probe with its last row, shape (k + 1, k).

    Parameters
    ----------
    measure : xarray.Dataset
        From `normal_spectrum`.

    Returns
    -------
    list of ndarray
        Views, one per probe.

    Raises
    ------
    SchemaError
        If ``measure`` is not a complex measure.

    Notes
    -----
    No products. Source: a convention of this project.

    Examples
    --------
    >>> from spectra.complex_measure import normal_spectrum
    >>> [matrix.shape for matrix in hessenberg_matrices(normal_spectrum(np.eye(3), num_probes=2))]
    [(2, 1), (2, 1)]
    """
    validate_complex_measure(measure)
    matrices = measure["hessenberg"].values
    return [matrices[i, : k + 1, :k] for i, k in enumerate(measure["num_nodes"].values.tolist())]
