"""Counts and extremes of eigenvalues, softened on a scale: effective dimension and free energy."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.arrays import finite_number
from spectra.cdf_band import cdf_band, is_certain, known_eigenvalues, radau_rule, rounding_band
from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.integrals import expectation, moment
from spectra.lanczos import BREAKDOWN
from spectra.measure_schema import eps_of, probes_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["effective_dimension", "free_energy"]

_COVERS = "random probes (Student t), unresolved quadrature (certain brackets), and rounding"
_LEVELS = 256


def effective_dimension(measure: "xr.Dataset", ridge: float, *, level: float = 0.95) -> Estimate:
    """Return ``tr A (A + ridge I)^-1``, the number of eigenvalues above the ridge with a soft threshold.

    For each probe the sum lies between those of the Gauss-Radau rule with a node at zero and the Gauss rule, because
    the derivatives of ``x / (x + ridge)`` alternate in sign: a bracket that holds however few the steps are, where the
    gap of `spectra.expectation` can miss what lies below the smallest Ritz value.

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
        Between 0 and n. The value is the middle of the bracket, the interval adds Student's t over the probes at
        either end. ``status`` is "exact" where nothing random is left, else "resolved": an interval that is too wide
        for its purpose asks for more steps or probes. A single probe gives neither standard error nor interval.

    Raises
    ------
    ArgumentError
        If the ridge is not positive and finite, or a Ritz value below ``-64 eps ||A||`` proves that A has a negative
        eigenvalue.

    Notes
    -----
    No products. Between a ridge r and 2 r it falls by a factor of at most 2. For a measure of
    `spectra.kernel_polynomial` the bracket is that of its distribution function.

    Source: Zhang (2005); Caponnetto and De Vito (2007). Golub and Meurant (2010) for the bracket.

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
    probes = probes_of(measure)
    smallest = min(float(probe.values[0]) for probe in probes)
    is_kpm = measure.attrs.get("method") == "kpm"  # its nodes reach beyond the spectrum
    if not is_kpm and smallest < -rounding_band(measure):
        raise ArgumentError(
            f"a positive semi-definite operator is required, but the Ritz value {smallest:.6g} proves that there is a "
            "negative eigenvalue; square the operator, or take the measure of a Gauss-Newton matrix"
        )

    if not 0.0 < level < 1.0:
        raise ArgumentError(f"level must lie strictly between 0 and 1, got {level!r}")
    n = int(measure.attrs["dimension"])
    least, most = _kpm_brackets(measure, ridge) if is_kpm else _brackets(measure, ridge)
    rounding = BREAKDOWN * eps_of(measure) * n
    value = 0.5 * float(np.mean(least) + np.mean(most))
    stderr = low = high = None
    p = len(least)
    if p > 1:
        from scipy.special import stdtrit

        reach = float(stdtrit(p - 1, 0.5 + 0.5 * level)) / np.sqrt(p)
        stderr = float(np.std(0.5 * (least + most), ddof=1) / np.sqrt(p))
        low = max(float(np.mean(least) - reach * np.std(least, ddof=1)) - rounding, 0.0)
        high = min(float(np.mean(most) + reach * np.std(most, ddof=1)) + rounding, float(n))
    return Estimate(
        value=value,
        stderr=stderr,
        low=low,
        high=high,
        level=level,
        covers=_COVERS if low is not None else "nothing: no interval is given",
        num_matvecs=int(measure.attrs["num_matvecs"]),
        status="exact" if is_certain(measure) else "resolved",
    )


def _share(x: np.ndarray, ridge: float) -> np.ndarray:
    """Return ``x / (x + ridge)`` for x >= 0, at any scale."""
    x = np.maximum(x, 0.0)
    largest = np.maximum(x, ridge)
    return (x / largest) / (x / largest + ridge / largest)


def _brackets(measure: "xr.Dataset", ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper ends for each probe, the known eigenvalues summed."""
    probes, n, eps = probes_of(measure), int(measure.attrs["dimension"]), eps_of(measure)
    values, counts, nodes = known_eigenvalues(measure, probes)
    rest = n - int(np.sum(counts))
    certain = float(np.sum(counts * _share(values, ridge)))
    ends = []
    for probe, row in zip(probes, nodes, strict=True):
        is_known = row[: len(probe.values)] >= 0
        known = probe.raw_weights[is_known]
        taken, left = float(np.sum(known * _share(probe.values[is_known], ridge))), 1.0 - float(np.sum(known))
        points, weights = radau_rule(probe, 0.0, eps=eps, settled=is_known)
        rules = (float(np.sum(w * _share(x, ridge))) for x, w in ((points, weights), (probe.values, probe.raw_weights)))
        ends.append([certain + (rest * (total - taken) / left if rest else 0.0) for total in rules])
    least, most = np.array(ends).T
    return np.minimum(least, most), np.maximum(least, most)


def _kpm_brackets(measure: "xr.Dataset", ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper ends for each probe: ``int (1 - F) df`` over equal steps of f, F at either end of each."""
    n, levels = int(measure.attrs["dimension"]), np.arange(1.0, _LEVELS) / _LEVELS
    band = cdf_band(measure, ridge * (levels / (1.0 - levels)))
    return n * np.sum(1.0 - band.high, axis=1) / _LEVELS, n * (1.0 + np.sum(1.0 - band.low, axis=1)) / _LEVELS


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
