"""One-pass SGD on fresh Gaussian features, simulated."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from array_api_compat import device

from spectra.arrays import describe, dtype_name, finite_number, inner, is_array, namespace, require_real, to_host
from spectra.dynamics.batch_order import run_generator
from spectra.dynamics.least_squares_rows import require_finite_like
from spectra.dynamics.sgd_steps import batch_gradient, run_sgd
from spectra.dynamics.simulation_dataset import simulation_dataset
from spectra.dynamics.simulation_plan import MAX_BYTES, QUANTILES, SimulationPlan, distinct, simulation_plan
from spectra.errors import ArgumentError, ShapeError
from spectra.exchange import library_of
from spectra.protocols import Array

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["simulate_streaming"]


def simulate_streaming(
    covariance_eigenvalues: Array,
    *,
    start: Array,
    solution: Array | float = 0.0,
    noise: float,
    learning_rate: npt.ArrayLike,
    batch_size: npt.ArrayLike = 1,
    num_steps: int,
    num_runs: int = 32,
    momentum: npt.ArrayLike = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    record: Sequence[int] | np.ndarray | None = None,
    quantiles: Sequence[float] | np.ndarray = QUANTILES,
    rng: int | np.random.Generator = 0,
    max_bytes: int = MAX_BYTES,
) -> "xr.Dataset":
    """Simulate SGD on an endless stream of samples ``(a, a's + noise z)`` with ``a ~ N(0, diag(eigenvalues))``.

    Every batch is new. The recorded loss is the population loss

    ``L(x) = noise^2/2 + 1/2 sum_j eigenvalue_j (x_j - s_j)^2``.

    Parameters
    ----------
    covariance_eigenvalues : array, shape (d,)
        Nonnegative; float32 or float64, of any array library, which computes in this dtype on this device.
    start : array, shape (d,)
        First state of every run, like ``covariance_eigenvalues``.
    solution : array of shape (d,) or float
        s.
    noise : float
        Standard deviation of the label noise, at least 0.
    learning_rate, batch_size, num_steps, num_runs, momentum, nesterov, weight_decay, record, quantiles, rng, max_bytes
        As in `spectra.dynamics.simulate_sgd`. ``max_bytes`` bounds the features of one step; the states of all runs
        and the batch of one must fit into it, or into its default if that is more.

    Returns
    -------
    xarray.Dataset
        As of `spectra.dynamics.simulate_sgd`, with ``samples`` but without ``epoch``.

    Raises
    ------
    BackendError
        If the arrays are not real arrays of one library, dtype and device.
    ShapeError
        If shapes do not fit together, or a schedule does not fit ``num_steps``.
    NonFiniteError
        If an array holds NaN or infinity.
    ArgumentError
        For negative eigenvalues or noise, noise whose square overflows, and any other setting that cannot be used.
    OutOfMemoryError
        If states, batches, records or schedules exceed ``max_bytes``; before anything is allocated.

    Notes
    -----
    ``O(num_runs B d)`` operations per step, and as many normal random numbers drawn on the host, which take most of the
    time. The mean over runs can be heavy-tailed: see ``mean_resolved``.

    Source: the documentation of ``torch.optim.SGD`` for the steps; the rest is derived.

    Examples
    --------
    Without noise the solution stays where it is.

    >>> run = simulate_streaming(
    ...     np.array([2.0, 1.0]), start=np.ones(2), solution=1.0, noise=0.0, learning_rate=0.1, num_steps=3, num_runs=2
    ... )
    >>> run["loss"].values.tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    like = covariance_eigenvalues
    xp = namespace(like)
    require_real(like, what="covariance_eigenvalues")
    if like.ndim != 1 or like.shape[0] == 0:
        raise ShapeError(f"covariance_eigenvalues must have shape (d,) with d at least 1, got {describe(like)}")
    d = like.shape[0]
    like = require_finite_like(like, like, shape=(d,), what="covariance_eigenvalues")
    eigenvalues = to_host(like)
    if np.any(eigenvalues < 0):
        raise ArgumentError(f"covariance_eigenvalues must be at least 0, got {np.min(eigenvalues):.6g}")
    noise = finite_number(noise, name="noise")
    if noise < 0:
        raise ArgumentError(f"noise is a standard deviation and must be at least 0, got {noise}")
    if noise * noise == np.inf:
        raise ArgumentError(f"the square of the noise must be a finite number, got noise={noise}; use smaller units")
    plan = simulation_plan(
        learning_rate=learning_rate,
        batch_size=batch_size,
        num_steps=num_steps,
        num_runs=num_runs,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        record=record,
        quantiles=quantiles,
        rng=rng,
        max_bytes=max_bytes,
    )
    largest = int(np.max(distinct(plan.batch_size)))
    plan.require_memory(8 * d, batch_bytes=8 * largest * (d + 1))
    if is_array(solution) and getattr(solution, "ndim", 0) > 0:
        solution = require_finite_like(solution, like, shape=(d,), what="solution")
    else:
        solution = xp.full_like(like, finite_number(solution, name="solution"))
    states = xp.zeros((plan.num_runs, d), dtype=like.dtype, device=device(like))
    states += require_finite_like(start, like, shape=(d,), what="start")[None, :]

    def measure(states: Array) -> Array:
        error = states - solution[None, :]
        return (0.5 * (noise * noise) + 0.5 * inner(error * like[None, :], error))[None, :]

    gradients = _gradients(np.sqrt(eigenvalues), solution, noise, plan)
    recorded = to_host(run_sgd(states, gradients, plan, measure=measure))
    return simulation_dataset(
        {"loss": recorded[:, 0, :].T},
        plan,
        sizes=plan.batch_size,
        num_samples=None,
        sampling="streaming",
        noise=noise,
        num_parameters=d,
        library=library_of(like),
        dtype=dtype_name(like.dtype),
    )


def _gradients(
    scale: np.ndarray, solution: Array, noise: float, plan: SimulationPlan
) -> Iterator[Callable[[Array], Array]]:
    """Yield the gradients of fresh batches, step after step."""
    generators = [run_generator(plan.seed, run) for run in range(plan.num_runs)]
    for size in map(int, plan.batch_size):
        yield partial(_fresh_gradient, generators, scale, solution, noise, size, plan.max_bytes)


def _fresh_gradient(
    generators: list[np.random.Generator],
    scale: np.ndarray,
    solution: Array,
    noise: float,
    size: int,
    max_bytes: int,
    states: Array,
) -> Array:
    """Draw a batch for each run and return its gradient."""
    xp, d, pieces = namespace(states), len(scale), []
    count = max(1, max_bytes // (8 * size * (d + 1)))
    for begin in range(0, len(generators), count):
        mine = generators[begin : begin + count]
        drawn = np.empty((len(mine), size, d + 1))
        for i, generator in enumerate(mine):
            generator.standard_normal(out=drawn[i])
        drawn[:, :, :d] *= scale
        drawn[:, :, d] *= noise
        fresh = xp.asarray(drawn, dtype=states.dtype, device=device(states))
        rows = fresh[:, :, :d]
        # a'x - (a's + noise z) = a'(x - s) - noise z
        error = states[begin : begin + len(mine), :] - solution[None, :]
        pieces.append(batch_gradient(error, rows, fresh[:, :, d], batch_size=size))
    return pieces[0] if len(pieces) == 1 else xp.concat(pieces)
