"""Counts and extremes of eigenvalues, softened on a scale: effective dimension and free energy."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.arrays import finite_number
from spectra.cdf_band import rounding_band
from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.integrals import expectation, moment
from spectra.measure_schema import probes_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["effective_dimension", "free_energy"]


def effective_dimension(measure: "xr.Dataset", ridge: float, *, level: float = 0.95) -> Estimate:
    """Return ``tr A (A + ridge I)^-1``, the number of eigenvalues above the ridge with a soft threshold.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq` or `spectra.kernel_polynomial`, of a positive semi-definite operator.
    ridge : float
        Positive, in the units of A.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        Between 0 and n; its status and interval are those of `spectra.expectation`, cut off at 0 and n.

    Raises
    ------
    ArgumentError
        If the ridge is not positive and finite, or a Ritz value below ``-64 eps ||A||`` proves that A has a negative
        eigenvalue.

    Notes
    -----
    No products. Between a ridge r and 2 r it falls by a factor of at most 2.

    Source: Zhang (2005); Caponnetto and De Vito (2007).

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.diag([0.0] * 30 + [1.0] * 6))
    >>> round(effective_dimension(measure, 0.5).value, 9)
    4.0
    """
    ridge = finite_number(ridge, name="ridge")
    if not ridge > 0.0:
        raise ArgumentError(f"ridge must be positive, got {ridge!r}")
    smallest = min(float(probe.values[0]) for probe in probes_of(measure))
    is_kpm = measure.attrs.get("method") == "kpm"  # its nodes reach beyond the spectrum
    if not is_kpm and smallest < -rounding_band(measure):
        raise ArgumentError(
            f"a positive semi-definite operator is required, but the Ritz value {smallest:.6g} proves that there is a "
            "negative eigenvalue; square the operator, or take the measure of a Gauss-Newton matrix"
        )

    def share(x: np.ndarray) -> np.ndarray:
        x = np.maximum(x, 0.0)
        largest = np.maximum(x, ridge)
        return (x / largest) / (x / largest + ridge / largest)

    n = int(measure.attrs["dimension"])
    mean = expectation(measure, share, level=level)
    ends = [None if end is None else n * float(np.clip(end, 0.0, 1.0)) for end in (mean.low, mean.high)]
    return Estimate(
        value=n * mean.value,
        stderr=None if mean.stderr is None else n * mean.stderr,
        low=ends[0],
        high=ends[1],
        level=mean.level,
        covers=mean.covers,
        num_matvecs=mean.num_matvecs,
        status=mean.status,
    )


def free_energy(measure: "xr.Dataset", inverse_temperature: float, *, level: float = 0.95) -> Estimate:
    """Return ``F = -(1/beta) log(tr exp(-beta A) / n)``, the smallest eigenvalue with a soft minimum.

    It falls from the mean of the eigenvalues at ``beta = 0`` to the smallest one at ``beta = inf``. The partition
    function itself is ``n exp(-beta F)``. For the largest eigenvalue take the measure of ``-A``.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq` or `spectra.kernel_polynomial`.
    inverse_temperature : float
        beta, positive, in the inverse units of A.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        In the units of A. The interval of `spectra.expectation` for ``exp(-beta (A - theta_min I))``, which neither
        overflows nor underflows, mapped by the logarithm; where its lower end is not positive, F is bounded from above
        by the mean of the eigenvalues (Jensen). ``stderr`` by the delta method.

    Raises
    ------
    ArgumentError
        If beta is not positive and finite, or ``beta ||A||`` overflows.

    Notes
    -----
    No products. For large beta a few of the smallest eigenvalues carry the sum; where they are not resolved the
    samples are skewed, and the interval is too short by what `spectra.expectation` says.

    Source: Jaklic and Prelovsek (1994), finite-temperature Lanczos method.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.diag([1.0] * 6 + [2.0] * 6))
    >>> F = free_energy(measure, 3.0)
    >>> bool(np.isclose(F.value, -np.log(0.5 * np.exp(-3.0) + 0.5 * np.exp(-6.0)) / 3.0))
    True
    """
    beta = finite_number(inverse_temperature, name="inverse_temperature")
    if not beta > 0.0:
        raise ArgumentError(f"inverse_temperature must be positive, got {beta!r}")
    smallest = min(float(probe.values[0]) for probe in probes_of(measure))
    largest = max(float(np.max(np.abs(probe.values))) for probe in probes_of(measure))
    if not np.isfinite(2.0 * beta * largest):
        raise ArgumentError(f"inverse_temperature times the norm of the operator must not overflow, got {beta!r}")
    sum_ = expectation(measure, lambda x: np.exp(-beta * (x - smallest)), level=level)

    def energy(mean: float) -> float:
        return smallest - float(np.log(mean)) / beta

    low = high = None
    if sum_.low is not None and sum_.high is not None:
        low = energy(sum_.high)
        ceiling = moment(measure, 1, level=level).high
        tops = [energy(sum_.low)] if sum_.low > 0.0 else []
        high = min(tops + ([] if ceiling is None else [ceiling]), default=None)
    return Estimate(
        value=energy(sum_.value),
        stderr=None if sum_.stderr is None else sum_.stderr / (beta * sum_.value),
        low=low if high is not None else None,
        high=None if high is None or low is None else max(high, energy(sum_.value)),
        level=sum_.level,
        covers=sum_.covers,
        num_matvecs=sum_.num_matvecs,
        status=sum_.status,
    )
