"""Losses of regression that grow linearly: absolute error and its two smoothings."""

from torch import Tensor, nn

from probes.losses.elementwise import ElementwiseLoss

__all__ = ["AbsoluteError", "Huber", "SmoothAbsoluteError"]


class Huber(ElementwiseLoss):
    r"""``nn.HuberLoss``: :math:`S = 1 / (N C)` where :math:`|z - y| < \delta` and 0 beyond, diagonal.

    At :math:`|z - y| = \delta` the second derivative does not exist; 0 is taken, as automatic differentiation does.
    """

    function: nn.HuberLoss
    is_convex = True

    def curvature(self, output: Tensor, target: Tensor) -> Tensor:
        """Return 1 inside, 0 outside."""
        return ((output - target).abs() < self.function.delta).to(output)


class SmoothAbsoluteError(ElementwiseLoss):
    r"""``nn.SmoothL1Loss``: :math:`S = 1 / (\beta N C)` where :math:`|z - y| < \beta` and 0 beyond, diagonal.

    For :math:`\beta = 0` it is :class:`AbsoluteError`. At :math:`|z - y| = \beta` 0 is taken.
    """

    function: nn.SmoothL1Loss
    is_convex = True

    def curvature(self, output: Tensor, target: Tensor) -> Tensor:
        r"""Return :math:`1 / \beta` inside, 0 outside."""
        beta = self.function.beta
        return ((output - target).abs() < beta).to(output) / (beta or 1.0)


class AbsoluteError(ElementwiseLoss):
    """``nn.L1Loss``: S = 0 where it exists, away from a residual of zero."""

    function: nn.L1Loss
    is_convex = True

    def curvature(self, output: Tensor, target: Tensor) -> Tensor:
        """Return 0."""
        return output.new_zeros(())
