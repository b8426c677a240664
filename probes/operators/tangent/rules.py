"""For which layers the tangent kernel has a rule, and what the rule makes of their inputs and gradients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from probes.operators.tangent.features import Factors, Features, Rows

__all__ = ["Layer", "layers_with_rules"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
#: Classes with a rule; a subclass must not compute otherwise.
_RULED: tuple[type[nn.Module], ...] = (
    nn.Linear,
    *_CONVOLUTIONS,
    nn.Embedding,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


class NoRule(Exception):
    """The structure that a rule needs is not there."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer with a rule, some of whose parameters are measured.

    Attributes
    ----------
    path : str
        In the model.
    module : torch.nn.Module
        Live.
    weight, bias : str or None
        Names of the measured parameters.
    """

    path: str
    module: nn.Module
    weight: str | None
    bias: str | None

    @property
    def names(self) -> list[str]:
        """The parameters."""
        return [name for name in (self.weight, self.bias) if name is not None]

    def features(self, inputs: Tensor, gradients: Tensor, num_samples: int) -> list[Features]:
        """Return what the layer adds to the kernel.

        Parameters
        ----------
        inputs : torch.Tensor, shape (N, ...)
            Of the layer.
        gradients : torch.Tensor, shape (K, N, ...)
            By its outputs, for each of K heads.
        num_samples : int
            N; the first axis may hold several positions of each sample in a row.

        Raises
        ------
        NoRule
            The first axis does not count samples.
        """
        if isinstance(self.module, nn.Linear | nn.Embedding):
            return self._of_rows(inputs, gradients, num_samples)
        if inputs.shape[0] % num_samples or inputs.ndim < 2:
            raise NoRule(f"the inputs of {self.path or 'the model'} have no axis of samples")
        if isinstance(self.module, _CONVOLUTIONS):
            return self._of_patches(inputs, gradients, num_samples)
        return self._of_norm(inputs, gradients, num_samples)

    def _of_rows(self, inputs: Tensor, gradients: Tensor, n: int) -> list[Features]:
        """Layers that multiply rows by a matrix, or look rows up."""
        if inputs.numel() == 0 or inputs.ndim == 0 or inputs.shape[0] % n:
            raise NoRule(f"the inputs of {self.path or 'the model'} have no axis of samples")
        g = gradients.reshape(len(gradients), n, -1, 1, gradients.shape[-1])
        if isinstance(self.module, nn.Embedding):
            codes = inputs.reshape(n, -1)
            padding = self.module.padding_idx
            codes = codes if padding is None else codes.masked_fill(codes == padding, -1)
            return [Factors(codes, g, num_codes=self.module.num_embeddings)]
        return self._factors(inputs.reshape(n, -1, 1, inputs.shape[-1]), g)

    def _of_patches(self, inputs: Tensor, gradients: Tensor, n: int) -> list[Features]:
        """Convolutions, which multiply patches, group by group."""
        layer: Any = self.module
        patches = _patches(layer, inputs)  # (B, L, q, d)
        g = gradients.flatten(3).transpose(2, 3).unflatten(3, (layer.groups, -1))  # (K, B, L, q, p)
        patches = patches.reshape(n, -1, *patches.shape[2:])
        return self._factors(patches, g.reshape(len(g), n, -1, *g.shape[3:]))

    def _factors(self, inputs: Tensor, gradients: Tensor) -> list[Features]:
        if self.weight is None:
            return [Rows(gradients.sum(2).flatten(2).transpose(0, 1).contiguous())]
        return [Factors(inputs, gradients, bias=self.bias is not None)]

    def _of_norm(self, inputs: Tensor, gradients: Tensor, n: int) -> list[Features]:
        """Norms, whose gradients are those by their outputs, times their normalized inputs for the weight."""
        layer: Any = self.module
        shape = layer.weight.shape
        last = isinstance(layer, nn.LayerNorm | nn.RMSNorm)
        parts = []
        for name in (self.weight, self.bias):
            if name is None:
                continue
            g = gradients * _normalized(layer, inputs) if name == self.weight else gradients
            # (K, N, positions, affine parameters); channels come first where the norm is not over the last axes.
            g = g if last else g.movedim(2, -1)
            parts.append(g.reshape(len(g), n, -1, shape.numel()).sum(2))
        return [Rows(torch.cat(parts, dim=2).transpose(0, 1).contiguous())]


def layers_with_rules(model: nn.Module, parameters: Mapping[str, Tensor]) -> tuple[dict[str, Layer], dict[str, str]]:
    """Return by path the layers with a rule, and for each measured parameter of no such layer why.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.PReLU())
    >>> layers, reasons = layers_with_rules(model, dict(model.named_parameters()))
    >>> list(layers), reasons
    (['0'], {'1.weight': 'there is no rule for PReLU'})
    """
    names = {id(p): name for name, p in parameters.items()}
    owners: dict[int, int] = {}
    for module in model.modules():
        for p in module._parameters.values():
            if p is not None:
                owners[id(p)] = owners.get(id(p), 0) + 1
    layers: dict[str, Layer] = {}
    reasons: dict[str, str] = {}
    for path, module in model.named_modules():
        own = {kind: p for kind, p in module._parameters.items() if p is not None and id(p) in names}
        if not own:
            continue
        problem = _problem(module)
        if any(owners[id(p)] > 1 for p in own.values()):
            problem = "several modules share it (tied weights)"
        if problem:
            reasons.update((names[id(p)], problem) for p in own.values())
            continue
        weight, bias = (names[id(own[kind])] if kind in own else None for kind in ("weight", "bias"))
        layers[path] = Layer(path, module, weight, bias)
    return layers, reasons


def _problem(module: nn.Module) -> str:
    """Say why a module has no rule, or return an empty string."""
    kind = next((kind for kind in _RULED if isinstance(module, kind)), None)
    if kind is None:
        return f"there is no rule for {type(module).__name__}"
    if type(module).forward is not kind.forward or "forward" in vars(module):
        return f"there is no rule for {type(module).__name__}, which has a forward of its own"
    if not set(module._parameters) <= {"weight", "bias"}:
        return f"{type(module).__name__} has parameters beside weight and bias"
    if isinstance(module, nn.Embedding) and module.scale_grad_by_freq:
        return "its embedding scales gradients by frequencies (scale_grad_by_freq)"
    if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
        return "batch normalization uses the statistics of the batch"
    return ""


def _patches(layer: Any, images: Tensor) -> Tensor:
    """Return what the kernels of a convolution multiply, (B, places, groups, numbers), in any number of dimensions."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    cut = functional.pad(images, layer._reversed_padding_repeated_twice, mode=mode)
    axes = len(layer.kernel_size)
    for axis in range(axes):
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
        cut = cut.unfold(2 + axis, reach, layer.stride[axis])[..., :: layer.dilation[axis]]
    # (B, C, places..., kernel...) to (B, places, groups, C / groups * kernel)
    cut = cut.unflatten(1, (layer.groups, -1))
    places = range(3, 3 + axes)
    cut = cut.permute(0, *places, 1, 2, *range(3 + axes, 3 + 2 * axes))
    return cut.flatten(1, axes).flatten(3)


