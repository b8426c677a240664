r"""The self-check of a curvature operator: is it the derivative that it claims to be?

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from probes.batches import Batch
from probes.losses import DifferentiatedLoss
from probes.objective import Objective
from probes.operators.causes import forward_downcasts, randomness, second_order_cause, stop_gradient_cause
from probes.operators.explanations import explained, require_finite, require_finite_loss
from probes.operators.gauss_newton import GaussNewtonOperator, linearized, tangents
from probes.parameters import flatten, unflatten
from probes.state import differentiable, preserved, preserved_random_state
from spectra.errors import (
    DerivativeError,
    NonDeterministicError,
    NotSymmetricError,
    SpectraError,
    TaskError,
)

if TYPE_CHECKING:
    from probes.operators.base import CurvatureOperator

__all__ = ["JITTER", "NUM_SAMPLES", "STEP", "self_check"]

#: Samples in the batch of the check.
NUM_SAMPLES = 32
#: Step of differences, relative to the norm of the parameters. At 1e-7 of a unit vector a ReLU ResNet-20 in float64 is
#: right to 3e-8; from 1e-5 up it is 700 times off, by kinks.
STEP = 1e-8
#: Relative distance of the point at which the copy is measured.
JITTER = 1e-3
#: Relative error at which a difference passes; sound networks are at 1e-9 .. 1e-7.
TOLERANCE = 1e-5
#: Relative asymmetry at which a float64 product passes; sound networks are at 1e-15 .. 1e-13.
SYMMETRY_TOLERANCE = 1e-8
#: The same for a float32 product, when the model cannot be copied.
COARSE_SYMMETRY_TOLERANCE = 1e-4
#: Rounding of a float64 evaluation relative to its value, for deep sums.
ROUNDING = 100 * 2.0**-52

Verdict = Literal["passed", "failed", "unclear"]


@dataclass(frozen=True)
class Subject:
    """What is checked: an objective and the parameters that count, live or copied."""

    objective: Objective
    parameters: dict[str, nn.Parameter]

    @property
    def tensors(self) -> list[nn.Parameter]:
        """The parameters in order."""
        return list(self.parameters.values())

    def norm(self) -> float:
        """Return the norm of the flat parameter vector."""
        return math.sqrt(math.fsum(float(p.detach().double().square().sum()) for p in self.tensors))


def self_check(operator: "CurvatureOperator", *, rng: int | np.random.Generator = 0) -> dict[str, Any]:
    """Check an operator on a small batch; return what was compared, and the relative errors found.

    Returns
    -------
    dict
        ``precision`` ("float64" or that of the model), ``num_samples``, ``repeat``, ``symmetry``, ``loss_difference``,
        ``gradient_difference`` or ``output_difference``, ``output_hessian``, ``coupling``; a text instead of a number
        says why something was not compared.

    Raises
    ------
    NonFiniteError, NonDeterministicError, TaskError, DerivativeError, NotSymmetricError
        In this order of checking; each names the likely cause.
    """
    random = np.random.default_rng(rng)
    figures: dict[str, Any] = {}
    with preserved_random_state(operator.device):
        batches = list(_small_batches(operator))
        figures["num_samples"] = batches[0].size
        live = Subject(operator.objective, operator.parameters)
        twin = _copied(live, batches[0], figures)
        _check_repeat(live, batches[0], figures)
        if len(operator.batches) > 1:
            _check_additivity(live, batches[0], figures)
        if twin is None:
            figures["precision"] = str(operator.dtype).removeprefix("torch.")
            _check_symmetry(operator, live, batches[0], _directions(live, None, random), figures)
            return figures
        figures["precision"] = "float64"
        twin_batches = [batch.to(dtype=torch.float64) for batch in batches]
        _shift(twin, random)
        try:
            gradient = _gradient(twin, twin_batches[0])[1:]
        except SpectraError as error:
            figures["gradient_difference"] = f"not compared: at a nearby point in float64, {error}"
            return figures
        _check_differences(operator, twin, twin_batches, random, figures)
        directions = _directions(twin, gradient, random)
        _check_symmetry(operator, twin, twin_batches[0], directions, figures)
    return figures


def _small_batches(operator: "CurvatureOperator") -> Iterator[Batch]:
    """Yield small batches that count: of the first batch, of the last, and an even smaller one."""
    counted = [index for index, weight in enumerate(operator._weights) if weight > 0]
    for index, limit in ((counted[0], NUM_SAMPLES), (counted[-1], NUM_SAMPLES), (counted[0], 4)):
        batch = operator.batches[index]
        small = batch
        if batch.is_divisible and batch.size > limit:
            starts = range(0, batch.size - limit + 1, limit)
            pieces = (batch.take(slice(start, start + limit)) for start in starts)
            small = next((p for p in pieces if operator.objective.loss.weight(None, p.target, p.size) > 0), batch)
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
        figures["gradient_difference"] = f"not compared: no working float64 copy of the model ({reason[:200]})"
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
            p.add_(_normal(p, random), alpha=JITTER * (own or typical))


def _gradient(subject: Subject, batch: Batch) -> Tensor:
    """Return loss and gradient of a batch as one vector, (1 + n,)."""
    model = subject.objective.model
    with preserved(model, random_state=False), differentiable(model), explained(subject.objective, batch, "the check"):
        value = require_finite_loss(subject.objective.value(batch), "of the first samples", batch)
        pieces = torch.autograd.grad(value, subject.tensors, allow_unused=True)
    filled = [torch.zeros_like(p) if g is None else g.detach() for g, p in zip(pieces, subject.tensors, strict=True)]
    return torch.cat([value.detach().reshape(1), flatten(filled)])


def _check_repeat(live: Subject, batch: Batch, figures: dict[str, Any]) -> None:
    """Compute the gradient twice, with random numbers running on in between."""
    first, second = _gradient(live, batch), _gradient(live, batch)
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
    if not batch.is_divisible or half == 0:
        figures["coupling"] = "not compared: the batch cannot be cut"
        return
    parts = [batch.take(slice(0, half)), batch.take(slice(half, None))]
    with preserved(objective.model), differentiable(objective.model), torch.no_grad():
        whole, first = objective.outputs(batch), objective.outputs(parts[0])
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
    weights = [objective.loss.weight(None, part.target, part.size) for part in parts]
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


def _check_differences(
    operator: "CurvatureOperator",
    twin: Subject,
    batches: Sequence[Batch],
    random: np.random.Generator,
    figures: dict[str, Any],
) -> None:
    """Compare with central differences; another vector and other samples if that is unclear (kinks) or fails."""
    compare = _compare_outputs if isinstance(operator, GaussNewtonOperator) else _compare_gradients
    failure: Exception | None = None
    for batch in batches:
        verdict, found, error = compare(operator, twin, batch, random)
        figures.update(found)
        if verdict == "passed":
            return
        failure = error if verdict == "failed" and failure is None else failure
    with preserved(twin.objective.model), differentiable(twin.objective.model):
        lowered = forward_downcasts(lambda: twin.objective.outputs(batches[0]))
    if failure is not None and not lowered:
        raise failure
    key = "output_difference" if isinstance(operator, GaussNewtonOperator) else "gradient_difference"
    reason = f"the forward pass works in {lowered}" if lowered else "the loss has kinks too dense for differences"
    figures[key] = f"not conclusive: {reason}"


def _compare_gradients(
    operator: "CurvatureOperator", twin: Subject, batch: Batch, random: np.random.Generator
) -> tuple[Verdict, dict[str, Any], Exception | None]:
    """Compare g'v with differences of the loss and Hv with differences of the gradient."""
    here = _gradient(twin, batch)
    direction = _directions(twin, here[1:], random)[:, 0]
    product = _products(operator, twin, batch, direction[:, None])[:, 0]
    measure = _cached(lambda step: _central(twin, direction, step, lambda: _gradient(twin, batch)))
    step = STEP * (twin.norm() or 1.0)
    slope = (here[1:] @ direction).reshape(1)
    gradient_norm = float(torch.linalg.vector_norm(here[1:]))
    first = _verdict(lambda h: measure(h)[:1], slope, step, noise=ROUNDING * float(here[0].abs()))
    second = _verdict(lambda h: measure(h)[1:], product, step, noise=ROUNDING * gradient_norm)
    figures = {"loss_difference": first[1], "gradient_difference": second[1]}
    name = type(twin.objective.model).__name__
    if first[0] == "failed":
        error = DerivativeError(
            f"the gradient of {name} is not the derivative of its loss: along one direction the loss changes at rate "
            f"{float(measure(step)[0]):.6g}, the gradient says {float(slope):.6g}. "
            + stop_gradient_cause(twin.objective.model, lambda: twin.objective.value(batch))
        )
        return "failed", figures, error
    if second[0] == "failed":
        residual = unflatten(measure(step)[1:] - product, twin.tensors)
        sizes = {n: float(torch.linalg.vector_norm(r)) for n, r in zip(twin.parameters, residual, strict=True)}
        worst = sorted(sizes, key=lambda n: -sizes[n])[:3]
        error = DerivativeError(
            f"PyTorch's second derivative of {name} is wrong: the product differs by {second[1]:.2g} (relative) from "
            f"differences of the gradient, most in {', '.join(worst)}. "
            + second_order_cause(twin.objective.model, lambda: twin.objective.value(batch))
        )
        return "failed", figures, error
    return ("passed" if first[0] == second[0] == "passed" else "unclear"), figures, None


