r"""What all large draws of power-law random features have in common: a problem without randomness, of any size."""

import numpy as np

from spectra.dynamics.power_law import as_decay, problem_name
from spectra.dynamics.power_law_resolvent import Complex, FeatureResolvent
from spectra.dynamics.quadratic import Quadratic
from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.start_vectors import as_count

__all__ = ["power_law_equivalent", "power_law_resolvent"]

#: Logarithmic widths of a block of entries and of a cell of the spectrum: curves move by less than 0.1 % if either is
#: halved (``tests/spectra/dynamics/test_power_law_equivalent.py``).
BLOCK, CELL = 0.02, 0.1
#: Index at which blocks begin; there sums are integrals to 1e-9 (derived: the next term of Euler's formula).
FIRST_BLOCK = 32
#: Points of the quadrature on the arc over a cell; the number of eigenvalues is right to 1e-5 (same tests).
NUM_POINTS = 16
#: Height of an arc, at most, in the logarithm of z: well below pi, where the logarithm ends (design choice).
HEIGHT = 2.0
#: Cells with fewer eigenvalues are gaps of the spectrum, with the rounding of the quadrature.
EMPTY = 1e-6
#: Lowest end of a cell over the smallest entry if the spectrum reaches zero (v = d): about a millionth of the
#: eigenvalues, whose number grows like a square root there, lies below.
HARD_EDGE = 1e-12
#: Relative distance of two entries between which a number can be told from both (far above rounding).
DISTINCT = 1e-9


def power_law_resolvent(
    num_parameters: int, *, ambient_dimension: int, data_decay: float, block: float = BLOCK
) -> FeatureResolvent:
    r"""Return the deterministic equivalent of the resolvent of power-law random features.

    Entries :math:`D_j = j^{-2\alpha}` of a block of neighbors are lumped at their mean, so that a hundred thousand cost
    less than a thousand single ones. The trace stays as it is.

    Parameters
    ----------
    num_parameters, ambient_dimension, data_decay
        As for :func:`power_law_features`.
    block : float
        Logarithmic width of a block in the index j; 0 lumps nothing.

    Returns
    -------
    FeatureResolvent
        Of O(log(v) / block) distinct entries.

    Raises
    ------
    ArgumentError, NonFiniteError
        As for :func:`power_law_features`.

    Notes
    -----
    O(entries) operations.

    Source: Paquette, Paquette, Xiao and Pennington (2024), arXiv 2405.15074; the blocks are derived.

    Examples
    --------
    >>> found = power_law_resolvent(100, ambient_dimension=10**5, data_decay=1.0)
    >>> found.values.size, round(float(found.counts @ found.values), 4), round(float(np.sum(found.counts)))
    (461, 1.6449, 100000)
    """
    v = as_count(ambient_dimension, name="ambient_dimension")
    starts = _blocks(v, block)
    counts = np.diff(starts)
    return FeatureResolvent(
        values=_block_sums(starts, 2 * as_decay(data_decay, name="data_decay")) / counts,
        counts=counts,
        num_parameters=num_parameters,
    )


