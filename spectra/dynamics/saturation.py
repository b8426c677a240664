r"""How far larger batches help: fewest steps and samples to a loss, batch size by batch size."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.dynamics.closures import Closure, Sampling
from spectra.dynamics.compression import cheaper
from spectra.dynamics.outlook import steps_to_target
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.stability import NEAR_CRITICAL, stability
from spectra.errors import ArgumentError
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["batch_saturation", "implicit_conditioning_ratio"]

#: Learning rates tried at each batch size, from 1/100 of the cap up.
NUM_RATES = 25
#: Samples relative to the fewest at which a batch size counts as saturated.
KNEE = 2.0


def batch_saturation(
    problem: Quadratic,
    *,
    closure: Closure,
    batch_sizes: Sequence[int],
    target: float | None = None,
    sampling: Sampling = "without_replacement",
    momentum: float = 0.0,
    nesterov: bool = False,
) -> "xr.Dataset":
    r"""Return, for each batch size, the fewest steps in which the expected loss reaches a target, and their samples.

    At small batches steps fall like 1/B and samples stay; beyond a knee steps stay and samples grow like B. The
    learning rate is the best of 25 from 1/100 to 0.8 of the critical one.

    Parameters
    ----------
    problem, closure, sampling, momentum, nesterov
        As for :func:`spectra.dynamics.sgd_curve`.
    batch_sizes : sequence of int
        Sizes to compare, at most the number of samples.
    target : float, optional
        Loss to reach; by default 10 % of the way from the minimum to the loss at the start.

    Returns
    -------
    xarray.Dataset
        Dimension ``batch_size``: ``learning_rate`` (the best tried), ``num_steps``, ``num_samples``, NaN where none of
        the rates reaches the target; ``critical_learning_rate``. Attributes: ``target``, ``knee`` (largest batch size
        whose samples are at most twice the fewest; NaN if no size reaches the target), ``implicit_conditioning_ratio``,
        and the provenance.

    Raises
    ------
    ArgumentError
        Without batch sizes, or for settings that cannot be used.

    Notes
    -----
    The knee is read off the numbers. Lee, Cheng, Paquette and Paquette (2022), arXiv 2206.01029, place it near the
    implicit conditioning ratio, for a heavy ball; see :func:`implicit_conditioning_ratio`.

    Examples
    --------
    >>> problem = Quadratic(
    ...     eigenvalue=np.ones(50), multiplicity=np.ones(50), initial_loss=np.ones(50), num_samples=10**6
    ... )
    >>> table = batch_saturation(problem, closure="limit", batch_sizes=[1, 10, 100, 1000])
    >>> table["num_samples"].values.astype(int).tolist(), table.attrs["knee"]
    ([118, 130, 300, 1000], 10)
    """
    if len(batch_sizes) == 0:
        raise ArgumentError("at least one batch size is needed")
    sizes = np.unique(np.asarray(batch_sizes, dtype=np.int64))
    minimum = problem.offset + problem.floor
    goal = minimum + 0.1 * (problem.loss - minimum) if target is None else float(target)
    model = cheaper(problem, closure=closure, momentum=momentum)
    best = np.full((4, sizes.size), np.nan)
    for i, size in enumerate(sizes.tolist()):
        settings: dict[str, Any] = {
            "batch_size": size,
            "sampling": sampling,
            "momentum": momentum,
            "nesterov": nesterov,
        }
        limits = stability(problem, closure=closure, **settings)
        best[3, i] = limits.usable
        cap = NEAR_CRITICAL * min(limits.usable, limits.noise_free_learning_rate)
        for rate in cap * np.geomspace(0.01, 1.0, NUM_RATES):
            found = steps_to_target(model, goal, closure=closure, learning_rate=float(rate), **settings)
            if found.num_steps is not None and not found.num_steps >= best[1, i]:
                best[:3, i] = rate, found.num_steps, found.num_steps * size
    return _table(problem, sizes, best, goal)


def implicit_conditioning_ratio(problem: Quadratic) -> float:
    r"""Return :math:`\operatorname{tr} H / \sqrt{\lambda_{\min} \lambda_{\max}}`, the batch size scale of momentum.

    Average condition number :math:`\operatorname{tr} H / \lambda_{\min}` over the square root of the condition number.
    A heavy ball with the optimal momentum for :math:`[\lambda_{\min}, \lambda_{\max}]` and half of the optimal learning
    rate is stable for batches larger than a quarter to a half of it: momentum accelerates there, and not below.

    Notes
    -----
    Derived: with that momentum and rate :math:`\gamma / (1 - \beta) = \sqrt{\kappa} / 2\lambda_{\max}`, so that
    :math:`\sum_j w_j G_j` of the kernel norm lies between a quarter and a half of the ratio. Polyak's learning rate
    itself is close to the limit without noise, and needs far larger batches where eigenvalues lie near the upper end.
    The ratio of Lee, Cheng, Paquette and Paquette (2022), arXiv 2206.01029, is of this form; constants are not
    compared. Nodes without multiplicity do not count.

    Examples
    --------
    >>> problem = Quadratic(
    ...     eigenvalue=np.array([1.0, 100.0]), multiplicity=np.ones(2), initial_loss=np.ones(2), num_samples=9
    ... )
    >>> implicit_conditioning_ratio(problem)
    10.1
    """
    counted = problem.eigenvalue[problem.multiplicity > 0]
    return problem.trace / float(np.sqrt(counted.min() * counted.max()))


def _table(problem: Quadratic, sizes: np.ndarray, best: np.ndarray, goal: float) -> "xr.Dataset":
    import xarray as xr

    rates, steps, samples, critical = best
    known = np.isfinite(samples)
    knee = float("nan")
    if np.any(known):
        knee = int(np.max(sizes[known & (samples <= KNEE * np.nanmin(samples))]))
    return xr.Dataset(
        {
            "learning_rate": ("batch_size", rates),
            "num_steps": ("batch_size", steps),
            "num_samples": ("batch_size", samples),
            "critical_learning_rate": ("batch_size", critical),
        },
        coords={"batch_size": sizes},
        attrs=provenance(
            problem=problem.name,
            target=goal,
            knee=knee,
            implicit_conditioning_ratio=implicit_conditioning_ratio(problem),
        ),
    )
