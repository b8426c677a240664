"""Gauss rules of Lanczos runs with fewer steps, and without some of their nodes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh_tridiagonal

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.measure_schema import probes_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LEAST_STEPS", "GaussRule", "gauss_rules"]

#: Fewer steps have no tail to speak of (design choice; twice as many resolve an edge better).
LEAST_STEPS = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussRule:
    """Nodes of one Lanczos run, and the coefficients that they belong to.

    Attributes
    ----------
    values, weights, residuals : ndarray, shape (k,)
        Ritz values, ascending; their weights, of sum 1; and residuals of the Ritz vectors.
    diagonal, off_diagonal : ndarray, shape (k,)
        Coefficients; the last of ``off_diagonal`` is the norm of the vector that would come next.
    """

    values: Vector
    weights: Vector
    residuals: Vector
    diagonal: Vector
    off_diagonal: Vector

    def shortened(self, num_steps: int) -> "GaussRule":
        """Return the rule of the same run after fewer steps."""
        diagonal, off_diagonal = self.diagonal[:num_steps], self.off_diagonal[:num_steps]
        values, vectors = eigh_tridiagonal(diagonal, off_diagonal[:-1])
        return GaussRule(
            values=values,
            weights=vectors[0] ** 2,
            residuals=off_diagonal[-1] * np.abs(vectors[-1]),
            diagonal=diagonal,
            off_diagonal=off_diagonal,
        )

    def without(self, gone: npt.NDArray[np.bool_]) -> tuple[Vector, Vector]:
        """Return the coefficients of the Gauss rule without some of its nodes, as many as are reliable.

        Lanczos with full reorthogonalization on the nodes, in float64. As many of the last coefficients as there are
        nodes removed, and two more, are left out: they depend on the moments that the rule no longer has.
        """
        kept = ~gone & (self.weights > 0.0)
        unit = float(np.max(np.abs(self.values)))
        values, weights = self.values[kept] / unit, self.weights[kept]
        count = max(len(values) - int(np.sum(gone)) - 2, min(LEAST_STEPS // 2, len(values)))
        basis = np.zeros((count + 1, len(values)))
        basis[0] = np.sqrt(weights / np.sum(weights))
        diagonal, off_diagonal = np.zeros(count), np.zeros(count)
        for k in range(count):
            product = values * basis[k]
            diagonal[k] = basis[k] @ product
            for _ in range(2):
                product -= basis[: k + 1].T @ (basis[: k + 1] @ product)
            off_diagonal[k] = np.linalg.norm(product)
            if off_diagonal[k] > 0.0:
                basis[k + 1] = product / off_diagonal[k]
        return diagonal * unit, off_diagonal * unit


def gauss_rules(measure: "xr.Dataset") -> list[GaussRule]:
    """Return the rule of each probe.

    Raises
    ------
    SchemaError
        If it is no spectral measure.
    ArgumentError
        If it holds no coefficients, or too few.
    """
    probes = probes_of(measure)
    if any(probe.off_diagonal is None for probe in probes):
        raise ArgumentError(
            "a measure of spectra.slq is required; a kernel polynomial keeps no coefficients. Pass eigenvalues instead"
        )
    steps = min(len(probe.values) for probe in probes)
    if steps < LEAST_STEPS:
        raise ArgumentError(
            f"at least {LEAST_STEPS} Lanczos steps in every probe are required, got {steps}; raise num_steps, or pass "
            "the eigenvalues of so small a matrix"
        )
    residual = np.nan_to_num(measure["residual"].values, nan=np.inf)
    return [
        GaussRule(
            values=probe.values,
            weights=probe.raw_weights,
            residuals=own[: len(probe.values)],
            diagonal=np.asarray(probe.diagonal),
            off_diagonal=np.asarray(probe.off_diagonal),
        )
        for probe, own in zip(probes, residual, strict=True)
    ]
