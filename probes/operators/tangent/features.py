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

__all__ = ["BLOCK_BYTES", "Factors", "Features", "Rows"]

#: Temporary numbers of one pair of blocks of samples, in bytes: some tens of times a processor's cache.
BLOCK_BYTES = 1 << 26
#: Going through the products of all pairs of positions costs as much as so many multiplications in a product of
#: matrices for each of them (measured on one core: 14 to 30, for 1 to 16 positions, in both precisions).
PASSES = 24
#: The gradient by a table is formed where that has at most so many times the rows that a sample reads.
TABLE = 8


@dataclass(frozen=True, eq=False)
class Rows:
    """Gradients of the samples by some parameters, formed.

    Attributes
    ----------
    gradients : torch.Tensor, shape (N, K, r)
        N samples, K heads, r parameters.
    """

    gradients: Tensor

    @property
    def num_samples(self) -> int:
        """N."""
        return self.gradients.shape[0]

    @property
    def num_bytes(self) -> int:
        """Memory."""
        return _size(self.gradients)

    @property
    def gradient_bytes(self) -> int:
        """Memory of gradients alone."""
        return _size(self.gradients)

    def diagonal(self, other: "Features") -> Tensor:
        """Return the sum over heads of the kernels of single heads, (N, M)."""
        return self.gradients.flatten(1) @ other.formed().gradients.flatten(1).T

    def full(self, other: "Features") -> Tensor:
        """Return the kernel of all pairs of heads, (N, K, M, K)."""
        n, heads, _ = self.gradients.shape
        found = self.gradients.flatten(0, 1) @ other.formed().gradients.flatten(0, 1).T
        return found.reshape(n, heads, -1, heads)

    def formed(self) -> "Rows":
        """Return itself."""
        return self

    def cheapest(self, *, full: bool) -> "Features":
        """Return itself."""
        return self

    def cost(self, heads: int, *, full: bool) -> tuple[int, int]:
        """Return for so many heads the multiplications of a pair of samples, and the bytes of a sample."""
        width = self.gradients.shape[2]
        return _pairs(heads, full=full) * width, heads * width * self.gradients.element_size()


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
    num_codes : int
        Rows of the table.
    """

    inputs: Tensor
    gradients: Tensor
    bias: bool = False
    num_codes: int = 0

    @property
    def num_samples(self) -> int:
        """N."""
        return self.inputs.shape[0]

    @property
    def num_bytes(self) -> int:
        """Memory."""
        return _size(self.inputs) + _size(self.gradients)

    @property
    def gradient_bytes(self) -> int:
        """Memory of gradients alone."""
        return _size(self.gradients)

    @property
    def is_table(self) -> bool:
        """Whether inputs are rows of a table."""
        return not self.inputs.is_floating_point()

    def diagonal(self, other: "Features") -> Tensor:
        """Return the sum over heads of the kernels of single heads, (N, M)."""
        if isinstance(other, Rows):
            return self.formed().diagonal(other)
        return self._kernel(other, full=False)[:, 0, :, 0]

    def full(self, other: "Features") -> Tensor:
        """Return the kernel of all pairs of heads, (N, K, M, K)."""
        return self.formed().full(other) if isinstance(other, Rows) else self._kernel(other, full=True)

    def cheapest(self, *, full: bool) -> "Features":
        """Return itself, or gradients, whatever makes pairs of samples cost fewer multiplications."""
        by_positions, by_gradients = self._costs(self.gradients.shape[0], full=full)
        return self if by_positions <= by_gradients else self.formed()

    def cost(self, heads: int, *, full: bool) -> tuple[int, int]:
        """Return for so many heads the multiplications of a pair of samples, and the bytes of a sample, at best."""
        by_positions, by_gradients = self._costs(heads, full=full)
        if by_gradients < by_positions:
            return by_gradients, heads * self._width() * self.gradients.element_size()
        held = _size(self.inputs) + heads * _size(self.gradients) // len(self.gradients)
        return by_positions, held // self.num_samples

    def formed(self) -> Rows:
        """Return the gradients by the matrix, and the bias."""
        heads, n, t, _, p = self.gradients.shape
        if self.is_table:
            kept = self.gradients[:, :, :, 0].transpose(0, 1) * (self.inputs >= 0).to(self.gradients)[:, None, :, None]
            sums = kept.new_zeros(n, heads, self.num_codes, p)
            place = self.inputs.clamp(min=0)[:, None, :, None].expand(n, heads, t, p)
            return Rows(sums.scatter_add_(2, place, kept).flatten(2))
        inputs = self.inputs.transpose(1, 2)
        if self.bias:
            inputs = torch.cat([inputs, inputs.new_ones(*inputs.shape[:-1], 1)], dim=-1)
        # One product of matrices for each sample and group: (K p, T) @ (T, d).
        found = self.gradients.permute(1, 3, 0, 4, 2).flatten(2, 3) @ inputs
        return Rows(found.unflatten(2, (heads, p)).transpose(1, 2).flatten(2))

    def _width(self) -> int:
        """Return the number of parameters."""
        groups, p = self.gradients.shape[3:]
        return groups * p * (self.num_codes if self.is_table else self.inputs.shape[-1] + self.bias)

    def _costs(self, heads: int, *, full: bool) -> tuple[int, int]:
        """Return multiplications for a pair of samples by positions, and by gradients."""
        groups, p = self.gradients.shape[3:]
        t, pairs = self.inputs.shape[1], _pairs(heads, full=full)
        products = pairs * p + PASSES * (pairs if full else 1)
        by_gradients = pairs * self._width()
        if self.is_table:
            return t * t * products, by_gradients if self.num_codes <= TABLE * t else t * t * products + 1
        return t * t * groups * (self.inputs.shape[-1] + products), by_gradients

    def _kernel(self, other: "Factors", *, full: bool) -> Tensor:
        heads = self.gradients.shape[0] if full else 1
        n, m = self.num_samples, other.num_samples
        found = self.gradients.new_zeros(n, heads, m, heads)
        # Blocks of samples on both sides, so that all pairs of positions of a block fit.
        pair = self.inputs.shape[1] * other.inputs.shape[1] * (1 + heads * heads) * self.gradients.element_size()
        high = max(1, min(n, BLOCK_BYTES // (pair * m)))
        wide = max(1, min(m, BLOCK_BYTES // (pair * high)))
        for begin in range(0, n, high):
            mine = self._part(slice(begin, begin + high))
            for start in range(0, m, wide):
                theirs = other._part(slice(start, start + wide))
                block = found[begin : begin + high, :, start : start + wide]
                for group in range(self.gradients.shape[3]):
                    block += mine._by_positions(theirs, group, full=full)
        return found

    def _part(self, samples: slice) -> "Factors":
        return Factors(self.inputs[samples], self.gradients[:, samples], self.bias, self.num_codes)

    def _by_positions(self, other: "Factors", group: int, *, full: bool) -> Tensor:
        """Return the sum over pairs of positions, for one group of channels."""
        (n, t), (m, s) = self.inputs.shape[:2], other.inputs.shape[:2]
        similarity = self._similarity(other, group)
        # Positions first and one sum after the other: torch sums two axes at once up to ten times as slowly.
        mine, theirs = (x.gradients[:, :, :, group].transpose(1, 2) for x in (self, other))  # (K, T, N, p)
        heads, p = mine.shape[0], mine.shape[-1]
        if not full:
            mine, theirs = (x.movedim(0, 2).reshape(-1, heads * p) for x in (mine, theirs))
            pairs = mine @ theirs.T
            pairs *= similarity
            found = pairs if t == s == 1 else pairs.reshape(t, n, s, m).sum(0).sum(1)
            return found[:, None, :, None]
        mine, theirs = (x.reshape(-1, p) for x in (mine, theirs))
        pairs = (mine @ theirs.T).reshape(heads, t, n, heads, s, m)
        pairs *= similarity.reshape(t, n, 1, s, m)
        return pairs.sum(1).sum(3).permute(1, 0, 3, 2)

    def _similarity(self, other: "Factors", group: int) -> Tensor:
        """Return the products of the inputs, (T N, S M)."""
        if self.is_table:
            mine, theirs = self.inputs.T.reshape(-1, 1), other.inputs.T.reshape(1, -1)
            return ((mine == theirs) & (mine >= 0)).to(self.gradients)
        mine, theirs = (x.inputs[:, :, group].transpose(0, 1).flatten(0, 1) for x in (self, other))
        found = mine @ theirs.T
        return found.add_(1.0) if self.bias else found


Features = Rows | Factors


def _pairs(heads: int, *, full: bool) -> int:
    """Return how many products of gradients a pair of samples needs."""
    return heads * heads if full else heads


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
