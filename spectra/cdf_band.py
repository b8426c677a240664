"""What is certain about the distribution function of a probe, and what probes then say about numbers of eigenvalues."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import SchemaError
from spectra.lanczos import BREAKDOWN
from spectra.measure_schema import Probe, eps_of, probes_of
from spectra.tridiagonal import tridiagonal_eigh

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CdfBand", "Rest", "cdf_band", "count_limits", "mean_mass_variance", "rest_of", "rounding_band"]

#: A coupling below this many eps of the norm cannot be told from none: its Ritz value is an eigenvalue.
_CONVERGED = 8.0
#: Nodes farther out than this many norms carry no weight that a float64 can hold beside 1.
_FAR = 1e6
#: Smallest normal share of a probe outside the known eigenvalues, where it is divided by.
_LEAST = 1e-12


def rounding_band(measure: "xr.Dataset") -> float:
    """Return ``64 eps ||A||``: eigenvalues this close to a number cannot be told from it."""
    return float(BREAKDOWN * eps_of(measure) * np.nanmax(np.abs(measure["ritz_value"].values)))


@dataclass(frozen=True, eq=False, kw_only=True)
class CdfBand:
    """Bounds of the distribution function of each probe, apart from the eigenvalues that are known.

    Attributes
    ----------
    low, high : ndarray, shape (p, k)
        ``low <= F_i(x) <= high`` for ``F_i(x) = sum of <v_i, u>^2 over eigenvalues <= x`` among those not known, over
        the sum of all of them. They coincide where the Krylov space was exhausted.
    known : ndarray of int, shape (k,)
        Eigenvalues up to x that every probe has resolved, with their multiplicities; they are certain.
    rest : int
        Eigenvalues not known: probes are uniform on the sphere of this dimension.
    """

    low: np.ndarray
    high: np.ndarray
    known: np.ndarray
    rest: int


def cdf_band(measure: "xr.Dataset", x: np.ndarray) -> CdfBand:
    """Bound the distribution function of each probe by the best that the steps, or moments, behind it allow.

    Parameters
    ----------
    measure : xarray.Dataset
        Spectral measure. Bounds are those of `markov_bounds`; for a measure of `spectra.kernel_polynomial` those of
        `selberg_bounds`.
    x : ndarray, shape (k,)
        Infinite values are allowed.

    Notes
    -----
    No products. Certain, up to rounding. ``O(p k m**3)`` operations on the host.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> eigenvalues = np.append(np.linspace(0.0, 1.0, 99), 7.0)
    >>> band = cdf_band(spectra.slq(np.diag(eigenvalues)), np.array([2.0, 8.0]))
    >>> band.known.tolist(), band.rest, np.round(band.high[0] - band.low[0], 6).tolist()
    ([0, 1], 99, [0.0, 0.0])
    """
    probes, n = probes_of(measure), int(measure.attrs["dimension"])
    if "chebyshev_moment" in measure:
        start, end = measure.attrs["interval"]
        low, high = selberg_bounds(np.asarray(measure["chebyshev_moment"].values, dtype=np.float64), start, end, x)
        return CdfBand(low=low, high=high, known=np.zeros(len(x), dtype=np.int64), rest=n)
    values, counts, nodes = known_eigenvalues(measure, probes)
    below = values[:, None] <= x
    bounds = []
    for i, probe in enumerate(probes):
        mine = nodes[i, : len(probe.values)]
        share = np.array([np.sum(probe.raw_weights[mine == k]) for k in range(len(values))])
        low, high = markov_bounds(probe, x, eps=eps_of(measure), settled=mine >= 0)
        left = 1.0 - np.sum(share)
        # what is left is only nothing where every eigenvalue is known, and then it has no bounds to give
        bounds.append([np.clip((end - share @ below) / max(left, _LEAST), 0.0, 1.0) for end in (low, high)])
    low, high = np.array(bounds).swapaxes(0, 1)
    return CdfBand(low=low, high=high, known=counts @ below, rest=n - int(np.sum(counts)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Rest:
    """The eigenvalues that are not known: their number, and their measure as the probes have it, of mass 1."""

    count: int
    values: np.ndarray
    weights: np.ndarray


def rest_of(measure: "xr.Dataset") -> Rest:
    """Return what is left of a measure without the eigenvalues that every probe has resolved."""
    probes = probes_of(measure)
    _, counts, nodes = known_eigenvalues(measure, probes)
    values, weights = [], []
    for probe, row in zip(probes, nodes, strict=True):
        free = row[: len(probe.values)] < 0
        values.append(probe.values[free])
        weights.append(probe.raw_weights[free] / max(np.sum(probe.raw_weights[free]), _LEAST) / len(probes))
    pooled_values = np.concatenate(values)
    order = np.argsort(pooled_values, kind="stable")
    count = int(measure.attrs["dimension"]) - int(np.sum(counts))
    return Rest(count=count, values=pooled_values[order], weights=np.concatenate(weights)[order])


def is_certain(measure: "xr.Dataset") -> bool:
    """Whether nothing is left to chance: all eigenvalues are known, or there is a single one, of multiplicity n."""
    return rest_of(measure).count == 0 or all(q.is_exact and len(q.values) == 1 for q in probes_of(measure))


def known_eigenvalues(measure: "xr.Dataset", probes: list[Probe]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values and multiplicities of the known eigenvalues, and which one each node stands for, or -1.

    Shapes (e,), (e,) and (p, node).
    """
    nothing = np.full(measure["ritz_value"].shape, -1)
    if all(np.array_equal(probe.weights, probe.raw_weights) and not probe.is_complete for probe in probes):
        return np.zeros(0), np.zeros(0, dtype=np.int64), nothing
    multiplicity, index = measure["multiplicity"].values, measure["resolved_index"].values
    used = np.flatnonzero(multiplicity > 0)
    values = np.array([np.median(measure["ritz_value"].values[index == k]) for k in used])
    position = np.full(len(multiplicity) + 1, -1)
    position[used] = np.arange(len(used))
    return values, multiplicity[used].astype(np.int64), position[index]


