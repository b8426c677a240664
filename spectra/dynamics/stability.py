"""Where SGD becomes unstable, and whether that can be trusted: formulas in :mod:`spectra.dynamics.critical`."""

from dataclasses import dataclass
from typing import Any

from spectra.dynamics.closures import Closure, Sampling, require_closure, shared_noise
from spectra.dynamics.critical import critical_learning_rate, row_safe_learning_rate
from spectra.dynamics.method import constant_momentum
from spectra.dynamics.quadratic import Quadratic

__all__ = ["MAX_DISAGREEMENT", "MAX_DISAGREEMENT_OF_LARGEST", "NEAR_CRITICAL", "Stability", "stability"]

#: Factor between the critical and the row-safe learning rate beyond which a closure is refused. The exact critical rate
#: was 1.0 to 1.4 times the row-safe one on every data set tried (``tests/spectra/dynamics/test_stability.py``), that of
#: closures that were right 1.2 to 1.6 times, and of those that allowed diverging rates 1.9 times or more.
MAX_DISAGREEMENT = 1.75
#: The same where only the largest sample is known, which bounds less sharply: 1.0 to 1.4 on the example networks.
MAX_DISAGREEMENT_OF_LARGEST = 2.5
#: Share of the critical learning rate beyond which the mean is carried by rare runs.
NEAR_CRITICAL = 0.8


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Where SGD becomes unstable.

    Attributes
    ----------
    learning_rate : float or None
        Critical learning rate of the closure; None where it is refused, see ``reason``.
    row_safe_learning_rate : float or None
        Lower bound of the critical learning rate whatever the closure; None if the samples' sizes are not known. With
        momentum it is ``1 - momentum`` times that of plain SGD, to which small steps add up, and no bound.
    closure_learning_rate : float
        Critical learning rate that the closure gives, whether it can be trusted or not.
    noise_free_learning_rate : float
        The same with full batches: 2 / largest eigenvalue for plain SGD.
    disagreement : float or None
        Critical over row-safe learning rate of plain SGD.
    closure : str
        Which closure.
    reason : str
        One sentence: why it can be used, or not.
    """

    learning_rate: float | None
    row_safe_learning_rate: float | None
    closure_learning_rate: float
    noise_free_learning_rate: float
    disagreement: float | None
    closure: Closure
    reason: str

    @property
    def usable(self) -> float:
        """The critical learning rate, or the row-safe one where that is refused."""
        if self.learning_rate is not None or self.row_safe_learning_rate is None:
            return self.closure_learning_rate
        return self.row_safe_learning_rate


def stability(
    problem: Quadratic,
    *,
    closure: Closure,
    batch_size: int = 1,
    sampling: Sampling = "without_replacement",
    momentum: float = 0.0,
    nesterov: bool = False,
) -> Stability:
    r"""Return the critical learning rate with its lower bound from the samples, and refuse it where they differ widely.

    Parameters
    ----------
    problem : Quadratic
        The problem.
    closure : str
        See :mod:`spectra.dynamics.closures`.
    batch_size, sampling
        See :func:`spectra.dynamics.noise_factor`.
    momentum, nesterov
        As of ``torch.optim.SGD``.

    Returns
    -------
    Stability

    Raises
    ------
    ArgumentError
        If the closure needs what the problem does not have, momentum is combined with a closure that follows samples
        or time, or the batch size is wrong.

    Notes
    -----
    Samples of very unequal size, such as features standardized one by one, break ``‖K‖ < 1``: the critical rate of a
    closure over modes was up to 28 times too large, and that of ``row_resolved`` up to 2.8 times. Then a refusal is
    better than a number; ``exact`` is the way out where it can be afforded, else the row-safe rate.

    O(m), but for ``row_resolved``, one eigenvalue of order m, and ``exact``, one of order m^2. Derived here.

    Examples
    --------
    >>> import numpy as np
    >>> problem = Quadratic(
    ...     eigenvalue=np.array([1.0, 3.0]), multiplicity=np.ones(2), initial_loss=np.ones(2), num_samples=100
    ... )
    >>> found = stability(problem, closure="limit", batch_size=100)
    >>> round(found.learning_rate, 12), found.reason
    (0.666666666667, 'largest eigenvalue alone: batches without noise')
    """
    require_closure(closure, problem)
    momentum = constant_momentum(closure, momentum, nesterov=nesterov)
    shared = shared_noise(problem, batch_size=batch_size, sampling=sampling)
    noise = shared * problem.rows_per_sample
    options: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov}
    critical = critical_learning_rate(problem, closure=closure, noise=shared, **options)
    free = critical_learning_rate(problem, closure="limit", noise=0.0, **options)
    plain = critical_learning_rate(problem, closure=closure, noise=shared) if momentum else critical
    safe = row_safe_learning_rate(problem, noise=noise)
    disagreement = None if safe is None else plain / safe
    most = MAX_DISAGREEMENT_OF_LARGEST if problem.row_bound is None else MAX_DISAGREEMENT
    value: float | None = critical
    if noise == 0:
        reason = "largest eigenvalue alone: batches without noise"
    elif closure == "exact":
        reason = "all second moments of every sample are followed"
    elif disagreement is None:
        reason = "the sizes of single samples are not known, so that nothing checks the closure"
    elif disagreement > most:
        value = None
        reason = (
            f"refused: samples are so unequal that the closure allows {disagreement:.3g} times the rate that is safe "
            "for each of them; use closure='exact', or the row-safe rate"
        )
    else:
        reason = f"the closure allows {disagreement:.3g} times the rate that is safe for every sample"
    return Stability(
        learning_rate=value,
        row_safe_learning_rate=None if safe is None else (1 - momentum) * safe,
        closure_learning_rate=critical,
        noise_free_learning_rate=free,
        disagreement=disagreement,
        closure=closure,
        reason=reason,
    )