def power_law_equivalent(
    num_parameters: int,
    *,
    ambient_dimension: int,
    data_decay: float,
    target_decay: float,
    block: float = BLOCK,
    cell: float = CELL,
    num_points: int = NUM_POINTS,
) -> Quadratic:
    r"""Return the problem that power-law random features come close to when there are many, without drawing any.

    The eigenvalues and the losses that they hold follow two measures with the transforms

    .. math::
        \sum_i \frac1{\lambda_i - z} \approx \frac d{\kappa(z)}, \qquad
        \sum_i \frac{q_i}{\lambda_i - z} - \frac{L_*}{z}
        \approx -\frac1{2z} \sum_j \frac{\kappa(z)}{\kappa(z) + D_j} D_j b_j^2,

    see :mod:`spectra.dynamics.power_law_resolvent`, and :math:`L_* = \tfrac12 \sum_j D_j b_j^2 \kappa_0 / (\kappa_0 +
    D_j)` with :math:`\kappa_0 = \kappa(0^-)`. A node stands for the eigenvalues of one cell of a logarithmic grid: both
    measures of the cell, and its mean eigenvalue, are integrals over an arc above it in the complex plane, where the
    transforms are smooth.

    Parameters
    ----------
    num_parameters, ambient_dimension, data_decay, target_decay
        As for :func:`power_law_features`.
    block : float
        As for :func:`power_law_resolvent`.
    cell : float
        Logarithmic width of a cell, at least; among isolated eigenvalues cells end in the gaps.
    num_points : int
        Points of the quadrature on an arc.

    Returns
    -------
    Quadratic
        A stream with multiplicities. Its evidence holds ``count_error`` and ``loss_error``, by which the number of
        eigenvalues and the loss at the start differ from what they must be, relatively.

    Raises
    ------
    ArgumentError, NonFiniteError
        As for :func:`power_law_features`, and if ``cell`` is not positive.

    Notes
    -----
    O(nodes * num_points * blocks). Both numbers grow like the logarithm of the sizes, so that a billion parameters take
    seconds. With eigenvalues over more than about 13 decades, :math:`d^{-2\alpha}`, the closed form of curves loses the
    smallest to rounding.

    Curves agree with the mean over draws of W within its standard error (sizes from 100 to 300, 30 draws,
    ``tests/spectra/dynamics/test_power_law_equivalent.py``). Single draws scatter around it, by 10 to 25 % where few
    eigenvalues carry the loss. What remains with many draws is a bias of order 1/d, such as 0.8/d after one step and
    4/d after ten (data decay 1, target decay 0.7): eigenvalues of real features scatter more than the equivalent does.

    Sources: Paquette, Paquette, Xiao and Pennington (2024), arXiv 2405.15074, for the equivalent; the cells are derived
    here.

    Examples
    --------
    >>> problem = power_law_equivalent(1000, ambient_dimension=4000, data_decay=1.0, target_decay=0.7)
    >>> problem.eigenvalue.size < 200, abs(problem.evidence["count_error"]) < 1e-4
    (True, True)
    """
    if not 0 < cell < np.inf:
        raise ArgumentError(f"cell is a logarithmic width and must be positive; got {cell}")
    alpha, beta = as_decay(data_decay, name="data_decay"), as_decay(target_decay, name="target_decay")
    resolvent = power_law_resolvent(
        num_parameters, ambient_dimension=ambient_dimension, data_decay=data_decay, block=block
    )
    d, v = resolvent.num_parameters, int(ambient_dimension)
    target = 0.5 * _block_sums(_blocks(v, block), 2 * (alpha + beta))
    ridge = resolvent.ridge_at_zero
    floor = float(target @ (ridge / (ridge + resolvent.values)))
    edges = np.log(_cells(resolvent, cell))
    center, radius = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    node, weight = np.polynomial.legendre.leggauss(as_count(num_points, name="num_points", least=4))
    angle, height = np.pi * (node + 1) / 2, np.minimum(radius, HEIGHT)[:, None]
    z = np.exp(center[:, None] - radius[:, None] * np.cos(angle) + 1j * height * np.sin(angle))
    step = 0.5 * weight * z * (radius[:, None] * np.sin(angle) + 1j * height * np.cos(angle))  # dz / pi
    count, held = np.sum(step / z * (transforms := _transforms(resolvent, z, target)), axis=-1).imag
    first = np.sum(step * transforms[0], axis=-1).imag
    kept = count > EMPTY
    count, held = count[kept], np.maximum(held[kept], 0.0)
    mean = np.clip(first[kept] / count, np.exp(edges[:-1][kept]), np.exp(edges[1:][kept]))
    total = float(np.sum(target))
    return Quadratic(
        eigenvalue=mean,
        multiplicity=count,
        initial_loss=held,
        floor=floor,
        evidence={
            "count_error": float(np.sum(count)) / min(d, v) - 1,
            "loss_error": (float(np.sum(held)) + floor) / total - 1,
        },
        name=problem_name("equivalent", alpha, beta, d, v),
    )


def _transforms(resolvent: FeatureResolvent, z: Complex, target: Vector) -> Complex:
    """Return z times both transforms without their poles at zero, shape (2, cells, points).

    Those poles add nothing to a cell, but would hide the few large eigenvalues behind all the small ones.
    """
    weights = np.stack([resolvent.counts, target]).T
    kappa = resolvent.ridge(z)
    rows = [(resolvent.values / (row[:, None] + resolvent.values)) @ weights for row in kappa]
    return np.moveaxis(np.stack(rows), -1, 0)


def _cells(resolvent: FeatureResolvent, cell: float) -> Vector:
    """Return ends of cells, ascending: in the gaps between isolated eigenvalues, then at equal ratios."""
    low, high = resolvent.support
    # Between two entries the gap, if there is one, is where -psi of minus their geometric mean lies.
    descending = np.sort(resolvent.values)[::-1]
    apart = descending[:-1] > descending[1:] * (1 + DISTINCT)
    ends = [1.5 * high]
    for kappa in -np.sqrt(descending[:-1] * descending[1:])[apart]:
        psi, slope = resolvent.psi(np.array([kappa]))
        if slope[0] <= 0:
            break
        if -psi[0] < ends[-1] * np.exp(-cell):
            ends.append(-float(psi[0]))
    lowest = 0.9 * low if low > 0 else HARD_EDGE * float(descending[-1])
    num = max(1, int(np.ceil(np.log(ends[-1] / lowest) / cell)))
    grid = np.geomspace(lowest, ends[-1], num + 1)
    grid[-1] = ends[-1]
    return np.concatenate([grid, ends[-2::-1]])


def _blocks(v: int, block: float) -> Vector:
    """Return the first index of each block of entries, and one past the last."""
    if not 0 <= block < 1:
        raise ArgumentError(f"block is a logarithmic width in [0, 1); got {block}")
    starts = [1]
    while starts[-1] <= v:
        starts.append(min(v + 1, starts[-1] + (max(1, int(block * starts[-1])) if starts[-1] >= FIRST_BLOCK else 1)))
    return np.array(starts, dtype=np.float64)


def _block_sums(starts: Vector, power: float) -> Vector:
    r"""Return the sums of :math:`j^{-p}` over blocks: midpoint sums are integrals, up to derivatives at the ends."""
    a, b = starts[:-1] - 0.5, starts[1:] - 0.5
    rest = 1 - power
    growth = rest * np.log(b / a)
    integral = a**rest * np.log(b / a) * np.divide(np.expm1(growth), growth, out=np.ones_like(a), where=growth != 0)
    first, third = power / 24, -7 * power * (power + 1) * (power + 2) / 5760
    ends = first * (b ** (-power - 1) - a ** (-power - 1)) + third * (b ** (-power - 3) - a ** (-power - 3))
    return np.where(b - a == 1, starts[:-1] ** -power, integral + ends)
