r"""Loss of SGD on least squares with random data, when samples and parameters are many.

Rows of ``A`` (``num_samples`` by ``dimension``) have independent entries of mean 0 and one variance, steps are
taken on one sample at a time, drawn with replacement, and ``dimension / num_samples = r`` is fixed while both grow.
Then the mean loss after ``t`` epochs is no longer random and solves a Volterra equation whose ingredients are
integrals over the Marchenko-Pastur law ``mu`` (Paquette, Lee, Pedregosa and Paquette 2021). With ``R = signal``,
``N = noise`` and ``g = num_samples learning_rate variance``::

    psi(t) = F(t) + r g^2 int_0^t h_2(t - s) psi(s) ds,     h_k(t) = int x^k exp(-2 g t x) dmu(x)
    F(t)   = (variance R / 2) h_1(t) + (N / 2) (r h_0(t) + 1 - r)

Here it is solved without a grid of times. The Laplace transform of ``psi`` is a fraction of the Stieltjes transform of
``mu``, and the variable ``s`` in ``x = 1 + r - sqrt(r) (s + 1/s)`` makes it a fraction of polynomials: the edges of
the law are ``s = 1`` and ``s = -1``, the bulk is the unit circle, and

.. math:: \psi(t) = \frac{1}{2\pi i} \oint \frac{(1/s - s)\,(R + N\sqrt r/(\sqrt r - s))}{2\,(1 - u s (\kappa - s))}\,
          e^{-2 g t x(s)}\, ds, \qquad \kappa = \frac{1 + r}{\sqrt r}, \quad u = \frac{g r}{2},

around 0 and no other singularity. Moving the circle to the bulk leaves an integral against a density on the bulk and
the residues at roots of the denominator: the floor (``s = sqrt r``) and, for fast steps, a mode outside the bulk.
This form, and what follows from it below, is derived; tests compare it with a discretized Volterra equation.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.errors import ArgumentError, NonFiniteError
from spectra.start_vectors import as_count

__all__ = ["MarchenkoPasturSGD"]

#: Exponents below the negative of this are nothing beside 1 in float64.
_NEGLIGIBLE = 40.0
#: Largest exponent that float64 holds.
_LARGEST = 700.0
#: Time, in units of the fastest mode, at which every curve has ended: its squares stay within float64.
_LONGEST = 1e150


@dataclass(frozen=True, kw_only=True)
class MarchenkoPasturSGD:
    r"""SGD on least squares with a large random matrix: its loss curve, floor, rate and learning rates.

    The loss is ``|A x - b|^2 / (2 num_samples)`` with ``b = A x_true + e``; each step moves against the gradient of
    the half square of one row.

    Parameters
    ----------
    aspect_ratio : float
        ``r``, parameters over samples, positive.
    learning_rate : float
        Positive; multiplies the gradient of one sample.
    num_samples : int
        Number of rows, and of steps in an epoch.
    signal : float
        ``R``, the expected ``|x_0 - x_true|^2``. The difference points in no preferred direction.
    noise : float
        ``N``, the variance of the entries of ``e``.
    variance : float
        Variance of the entries of ``A``.

    Raises
    ------
    ArgumentError
        If a parameter is out of range, not finite, or ``num_samples`` is not an integer.

    Notes
    -----
    The only conversion of units is `epoch_learning_rate`, the step size of the paper. The limit is one of many samples
    *and* parameters: at given sizes the curve of one matrix differs from it by about one over the square root of
    either. Batches of ``B`` samples, ``B`` much smaller than ``num_samples``, follow the curve of
    ``learning_rate / B``.
    Epochs that visit every sample once, as after a shuffle, are not covered.

    Source: Paquette, Lee, Pedregosa and Paquette, SGD in the Large (2021): limit, floor, critical step size and the
    change of rate. Closed forms of the rate and of the best learning rate are derived.

    Examples
    --------
    >>> sgd = MarchenkoPasturSGD(aspect_ratio=0.5, learning_rate=0.002, num_samples=1000, noise=0.1)
    >>> sgd.critical_learning_rate, sgd.floor
    (0.004, 0.05)
    >>> sgd.loss([0.0, 1.0, 100.0]).round(4).tolist()
    [0.55, 0.1216, 0.05]
    """

    aspect_ratio: float
    learning_rate: float
    num_samples: int
    signal: float = 1.0
    noise: float = 0.0
    variance: float = 1.0

    def __post_init__(self) -> None:
        for name in ("aspect_ratio", "learning_rate", "variance"):
            object.__setattr__(self, name, _positive(getattr(self, name), name=name))
        for name in ("signal", "noise"):
            value = finite_number(getattr(self, name), name=name)
            if value < 0.0:
                raise ArgumentError(f"{name} is a mean square and must not be negative, got {value!r}")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "num_samples", as_count(self.num_samples, name="num_samples"))

    @property
    def epoch_learning_rate(self) -> float:
        """``g = num_samples learning_rate variance``: what an epoch does to the mean eigenvalue."""
        return self.num_samples * self.learning_rate * self.variance

    @property
    def critical_learning_rate(self) -> float:
        """From here on the loss no longer decreases to a floor: ``g = 2/r``, whatever the signal and noise."""
        return 2.0 / (self.aspect_ratio * self.num_samples * self.variance)

    @property
    def switch_learning_rate(self) -> float:
        """Up to here the rate is that of gradient flow, set by the edge of the bulk; above, noise of the steps sets it.

        ``g = 2 / (sqrt r (r - sqrt r + 1))``, at most the critical one, and equal to it at ``r = 1``.
        """
        return self.critical_learning_rate / (self._kappa - 1.0)

    @property
    def best_learning_rate(self) -> float:
        """The learning rate with the largest `rate`; nan at ``r = 1``, where every rate is 0.

        It is the critical learning rate over ``2 - v``, where ``v^3 + (kappa^2 - 3) v = 2``: between a half of it and
        all of it, and above `switch_learning_rate`. The floor plays no part in it.
        """
        if self.aspect_ratio == 1.0:
            return float("nan")
        p = self._kappa**2 - 3.0
        v = 2.0 * np.sqrt(p / 3.0) * np.sinh(np.arcsinh(3.0 / p * np.sqrt(3.0 / p)) / 3.0)
        return float(self.critical_learning_rate / (2.0 - v))

    @property
    def rate(self) -> float:
        """Rate per epoch: loss minus floor is ``exp(-rate epoch)`` up to powers of the epoch, growing if negative.

        ``2 g (1 - sqrt r)^2`` up to `switch_learning_rate`, then ``2 g x`` for the one ``x`` below the bulk where the
        transform of the kernel is 1. It is 0 at ``r = 1`` up to the critical learning rate: the loss then decreases
        as a power of the epoch.
        """
        r, u = self.aspect_ratio, self._load
        if u * (self._kappa - 1.0) <= 1.0:
            return float(2.0 * self.epoch_learning_rate * (1.0 - np.sqrt(r)) ** 2)
        root = np.sqrt(max((1.0 + r) ** 2 - 4.0 * r / u, 0.0))
        return float(2.0 / r * u * (1.0 - u) * (1.0 + r + root))

    @property
    def floor(self) -> float:
        """Loss after infinitely many epochs: ``(noise / 2) max(1 - r, 0) / (1 - g r / 2)``; inf from critical on."""
        if self._load >= 1.0:
            return float("inf")
        return 0.5 * self.noise * max(1.0 - self.aspect_ratio, 0.0) / (1.0 - self._load)

    def loss(self, epoch: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the mean loss after some epochs, also where it grows.

        Parameters
        ----------
        epoch : array_like of any shape
            Steps over ``num_samples``; not negative, need not be integers.

        Returns
        -------
        ndarray of the same shape
            Accurate to about ``1e-12`` of its value (``1e-10`` where ``r`` and the share of the critical learning
            rate are both within 1 % of 1); inf where float64 overflows.

        Raises
        ------
        ArgumentError
            If an epoch is negative or not a real number.
        NonFiniteError
            If an epoch is NaN or infinite; the limit is `floor`.
        """
        epochs = np.asarray(epoch)
        if epochs.size and (epochs.dtype.kind not in "iuf"):
            raise ArgumentError(f"epochs must be real numbers, got an array of dtype {epochs.dtype}")
        epochs = epochs.astype(np.float64)
        if not np.all(np.isfinite(epochs)):
            raise NonFiniteError("epochs must be finite, got NaN or infinity; the limit of many epochs is `floor`")
        if np.any(epochs < 0.0):
            raise ArgumentError(f"epochs must not be negative, got {float(epochs.min())!r}")
        # what decays below float64 is nothing, and what grows beyond it is infinite, whatever NumPy's error state
        with np.errstate(under="ignore", over="ignore"):
            losses = [self._loss_at(float(t)) for t in epochs.ravel()]
        return np.array(losses, dtype=np.float64).reshape(epochs.shape)

    @property
    def _kappa(self) -> float:
        return (1.0 + self.aspect_ratio) / float(np.sqrt(self.aspect_ratio))

    @property
    def _load(self) -> float:
        """``u = g r / 2``, the norm of the kernel and the share of the critical learning rate."""
        return 0.5 * self.epoch_learning_rate * self.aspect_ratio

    def _loss_at(self, t: float) -> float:
        """Return the integral over the bulk minus the residues that the circle has taken in too many."""
        if self.signal == 0.0 and self.noise == 0.0:
            return 0.0
        g, u, edge = self.epoch_learning_rate, self._load, float(np.sqrt(self.aspect_ratio))
        t = min(t, _LONGEST / (g * (1.0 + self.aspect_ratio) * (1.0 + 1.0 / u)))
        first, second = self._roots()
        spread = 4.0 * g * edge * t
        # an even number of points on the circle, as many as the exponential has Fourier coefficients
        num_points = 2 * int(np.ceil(4.5 * np.sqrt(spread) + 32.0))
        turns = num_points * abs(np.angle(first)) / (2.0 * np.pi)
        if abs(first) < 1.1 and 0.25 < turns % 1.0 < 0.75:
            # a root next to a point: cancels, but loses digits; put it between two points
            num_points = 2 * int(np.ceil(0.5 * num_points * (np.floor(turns) + 0.75) / turns))
        reach = np.pi if 0.5 * spread <= _NEGLIGIBLE else np.arccos(1.0 - _NEGLIGIBLE / spread)
        count = min(num_points // 2, int(num_points * reach / (2.0 * np.pi)) + 2)
        angle = np.pi * (2.0 * np.arange(count) + 1.0) / num_points
        d = np.expm1(1j * angle)  # s - 1: late losses are those of points next to the edge
        power = self.variance * self.signal + self.noise * edge / ((edge - 1.0) - d)
        denominator = (1.0 - u * (self._kappa - 1.0)) - u * d * (self._kappa - 2.0 - d)
        density = (-0.5 * d * (2.0 + d) * power / denominator).real
        decay = np.exp(-2.0 * g * t * (1.0 - edge) ** 2)
        bulk = 2.0 / num_points * decay * float(density @ np.exp(-2.0 * spread * np.sin(0.5 * angle) ** 2))
        # x at the root s of the denominator is sqrt(r) (1 - u) / (u s), and u times both roots is 1 / the other
        speed = 2.0 * g * t * edge * (1.0 - u)
        poles = [(first, -speed * second), (second, -speed * first)]
        if self.noise > 0.0:
            poles.append((complex(edge), 0j))
        return max(float(bulk - self._residues(poles, t=t, num_points=num_points)), 0.0)

    def _roots(self) -> tuple[complex, complex]:
        """Return the roots of ``u s^2 - u kappa s + 1``, the one nearer to 0 first."""
        root_u = np.sqrt(self._load)
        c = self._kappa * root_u
        total = c + np.sqrt(complex((c - 2.0) * (c + 2.0)))
        return complex(2.0 / (root_u * total)), complex(total / (2.0 * root_u))

    def _residues(self, poles: list[tuple[complex, complex]], *, t: float, num_points: int) -> float:
        """Return what the sum over the points on the circle holds of the residues.

        That is ``1 / (1 + s^num_points)`` of the residue at ``s``, inside and outside. Residues of poles that nearly
        coincide cancel; together they are a divided difference, a corner of a function of a bidiagonal matrix.
        """
        from scipy.linalg import expm

        near = [pole for pole in poles if num_points * np.log(abs(pole[0])) < _NEGLIGIBLE]
        signal, edge = self.variance * self.signal, np.sqrt(self.aspect_ratio)
        total = 0.0
        for group in _neighbors(near, distance=4.0 / num_points):
            if max(exponent.real for _, exponent in group) > _LARGEST:
                return -np.inf
            one = np.eye(len(group))
            z = np.diag([s for s, _ in group]) + np.diag(np.ones(len(group) - 1), 1)
            inverse = np.linalg.inv(z)
            exponents = 2.0 * self.epoch_learning_rate * t * (edge * (z + inverse) - (1.0 + self.aspect_ratio) * one)
            np.fill_diagonal(exponents, [exponent for _, exponent in group])
            numerator = signal * one
            if self.noise > 0.0:
                numerator = signal * (z - edge * one) - self.noise * edge * one
            value = expm(exponents) @ (inverse - z) @ numerator / (2.0 * self._load)
            value = value @ np.linalg.inv(one + np.linalg.matrix_power(z, num_points))
            for pole in poles:
                if pole not in group:
                    value = value @ np.linalg.inv(z - pole[0] * one)
            total += float(value[0, -1].real)
        return total


def _neighbors(poles: list[tuple[complex, complex]], *, distance: float) -> list[list[tuple[complex, complex]]]:
    """Return the poles in groups that are linked by less than a distance."""
    groups: list[list[tuple[complex, complex]]] = []
    for pole in poles:
        linked = [group for group in groups if min(abs(pole[0] - s) for s, _ in group) < distance]
        apart = [group for group in groups if group not in linked]
        groups = [*apart, [*(member for group in linked for member in group), pole]]
    return groups


def _positive(value: float, *, name: str) -> float:
    """Return a finite float above 0."""
    number = finite_number(value, name=name)
    if not number > 0.0:
        raise ArgumentError(f"{name} must be positive, got {value!r}")
    return number
