"""SGD on an explicit least-squares problem, simulated: the referee of every predicted curve."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from array_api_compat import device

from spectra.arrays import dtype_name, finite_number, inner, namespace, to_host
from spectra.dynamics.batch_order import Sampling, batch_blocks, batch_sizes
from spectra.dynamics.least_squares_rows import LeastSquaresRows, least_squares_rows, require_finite_like
from spectra.dynamics.population import Population
from spectra.dynamics.sgd_steps import run_sgd
from spectra.dynamics.simulation_dataset import simulation_dataset
from spectra.dynamics.simulation_plan import MAX_BYTES, QUANTILES, SimulationPlan, distinct, simulation_plan
from spectra.errors import ArgumentError
from spectra.exchange import library_of
from spectra.protocols import Array

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["simulate_sgd"]


def simulate_sgd(
    A: Array,
    b: Array,
    *,
    start: Array | None = None,
    learning_rate: npt.ArrayLike,
    batch_size: npt.ArrayLike = 1,
    num_steps: int,
    num_runs: int = 32,
    sampling: Sampling = "without_replacement",
    rows_per_sample: int = 1,
    momentum: npt.ArrayLike = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    record: Sequence[int] | np.ndarray | None = None,
    quantiles: Sequence[float] | np.ndarray = QUANTILES,
    population: Population | tuple[Array, Array, float] | None = None,
    rng: int | np.random.Generator = 0,
    max_bytes: int = MAX_BYTES,
) -> "xr.Dataset":
    """Simulate SGD on ``L(x) = 1/(2n) |A x - b|^2``, many runs at once.

    Each step takes a batch S of B samples and the gradient of its mean loss::

        g = (1/B) sum_{i in S} (a_i'x - b_i) a_i + weight_decay x
        v <- momentum v + g  (from 0),    x <- x - learning_rate v

    with ``g + momentum v`` in place of v for Nesterov's variant: the steps of ``torch.optim.SGD`` on that loss.

    Parameters
    ----------
    A : array, shape (n, d)
        Rows are samples; float32 or float64, of any array library. Everything is computed there, in its dtype.
    b : array, shape (n,)
        Like A.
    start : array, shape (d,), optional
        First state of every run; zero by default.
    learning_rate, momentum : float or array-like, shape (num_steps,)
        One number, or one for each update; momentum in [0, 1). ``v`` is kept in steps with momentum 0, where PyTorch
        forgets it.
    batch_size : int or array-like of int, shape (num_steps,)
        Samples per batch.
    num_steps, num_runs : int
        Updates of each run, and runs.
    sampling : {"without_replacement", "with_replacement", "reshuffled"}
        The first two draw every batch anew, its samples distinct or not. The third walks through a new permutation of
        the data in each epoch, and the last batch of an epoch may be smaller, like PyTorch's DataLoader with
        ``shuffle=True``.
    rows_per_sample : int
        q: a sample brings q consecutive rows at once, as a network with q outputs does. A has n q rows, and the loss
        is still divided by 2 n.
    nesterov : bool
        Whether to use Nesterov's variant, which needs a momentum above 0.
    weight_decay : float
        As in ``torch.optim.SGD``: the gradient of ``weight_decay/2 |x|^2``, which is no part of the recorded loss.
    record : sequence of int, optional
        Steps at which losses are recorded; by default all up to 200, else about 100 with even spaces in the logarithm.
    quantiles : sequence of float
        Levels of the quantiles over the runs.
    population : Population or (array of shape (d, d), array of shape (d,), float), optional
        Hessian H, minimizer m and floor of a population risk ``floor + 1/2 (x - m)'H(x - m)`` to record as well. The
        arrays of a tuple must be like A; a `spectra.dynamics.Population` is brought to the library of A.
    rng : int or numpy.random.Generator
        Seed. The batches of run i depend on the seed and i only: more runs do not change earlier ones (up to rounding,
        as products of more runs may be summed in another order), nor do the array library and the device.
    max_bytes : int
        Bound of temporary arrays, beside those as large as A. What all runs need at once, which is their states, one
        batch of each and their recorded losses, must fit into it, or into its default if that is more.

    Returns
    -------
    xarray.Dataset
        On the host, in float64. Per ``step``: ``loss``, the mean of L over the runs; ``stderr``, the standard error of
        this mean, NaN for a single run; ``relative_stderr``; ``largest_run_share`` and ``mean_resolved``, see
        `spectra.dynamics.run_statistics.statistics_of`; with a population also ``risk`` and ``risk_stderr``.
        ``loss_quantile`` (quantile, step); ``run_loss`` and ``run_risk`` (run, step). Coordinates ``samples``, the
        samples seen by each run, and ``epoch``, the same over n. Settings that vary are kept as
        ``learning_rate_schedule`` and so on, over ``update``. Runs that overflow have infinite losses, and
        ``num_diverged`` counts them: the mean is then infinite, and quantiles are still right.

    Raises
    ------
    BackendError
        If A, b, start or the population are not real arrays of one library, dtype and device.
    ShapeError
        If shapes do not fit together, or a schedule does not fit ``num_steps``.
    NonFiniteError
        If A, b or start hold NaN or infinity.
    ArgumentError
        For any other setting that cannot be used.
    OutOfMemoryError
        If states, batches, records or schedules exceed ``max_bytes``; before anything is allocated.

    Notes
    -----
    ``O(num_runs B d)`` operations per step, or those of two products of A with ``num_runs`` vectors where batches are
    at least a quarter of the data; one such product per record. No step waits for the device.

    Standard errors cover the choice of batches, given A and b. Where ``mean_resolved`` is false, the mean rests on a
    few runs, and neither it nor its standard error can be trusted; compare quantiles, or simulate more runs.

    Source: the documentation of ``torch.optim.SGD`` for the steps; the rest is derived.

    Examples
    --------
    With full batches, SGD is gradient descent, which contracts an error of eigenvalue h by ``1 - learning_rate h``.

    >>> A = np.diag([2.0, 0.0])
    >>> run = simulate_sgd(A, np.zeros(2), start=np.ones(2), learning_rate=0.25, batch_size=2, num_steps=2, num_runs=1)
    >>> run["loss"].values.tolist()
    [1.0, 0.25, 0.0625]
    """
    data = least_squares_rows(A, b, rows_per_sample=rows_per_sample, max_bytes=max_bytes)
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
    xp, d = namespace(A), data.num_parameters
    width = A.dtype.itemsize if isinstance(A, np.ndarray) else 8
    plan.require_memory(
        d * width,
        batch_bytes=_bytes_per_step(plan.batch_size, data.num_samples, sampling, plan.num_runs),
        data_bytes=data.num_samples * data.rows_per_sample * d * width,
    )
    sizes = batch_sizes(plan.batch_size, num_samples=data.num_samples, sampling=sampling)
    states = xp.zeros((plan.num_runs, d), dtype=A.dtype, device=device(A))
    if start is not None:
        states += require_finite_like(start, A, shape=(d,), what="start")[None, :]
    risk = _risk(population, A) if population is not None else None

    def measure(states: Array) -> Array:
        loss = data.losses(states)
        return loss[None, :] if risk is None else xp.stack([loss, risk(states)])

    recorded = to_host(run_sgd(states, _gradients(data, sizes, sampling, plan), plan, measure=measure))
    names = ("loss",) if risk is None else ("loss", "risk")
    return simulation_dataset(
        {name: recorded[:, i, :].T for i, name in enumerate(names)},
        plan,
        sizes=sizes,
        num_samples=data.num_samples,
        sampling=sampling,
        num_parameters=d,
        rows_per_sample=data.rows_per_sample,
        library=library_of(A),
        dtype=dtype_name(A.dtype),
    )


def _gradients(
    data: LeastSquaresRows, sizes: np.ndarray, sampling: Sampling, plan: SimulationPlan
) -> Iterator[Callable[[Array], Array]]:
    """Yield the gradients of the batches, step after step."""
    n, runs = data.num_samples, plan.num_runs
    bytes_per_step = _bytes_per_step(sizes, n, sampling, runs)
    if bytes_per_step == 0:
        yield from (data.gradient for _ in sizes)
        return
    blocks = batch_blocks(
        sizes,
        num_samples=n,
        sampling=sampling,
        seed=plan.seed,
        num_runs=runs,
        steps_per_block=max(1, plan.max_bytes // bytes_per_step),
    )
    for block in blocks:
        ends = (runs * np.cumsum(block.sizes)).tolist()
        begins = [0, *ends[:-1]]
        numbers: Array = data.on_device(block.samples) if not np.all(_whole(block.sizes, n)) else None
        for size, begin, end in zip(block.sizes.tolist(), begins, ends, strict=True):
            if _whole(size, n):
                mine = block.samples[begin:end].reshape(runs, size) + n * np.arange(runs)[:, None]
                counts = np.bincount(mine.ravel(), minlength=runs * n).reshape(runs, n)
                yield partial(data.weighted_gradient, data.on_device(counts / size))
            else:
                yield partial(data.batch_gradient, numbers[begin:end], size)


def _bytes_per_step(sizes: np.ndarray, n: int, sampling: Sampling, runs: int) -> int:
    """Return the bytes in which the batches of one step are drawn, for all runs; 0 if every batch is all the data."""
    several = distinct(sizes)
    if sampling != "with_replacement" and np.all(several == n):
        return 0
    # samples and their places, the shuffled numbers of one run, and the weights of whole products
    return 32 * runs * int(np.max(several)) + 16 * n + 8 * runs * n * bool(np.any(_whole(several, n)))


def _whole(sizes: Any, n: int) -> Any:
    """Whether products with all of A are faster than gathering rows: measured for n = 2000, d = 1000, 32 runs."""
    return 4 * sizes >= n


def _risk(population: Population | tuple[Array, Array, float], A: Array) -> Callable[[Array], Array]:
    """Return the population risk as a function of the states."""
    if isinstance(population, Population):
        xp = namespace(A)
        # a library that shares memory with NumPy cannot take over arrays that are read-only
        arrays = [x if x.flags.writeable else x.copy() for x in (population.hessian, population.minimizer)]
        hessian, minimizer = (xp.asarray(x, dtype=A.dtype, device=device(A)) for x in arrays)
        floor = population.floor
    elif isinstance(population, tuple) and len(population) == 3:
        hessian, minimizer, floor = population
    else:
        raise ArgumentError(
            "population must be a spectra.dynamics.Population or a tuple (Hessian matrix, minimizer, floor), "
            f"got {type(population).__name__}"
        )
    d, floor = A.shape[1], finite_number(floor, name="floor of the population")
    hessian = require_finite_like(hessian, A, shape=(d, d), what="Hessian of the population")
    minimizer = require_finite_like(minimizer, A, shape=(d,), what="minimizer of the population")

    def risk(states: Array) -> Array:
        error = states - minimizer[None, :]
        return floor + 0.5 * inner(error @ hessian, error)

    return risk
