"""Where SGD becomes unstable, and whether that can be trusted: formulas in :mod:`spectra.dynamics.critical`."""

from dataclasses import dataclass
from typing import Any

from spectra.dynamics.closures import Closure, Sampling, noise_factor
from spectra.dynamics.critical import critical_learning_rate, row_safe_learning_rate
from spectra.dynamics.quadratic import Quadratic

__all__ = ["MAX_DISAGREEMENT", "NEAR_CRITICAL", "Stability", "stability"]

#: Factor between the critical and the row-safe learning rate beyond which samples are too unequal for a closure over
#: modes: 0.98 - 1.12 where it was right, 16 - 28 where it was wrong (five data sets of the theory notes).
MAX_DISAGREEMENT = 5.0
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
        Lower bound of the critical learning rate whatever the closure; None if the samples' sizes are not known, or
        with momentum.
    closure_learning_rate : float
        Critical learning rate that the closure gives, whether it can be trusted or not.
    noise_free_learning_rate : float
        The same with full batches: 2 / largest eigenvalue for plain SGD.
    closure : str
        Which closure.
    reason : str
        One sentence: why it can be used, or not.
    """

    learning_rate: float | None
    row_safe_learning_rate: float | None
    closure_learning_rate: float
    noise_free_learning_rate: float
    closure: str
    reason: str

    @property
    def disagreement(self) -> float | None:
        """Critical over row-safe learning rate."""
        safe = self.row_safe_learning_rate
        return None if safe is None else self.closure_learning_rate / safe

    @property
    def usable(self) -> float:
        """The critical learning rate, or the row-safe one where that is refused."""
        if self.learning_rate is not None:
            return self.learning_rate
        assert self.row_safe_learning_rate is not None
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

    Raises
    ------
    ArgumentError
        If the closure needs what the problem does not have, momentum is combined with a closure that follows samples
        or time, or the batch size is wrong.

    Notes
    -----
    Samples of very unequal size, such as features standardized one by one, break ``‖K‖ < 1``: the critical rate of a
    closure over modes was up to 28 times too large. Then a refusal is better than a number, and ``row_resolved`` or
    ``exact`` are the way out.

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
    noise = float(noise_factor(batch_size, num_samples=problem.num_samples, sampling=sampling))
    options: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov}
    critical = critical_learning_rate(problem, closure=closure, noise=noise / problem.rows_per_sample, **options)
    free = critical_learning_rate(problem, closure="limit", noise=0.0, **options)
    safe = None if momentum else row_safe_learning_rate(problem, noise=noise)
    value: float | None = critical
    if noise == 0:
        reason = "largest eigenvalue alone: batches without noise"
    elif closure in ("row_resolved", "exact"):
        reason = "every sample is followed"
    elif safe is None:
        reason = "the sizes of single samples are not known" if not momentum else "no bound from samples with momentum"
        reason += ", so that nothing checks the closure"
    elif critical > MAX_DISAGREEMENT * safe:
        value = None
        reason = (
            f"refused: samples are so unequal that the closure allows {critical / safe:.3g} times the rate that is "
            "safe for each of them; use closure='row_resolved' or 'exact', or the row-safe rate"
        )
    else:
        reason = f"samples are alike: {critical / safe:.3g} times the rate that is safe for each of them"
    return Stability(
        learning_rate=value,
        row_safe_learning_rate=safe,
        closure_learning_rate=critical,
        noise_free_learning_rate=free,
        closure=closure,
        reason=reason,
    )
