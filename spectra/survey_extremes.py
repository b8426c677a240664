"""The ends of a spectrum as a block run has found them, and how far an eigenvalue may be."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.arrays import dtype_name
from spectra.block_run import BlockRun
from spectra.eigenpairs import EIGENPAIRS_SCHEMA, EIGENPAIRS_SCHEMA_VERSION
from spectra.lanczos import BREAKDOWN
from spectra.missed_pairs import Multiplicities
from spectra.residuals import Certified, error_bounds
from spectra.thick_restart import RitzPairs, at_ends

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Extremes", "extremes", "extremes_dataset"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Extremes:
    """Outermost Ritz pairs of the scaled operator: the largest in descending, then the smallest in ascending order.

    Attributes
    ----------
    pairs : RitzPairs
        All of them.
    index : list of int
        Positions of the outermost ones.
    end : list of str
        "largest" or "smallest".
    bounds : ndarray, shape (k,)
        Of the distance to an eigenvalue, rounding included.
    norm : float
        Largest modulus of a Ritz value.
    tolerance : float
        Relative to the norm.
    num_missing : int
        Pairs that were asked for, exist, and have not been seen.
    num_smallest : int
        How many of the smallest are asked to be within the tolerance.
    """

    pairs: RitzPairs
    index: list[int]
    end: list[str]
    bounds: np.ndarray
    norm: float
    tolerance: float
    num_missing: int
    num_smallest: int

    @property
    def converged(self) -> np.ndarray:
        """Which error bounds are within the tolerance."""
        return self.bounds <= self.tolerance * self.norm

    @property
    def is_settled(self) -> bool:
        """Whether all of those asked for are, and none is missing."""
        num_largest = self.end.count("largest")
        return self.num_missing == 0 and bool(np.all(self.converged[: num_largest + self.num_smallest]))


def extremes(
    run: BlockRun, *, num: int, num_smallest: int, tolerance: float, positive_semidefinite: bool, eps: float
) -> Extremes:
    r"""Return the outermost Ritz pairs with bounds of their errors; no products.

    An eigenvalue lies within the residual of a Ritz value, and within ``residual**2 / gap`` where the other Ritz values
    show a gap. Of a positive semidefinite operator the k-th smallest eigenvalue lies between zero and the k-th smallest
    Ritz value (Cauchy), which says more about eigenvalues near zero.

    Parameters
    ----------
    run : BlockRun
    num, num_smallest : int
        Pairs at each end, and how many of the smallest must be within the tolerance.
    tolerance : float
        Relative to the norm; at least 128 eps, half of which is allowed for rounding.
    positive_semidefinite : bool
    eps : float
        Of the products.

    Examples
    --------
    >>> from spectra.operators import as_operator
    >>> run = BlockRun(as_operator(np.diag(np.arange(1.0, 7.0))), num_starts=2, seed=0)
    >>> for _ in range(3):
    ...     run.step()
    >>> found = extremes(run, num=1, num_smallest=1, tolerance=1e-6, positive_semidefinite=True, eps=2.0**-52)
    >>> found.pairs.values[found.index].round(9).tolist(), found.is_settled
    ([6.0, 1.0], True)
    """
    pairs = run.ritz()
    chosen = at_ends(pairs.values, num, "both")
    index = [i for _, i in chosen]
    norm = float(np.max(np.abs(pairs.values), initial=0.0))
    tolerance = max(tolerance, 2.0 * BREAKDOWN * eps)
    found = Certified(values=pairs.values[index], residuals=pairs.residuals[index], vectors=None)
    bounds = error_bounds(found, pairs, index, tolerance=tolerance * norm)
    if positive_semidefinite:
        small = np.array([end == "smallest" for end, _ in chosen])
        bounds = np.where(small, np.minimum(bounds, np.abs(found.values)), bounds)
    wanted = min(num, run.operator.shape[0])
    return Extremes(
        pairs=pairs,
        index=index,
        end=[end for end, _ in chosen],
        bounds=bounds + BREAKDOWN * eps * norm,
        norm=norm,
        tolerance=tolerance,
        num_missing=max(0, wanted - len(pairs.values)),
        num_smallest=num_smallest,
    )


def extremes_dataset(run: BlockRun, found: Extremes, *, keep_vectors: bool, attrs: dict[str, Any]) -> "xr.Dataset":
    """Return the pairs with the variables and attributes of `spectra.eigenpairs`, in the units of the operator."""
    import xarray as xr

    from spectra.provenance import provenance

    unscaled, pairs = run.products.unscaled, found.pairs
    known = Multiplicities(
        values=pairs.values,
        residuals=pairs.residuals,
        tolerance=found.tolerance * found.norm,
        block=run.num_starts,
        is_complete=run.is_complete,
    )
    values = pairs.values[found.index]
    content: dict[str, Any] = {
        "eigenvalue": ("pair", unscaled(values)),
        "residual": ("pair", unscaled(pairs.residuals[found.index]), {"long_name": "norm of A y - eigenvalue y"}),
        "error_bound": ("pair", unscaled(found.bounds), {"long_name": "distance to an eigenvalue, at most"}),
        "converged": ("pair", found.converged),
        "end": ("pair", np.array(found.end)),
        "multiplicity": ("pair", np.array([known.count(value) for value in values])),
        "multiplicity_resolved": ("pair", np.array([known.is_resolved(value) for value in values])),
    }
    if keep_vectors:
        vectors = run.vectors(pairs, found.index)
        pivot = np.take_along_axis(vectors, np.argmax(np.abs(vectors), axis=1)[:, None], axis=1)
        content["eigenvector"] = (("pair", "coordinate"), np.where(pivot < 0, -vectors, vectors))
    own = {
        "schema": EIGENPAIRS_SCHEMA,
        "schema_version": EIGENPAIRS_SCHEMA_VERSION,
        "dimension": run.operator.shape[0],
        "operator": run.operator.name,
        "num_steps": run.num_steps,
        "tolerance": found.tolerance,
        "operator_norm": float(unscaled(found.norm)),
        "smallest_ritz_value": float(unscaled(pairs.values[0])),
        "largest_ritz_value": float(unscaled(pairs.values[-1])),
        "dtype": dtype_name(run.operator.dtype),
    }
    return xr.Dataset(content, attrs=provenance(**own, **attrs))
