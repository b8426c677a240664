"""Products with the inverse of a damped empirical Fisher matrix, from gradients that are kept."""

from collections.abc import Iterable, Iterator
from typing import final

import torch
from torch import Tensor

from probes.operators.preconditioned import Preconditioner, require_columns
from spectra.arrays import finite_number
from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.start_vectors import as_count

__all__ = ["InverseEmpiricalFisher"]

#: Numbers turned into float64 at once; 64 MiB.
PIECE = 2**23


@final
class InverseEmpiricalFisher(Preconditioner):
    r"""Inverse of :math:`P = \lambda I + \frac1m \sum_i g_i g_i^T`, exact, by products with the m gradients.

    With the gradients as rows of G (Woodbury; Frantar, Kurtic and Alistarh 2021, arXiv 2107.03356, M-FAC),

    .. math:: P^{-1} v = \frac1\lambda \left( v - G^T (m \lambda I + G G^T)^{-1} G v \right).

    ``@`` multiplies by the inverse; as a :class:`probes.operators.preconditioned.Preconditioner` it has the other
    powers of P as well: with :math:`G G^T = U s U^T`, :math:`P^t = \lambda^t I + G^T U f(s) U^T G` and
    :math:`f(s) = ((\lambda + s / m)^t - \lambda^t) / s`.

    Parameters
    ----------
    gradients : torch.Tensor, shape (m, n), or iterable of torch.Tensor, shape (n,)
        Of samples, or of batches: ``operator.batch_gradients()``, in which each batch counts as one, whatever its size.
        For the empirical Fisher matrix of samples build the operator with ``micro_batch=1``. Copied.
    damping : float
        :math:`\lambda > 0`, in the unit of a squared gradient.
    window : int, optional
        Most gradients kept; when there are more the oldest is dropped. By default as many as are given. Needed for an
        iterable that is long, and for none at all, ``torch.empty(0, n)``, where P is :math:`\lambda I`.
    name : str
        For messages and records.

    Attributes
    ----------
    num_gradients : int
        m, the number of gradients kept now.
    window : int
        The largest m.

    Raises
    ------
    ArgumentError
        The damping is not positive, or there are no gradients and no window.
    ShapeError, BackendError
        A gradient is not like the first one.
    NonFiniteError
        A gradient is NaN or infinite.

    Notes
    -----
    Memory: ``window * n`` numbers on the device of the gradients, and ``window**2`` in float64. A new gradient costs m
    inner products, and ``m^3 / 3`` operations for the Cholesky factor of the Gram matrix at the next product; a product
    with k columns costs ``4 m n k``. Roots of P need the eigenvalues of the Gram matrix, ``10 m^3`` operations.

    Gradients are kept in their own dtype. All sums over them are in float64, piece by piece, because the result is a
    small difference along gradients with :math:`\|g\|^2 / m` far above :math:`\lambda`: rounding is multiplied by the
    condition number of P.

    Examples
    --------
    >>> import torch
    >>> inverse = InverseEmpiricalFisher(torch.tensor([[3.0, 0.0]]), damping=1.0)
    >>> inverse @ torch.ones(2)
    tensor([0.1000, 1.0000])
    >>> inverse.push(torch.tensor([0.0, 1.0]))
    >>> inverse @ torch.ones(2)
    tensor([1.0000, 0.5000])
    """

    def __init__(
        self,
        gradients: Tensor | Iterable[Tensor],
        *,
        damping: float,
        window: int | None = None,
        name: str = "empirical_fisher",
    ) -> None:
        self.damping = finite_number(damping, name="damping")
        if self.damping <= 0:
            raise ArgumentError(f"damping must be positive, in the unit of a squared gradient; got {damping}.")
        self.name = name
        window = None if window is None else as_count(window, name="window")
        if isinstance(gradients, Tensor):
            if gradients.ndim != 2:
                raise ShapeError(f"gradients must have shape (m, n); got {tuple(gradients.shape)}.")
            rows: Iterable[Tensor] = gradients
            first = gradients.new_empty(gradients.shape[1]) if not len(gradients) else gradients[0]
            window = window or len(gradients)
        else:
            rows = list(gradients) if window is None else gradients
            window = window or len(rows)  # type: ignore[arg-type]
            rows = iter(rows)
            first = next(rows, torch.empty(0))
            rows = _chained(first, rows)
        if window < 1 or not first.numel():
            raise ArgumentError(
                "at least one gradient is needed, or window= and an empty tensor (0, n) that says how long they are."
            )
        if first.dtype not in (torch.float32, torch.float64):
            raise BackendError(f"gradients must be float32 or float64; got {first.dtype}.")
        self.window = window
        self.like = torch.zeros_like(first.detach())
        self.num_gradients = 0
        self._next = 0
        self._rows = self.like.new_zeros(window, self.like.shape[0])
        self._gram = torch.zeros(window, window, dtype=torch.float64, device=self.like.device)
        self._factor: Tensor | None = None
        self._eigen: tuple[Tensor, Tensor] | None = None
        for row in rows:
            self.push(row)

    def push(self, gradient: Tensor) -> None:
        """Add a gradient of shape (n,), in place of the oldest one where the window is full; costs m inner products.

        Raises
        ------
        ShapeError, BackendError
            The gradient is not like the others.
        NonFiniteError
            It is NaN or infinite; nothing is changed then.
        """
        if isinstance(gradient, Tensor) and gradient.ndim != 1:
            raise ShapeError(f"a gradient must have shape ({self.like.shape[0]},); got {tuple(gradient.shape)}.")
        column = require_columns(self, gradient)
        if not bool(torch.isfinite(column).all()):
            bad = int((~torch.isfinite(column)).sum())
            raise NonFiniteError(f"a gradient pushed to {self.name!r} has {bad} entries that are NaN or infinite.")
        place = self._next
        self._rows[place] = column[:, 0]
        self.num_gradients = max(self.num_gradients, place + 1)
        self._next = (place + 1) % self.window
        products = _inner(self._rows[: self.num_gradients], column)[:, 0]
        self._gram[place, : self.num_gradients] = products
        self._gram[: self.num_gradients, place] = products
        self._factor = self._eigen = None

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """Return ``P^-1 V`` for V of shape (n,) or (n, k)."""
        return self.solve(vectors)

    def solve(self, vectors: Tensor) -> Tensor:
        """Return ``P^-1 V``, by a Cholesky factor of the Gram matrix."""
        columns = require_columns(self, vectors)
        m, rows = self.num_gradients, self._rows[: self.num_gradients]
        if not m:
            return (columns / self.damping).reshape(vectors.shape)
        if self._factor is None:
            shifted = self._gram[:m, :m] + m * self.damping * torch.eye(m, dtype=torch.float64, device=rows.device)
            self._factor = torch.linalg.cholesky(shifted)
        weights = torch.cholesky_solve(_inner(rows, columns), self._factor)
        return _combined(columns, rows, -weights / self.damping, 1 / self.damping).reshape(vectors.shape)

    def power(self, vectors: Tensor, exponent: float) -> Tensor:
        """Return ``P^t V``, by the eigenvalues of the Gram matrix."""
        columns = require_columns(self, vectors)
        m, rows = self.num_gradients, self._rows[: self.num_gradients]
        scale = self.damping**exponent
        if not m:
            return (scale * columns).reshape(vectors.shape)
        if self._eigen is None:
            values, basis = torch.linalg.eigh(self._gram[:m, :m])
            self._eigen = values.clamp(min=0), basis
        values, basis = self._eigen
        ratio = values / (m * self.damping)
        # f(s) is a difference of neighbors where s is small, with the limit t lambda^t / (m lambda).
        slope = torch.where(ratio > 0, torch.expm1(exponent * torch.log1p(ratio)) / ratio, float(exponent))
        slope = scale * slope / (m * self.damping)
        weights = basis @ (slope[:, None] * (basis.T @ _inner(rows, columns)))
        return _combined(columns, rows, weights, scale).reshape(vectors.shape)


def _pieces(rows: Tensor, columns: Tensor) -> Iterator[slice]:
    width = max(1, PIECE // max(rows.shape[0], columns.shape[1]))
    return (slice(begin, begin + width) for begin in range(0, rows.shape[1], width))


def _inner(rows: Tensor, columns: Tensor) -> Tensor:
    """Return ``G V`` in float64."""
    total = torch.zeros(rows.shape[0], columns.shape[1], dtype=torch.float64, device=rows.device)
    for piece in _pieces(rows, columns):
        total += rows[:, piece].double() @ columns[piece].double()
    return total


def _combined(columns: Tensor, rows: Tensor, weights: Tensor, scale: float) -> Tensor:
    """Return ``scale V + G' weights``, rounded once."""
    result = torch.empty_like(columns)
    for piece in _pieces(rows, columns):
        result[piece] = (scale * columns[piece].double() + rows[:, piece].T.double() @ weights).to(columns.dtype)
    return result


def _chained(first: Tensor, rest: Iterable[Tensor]) -> Iterable[Tensor]:
    """Put back the first entry of an iterable, if there was one."""
    if first.numel():
        yield first
        yield from rest
