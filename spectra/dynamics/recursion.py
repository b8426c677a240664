r"""Plain SGD step by step: the reference for every other solver, and the one for schedules."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from spectra.dynamics.quadratic import Quadratic
from spectra.frozen import Vector

__all__ = ["LARGEST", "Curve", "segments", "sgd_recursion"]

#: A loss beyond this multiple of the loss at the start, or of one mode's, counts as infinite.
LARGEST = 1e100
#: Steps between looks at whether what needs no noise has left it.
CHECK_EVERY = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """Losses at the recorded steps, without offset.

    Attributes
    ----------
    loss : ndarray, shape (k,)
        Expected loss; infinite where it has left every bound.
    noise_free : ndarray, shape (k,)
        The same without gradient noise.
    risk : ndarray, shape (k,), or None
        Expected loss on the population, where one was given.
    """

    loss: Vector
    noise_free: Vector
    risk: Vector | None = None

    def scaled(self, factor: float) -> "Curve":
        """Return the losses times a factor; a population's risk has units of its own."""
        if factor == 1:
            return self
        return Curve(loss=self.loss * factor, noise_free=self.noise_free * factor, risk=self.risk)


def segments(record: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Return the spans between recorded steps, from 0 on: what is iterated before each record."""
    return pairwise([0, *record.tolist()])


def sgd_recursion(
    problem: Quadratic, *, learning_rate: Vector, noise: Vector, chi: Vector, record: npt.NDArray[np.int64]
) -> Curve:
    r"""Return the expected loss of SGD by the recursion over modes (:mod:`spectra.dynamics.closures`).

    .. math:: q_j \leftarrow \rho_j q_j + c\,(\gamma\lambda_j)^2 w_j L, \qquad L = L_* + \sum_j q_j.

    Parameters
    ----------
    problem : Quadratic
        The modes.
    learning_rate, noise : ndarray, shape () or (num_steps,)
        :math:`\gamma` and c.
    chi : ndarray, shape (m,)
        Coefficients of the closure.
    record : ndarray of int, shape (k,)
        Steps at which the loss is kept, ascending.

    Notes
    -----
    O(m) per step. Derived from Paquette, Lee, Pedregosa and Paquette (2021), in discrete time.

    Examples
    --------
    One mode at ``learning_rate = 1 / eigenvalue`` and no noise is solved in one step.

    >>> one = np.ones(1)
    >>> problem = Quadratic(eigenvalue=2 * one, multiplicity=one, initial_loss=one, floor=0.5)
    >>> sgd_recursion(
    ...     problem, learning_rate=np.array(0.5), noise=np.array(0.0), chi=0 * one, record=np.array([0, 1])
    ... ).loss.tolist()
    [1.5, 0.5]
    """
    total = int(record[-1])
    rates, factors = (np.broadcast_to(value, (total,)) for value in (learning_rate, noise))
    changes = learning_rate.ndim > 0 or noise.ndim > 0
    state, free, floor = problem.initial_loss.copy(), problem.initial_loss.copy(), problem.floor
    limit = LARGEST * max(problem.floor + float(np.sum(state)), np.finfo(np.float64).tiny)
    losses, noise_free = [], []
    keep = shrink = source = np.empty(0)
    bounded = free_bounded = True
    for begin, end in segments(record):
        for k in range(begin, end):
            if changes or k == 0:
                step = rates[k] * problem.eigenvalue
                shrink = (1 - step) ** 2
                keep, source = shrink + factors[k] * chi * step**2, factors[k] * problem.multiplicity * step**2
            if bounded:
                loss = floor + state.sum()
                bounded = loss < limit
                state = keep * state + source * loss
            if free_bounded:
                free = shrink * free
                free_bounded = k % CHECK_EVERY != 0 or free.sum() < limit
        loss, value = floor + state.sum(), floor + free.sum()
        losses.append(loss if bounded and loss < limit else np.inf)
        noise_free.append(value if free_bounded and value < limit else np.inf)
    return Curve(loss=np.array(losses), noise_free=np.array(noise_free))
