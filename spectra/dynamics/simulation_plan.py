"""The settings of a simulated training run, checked, with one number per step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.dynamics.method import require_method
from spectra.dynamics.steps import per_step, recorded_steps
from spectra.errors import ArgumentError, OutOfMemoryError
from spectra.start_vectors import as_count, as_seed

__all__ = ["MAX_BYTES", "QUANTILES", "SimulationPlan", "distinct", "simulation_plan"]

#: Largest temporary array of a simulation (design choice: small beside the memory of a laptop).
MAX_BYTES = 2**28
#: Quantiles over the runs that a simulation keeps (design choice).
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Bytes per step: samples of each batch, their sum and a mask (derived).
_PER_STEP = 24
#: Bytes per run beside its state: NumPy's generator of random numbers (measured, 0.9 KiB) and its bookkeeping.
_PER_RUN = 1024
#: Arrays of all recorded losses at once: recorded, on the host, scaled and sorted for the statistics (derived).
_RECORDED = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulationPlan:
    """Settings of a simulated run of `torch.optim.SGD`.

    Attributes
    ----------
    num_steps, num_runs : int
    learning_rate, momentum : ndarray of float, shape (num_steps,)
        Entry k belongs to the update from step k to step k + 1. Of a constant setting these are views of one number,
        read-only; `distinct` has it.
    batch_size : ndarray of int, shape (num_steps,)
        As asked for; the last batch of an epoch may be smaller, see `spectra.dynamics.batch_order.batch_sizes`.
    nesterov : bool
    weight_decay : float
    record : ndarray of int
        Steps at which losses are recorded, ascending.
    quantiles : ndarray of float
    seed : int
    max_bytes : int

    Notes
    -----
    Source: the documentation of ``torch.optim.SGD`` for the settings.

    Examples
    --------
    >>> simulation_plan(
    ...     learning_rate=0.1,
    ...     batch_size=1,
    ...     num_steps=3,
    ...     num_runs=2,
    ...     momentum=0.0,
    ...     nesterov=False,
    ...     weight_decay=0.0,
    ...     record=None,
    ...     quantiles=QUANTILES,
    ...     rng=0,
    ...     max_bytes=MAX_BYTES,
    ... ).learning_rate.tolist()
    [0.1, 0.1, 0.1]
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

    def require_memory(self, state_bytes: int, *, batch_bytes: int, data_bytes: int = 0) -> None:
        """Raise unless what all runs need at once fits into memory, before any of it is allocated.

        Parameters
        ----------
        state_bytes, batch_bytes : int
            Of the state of one run, and of the largest batch of all runs that are drawn at once.
        data_bytes : int
            Of the data of the caller, beside which arrays of the same size are no surprise.

        Raises
        ------
        OutOfMemoryError
            If they exceed ``data_bytes`` and the larger of ``max_bytes`` and its default.
        """
        allowed = data_bytes + max(self.max_bytes, MAX_BYTES)
        per_run = state_bytes + _PER_RUN + 8 * _RECORDED * len(self.record)
        needs = {
            f"num_runs={self.num_runs}": (self.num_runs * per_run, "fewer runs or records"),
            f"batches of up to {int(np.max(distinct(self.batch_size)))} samples": (batch_bytes, "smaller batches"),
        }
        for what, (needed, instead) in needs.items():
            _require(needed, allowed, what, instead)


def distinct(setting: np.ndarray) -> np.ndarray:
    """Return a setting over the steps, or its one entry if it is a view of a single number.

    Parameters
    ----------
    setting : ndarray, shape (num_steps,)

    Returns
    -------
    ndarray, shape (num_steps,) or (1,)
        A view.

    Notes
    -----
    O(1) operations, no copy. Source: derived.

    Examples
    --------
    >>> distinct(np.broadcast_to(0.5, (10**15,))).tolist(), distinct(np.array([1.0, 1.0])).tolist()
    ([0.5], [1.0, 1.0])
    """
    return setting[:1] if setting.strides == (0,) else setting


def _require(needed: int, allowed: int, what: str, instead: str) -> None:
    """Raise if more bytes are needed than allowed."""
    if needed > allowed:
        raise OutOfMemoryError(
            f"{what} must fit into {allowed / 2**20:.0f} MiB, but {needed / 2**20:.0f} MiB are needed; ask for "
            f"{instead}, or raise max_bytes if there is memory for it"
        )


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

    Parameters
    ----------
    learning_rate, batch_size, num_steps, num_runs, momentum, nesterov, weight_decay, record, quantiles, rng, max_bytes
        As for `spectra.dynamics.simulate_sgd`.

    Returns
    -------
    SimulationPlan

    Raises
    ------
    ArgumentError
        For a count that is none, a negative or misplaced number, or a schedule that is neither one number nor one per
        step.
    ShapeError
        If a schedule has the wrong length.
    NonFiniteError
        If a number is NaN or infinite.
    OutOfMemoryError
        If one number per step does not fit into the larger of ``max_bytes`` and its default.

    Notes
    -----
    Constant settings are not copied for every step.

    O(num_steps) operations for schedules. Source: the documentation of ``torch.optim.SGD`` for the settings.

    Examples
    --------
    See `SimulationPlan`.
    """
    num_steps, max_bytes = as_count(num_steps, name="num_steps"), as_count(max_bytes, name="max_bytes")
    _require(_PER_STEP * num_steps, max(max_bytes, MAX_BYTES), f"num_steps={num_steps}", "fewer steps")
    if not isinstance(nesterov, bool | np.bool_):
        raise ArgumentError(f"nesterov must be True or False, got {nesterov!r}")
    decay = finite_number(weight_decay, name="weight_decay")
    if decay < 0:
        raise ArgumentError(f"weight_decay must be at least 0, got {weight_decay!r}")
    levels = np.atleast_1d(np.asarray(quantiles, dtype=np.float64))
    if levels.ndim != 1 or levels.size == 0 or not np.all((levels >= 0) & (levels <= 1)):
        raise ArgumentError(f"quantiles must be one or more numbers in [0, 1], got {quantiles!r}")

    def along(setting: np.ndarray) -> np.ndarray:
        return setting.copy() if setting.ndim else np.broadcast_to(setting, (num_steps,))

    sizes = per_step(batch_size, name="batch_size", num_steps=num_steps, least=1, whole=True)
    if np.max(sizes) > np.iinfo(np.int64).max // 2**10:
        raise ArgumentError(f"batch_size must be a number of samples; got {np.max(sizes):.6g}")
    buffers = per_step(momentum, name="momentum", num_steps=num_steps)
    require_method("simulation", momentum=buffers, nesterov=bool(nesterov))

    return SimulationPlan(
        num_steps=num_steps,
        num_runs=as_count(num_runs, name="num_runs"),
        learning_rate=along(per_step(learning_rate, name="learning_rate", num_steps=num_steps)),
        momentum=along(buffers),
        batch_size=along(sizes.astype(np.int64)),
        nesterov=bool(nesterov),
        weight_decay=decay,
        record=recorded_steps(num_steps, record),
        quantiles=levels,
        seed=as_seed(rng),
        max_bytes=max_bytes,
    )