def _compare_outputs(
    operator: "CurvatureOperator", twin: Subject, batch: Batch, random: np.random.Generator
) -> tuple[Verdict, dict[str, Any], Exception | None]:
    """Compare Jv with differences of the outputs, and the output Hessian with automatic differentiation."""
    objective, model = twin.objective, twin.objective.model
    direction = _directions(twin, _gradient(twin, batch)[1:], random)[:, 0]
    with preserved(model), differentiable(model), explained(objective, batch, "the check"):
        outputs = objective.outputs(batch)
        tangent = tangents(*linearized(outputs, twin.tensors), unflatten(direction, twin.tensors))
        outputs = outputs.detach()
        closed = objective.loss.hessian_product(outputs, batch.target, tangent)
        plain = DifferentiatedLoss(objective.loss.function, name=objective.loss.name)
        differentiated = plain.hessian_product(outputs, batch.target, tangent)

    def evaluate() -> Tensor:
        with preserved(model, random_state=False), differentiable(model), torch.no_grad():
            return objective.outputs(batch).flatten()

    scale = ROUNDING * float(torch.linalg.vector_norm(outputs))
    step = STEP * (twin.norm() or 1.0)
    measure = _cached(lambda h: _central(twin, direction, h, evaluate))
    verdict, error = _verdict(measure, tangent.flatten(), step, noise=scale)
    figures = {"output_difference": error, "output_hessian": _relative(closed, differentiated)}
    name = type(model).__name__
    if figures["output_hessian"] > SYMMETRY_TOLERANCE:
        raise DerivativeError(
            f"the output Hessian of the loss {objective.loss.name} differs by {figures['output_hessian']:.2g} "
            "(relative) from automatic differentiation; pass the loss as a plain callable to have it differentiated."
        )
    if verdict == "failed":
        cause = stop_gradient_cause(model, lambda: objective.outputs(batch))
        return (
            "failed",
            figures,
            DerivativeError(
                f"the Jacobian of {name} is not the derivative of its outputs: they differ by {error:.2g} (relative) from "
                f"differences of the outputs. {cause}"
            ),
        )
    return verdict, figures, None


