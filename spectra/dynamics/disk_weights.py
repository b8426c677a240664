"""Weights of the average of plain steps that is best for eigenvalues uniform on a disk."""

from dataclasses import dataclass

import numpy as np

from spectra.arrays import finite_number
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count

__all__ = ["DiskMethod"]


@dataclass(frozen=True, kw_only=True)
class DiskMethod:
    """The optimal method for eigenvalues that are uniform on a disk: an average of plain steps.

    ::

        y_{s+1} = y_s - F(y_s)/C,   x_t = sum_{s<=t} beta_s y_s / B_t,   beta_s = (C/R)^(2s) (1+s),   B_t = sum beta_s

    Attributes
    ----------
    center, radius : float
        C and R with ``0 <= R < C``.

    Raises
    ------
    ArgumentError
        If they are not.

    Notes
    -----
    Source: Domingo-Enrich, Pedregosa and Scieur (2020).

    Examples
    --------
    >>> method = DiskMethod(center=2.0, radius=1.0)
    >>> (9 * method.weights(1)).tolist(), 1 / method.expected_error(1)
    ([1.0, 8.0], 9.0)
    """

    center: float
    radius: float

    def __post_init__(self) -> None:
        center, radius = finite_number(self.center, name="center"), finite_number(self.radius, name="radius")
        if not 0 <= radius < center:
            raise ArgumentError(
                f"0 <= radius < center is required, a disk to the right of 0; got center {center:.6g} and radius "
                f"{radius:.6g}"
            )

    @property
    def learning_rate(self) -> float:
        """Size of the plain steps, ``1/C``."""
        return 1.0 / self.center

    def newest_shares(self, num_steps: int) -> np.ndarray:
        """Return ``beta_t / B_t`` for t = 0, ..., num_steps: ``x_t = x_{t-1} + share_t (y_t - x_{t-1})``."""
        ratio = (self.radius / self.center) ** 2
        inverse = [1.0]
        for t in range(1, as_count(num_steps, name="num_steps", least=0) + 1):
            inverse.append(1.0 + inverse[-1] * ratio * t / (t + 1))
        return 1.0 / np.array(inverse)

    def weights(self, num_steps: int) -> np.ndarray:
        """Return ``beta_s / B_t`` for s = 0, ..., t = num_steps; they sum to 1."""
        shares = self.newest_shares(num_steps)
        older = np.append(np.cumprod((1.0 - shares[1:])[::-1])[::-1], 1.0)
        return shares * older

    def expected_error(self, num_steps: int) -> float:
        """Return ``E |x_t - x*|^2 / |x_0 - x*|^2 = 1/B_t`` after num_steps steps; no other method has a smaller one."""
        share = self.newest_shares(num_steps)[-1]
        return float((self.radius / self.center) ** (2 * num_steps) / (num_steps + 1) * share)
