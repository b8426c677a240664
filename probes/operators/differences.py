"""Central differences of a small batch's loss, gradient and outputs, and what they say about a product.

A network of ReLUs has kinks, where differences are far from the derivative; they are met by chance. So a mismatch
counts as a failure only when differences with two steps agree with each other, and is otherwise "unclear".
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from probes.batches import Batch
from probes.losses import DifferentiatedLoss
from probes.objective import Objective, Quantity
from probes.operators.causes import (
    custom_functions,
    forward_downcasts,
    second_order_cause,
    stop_gradient_cause,
)
from probes.operators.explanations import explained, require_finite_loss
from probes.operators.linearization import kept_graph
from probes.operators.pieces import Piece
from probes.parameters import flatten, unflatten
from probes.state import differentiable, preserved
from spectra.errors import DerivativeError, TaskError

if TYPE_CHECKING:
    from probes.operators.base import CurvatureOperator

__all__ = [
    "JITTER",
    "STEP",
    "Subject",
    "compare_with_differences",
    "directions",
    "evaluate_gradient",
    "evaluate_products",
    "random_like",
]

#: Step of differences, relative to the norm of the parameters. At 1e-7 of a unit vector a ReLU ResNet-20 in float64 is
#: right to 3e-8; from 1e-5 up it is 700 times off, by kinks.
STEP = 1e-8
#: Relative distance of the point at which the copy is measured.
JITTER = 1e-3
#: Relative error at which a difference passes; sound networks are at 1e-9 .. 1e-7.
TOLERANCE = 1e-5
#: Rounding of a float64 evaluation relative to its value, for deep sums.
ROUNDING = 100 * 2.0**-52

Verdict = Literal["passed", "failed", "unclear"]
Error = DerivativeError | None
Known = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Subject:
    """What is checked: an objective and the parameters that count, live or copied."""

    objective: Objective
    parameters: dict[str, nn.Parameter]

    @property
    def tensors(self) -> list[nn.Parameter]:
        """The parameters in order."""
        return list(self.parameters.values())

    def piece(self, batch: Batch) -> Piece:
        """Return a batch as a function of the parameters."""
        return Piece(self.objective, tuple(self.parameters), tuple(self.tensors), batch)

    def norm(self) -> float:
        """Return the norm of the flat parameter vector."""
        return math.sqrt(math.fsum(float(p.detach().double().square().sum()) for p in self.tensors))


def evaluate_gradient(subject: Subject, batch: Batch) -> Tensor:
    """Return loss and gradient of a batch as one vector, (1 + n,)."""
    model = subject.objective.model
    with (
        preserved(model, random_state=False),
        differentiable(model),
        explained(subject.objective, batch, "the check"),
    ):
        value = require_finite_loss(subject.objective.value(batch), "of the first samples", batch)
        pieces = torch.autograd.grad(value, subject.tensors, allow_unused=True)
    filled = [torch.zeros_like(p) if g is None else g.detach() for g, p in zip(pieces, subject.tensors, strict=True)]
    return torch.cat([value.detach().reshape(1), flatten(filled)])


def evaluate_products(
    operator: "CurvatureOperator", subject: Subject, batch: Batch, columns: Tensor, *, strategy: str | None = None
) -> Tensor:
    """Return the products of one batch's matrix with columns, (n, k); in the safest way unless one is named."""
    model = subject.objective.model
    with preserved(model), differentiable(model), explained(subject.objective, batch, "the check"):
        return operator.build(subject.piece(batch), strategy or operator.ladder.single).multiply(columns)


