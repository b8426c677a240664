r"""How far larger batches help: fewest steps and samples to a loss, batch size by batch size."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.dynamics.asymptotics import floor
from spectra.dynamics.closures import MODE_CLOSURES, Closure, Sampling, require_closure
from spectra.dynamics.compression import cheaper
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.sgd import sgd_curve
from spectra.dynamics.stability import NEAR_CRITICAL, stability
from spectra.dynamics.steps import per_step
from spectra.errors import ArgumentError
from spectra.provenance import provenance
from spectra.start_vectors import as_count

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "SATURATION_SCHEMA",
    "SATURATION_SCHEMA_VERSION",
    "batch_saturation",
    "batch_sizes_around",
    "implicit_conditioning_ratio",
]

SATURATION_SCHEMA = "spectra/saturation"
SATURATION_SCHEMA_VERSION = 1

#: Learning rates tried at each batch size, from 1/30 of the cap up: neighbors differ by 1.36 (design choice).
NUM_RATES, LOWEST = 12, 1 / 30
#: Samples relative to the fewest at which a batch size counts as saturated: where steps and samples cost alike.
KNEE = 2.0
#: Default target: share of the way from the minimum to the loss at the start (design choice).
SHARE = 0.1
#: Steps of the first attempt at the target; each further one doubles them (design choice).
FIRST = 64
#: Ratio of the batch sizes that are compared by default (design choice).
RATIO = 4


def batch_saturation(
    problem: Quadratic,
    *,
    closure: Closure,
    batch_sizes: npt.ArrayLike,
    target: float | None = None,
    sampling: Sampling = "without_replacement",
    momentum: float = 0.0,
    nesterov: bool = False,
    max_steps: int = 2**17,
) -> "xr.Dataset":
    r"""Return, for each batch size, the fewest steps until the expected loss stays below a target, and their samples.

    At small batches steps fall like 1/B and samples stay; beyond a knee steps stay and samples grow like B. The
    learning rate is the best of 12 from 1/30 to 0.8 of the critical one, among those whose floor is below the target,
    or that of a smaller batch where it is better: steps never rise with the batch size.

    Parameters
    ----------
    problem, closure, sampling, momentum, nesterov
        As for :func:`spectra.dynamics.sgd_curve`; a closure over modes.
    batch_sizes : array_like of int
        Sizes to compare, at most the number of samples.
    target : float, optional
        Loss to reach; by default 10 % of the way from the minimum to the loss at the start.
    max_steps : int
        Where to give up on a batch size.

    Returns
    -------
    xarray.Dataset
        Dimension ``batch_size``, ascending: ``learning_rate`` (the best tried), ``num_steps``, ``num_samples``, NaN
        where none of the rates reaches the target in ``max_steps``; ``critical_learning_rate``, which is the row-safe
        one where :func:`spectra.dynamics.stability` refuses that of the closure. Attributes: ``target``,
        ``knee`` (largest batch size whose samples are at most twice the fewest; NaN if no size reaches the target),
        ``implicit_conditioning_ratio``, and the provenance.

    Raises
    ------
    ArgumentError
        Without batch sizes, or for settings that cannot be used.

    Notes
    -----
    Recursions that end where the best learning rate so far did, the largest batch first: some curves of the fewest
    steps. The knee is read off the numbers. Lee, Cheng, Paquette and Paquette (2022), arXiv 2206.01029, place it near
    the implicit conditioning ratio, for a heavy ball; see :func:`implicit_conditioning_ratio`.

    Examples
    --------
    >>> problem = Quadratic(
    ...     eigenvalue=np.ones(50), multiplicity=np.ones(50), initial_loss=np.ones(50), num_samples=10**6
    ... )
    >>> table = batch_saturation(problem, closure="limit", batch_sizes=[1, 10, 100, 1000])
    >>> table["num_samples"].values.astype(int).tolist(), table.attrs["knee"]
    ([119, 130, 300, 1000], 10)
    """
    import xarray as xr

    asked = np.atleast_1d(batch_sizes)
    asked = per_step(asked, name="batch_sizes", num_steps=asked.size, least=1, whole=True)
    if asked.size == 0:
        raise ArgumentError("at least one batch size is needed")
    require_closure(closure, problem)
    if closure not in MODE_CLOSURES:
        raise ArgumentError(f"times are found for {', '.join(MODE_CLOSURES)}; got closure={closure!r}")
    longest = as_count(max_steps, name="max_steps")
    minimum = problem.offset + problem.floor
    goal = minimum + SHARE * (problem.loss - minimum) if target is None else finite_number(target, name="target")
    model = cheaper(problem, closure=closure, momentum=momentum)
    sizes = np.unique(asked).astype(int).tolist()
    best = np.full((3, len(sizes)), np.nan)
    begin = min(FIRST, longest)
    settings: dict[str, Any] = {"closure": closure, "sampling": sampling, "momentum": momentum, "nesterov": nesterov}
    for i in reversed(range(len(sizes))):
        limits = stability(problem, batch_size=sizes[i], **settings)
        cap = NEAR_CRITICAL * min(limits.usable, limits.noise_free_learning_rate)
        rate, steps = _fastest(model, goal, cap, begin, longest, {"batch_size": sizes[i], **settings})
        best[:, i] = rate, steps, limits.usable
        # Smaller batches take more steps: begin with those of the larger one.
        begin = longest if np.isnan(steps) else min(int(1.25 * steps) + 1, longest)
    for i in range(1, len(sizes)):
        # Less noise is never slower: where none of its own rates is as fast, a batch takes that of the smaller one.
        if np.isfinite(best[1, i - 1]) and not best[1, i] <= best[1, i - 1]:
            rate, most = best[0, i - 1], int(best[1, i - 1])
            steps = _steps_below(model, goal, rate, most, {"batch_size": sizes[i], **settings})
            if steps <= most:
                best[:2, i] = rate, steps
    samples = best[1] * np.array(sizes)
    known = np.isfinite(samples)
    knee = int(np.max(np.array(sizes)[known & (samples <= KNEE * np.nanmin(samples))])) if np.any(known) else np.nan
    columns = {
        "learning_rate": best[0],
        "num_steps": best[1],
        "num_samples": samples,
        "critical_learning_rate": best[2],
    }
    return xr.Dataset(
        {name: ("batch_size", values) for name, values in columns.items()},
        coords={"batch_size": sizes},
        attrs=provenance(
            schema=SATURATION_SCHEMA,
            schema_version=SATURATION_SCHEMA_VERSION,
            problem=problem.name,
            closure=closure,
            target=goal,
            knee=knee,
            implicit_conditioning_ratio=implicit_conditioning_ratio(problem),
        ),
    )


def batch_sizes_around(problem: Quadratic, batch_size: int) -> list[int]:
    """Return a batch size and those with ratios of 4 around it: down by 16, and up to all the data.

    Examples
    --------
    >>> one = np.ones(1)
    >>> batch_sizes_around(Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one, num_samples=300), 32)
    [2, 8, 32, 128, 300]
    """
    limit = problem.num_samples
    sizes = [batch_size // RATIO**2, batch_size // RATIO, batch_size]
    largest = batch_size * RATIO**3 if limit is None else limit
    while sizes[-1] * RATIO < largest:
        sizes.append(sizes[-1] * RATIO)
    return [size for size in dict.fromkeys([*sizes, largest]) if size >= 1]


def implicit_conditioning_ratio(problem: Quadratic) -> float:
    r"""Return :math:`\operatorname{tr} H / \sqrt{\lambda_{\min} \lambda_{\max}}`, the batch size scale of momentum.

    Average condition number :math:`\operatorname{tr} H / \lambda_{\min}` over the square root of the condition number.
    A heavy ball with the optimal momentum for :math:`[\lambda_{\min}, \lambda_{\max}]` and half of the optimal learning
    rate is stable for batches larger than a quarter to a half of it: momentum accelerates there, and not below.

    Parameters
    ----------
    problem : Quadratic
        The problem.

    Returns
    -------
    float
        In samples.

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
    if not isinstance(problem, Quadratic):
        raise ArgumentError(f"problem must be a spectra.dynamics.Quadratic; got {type(problem).__name__}")
    counted = problem.eigenvalue[problem.multiplicity > 0]
    return float(problem.trace / counted.max() / np.sqrt(counted.min() / counted.max()))


