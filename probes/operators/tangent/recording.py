"""Features of all layers on one batch: a forward pass that is watched, and backward passes to the layers' outputs."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from probes.operators.ladder import AGREEMENT
from probes.operators.tangent.features import Features
from probes.operators.tangent.rules import Layer, NoRule

__all__ = ["Recording", "combined", "unmapped_is_fine", "uses_of"]

#: Gradients of layers agree to so many units of rounding of the largest ones of all layers: sums of some thousands of
#: numbers that cancel.
ROUNDING = 64
#: Heads whose gradients go through the graph at once.
HEADS = 16


@dataclass(eq=False)
class _Call:
    layer: Layer
    inputs: Tensor
    version: int
    result: Tensor


@dataclass(eq=False)
class Recording:
    """One forward pass, and what it gave every layer.

    Parameters
    ----------
    layers : mapping of str to Layer
        Those to be watched.
    """

    layers: Mapping[str, Layer]
    calls: list[_Call] = field(default_factory=list)
    outputs: Tensor | None = None
    _is_on: bool = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the layers while the model runs; the hooks are gone afterwards, also after an error."""
        handles = []
        self._is_on = True
        try:
            for layer in self.layers.values():
                # First of all hooks, for one of the user's may replace the result.
                handles.append(layer.module.register_forward_hook(self._hook(layer), with_kwargs=True, prepend=True))
            yield
        finally:
            self._is_on = False
            for handle in handles:
                handle.remove()

    def _hook(self, layer: Layer) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Tensor | None:
            # Checkpointing runs layers again in the backward pass; and what records no graph needs no gradient.
            if not (self._is_on and isinstance(result, Tensor) and result.requires_grad):
                return None
            inputs = args[0] if args else kwargs["input"]
            self.calls.append(_Call(layer, inputs.detach(), inputs._version, result))
            # A copy goes on, so that an activation in place leaves this very tensor in the graph.
            return result.clone()

        return hook

    def problems(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, str]:
        """Say for each parameter of a watched layer whose use is not one call of the layer what it is instead.

        Those that the outputs do not depend on have no problem.
        """
        calls = Counter(call.layer.path for call in self.calls)
        uses = uses_of(outputs)
        found = {}
        for path, layer in self.layers.items():
            for name in layer.names:
                used = uses[id(parameters[name])]
                if calls[path] > 1:
                    found[name] = f"its module is called {calls[path]} times"
                elif used and not calls[path]:
                    found[name] = "it is used without calling its module"
                elif used > 1:
                    found[name] = "it is used outside of its module too"
        return found

    def outline(self, num_samples: int) -> dict[str, list[Features]]:
        """Return features of the right shapes for one head, without a backward pass: results stand for gradients.

        Raises
        ------
        NoRule
            The inputs of a layer do not have the structure that its rule needs.
        """
        return {
            call.layer.path: call.layer.features(call.inputs, call.result.detach()[None], num_samples)
            for call in self.calls
        }

    def features(self, outputs: Tensor, heads: Tensor, *, full: bool) -> dict[str, list[Features]]:
        """Return what each layer adds to the kernel of some combinations of the outputs.

        Parameters
        ----------
        outputs : torch.Tensor, shape (N, ...)
            Of the watched forward pass; each row a function of one sample.
        heads : torch.Tensor, shape (K, o)
            Cotangents of the outputs of one sample.
        full : bool
            Whether all pairs of heads are wanted, which decides in what form features are cheapest.

        Raises
        ------
        NoRule
            The inputs of a layer do not have the structure that its rule needs, or its rows do not belong to samples.

        Notes
        -----
        One more backward pass, of a random combination of the heads, gives every sample a factor of its own. The rows
        of a layer belong to the samples in their order if, and almost surely only if, their gradients have these
        factors, whatever the model does with the samples on the way.
        """
        n = len(outputs)
        results = [call.result for call in self.calls]
        weights, factors = _coefficients(len(heads), n)
        weights, factors = weights.to(outputs), factors.to(outputs)
        marked = combined(outputs, weights[None] @ heads) * factors.reshape(-1, *[1] * (outputs.ndim - 1))
        gradients = _backward(outputs, results, torch.cat([combined(outputs, heads), marked]))
        found: dict[str, list[Features]] = {}
        scales = [0.0 if gradient is None else float(gradient.abs().amax()) for gradient in gradients]
        noise = ROUNDING * torch.finfo(outputs.dtype).eps * max([*scales, 0.0])
        for call, gradient, scale in zip(self.calls, gradients, scales, strict=True):
            if call.inputs._version != call.version:
                raise NoRule(f"the inputs of {call.layer.path or 'the model'} are overwritten after use")
            if gradient is not None:
                # The layer's own complaint of axes comes first.
                parts = call.layer.features(call.inputs, gradient[:-1], n)
                expected = torch.tensordot(weights, gradient[:-1].reshape(len(heads), n, -1), 1) * factors[:, None]
                apart = float((expected - gradient[-1].reshape(n, -1)).abs().amax())
                # What is not finite is another question.
                if apart > AGREEMENT[outputs.dtype] * scale + noise:
                    raise NoRule(f"the rows of {call.layer.path or 'the model'} do not belong to the samples in order")
                found[call.layer.path] = [part.cheapest(full=full) for part in parts]
        return found


def _coefficients(heads: int, samples: int) -> tuple[Tensor, Tensor]:
    """Return random weights of the heads, and factors of the samples, no two of them close."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(heads, generator=generator, dtype=torch.float64)
    order = torch.randperm(samples, generator=generator)
    return weights, torch.linspace(-1, 1, samples + 1, dtype=torch.float64)[1:][order]


def combined(outputs: Tensor, heads: Tensor) -> Tensor:
    """Return cotangents for all samples, ``(K, *outputs.shape)``."""
    return heads.reshape(len(heads), 1, *outputs.shape[1:]).expand(-1, *outputs.shape)


@contextmanager
def unmapped_is_fine() -> Iterator[None]:
    """Keep PyTorch from warning of backward formulas that it maps by a loop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        yield


def uses_of(outputs: Tensor) -> Counter[int]:
    """Count how often a graph uses each leaf, by ``id``."""
    uses: Counter[int] = Counter()
    stack, seen = [outputs.grad_fn], {outputs.grad_fn}
    while stack:
        node = stack.pop()
        for parent, _ in () if node is None else node.next_functions:
            leaf = getattr(parent, "variable", None)
            if leaf is not None:
                uses[id(leaf)] += 1
            elif parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return uses


def _backward(outputs: Tensor, results: list[Tensor], cotangents: Tensor) -> list[Tensor | None]:
    """Return gradients by the results for each cotangent, (K, *result.shape); None where there is none."""
    try:
        blocks = [_batched(outputs, results, block) for block in cotangents.split(HEADS)]
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError):
        # Some backward formulas cannot be mapped over several cotangents.
        blocks = [_single(outputs, results, cotangent) for cotangent in cotangents]
    if len(blocks) == 1:
        return blocks[0]
    return [None if parts[0] is None else torch.cat(parts) for parts in zip(*blocks, strict=True)]


def _batched(outputs: Tensor, results: list[Tensor], cotangents: Tensor) -> list[Tensor | None]:
    with unmapped_is_fine():
        found = torch.autograd.grad(
            outputs, results, cotangents, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
    return list(found)


def _single(outputs: Tensor, results: list[Tensor], cotangent: Tensor) -> list[Tensor | None]:
    found = torch.autograd.grad(outputs, results, cotangent, retain_graph=True, allow_unused=True)
    return [None if gradient is None else gradient[None] for gradient in found]