def _check_symmetry(
    operator: "CurvatureOperator", subject: Subject, batch: Batch, directions: Tensor, figures: dict[str, Any]
) -> None:
    """Compare u'(Av) with v'(Au); for a loss convex in the outputs also v'Gv with 0."""
    products = _products(operator, subject, batch, directions)
    require_finite(products, f"the product of {operator.name} and a vector")
    gram = directions.T @ products
    norms = torch.linalg.vector_norm(products, dim=0)
    scale = float(norms.max())
    exact = products.dtype == torch.float64
    tolerance = SYMMETRY_TOLERANCE if exact else COARSE_SYMMETRY_TOLERANCE
    figures["symmetry"] = float((gram[0, 1] - gram[1, 0]).abs()) / (scale or 1.0)
    name = type(subject.objective.model).__name__
    if figures["symmetry"] > tolerance and scale > 1e4 * torch.finfo(products.dtype).tiny:
        raise NotSymmetricError(
            f"the {operator.name} of {name} is not symmetric: u'(Av) and v'(Au) differ by {figures['symmetry']:.2g} of "
            f"the product's norm (allowed {tolerance:.0e}). "
            + second_order_cause(subject.objective.model, lambda: subject.objective.value(batch))
        )
    if isinstance(operator, GaussNewtonOperator):
        figures["smallest_rayleigh_quotient"] = float(gram.diagonal().min())
        if figures["smallest_rayleigh_quotient"] < -tolerance * scale and subject.objective.loss.is_convex:
            raise DerivativeError(
                f"the Gauss-Newton matrix of {name} is not positive semidefinite (v'Gv = "
                f"{figures['smallest_rayleigh_quotient']:.3g}) although the loss is convex in the outputs."
            )


