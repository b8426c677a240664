r"""What a layer adds to a tangent kernel: products of its samples' gradients, never more of them than needed.

For one output (head) k of sample i, a layer with inputs :math:`a_{it}` and gradients :math:`g_{kit}` by its outputs, at
positions t (tokens, pixels), has the gradient :math:`W_{ki} = \sum_t g_{kit} a_{it}^T` by its matrix, and

.. math:: \langle W_{ki}, W_{lj} \rangle = \sum_{t,s} (a_{it} \cdot a_{js}) \, (g_{kit} \cdot g_{ljs}).

Either side can be evaluated: *positions* (right; for a single position no gradient is ever formed) or *gradients*
(left). A bias adds 1 to the first factor.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BLOCK_BYTES", "Factors", "Features", "Rows", "cat"]

#: Temporary numbers of one pair of blocks of samples, in bytes: some tens of times a processor's cache.
BLOCK_BYTES = 1 << 26


@dataclass(frozen=True, eq=False)
class Rows:
    """Gradients of the samples by some parameters, formed.

    Attributes
    ----------
    gradients : torch.Tensor, shape (K, N, r)
        K heads, N samples, r parameters.
    """

    gradients: Tensor

    @property
    def num_samples(self) -> int:
        """N."""
        return self.gradients.shape[1]

    @property
    def num_bytes(self) -> int:
        """Memory."""
        return _size(self.gradients)

    def diagonal(self, other: "Rows") -> Tensor:
        """Return the sum over heads of the kernels of single heads, (N, M)."""
        mine, theirs = (x.gradients.transpose(0, 1).flatten(1) for x in (self, other))
        return mine @ theirs.T

    def full(self, other: "Rows") -> Tensor:
        """Return the kernel of all pairs of heads, (N, K, M, K)."""
        heads, n, width = self.gradients.shape
        mine, theirs = (x.gradients.transpose(0, 1).reshape(-1, width) for x in (self, other))
        return (mine @ theirs.T).reshape(n, heads, -1, heads)


@dataclass(frozen=True, eq=False)
class Factors:
    """Inputs of a layer and gradients by its outputs, whose products are the gradients.

    Attributes
    ----------
    inputs : torch.Tensor, shape (N, T, q, d), or (N, T) of integers
        q groups of channels do not mix (1 but for grouped convolutions). Integers are rows of a table; negative ones
        have no gradient.
    gradients : torch.Tensor, shape (K, N, T, q, p)
    bias : bool
        Whether a bias is measured along with the matrix.
    """

    inputs: Tensor
    gradients: Tensor
    bias: bool = False

    @property
    def num_samples(self) -> int:
        """N."""
        return self.inputs.shape[0]

    @property
    def num_bytes(self) -> int:
        """Memory."""
        return _size(self.inputs) + _size(self.gradients)

    @property
    def is_table(self) -> bool:
        """Whether inputs are rows of a table."""
        return not self.inputs.is_floating_point()

    def diagonal(self, other: "Factors") -> Tensor:
        """Return the sum over heads of the kernels of single heads, (N, M)."""
        return self._kernel(other, full=False)[:, 0, :, 0]

    def full(self, other: "Factors") -> Tensor:
        """Return the kernel of all pairs of heads, (N, K, M, K)."""
        return self._kernel(other, full=True)

    def prefers_positions(self, other: "Factors", *, full: bool) -> bool:
        """Whether pairs of positions cost fewer multiplications than gradients of samples."""
        heads, n, positions, _, p = self.gradients.shape
        m, there = other.num_samples, other.inputs.shape[1]
        # Rows of a table are compared, not multiplied; a gradient has one row for each that occurs.
        d = self.inputs.shape[-1] if not self.is_table else min(n * positions + m * there, self._num_codes(other))
        pairs = heads * heads if full else heads
        similarity = 1 if self.is_table else d
        by_positions = n * m * positions * there * (similarity + pairs * (p + 1))
        by_gradients = heads * (n * positions + m * there) * p * (1 if self.is_table else d) + n * m * pairs * p * d
        return by_positions <= by_gradients

    def _kernel(self, other: "Factors", *, full: bool) -> Tensor:
        heads = self.gradients.shape[0] if full else 1
        found = self.gradients.new_zeros(self.num_samples, heads, other.num_samples, heads)
        if not self.prefers_positions(other, full=full):
            self._add_gradients(other, found, full=full)
            return found
        # Blocks of samples, so that all pairs of positions of a block fit.
        positions = other.inputs[:, :, 0, 0].numel() if not self.is_table else other.inputs.numel()
        size = self.inputs.shape[1] * positions * (1 + heads * heads) * self.gradients.element_size()
        step = max(1, BLOCK_BYTES // size)
        for begin in range(0, self.num_samples, step):
            rows = slice(begin, begin + step)
            part = Factors(self.inputs[rows], self.gradients[:, rows], self.bias)
            for group in range(self.gradients.shape[3]):
                found[rows] += part._by_positions(other, group, full=full)
        return found

    def _by_positions(self, other: "Factors", group: int, *, full: bool) -> Tensor:
        """Return the sum over pairs of positions, for one group of channels."""
        (n, t), (m, s) = self.inputs.shape[:2], other.inputs.shape[:2]
        similarity = self._similarity(other, group)
        mine, theirs = (x.gradients[:, :, :, group] for x in (self, other))
        heads, p = mine.shape[0], mine.shape[-1]
        if not full:
            mine, theirs = (x.permute(1, 2, 0, 3).reshape(-1, heads * p) for x in (mine, theirs))
            pairs = mine @ theirs.T
            pairs *= similarity
            return pairs.reshape(n, t, m, s).sum((1, 3))[:, None, :, None]
        mine, theirs = (x.permute(1, 0, 2, 3).reshape(-1, p) for x in (mine, theirs))
        pairs = (mine @ theirs.T).reshape(n, heads, t, m, heads, s)
        pairs *= similarity.reshape(n, 1, t, m, 1, s)
        return pairs.sum((2, 5))

    def _similarity(self, other: "Factors", group: int) -> Tensor:
        """Return the products of the inputs, (N T, M S)."""
        if self.is_table:
            mine, theirs = self.inputs.reshape(-1, 1), other.inputs.reshape(1, -1)
            return ((mine == theirs) & (mine >= 0)).to(self.gradients)
        mine, theirs = (x.inputs[:, :, group].flatten(0, 1) for x in (self, other))
        found = mine @ theirs.T
        return found.add_(1.0) if self.bias else found

    def _add_gradients(self, other: "Factors", found: Tensor, *, full: bool) -> None:
        """Form the samples' gradients, some rows of the matrix at a time, and add their products."""
        p = self.gradients.shape[-1]
        codes = torch.unique(torch.cat([x.inputs.reshape(-1) for x in (self, other)])) if self.is_table else None
        row = self.gradients[..., 0].sum(2).numel() * (self.inputs.shape[-1] if codes is None else len(codes))
        step = max(1, BLOCK_BYTES // (row * self.gradients.element_size()))
        for begin in range(0, p, step):
            columns = slice(begin, begin + step)
            parts = [Rows(x._gradients(columns, codes)) for x in ((self, other) if other is not self else (self,))]
            found += parts[0].full(parts[-1]) if full else parts[0].diagonal(parts[-1])[:, None, :, None]
        if self.bias:
            parts = [Rows(x.gradients.sum(2).flatten(2)) for x in (self, other)]
            found += parts[0].full(parts[1]) if full else parts[0].diagonal(parts[1])[:, None, :, None]

    def _gradients(self, columns: slice, codes: Tensor | None) -> Tensor:
        """Return gradients by some rows of the matrix, (K, N, r)."""
        g = self.gradients[..., columns]
        if codes is None:
            # One product of matrices for each head, sample and group: (p, T) @ (T, d).
            return (g.permute(0, 1, 3, 4, 2) @ self.inputs.permute(0, 2, 1, 3)).flatten(2)
        heads, n, t, _, p = g.shape
        place = torch.searchsorted(codes, self.inputs)
        kept = g[:, :, :, 0] * (self.inputs >= 0).to(g)[:, :, None]
        sums = g.new_zeros(heads, n, len(codes), p)
        sums.scatter_add_(2, place[None, :, :, None].expand(heads, n, t, p), kept)
        return sums.flatten(2)

    def _num_codes(self, other: "Factors") -> int:
        return int(torch.unique(torch.cat([x.inputs.reshape(-1) for x in (self, other)])).numel())


Features = Rows | Factors


def cat(parts: "list[Features]") -> Features:
    """Join the samples of several batches."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    gradients = torch.cat([part.gradients for part in parts], dim=1)
    if isinstance(first, Rows):
        return Rows(gradients)
    return Factors(torch.cat([part.inputs for part in parts]), gradients, first.bias)  # type: ignore[union-attr]


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
