r"""Closures: what stands for the gradient noise of a mode, so that the expected loss obeys an equation of its own.

Along the eigenvector v_j, mini-batches of independent samples add noise of variance

.. math:: c \Big[ \tfrac1n \sum_i r_i^2 (a_i \cdot v_j)^2 - (\lambda_j e_j)^2 \Big]

to the gradient, with residuals r, error e and the sampling factor c of :func:`noise_factor`. This depends on every
sample. A closure replaces it, and which one is right depends on the data, so that it is always named.

==================  ================================================================================================
``"limit"``         :math:`c\,2 \lambda_j L`. Samples with large residuals have no larger features, singular vectors
                    of the samples are spread out, and c γ λ_max is small: the high-dimensional limit.
``"gaussian"``      :math:`c (2 \lambda_j L + \lambda_j^2 e_j^2)`. Exact for a stream of Gaussian features; right for
                    finite data that look Gaussian. Can be far off on real data near the critical learning rate.
``"kurtosis"``      :math:`c (2 \lambda_j L + (\kappa_j - 2) \lambda_j^2 e_j^2)`, with the fourth moments of the left
                    singular vectors. Finite data whose singular vectors are known.
``"row_resolved"``  Keeps the mean squared residual of every sample; errors of different modes uncorrelated. For
                    samples of somewhat unequal size. O(n m) per step.
``"exact"``         Keeps the whole second moment of the error. Exact for independent batches. O(n m^2) per step.
``"continuous"``    ``"limit"`` in continuous time (homogenized SGD). Only for γ λ_max well below 1; wrong for large
                    batches.
==================  ================================================================================================

A sample that brings C residuals at once has c/C in place of c, and :math:`C (\kappa_j - 1) - 1` in place of
:math:`\kappa_j - 2`, so that the noise from the error of a mode itself is exact.

The first three share one recursion: with :math:`\chi_j` of 0, 1 or :math:`\kappa_j - 2`,

.. math::
    q_j \leftarrow \rho_j q_j + c\,(\gamma\lambda_j)^2 w_j L, \qquad
    \rho_j = (1 - \gamma\lambda_j)^2 + c\,\chi_j (\gamma\lambda_j)^2, \qquad L = L_* + \sum_j q_j,

which is a discrete Volterra equation :math:`L(k) = F(k) + \sum_{i<k} K(k-1-i) L(i)`.

Sources: ``limit`` Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396; ``continuous`` Paquette, Paquette,
Adlam and Pennington (2022), arXiv 2205.07069; the others are derived here. Each is compared with simulations in
``tests/claims/test_predicted_loss_curves.py`` and ``docs/concepts/dynamics.md``.
"""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from spectra.dynamics.quadratic import Quadratic
from spectra.errors import ArgumentError

__all__ = [
    "CLOSURES",
    "MODE_CLOSURES",
    "Closure",
    "Sampling",
    "chi_of",
    "noise_factor",
    "require_closure",
    "shared_noise",
]

Closure = Literal["limit", "gaussian", "kurtosis", "row_resolved", "exact", "continuous"]
Sampling = Literal["with_replacement", "without_replacement", "reshuffled"]

CLOSURES: tuple[str, ...] = get_args(Closure)
MODE_CLOSURES = ("limit", "gaussian", "kurtosis")
"""Closures that need only the modes and a coefficient for each."""


