r"""Annealing law of long training runs: the loss at every step from the learning-rate schedule.

The law is::

    L(s) = L0 + A S1^-alpha - C S2,      S1(s) = sum_(i <= s) lr_i,     S2(s) = sum_(i <= s) m_i,
    m_i = decay m_(i-1) + (lr_(i-1) - lr_i),  m_1 = 0

(Tissue, Wang and Wang 2024, arXiv 2408.11029): ``S1`` is the distance traveled, ``S2`` what annealing has earned, with
a memory of ``1/(1 - decay)`` steps. A law fitted to one run predicts the loss of another schedule.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from spectra.errors import ArgumentError
from spectra.recommend.recommendation import Check, Verdict

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["AnnealingAreas", "AnnealingFit", "annealing_areas", "law_of"]

FloatArray = npt.NDArray[np.float64]

#: Memory of the annealing term: about 0.999 in Tissue et al. 2024.
DECAY = 0.999
PARAMETERS = ("floor", "amplitude", "exponent", "annealing")


@dataclass(frozen=True, kw_only=True)
class AnnealingAreas:
    """``S1`` and ``S2`` of every step, each of shape (steps,)."""

    forward: FloatArray
    annealing: FloatArray


@dataclass(frozen=True, kw_only=True)
class AnnealingFit:
    """A fitted annealing law.

    Attributes
    ----------
    floor, amplitude, exponent, annealing : float
        ``L0``, ``A``, ``alpha`` and ``C``.
    intervals : dict of str to (float, float)
        One for each parameter, at ``level``.
    level : float
        Of the intervals.
    decay : float
        Memory of the annealing term; not fitted.
    log_covariance : ndarray of shape (4, 4)
        Covariance of the logarithms of the four parameters.
    degrees_of_freedom : int
        Of Student's t: blocks minus 4.
    residual_scale : float
        Median absolute residual of ``log L``.
    verdict, reason, checks
        Trust in the law for this run, as in :class:`spectra.recommend.Recommendation`.
    """

    floor: float
    amplitude: float
    exponent: float
    annealing: float
    intervals: dict[str, tuple[float, float]]
    level: float
    decay: float
    log_covariance: FloatArray
    degrees_of_freedom: int
    residual_scale: float
    verdict: Verdict
    reason: str
    checks: tuple[Check, ...]

    def predict(self, learning_rates: npt.ArrayLike) -> "xr.Dataset":
        """Return the loss that the law predicts for another schedule of the same model, data and batch size.

        Parameters
        ----------
        learning_rates : array_like of shape (steps,)
            Rate of every step from the first.

        Returns
        -------
        xarray.Dataset
            Coordinate ``step`` = 1..T; variables ``loss``, ``low`` and ``high``, which cover the error of the fit, not
            the scatter of single losses.

        Raises
        ------
        ArgumentError
            If the fit is withheld or the rates are unusable.
        """
        import xarray as xr

        if self.verdict is Verdict.WITHHELD:
            raise ArgumentError(f"a withheld fit predicts nothing: {self.reason}")
        areas = annealing_areas(learning_rates, decay=self.decay)
        logs = np.log([getattr(self, name) for name in PARAMETERS])
        loss, jacobian = law_of(logs, areas.forward, areas.annealing)
        stderr = np.sqrt(np.einsum("ti,ij,tj->t", jacobian, self.log_covariance, jacobian))
        half = student_t.ppf(0.5 + self.level / 2, self.degrees_of_freedom) * stderr
        return xr.Dataset(
            {"loss": ("step", loss), "low": ("step", loss - half), "high": ("step", loss + half)},
            coords={"step": np.arange(1, len(loss) + 1)},
            attrs={"level": self.level, "verdict": str(self.verdict)},
        )


def annealing_areas(learning_rates: npt.ArrayLike, *, decay: float = DECAY) -> AnnealingAreas:
    """Return ``S1`` and ``S2`` after every step of a schedule.

    Parameters
    ----------
    learning_rates : array_like of shape (steps,)
        Rate of every step, the first one positive. For a schedule with warm-up leave the warm-up out.
    decay : float
        Memory of the annealing term, in [0, 1).

    Raises
    ------
    ArgumentError
        If the rates are not finite, negative, or start with 0; or ``decay`` is out of range.

    Examples
    --------
    >>> areas = annealing_areas([1.0, 1.0, 0.5, 0.5], decay=0.5)
    >>> areas.forward.tolist(), areas.annealing.tolist()
    ([1.0, 2.0, 2.5, 3.0], [0.0, 0.0, 0.5, 0.75])
    """
    from scipy.signal import lfilter

    rates = np.asarray(learning_rates, dtype=np.float64)
    if rates.ndim != 1 or len(rates) < 2:
        raise ArgumentError(f"learning_rates must hold the rate of each of at least 2 steps; got shape {rates.shape}")
    if not np.all(np.isfinite(rates)) or np.any(rates < 0) or rates[0] == 0:
        raise ArgumentError(
            "learning rates must be finite and not negative, and the first one positive (after warm-up)"
        )
    if not 0 <= decay < 1:
        raise ArgumentError(f"decay must lie in [0, 1); got {decay}")
    drops = np.concatenate([[0.0], -np.diff(rates)])
    return AnnealingAreas(forward=np.cumsum(rates), annealing=np.cumsum(lfilter([1.0], [1.0, -decay], drops)))


def law_of(logs: FloatArray, s1: FloatArray, s2: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the loss and its derivative by the logarithms of the four parameters, shape (points, 4)."""
    floor, amplitude, exponent, annealing = np.exp(logs)
    log_s1 = np.log(s1)
    power = amplitude * np.exp(-exponent * log_s1)
    jacobian = np.stack([np.full_like(s1, floor), power, -power * exponent * log_s1, -annealing * s2], axis=1)
    return floor + power - annealing * s2, jacobian