def _fastest(
    problem: Quadratic, target: float, cap: float, begin: int, longest: int, settings: dict[str, Any]
) -> tuple[float, float]:
    """Return the learning rate that reaches a target first, and stays below it, and its steps; NaN if none does."""
    rates = [float(rate) for rate in cap * np.geomspace(1.0, LOWEST, NUM_RATES)]
    rates = [rate for rate in rates if floor(problem, learning_rate=rate, **settings) < target]
    length, best = begin, (np.nan, np.nan)
    while rates:
        for rate in rates:
            most = length if np.isnan(best[1]) else int(best[1])
            steps = _steps_below(problem, target, rate, most, settings)
            if steps <= most and not steps >= best[1]:
                best = (rate, float(steps))
                if steps == 0:
                    return best
        if np.isfinite(best[1]) or length >= longest:
            break
        length = min(2 * length, longest)
    return best


def _steps_below(problem: Quadratic, target: float, rate: float, most: int, settings: dict[str, Any]) -> int:
    """Return the step from which on the loss is at or below a target; more than ``most`` if there is none up to it."""
    # Momentum overshoots, so that a loss below the target must stay there for as long again.
    length = (2 if settings["momentum"] else 1) * most
    curve = sgd_curve(
        problem,
        learning_rate=rate,
        num_steps=length,
        record=np.arange(length + 1),
        solver="recursion",
        **settings,
    )
    above = np.flatnonzero(~(curve["loss"].values <= target))
    return int(above[-1]) + 1 if above.size else 0
