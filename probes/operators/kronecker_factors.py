"""Kronecker factors of the layers of a live model, from its inputs and backward passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Generator, Tensor, nn

from probes.batches import Batch
from probes.losses import ElementwiseLoss, Loss, LossLike
from probes.operators.explanations import require_finite
from probes.operators.kronecker import KroneckerFactors, LayerFactors
from probes.operators.layer_inputs import KroneckerLayer, kronecker_layers
from probes.operators.workload import Workload
from probes.parameters import ParameterSpec
from spectra.errors import ArgumentError, TaskError
from spectra.start_vectors import as_count, as_seed

__all__ = ["Kind", "kronecker_factors"]

#: Which Fisher matrix is approximated.
Kind = Literal["sampled", "exact", "empirical"]


def kronecker_factors(
    model: nn.Module,
    loss: LossLike,
    data: Any,
    *,
    kind: Kind = "sampled",
    num_draws: int = 1,
    rng: int | np.random.Generator = 0,
    parameters: ParameterSpec = None,
    output: Callable[[Any], Tensor] | None = None,
    micro_batch: int | None = None,
) -> KroneckerFactors:
    r"""Estimate :math:`A` and :math:`B` of every ``nn.Linear`` and ``nn.Conv2d`` of a model (Martens and Grosse 2015).

    With inputs :math:`\bar a` and gradients :math:`\delta` by the outputs of a layer, over all M places where it is
    applied (samples, times tokens or pixels) and D the denominator of the mean loss
    (for sums 1),

    .. math:: A = \frac1M \sum \bar a \bar a^T, \qquad B = \frac1D \sum \delta \delta^T,

    so that :math:`A \otimes B` has the unit and the size of the curvature of the mean loss. Gradients at different
    places are taken to be uncorrelated, patches of a convolution count as inputs (Grosse and Martens 2016,
    arXiv 1602.01407, section 3; "K-FAC-expand" of Eschenhagen et al. 2023, arXiv 2311.00636).

    Parameters
    ----------
    model, loss, data, parameters, output, micro_batch
        As for :class:`probes.operators.CurvatureOperator`; the model is left as it was found.
    kind : {"sampled", "exact", "empirical"}
        ``"sampled"``: :math:`\delta` for targets drawn from the model's own distribution, which is K-FAC's Fisher (type
        2, Monte Carlo; cross-entropy without class weights, squared errors, binary cross-entropy, ...); one backward
        pass for each draw. ``"exact"``: its expectation, the Gauss-Newton matrix, for any loss convex in the outputs;
        one backward pass for each output of a sample. ``"empirical"``: :math:`\delta` for the given targets, with the
        normalization of :class:`probes.operators.EmpiricalFisherOperator`; one backward pass.
    num_draws : int
        Targets drawn for each sample (and signs, see below); one, as in K-FAC.
    rng : int or numpy.random.Generator
        Of the drawn targets and signs.

    Returns
    -------
    KroneckerFactors
        For :class:`probes.operators.kronecker.KroneckerPreconditioner`.

    Raises
    ------
    ArgumentError
        An unknown kind, or num_draws below 1.
    TaskError
        The loss has no distribution to sample from, or no positive semidefinite output Hessian.
    NonFiniteError, DerivativeError
        As for products of a curvature operator.

    Notes
    -----
    **Other parameters** (norms, embeddings, grouped convolutions, weights that several modules share, layers whose
    weights are used without calling them) get the diagonal of the same Fisher matrix:
    :math:`E (\sum_n \epsilon_n J_n^T c_n)^2`, with independent signs or independently drawn targets, is a sum over
    samples without cross terms (the Gauss-Newton-Bartlett estimator of Liu et al. 2023, arXiv 2305.14342). It is
    unbiased, with a relative standard error of about ``sqrt(2 / (batches * num_draws))``: raise ``num_draws`` where
    such parameters matter.

    A row of the outputs must depend on its own sample only, as in a model in eval mode. A layer applied several times
    sums over its uses. Positions whose target is ignored count in A, and add nothing to B.

    One forward pass for each batch; ``d^2 + o^2`` float64 numbers a layer, and all patches of one convolution at once.

    Examples
    --------
    A layer with squared error, where inputs and gradients *are* independent, so that nothing is lost:

    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> x = torch.tensor([[1.0], [2.0], [3.0]])
    >>> layer = kronecker_factors(model, torch.nn.MSELoss(), (x, x), kind="exact").layers[""]
    >>> round(float(layer.input_covariance * layer.gradient_covariance), 4)
    9.3333
    """
    if kind not in get_args(Kind):
        raise ArgumentError(f"kind must be one of {', '.join(get_args(Kind))}; got {kind!r}.")
    num_draws, seed = as_count(num_draws, name="num_draws"), as_seed(rng)
    workload = Workload(model, loss, data, parameters=parameters, output=output, micro_batch=micro_batch)
    sums = _Sums(kronecker_layers(workload.model, workload.parameters), dict(workload.parameters))
    workload.follow()
    for index, batch in workload.counted():
        with workload.evaluating(index, batch), sums.recording():
            outputs = workload.objective.outputs(batch)
            sums.stop_recording()
            generator = Generator().manual_seed(int(np.random.default_rng([seed, index]).integers(2**62)))
            for _ in range(num_draws):
                for vector in _cotangents(workload.objective.loss, outputs, batch, kind=kind, generator=generator):
                    sums.add_gradients(outputs, vector, factor=_factor(workload, index, kind) / num_draws)
    return sums.factors(kind)


def _cotangents(loss: Loss, outputs: Tensor, batch: Batch, *, kind: Kind, generator: Generator) -> Iterator[Tensor]:
    """Yield vectors c of output space whose ``sum c c'`` is the wanted curvature of the batch's mean, in expectation.

    For the empirical kind it is ``sum_n c_n c_n'`` with the gradients of the mean by single rows.
    """
    z = outputs.detach()
    if z.ndim == 0 or (z.ndim == 1 and z.shape[0] != batch.size):
        raise TaskError(f"the outputs must have one row for each sample; got shape {tuple(z.shape)}.")
    if kind == "sampled":
        # Elementwise losses divide by the number of elements, the others by what counts a batch.
        divisor = float(z.numel()) if isinstance(loss, ElementwiseLoss) else loss.weight(z, batch.target, batch.size)
        scores = loss.draw_scores(z, batch.target, 1, generator)[0]
        yield scores if loss.reduction == "sum" else scores / divisor**0.5
        return
    signs = _signs(z, generator)
    if kind == "empirical":
        leaf = z.requires_grad_()
        (gradient,) = torch.autograd.grad(loss.value(leaf, batch.target), leaf)
        yield signs * gradient
        return
    for element in range(z[0].numel()):
        basis = torch.zeros_like(z)
        basis.reshape(z.shape[0], -1)[:, element] = 1
        yield loss.root_transposed_product(z, batch.target, signs * basis)


def _factor(workload: Workload, index: int, kind: Kind) -> float:
    """Return what turns squares of a batch's mean loss into a matrix of all data, see the empirical Fisher operator."""
    share = workload.share(index)
    if kind != "empirical" or workload.objective.reduction == "sum":
        return share
    return workload.batches.num_samples * share**2