def directions(subject: Subject, gradient: Tensor | None, random: np.random.Generator) -> Tensor:
    """Return two unit vectors (n, 2), each half gradient and half random."""
    columns = []
    for _ in range(2):
        column = flatten([random_like(p, random) for p in subject.tensors])
        column = column / torch.linalg.vector_norm(column)
        if gradient is not None and float(torch.linalg.vector_norm(gradient)) > 0:
            # The sign keeps the two halves from canceling, as they would with a single parameter.
            sign = -1.0 if float(column @ gradient) < 0 else 1.0
            column = sign * column + gradient / torch.linalg.vector_norm(gradient)
        columns.append(column / torch.linalg.vector_norm(column))
    return torch.stack(columns, dim=1)


def compare_with_differences(
    operator: "CurvatureOperator",
    twin: Subject,
    batches: Sequence[Batch],
    random: np.random.Generator,
    known: Known,
    figures: dict[str, Any],
) -> None:
    """Compare with central differences; another vector and other samples if that is unclear (kinks) or fails.

    Parameters
    ----------
    operator : CurvatureOperator
        Says which product is meant.
    twin : Subject
        A float64 copy, which is moved and put back.
    batches : sequence of Batch
        Tried in order until one passes.
    random : numpy.random.Generator
        For the vectors of further attempts.
    known : tuple
        Gradient (with the loss in front), vectors and products on the first batch.
    figures : dict
        Receives the relative errors.

    Raises
    ------
    DerivativeError
        No attempt passes, and in one of them the differences agree with each other but not with the derivative.
    """
    compare = _compare_gradients if operator.quantity == "loss" else functools.partial(_compare_mapping, operator)
    failure: DerivativeError | None = None
    for number, batch in enumerate(batches):
        if number:
            gradient = evaluate_gradient(twin, batch)
            vectors = directions(twin, gradient[1:], random)
            known = gradient, vectors, evaluate_products(operator, twin, batch, vectors)
        verdict, found, error = compare(twin, batch, known)
        if verdict == "passed":
            figures.update(found)
            return
        figures.update(found if not number else {})
        failure = failure or error
    with preserved(twin.objective.model), differentiable(twin.objective.model):
        lowered = forward_downcasts(lambda: twin.objective.evaluate(batches[0]))
    if failure is not None and not lowered:
        raise failure
    reason = f"the forward pass works in {lowered}" if lowered else "kinks are too dense"
    figures["differences"] = f"settle nothing: {reason}"


def _compare_gradients(twin: Subject, batch: Batch, known: Known) -> tuple[Verdict, dict[str, Any], Error]:
    """Compare g'v with differences of the loss and Hv with differences of the gradient."""
    here, vectors, products = known
    gradient, direction, product = here[1:], vectors[:, 0], products[:, 0]
    measure = _cached(lambda step: _central(twin, direction, step, lambda: evaluate_gradient(twin, batch)))
    step = STEP * (twin.norm() or 1.0)
    slope = (gradient @ direction).reshape(1)
    first = _verdict(lambda h: measure(h)[:1], slope, step, noise=ROUNDING * float(here[0].abs()))
    norm = float(torch.linalg.vector_norm(gradient))
    second = _verdict(lambda h: measure(h)[1:], product, step, noise=ROUNDING * norm)
    figures: dict[str, Any] = {"loss_difference": first[1], "gradient_difference": second[1]}
    name, error = type(twin.objective.model).__name__, None
    if "failed" in (first[0], second[0]):
        figures["custom_functions"] = custom_functions(twin.objective.model, lambda: twin.objective.value(batch))
    if first[0] == "failed":
        error = DerivativeError(
            f"the gradient of {name} is not the derivative of its loss: along one direction the loss changes at rate "
            f"{float(measure(step)[0]):.6g}, the gradient says {float(slope):.6g}. "
            + stop_gradient_cause(twin.objective.model, figures["custom_functions"])
        )
    elif second[0] == "failed":
        residual = unflatten(measure(step)[1:] - product, twin.tensors)
        sizes = {n: float(torch.linalg.vector_norm(r)) for n, r in zip(twin.parameters, residual, strict=True)}
        error = DerivativeError(
            f"PyTorch's second derivative of {name} is wrong: the product differs by {second[1]:.2g} (relative) from "
            f"differences of the gradient, most in {', '.join(sorted(sizes, key=lambda n: -sizes[n])[:3])}. "
            + second_order_cause(twin.objective.model, figures["custom_functions"])
        )
    verdict: Verdict = "passed" if first[0] == second[0] == "passed" else "failed" if error else "unclear"
    return verdict, figures, error