def _layer_norm(layer: Any, x: Tensor) -> Tensor:
    return functional.layer_norm(x, layer.normalized_shape, None, None, layer.eps)


def _rms_norm(layer: Any, x: Tensor) -> Tensor:
    return functional.rms_norm(x, layer.normalized_shape, None, layer.eps)


def _group_norm(layer: Any, x: Tensor) -> Tensor:
    return functional.group_norm(x, layer.num_groups, None, None, layer.eps)


def _batch_norm(layer: Any, x: Tensor) -> Tensor:
    return functional.batch_norm(x, layer.running_mean, layer.running_var, None, None, False, 0.0, layer.eps)


def _instance_norm(layer: Any, x: Tensor) -> Tensor:
    own = layer.training or not layer.track_running_stats
    mean, variance = (None, None) if own else (layer.running_mean, layer.running_var)
    return functional.instance_norm(x, mean, variance, None, None, own, 0.0, layer.eps)


_NORMS: tuple[tuple[Any, Callable[[Any, Tensor], Tensor]], ...] = (
    (nn.LayerNorm, _layer_norm),
    (nn.RMSNorm, _rms_norm),
    (nn.GroupNorm, _group_norm),
    (_InstanceNorm, _instance_norm),
    (_BatchNorm, _batch_norm),
)


def _normalized(layer: Any, inputs: Tensor) -> Tensor:
    """Return the inputs normalized, before weight and bias."""
    return next(rule for kind, rule in _NORMS if isinstance(layer, kind))(layer, inputs)