def _products(operator: "CurvatureOperator", subject: Subject, batch: Batch, columns: Tensor) -> Tensor:
    model = subject.objective.model
    with preserved(model), differentiable(model), explained(subject.objective, batch, "the check"):
        return operator.batch_products(subject.objective, subject.tensors, batch, columns)[1]


def _directions(subject: Subject, gradient: Tensor | None, random: np.random.Generator) -> Tensor:
    """Return two unit vectors (n, 2), each half gradient and half random."""
    columns = []
    for _ in range(2):
        column = flatten([_normal(p, random) for p in subject.tensors])
        column = column / torch.linalg.vector_norm(column)
        if gradient is not None and float(torch.linalg.vector_norm(gradient)) > 0:
            column = column + gradient / torch.linalg.vector_norm(gradient)
        columns.append(column / torch.linalg.vector_norm(column))
    return torch.stack(columns, dim=1)


def _central(subject: Subject, direction: Tensor, step: float, evaluate: Callable[[], Tensor]) -> Tensor:
    """Return (f(theta + step v) - f(theta - step v)) / (2 step) on a copy, which is put back."""
    pieces = unflatten(direction, subject.tensors)
    origin = [p.detach().clone() for p in subject.tensors]
    values = []
    try:
        for sign in (step, -step):
            with torch.no_grad():
                for p, start, piece in zip(subject.tensors, origin, pieces, strict=True):
                    p.copy_(start + sign * piece)
            values.append(evaluate())
    finally:
        with torch.no_grad():
            for p, start in zip(subject.tensors, origin, strict=True):
                p.copy_(start)
    return (values[0] - values[1]) / (2 * step)


def _verdict(
    measure: Callable[[float], Tensor], expected: Tensor, step: float, *, noise: float
) -> tuple[Verdict, float]:
    """Compare differences with what they should be; a failure needs two steps that agree with each other."""
    coarse = measure(step)
    if _agrees(coarse, expected, noise / step):
        return "passed", _relative(coarse, expected)
    fine = measure(step / 8)
    if _agrees(fine, expected, 8 * noise / step):
        return "passed", _relative(fine, expected)
    apart = float(torch.linalg.vector_norm(coarse - fine))
    mismatch = float(torch.linalg.vector_norm(coarse - expected))
    consistent = apart <= 0.1 * mismatch + 9 * noise / step
    return ("failed" if consistent else "unclear"), _relative(coarse, expected)


def _agrees(measured: Tensor, expected: Tensor, noise: float) -> bool:
    difference = float(torch.linalg.vector_norm(measured - expected))
    return difference <= TOLERANCE * float(torch.linalg.vector_norm(expected)) + noise


def _relative(measured: Tensor, expected: Tensor) -> float:
    scale = max(float(torch.linalg.vector_norm(measured)), float(torch.linalg.vector_norm(expected)))
    return float(torch.linalg.vector_norm(measured - expected)) / (scale or 1.0)


def _normal(like: Tensor, random: np.random.Generator) -> Tensor:
    """Return standard normal numbers of a tensor's shape, drawn on the host."""
    return torch.from_numpy(random.standard_normal(tuple(like.shape))).to(like)


def _cached(measure: Callable[[float], Tensor]) -> Callable[[float], Tensor]:
    known: dict[float, Tensor] = {}

    def look_up(step: float) -> Tensor:
        if step not in known:
            known[step] = measure(step)
        return known[step]

    return look_up
