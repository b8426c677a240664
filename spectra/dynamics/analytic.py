r"""Problems from an analytic law of the eigenvalues: isotropic start and teacher, what a large instance looks like."""

from collections.abc import Callable

import numpy as np

from spectra.dynamics.quadratic import Quadratic
from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.laws import MarchenkoPastur
from spectra.start_vectors import as_count

__all__ = ["from_law", "from_marchenko_pastur"]

#: Halvings of the bracket of a node: more than the digits of a double.
NUM_BISECTIONS = 60


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

    Returns
    -------
    Quadratic
        With ``num_nodes`` nodes; the mass of the quadrature is scaled to ``1 - atom_at_zero``.

    Raises
    ------
    ArgumentError
        If the support is empty, a number is negative or no count, or the density does not integrate to
        ``1 - atom_at_zero`` within 1 %.

    Notes
    -----
    One evaluation of the density at all nodes. Source: derived.

    A single instance differs from it by the randomness of its modes: 4 to 5 % of the loss for n = 2000, d = 1000.

    ``O(num_nodes)`` operations on the host.

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

    Nodes and weights are the Gauss quadrature of the positive part of the law. The Jacobi matrix of a law with
    :math:`r \le 1` and variance 1 has the diagonal :math:`1, 1 + r, 1 + r, \dots` and :math:`\sqrt r` beside it; the
    positive eigenvalues for :math:`r > 1` are r times those for :math:`1/r`, a share :math:`1/r` of all. Moments up to
    the order :math:`2 \cdot \text{num_nodes} - 1` are exact, the mass among them, which the loss of the noise needs.

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

    Returns
    -------
    Quadratic
        With ``num_nodes`` nodes, whose multiplicities add up to ``dimension * min(1, 1/r)``.

    Raises
    ------
    ArgumentError
        If the aspect ratio or variance is not positive, d / aspect_ratio is less than one sample, or signal or noise is
        negative or not finite.

    Notes
    -----
    ``O(num_nodes)`` operations and numbers on the host.

    Curves of the closure ``"continuous"`` agree with :meth:`spectra.dynamics.MarchenkoPasturSGD.loss`, which has no
    nodes, to 1e-10 at aspect ratios 0.5, 0.9, 0.999, 1, 1.001 and 1.5 up to 1000 epochs at half of the critical
    learning rate, with 400 nodes and label noise. Then the spacing of the nodes next to 0 shows: 0.07 % at 10000
    epochs. The number of nodes must grow like the root of that of epochs: 1000 of them hold 10000 epochs to 1e-9.

    Sources: Marchenko and Pastur (1967) for the law, used as in Paquette, Lee, Pedregosa and Paquette (2021), arXiv
    2102.04396; the Jacobi matrix is derived.

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
    x, share = _gauss_rule(min(law.aspect_ratio, 1 / law.aspect_ratio), as_count(num_nodes, name="num_nodes"))
    stretch = max(law.aspect_ratio, 1.0)
    return _isotropic(
        law.variance * stretch * x,
        share / stretch,
        dimension=d,
        num_samples=n,
        signal=signal,
        noise=noise,
        atom_at_zero=max(1 - 1 / law.aspect_ratio, 0.0),
        name=f"Marchenko-Pastur, aspect ratio {aspect_ratio:g}",
    )


def _gauss_rule(aspect_ratio: float, num_nodes: int) -> tuple[Vector, Vector]:
    r"""Return nodes, ascending, and weights of the law of variance 1 with an aspect ratio of at most 1.

    With :math:`\rho = \sqrt r` and the node :math:`x = (1 - \rho)^2 + 4 \rho \sin^2(\delta/2)` the polynomial of degree
    n vanishes where :math:`n \delta - \arg(\rho - e^{-i\delta})` is a multiple of :math:`\pi`, and the weight is
    :math:`2 \sin^2 \delta / (n x + 1 - \rho \cos \delta)` (derived from Christoffel's sum).
    """
    rho = float(np.sqrt(aspect_ratio))
    gap = (1 - aspect_ratio) / (1 + rho)  # 1 - rho
    index = np.arange(num_nodes)
    low, high = np.pi * index / num_nodes, np.pi * (index + 1) / (num_nodes + 1)
    for _ in range(NUM_BISECTIONS):
        delta = (low + high) / 2
        turn = np.arctan2(np.sin(delta), 2 * np.sin(delta / 2) ** 2 - gap)
        is_low = num_nodes * delta - turn < np.pi * index
        low, high = np.where(is_low, delta, low), np.where(is_low, high, delta)
    square = np.sin((low + high) / 4) ** 2
    x = gap**2 + 4 * rho * square
    weights = 8 * square * (1 - square) / (num_nodes * x + gap + 2 * rho * square)
    return x, weights / np.sum(weights)


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
