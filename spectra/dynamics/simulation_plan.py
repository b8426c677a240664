"""The settings of a simulated training run, checked, with one number per step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.dynamics.steps import per_step, recorded_steps
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count, as_seed

__all__ = ["MAX_BYTES", "QUANTILES", "SimulationPlan", "simulation_plan"]

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

    def along(setting: np.ndarray) -> np.ndarray:
        return np.array(np.broadcast_to(setting, (num_steps,)))

    return SimulationPlan(
        num_steps=num_steps,
        num_runs=as_count(num_runs, name="num_runs"),
        learning_rate=along(per_step(learning_rate, name="learning_rate", num_steps=num_steps)),
        momentum=along(per_step(momentum, name="momentum", num_steps=num_steps)),
        batch_size=along(per_step(batch_size, name="batch_size", num_steps=num_steps, least=1, whole=True)).astype(
            np.int64
        ),
        nesterov=bool(nesterov),
        weight_decay=decay,
        record=recorded_steps(num_steps, record),
        quantiles=levels,
        seed=as_seed(rng),
        max_bytes=as_count(max_bytes, name="max_bytes"),
    )
