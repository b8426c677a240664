"""What `spectra.survey` says of a matrix, where all eigenvalues are known: the same tree, without chance."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from spectra.eigenpairs import EIGENPAIRS_SCHEMA, EIGENPAIRS_SCHEMA_VERSION
from spectra.exact import distinct, exact_measure
from spectra.start_vectors import as_count
from spectra.survey_tree import SURVEY_SCHEMA, SURVEY_SCHEMA_VERSION

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["exact_survey"]

_ROUNDING = "rounding: nothing is random"


def exact_survey(
    eigenvalues: ArrayLike,
    *,
    num_zeros: int = 0,
    num_extremal: int = 5,
    error: float | None = None,
    operator: str = "matrix",
    num_matvecs: int = 0,
    dtype: str = "float64",
    positive_semidefinite: bool = False,
    **attrs: Any,
) -> "xr.DataTree":
    """Return the survey of a symmetric matrix from all its eigenvalues.

    Parameters
    ----------
    eigenvalues, num_zeros, error, operator, num_matvecs, dtype
        As for `spectra.exact.exact_measure`.
    num_extremal : int
        Eigenvalues listed at each end.
    positive_semidefinite : bool
        Recorded.
    **attrs
        Further attributes of the root.

    Returns
    -------
    xarray.DataTree
        With the children and the schema of `spectra.survey`. Intervals are the bounds of rounding; ``ended`` is
        "exact". The condition number of a singular matrix is infinite; the pseudo-condition number is that of the
        eigenvalues which exceed the error.

    Raises
    ------
    ArgumentError
        If there are no eigenvalues or some are not finite.

    Examples
    --------
    >>> tree = exact_survey([1.0, 4.0], num_zeros=3)
    >>> numbers = tree["quantities"].to_dataset()["value"]
    >>> float(numbers.sel(quantity="trace")), float(numbers.sel(quantity="pseudo_condition_number"))
    (5.0, 4.0)
    """
    import xarray as xr

    from spectra.provenance import provenance

    nodes, times, error = distinct(eigenvalues, num_zeros=num_zeros, error=error)
    n = int(np.sum(times))
    common = {"num_matvecs": num_matvecs, "seed": -1}
    numbers = _numbers(nodes, times, error)
    columns = ("value", "stderr", "low", "high", "status", "covers")
    content: dict[str, Any] = {
        name: ("quantity", np.array([row[i] for row in numbers.values()])) for i, name in enumerate(columns)
    }
    root = xr.Dataset(
        attrs=provenance(
            schema=SURVEY_SCHEMA,
            schema_version=SURVEY_SCHEMA_VERSION,
            operator=operator,
            dimension=n,
            num_probes=0,
            num_steps=0,
            num_samples=0,
            positive_semidefinite=int(positive_semidefinite),
            level=1.0,
            dtype=dtype,
            extremes_reached=1,
            trace_reached=1,
            ended="exact",
            **common,
            **attrs,
        )
    )
    measure = exact_measure(
        eigenvalues, num_zeros=num_zeros, operator=operator, num_matvecs=num_matvecs, dtype=dtype, error=error
    )
    pairs = _pairs(nodes, times, error, num=min(as_count(num_extremal, name="num_extremal"), n))
    pairs.attrs = provenance(
        schema=EIGENPAIRS_SCHEMA,
        schema_version=EIGENPAIRS_SCHEMA_VERSION,
        dimension=n,
        operator=operator,
        num_steps=0,
        tolerance=float(attrs.get("tolerance", 0.0)),
        operator_norm=float(np.max(np.abs(nodes))),
        smallest_ritz_value=float(nodes[0]),
        largest_ritz_value=float(nodes[-1]),
        dtype=dtype,
        **common,
    )
    return xr.DataTree.from_dict(
        {
            "/": root,
            "/quantities": xr.Dataset(content, coords={"quantity": list(numbers)}),
            "/measure": measure,
            "/eigenpairs": pairs,
        }
    )


def _numbers(
    nodes: np.ndarray, times: np.ndarray, error: float
) -> dict[str, tuple[float, float, float, float, str, str]]:
    """Return value, standard error, low, high, status and what is covered, by name."""
    n = float(np.sum(times))
    size = float(np.sum(times * np.abs(nodes)))

    def row(value: float, slack: float, status: str = "exact") -> tuple[float, float, float, float, str, str]:
        low, high = (value - slack, value + slack) if np.isfinite(value) else (value, value)
        return float(value), 0.0, float(low), float(high), status, _ROUNDING

    modulus = np.abs(nodes)
    seen = modulus[modulus > error]
    singular = len(seen) < len(nodes)
    ratio = float(np.max(seen) / np.min(seen)) if len(seen) else np.inf
    slack = ratio * error / float(np.min(seen)) if len(seen) else 0.0
    return {
        "trace": row(float(np.sum(times * nodes)), n * error),
        "squared_frobenius_norm": row(float(np.sum(times * nodes**2)), 2.0 * error * size),
        "nuclear_norm": row(size, n * error),
        "negative_mass": row(float(np.sum(times[nodes < -error])) / n, 0.0),
        "smallest_eigenvalue": row(nodes[0], error),
        "largest_eigenvalue": row(nodes[-1], error),
        "condition_number": row(np.inf if singular else ratio, slack, "singular" if singular else "exact"),
        "pseudo_condition_number": row(ratio, slack, "exact" if len(seen) else "singular"),
    }


def _pairs(nodes: np.ndarray, times: np.ndarray, error: float, *, num: int) -> "xr.Dataset":
    """Return the outermost eigenvalues as the variables of `spectra.eigenpairs`, without vectors."""
    import xarray as xr

    top = _first(np.arange(len(nodes))[::-1], times[::-1], num)
    bottom = _first(np.arange(len(nodes)), times, num)
    index = np.concatenate([top, bottom])
    same = np.full(len(index), error)
    return xr.Dataset(
        {
            "eigenvalue": ("pair", nodes[index]),
            "residual": ("pair", same, {"long_name": "norm of A y - eigenvalue y"}),
            "error_bound": ("pair", same, {"long_name": "distance to an eigenvalue, at most"}),
            "converged": ("pair", np.ones(len(index), dtype=bool)),
            "end": ("pair", np.array(["largest"] * len(top) + ["smallest"] * len(bottom))),
            "multiplicity": ("pair", times[index]),
            "multiplicity_resolved": ("pair", np.ones(len(index), dtype=bool)),
        }
    )


def _first(order: np.ndarray, times: np.ndarray, num: int) -> np.ndarray:
    """Return the first so many entries of an order in which each occurs several times."""
    return np.repeat(order, np.minimum(times, num))[:num]
