"""What makes a dataset a spectral measure, and its nodes probe by probe."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from spectra.errors import SchemaError
from spectra.quadrature import MEASURE_SCHEMA, MEASURE_SCHEMA_VERSION

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Probe", "eps_of", "pooled", "probes_of", "validate_measure"]

_VARIABLES: dict[str, tuple[Hashable, ...]] = {
    "ritz_value": ("probe", "node"),
    "weight": ("probe", "node"),
    "residual": ("probe", "node"),
    "diagonal": ("probe", "step"),
    "off_diagonal": ("probe", "step"),
    "num_nodes": ("probe",),
}
_STORED_AS = ("ritz_value", "weight", "diagonal", "off_diagonal")
_ATTRIBUTES = ("dimension", "num_matvecs", "dtype")


class Probe(NamedTuple):
    """Nodes of one probe: ascending values, weights (sum 1), and the tridiagonal matrix they come from."""

    values: np.ndarray
    weights: np.ndarray
    diagonal: np.ndarray
    off_diagonal: np.ndarray

    @property
    def is_exact(self) -> bool:
        """Whether the Krylov space was exhausted, so that the quadrature is exact for every f."""
        return bool(self.off_diagonal[-1] == 0.0)


def validate_measure(measure: Any) -> None:
    """Raise unless ``measure`` is a spectral measure as `spectra.slq` returns it.

    Raises
    ------
    SchemaError
        If the schema is another one or newer, a variable, dimension or attribute is missing, or the content is damaged
        (nodes not finite and ascending, weights negative or not of sum 1).

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> validate_measure(spectra.slq(np.eye(3), num_probes=2))
    """
    attrs = getattr(measure, "attrs", None)
    if attrs is None or not hasattr(measure, "data_vars"):
        raise SchemaError(f"a spectral measure (the Dataset of spectra.slq) is required, got {type(measure).__name__}")
    if attrs.get("schema") != MEASURE_SCHEMA:
        raise SchemaError(f"a dataset with schema {MEASURE_SCHEMA!r} is required, got schema {attrs.get('schema')!r}")
    version = attrs.get("schema_version")
    if not isinstance(version, int | np.integer) or not 1 <= version <= MEASURE_SCHEMA_VERSION:
        raise SchemaError(
            f"schema version 1 to {MEASURE_SCHEMA_VERSION} of {MEASURE_SCHEMA!r} can be read, got {version!r}; "
            "update spectra-probes"
        )
    for name, dims in _VARIABLES.items():
        came = measure[name].dims if name in measure else None
        if came != dims:
            raise SchemaError(
                f"variable {name!r} with dimensions {dims} is required, got {came}; select probes with a list or a "
                "slice, which keeps the dimension"
            )
    missing = [name for name in _ATTRIBUTES if name not in attrs]
    if missing:
        raise SchemaError(f"attributes {', '.join(_ATTRIBUTES)} are required, missing: {', '.join(missing)}")
    count = measure["num_nodes"].values
    if count.size == 0 or np.any(count < 1) or np.any(count > min(measure.sizes["node"], measure.sizes["step"])):
        raise SchemaError(f"every probe needs between 1 node and as many as there are steps, got {count.tolist()}")
    for i, probe in enumerate(_probes(measure)):
        _validate_probe(probe, i)


def _validate_probe(probe: Probe, index: int) -> None:
    """Raise SchemaError if the content of one probe is damaged."""
    if not all(np.all(np.isfinite(part)) for part in probe):
        raise SchemaError(f"probe {index} contains NaN or infinity among its first num_nodes entries")
    if np.any(np.diff(probe.values) < 0):
        raise SchemaError(f"the Ritz values of probe {index} are not ascending")
    if np.any(probe.weights < 0) or abs(np.sum(probe.weights) - 1.0) > 1e-6:
        raise SchemaError(f"the weights of probe {index} must be non-negative with sum 1, got {np.sum(probe.weights)}")


def _probes(measure: "xr.Dataset") -> list[Probe]:
    """Return the leading ``num_nodes`` entries of each probe."""
    content = [np.asarray(measure[name].values, dtype=np.float64) for name in _STORED_AS]
    return [Probe(*(part[i, :k] for part in content)) for i, k in enumerate(measure["num_nodes"].values)]


def probes_of(measure: "xr.Dataset") -> list[Probe]:
    """Return the probes of a validated measure."""
    validate_measure(measure)
    return _probes(measure)


def pooled(measure: "xr.Dataset") -> tuple[np.ndarray, np.ndarray]:
    """Return all nodes of nonzero weight, ascending, with weights of sum 1: the mean over probes."""
    probes = probes_of(measure)
    values = np.concatenate([probe.values for probe in probes])
    weights = np.concatenate([probe.weights for probe in probes])
    order = np.argsort(values, kind="stable")
    order = order[weights[order] > 0]
    return values[order], weights[order] / np.sum(weights)


def eps_of(measure: "xr.Dataset") -> float:
    """Return the machine epsilon of the products behind a measure."""
    return float(np.finfo(np.float32 if measure.attrs["dtype"] == "float32" else np.float64).eps)