def markov_bounds(
    probe: Probe, x: np.ndarray, *, eps: float, settled: np.ndarray | bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Bound the distribution function of one probe by the quadrature rule that has x among its nodes.

    The Gauss-Radau rule with node x (m + 1 nodes, exact to degree 2m) puts certain sums of weights to the left of x and
    a weight on x itself: ``sum_{xi < x} w <= F(x) <= sum_{xi <= x} w``. In a gap of the spectrum the weight on x falls
    exponentially with the steps; in the bulk it is half as wide as the bounds between neighboring Ritz values.

    Parameters
    ----------
    probe : Probe
        With a tridiagonal matrix; its own weights are bounded, those before any deflation.
    x : ndarray, shape (k,)
    eps : float
        Of the products.
    settled : ndarray of bool, shape (m,)
        Ritz values known to be eigenvalues. Those whose coupling is rounding error are found here.

    Source: Chebyshev, Markov and Stieltjes; Szego, Orthogonal Polynomials, section 3.41; Golub (1973) for the rule.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> from spectra.measure_schema import probes_of
    >>> measure = spectra.slq(np.diag([0.0] * 30 + [5.0] * 10 + [6.0] * 10), num_probes=1, num_steps=2)
    >>> low, high = markov_bounds(probes_of(measure)[0], np.array([2.0]), eps=2e-16)
    >>> bool(0.0 < high[0] - low[0] < 0.1)
    True
    """
    values, first, border, settled = _spread(probe, eps, settled)
    norm, weights = float(np.max(np.abs(values))), first**2
    certain = np.concatenate([[0.0], np.cumsum(weights[settled])])[np.searchsorted(values[settled], x, side="right")]
    if np.all(settled):
        return certain, certain
    points = np.clip(x / norm, -_FAR, _FAR)
    low, size = _with_node(values[~settled] / norm, first[~settled], border[~settled] / norm, points)
    low, size = np.where(x == np.inf, low + size, low), np.where(np.isinf(x), 0.0, size)
    return np.clip(certain + low, 0.0, 1.0), np.clip(certain + low + size, 0.0, 1.0)


def radau_rule(probe: Probe, x: float, *, eps: float, settled: np.ndarray | bool = False) -> tuple[Any, Any]:
    """Return nodes and weights of the quadrature rule that has x among its nodes, for one probe.

    Ritz values that are settled, see `markov_bounds`, stay as they are; a rule without others has no node x.

    Source: Golub (1973).

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> from spectra.measure_schema import probes_of
    >>> measure = spectra.slq(np.diag(np.linspace(1.0, 2.0, 50)), num_probes=1, num_steps=3)
    >>> nodes, weights = radau_rule(probes_of(measure)[0], 0.5, eps=2e-16)
    >>> len(nodes), round(float(nodes[0]), 9), round(float(np.sum(weights)), 9)
    (4, 0.5, 1.0)
    """
    values, first, border, settled = _spread(probe, eps, settled)
    norm = float(np.max(np.abs(values)))
    weights = first**2
    if np.all(settled):
        return values, weights
    arrow = values[~settled] / norm, first[~settled], border[~settled] / norm
    nodes, new = _rules_with_node(*arrow, np.array([x / norm]))
    return np.concatenate([values[settled], norm * nodes[0]]), np.concatenate([weights[settled], new[0]])


def _spread(
    probe: Probe, eps: float, settled: np.ndarray | bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return Ritz values, first components, couplings to the next vector (with signs), and which ones are settled."""
    if probe.diagonal is None or probe.off_diagonal is None:
        raise SchemaError("a probe with a tridiagonal matrix is required, from spectra.slq")
    values, vectors = tridiagonal_eigh(probe.diagonal, probe.off_diagonal)
    border = probe.off_diagonal[len(values) - 1] * vectors[-1]
    converged = np.abs(border) <= _CONVERGED * eps * np.max(np.abs(values))
    return values, vectors[0] / np.linalg.norm(vectors[0]), border, np.logical_or(converged, settled)


def _rules_with_node(
    values: np.ndarray, first: np.ndarray, border: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the rules that have x among their nodes, shape (k, m + 1) each.

    In the basis of Ritz vectors the extended tridiagonal matrix is an arrow: Ritz values on the diagonal, couplings in
    the last column, and in the corner the number that makes x an eigenvalue.
    """
    m = len(values)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        corner = points - np.sum(border**2 / (points[:, None] - values), axis=1)
    corner = np.clip(np.where(np.isnan(corner), _FAR, corner), -_FAR, _FAR)
    arrow = np.zeros((len(points), m + 1, m + 1))
    arrow[:, np.arange(m), np.arange(m)] = values
    arrow[:, m, :m] = border
    arrow[:, m, m] = corner
    nodes, vectors = np.linalg.eigh(arrow, UPLO="L")
    return nodes, np.einsum("k,jki->ji", first, vectors[:, :m, :]) ** 2


def _with_node(
    values: np.ndarray, first: np.ndarray, border: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mass left of x, and the weight on x, in the rules that have x among their nodes; shape (k,) each."""
    nodes, weights = _rules_with_node(values, first, border, points)
    index = np.argmin(np.abs(nodes - points[:, None]), axis=1)
    low = np.sum(np.where(np.arange(len(values) + 1) < index[:, None], weights, 0.0), axis=1)
    return low, np.take_along_axis(weights, index[:, None], axis=1)[:, 0]


def selberg_bounds(moments: np.ndarray, low: float, high: float, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bound the distribution function of each probe from its Chebyshev moments, shape (p, N).

    Integrates the polynomials of degree N - 1 that Selberg built from Vaaler's below and above the indicator function
    of an arc: ``t <= cos(2 pi a)`` is the arc [a, 1 - a].

    Source: Montgomery, Ten Lectures on the Interface between Analytic Number Theory and Harmonic Analysis (1994),
    chapter 1; Vaaler (1985).

    Examples
    --------
    >>> import numpy as np
    >>> below, above = selberg_bounds(np.array([[1.0] + [0.0] * 99]), -1.0, 1.0, np.array([0.0]))
    >>> round(float(below[0, 0]), 6), round(float(above[0, 0]), 6)
    (0.49, 0.51)
    """
    num = moments.shape[1]
    half = 0.5 * high - 0.5 * low
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.clip((x - (0.5 * low + 0.5 * high)) / half, -1.0, 1.0)
    t = np.where(np.isnan(t), np.where(x < low, -1.0, 1.0), t)
    start = np.arccos(t) / (2.0 * np.pi)
    k = np.arange(1, num)
    u = k / num
    saw = (-(1.0 - u) / np.tan(np.pi * u) - 1.0 / np.pi) / num
    fejer = (1.0 - u) / num
    angles = 2.0 * np.pi * k[:, None] * start
    middle = (1.0 - 2.0 * start) + 2.0 * (moments[:, 1:] * saw) @ np.sin(angles)
    width = 1.0 / num + 2.0 * (moments[:, 1:] * fejer) @ np.cos(angles)
    below = np.where(x < low, 0.0, np.where(x >= high, 1.0, np.clip(middle - width, 0.0, 1.0)))
    above = np.where(x < low, 0.0, np.where(x >= high, 1.0, np.clip(middle + width, 0.0, 1.0)))
    return below, above


def mean_mass_variance(*, dimension: int, num_probes: int) -> float:
    """Return v such that the mean over probes of the mass on k of n eigenvalues has variance ``v (k/n) (1 - k/n)``.

    ``v = 2 / (p (n + 2))`` on the sphere; for independent signs it is at most ``2 / (p n)``.
    """
    return 2.0 / (num_probes * (dimension + 2.0))


def count_limits(
    low: float, high: float, *, dimension: int, num_probes: int, level: float, rounding: float
) -> tuple[int, int]:
    """Return the least and the largest number of eigenvalues that agree with a mean mass between ``low`` and ``high``.

    The mass of a vector on the sphere in a space of dimension k follows Beta(k/2, (n - k)/2). The mean of p of them is
    taken as the Beta variable with its mean and variance, exact for p = 1 and for ``k << n``. Both limits hold with
    probability ``level``, each of them with ``(1 + level) / 2``.

    Parameters
    ----------
    low, high : float
        Bounds of the mean over probes of the mass, in [0, 1].
    dimension, num_probes : int
        n and p.
    level : float
        In (0, 1).
    rounding : float
        A mass up to this may be none.

    Examples
    --------
    >>> count_limits(0.1, 0.1, dimension=1000, num_probes=10, level=0.95, rounding=1e-13)
    (92, 108)
    """
    tail = 0.5 - 0.5 * level
    least, most = (
        _most(mass, dimension=dimension, num_probes=num_probes, tail=tail, rounding=rounding)
        for mass in (1.0 - low, high)
    )
    return dimension - least, most


def _most(mass: float, *, dimension: int, num_probes: int, tail: float, rounding: float) -> int:
    """Return the largest k for which a mean mass of at most ``mass`` has at least the probability ``tail``."""
    from scipy.special import betainc

    if mass >= 1.0 - rounding:
        return dimension
    total = 1.0 / mean_mass_variance(dimension=dimension, num_probes=num_probes) - 1.0
    fits, fails = 0, dimension
    while fails - fits > 1:
        k = (fits + fails) // 2
        share = k / dimension
        if betainc(share * total, (1.0 - share) * total, max(mass, 0.0)) >= tail:
            fits = k
        else:
            fails = k
    return fits
