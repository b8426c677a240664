r"""Damping of a second-order method: the smallest ``delta`` with which ``(H_b + delta I)^-1`` can be trusted.

A step ``(H_b + delta I)^-1 g`` uses the Hessian (or Gauss-Newton matrix) of ``b`` samples, ``H_b = H + E``. Two things
go wrong when ``delta`` is small: noise in directions that carry little curvature, and negative curvature.

*Noise.* The damped matrix is within factors ``1 -+ epsilon`` of the true one, as quadratic forms and so in its
inverse, exactly if ``||(H + delta)^-1/2 E (H + delta)^-1/2|| <= epsilon``. Split the space into the measured
directions ``v_k`` with curvatures ``lam_k`` and the rest, where ``lam ~ 0``, and write ``f = 1/b - 1/N``. The squared
noise ``f s2(v_k)`` of a direction has parts *within* the measured directions, ``within_kj = E (v_j'(H_i - H) v_k)^2``,
and a part that *leaks* into the rest. With Frobenius norms for the blocks::

    leak      sum_k   f leak_k    / ((lam_k + delta) delta)             <= epsilon^2
    within    sum_kj  f within_kj / ((lam_k + delta)(lam_j + delta))    <= epsilon^2
    bulk      2 sqrt(f s2(bulk))  / delta                               <= epsilon          (semicircle law)

each of which holds from some ``delta`` on. If noise was not split, all of it is taken as leak, which is safe and can
be many times too much: the Gauss-Newton matrix of a batch fluctuates mostly within its own top directions.

*Negative curvature.* With ``delta = 2 |lam_min|`` the inverse along the most negative direction is twice that of a
flat one; closer to ``|lam_min|`` it grows without bound, and below it the step climbs.

The largest of these is recommended. Against the exact smallest damping of sampled Hessians see
``tests/spectra/recommend/test_damping.py``.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from spectra.errors import ArgumentError, ShapeError
from spectra.recommend.noise_scale import PairStatistic, jackknife_stderr
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of
from spectra.recommend.stability import effective_noise_fraction

__all__ = ["noise_damping", "smallest_damping"]

#: Relative error of the damped matrix that is allowed; design choice.
TOLERANCE = 0.5
NEGATIVE_FACTOR = 2.0
_LEAK = "noise leaking from the measured directions"
MAX_RELATIVE_RESIDUAL = 0.10


def noise_damping(
    curvature: npt.ArrayLike,
    noise: npt.ArrayLike,
    *,
    noise_fraction: float,
    other_curvature: npt.ArrayLike = 0.0,
    tolerance: float = TOLERANCE,
) -> float:
    """Return the smallest ``delta >= 0`` with ``sum_k f noise_k/((lam_k + delta)(other_k + delta)) <= epsilon^2``.

    Parameters
    ----------
    curvature, noise : array_like of shape (terms,)
        ``lam_k`` (negative values count as 0) and the squared noise per sample, not negative.
    noise_fraction : float
        ``f``, see :func:`spectra.recommend.effective_noise_fraction`.
    other_curvature : array_like of shape (terms,) or scalar
        Curvature of the directions the noise points to; negative values count as 0.
    tolerance : float
        ``epsilon``.

    Raises
    ------
    ArgumentError
        If a number is negative or not finite, or ``tolerance`` is not positive.

    Examples
    --------
    >>> round(noise_damping([3.0], [1.0], noise_fraction=1.0, tolerance=0.5), 9)
    1.0
    """
    lam = np.maximum(np.atleast_1d(np.asarray(curvature, dtype=np.float64)), 0.0)
    if not np.all(np.isfinite(lam)):
        raise ArgumentError(f"curvature must be finite; got {lam}")
    other = np.maximum(np.asarray(other_curvature, dtype=np.float64), 0.0)
    if not 0 < tolerance < np.inf:
        raise ArgumentError(f"tolerance must be positive and finite; got {tolerance}")
    share = np.atleast_1d(np.asarray(noise, dtype=np.float64)) * noise_fraction / tolerance**2
    if not np.all(np.isfinite(share)) or np.any(share < 0) or not np.all(np.isfinite(other)):
        raise ArgumentError(
            "noise and noise_fraction must be finite and not negative, and other_curvature finite; "
            f"got {noise!r}, {noise_fraction} and {other_curvature!r}"
        )
    total = float(np.sum(share))
    if total == 0:
        return 0.0

    def excess(delta: float) -> float:
        """Return the sum minus 1 at a damping."""
        with np.errstate(divide="ignore"):
            return float(np.sum(share / ((lam + delta) * (other + delta)))) - 1.0

    if excess(0.0) <= 0:
        return 0.0
    high = float(np.sqrt(total))  # here the sum is at most 1, curvatures being >= 0
    low = min(high, total / (float(lam.max()) + float(np.max(other)) + high)) * 1e-3
    while excess(low) <= 0:
        low *= 1e-3
    return float(brentq(excess, low, high, xtol=1e-12 * low, rtol=1e-12)) if excess(high) < 0 else high


def smallest_damping(
    *,
    curvature: npt.ArrayLike,
    residual: npt.ArrayLike,
    curvature_noise: Sequence[PairStatistic],
    smallest_curvature: float,
    batch_size: float,
    within_noise: Sequence[Sequence[PairStatistic]] | None = None,
    bulk_noise: PairStatistic | None = None,
    num_samples: float | None = None,
    tolerance: float = TOLERANCE,
    level: float = 0.95,
) -> Recommendation:
    """Return the smallest damping under which neither noise nor negative curvature dominates the damped inverse.

    Parameters
    ----------
    curvature, residual : array_like of shape (directions,)
        Top Ritz values of the matrix that is inverted, and their residuals.
    curvature_noise : sequence of PairStatistic
        ``s2`` of the same directions, per sample.
    smallest_curvature : float
        Smallest eigenvalue; 0 for a Gauss-Newton or Fisher matrix.
    batch_size : float
        Samples behind the matrix that is inverted. A running average over steps counts as many.
    within_noise : sequence of sequences of PairStatistic, optional
        ``within_kj = E (v_j'(H_i - H) v_k)^2``, per sample and from the same micro-batches: with ``c_i = v_j'H_i v_k``
        of each, :func:`spectra.recommend.scatter` of ``outer(c, c)``. Without it all noise counts as leak.
    bulk_noise : PairStatistic, optional
        ``s2`` of a random unit vector orthogonal to the measured directions, projected off them. Without it the bulk
        is left out.
    num_samples : float, optional
        Size of the data, if batches are drawn without replacement.
    tolerance : float
        ``epsilon`` in (0, 1): relative error allowed of the damped matrix.
    level : float
        Level of the jackknife intervals.

    Returns
    -------
    Recommendation
        ``quantity="damping"`` in the units of the curvature. The evidence names the limiting term and gives each.
        Withheld if curvature or noise are not resolved. ``TENTATIVE`` at best: the best damping of a training is not
        known to be the smallest trustworthy one.

    Raises
    ------
    ShapeError
        If the directions differ in number, or there are none.
    ArgumentError
        If ``tolerance`` or ``level`` is outside (0, 1), or the batch size out of range.

    Notes
    -----
    Levenberg-Marquardt and K-FAC adapt their damping from the reduction ratio as they go (Martens and Grosse 2015);
    this is where to start, and what to stay above. For K-FAC, ``curvature`` is that of the Fisher matrix it factors.

    Examples
    --------
    >>> noise = PairStatistic(value=16.0, leave_one_out=np.linspace(15.8, 16.2, 24), stderr=0.5)
    >>> advice = smallest_damping(
    ...     curvature=[3.0], residual=[0.01], curvature_noise=[noise], smallest_curvature=-0.2, batch_size=16
    ... )
    >>> round(advice.value, 6), advice.evidence["limiting_term"], str(advice.verdict)
    (1.0, 'noise leaking from the measured directions', 'TENTATIVE')
    """
    lam = np.atleast_1d(np.asarray(curvature, dtype=np.float64))
    rest = np.atleast_1d(np.asarray(residual, dtype=np.float64))
    if lam.ndim != 1 or not len(lam) == len(rest) == len(curvature_noise) or not len(lam):
        raise ShapeError(
            "curvature, residual and curvature_noise must describe the same directions, at least one; "
            f"got {len(lam)}, {len(rest)} and {len(curvature_noise)}"
        )
    for name, number in (("tolerance", tolerance), ("level", level)):
        if not 0 < number < 1:
            raise ArgumentError(f"{name} must lie strictly between 0 and 1; got {number}")
    fraction = effective_noise_fraction(batch_size, num_samples)
    if within_noise is not None and [len(row) for row in within_noise] != [len(lam)] * len(lam):
        raise ShapeError(
            f"within_noise must be a {len(lam)} x {len(lam)} table of statistics; "
            f"got rows of {[len(row) for row in within_noise]}"
        )
    leak = list(curvature_noise)
    if within_noise is not None:
        leak = [difference(total, row) for total, row in zip(curvature_noise, within_noise, strict=True)]
    inner = [part for row in within_noise or () for part in row]
    checks = _checks(lam, rest, curvature_noise, smallest_curvature, within_noise, bulk_noise)
    verdict, reason = verdict_of(checks, at_best=Verdict.TENTATIVE)
    if verdict is Verdict.WITHHELD:
        return Recommendation(quantity="damping", value=None, verdict=verdict, reason=reason, checks=checks)

    def end(statistic: PairStatistic, which: int) -> float:
        return max((statistic.value, *statistic.interval(level))[which], 0.0)

    def terms(which: int) -> dict[str, float]:
        """Return every lower bound of the damping at the value (0) or an end (1, 2) of the noise."""
        found = {"negative curvature": NEGATIVE_FACTOR * max(-smallest_curvature, 0.0)}
        found[_LEAK] = noise_damping(
            lam, [end(part, which) for part in leak], noise_fraction=fraction, tolerance=tolerance
        )
        if inner:
            found["noise within the measured directions"] = noise_damping(
                np.repeat(lam, len(lam)),
                [end(part, which) for part in inner],
                noise_fraction=fraction,
                other_curvature=np.tile(lam, len(lam)),
                tolerance=tolerance,
            )
        if bulk_noise is not None:
            found["noise of the bulk"] = float(2.0 * np.sqrt(fraction * end(bulk_noise, which)) / tolerance)
        return found

    at_value = terms(0)
    limiting = max(at_value, key=lambda name: at_value[name])
    if all(check.passed for check in checks):
        reason = f"set by the {limiting}; less may make the damped matrix wrong by more than {tolerance:.0%}"
    return Recommendation(
        quantity="damping",
        value=at_value[limiting],
        low=max(terms(1).values()),
        high=max(terms(2).values()),
        unit="curvature",
        interval=f"{level:.0%} of the curvature noise",
        verdict=verdict,
        reason=reason,
        checks=checks,
        evidence={"limiting_term": limiting, "tolerance": tolerance, **at_value},
    )


def difference(total: PairStatistic, parts: Sequence[PairStatistic]) -> PairStatistic:
    """Return ``total - sum(parts)``, jackknifed as a whole; all must come from the same micro-batches."""
    counts = {len(statistic.leave_one_out) for statistic in (total, *parts)}
    if len(counts) > 1:
        raise ShapeError(f"all statistics must come from the same micro-batches; got {sorted(counts)} of them")
    leave_one_out = total.leave_one_out - np.sum([part.leave_one_out for part in parts], axis=0)
    value = total.value - sum(part.value for part in parts)
    return PairStatistic(value=value, leave_one_out=leave_one_out, stderr=jackknife_stderr(leave_one_out))


def _checks(
    lam: npt.NDArray[np.float64],
    residual: npt.NDArray[np.float64],
    curvature_noise: Sequence[PairStatistic],
    smallest_curvature: float,
    within_noise: Sequence[Sequence[PairStatistic]] | None,
    bulk_noise: PairStatistic | None,
) -> tuple[Check, ...]:
    relative = float(np.max(residual / np.maximum(np.abs(lam), np.finfo(float).tiny)))
    error = max(noise.relative_error for noise in curvature_noise)
    checks = [
        Check(
            claim="the curvatures are finite and the largest is positive",
            observed=f"largest {lam.max():.4g}, smallest {smallest_curvature:.4g}",
            required="finite, largest > 0",
            passed=bool(np.all(np.isfinite(lam)) and np.isfinite(smallest_curvature) and lam.max() > 0),
        ),
        Check(
            claim="the measured directions have converged",
            observed=f"worst residual {relative:.2%} of its curvature",
            required=f"at most {MAX_RELATIVE_RESIDUAL:.0%}",
            passed=relative <= MAX_RELATIVE_RESIDUAL,
        ),
        Check(
            claim="the curvature noise is resolved",
            observed=f"worst relative error {error:.0%}",
            required="at most 50%",
            passed=error <= 0.5,
            consequence=Verdict.WITHHELD if error > 1 else Verdict.TENTATIVE,
            source="jackknife over micro-batches",
        ),
    ]
    if within_noise is None:
        checks.append(
            Check(
                claim="the noise was split into the part within the measured directions and the leak",
                observed="not split: the damping is an upper bound",
                required="both parts",
                passed=False,
                consequence=Verdict.TENTATIVE,
            )
        )
    if bulk_noise is None or bulk_noise.relative_error > 0.5:
        checks.append(
            Check(
                claim="the noise of the bulk is resolved",
                observed="not measured" if bulk_noise is None else f"relative error {bulk_noise.relative_error:.0%}",
                required="curvature noise of a random direction, with an error of at most 50%",
                passed=False,
                consequence=Verdict.TENTATIVE,
            )
        )
    return tuple(checks)
