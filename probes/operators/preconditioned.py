r"""Curvature as a preconditioned method sees it: :math:`P^{-1/2} A P^{-1/2}`, symmetric, with P positive definite."""

from abc import ABC, abstractmethod
from typing import Any, final

import torch
from torch import Tensor

from spectra import Operator, as_operator
from spectra.errors import ArgumentError, BackendError, ShapeError

__all__ = ["DiagonalPreconditioner", "Preconditioner", "preconditioned", "require_columns"]


class Preconditioner(ABC):
    """A symmetric positive definite matrix P of order n, known by its powers times columns.

    The step of a preconditioned method is ``-learning_rate * P^-1 gradient``.

    Attributes
    ----------
    like : torch.Tensor, shape (n,)
        A template: dtype, device and length of a vector.
    name : str
        For messages and records.
    """

    like: Tensor
    name: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, ``(n, n)``."""
        return (self.like.shape[0], self.like.shape[0])

    @abstractmethod
    def power(self, vectors: Tensor, exponent: float) -> Tensor:
        r"""Return :math:`P^t V` for a real exponent t, of the shape of V: (n,) or (n, k).

        Raises
        ------
        ShapeError, BackendError
            Wrong shape, dtype, device or array library.
        """

    def sqrt(self, vectors: Tensor) -> Tensor:
        """Return ``P^1/2 V``."""
        return self.power(vectors, 0.5)

    def inverse_sqrt(self, vectors: Tensor) -> Tensor:
        """Return ``P^-1/2 V``."""
        return self.power(vectors, -0.5)

    def solve(self, vectors: Tensor) -> Tensor:
        """Return ``P^-1 V``."""
        return self.power(vectors, -1.0)

    def multiply(self, vectors: Tensor) -> Tensor:
        """Return ``P V``."""
        return self.power(vectors, 1.0)

    def __repr__(self) -> str:
        """Return class, name, order and dtype."""
        return f"<{type(self).__name__} {self.name!r}: {self.shape[0]} x {self.shape[0]}, {self.like.dtype}>"


@final
class DiagonalPreconditioner(Preconditioner):
    """``P = diag(d)``.

    Parameters
    ----------
    diagonal : torch.Tensor, shape (n,)
        d, positive and finite; copied. Its dtype and device are those of the vectors.
    name : str
        For messages and records.

    Raises
    ------
    ShapeError, BackendError
        The diagonal is not one vector of float32 or float64 numbers.
    ArgumentError
        An entry is not positive and finite.

    Examples
    --------
    >>> import torch
    >>> P = DiagonalPreconditioner(torch.tensor([1.0, 4.0]))
    >>> P.inverse_sqrt(torch.ones(2))
    tensor([1.0000, 0.5000])
    """

    def __init__(self, diagonal: Tensor, *, name: str = "diagonal") -> None:
        if not isinstance(diagonal, Tensor) or diagonal.dtype not in (torch.float32, torch.float64):
            came = diagonal.dtype if isinstance(diagonal, Tensor) else type(diagonal).__name__
            raise BackendError(f"the diagonal must be a torch tensor of float32 or float64; got {came}.")
        if diagonal.ndim != 1 or not diagonal.numel():
            raise ShapeError(f"the diagonal must have shape (n,), n >= 1; got {tuple(diagonal.shape)}.")
        diagonal = diagonal.detach().clone()
        bad = int((~(torch.isfinite(diagonal) & (diagonal > 0))).sum())
        if bad:
            raise ArgumentError(
                f"the diagonal of a preconditioner must be positive and finite; {bad} of {diagonal.numel()} entries "
                "are not. Add a positive constant (eps, damping) to it."
            )
        self.diagonal = diagonal
        self.like = torch.zeros_like(diagonal)
        self.name = name

    def power(self, vectors: Tensor, exponent: float) -> Tensor:
        """Return ``diag(d)^t V``, by one multiplication for each entry."""
        columns = require_columns(self, vectors)
        return (self.diagonal.pow(exponent)[:, None] * columns).reshape(vectors.shape)


def preconditioned(operator: Any, preconditioner: Preconditioner, *, name: str | None = None) -> Operator:
    r"""Return :math:`P^{-1/2} A P^{-1/2}`, symmetric, with the eigenvalues of :math:`P^{-1} A`.

    Its largest eigenvalue decides up to which learning rate steps :math:`-\eta P^{-1} g` are stable: without momentum
    :math:`\eta < 2 / \lambda` (Cohen et al. 2022, arXiv 2207.14484, section 2). Its eigenvectors u belong to the
    directions :math:`P^{-1/2} u` of the parameters. The unit of P divides that of A.

    Parameters
    ----------
    operator : CurvatureOperator, Operator, or what `spectra.as_operator` accepts, shape (n, n)
        A, on torch tensors.
    preconditioner : Preconditioner
        P, of the same order, dtype and device.
    name : str, optional
        By default the names of both.

    Returns
    -------
    spectra.Operator
        One product costs one of A and two with ``P^-1/2``.

    Raises
    ------
    ShapeError, BackendError
        Orders, dtypes or devices differ.

    Examples
    --------
    >>> import torch
    >>> A = torch.tensor([[4.0, 2.0], [2.0, 4.0]])
    >>> preconditioned(A, DiagonalPreconditioner(torch.tensor([1.0, 4.0]))) @ torch.tensor([0.0, 1.0])
    tensor([1., 1.])
    """
    A = as_operator(operator)
    if not isinstance(preconditioner, Preconditioner):
        raise BackendError(
            f"a Preconditioner is required, got {type(preconditioner).__name__}; wrap a vector in "
            "DiagonalPreconditioner, read an optimizer with preconditioner_of."
        )
    if A.shape != preconditioner.shape:
        raise ShapeError(
            f"{A.name!r} has shape {A.shape} and {preconditioner!r} {preconditioner.shape}; build both for the same "
            "parameters."
        )
    A.require_like(preconditioner.like, what=f"the preconditioner of {A.name!r}")

    def product(block: Tensor) -> Tensor:
        return preconditioner.inverse_sqrt(A @ preconditioner.inverse_sqrt(block))

    return Operator(product, like=A.like, name=name or f"{A.name} preconditioned by {preconditioner.name}")


def require_columns(matrix: Any, vectors: Tensor) -> Tensor:
    """Return the operand of a matrix with ``.like`` and ``.name`` as detached columns (n, k), or raise.

    Raises
    ------
    ShapeError, BackendError
        Wrong shape, dtype, device or array library.
    """
    like = matrix.like
    if not isinstance(vectors, Tensor):
        raise BackendError(f"{matrix.name!r} multiplies torch tensors; got {type(vectors).__name__}.")
    n = like.shape[0]
    if vectors.ndim not in (1, 2) or vectors.shape[0] != n or (vectors.ndim == 2 and not vectors.shape[1]):
        raise ShapeError(f"{matrix.name!r} multiplies tensors (n,) or (n, k), n = {n}; got {tuple(vectors.shape)}.")
    if vectors.dtype != like.dtype or vectors.device != like.device:
        raise BackendError(
            f"{matrix.name!r} multiplies {like.dtype} on {like.device}; got {vectors.dtype} on {vectors.device}. "
            "Convert with x.to(matrix.like)."
        )
    return vectors.detach().reshape(n, -1)
