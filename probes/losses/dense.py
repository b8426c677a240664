"""Output Hessians as small matrices, for losses that have no formula."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probes.batch import map_tensors, tensors_in
from probes.losses.base import Loss
from spectra.errors import NonFiniteError, TaskError

__all__ = ["SampleHessians", "sample_hessians", "smallest_output_curvature", "take_rows"]

#: Entries of output vectors multiplied at once; 32 MiB in float64.
CHUNK = 2**22


@dataclass(frozen=True)
class SampleHessians:
    """The diagonal blocks of an output Hessian.

    Attributes
    ----------
    hessians : Tensor, shape (N, M, M)
        float64, symmetric, on the host; M output elements for each sample.
    rounding : float
        Relative size below which an eigenvalue is rounding: M times the unit of the dtype that was differentiated in
        (the tolerance of ``numpy.linalg.matrix_rank``).
    """

    hessians: Tensor
    rounding: float


def sample_hessians(loss: Loss, output: Tensor, target: Any) -> SampleHessians:
    """Form the output Hessian of every sample with M products, each of which serves all samples at once.

    In float64 where the loss can be evaluated so, otherwise in the outputs' dtype.

    Raises
    ------
    TaskError
        The loss couples samples, so that there is more than these blocks.
    NonFiniteError
        An entry is NaN or infinite.
    """
    wide, output, target = _widened(loss, output, target)
    rows, size = output.shape[0], output[:1].numel()
    blocks = output.new_zeros(rows, size, size)
    basis = torch.eye(size, dtype=output.dtype, device=output.device)
    for part in torch.arange(size, device=output.device).split(max(1, CHUNK // max(1, output.numel()))):
        columns = basis[part].unsqueeze(1).expand(-1, rows, -1).reshape(-1, *output.shape)
        blocks[:, part] = wide.hessian_product(output, target, columns).reshape(-1, rows, size).transpose(0, 1)
    _require_finite(loss, blocks)
    # Signs that differ between samples show what the columns above, equal for all, would add up.
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(rows, size, generator=generator, dtype=torch.float64).to(output)
    expected = wide.hessian_product(output, target, vector.reshape(output.shape)).reshape(rows, size)
    found = torch.einsum("nij,nj->ni", blocks, vector)
    eps = torch.finfo(output.dtype).eps
    if float((found - expected).norm()) > eps**0.5 * float(found.norm() + expected.norm()):
        raise TaskError(
            f"the loss {loss.name} couples samples: its output Hessian has entries between different samples, so it "
            "cannot be factored sample by sample. Use GaussNewtonOperator itself, which needs no factor."
        )
    symmetric = (blocks + blocks.transpose(1, 2)) / 2
    return SampleHessians(symmetric.cpu().double(), size * eps)


def smallest_output_curvature(
    loss: Loss, output: Tensor, target: Any, *, max_rows: int = 8, max_size: int = 512
) -> float:
    r"""Return the smallest eigenvalue of the output Hessian of a few samples, over its largest modulus.

    :math:`\lambda_\min(S) / \max |\lambda(S)|` of the loss of the first rows alone, couplings between them included: a
    value below minus a few thousand units of rounding proves that S, and so the Gauss-Newton matrix, need not be
    positive semidefinite; 0 where S = 0.

    Parameters
    ----------
    loss : Loss
    output : Tensor
        First axis: samples.
    target : tensor, or tuple, list or mapping of tensors
    max_rows : int
        Samples taken, from the start; fewer where they exceed ``max_size``.
    max_size : int
        Largest matrix. Where a single sample has more outputs, the matrix is restricted to ``max_size`` of them, spread
        evenly; by Cauchy's interlacing a negative eigenvalue is still a proof, its absence says less.

    Returns
    -------
    float
        In [-1, 1]. Cost: ``max_size`` products with the output Hessian, no network.

    Raises
    ------
    TaskError
        Targets cannot be cut into rows.
    NonFiniteError
        An entry is NaN or infinite.

    Examples
    --------
    A sigmoid in front of the squared error is not convex where the error is large:

    >>> import torch
    >>> from probes.losses import read_loss
    >>> loss = read_loss(lambda z, y: ((torch.sigmoid(z) - y) ** 2).mean())
    >>> smallest_output_curvature(loss, torch.tensor([[3.0], [-3.0]]), torch.zeros(2, 1)) < 0
    True
    """
    rows = min(max_rows, output.shape[0], max(1, max_size // max(1, output[:1].numel())))
    if rows < output.shape[0]:
        target = take_rows(loss, output, target, slice(rows))
    wide, output, target = _widened(loss, output[:rows], target)
    count = output.numel()
    chosen = torch.linspace(0, count - 1, min(count, max_size), dtype=torch.float64).round().long().to(output.device)
    pieces = []
    for part in chosen.split(max(1, CHUNK // max(1, count))):
        columns = output.new_zeros(len(part), count)
        columns[torch.arange(len(part), device=output.device), part] = 1
        products = wide.hessian_product(output, target, columns.reshape(-1, *output.shape))
        pieces.append(products.reshape(len(part), count)[:, chosen])
    matrix = torch.cat(pieces).cpu().double()
    _require_finite(loss, matrix)
    eigenvalues = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    largest = float(eigenvalues.abs().max())
    return float(eigenvalues.min()) / largest if largest else 0.0


def take_rows(loss: Loss, output: Tensor, target: Any, rows: slice) -> Any:
    """Return the rows of all tensors of a target.

    Raises
    ------
    TaskError
        Some tensor does not have one row for each row of the outputs.
    """
    shapes = [tuple(leaf.shape) for leaf in tensors_in(target)]
    if any(not shape or shape[0] != output.shape[0] for shape in shapes):
        raise TaskError(
            f"the loss {loss.name} can be evaluated for single samples only when the first axis of every tensor of the "
            f"target counts the {output.shape[0]} rows of the outputs; their shapes are {shapes}."
        )
    return map_tensors(lambda tensor: tensor[rows], target)


def _widened(loss: Loss, output: Tensor, target: Any) -> tuple[Loss, Tensor, Any]:
    """Return loss, outputs and target in float64 if the loss can be evaluated so, else as they are."""
    output = output.detach()
    if output.device.type == "mps":
        return loss, output, target
    try:
        wide = loss.to(torch.float64)
        doubled = map_tensors(lambda t: t.double() if t.is_floating_point() else t, target)
        wide.hessian_product(output.double(), doubled, torch.zeros_like(output, dtype=torch.float64))
    except (TaskError, RuntimeError):
        return loss, output, target
    return wide, output.double(), doubled


def _require_finite(loss: Loss, matrix: Tensor) -> None:
    if not bool(torch.isfinite(matrix).all()):
        raise NonFiniteError(
            f"the output Hessian of the loss {loss.name} has entries that are NaN or infinite. Look at the outputs: "
            "square roots, logarithms and quotients have no second derivative at zero."
        )
