r"""Power-law random features: least squares whose data and target decay like powers, seen through random features.

Coordinates :math:`x_j`, j = 1, ..., v, are independent and Gaussian of variance :math:`D_j = j^{-2\alpha}`, the target
is :math:`\sum_j j^{-\beta} x_j`, and the model is linear in d random features :math:`W^T x`, where W has independent
Gaussian entries of variance 1/d. Given W it is a Gaussian stream of covariance :math:`\Sigma = W^T D W`:

.. math::
    L(\theta) = \tfrac12 \| D^{1/2} (W \theta - b) \|^2, \qquad b_j = j^{-\beta}, \qquad \theta_0 = 0.

With the singular value decomposition :math:`D^{1/2} W = \sum_i \sqrt{\lambda_i}\, u_i v_i^T`, a mode holds the loss
:math:`q_i = (u_i \cdot D^{1/2} b)^2 / 2`, and what lies outside of the span of the u is the floor.
:func:`power_law_features` draws W; :func:`power_law_equivalent` is what all large draws have in common.

Source: Paquette, Paquette, Xiao and Pennington (2024), arXiv 2405.15074, for the model. There, gradients are summed
over the batch; here losses are halves of squares and the learning rate multiplies the mean gradient.
"""

import numpy as np

from spectra.dynamics.quadratic import Quadratic
from spectra.errors import ArgumentError, NonFiniteError
from spectra.start_vectors import as_count, as_seed

__all__ = ["as_decay", "power_law_features", "problem_name"]


def power_law_features(
    num_parameters: int,
    *,
    ambient_dimension: int,
    data_decay: float,
    target_decay: float,
    rng: int | np.random.Generator,
) -> Quadratic:
    r"""Draw random features and return the stream that SGD sees, from a start at zero.

    Parameters
    ----------
    num_parameters : int
        d.
    ambient_dimension : int
        v, usually larger than d.
    data_decay, target_decay : float
        :math:`\alpha` and :math:`\beta`.
    rng : int or numpy.random.Generator
        Of W; the draw is on the host.

    Returns
    -------
    Quadratic
        A stream, ``num_samples=None``, of min(d, v) modes; for it the closure ``"gaussian"`` is exact.

    Raises
    ------
    ArgumentError
        If a size is no whole number from 1, or a decay is negative.
    NonFiniteError
        If a decay is not finite.

    Notes
    -----
    One singular value decomposition of a (v, d) matrix. Singular values below rounding,
    :math:`\epsilon \max(v, d)` times the largest, count as zero and their loss as floor.

    ``O(v d min(v, d))`` operations on the host.

    Source: Paquette, Paquette, Xiao and Pennington (2024), arXiv 2405.15074.

    Examples
    --------
    The loss at the start is that of the target, whatever the draw.

    >>> problem = power_law_features(20, ambient_dimension=50, data_decay=1.0, target_decay=0.5, rng=0)
    >>> problem.eigenvalue.size, round(problem.loss, 9) == round(0.5 * sum(j**-3.0 for j in range(1, 51)), 9)
    (20, True)
    """
    d, v = as_count(num_parameters, name="num_parameters"), as_count(ambient_dimension, name="ambient_dimension")
    index = np.arange(1, v + 1, dtype=np.float64)
    alpha, beta = as_decay(data_decay, name="data_decay"), as_decay(target_decay, name="target_decay")
    generator = rng if isinstance(rng, np.random.Generator) else np.random.default_rng(as_seed(rng))
    weights = generator.standard_normal((v, d)) / np.sqrt(d)
    left, singular, _ = np.linalg.svd(index[:, None] ** -alpha * weights, full_matrices=False)
    left = left[:, singular > np.finfo(np.float64).eps * max(v, d) * singular[0]]
    target = index ** -(alpha + beta)
    onto = left.T @ target
    rest = target - left @ onto
    return Quadratic(
        eigenvalue=singular[: left.shape[1]] ** 2,
        multiplicity=np.ones(left.shape[1]),
        initial_loss=onto**2 / 2,
        floor=float(rest @ rest) / 2 if left.shape[1] < v else 0.0,
        name=problem_name("features", alpha, beta, d, v),
    )


def as_decay(value: float, *, name: str) -> float:
    """Return the exponent of a decay.

    Parameters
    ----------
    value : float
    name : str
        For the message.

    Returns
    -------
    float

    Raises
    ------
    ArgumentError
        If it is negative or no single number.
    NonFiniteError
        If it is NaN or infinite.

    Notes
    -----
    O(1) operations. Source: a convention of this project.

    Examples
    --------
    >>> as_decay(1, name="data_decay")
    1.0
    """
    if np.ndim(value) != 0 or not isinstance(value, int | float | np.number | np.ndarray):
        raise ArgumentError(f"{name} must be one number; got {value!r}")
    if not np.isfinite(value):
        raise NonFiniteError(f"{name} must be finite; got {value}")
    if value < 0:
        raise ArgumentError(f"{name} is the exponent of a decay and must not be negative; got {value}")
    return float(value)


def problem_name(kind: str, alpha: float, beta: float, d: int, v: int) -> str:
    """Return how a problem is called in reports.

    Parameters
    ----------
    kind : str
    alpha, beta : float
        Decays of data and target.
    d, v : int
        Parameters and ambient dimension.

    Returns
    -------
    str

    Notes
    -----
    O(1) operations. Source: a convention of this project.

    Examples
    --------
    >>> problem_name("features", 1.0, 0.5, 20, 50)
    'power-law features, data decay 1, target decay 0.5, 20 of 50 dimensions'
    """
    return f"power-law {kind}, data decay {alpha:g}, target decay {beta:g}, {d} of {v} dimensions"