def noise_factor(
    batch_size: npt.ArrayLike,
    *,
    num_samples: int | None = None,
    sampling: Sampling = "without_replacement",
) -> npt.NDArray[np.float64]:
    r"""Return c, the variance of a batch mean in units of that of one sample.

    ``1 / B`` for samples drawn with replacement or from a stream, ``(n - B) / (B (n - 1))`` for samples drawn without
    replacement inside a batch, where batches are independent of each other.

    Parameters
    ----------
    batch_size : int or array_like
        B, whole numbers from 1; at most n without replacement.
    num_samples : int, optional
        n; None for a stream.
    sampling : {"without_replacement", "with_replacement", "reshuffled"}
        ``"reshuffled"`` is what ``DataLoader(shuffle=True)`` does: every sample once per epoch.

    Returns
    -------
    ndarray of float
        c, of the shape of ``batch_size``.

    Raises
    ------
    ArgumentError
        For a batch size that is no whole number from 1, or larger than the data. For ``"reshuffled"`` unless the
        batch is all the data: successive batches are then dependent, no closed theory is known here, and the theory of
        independent batches was off by 20 to 30 % where it was tried. :func:`spectra.dynamics.simulate_sgd` simulates
        it.

    Notes
    -----
    Derived: the variance of a mean of draws from a finite population.

    Examples
    --------
    >>> float(noise_factor(4)), float(noise_factor(4, num_samples=13)), float(noise_factor(13, num_samples=13))
    (0.25, 0.1875, 0.0)
    """
    try:
        size = np.asarray(batch_size, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"batch_size must be a whole number from 1; got {batch_size!r}") from error
    if np.any(~np.isfinite(size)) or np.any(size < 1) or np.any(size != np.round(size)):
        raise ArgumentError(f"batch_size must be a whole number from 1; got {batch_size!r}")
    if sampling not in get_args(Sampling):
        raise ArgumentError(f"sampling must be one of {', '.join(get_args(Sampling))}; got {sampling!r}")
    if num_samples is not None and sampling != "with_replacement" and np.any(size > num_samples):
        raise ArgumentError(f"a batch of {int(size.max())} does not fit into {num_samples} samples")
    if sampling == "reshuffled":
        if num_samples is None:
            raise ArgumentError("a stream has no epochs to reshuffle; use sampling='without_replacement'")
        if np.any(size != num_samples):
            raise ArgumentError(
                "batches of a reshuffled epoch depend on each other, and this theory is for independent ones: it was "
                "off by 20 to 30 % on such runs. Use sampling='without_replacement' knowing that, or "
                "spectra.dynamics.simulate_sgd(..., sampling='reshuffled')"
            )
        return np.zeros_like(size)
    if sampling == "with_replacement" or num_samples is None:
        return 1.0 / size
    return (num_samples - size) / (size * max(num_samples - 1, 1))


def require_closure(closure: str, problem: Quadratic) -> None:
    """Raise unless a closure is known and the problem has what it needs.

    Raises
    ------
    ArgumentError
        The message says what is missing.
    """
    if not isinstance(problem, Quadratic):
        raise ArgumentError(f"problem must be a spectra.dynamics.Quadratic; got {type(problem).__name__}")
    if closure not in CLOSURES:
        raise ArgumentError(f"closure must be one of {', '.join(CLOSURES)}; got {closure!r}")
    if closure == "kurtosis" and problem.kurtosis is None:
        raise ArgumentError(
            "closure='kurtosis' needs fourth moments over the samples: build the problem with from_data, from_kernel, "
            "or from_operator and its sample_squares, or use 'limit'"
        )
    if closure in ("row_resolved", "exact") and problem.rows is None:
        raise ArgumentError(
            f"closure={closure!r} follows the samples: build the problem with from_data or from_kernel and one "
            "output, or use 'limit'"
        )


def shared_noise(problem: Quadratic, *, batch_size: int, sampling: Sampling) -> float:
    """Return c of one batch size, divided by the residuals that a sample brings at once.

    Raises
    ------
    ArgumentError
        As of :func:`noise_factor`, and for more than one batch size.
    """
    if np.ndim(batch_size) != 0:
        raise ArgumentError(f"batch_size must be one number here; got {batch_size!r}")
    factor = noise_factor(batch_size, num_samples=problem.num_samples, sampling=sampling)
    return float(factor) / problem.rows_per_sample


def chi_of(closure: str, problem: Quadratic) -> npt.NDArray[np.float64]:
    r"""Return :math:`\chi_j` of a closure, shape (m,)."""
    if closure == "gaussian":
        return np.ones_like(problem.eigenvalue)
    if closure == "kurtosis":
        assert problem.kurtosis is not None
        return problem.rows_per_sample * (problem.kurtosis - 1.0) - 1.0
    return np.zeros_like(problem.eigenvalue)
