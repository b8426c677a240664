"""Losses that are not known by name, differentiated with the network left out."""

from typing import Any

import torch
from torch import Tensor

from probes.losses.base import Loss
from probes.losses.dense import sample_hessians, take_rows
from spectra.errors import TaskError

__all__ = ["DifferentiatedLoss"]


class DifferentiatedLoss(Loss):
    """Any loss: its output Hessian by differentiating twice, with the network left out (cost: two small passes)."""

    def sample_values(self, output: Tensor, target: Any) -> Tensor:
        """Return the loss of each row of outputs and targets, evaluated one after the other.

        Raises
        ------
        TaskError
            Targets cannot be cut into rows, or the losses of the rows do not make up the loss of the batch.
        """
        value = self.value(output.detach(), target)
        rows = range(output.shape[0]) if output.ndim else ()
        if not rows:
            raise TaskError(f"the loss {self.name} needs outputs with an axis of samples; got {tuple(output.shape)}.")
        pieces = [self.value(output[n : n + 1], take_rows(self, output, target, slice(n, n + 1))) for n in rows]
        samples = torch.stack(pieces)
        found = samples.detach()
        total = found.sum() / self.weight(output, target, len(rows))
        size = found.abs().sum() / self.weight(output, target, len(rows))
        # Rounding of a sum of N terms is at most N eps of their size, far below half the digits.
        if bool((total - value).abs() > torch.finfo(found.dtype).eps ** 0.5 * size):
            raise TaskError(
                f"the loss {self.name} couples samples: evaluated one by one they give {float(total):.6g}, together "
                f"{float(value):.6g}, so there are no gradients of single samples. For a mean over kept positions, "
                "use nn.CrossEntropyLoss(ignore_index=...) itself or reduction='sum'; a contrastive loss has none."
            )
        return samples

    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return the product by double backward through the loss alone; one graph serves all leading axes."""
        self._require_shape(output, vector)
        columns = vector.reshape(-1, *output.shape).unbind()
        if not columns:
            return torch.zeros_like(vector)
        with torch.enable_grad():
            try:
                leaf = output.detach().requires_grad_()
            except RuntimeError:
                # Inside torch.func.vmap there are no leaves, only its own transforms.
                gradient = torch.func.grad(lambda z: self.value(z, target))
                pull: Any = torch.func.vjp(gradient, output.detach())[1]
                return torch.stack([pull(column)[0] for column in columns]).reshape(vector.shape)
            value = self.value(leaf, target)
            if not value.requires_grad:
                return torch.zeros_like(vector)
            (first,) = torch.autograd.grad(value, leaf, create_graph=True, allow_unused=True)
            if first is None or not first.requires_grad:
                return torch.zeros_like(vector)
            products = [
                torch.autograd.grad(first, leaf, column, retain_graph=True, allow_unused=True)[0] for column in columns
            ]
        return torch.stack(
            [torch.zeros_like(c) if p is None else p for p, c in zip(products, columns, strict=True)]
        ).reshape(vector.shape)

    def root_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return L'u from an eigendecomposition of the Hessian of each sample; see :meth:`root_transposed_product`."""
        self._require_shape(output, vector)
        flat = vector.reshape(*vector.shape[: vector.ndim - output.ndim], output.shape[0], -1)
        return torch.einsum("nij,...ni->...nj", self._roots(output, target), flat).reshape(vector.shape)

    def root_transposed_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        r"""Return L w with :math:`L_n = Q_n \Lambda_n^{1/2}` from :math:`S_n = Q_n \Lambda_n Q_n^T` in float64.

        Forming the blocks takes one :meth:`hessian_product` for each output element of a sample, at every call: give
        all vectors at once.

        Raises
        ------
        TaskError
            The loss couples samples, or some eigenvalue is negative beyond rounding.
        """
        self._require_shape(output, vector)
        flat = vector.reshape(*vector.shape[: vector.ndim - output.ndim], output.shape[0], -1)
        return torch.einsum("nij,...nj->...ni", self._roots(output, target), flat).reshape(vector.shape)

    def _roots(self, output: Tensor, target: Any) -> Tensor:
        """Return L_n, shape (N, M, M), in the outputs' dtype."""
        blocks = sample_hessians(self, output, target)
        eigenvalues, vectors = torch.linalg.eigh(blocks.hessians)
        largest = float(eigenvalues.abs().max())
        smallest = float(eigenvalues.min())
        if smallest < -blocks.rounding * largest:
            raise TaskError(
                f"the output Hessian of the loss {self.name} is not positive semidefinite: it has the eigenvalue "
                f"{smallest:.3g}, its largest modulus is {largest:.3g}. It has no real factor L L'; use "
                "GaussNewtonOperator itself, which needs none."
            )
        return (vectors * eigenvalues.clamp(min=0).sqrt().unsqueeze(-2)).to(output)
