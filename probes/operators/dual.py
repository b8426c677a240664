r"""The right small problem: the exact spectrum of :math:`A = B^T B` from the Gram matrix :math:`B B^T`.

A matrix :math:`\sum_n J_n^T L_n L_n^T J_n` has rank at most R, the number of outputs of all samples (of samples, for
the empirical Fisher matrix). With :math:`B = L^T J`, of shape (R, n), its nonzero eigenvalues are those of the R x R
Gram matrix, all of them, exactly. That takes R products with transposed Jacobians, R n numbers of memory and an
eigenvalue decomposition; where R is below the number of products that a spectrum would take otherwise, it is both
cheaper and exact (Dangel, Tatzel and Hennig 2022, section 3, for the Gauss-Newton matrix).
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from probes.operators.base import CurvatureOperator
from probes.operators.explanations import require_finite
from probes.operators.factored import FactoredOperator, Sandwich
from spectra.exact import exact_measure
from spectra.exact_survey import exact_survey

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "MAX_BYTES",
    "dual_eigenpairs",
    "dual_gram",
    "dual_is_cheaper",
    "dual_order",
    "dual_rows",
    "dual_spectrum",
    "dual_survey",
]

#: Memory for the rows of B.
MAX_BYTES = 1 << 31


def dual_order(operator: CurvatureOperator) -> int | None:
    """Return R, the order of the Gram matrix, or None where the matrix has no known real factor.

    Costs a forward pass.
    """
    if not (isinstance(operator, FactoredOperator) and operator.has_root):
        return None
    total = 0
    for index, batch in operator.workload.counted():
        with operator.workload.evaluating(index, batch), torch.no_grad():
            total += operator.workload.piece(batch, index).evaluate(operator.quantity, connected=False).numel()
    return total


def dual_is_cheaper(operator: CurvatureOperator, *, num_products: int, max_bytes: int = MAX_BYTES) -> bool:
    """Return whether the exact spectrum takes fewer products than the given number, and fits into memory.

    A row of B costs one product with a transposed Jacobian, about half a product with the matrix; the Gram matrix and
    its decomposition are charged with the other half.
    """
    order = dual_order(operator)
    return (
        order is not None
        and order <= num_products
        and order < operator.shape[0]
        and order * operator.shape[0] * operator.like.element_size() <= max_bytes
    )


def dual_rows(operator: FactoredOperator) -> Tensor:
    """Return B, shape (R, n), with ``A = B' B``.

    Raises
    ------
    ArgumentError
        The matrix has no known real factor.
    """
    parts = []
    operator.workload.follow()
    for index, batch in operator.workload.counted():
        with operator.workload.evaluating(index, batch):
            piece = operator.workload.piece(batch, index)
            built = operator.build_or_step_down(piece, _row_strategy(operator))
            assert isinstance(built, Sandwich)
            outputs = built.linearization.outputs
            root = operator.root(piece, outputs)
            scale = operator.share(index) ** 0.5
            identity = torch.eye(outputs.numel(), dtype=outputs.dtype, device=outputs.device)
            for block in identity.split(4 * operator.block_width):
                parts.append(scale * built.linearization.pull(root(block.reshape(-1, *outputs.shape))).T)
    operator.num_products += sum(len(part) for part in parts)
    rows = torch.cat(parts)
    require_finite(rows, f"the factor of {operator.name}")
    return rows


def dual_gram(operator: FactoredOperator) -> Tensor:
    """Return the Gram matrix ``B B'``, shape (R, R), in float64."""
    return _gram(dual_rows(operator))


def dual_spectrum(operator: FactoredOperator) -> "xr.Dataset":
    """Return the exact spectral measure of a matrix with a known factor: all n eigenvalues, no sampling error.

    Returns
    -------
    xarray.Dataset
        A spectral measure as of `spectra.slq`, with one probe, all nodes resolved; see `spectra.exact.exact_measure`.
        The n - R eigenvalues that the Gram matrix lacks are 0.

    Examples
    --------
    >>> import torch, probes, spectra
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> operator = probes.GaussNewtonOperator(torch.nn.Linear(2, 1, bias=False), torch.nn.MSELoss(), (x, x[:, :1]))
    >>> measure = dual_spectrum(operator)
    >>> measure["ritz_value"].values[0].round(5).tolist(), measure["multiplicity"].values.tolist()
    ([1.0, 4.0], [1, 1])
    """
    return exact_measure(**_spectrum(operator))


def dual_survey(operator: FactoredOperator, *, num_extremal: int = 5, **attrs: Any) -> "xr.DataTree":
    """Return what `spectra.survey` says of a matrix, exactly; see `dual_spectrum`.

    Parameters
    ----------
    operator : FactoredOperator
        With a known factor.
    num_extremal : int
        Eigenvalues listed at each end.
    **attrs
        Recorded at the root of the tree.
    """
    return exact_survey(**_spectrum(operator), num_extremal=num_extremal, positive_semidefinite=True, **attrs)


def dual_eigenpairs(operator: FactoredOperator, *, num: int) -> tuple[np.ndarray, Tensor]:
    """Return the largest eigenvalues, descending, and their unit eigenvectors as columns (n, num)."""
    rows = dual_rows(operator)
    values, vectors = torch.linalg.eigh(_gram(rows))
    values, vectors = values.flip(0)[:num], vectors.flip(1)[:, :num]
    columns = rows.T @ vectors.to(rows)
    return values.cpu().numpy(), columns / torch.linalg.vector_norm(columns, dim=0)


def _spectrum(operator: FactoredOperator) -> dict[str, Any]:
    """Return the eigenvalues of a matrix from those of its Gram matrix, as arguments of `exact_measure`."""
    before, n = operator.num_products, operator.shape[0]
    values = np.linalg.eigvalsh(dual_gram(operator).cpu().numpy())
    # What the rounding of the rows does to an eigenvalue.
    error = 8 * float(torch.finfo(operator.dtype).eps) * max(float(np.max(np.abs(values))), 0.0)
    values = np.sort(np.where(np.abs(values) <= error, 0.0, values))[::-1][:n]
    return {
        "eigenvalues": values,
        "num_zeros": n - len(values),
        "operator": operator.name,
        "num_matvecs": operator.num_products - before,
        "dtype": str(operator.dtype).removeprefix("torch."),
        "error": error,
    }


def _gram(rows: Tensor) -> Tensor:
    """Return ``B B'`` in float64, a few million numbers at a time."""
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    step = max(1, (1 << 23) // len(rows))
    for begin in range(0, rows.shape[1], step):
        block = rows[:, begin : begin + step].double()
        total += block @ block.T
    return total


def _row_strategy(operator: FactoredOperator) -> str:
    """Return a way that is fast for many cotangents and no tangents."""
    allowed = [name for name in ("vmap_forward", "kept_graph") if name not in operator.ladder.excluded]
    return operator.ladder.requested if operator.ladder.requested != "auto" else allowed[0]
