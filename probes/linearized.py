r"""Training near the present parameters as a quadratic problem: what :mod:`spectra.dynamics` predicts loss curves from.

To first order in the parameters the outputs of a network move by :math:`J\,\Delta w`, and to second order in the
outputs the loss of a sample is a square and a constant (:mod:`probes.output_squares`). Together,

.. math::
    L(w + \Delta w) \approx L_c + \frac{1}{2n} \sum_i |A_i \Delta w + r_i|^2, \qquad A_i = S_i^{1/2} J_i, \quad
    r_i = (S_i^{1/2})^+ \nabla_z \ell_i, \quad L_c = L(w) - \frac{1}{2n} \sum_i |r_i|^2,

least squares with the Gauss-Newton matrix :math:`G = \frac1n \sum_i A_i^T A_i` as its Hessian. All of it is in the unit
of the reported loss, so that the learning rate is that of ``torch.optim.SGD`` and nothing is converted.

The model of the *outputs* is exact for the squared error. That the network is nearly linear along the way is an
assumption, good for wide networks, late in training and for a while (Chizat, Oyallon and Bach 2019, arXiv 1812.07956,
for the linear regime); :func:`probes.check_linearization` measures for how long. The form in :math:`S^{1/2}` and the
share of the residuals of one sample in the noise are derived here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from probes.batches import Batches
from probes.losses import Loss
from probes.losses.cross_entropy import CrossEntropy
from probes.losses.squared import MeanSquaredError
from probes.model_loss import read_any_loss
from probes.operators import GaussNewtonOperator
from probes.operators.causes import refuse_unsuitable, uses_batch_statistics
from probes.output_squares import output_squares
from probes.sample_rows import sample_rows, sample_squares
from probes.task import Task
from spectra import Operator, trace
from spectra.dynamics import Quadratic, from_operator
from spectra.errors import ArgumentError, NonDeterministicError, TaskError
from spectra.start_vectors import as_count, as_seed

__all__ = ["MAX_TRACE_PRODUCTS", "Progress", "linearize", "require_linearizable"]

Progress = Callable[[str, int, int], None]

#: As many as the quadrature takes at its defaults, 8 vectors of 30 steps: the trace costs no more than the rest.
MAX_TRACE_PRODUCTS = 240
#: Products of the trace that are formed at once and then reported.
BLOCK = 30


def linearize(
    task: Task,
    *,
    num_deflated: int = 8,
    num_probes: int = 8,
    num_steps: int = 30,
    num_gradient_steps: int = 60,
    max_trace_products: int = MAX_TRACE_PRODUCTS,
    check: bool = True,
    strategy: str = "auto",
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
) -> Quadratic:
    r"""Return the quadratic model of a task's training loss around the present parameters.

    Parameters
    ----------
    task : Task
        Model, loss and training data. The model is measured in the mode it is in, as a rule ``eval()``, and left as it
        was. The loss is a mean over the samples, convex in the outputs.
    num_deflated, num_probes, num_steps, num_gradient_steps : int
        Accuracy of the spectrum and of the gradient's part in it, see :func:`spectra.dynamics.from_operator`.
    max_trace_products : int
        Products with G that the trace may cost. Exactly it takes one row for every output of every sample, each about
        half a product with that sample alone, so that all of them cost as much as (outputs of a sample) / 2 products.
        Where that is more, the trace is estimated from this many products, which are held at once, and the sizes of
        single samples stay unknown.
    check : bool
        Run the self-check of :mod:`probes.operators.checks`, which also notices samples that influence each other.
    strategy : str
        How products are formed, see :mod:`probes.operators.ladder`; name one to have the same digits every time.
    rng : int or numpy.random.Generator
        Seed.
    progress : callable, optional
        Called with (what is being done, done, total).

    Returns
    -------
    spectra.dynamics.Quadratic
        ``num_samples`` n; ``offset`` :math:`L_c` (0 for the squared error, negative for a badly fitted cross-entropy);
        ``rows_per_sample`` the mean rank of :math:`S_i`: C for squared errors, C - 1 for cross-entropy, times the
        positions; ``largest_row`` the largest curvature of one sample, or None; ``kurtosis`` of the largest modes, from
        one product with the Jacobian for each. To ``evidence`` of ``from_operator`` are added ``trace_stderr`` (0 if
        exact), ``num_rows`` (formed for the trace) and ``largest_row_is_bound`` (1 if some sample had too many rows and
        only its squared norm is known).

    Raises
    ------
    TaskError
        The loss has no mean over samples that batches share (``reduction="sum"``, class weights, ignored targets,
        sequences of unequal length), no Gauss-Newton matrix (a loss of model and batch), no square (see
        :func:`probes.output_squares.output_squares`), or nothing left to lose; samples influence each other (batch
        normalization of the batch).
    NonDeterministicError
        Dropout is active: call ``model.eval()``.
    ArgumentError, NonFiniteError, DerivativeError, NotSymmetricError
        As of `GaussNewtonOperator` and `from_operator`.

    Notes
    -----
    Costs the rows of the trace and, at the defaults, some 400 products with G.

    The residuals of one sample are drawn together, so that the noise of closures over modes is divided by their number,
    as if all were alike and independent. Predictions of networks were as often as not no better than those without
    noise: see :func:`probes.check_linearization`.

    Examples
    --------
    A linear network is its own linearization: curvature 2 x^2 = 5 in the mean, loss (1 + 4)/2.

    >>> model = torch.nn.Linear(1, 1, bias=False).double()
    >>> with torch.no_grad():
    ...     _ = model.weight.zero_()
    >>> x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    >>> problem = linearize(Task(model, torch.nn.MSELoss(), [(x, x)]))
    >>> round(problem.trace, 12), round(problem.loss, 12), problem.num_samples, problem.largest_row
    (5.0, 2.5, 2, 8.0)
    """
    seed, budget = as_seed(rng), as_count(max_trace_products, name="max_trace_products")
    report = progress or (lambda *_: None)
    require_linearizable(task)
    report("checking the operator", 0, 1)
    operator = GaussNewtonOperator(
        task.model, task.loss, _batches(task), **task.operator_options(), check=check, strategy=strategy, rng=seed
    )
    measured = _measure(operator)
    if measured.outputs_per_sample <= 2 * budget:
        rows = sample_rows(operator, progress=lambda done, total: report("rows of the samples", done, total))
        size, stderr, num_rows, largest, is_bound = rows.trace, 0.0, rows.num_rows, rows.largest, rows.is_bound
    else:
        counted = _reporting(operator, lambda done: report("trace", done, min(budget, operator.shape[0])))
        estimate = trace(counted, num_matvecs=budget, positive_semidefinite=True, rng=seed)
        size, num_rows, largest, is_bound = float(estimate.value), 0, None, False
        stderr = float("inf") if estimate.stderr is None else float(estimate.stderr)
    if not size > 0:
        raise TaskError(
            "the Gauss-Newton matrix is zero: no output depends on a parameter to first order, or every target is "
            "reached with certainty. There is nothing to predict."
        )
    report("spectrum", 0, 1)
    try:
        problem = from_operator(
            operator,
            operator.gradient(),
            loss=measured.energy,
            trace=size,
            num_samples=operator.num_samples,
            reported_loss=None if isinstance(operator.objective.loss, MeanSquaredError) else measured.loss,
            rows_per_sample=max(measured.num_squares / operator.num_samples, 1.0),
            largest_row=largest,
            # of a matrix of lower rank the last of them would be rounding
            num_deflated=min(as_count(num_deflated, name="num_deflated", least=0), max(measured.num_squares - 1, 0)),
            num_probes=num_probes,
            num_steps=num_steps,
            num_gradient_steps=num_gradient_steps,
            sample_squares=lambda vectors: sample_squares(operator, vectors),
            rng=seed,
            name=f"{task.name}, linearized",
        )
    except ArgumentError as error:
        if stderr == 0 or "the trace" not in str(error):
            raise
        raise ArgumentError(
            f"the trace was estimated as {size:.6g} +- {stderr:.2g} from {budget} products, too coarsely: {error}. "
            f"Raise max_trace_products (--max-trace-products) above {budget}"
        ) from error
    operator.release()
    report("spectrum", 1, 1)
    added = {"trace_stderr": stderr, "num_rows": float(num_rows), "largest_row_is_bound": float(is_bound)}
    return replace(problem, evidence={**problem.evidence, **added})


def _reporting(operator: GaussNewtonOperator, report: Callable[[int], None]) -> Operator:
    """Return the operator with its products in blocks, after each of which their number is reported."""
    done = 0

    def product(vectors: torch.Tensor) -> torch.Tensor:
        nonlocal done
        parts = []
        for block in vectors.split(BLOCK, dim=1):
            parts.append(operator @ block)
            done += block.shape[1]
            report(done)
        return torch.cat(parts, dim=1)

    report(0)
    return Operator(product, like=operator.like, name=operator.name)


def require_linearizable(task: Task) -> None:
    """Raise unless the mean loss of a batch is the mean of losses of samples, whatever the batch.

    Raises
    ------
    TaskError
        The message says what stands against it and what to do.
    NonDeterministicError
        Dropout is active.
    """
    try:
        refuse_unsuitable(task.model, num_batches=1)
    except NonDeterministicError as error:
        # What operators offer besides, a seed of the dropout, real training does not have.
        raise NonDeterministicError(f"{str(error).partition(', or fix what')[0]}.") from error
    loss = read_any_loss(task.loss)
    if loss.reduction == "sum" or getattr(loss.function, "reduction", "mean") == "batchmean":
        raise TaskError(
            f"the loss {loss.name} sums over the batch, so that curvature and noise depend on its size. Use "
            "reduction='mean', and multiply learning rates by the batch size (for nn.MSELoss also by the outputs of a "
            "sample)."
        )
    normalizing = uses_batch_statistics(task.model)
    if normalizing:
        raise TaskError(
            f"batch normalization makes the samples of a batch depend on each other ({normalizing[0]}), so that there "
            "are no rows of single samples. Call model.eval() to linearize with the running statistics."
        )
    _require_equal_samples(loss, task.batches)


def _require_equal_samples(loss: Loss, batches: Batches) -> None:
    """Raise unless every sample counts equally in the mean of its batch."""
    if getattr(loss.function, "weight", None) is not None and isinstance(loss, CrossEntropy):
        raise TaskError(
            f"the loss {loss.name} has class weights: its mean divides by the sum of the weights in the batch, which "
            "changes from batch to batch. Leave weight= out, or pass a loss that divides by the number of samples: "
            "lambda z, y: cross_entropy(z, y, weight=w, reduction='sum') / len(y)."
        )
    ignored = getattr(loss.function, "ignore_index", None)
    for number, batch in enumerate(batches):
        target = batch.target
        if ignored is None or not isinstance(target, torch.Tensor) or target.is_floating_point():
            continue
        count = int((target == ignored).sum())
        if count:
            raise TaskError(
                f"{count} targets of batch {number} are ignored (ignore_index={ignored}), so that the mean divides by "
                "a number that changes from batch to batch. Leave these samples out, or cut sequences to one length."
            )
    shares = {loss.weight(None, batch.target, batch.size) / batch.size for batch in batches}
    if len(shares) > 1:
        raise TaskError(
            f"samples of different batches have between {min(shares):g} and {max(shares):g} positions, so that the "
            "mean over positions is no mean over samples. Cut or pad sequences to one length."
        )


def _batches(task: Task) -> Batches:
    """Return the data in at least two batches where there are two samples, for the check that they are independent."""
    batches = task.batches
    if len(batches) > 1 or batches.num_samples < 2:
        return batches
    return batches.split((batches.num_samples + 1) // 2)


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """The loss over all data, the part of it that is a square, the residuals in it, and the outputs of a sample."""

    loss: float
    energy: float
    num_squares: int
    outputs_per_sample: int


def _measure(operator: GaussNewtonOperator) -> _Measured:
    loss, energy, num_squares, outputs = float(operator.loss()), 0.0, 0, 0
    for index, batch in operator.workload.counted():
        with operator.workload.evaluating(index, batch), torch.no_grad():
            values = operator.workload.piece(batch, index).evaluate("outputs", connected=False)
            found = output_squares(operator.objective.loss, values, batch.target)
        energy += operator.share(index) * found.energy
        num_squares += found.num_squares
        outputs = max(outputs, values.numel() // batch.size)
    if not energy > 0:
        raise TaskError(
            "the model fits every target exactly, so that there is no loss to lose and gradients have no noise. "
            "Linearize before that, or with noisy targets."
        )
    return _Measured(loss=loss, energy=energy, num_squares=num_squares, outputs_per_sample=outputs)
