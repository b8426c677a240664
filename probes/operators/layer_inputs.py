"""Layers that multiply their input by a matrix, and their inputs as rows that this matrix multiplies."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["KroneckerLayer", "kronecker_layers"]


@dataclass(frozen=True, eq=False)
class KroneckerLayer:
    """A linear or convolutional layer, some of whose parameters are measured.

    Attributes
    ----------
    module : torch.nn.Linear or torch.nn.Conv2d
        Live.
    weight, bias : str or None
        Names of the measured parameters.
    """

    module: nn.Module
    weight: str | None
    bias: str | None

    @property
    def names(self) -> list[str]:
        """The parameters."""
        return [name for name in (self.weight, self.bias) if name is not None]

    def input_rows(self, inputs: Tensor) -> Tensor:
        """Return what the matrix of the layer multiplies, one row for each place, a last 1 for a bias: (M, d).

        Patches of a convolution are ordered like its weight: channel, row, column.
        """
        inputs = inputs.detach()
        if isinstance(self.module, nn.Conv2d):
            inputs = _patches(self.module, inputs)
        rows = inputs.reshape(-1, inputs.shape[-1])
        pieces = [rows] if self.weight is not None else []
        return torch.cat([*pieces, rows.new_ones(rows.shape[0], 1)] if self.bias is not None else pieces, dim=1)

    def gradient_rows(self, gradient: Tensor) -> Tensor:
        """Return the gradient by the outputs, one row for each place: (M, o)."""
        if isinstance(self.module, nn.Conv2d):
            gradient = gradient.movedim(-3, -1)
        return gradient.reshape(-1, gradient.shape[-1])


def kronecker_layers(model: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, KroneckerLayer]:
    """Return by path the layers with a matrix of their own: ``nn.Linear`` and ``nn.Conv2d`` without groups.

    Layers that compute otherwise (a subclass with its own ``forward``), or whose parameter another module owns as well
    (tied weights), are left out.

    Parameters
    ----------
    model : torch.nn.Module
        A module that is reached by several paths counts under its first one.
    parameters : mapping of str to torch.Tensor
        The measured ones, under their names in the model.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    >>> layers = kronecker_layers(model, dict(model.named_parameters()))
    >>> {path: layer.names for path, layer in layers.items()}
    {'0': ['0.weight', '0.bias']}
    """
    names = {id(p): name for name, p in parameters.items()}
    owners: dict[int, int] = {}
    for module in model.modules():
        for p in module._parameters.values():
            if p is not None:
                owners[id(p)] = owners.get(id(p), 0) + 1
    layers = {}
    for path, module in model.named_modules():
        if not _is_matrix(module):
            continue
        own = [module._parameters.get(kind) for kind in ("weight", "bias")]
        if any(p is not None and owners[id(p)] > 1 for p in own):
            continue
        weight, bias = (names.get(id(p)) if p is not None else None for p in own)
        if weight is not None or bias is not None:
            layers[path] = KroneckerLayer(module, weight, bias)
    return layers


def _is_matrix(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return type(module).forward is nn.Conv2d.forward and module.groups == 1
    return isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward


def _patches(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """Return the patches that the kernel multiplies, shape (N, places, d)."""
    images = images if images.ndim == 4 else images.unsqueeze(0)
    # The layer's own padding on all sides, whichever way it was asked for.
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(images, layer._reversed_padding_repeated_twice, mode=mode)
    columns = functional.unfold(padded, layer.kernel_size, dilation=layer.dilation, stride=layer.stride)
    return columns.transpose(1, 2)
