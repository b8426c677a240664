"""Squared error, the loss of regression."""

from torch import Generator, Tensor, nn

from probes.losses.draws import normals
from probes.losses.elementwise import ElementwiseLoss

__all__ = ["MeanSquaredError"]


class MeanSquaredError(ElementwiseLoss):
    r"""``nn.MSELoss``, which divides by the number of elements: :math:`S = F = 2 / (N C) \cdot I`.

    :math:`(z - y)^2` is, up to a constant, minus the logarithm of the density of :math:`y \sim N(z, 1/2)`; its scores
    are normal of variance 2.
    """

    function: nn.MSELoss
    is_convex = True
    is_likelihood = True

    def curvature(self, output: Tensor, target: Tensor) -> Tensor:
        """Return 2."""
        return output.new_full((), 2.0)

    def information(self, output: Tensor) -> Tensor:
        """Return 2."""
        return output.new_full((), 2.0)

    def drawn(self, output: Tensor, num: int, generator: Generator) -> Tensor:
        """Return ``2 (z - y)``, normal of variance 2."""
        return 2**0.5 * normals((num, *output.shape), generator, output)
