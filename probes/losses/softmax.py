r"""The covariance of a softmax distribution at every position: products, a factor and draws."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from probes.losses.draws import uniforms, widest

__all__ = ["SoftmaxCovariance", "block_product", "class_axis", "draw_labels"]


def class_axis(output: Tensor) -> int:
    """Return the axis of the classes, counted from the end: ``(C,)``, ``(N, C)``, ``(N, C, ...)``."""
    return 1 - output.ndim if output.ndim > 1 else -1


@dataclass(frozen=True)
class SoftmaxCovariance:
    r"""``scale (diag(p) - p p')`` with :math:`p = \mathrm{softmax}(z)` at every position, never formed.

    As (1, ..., 1) is in the kernel, vectors are measured from the entry of the most probable class. So where one class
    has nearly all the mass, the small numbers that remain keep their relative precision.

    Attributes
    ----------
    p : Tensor
        Probabilities, shape of the outputs.
    scale : Tensor
        Nonnegative for a factor, shape of the outputs with 1 at the axis of the classes.
    axis : int
        Axis of the classes, negative.
    """

    p: Tensor
    scale: Tensor
    axis: int

    @classmethod
    def of(cls, output: Tensor, scale: Tensor) -> "SoftmaxCovariance":
        """Build it from logits and a scale for every position."""
        axis = class_axis(output)
        return cls(torch.softmax(output.detach(), axis), scale.unsqueeze(axis), axis)

    def product(self, vector: Tensor) -> Tensor:
        """Return ``scale (p * u - p (p'u))``."""
        pu = self.p * self._centered(vector)
        return self.scale * (pu - self.p * pu.sum(self.axis, keepdim=True))

    def root_product(self, vector: Tensor) -> Tensor:
        """Return L'u with ``L = sqrt(scale) (diag(sqrt p) - p sqrt(p)')``."""
        centered = self._centered(vector)
        mean = (self.p * centered).sum(self.axis, keepdim=True)
        return (self.scale * self.p).sqrt() * (centered - mean)

    def root_transposed_product(self, vector: Tensor) -> Tensor:
        """Return L w; the entry of the most probable class is what makes the sum zero."""
        weighted = self.p.sqrt() * vector
        result = weighted - self.p * weighted.sum(self.axis, keepdim=True)
        classes = torch.arange(self.p.shape[self.axis], device=self.p.device)
        top = classes.reshape(-1, *[1] * (-self.axis - 1)) == self.p.argmax(self.axis, keepdim=True)
        others = result.masked_fill(top, 0)
        return self.scale.sqrt() * torch.where(top, -others.sum(self.axis, keepdim=True), others)

    def _centered(self, vector: Tensor) -> Tensor:
        """Return the vector minus its entry at the most probable class."""
        top = self.p.argmax(self.axis, keepdim=True)
        top = top.reshape(*[1] * (vector.ndim - top.ndim), *top.shape)
        return vector - torch.take_along_dim(vector, top, self.axis)


def draw_labels(output: Tensor, num: int, generator: Generator) -> Tensor:
    """Draw classes from the softmax of logits by inverting its distribution function.

    Returns
    -------
    Tensor of int64, shape ``(num, *positions)``
        The axis of the classes is gone.
    """
    logits = widest(output.detach(), output).movedim(class_axis(output), -1)
    positions = logits.shape[:-1]
    steps = torch.softmax(logits, -1).cumsum(-1).reshape(-1, logits.shape[-1])
    heights = uniforms((num, steps.shape[0]), generator, output).T * steps[:, -1:]
    found = torch.searchsorted(steps, heights.contiguous(), right=True).clamp(max=logits.shape[-1] - 1)
    return found.T.reshape(num, *positions)


def block_product(scores: Tensor, vector: Tensor, axis: int) -> Tensor:
    """Return the mean over draws of ``s (s'u)``, one block along ``axis`` for every position; shape of ``vector``."""
    s = scores.movedim(axis, -1)
    s = s.reshape(s.shape[0], -1, s.shape[-1])
    u = vector.movedim(axis, -1)
    inner = torch.einsum("mpc,kpc->mkp", s, u.reshape(-1, *s.shape[1:]))
    mean = torch.einsum("mkp,mpc->kpc", inner, s) / scores.shape[0]
    return mean.reshape(u.shape).movedim(-1, axis)
