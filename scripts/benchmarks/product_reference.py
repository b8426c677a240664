"""What products are held against, for `products`: exact ones in float64, and the units of time. Nothing to run."""

from collections.abc import Callable
from typing import Any

import torch
from product_peers import Product, joined, math_attention, single_input, split, trainable

from probes.losses import read_loss
from probes.objective import Objective


def reference(task: Any, matrix: str, block: Any, dtype: torch.dtype = torch.float64) -> Any:
    """Return the product with a block by double backward only, computed in a dtype, as float64 of shape (n, k)."""
    exact = Objective(task.model, read_loss(task.loss), task.output)
    if dtype == torch.float64:
        exact = exact.double()
    parameters = trainable(exact.model)
    total = torch.zeros(block.shape, dtype=torch.float64)
    weights = [exact.loss.weight(None, batch.target, batch.size) for batch in task.batches]
    with math_attention():
        for weight, batch in zip(weights, task.batches, strict=True):
            batch = batch.to(dtype=dtype)
            output = exact.outputs(batch)
            if matrix == "hessian":
                value = exact.loss.value(output, batch.target)
                pulled = torch.autograd.grad(value, parameters, create_graph=True)
            else:
                cut = output.detach().requires_grad_()
                (slope,) = torch.autograd.grad(exact.loss.value(cut, batch.target), cut, create_graph=True)
                dummy = torch.zeros_like(output, requires_grad=True)
                pulled = torch.autograd.grad(output, parameters, dummy, create_graph=True, materialize_grads=True)
            for column, vector in enumerate(block.to(dtype).T):
                pieces = [v.reshape(p.shape) for v, p in zip(_cut(vector, parameters), parameters, strict=True)]
                if matrix == "hessian":
                    found = _grad(pulled, parameters, pieces)
                else:
                    (forward,) = torch.autograd.grad(pulled, dummy, pieces, retain_graph=True)
                    (bent,) = torch.autograd.grad(slope, cut, forward, retain_graph=True)
                    found = _grad(output, parameters, bent)
                total[:, column] += weight / sum(weights) * torch.cat([piece.reshape(-1) for piece in found])
    return total


def _cut(vector: Any, parameters: list[Any]) -> Any:
    return vector.split([p.numel() for p in parameters])


def _grad(outputs: Any, parameters: list[Any], cotangents: Any) -> Any:
    return torch.autograd.grad(outputs, parameters, cotangents, retain_graph=True, materialize_grads=True)


def plain_products(task: Any, block: Any) -> tuple[list[Any], dict[str, Callable[[], Any]]]:
    """Return plain PyTorch's products, A first, and gradients, B first."""
    model, data = single_input(task)
    parameters = trainable(model)
    vector = split(block[:, 0], parameters)

    def slopes(x: Any, y: Any, **options: Any) -> Any:
        return torch.autograd.grad(task.loss(model(x), y), parameters, materialize_grads=True, **options)

    def rebuilt() -> Any:
        total = None
        with math_attention():
            for x, y in data:
                graph = slopes(x, y, create_graph=True)
                found = torch.autograd.grad(graph, parameters, vector, materialize_grads=True)
                total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
        return total

    def gradient() -> None:
        with math_attention():
            for x, y in data:
                slopes(x, y)

    def own_gradient() -> None:
        for x, y in data:
            slopes(x, y)

    def read(pieces: Any) -> Any:
        return joined(pieces) / len(data)

    a = Product(library="PyTorch", name="double backward (A)", matrix="hessian", columns=1, run=rebuilt, flat=read)
    return [a], {"gradient (B)": gradient, "gradient, default attention": own_gradient}
