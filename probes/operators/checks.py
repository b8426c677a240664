r"""The self-check of a curvature operator: whether it is the derivative that it claims to be.

PyTorch returns wrong second derivatives for a few layers without an error, and a graph that is cut somewhere gives a
wrong product too, so agreement between two ways of automatic differentiation proves nothing. The check therefore
compares with central differences, in a float64 copy of the model, on at most :data:`NUM_SAMPLES` samples, along a unit
vector v (half gradient, half random):

* the loss and the gradient are finite, and equal when computed twice;
* Hessian: :math:`g^T v` against differences of the loss, :math:`H v` against differences of the gradient;
* Gauss-Newton: :math:`J v` against differences of the outputs, the closed-form output Hessian against automatic
  differentiation, :math:`v^T G v \ge 0`;
* :math:`u^T A v = v^T A u`;
* samples do not influence each other, and the loss of a batch is a mean, not a sum (several batches only).

The step is :data:`STEP` times the norm of the parameters: for piecewise linear networks longer steps cross kinks. What
the copy is measured at is a random point next to the parameters (relative distance :data:`JITTER`), because at the
parameters themselves a network may sit exactly on a kink (zero biases and zero inputs under a ReLU), where no two-sided
difference equals the derivative. A mismatch counts only when differences with two steps agree with each other. Cost:
about ten gradients of the small batch.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from probes.batches import Batch
from probes.losses import smallest_output_curvature
from probes.operators.causes import forward_downcasts, randomness, second_order_cause
from probes.operators.differences import (
    JITTER,
    STEP,
    Subject,
    compare_with_differences,
    directions,
    evaluate_gradient,
    evaluate_products,
    random_like,
)
from probes.operators.explanations import require_finite
from probes.operators.factored import FactoredOperator
from probes.state import differentiable, preserved, preserved_random_state
from spectra.errors import (
    DerivativeError,
    NonDeterministicError,
    NonFiniteError,
    NotSymmetricError,
    TaskError,
)

if TYPE_CHECKING:
    from probes.operators.base import CurvatureOperator

__all__ = ["JITTER", "NUM_SAMPLES", "STEP", "self_check"]

#: Samples in the batch of the check.
NUM_SAMPLES = 32
#: Relative asymmetry at which a float64 product passes; sound networks are at 1e-15 .. 1e-13.
SYMMETRY_TOLERANCE = 1e-8
#: The same for a float32 product, when the model cannot be copied.
COARSE_SYMMETRY_TOLERANCE = 1e-4


def self_check(operator: "CurvatureOperator", *, rng: int | np.random.Generator = 0) -> dict[str, Any]:
    """Check an operator on a small batch; return what was compared, and the relative errors found.

    Returns
    -------
    dict
        ``precision`` ("float64" or that of the model), ``num_samples``, and relative errors: ``repeat``, ``symmetry``,
        ``loss_difference`` and ``gradient_difference`` or ``output_difference`` and ``output_hessian``, ``coupling``
        and ``mean`` (several batches). ``differences``, a text, says why differences were not compared or settle
        nothing.

    Raises
    ------
    NonFiniteError, NonDeterministicError, TaskError, DerivativeError, NotSymmetricError
        In this order of checking; each names the likely cause.
    """
    random = np.random.default_rng(rng)
    figures: dict[str, Any] = {}
    with torch.inference_mode(False), preserved_random_state(operator.device):
        batches = list(_small_batches(operator))
        figures["num_samples"] = batches[0].size
        live = Subject(operator.objective, operator.parameters)
        twin = _copied(live, batches[0], figures)
        _check_repeat(live, batches[0], figures)
        if len(operator.batches) > 1:
            _check_additivity(live, batches[0], figures)
        figures["precision"] = "float64" if twin is not None else str(operator.dtype).removeprefix("torch.")
        if twin is not None:
            small = [batch.to(dtype=torch.float64) for batch in batches]
            _shift(twin, random)
            try:
                gradient = evaluate_gradient(twin, small[0])
            except NonFiniteError as error:
                figures["differences"] = f"not compared: next to the parameters, in float64, {error}"
            else:
                vectors = directions(twin, gradient[1:], random)
                products = evaluate_products(operator, twin, small[0], vectors)
                compare_with_differences(operator, twin, small, random, (gradient, vectors, products), figures)
                _check_symmetry(operator, twin, small[0], vectors, products, figures)
                return figures
        vectors = directions(live, None, random)
        products = evaluate_products(operator, live, batches[0], vectors)
        _check_symmetry(operator, live, batches[0], vectors, products, figures)
    return figures


def _small_batches(operator: "CurvatureOperator") -> Iterator[Batch]:
    """Yield small batches that count: of the first batch, of the last, and an even smaller one."""
    counted = [index for index, weight in enumerate(operator.workload.weights) if weight > 0]
    for index, limit in ((counted[0], NUM_SAMPLES), (counted[-1], NUM_SAMPLES), (counted[0], 4)):
        batch = operator.batches[index]
        small = batch
        if batch.is_divisible and batch.size > limit:
            starts = range(0, batch.size - limit + 1, limit)
            pieces = (batch.take(slice(start, start + limit)) for start in starts)
            small = next((p for p in pieces if operator.objective.weight(p) > 0), batch)
        yield small


def _copied(live: Subject, batch: Batch, figures: dict[str, Any]) -> Subject | None:
    """Return a float64 copy that can be evaluated, or ``None`` with a note of why there is none."""
    try:
        objective = live.objective.double()
        named = dict(objective.model.named_parameters())
        twin = Subject(objective, {name: named[name] for name in live.parameters})
        versions = [p._version for p in objective.model.parameters()]
        with preserved(objective.model), differentiable(objective.model):
            objective.value(batch.to(dtype=torch.float64))
    except torch.OutOfMemoryError:
        raise
    except DerivativeError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        figures["differences"] = f"not compared: no working float64 copy of the model ({reason[:200]})"
        return None
    changed = [p for p, version in zip(objective.model.parameters(), versions, strict=True) if p._version != version]
    if changed:
        name = next(name for name, p in named.items() if p is changed[0])
        raise TaskError(
            f"the forward pass of {type(objective.model).__name__} overwrites its own parameter {name!r}, so measuring "
            "would change the model. Update parameters outside forward."
        )
    return twin


def _shift(subject: Subject, random: np.random.Generator) -> None:
    """Move a copy to a random point nearby, off kinks and ties that initialization puts it on exactly."""
    count = sum(p.numel() for p in subject.tensors)
    typical = subject.norm() / math.sqrt(count) or 1.0
    with torch.no_grad():
        for p in subject.tensors:
            own = float(p.square().mean().sqrt()) if p.numel() else 0.0
            p.add_(random_like(p, random), alpha=JITTER * (own or typical))


def _check_repeat(live: Subject, batch: Batch, figures: dict[str, Any]) -> None:
    """Compute the gradient twice, with random numbers running on in between."""
    first, second = evaluate_gradient(live, batch), evaluate_gradient(live, batch)
    require_finite(first, "the gradient of the first samples")
    scale = float(torch.linalg.vector_norm(first))
    figures["repeat"] = float(torch.linalg.vector_norm(first - second)) / (scale or 1.0)
    if figures["repeat"] > 1e3 * torch.finfo(first.dtype).eps:
        raise NonDeterministicError(
            f"the gradient of {type(live.objective.model).__name__}, computed twice on the same {batch.size} samples, "
            f"differs by {figures['repeat']:.2g} (relative). {randomness(live.objective.model)}"
        )


def _check_additivity(live: Subject, batch: Batch, figures: dict[str, Any]) -> None:
    """See whether the loss of a batch follows from the losses of its halves."""
    objective, half = live.objective, batch.size // 2
    if not objective.needs_target:
        figures["coupling"] = "not compared: the loss takes the batch as a whole"
        return
    if not batch.is_divisible or half == 0:
        figures["coupling"] = "not compared: the batch cannot be cut"
        return
    parts = [batch.take(slice(0, half)), batch.take(slice(half, None))]
    with differentiable(objective.model), torch.no_grad():
        with preserved(objective.model):
            whole = objective.outputs(batch)
        with preserved(objective.model):  # both start from the same state: power iterations and the like move on
            first = objective.outputs(parts[0])
        if whole.ndim == 0 or whole.shape[0] != batch.size or first.shape != (half, *whole.shape[1:]):
            figures["coupling"] = "not compared: the outputs do not have one row for each sample"
            return
        scale = float(whole.abs().max()) or 1.0
        figures["coupling"] = float((whole[:half] - first).abs().max()) / scale
        if figures["coupling"] > 1e-3:
            raise TaskError(
                f"the outputs of {type(objective.model).__name__} for the same {half} samples change by "
                f"{figures['coupling']:.2g} (relative) when other samples join the batch, so the loss of several "
                "batches depends on how the data are cut. Likely batch statistics: call model.eval(), or pass the "
                "data as one batch."
            )
        values = [float(objective.loss.value(z, p.target)) for z, p in zip((first, whole[half:]), parts, strict=True)]
        together = float(objective.loss.value(whole, batch.target))
    weights = [objective.weight(part) for part in parts]
    if objective.loss.reduction == "sum" or not all(weights) or not all(map(math.isfinite, values)):
        return
    mean = sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)
    figures["mean"] = abs(together - mean) / (abs(together) or 1.0)
    if abs(together - sum(values)) <= 1e-4 * abs(together) and figures["mean"] > 1e-2:
        raise TaskError(
            f"the loss {objective.loss.name} of {batch.size} samples is the sum over its halves ({values[0]:.4g} + "
            f"{values[1]:.4g} = {together:.4g}); a callable loss must be the mean over samples. Divide by their "
            "number, or pass a torch.nn loss with reduction='sum' for the curvature of the sum."
        )


def _check_output_curvature(
    operator: "CurvatureOperator", subject: Subject, batch: Batch, figures: dict[str, Any]
) -> None:
    """Form the output Hessian of a few samples, for losses without a closed form, and look at its sign."""
    objective = subject.objective
    with preserved(objective.model), differentiable(objective.model), torch.no_grad():
        outputs = objective.outputs(batch)
    figures["smallest_output_curvature"] = smallest_output_curvature(objective.loss, outputs, batch.target)
    if figures["smallest_output_curvature"] < -SYMMETRY_TOLERANCE:
        operator.remarks.append(
            f"the loss {objective.loss.name} is not convex in the outputs (smallest eigenvalue of its output Hessian "
            f"{figures['smallest_output_curvature']:.2g} of the largest): this Gauss-Newton matrix is indefinite"
        )


def _check_symmetry(
    operator: "CurvatureOperator",
    subject: Subject,
    batch: Batch,
    vectors: Tensor,
    products: Tensor,
    figures: dict[str, Any],
) -> None:
    """Compare u'(Av) with v'(Au); for a loss convex in the outputs also v'Gv with 0."""
    require_finite(products, f"the product of {operator.name} and a vector")
    gram = vectors.T @ products
    scale = float(torch.linalg.vector_norm(products, dim=0).max())
    figures["symmetry"] = float((gram[0, 1] - gram[1, 0]).abs()) / (scale or 1.0)
    exact = products.dtype == torch.float64
    if exact and figures["symmetry"] > SYMMETRY_TOLERANCE:
        with preserved(subject.objective.model), differentiable(subject.objective.model):
            exact = not forward_downcasts(lambda: subject.objective.evaluate(batch))
    tolerance = SYMMETRY_TOLERANCE if exact else COARSE_SYMMETRY_TOLERANCE
    name = type(subject.objective.model).__name__
    if figures["symmetry"] > tolerance:
        raise NotSymmetricError(
            f"the {operator.name} of {name} is not symmetric: u'(Av) and v'(Au) differ by {figures['symmetry']:.2g} of "
            f"the product's norm (allowed {tolerance:.0e}). "
            + second_order_cause(subject.objective.model, figures.get("custom_functions", []))
        )
    if operator.name == "gauss_newton" and not operator.objective.loss.has_closed_form:
        _check_output_curvature(operator, subject, batch, figures)
    if isinstance(operator, FactoredOperator):
        figures["smallest_rayleigh_quotient"] = float(gram.diagonal().min())
        if figures["smallest_rayleigh_quotient"] < -tolerance * scale and operator.is_semidefinite:
            raise DerivativeError(
                f"the {operator.name} matrix of {name} is not positive semidefinite (v'Gv = "
                f"{figures['smallest_rayleigh_quotient']:.3g}) although it should be."
            )
