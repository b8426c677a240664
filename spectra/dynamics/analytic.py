r"""Problems from an analytic law of the eigenvalues: isotropic start and teacher, what a large instance looks like."""

from collections.abc import Callable

import numpy as np

from spectra.dynamics.quadratic import Quadratic, Vector
from spectra.errors import ArgumentError
from spectra.laws import MarchenkoPastur
from spectra.start_vectors import as_count

__all__ = ["from_law", "from_marchenko_pastur"]


def from_law(
    density: Callable[[Vector], Vector],
    support: tuple[float, float],
    *,
    dimension: int,
    num_samples: int,
    signal: float = 1.0,
    noise: float = 0.0,
    atom_at_zero: float = 0.0,
    num_nodes: int = 400,
    name: str = "law",
) -> Quadratic:
    r"""Return least squares whose Hessian has eigenvalues of a law and eigenvectors in no particular direction.

    Targets are :math:`b = A \bar x + \varepsilon`, so that on average over :math:`\bar x - x_0` of squared norm R and
    noise of variance s, each in all directions alike, an eigenvalue x holds the loss
    :math:`(R x / d + s / n) / 2`, and the floor is :math:`s (1 - \operatorname{rank}/n) / 2`.

    Parameters
    ----------
    density : callable
        Of the eigenvalues of :math:`A^T A / n`, vectorized, without the atom; its integral over the support is
        ``1 - atom_at_zero``.
    support : (float, float)
        One interval of positive numbers, or from 0.
    dimension, num_samples : int
        d and n.
    signal : float
        R, squared distance from the start to the teacher.
    noise : float
        s, variance of the label noise.
    atom_at_zero : float
        Share of eigenvalues that are zero.
    num_nodes : int
        Nodes of the quadrature, at cosines over the support: exact at edges of square-root type.
    name : str
        For reports.

    Raises
    ------
    ArgumentError
        If the support is empty, a number is negative, or the density does not integrate to ``1 - atom_at_zero``
        within 1 %.

    Notes
    -----
    A single instance differs from it by the randomness of its modes: 4 to 5 % of the loss for n = 2000, d = 1000.

    Examples
    --------
    >>> uniform = from_law(np.ones_like, (1.0, 2.0), dimension=100, num_samples=200, noise=1.0)
    >>> round(uniform.trace, 2), round(uniform.floor, 12), round(uniform.loss, 3)
    (150.0, 0.25, 1.25)
    """
    low, high = (float(end) for end in support)
    if not 0 <= low < high < np.inf:
        raise ArgumentError(f"support must be an interval of non-negative numbers; got {support}")
    if not 0 <= atom_at_zero < 1:
        raise ArgumentError(f"atom_at_zero must lie in [0, 1); got {atom_at_zero}")
    d, n = as_count(dimension, name="dimension"), as_count(num_samples, name="num_samples")
    angle = (np.arange(as_count(num_nodes, name="num_nodes")) + 0.5) * np.pi / num_nodes
    x = 0.5 * (high + low) + 0.5 * (high - low) * np.cos(angle)
    share = np.pi / num_nodes * 0.5 * (high - low) * np.sin(angle) * np.asarray(density(x), dtype=np.float64)
    total = float(np.sum(share))
    if np.any(share < 0) or not abs(total - (1 - atom_at_zero)) <= 0.01:
        raise ArgumentError(
            f"density must be non-negative with integral 1 - atom_at_zero = {1 - atom_at_zero:.6g}; got {total:.6g}"
        )
    return _isotropic(
        x,
        share * (1 - atom_at_zero) / total,
        dimension=d,
        num_samples=n,
        signal=signal,
        noise=noise,
        atom_at_zero=atom_at_zero,
        name=name,
    )


def from_marchenko_pastur(
    aspect_ratio: float,
    *,
    dimension: int,
    signal: float = 1.0,
    noise: float = 0.0,
    num_nodes: int = 400,
    variance: float = 1.0,
) -> Quadratic:
    r"""Return least squares on independent features of this variance: the Marchenko-Pastur law.

    Nodes and weights are the Gauss quadrature of :class:`spectra.laws.MarchenkoPastur`.

    Parameters
    ----------
    aspect_ratio : float
        r = d/n.
    dimension : int
        d.
    signal, noise, num_nodes
        As for :func:`from_law`.
    variance : float
        Of the entries of A.

    Raises
    ------
    ArgumentError
        If the aspect ratio or variance is not positive, or d / aspect_ratio is less than one sample.

    Notes
    -----
    Source: Marchenko and Pastur (1967); used as in Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396.

    Examples
    --------
    >>> problem = from_marchenko_pastur(0.5, dimension=100, noise=0.25)
    >>> round(problem.trace, 9), problem.num_samples, round(problem.floor, 12)
    (100.0, 200, 0.0625)
    """
    law = MarchenkoPastur(aspect_ratio=aspect_ratio, variance=variance)
    d = as_count(dimension, name="dimension")
    n = round(d / law.aspect_ratio)
    if n < 1:
        raise ArgumentError(f"{dimension} dimensions at aspect ratio {aspect_ratio} leave no sample")
    return _isotropic(
        law.nodes(num_nodes),
        law.weights(num_nodes),
        dimension=d,
        num_samples=n,
        signal=signal,
        noise=noise,
        atom_at_zero=max(1 - 1 / law.aspect_ratio, 0.0),
        name=f"Marchenko-Pastur, aspect ratio {aspect_ratio:g}",
    )


def _isotropic(
    x: Vector,
    share: Vector,
    *,
    dimension: int,
    num_samples: int,
    signal: float,
    noise: float,
    atom_at_zero: float,
    name: str,
) -> Quadratic:
    """Return the problem with a share of the eigenvalues at each node."""
    if not (0 <= signal < np.inf and 0 <= noise < np.inf):
        raise ArgumentError(f"signal and noise must be finite and not negative; got {signal} and {noise}")
    return Quadratic(
        eigenvalue=x,
        multiplicity=dimension * share,
        initial_loss=share * (signal * x + noise * dimension / num_samples) / 2,
        floor=0.5 * noise * max(1 - dimension * (1 - atom_at_zero) / num_samples, 0.0),
        num_samples=num_samples,
        name=name,
    )
