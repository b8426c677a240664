r"""Gram matrices of independent Gaussian features: bounds of their extreme eigenvalues."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import zeta

from spectra.arrays import finite_number
from spectra.errors import ArgumentError
from spectra.kernels.decay_result import EigenDecay
from spectra.kernels.gram import GramSpectrum
from spectra.kernels.gram_input import checked_ridge
from spectra.kernels.kernel_risk import checked_level
from spectra.kernels.signal_capture import modes
from spectra.start_vectors import as_count

__all__ = ["IndependentFeatures", "features_of_law", "independent_features"]

#: Most modes that stand for a fitted law; their best one lies at n (a/(a - 1))**2, at 121 n for an exponent a of 1.1.
MOST_MODES = 2**20
#: A fitted law passes through the eigenvalues from the second to this share of n: beyond, w_i / n is a poor estimate of
#: an eigenvalue of the integral operator. At 0.1 n it is 0.94 to 1.10 times one for powers 1.5 to 3, n = 100 and 200;
#: at 0.5 n 0.69 to 1.26 times (scripts/validate_overfitting_regime.py).
HEAD = 0.1
#: Modes of an exponential law after which its sum is complete to rounding: exp(-40).
COMPLETE = 40.0


@dataclass(frozen=True, kw_only=True)
class IndependentFeatures:
    """Bounds of the extreme eigenvalues of a Gram matrix of independent Gaussian features.

    Attributes
    ----------
    largest, smallest : float
        The largest eigenvalue is at most, and the smallest at least this, together with probability ``level``.
        ``smallest`` is 0 where nothing can be said.
    level : float
        That probability.
    num_samples : int
        n.
    """

    largest: float
    smallest: float
    level: float
    num_samples: int

    def condition_number(self, ridge: float = 0.0) -> float:
        """Return the bound of the condition number that follows, with a ridge."""
        delta = checked_ridge(ridge)
        bottom = self.smallest + delta
        return (self.largest + delta) / bottom if bottom > 0 else math.inf


def independent_features(
    eigenvalue: npt.ArrayLike,
    *,
    num_samples: int,
    multiplicity: npt.ArrayLike | None = None,
    residual_trace: float = 0.0,
    level: float = 0.95,
) -> IndependentFeatures:
    r"""Return bounds of the extreme eigenvalues of ``Z diag(eigenvalue) Z'``, Z of independent standard normal entries.

    .. math::

        w_1 \le \bigl(\sqrt{n \lambda_1} + \sqrt{\textstyle\sum \lambda} + t \sqrt{\lambda_1}\bigr)^2, \qquad
        w_n \ge \max_{m > n} \lambda_m (\sqrt m - \sqrt n - t)^2, \qquad t = \sqrt{2 \log \tfrac{2}{1 - p}}

    with probability p. **No bound for the Gram matrix of a kernel**, whose features depend on each other.

    Parameters
    ----------
    eigenvalue : array_like, shape (m,)
        Of the integral operator, in any order.
    num_samples : int
        n.
    multiplicity : array_like, shape (m,), optional
        How often each occurs; by default once.
    residual_trace : float
        Sum of further eigenvalues, which counts in the first bound only.
    level : float
        p, in (0, 1).

    Returns
    -------
    IndependentFeatures

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError
        If the eigenvalues are no finite vector of numbers of at least 0, or the level is not between 0 and 1.

    Notes
    -----
    Derived here: Chevet's inequality with concentration of a Lipschitz function of Gaussians, and Davidson and Szarek
    (2001), theorem II.13, for the m leading features alone. Measured at n = 10 to 200 for powers 1.5, 2, 3 and rates
    0.05, 0.1, 0.3, 20 to 100 draws each (``scripts/validate_overfitting_regime.py``): never violated at p = 0.95. The
    bound of the condition number is generous: for powers 83 to 930 times its median at n = 10, 12 to 40 times at 200;
    for exponential decay 100 times or more, and of no use beyond some decay lengths.

    Examples
    --------
    With far more features than samples the matrix is nearly a multiple of the identity.

    >>> found = independent_features(np.ones(10**6), num_samples=10)
    >>> round(found.condition_number(), 2)
    1.02
    """
    values, counts = modes(eigenvalue, multiplicity)
    p, n = checked_level(level), as_count(num_samples, name="num_samples")
    rest = finite_number(residual_trace, name="residual_trace")
    if rest < 0:
        raise ArgumentError(f"residual_trace is a sum of eigenvalues, at least 0; got {residual_trace!r}")
    order = np.argsort(values)[::-1]
    values, counts = values[order], counts[order]
    t = math.sqrt(2 * math.log(2 / (1 - p)))
    total = float(values @ counts) + rest
    room = np.sqrt(np.cumsum(counts)) - math.sqrt(n) - t
    top = math.sqrt(n * values[0]) + math.sqrt(total) + t * math.sqrt(values[0])
    return IndependentFeatures(
        largest=top**2,
        smallest=float(np.max(values * np.maximum(room, 0.0) ** 2)),
        level=p,
        num_samples=n,
    )


def features_of_law(found: GramSpectrum, decay: EigenDecay, *, level: float = 0.95) -> IndependentFeatures | None:
    """Return the bounds for a law through the leading eigenvalues, or None where there is no law to go by.

    Parameters
    ----------
    found : GramSpectrum
        Of the Gram matrix.
    decay : EigenDecay
        Its law; polynomial or exponential, or there are no bounds.
    level : float
        Probability of the bounds.

    Returns
    -------
    IndependentFeatures or None
    """
    n = found.num_samples
    leading = found.eigenvalue[: max(int(HEAD * n), 2)] / n
    leading = leading[: max(int(np.sum(leading > found.ridge_floor / n)), 1)]
    index = np.arange(1, leading.size + 1)
    first = 1 if leading.size > 1 else 0
    if decay.law == "polynomial" and decay.decay_exponent > 1:
        a = decay.decay_exponent
        scale = float(np.exp(np.mean((np.log(leading) + a * np.log(index))[first:])))
        # Four times the mode at which the bound is best, and the rest as a sum.
        most = min(int(4 * n * (a / (a - 1)) ** 2) + 1, MOST_MODES)
        tail = scale * float(zeta(a, most + 1))
        values = scale * np.arange(1, most + 1, dtype=float) ** -a
        # The mean of the kernel is no part of the law.
        values[0] = max(values[0], leading[0])
        return independent_features(values, num_samples=n, residual_trace=tail, level=level)
    if decay.law == "exponential" and decay.rate > 0:
        logs = np.log(leading) + decay.rate * index
        most = min(n + int(COMPLETE / decay.rate) + 1, MOST_MODES)
        values = np.exp(np.mean(logs) - decay.rate * np.arange(1, most + 1))
        values[0] = max(values[0], leading[0])
        return independent_features(values, num_samples=n, level=level)
    return None
