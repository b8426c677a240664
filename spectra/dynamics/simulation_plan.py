"""The settings of a simulated training run, checked, with one number per step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.dynamics.steps import recorded_steps
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.start_vectors import as_count, as_seed

__all__ = ["MAX_BYTES", "QUANTILES", "SimulationPlan", "per_step", "record_steps", "simulation_plan"]

#: Largest temporary array of a simulation (design choice: small beside the memory of a laptop).
MAX_BYTES = 2**28
#: Quantiles over the runs that a simulation keeps (design choice).
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulationPlan:
    """Settings of a simulated run of `torch.optim.SGD`.

    Attributes
    ----------
    num_steps, num_runs : int
    learning_rate, momentum : ndarray of float, shape (num_steps,)
        Entry k belongs to the update from step k to step k + 1.
    batch_size : ndarray of int, shape (num_steps,)
        As asked for; the last batch of an epoch may be smaller, see `spectra.dynamics.batch_order.batch_sizes`.
    nesterov : bool
    weight_decay : float
    record : ndarray of int
        Steps at which losses are recorded, ascending.
    quantiles : ndarray of float
    seed : int
    max_bytes : int
    """

    num_steps: int
    num_runs: int
    learning_rate: np.ndarray
    momentum: np.ndarray
    batch_size: np.ndarray
    nesterov: bool
    weight_decay: float
    record: np.ndarray
    quantiles: np.ndarray
    seed: int
    max_bytes: int


def simulation_plan(
    *,
    learning_rate: npt.ArrayLike,
    batch_size: npt.ArrayLike,
    num_steps: int,
    num_runs: int,
    momentum: npt.ArrayLike,
    nesterov: bool,
    weight_decay: float,
    record: Sequence[int] | np.ndarray | None,
    quantiles: Sequence[float] | np.ndarray,
    rng: int | np.random.Generator,
    max_bytes: int,
) -> SimulationPlan:
    """Check settings and spread them over the steps.

    Raises
    ------
    ArgumentError
        For a count that is none, a negative or misplaced number, or a schedule that is neither one number nor one per
        step.
    ShapeError
        If a schedule has the wrong length.
    NonFiniteError
        If a number is NaN or infinite.
    """
    num_steps = as_count(num_steps, name="num_steps")
    if not isinstance(nesterov, bool | np.bool_):
        raise ArgumentError(f"nesterov must be True or False, got {nesterov!r}")
    decay = finite_number(weight_decay, name="weight_decay")
    if decay < 0:
        raise ArgumentError(f"weight_decay must be at least 0, got {weight_decay!r}")
    levels = np.atleast_1d(np.asarray(quantiles, dtype=np.float64))
    if levels.ndim != 1 or levels.size == 0 or not np.all((levels >= 0) & (levels <= 1)):
        raise ArgumentError(f"quantiles must be one or more numbers in [0, 1], got {quantiles!r}")
    return SimulationPlan(
        num_steps=num_steps,
        num_runs=as_count(num_runs, name="num_runs"),
        learning_rate=per_step(learning_rate, name="learning_rate", num_steps=num_steps),
        momentum=per_step(momentum, name="momentum", num_steps=num_steps),
        batch_size=per_step(batch_size, name="batch_size", num_steps=num_steps, kinds="iu", least=1),
        nesterov=bool(nesterov),
        weight_decay=decay,
        record=record_steps(record, num_steps=num_steps),
        quantiles=levels,
        seed=as_seed(rng),
        max_bytes=as_count(max_bytes, name="max_bytes"),
    )


def per_step(values: npt.ArrayLike, *, name: str, num_steps: int, kinds: str = "iuf", least: float = 0.0) -> np.ndarray:
    """Return one number per step from one number or a sequence of ``num_steps``.

    Parameters
    ----------
    values : float or array-like, shape (num_steps,)
    name : str
        For messages.
    num_steps : int
    kinds : str
        Kinds of dtype that are accepted; ``"iu"`` asks for integers.
    least : float
        Smallest value that is accepted.

    Examples
    --------
    >>> per_step(0.5, name="learning_rate", num_steps=3).tolist()
    [0.5, 0.5, 0.5]
    >>> per_step([1, 2], name="batch_size", num_steps=2, kinds="iu").tolist()
    [1, 2]
    """
    wanted = "integer" if kinds == "iu" else "real number"
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{name} must be one {wanted} or one per step, got {type(values).__name__}") from error
    if array.dtype.kind not in kinds:
        raise ArgumentError(f"{name} must be one {wanted} or one per step, got {values!r}")
    if array.ndim > 1 or (array.ndim == 1 and array.shape[0] != num_steps):
        raise ShapeError(f"{name} must be one {wanted} or {num_steps} of them, one per step; got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise NonFiniteError(f"{name} must be finite, got NaN or infinity")
    if np.any(array < least):
        raise ArgumentError(f"{name} must be at least {least:g}, got {np.min(array)}")
    dtype = np.int64 if kinds == "iu" else np.float64
    return np.array(np.broadcast_to(array, (num_steps,)), dtype=dtype)


def record_steps(record: Sequence[int] | np.ndarray | None, *, num_steps: int) -> np.ndarray:
    """Return the steps at which losses are recorded, ascending and each once.

    By default those of predicted curves, `spectra.dynamics.steps.recorded_steps`; unlike there, only integers will do.

    Examples
    --------
    >>> record_steps(None, num_steps=3).tolist()
    [0, 1, 2, 3]
    >>> steps = record_steps(None, num_steps=100_000)
    >>> int(steps[0]), int(steps[-1]), len(steps) <= 101
    (0, 100000, True)
    """
    if record is None:
        return recorded_steps(num_steps)
    steps = np.asarray(record)
    if steps.ndim != 1 or steps.size == 0 or steps.dtype.kind not in "iu":
        raise ArgumentError(f"record must be a non-empty sequence of steps (integers), got {record!r}")
    if np.min(steps) < 0 or np.max(steps) > num_steps:
        raise ArgumentError(
            f"record must lie between 0 and num_steps = {num_steps}, got {np.min(steps)} to {np.max(steps)}"
        )
    return np.unique(steps.astype(np.int64))
