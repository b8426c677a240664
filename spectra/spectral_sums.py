"""Sums of functions over the spectrum: from all eigenvalues of a small operator, else from a spectral measure."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spectra.arrays import dtype_name
from spectra.columns import all_columns
from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.integrals import expectation
from spectra.lanczos import BREAKDOWN
from spectra.measure_schema import eps_of
from spectra.operators import as_operator
from spectra.products import Products
from spectra.protocols import Array, SupportsMatmul
from spectra.quadrature import slq
from spectra.spectral_values import SpectralFunction, spectral_values
from spectra.start_vectors import as_count, as_seed

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LARGEST_DENSE", "SpectralSums", "all_eigenvalues", "spectral_sums", "times"]

LARGEST_DENSE = 1000
"""Largest order of which all eigenvalues are computed on the host, in about 0.1 s."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SpectralSums:
    """The spectrum of an operator as far as it is known, in the units of A.

    Attributes
    ----------
    dimension, num_matvecs : int
    values, residuals : ndarray, shape (k,)
        All eigenvalues, or the Ritz values of all probes; an eigenvalue lies within the residual of each.
    band : float
        ``64 eps ||A||``: values this close to zero cannot be told from it.
    measure : xarray.Dataset or None
        None where all eigenvalues are known.
    """

    dimension: int
    num_matvecs: int
    values: np.ndarray
    residuals: np.ndarray
    band: float
    measure: "xr.Dataset | None"

    @property
    def norm(self) -> float:
        """Largest modulus of a value: the norm of A or less."""
        return float(np.max(np.abs(self.values)))

    def estimate(self, f: SpectralFunction, *, level: float) -> Estimate:
        """Return an estimate of ``tr f(A)``; see `spectra.expectation`. No products."""
        if self.measure is not None:
            return times(expectation(self.measure, f, level=level), self.dimension)
        y = spectral_values(f, self.values, band=self.band)
        value = float(np.sum(y))
        if np.isinf(value):
            nothing = "nothing: no interval is given"
            return Estimate(
                value=value,
                stderr=None,
                low=None,
                high=None,
                level=level,
                covers=nothing,
                num_matvecs=self.num_matvecs,
                status="singular",
            )
        # Outwards by the whole band, inwards by half of the value at most: f need not be defined on both sides of zero.
        sign = np.where(self.values < -self.band, -1.0, 1.0)
        ends = self.values + sign * self.band, self.values - sign * np.minimum(self.band, 0.5 * np.abs(self.values))
        moved = np.array([spectral_values(f, x, band=self.band) - y for x in ends])
        rounding = float(np.sum(np.max(np.abs(moved), axis=0))) + np.finfo(float).eps * float(np.sum(np.abs(y)))
        return Estimate(
            value=value,
            stderr=0.0,
            low=value - rounding,
            high=value + rounding,
            level=level,
            covers="rounding: nothing is random",
            num_matvecs=self.num_matvecs,
            status="exact",
        )

    def require_positive(self, what: str) -> None:
        """Raise ArgumentError, that A is not ``what``, if a value below zero proves it."""
        k = int(np.argmin(self.values))
        if self.values[k] < -self.band:
            raise ArgumentError(
                f"the operator is not {what}: it has the Ritz value {self.values[k]:.6g} with residual "
                f"{self.residuals[k]:.2g}, and therefore an eigenvalue no larger than that"
            )


def times(estimate: Estimate, factor: float) -> Estimate:
    """Return the estimate of ``factor`` times the quantity, ``factor > 0``."""

    def scaled(x: float | None) -> float | None:
        return None if x is None else factor * x

    value, stderr = factor * estimate.value, scaled(estimate.stderr)
    return replace(estimate, value=value, stderr=stderr, low=scaled(estimate.low), high=scaled(estimate.high))


def all_eigenvalues(A: SupportsMatmul | Array, *, budget: int) -> SpectralSums | None:
    """Compute all eigenvalues if n is at most ``budget`` and 1000, else return None; costs ``n + 1`` products."""
    operator = as_operator(A)
    n = operator.shape[0]
    if n > min(budget, LARGEST_DENSE):
        return None
    products = Products(operator)
    values = products.unscaled(np.linalg.eigvalsh(all_columns(products, repeat=True)))
    small = float(np.finfo(dtype_name(operator.dtype)).eps)
    largest = float(np.max(np.abs(values)))
    return SpectralSums(
        dimension=n,
        num_matvecs=products.num_matvecs,
        values=values,
        residuals=np.full(n, small * largest),
        band=BREAKDOWN * small * largest,
        measure=None,
    )


def spectral_sums(
    A: SupportsMatmul | Array, *, num_probes: int, num_steps: int, rng: int | np.random.Generator
) -> SpectralSums:
    """Measure the spectrum of A: all eigenvalues if n is at most ``num_probes num_steps`` and 1000, else `slq`.

    Costs n products, or ``num_probes num_steps``; one more to see whether the operator is deterministic.

    Raises
    ------
    ArgumentError, NotSymmetricError, NonDeterministicError, NonFiniteError
        As `spectra.slq`.

    Examples
    --------
    >>> import numpy as np
    >>> found = spectral_sums(np.diag([1.0, 2.0, 4.0]), num_probes=10, num_steps=30, rng=0)
    >>> round(found.estimate(np.log2, level=0.95).value, 12), found.num_matvecs
    (3.0, 4)
    """
    num_probes, num_steps = as_count(num_probes, name="num_probes"), as_count(num_steps, name="num_steps")
    seed = as_seed(rng)
    found = all_eigenvalues(A, budget=num_probes * num_steps)
    if found is not None:
        return found
    measure = slq(A, num_probes=num_probes, num_steps=num_steps, rng=seed)
    counts = measure["num_nodes"].values
    rows = zip(measure["ritz_value"].values, measure["residual"].values, counts, strict=True)
    values, residuals = np.concatenate([np.stack([value[:k], residual[:k]]) for value, residual, k in rows], axis=1)
    return SpectralSums(
        dimension=int(measure.attrs["dimension"]),
        num_matvecs=int(measure.attrs["num_matvecs"]),
        values=values,
        residuals=residuals,
        band=BREAKDOWN * eps_of(measure) * float(np.max(np.abs(values))),
        measure=measure,
    )