def _compare_mapping(
    operator: "CurvatureOperator", twin: Subject, batch: Batch, known: Known
) -> tuple[Verdict, dict[str, Any], Error]:
    """Compare Jv with differences of outputs or losses, and an output Hessian with automatic differentiation."""
    objective, model, quantity = twin.objective, twin.objective.model, operator.quantity
    direction = known[1][:, 0]
    with preserved(model), differentiable(model), explained(objective, batch, "the check"):
        linear = kept_graph(twin.piece(batch), quantity)
        tangent = linear.push(direction[:, None])[0]
    figures: dict[str, Any] = {}
    if quantity == "outputs":
        figures["output_hessian"] = _check_output_hessian(objective, batch, linear.outputs, tangent)

    def evaluate() -> Tensor:
        with preserved(model, random_state=False), differentiable(model), torch.no_grad():
            return twin.piece(batch).evaluate(quantity, connected=False, rewriting="none").flatten()

    noise = ROUNDING * float(torch.linalg.vector_norm(linear.outputs))
    measure = _cached(lambda h: _central(twin, direction, h, evaluate))
    verdict, mismatch = _verdict(measure, tangent.flatten(), STEP * (twin.norm() or 1.0), noise=noise)
    figures["output_difference"] = mismatch
    if verdict != "failed":
        return verdict, figures, None
    figures["custom_functions"] = custom_functions(model, lambda: objective.outputs(batch))
    return (
        verdict,
        figures,
        DerivativeError(
            f"the Jacobian of {type(model).__name__} is not the derivative of its {_SAID[quantity]}: they differ by "
            f"{mismatch:.2g} (relative) from differences of them. "
            + stop_gradient_cause(model, figures["custom_functions"])
        ),
    )


_SAID: dict[Quantity, str] = {"outputs": "outputs", "sample_values": "samples' losses", "loss": "loss"}


def _check_output_hessian(objective: Objective, batch: Batch, outputs: Tensor, tangent: Tensor) -> float:
    """Compare the loss's own formula with automatic differentiation; return the relative error."""
    plain = DifferentiatedLoss(objective.loss.function, name=objective.loss.name, reduction=objective.reduction)
    with torch.enable_grad():
        closed = objective.loss.hessian_product(outputs, batch.target, tangent)
        differentiated = plain.hessian_product(outputs, batch.target, tangent)
    error = _relative(closed, differentiated)
    if error > 1e-8:
        raise DerivativeError(
            f"the output Hessian of the loss {objective.loss.name} differs by {error:.2g} "
            "(relative) from automatic differentiation; pass the loss as a plain callable to have it differentiated."
        )
    if not bool(closed.any()) and bool(tangent.any()):
        raise TaskError(
            f"the loss {objective.loss.name} is linear in the outputs of {type(objective.model).__name__}, so its "
            "Gauss-Newton matrix is zero. Give the loss what comes before the last nonlinearity: logits with "
            "nn.CrossEntropyLoss instead of log-probabilities with nn.NLLLoss."
        )
    return error


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


def random_like(like: Tensor, random: np.random.Generator) -> Tensor:
    """Return standard normal numbers of a tensor's shape, drawn on the host."""
    return torch.from_numpy(random.standard_normal(tuple(like.shape))).to(like)


def _cached(measure: Callable[[float], Tensor]) -> Callable[[float], Tensor]:
    known: dict[float, Tensor] = {}

    def look_up(step: float) -> Tensor:
        if step not in known:
            known[step] = measure(step)
        return known[step]

    return look_up
