r"""For how long the quadratic model of a training loss can be trusted: real SGD beside its prediction.

Two assumptions stand between a network and its predicted loss curve: that the network stays nearly linear in its
parameters, and that the closure describes the noise of its gradients. Runs that agree with the prediction support the
first. They say something about the second only where the curve *without* noise is further away than the prediction,
which was so in no more than 4 of the 11 settings of the theory notes, so that both are compared.
"""

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from probes.batches import Samples
from probes.linearization_verdict import linearization_verdict
from probes.linearized import Progress, require_linearizable
from probes.objective import Objective, read_objective
from probes.parameters import select
from probes.state import preserved_random_state
from probes.task import Task
from spectra.arrays import finite_number
from spectra.dynamics import Closure, Quadratic, sgd_curve
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count, as_seed

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["NUM_RECORDS", "NUM_RUNS", "check_linearization"]

#: Steps at which the loss of all data is evaluated, each a pass over them (design choice: 4 to 5 per decade).
NUM_RECORDS = 20
#: Runs: of 8, the 95 % interval of the mean is 2.4 standard errors to each side; of 4 it is 3.2, and those are larger.
NUM_RUNS = 8
#: Difference between the loss of the problem and that of the task, relative: rounding in float32 stays below.
SAME_LOSS = 1e-3


def check_linearization(
    task: Task,
    problem: Quadratic,
    *,
    learning_rate: float,
    batch_size: int,
    num_steps: int,
    num_runs: int = NUM_RUNS,
    closure: Closure = "limit",
    momentum: float = 0.0,
    nesterov: bool = False,
    rng: int | np.random.Generator = 0,
    record: npt.ArrayLike | None = None,
    tolerance: float = 0.1,
    progress: Progress | None = None,
) -> "xr.Dataset":
    r"""Train copies of the model by SGD and compare the loss over all data with its prediction.

    Every step draws its batch afresh, without replacement and independently of the others: what the theory is about.
    (Reshuffled epochs, as of a ``DataLoader``, differ by 20 to 30 %, see :func:`spectra.dynamics.noise_factor`.) The
    copies train in the modes of the model, dropout being refused, and in the task's parameters alone.

    Parameters
    ----------
    task : Task
        As it was linearized; its model is not touched.
    problem : Quadratic
        From :func:`probes.linearize`.
    learning_rate, momentum, nesterov
        Of ``torch.optim.SGD``.
    batch_size : int
        Samples in a step, at most those of the data.
    num_steps : int
        Steps of each run. A few epochs tell most.
    num_runs : int
        Runs, from 2. Of two or three hardly anything is resolved.
    closure : str
        See :mod:`spectra.dynamics.closures`: ``"limit"``, ``"kurtosis"``, ``"gaussian"`` or ``"continuous"`` for a
        network.
    rng : int or numpy.random.Generator
        Seed of the batches.
    record : array_like of int, optional
        Steps at which all data are evaluated; by default the start and about 20 with equal ratios.
    tolerance : float
        Relative deviation up to which the linearization counts as trustworthy.
    progress : callable, optional
        Called with (what is being done, steps done, all steps).

    Returns
    -------
    xarray.Dataset
        Dimensions ``step`` and ``run``; coordinate ``epoch``. Variables:

        - ``loss``, ``stderr``: mean over the runs of the training loss, and its standard error; infinite from where a
          run diverged;
        - ``run_loss`` ``(run, step)``;
        - ``predicted_loss``, and ``noise_free_loss``, the prediction without gradient noise;
        - ``deviation``, ``noise_free_deviation``: predictions over ``loss``, minus 1.

        Attributes: ``trusted_steps`` and ``trusted_epochs``, the last recorded step before the first one that is not
        trusted: the mean within the tolerance, and its 95 % interval no wider than two tolerances to each side;
        ``is_trusted_throughout`` (0 or 1); ``ended``, ``"throughout"``, ``"off"`` (beyond the tolerance and the scatter
        at some step, ``off_step``, else -1) or ``"unresolved"`` (the runs scatter too much to tell); ``closer``
        (``"predicted_loss"``, ``"noise_free_loss"``, ``"same"`` where the two are one curve, or ``"undecided"`` where
        fewer than three trusted steps or the scatter do not tell), up to there; ``reason``, all this in words; the
        settings and the provenance.

    Raises
    ------
    ArgumentError
        The problem is not that of the task as it is now (number of samples or loss differ), or a setting is wrong.
    TaskError, NonDeterministicError
        As of :func:`probes.linearize`.

    Notes
    -----
    Costs ``num_runs num_steps`` gradients of batches and ``num_runs`` passes over the data for each record. The
    standard error rests on few runs, and near the critical learning rate the mean rests on rare ones.

    Derived here.

    Examples
    --------
    A linear network is its own linearization, whatever the step.

    >>> from probes.linearized import linearize
    >>> model = torch.nn.Linear(1, 1, bias=False).double()
    >>> x = torch.tensor([[1.0], [2.0], [1.5]], dtype=torch.float64)
    >>> task = Task(model, torch.nn.MSELoss(), [(x, x + 1)])
    >>> found = check_linearization(task, linearize(task), learning_rate=0.1, batch_size=3, num_steps=10, num_runs=2)
    >>> bool(abs(found.deviation).max() < 1e-12), found.attrs["trusted_steps"]
    (True, 10)
    """
    num_runs = as_count(num_runs, name="num_runs", least=2)
    total = as_count(num_steps, name="num_steps")
    seed, rate = as_seed(rng), finite_number(learning_rate, name="learning_rate")
    beta, allowed = finite_number(momentum, name="momentum"), finite_number(tolerance, name="tolerance")
    size = as_count(batch_size, name="batch_size")
    if allowed <= 0:
        raise ArgumentError(f"tolerance is a relative deviation and must be positive; got {tolerance}")
    require_linearizable(task)
    curve = sgd_curve(
        problem,
        closure=closure,
        learning_rate=rate,
        num_steps=total,
        batch_size=size,
        momentum=beta,
        nesterov=nesterov,
        record=_records(total) if record is None else record,
    )
    steps = curve["step"].values
    _require_same(task, problem)
    samples, report = task.samples(), progress or (lambda *_: None)
    losses = np.full((num_runs, len(steps)), np.inf)
    options: dict[str, Any] = {"lr": rate, "momentum": beta, "nesterov": nesterov}
    for run in range(num_runs):
        random = np.random.default_rng([seed, run])

        def done(step: int, run: int = run) -> None:
            report("training", run * total + step, num_runs * total)

        for position, value in enumerate(
            _trained(task, samples, steps, size=size, options=options, random=random, done=done)
        ):
            losses[run, position] = value
    return linearization_verdict(
        curve,
        losses,
        tolerance=allowed,
        start=problem.loss,
        eps=_eps(task),
        num_samples=samples.num_samples,
        seed=seed,
    )


