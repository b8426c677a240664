"""A law of random matrices as a table: support, atoms, moments, quantiles, density and distribution function."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.laws.base import Law
from spectra.laws.generalized_marchenko_pastur import GeneralizedMarchenkoPastur
from spectra.laws.points import as_points
from spectra.laws.population import PopulationLaw
from spectra.laws.tracy_widom import TracyWidom
from spectra.laws_fit import LAWS
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LAW_PARAMETERS", "LAW_SCHEMA", "LAW_SCHEMA_VERSION", "make_law", "tabulate_law"]

LAW_SCHEMA = "spectra/law"
LAW_SCHEMA_VERSION = 1

#: Laws by name, with their parameters and the values that need not be given.
LAW_PARAMETERS: dict[str, dict[str, float | None]] = {
    "marchenko_pastur": {"aspect_ratio": None, "variance": 1.0},
    "semicircle": {"variance": 1.0},
    "jacobi": {"first_ratio": None, "second_ratio": None},
    "f": {"first_ratio": None, "second_ratio": None},
    "generalized": {"aspect_ratio": None, "values": None, "weights": math.nan},
    "tracy_widom": {"beta": 1},
}
QUANTILES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
#: Points of each interval, and the share beyond the ends of a law on the whole line.
NUM_POINTS, BEYOND = 201, 1e-6


def make_law(name: str, parameters: Mapping[str, Any]) -> Law:
    """Return a law by its name.

    Parameters
    ----------
    name : str
        One of :data:`LAW_PARAMETERS`.
    parameters : mapping
        Numbers by name; ``values`` and ``weights`` of a population are lists.

    Raises
    ------
    ArgumentError
        For an unknown name, an unknown or missing parameter, or a value that the law does not allow.

    Examples
    --------
    >>> make_law("marchenko_pastur", {"aspect_ratio": 0.25}).support
    ((0.25, 2.25),)
    """
    if name not in LAW_PARAMETERS:
        raise ArgumentError(f"law must be one of {', '.join(LAW_PARAMETERS)}; got {name!r}")
    allowed = LAW_PARAMETERS[name]
    unknown = [key for key in parameters if key not in allowed]
    missing = [key for key, value in allowed.items() if value is None and key not in parameters]
    if unknown or missing:
        said = f"lacks {', '.join(missing)}" if missing else f"has no {', '.join(unknown)}"
        raise ArgumentError(f"the law {name} takes {', '.join(allowed)}; this one {said}")
    if name == "tracy_widom":
        return TracyWidom(**parameters)
    if name == "generalized":
        values, weights = np.atleast_1d(parameters["values"]), parameters.get("weights")
        population = PopulationLaw(values=values, **({} if weights is None else {"weights": np.atleast_1d(weights)}))
        return GeneralizedMarchenkoPastur(population=population, aspect_ratio=parameters["aspect_ratio"])
    return LAWS[name](**parameters)


def tabulate_law(law: Law, *, at: npt.ArrayLike = (), num_points: int = NUM_POINTS) -> "xr.Dataset":
    """Return a law on a grid, with its quantiles and moments.

    Parameters
    ----------
    law : Law
    at : array_like, shape (k,)
        Further points.
    num_points : int
        Of each interval of the support, denser towards its ends, which are left out.

    Returns
    -------
    xarray.Dataset
        ``pdf``, ``cdf`` and the number of the ``interval`` over ``x``; ``quantile`` over ``q``; ``pdf_at``, ``cdf_at``
        and the survival function ``sf_at``, which is the p-value of a Tracy-Widom law, over ``at``. Attributes:
        ``support`` and ``atoms`` as JSON text, ``mean``, ``variance``, ``median``.

    Raises
    ------
    ArgumentError, NonFiniteError
        If a point is no real number.

    Examples
    --------
    >>> table = tabulate_law(TracyWidom(), at=[2.5])
    >>> round(table.attrs["mean"], 6), float(table["sf_at"][0]).__round__(6)
    (-1.206534, 0.004348)
    """
    import xarray as xr

    points = np.atleast_1d(as_points(at, name="at"))
    grid, intervals = _grid(law, num_points)
    return xr.Dataset(
        {
            "pdf": ("x", np.asarray(law.pdf(grid))),
            "cdf": ("x", np.asarray(law.cdf(grid))),
            "interval": ("x", intervals),
            "quantile": ("q", np.asarray(law.quantile(QUANTILES))),
            "pdf_at": ("at", np.asarray(law.pdf(points))),
            "cdf_at": ("at", np.asarray(law.cdf(points))),
            "sf_at": ("at", np.asarray(law.sf(points))),
        },
        coords={"x": grid, "q": list(QUANTILES), "at": points},
        attrs=provenance(
            schema=LAW_SCHEMA,
            schema_version=LAW_SCHEMA_VERSION,
            label=_label(law),
            support=json.dumps([[_end(low), _end(high)] for low, high in law.support]),
            atoms=json.dumps([list(atom) for atom in law.atoms]),
            mean=law.mean(),
            variance=law.var(),
            median=law.median(),
        ),
    )


def _end(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _grid(law: Law, num_points: int) -> tuple[Vector, npt.NDArray[np.int64]]:
    """Return points within each interval of the support, and their intervals."""
    half = np.sin(0.5 * np.pi * (np.arange(num_points) + 0.5) / num_points) ** 2
    parts = []
    for low, high in law.support:
        if not (math.isfinite(low) and math.isfinite(high)):
            low, high = (float(law.quantile(share)) for share in (BEYOND, 1.0 - BEYOND))
            parts.append(np.linspace(low, high, num_points))
        else:
            parts.append(low + (high - low) * half)
    grid = np.concatenate(parts) if parts else np.empty(0)
    return grid, np.repeat(np.arange(len(parts)), num_points)


def _label(law: Any) -> str:
    """Return the law with its parameters on one line."""
    texts = []
    for field in dataclasses.fields(law):
        value = getattr(law, field.name)
        if isinstance(value, PopulationLaw):
            texts.append(f"population of {value.values.size} values")
        else:
            texts.append(f"{field.name} {value:.6g}")
    return f"{type(law).__name__}, {', '.join(texts)}"
