"""Poisson regression, the loss of counts."""

from torch import Generator, Tensor, nn

from probes.losses.draws import poissons
from probes.losses.elementwise import ElementwiseLoss

__all__ = ["PoissonLikelihood"]


class PoissonLikelihood(ElementwiseLoss):
    r"""``nn.PoissonNLLLoss`` of the logarithm of a rate or of the rate itself; diagonal.

    For ``log_input=True``, :math:`e^z - y z`: :math:`S = F = e^z / (N C)`. For ``log_input=False``,
    :math:`z - y \log(z + \epsilon)`: :math:`S = y / (z + \epsilon)^2 / (N C)` and, with counts of rate
    :math:`z + \epsilon`, :math:`F = 1 / (z + \epsilon) / (N C)`. The term of ``full=True`` is constant.
    """

    function: nn.PoissonNLLLoss
    is_convex = True
    is_likelihood = True

    def curvature(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the diagonal of the sum."""
        if self.function.log_input:
            return output.exp()
        return target.to(output) / (output + self.function.eps).square()

    def information(self, output: Tensor) -> Tensor:
        """Return the rate, or one over the rate."""
        rate = self._rate(output)
        return rate if self.function.log_input else 1 / rate

    def drawn(self, output: Tensor, num: int, generator: Generator) -> Tensor:
        """Return ``exp(z) - y``, or ``1 - y / (z + eps)``, for Poisson counts."""
        rate = self._rate(output)
        counts = poissons(rate, num, generator)
        return rate - counts if self.function.log_input else 1 - counts / rate

    def _rate(self, output: Tensor) -> Tensor:
        return output.exp() if self.function.log_input else output + self.function.eps
