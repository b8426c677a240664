"""What makes a dataset a spectral measure, and its nodes probe by probe."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import SchemaError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MEASURE_SCHEMA", "MEASURE_SCHEMA_VERSION", "Probe", "eps_of", "pooled", "probes_of", "validate_measure"]

MEASURE_SCHEMA = "spectra/measure"
MEASURE_SCHEMA_VERSION = 2
"""Version 2 adds the attribute ``method`` and the variables of resolved eigenvalues; version 1 can be read."""

_NODES: dict[str, tuple[Hashable, ...]] = {
    "ritz_value": ("probe", "node"),
    "weight": ("probe", "node"),
    "num_nodes": ("probe",),
}
_OF_METHOD: dict[str, dict[str, tuple[Hashable, ...]]] = {
    "slq": {"residual": ("probe", "node"), "diagonal": ("probe", "step"), "off_diagonal": ("probe", "step")},
    "exact": {"residual": ("probe", "node"), "diagonal": ("probe", "step"), "off_diagonal": ("probe", "step")},
    "kpm": {"coarse_weight": ("probe", "node")},
}
_RESOLVED: dict[str, tuple[Hashable, ...]] = {
    "resolved_index": ("probe", "node"),
    "multiplicity": ("resolved",),
}
_LEAST_LEFT = 1e-6
"""Weight outside the resolved eigenvalues below which its rounding error, about 1e-10, would be blown up."""

_ATTRIBUTES = ("dimension", "num_matvecs", "dtype")


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """Nodes of one probe, and from where a coarser rule for the same probe is had.

    Attributes
    ----------
    values, weights : ndarray, shape (k,)
        Ascending; the weights have sum 1. Eigenvalues that every probe has resolved have the weight ``g / n`` of their
        multiplicity g, see `deflated_weights`.
    raw_weights : ndarray, shape (k,)
        As the probe has them, sum 1.
    diagonal, off_diagonal : ndarray, shape (k,), or None
        The tridiagonal matrix behind a Gauss rule.
    coarse_weights : ndarray, shape (k,), or None
        Weights of the same nodes from half the moments, of a kernel polynomial.
    is_complete : bool
        Whether all n eigenvalues are known, so that there is nothing random in the weights.
    """

    values: np.ndarray
    weights: np.ndarray
    raw_weights: np.ndarray
    diagonal: np.ndarray | None = None
    off_diagonal: np.ndarray | None = None
    coarse_weights: np.ndarray | None = None
    is_complete: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether the Krylov space was exhausted, so that the quadrature is exact for every f."""
        return self.off_diagonal is not None and bool(self.off_diagonal[-1] == 0.0)


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
    method = measure.attrs.get("method", "slq")
    if method not in _OF_METHOD:
        raise SchemaError(f"method must be one of {', '.join(_OF_METHOD)}; got {method!r}")
    variables = _NODES | _OF_METHOD[method] | (_RESOLVED if "multiplicity" in measure else {})
    for name, dims in variables.items():
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
    most = min(measure.sizes[dim] for dim in ("node", "step") if dim in measure.sizes)
    if count.size == 0 or np.any(count < 1) or np.any(count > most):
        raise SchemaError(f"every probe needs between 1 node and as many as there are steps, got {count.tolist()}")
    if "multiplicity" in measure:
        index = measure["resolved_index"].values
        if np.any((index < -1) | (index >= measure.sizes["resolved"])) or np.any(measure["multiplicity"].values < 0):
            raise SchemaError(
                "resolved_index must point into the dimension resolved, or be -1, and no multiplicity < 0"
            )
    for i, probe in enumerate(_probes(measure)):
        _validate_probe(probe, i)


def _validate_probe(probe: Probe, index: int) -> None:
    """Raise SchemaError if the content of one probe is damaged."""
    parts = [probe.values, probe.raw_weights, probe.diagonal, probe.off_diagonal, probe.coarse_weights]
    if not all(part is None or np.all(np.isfinite(part)) for part in parts):
        raise SchemaError(f"probe {index} contains NaN or infinity among its first num_nodes entries")
    if np.any(np.diff(probe.values) < 0):
        raise SchemaError(f"the Ritz values of probe {index} are not ascending")
    total = np.sum(probe.raw_weights)
    if np.any(probe.raw_weights < 0) or abs(total - 1.0) > 1e-6:
        raise SchemaError(f"the weights of probe {index} must be non-negative with sum 1, got {total}")


def _probes(measure: "xr.Dataset") -> list[Probe]:
    """Return the leading ``num_nodes`` entries of each probe."""

    def content(name: str) -> np.ndarray | None:
        return np.asarray(measure[name].values, dtype=np.float64) if name in measure else None

    columns = {
        "values": content("ritz_value"),
        "raw_weights": content("weight"),
        "diagonal": content("diagonal"),
        "off_diagonal": content("off_diagonal"),
        "coarse_weights": content("coarse_weight"),
    }
    weights, is_complete = deflated_weights(measure)
    return [
        Probe(
            weights=weights[i, :k],
            is_complete=is_complete,
            **{name: c[i, :k] for name, c in columns.items() if c is not None},
        )
        for i, k in enumerate(measure["num_nodes"].values)
    ]


def deflated_weights(measure: "xr.Dataset") -> tuple[np.ndarray, bool]:
    """Return weights (probe, node) without the part of the randomness that is known, and whether none is left.

    An eigenvalue of multiplicity g which every probe has resolved gets the weight ``g / n`` in place of the squared
    overlap with the probe. With G such eigenvalues the other weights of a probe are scaled to the sum ``(n - G) / n``:
    given its overlaps with the resolved eigenvectors, a probe on the sphere is uniform on a sphere of their complement,
    so that the mean stays right, and the variance falls from that of f over all eigenvalues to that over the others.

    Notes
    -----
    Source: the rescaling is that of the residual probes of Epperly, Tropp and Webber (2024); applied to Ritz vectors
    it is a construction of this project.
    """
    raw = np.asarray(measure["weight"].values, dtype=np.float64)
    if "multiplicity" not in measure:
        return raw, False
    n, multiplicity = int(measure.attrs["dimension"]), measure["multiplicity"].values
    index = measure["resolved_index"].values
    known = (index >= 0) & (multiplicity[index] > 0) if multiplicity.size else np.zeros(raw.shape, dtype=bool)
    total = int(np.sum(multiplicity))
    left = np.sum(np.where(known, 0.0, raw), axis=1)
    if total == 0 or total > n or (total < n and np.any(left < _LEAST_LEFT)):
        return raw, False
    result = np.where(known, 0.0, raw * ((n - total) / (n * np.where(left > 0, left, 1.0)))[:, None])
    for k in np.flatnonzero(multiplicity):
        own = np.where(index == k, raw, 0.0)
        if np.any(np.sum(own, axis=1) == 0.0):
            return raw, False
        result += own * (multiplicity[k] / (n * np.sum(own, axis=1)))[:, None]
    return result, total == n


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