def _signs(outputs: Tensor, generator: Generator) -> Tensor:
    """Draw a sign for every row of the outputs."""
    signs = 2.0 * torch.randint(2, (outputs.shape[0],), generator=generator) - 1.0
    return signs.to(outputs).reshape(-1, *[1] * (outputs.ndim - 1))


@dataclass(eq=False)
class _Sums:
    """What the passes have added up so far."""

    layers: dict[str, KroneckerLayer]
    parameters: dict[str, Tensor]
    inputs: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    diagonal: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    uses: list[tuple[str, Tensor]] = field(default_factory=list)
    is_recording: bool = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Watch the layers during a forward pass; hooks are gone afterwards."""
        handles = [
            layer.module.register_forward_hook(self._hook(path), with_kwargs=True)
            for path, layer in self.layers.items()
        ]
        self.uses, self.is_recording = [], True
        try:
            yield
        finally:
            self.uses, self.is_recording = [], False
            for handle in handles:
                handle.remove()

    def stop_recording(self) -> None:
        """Ignore what follows: activation checkpointing runs layers again in the backward pass."""
        self.is_recording = False

    def _hook(self, path: str) -> Callable[..., Tensor | None]:
        layer = self.layers[path]

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> Tensor | None:
            if not (self.is_recording and result.requires_grad):
                return None
            rows = layer.input_rows(args[0] if args else kwargs["input"])
            _add(self.inputs, path, (rows.T @ rows).double())
            self.counts[path] = self.counts.get(path, 0) + rows.shape[0]
            self.uses.append((path, result))
            # A copy goes on, so that an activation in place leaves this very tensor in the graph.
            return result.clone()

        return hook

    def add_gradients(self, outputs: Tensor, vector: Tensor, *, factor: float) -> None:
        """Add the squares of the gradients that one backward pass gives."""
        recorded = {path for path, _ in self.uses}
        covered = {name for path in recorded for name in self.layers[path].names}
        others = {name: p for name, p in self.parameters.items() if name not in covered}
        wanted = [result for _, result in self.uses] + list(others.values())
        found = torch.autograd.grad(outputs, wanted, vector, retain_graph=True, allow_unused=True)
        for (path, _), gradient in zip(self.uses, found[: len(self.uses)], strict=True):
            if gradient is not None:
                rows = self.layers[path].gradient_rows(gradient)
                _add(self.gradients, path, factor * (rows.T @ rows).double())
        for (name, _), gradient in zip(others.items(), found[len(self.uses) :], strict=True):
            if gradient is not None:
                _add(self.diagonal, name, factor * gradient.double().square())

    def factors(self, kind: str) -> KroneckerFactors:
        """Return the finished factors, on the device and in float64."""
        layers = {}
        for path, layer in self.layers.items():
            if path not in self.gradients:
                continue
            require_finite(self.inputs[path], f"the covariance of the inputs of layer {path!r}")
            require_finite(self.gradients[path], f"the covariance of the gradients of layer {path!r}")
            layers[path] = LayerFactors(
                weight=layer.weight,
                bias=layer.bias,
                input_covariance=self.inputs[path] / self.counts[path],
                gradient_covariance=self.gradients[path],
            )
        covered = {name for path in layers for name in self.layers[path].names}
        diagonal = {
            name: self.diagonal.get(name, torch.zeros_like(p.detach(), dtype=torch.float64))
            for name, p in self.parameters.items()
            if name not in covered
        }
        return KroneckerFactors(parameters=self.parameters, layers=layers, diagonal=diagonal, kind=kind)


def _add(sums: dict[str, Tensor], key: str, term: Tensor) -> None:
    sums[key] = sums[key] + term if key in sums else term
