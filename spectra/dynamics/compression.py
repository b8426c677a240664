r"""Fewer nodes with the same loss curves: many modes of nearly equal eigenvalues act as a few.

Noise and loss of plain SGD see the spectrum through sums of :math:`w_j \lambda_j^2 \rho(\lambda_j)^k` and
:math:`q_j \rho(\lambda_j)^k`. As a function of :math:`\log \lambda` the decay :math:`\rho^k` is smooth on one scale,
whatever k is: about :math:`e^{-x}` with :math:`x = 2\gamma\lambda k`. So nodes are grouped by the logarithm of their
eigenvalue, and each group is replaced by the Gauss quadrature of four nodes for its noise, and one for its loss, which
have the same moments up to the seventh. Derived here.
"""

from dataclasses import replace

import numpy as np

from spectra.arrays import finite_number
from spectra.dynamics.quadratic import Quadratic
from spectra.errors import ArgumentError
from spectra.frozen import Vector

__all__ = ["cheaper", "compress"]

#: Nodes of a group. The error of n nodes over a group of relative width h falls like h^(2n).
NUM_NODES = 4
#: Nodes from which searches over many curves are faster on a compressed problem, the compression counted.
LARGE = 200


def compress(problem: Quadratic, *, width: float = 0.3) -> Quadratic:
    r"""Return a problem with fewer nodes whose curves of plain SGD are nearly the same.

    Parameters
    ----------
    problem : Quadratic
        Any number of nodes.
    width : float
        Range of :math:`\log \lambda` of a group.

    Returns
    -------
    Quadratic
        At most eight nodes per group, without rows, coordinates and fourth moments: for the closures ``limit``,
        ``gaussian`` and ``continuous``, without momentum and weight decay.

    Raises
    ------
    ArgumentError
        If the width is not positive.

    Notes
    -----
    For Marchenko-Pastur spectra of 1000 modes and batches of at most a tenth of the data curves agreed to 1e-9 of the
    loss with 96 nodes in place of 1000 (``tests/spectra/dynamics/test_compression.py``), and to 5e-8 for full batches
    at 0.8 of the critical rate; beyond, modes near the upper end change sign in every step, and 5e-6 was seen.
    Relative to a loss that has decayed by many orders of magnitude the error is larger. Momentum makes modes oscillate,
    which is not smooth on that scale.

    Examples
    --------
    >>> from spectra.dynamics import from_marchenko_pastur
    >>> problem = from_marchenko_pastur(0.5, dimension=1000, num_nodes=1000)
    >>> small = compress(problem)
    >>> small.eigenvalue.size < 100, bool(abs(small.trace / problem.trace - 1) < 1e-12)
    (True, True)
    """
    if not isinstance(problem, Quadratic):
        raise ArgumentError(f"problem must be a spectra.dynamics.Quadratic; got {type(problem).__name__}")
    if not finite_number(width, name="width") > 0:
        raise ArgumentError(f"width must be positive; got {width}")
    order = np.argsort(problem.eigenvalue, kind="stable")
    lam, weight, loss = problem.eigenvalue[order], problem.multiplicity[order], problem.initial_loss[order]
    logs = np.log(lam)
    group = np.floor((logs - logs[0]) / width).astype(np.int64)
    parts: list[tuple[Vector, Vector, Vector]] = []
    for begin, end in zip(*_runs(group), strict=True):
        x, w, q = lam[begin:end], weight[begin:end], loss[begin:end]
        if x.size <= 2 * NUM_NODES:
            parts.append((x, w, q))
            continue
        # against w x the first moments are those of w x^2 and, once more, of the trace w x
        nodes, mass = _gauss(x, w * x)
        parts.append((nodes, mass / nodes, np.zeros_like(nodes)))
        nodes, mass = _gauss(x, q)
        parts.append((nodes, np.zeros_like(nodes), mass))
    eigenvalue, multiplicity, initial_loss = (np.concatenate(column) for column in zip(*parts, strict=True))
    return replace(
        problem,
        eigenvalue=eigenvalue,
        multiplicity=multiplicity,
        initial_loss=initial_loss,
        kurtosis=None,
        rows=None,
        coordinates=None,
    )


def cheaper(problem: Quadratic, *, closure: str, momentum: float) -> Quadratic:
    """Return the problem, compressed where many curves of it are wanted, it is large and the closure allows it."""
    if problem.eigenvalue.size <= LARGE or momentum or closure not in ("limit", "gaussian", "continuous"):
        return problem
    return compress(problem)


def _runs(group: np.ndarray) -> tuple[list[int], list[int]]:
    """Return where runs of equal numbers begin and end."""
    cuts = (np.flatnonzero(np.diff(group)) + 1).tolist()
    return [0, *cuts], [*cuts, len(group)]


def _gauss(x: Vector, weight: Vector) -> tuple[Vector, Vector]:
    """Return nodes and weights of Gauss quadrature for a discrete measure; fewer nodes where it has fewer."""
    total = float(np.sum(weight))
    if total == 0:
        return x[:0], x[:0]
    middle, half = 0.5 * (x[0] + x[-1]), max(0.5 * (x[-1] - x[0]), np.finfo(np.float64).tiny)
    t = (x - middle) / half
    vector, before, coupling = np.sqrt(weight / total), np.zeros_like(x), 0.0
    diagonal, off_diagonal = [], []
    for _ in range(NUM_NODES):
        product = t * vector
        diagonal.append(float(vector @ product))
        product = product - diagonal[-1] * vector - coupling * before
        coupling = float(np.linalg.norm(product))
        if coupling < 1e-8:
            break
        off_diagonal.append(coupling)
        before, vector = vector, product / coupling
    size = len(diagonal)
    off = off_diagonal[: size - 1]
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    return middle + half * values, total * vectors[0] ** 2