def _eps(task: Task) -> float:
    """Return the coarsest rounding among the parameters that are trained."""
    dtypes = {value.dtype for value in select(task.model, task.parameters, allow_half=True).values()}
    return max(torch.finfo(dtype).eps for dtype in dtypes)


def _records(num_steps: int) -> npt.NDArray[np.int64]:
    spaced = np.geomspace(1, num_steps, NUM_RECORDS).round().astype(np.int64)
    return np.unique(np.concatenate([[0], spaced]))


def _require_same(task: Task, problem: Quadratic) -> None:
    """Raise unless the problem has the number of samples and the loss of the task."""
    number = task.batches.num_samples
    if problem.num_samples != number:
        raise ArgumentError(
            f"the problem has {problem.num_samples} samples and the task {number}: pass the task that was linearized"
        )
    with preserved_random_state(*{p.device for p in task.model.parameters()}):
        loss = _full_loss(task, read_objective(task.model, task.loss, output=task.output))
    if not abs(problem.loss - loss) <= SAME_LOSS * abs(loss):
        raise ArgumentError(
            f"the problem starts at a loss of {problem.loss:.6g}, the task at {loss:.6g}: it was linearized at other "
            "parameters, or scaled to other units. Linearize the task as it is now"
        )


def _full_loss(task: Task, objective: Objective) -> float:
    total = weight = 0.0
    with torch.inference_mode(False), torch.no_grad():
        for batch in task.batches:
            share = objective.weight(batch)
            total, weight = total + share * float(objective.evaluate(batch)), weight + share
    return total / weight


def _trained(
    task: Task,
    samples: Samples,
    steps: npt.NDArray[np.int64],
    *,
    size: int,
    options: dict[str, Any],
    random: np.random.Generator,
    done: Callable[[int], None],
) -> Iterator[float]:
    """Yield the loss over all data of one run at the steps, up to where it stops to be finite."""
    with torch.inference_mode(False):
        model = copy.deepcopy(task.model)
    parameters = list(select(model, task.parameters, allow_half=True).values())
    optimizer = torch.optim.SGD(parameters, **options)
    objective = read_objective(model, task.loss, output=task.output)
    taken = 0
    for step in steps:
        with (
            preserved_random_state(*{p.device for p in parameters}),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            for _ in range(int(step) - taken):
                drawn = samples.take(random.choice(samples.num_samples, size, replace=False))
                gradients = torch.autograd.grad(objective.value(drawn), parameters, allow_unused=True)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                optimizer.step()
            taken = int(step)
            loss = _full_loss(task, objective)
        done(taken)
        if not np.isfinite(loss):
            return
        yield loss
