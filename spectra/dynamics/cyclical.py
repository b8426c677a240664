r"""Heavy ball with two alternating step sizes, for a spectrum with a gap.

A heavy ball whose step alternates between ``h_0`` and ``h_1`` multiplies, over two steps, the error of an eigenvalue
``x`` by a matrix of determinant ``m^2`` and trace ``2 m sigma(x)``::

    sigma(x) = ((1 + m - h_0 x)(1 + m - h_1 x) - 2 m) / (2 m)

(``m`` is the momentum), so that the rate per step is ``sqrt(m)`` wherever ``|sigma| <= 1``. That set consists of
*two* intervals when ``h_0 != h_1``: eigenvalues need not lie between ``L1`` and ``mu2``, and ``m`` may be smaller than
for one interval. With ``h_0 = (1+m)/L1``, ``h_1 = (1+m)/mu2`` the inner ends have ``sigma = -1``, and ``sigma = 1`` at
the outer ends fixes ``m`` if both intervals are equally long (Goujaud, Scieur, Dieuleveut, Taylor and Pedregosa,
AISTATS 2022); unequal intervals are covered by equal ones.

The result holds for noise-free quadratics.
"""

from dataclasses import dataclass

import numpy as np

from spectra.errors import ArgumentError

__all__ = ["CyclicalHeavyBall", "Interval", "cyclical_heavy_ball"]

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class CyclicalHeavyBall:
    """Step sizes and momentum of the cycle ``w' = w - h_t g + momentum (w - w_previous)``.

    Attributes
    ----------
    learning_rates : tuple of float
        ``(h_0, h_1)``, the larger step first.
    momentum : float
        ``m``, the same in both steps.
    rate : float
        Asymptotic factor per step, ``sqrt(momentum)``.
    intervals : tuple of (float, float)
        The two covering intervals, equally long.

    Notes
    -----
    Source: Goujaud et al., AISTATS 2022.

    Examples
    --------
    >>> cycle = cyclical_heavy_ball((1.0, 2.0), (9.0, 10.0))
    >>> cycle.learning_rates[0] > cycle.learning_rates[1], bool(np.isclose(cycle.rate**2, cycle.momentum))
    (True, True)
    """

    learning_rates: tuple[float, float]
    momentum: float
    rate: float
    intervals: tuple[Interval, Interval]

    @property
    def sum_form_momenta(self) -> tuple[float, float]:
        """The momenta that make ``v <- beta_t v + g; w <- w - h_t v`` (torch) the same iteration, one for each step.

        That buffer does not contain the learning rate: ``beta_t = momentum h_(t-1)/h_t``, which may exceed 1.
        """
        first, second = self.learning_rates
        return self.momentum * second / first, self.momentum * first / second


def cyclical_heavy_ball(lower: Interval, upper: Interval) -> CyclicalHeavyBall:
    """Return the two-step cycle for a spectrum in ``[mu1, L1]`` and ``[mu2, L2]``.

    Parameters
    ----------
    lower, upper : (float, float)
        The intervals, ``0 < mu1 <= L1 < mu2 <= L2``. The shorter one is extended into the gap to the length of the
        other.

    Returns
    -------
    CyclicalHeavyBall
        If no gap is left after the extension, both steps are equal: the ordinary heavy ball for ``[mu1, L2]``.

    Raises
    ------
    ArgumentError
        If the ends are not ordered, not positive or not finite.

    Notes
    -----
    Source: Goujaud et al., AISTATS 2022. Here the momentum solves ``4 m/(1+m)^2 = (1 - mu1/L1)(1 - mu1/mu2)``; the
    rate is checked against the spectral radius of the two-step matrix in ``tests/spectra/dynamics/test_cyclical.py``.

    O(1) operations.

    Examples
    --------
    >>> cycle = cyclical_heavy_ball((1.0, 2.0), (9.0, 10.0))
    >>> round(cycle.rate, 3), round(cyclical_heavy_ball((1.0, 5.5), (5.5001, 10.0)).rate, 3)
    (0.382, 0.519)
    """
    mu1, l1, mu2, l2 = (float(end) for end in (*lower, *upper))
    if not (0 < mu1 <= l1 < mu2 <= l2 < float("inf")):
        raise ArgumentError(
            "two intervals with 0 < mu1 <= L1 < mu2 <= L2 are needed; "
            f"got [{mu1:.6g}, {l1:.6g}] and [{mu2:.6g}, {l2:.6g}]"
        )
    length = min(max(l1 - mu1, l2 - mu2), (l2 - mu1) / 2)
    l1, mu2 = mu1 + length, l2 - length
    # 1 - (1 - mu1/L1)(1 - mu1/mu2), without cancellation when mu1 is small
    ratio = mu1 / l1 + mu1 / mu2 - mu1**2 / (l1 * mu2)
    root = np.sqrt(ratio)
    rate = float(np.sqrt((1 - root) / (1 + root)))
    momentum = rate**2
    return CyclicalHeavyBall(
        learning_rates=((1 + momentum) / l1, (1 + momentum) / mu2),
        momentum=momentum,
        rate=rate,
        intervals=((mu1, l1), (mu2, l2)),
    )
