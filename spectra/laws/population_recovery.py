r"""From sample eigenvalues back to those of the population."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.laws.points import as_positive
from spectra.laws.population import PopulationLaw
from spectra.laws.population_quantiles import fit_population_quantiles
from spectra.measure_schema import pooled

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["PopulationSpectrum", "recover_population"]

#: Points at which the transform is compared: how many, and the slope of the ray from 0 on which they lie. Measured on
#: six populations, p = 200 and 500, y = 0.2 to 2: half the error of points at two fixed heights, which pass over small
#: eigenvalues. A quadrature of some tens of steps does not resolve what is as close to the axis as all eigenvalues do.
ROWS_OF_EIGENVALUES, ROWS_OF_MEASURE = ((80, 0.1), (40, 0.5)), ((80, 0.3), (40, 1.0))
#: Ends of the real parts in units of the smallest positive and the largest eigenvalue (set by hand, not tuned).
LEFT, RIGHT = 0.7, 1.1
#: Places of the population grid above 0, and its lower end in units of the smallest positive eigenvalue (set by hand).
NUM_PLACES, LOWEST = 149, 0.5
#: Eigenvalues below this share of the largest are zeros, or rounding, for the choice of points and grid.
ZERO = 1e-5
#: Weight of the row for mass 1, and the ridge that picks one of many equal fits (set by hand, not tuned).
MASS_ROW, RIDGE = 1e3, 1e-6
#: Residuals above these are doubted: over p for all eigenvalues (measured over 180 draws of right models: at most
#: 21 / p, but 31 / p for a population like 1/k with p = 500 and y = 3, which is doubted; for equal and evenly spaced
#: eigenvalues, p = 200 and 500: 90 / p to 450 / p), over the root of p times probes for a measure (measured: 0.9 to
#: 1.5); but not below what the grid leaves and not above what noise explains at any size (set by hand).
DOUBT, DOUBT_OF_MEASURE, LEAST_DOUBT, MOST_DOUBT = 25.0, 4.0, 2e-3, 0.5
#: Weight at the last place of the grid above which a bad fit mentions it.
AT_THE_END = 0.01
#: Negative eigenvalues up to this share of the largest are rounding, of float32 too.
NEGATIVE = 1e-5
#: Places lighter than this are left out.
LIGHT = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class PopulationSpectrum:
    """A population law that explains sample eigenvalues.

    Attributes
    ----------
    atoms : ndarray, shape (k,)
        Places with weight, ascending.
    weights : ndarray, shape (k,)
        Their weights, of sum 1. Single places are uncertain by some percent; means over them are better.
    residual : float
        Root mean square of the relative residuals of the equation of Silverstein, for the best weights on a grid.
    is_trustworthy : bool
        Whether the residual is no larger than fluctuations explain.
    why : str
        In a sentence.
    """

    atoms: Vector
    weights: Vector
    residual: float
    is_trustworthy: bool
    why: str

    @property
    def law(self) -> PopulationLaw:
        """Return the places and weights as a law."""
        return PopulationLaw(values=self.atoms, weights=self.weights)


def recover_population(
    source: "npt.ArrayLike | xr.Dataset", *, aspect_ratio: float, grid: npt.ArrayLike | None = None
) -> PopulationSpectrum:
    r"""Return the population law behind the eigenvalues of a sample covariance matrix.

    From eigenvalues: up to 200 places whose sample law has the nearest quantiles, see
    :mod:`spectra.laws.population_quantiles`. From a measure, or on a given grid ``t_j``: weights ``w_j >= 0`` that
    solve ``z + 1/v(z) = y sum_j w_j t_j / (1 + t_j v(z))`` in least squares over points z above the axis, where
    ``v = -(1 - y)/z + y m(z)`` comes from the data. The residual of the latter tells in both cases whether there is
    such a population at all.

    Parameters
    ----------
    source : array_like, shape (p,), or xarray.Dataset
        All p eigenvalues of the p by p matrix ``S``, zeros included, or a spectral measure of S, as of
        :func:`spectra.slq`.
    aspect_ratio : float
        ``y = p/n``. It must be known; a wrong one gives a wrong population that may fit well.
    grid : array_like, shape (k,), optional
        Places ``t_j`` to choose from, not negative. By default free places for eigenvalues, and for a measure 0 and
        149 with equal ratios, from half the smallest positive eigenvalue up to the largest.

    Returns
    -------
    PopulationSpectrum

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError
        If an eigenvalue is clearly negative, all are 0, the ratio is not positive, or the grid is none.
    SchemaError
        If the dataset is no spectral measure.

    Notes
    -----
    One non-negative least-squares problem with 240 rows, milliseconds; for eigenvalues a fit of quantiles as well, half
    a second for 400. Each row is divided by ``|z + 1/v|``, so that nothing depends on units. The model is that of
    independent samples of a linear mixture. A residual too large for it is reported; a small one does not prove it:
    with y taken too small the fit is good and the population too broad.

    Measured Wasserstein distances to the truth over its mean, p = 200, ten draws, of population 1, 3, 10 with weights
    0.2, 0.4, 0.4: 0.011, 0.04 and 0.21 for y = 0.1, 0.5 and 2, where those of the eigenvalues are 0.17, 0.37 and 0.78.
    Over five populations and these ratios the errors are 0.97 times those of the criterion of QuEST carried to
    convergence (1.27 times on a grid) in half of its time; with p = 400, five draws, 1.00 times (1.26) in a quarter.
    They are larger for heavy tails and y = 0.1. From measures with 8 probes and 40 steps, of p = 400 and 800: 0.08 and
    0.25 for y = 0.5 and 2.

    Source: El Karoui (2008), with the L2 norm in place of the maximum norm; Ledoit and Wolf (2015) for quantiles; the
    points and the rule of doubt are constructions of this project.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 400)) * np.repeat([1.0, 2.0], 100)[:, None]
    >>> found = recover_population(np.linalg.eigvalsh(X @ X.T / 400), aspect_ratio=0.5)
    >>> found.is_trustworthy, bool(abs(found.law.moment(1) - 2.5) < 0.2)
    (True, True)
    """
    ratio = as_positive(aspect_ratio, name="aspect_ratio")
    data = _data(source)
    values, largest = data.values, float(data.values[-1])
    smallest = float(np.min(values[values > ZERO * largest])) / largest
    places = _grid(grid, smallest, largest) / largest
    z = np.concatenate([np.geomspace(LEFT * smallest, RIGHT, num) * (1.0 + 1j * slope) for num, slope in data.rows])
    m = (1.0 / (values / largest - z[:, None])) @ data.weights
    v = -(1.0 - ratio) / z + ratio * m
    goal = z + 1.0 / v
    matrix = ratio * places / (1.0 + places * v[:, None])
    size = np.abs(goal)
    rows = np.concatenate([(matrix / size[:, None]).real, (matrix / size[:, None]).imag])
    right = np.concatenate([(goal / size).real, (goal / size).imag])
    system = np.concatenate([rows, np.full((1, places.size), MASS_ROW), RIDGE * np.eye(places.size)])
    found, _ = nnls(system, np.concatenate([right, [MASS_ROW], np.zeros(places.size)]))
    found = found / np.sum(found)
    residual = float(np.sqrt(2.0 * np.mean((rows @ found - right) ** 2)))
    keep = found > LIGHT
    trust, why = _judge(residual, found, data.limit)
    law = PopulationLaw(values=places[keep] * largest, weights=found[keep])
    if data.are_all and grid is None:
        law = fit_population_quantiles(values, aspect_ratio=ratio)
    return PopulationSpectrum(
        atoms=law.values,
        weights=law.weights,
        residual=residual,
        is_trustworthy=trust,
        why=why,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Data:
    """Ascending eigenvalues with weights of sum 1, whether they are all, the rows to fit, and the largest residual."""

    values: Vector
    weights: Vector
    are_all: bool
    rows: tuple[tuple[int, float], ...]
    limit: float


def _data(source: Any) -> _Data:
    """Return eigenvalues, or the pooled nodes of a measure, with what goes with them."""
    if hasattr(source, "data_vars"):
        values, weights = pooled(source)
        rows, limit = ROWS_OF_MEASURE, DOUBT_OF_MEASURE / np.sqrt(source.attrs["dimension"] * source.sizes["probe"])
    else:
        values = frozen_array(source, name="source")
        if values.ndim != 1 or values.size == 0:
            raise ShapeError(f"eigenvalues must have shape (p,) with p at least 1; got shape {values.shape}")
        values = np.sort(values)
        weights = np.full(values.size, 1.0 / values.size)
        rows, limit = ROWS_OF_EIGENVALUES, DOUBT / values.size
    if not values[-1] > 0 or values[0] < -NEGATIVE * values[-1]:
        raise ArgumentError(
            "eigenvalues of a sample covariance must not be negative, and one must be positive; got "
            f"{values[0]:.3g} to {values[-1]:.3g}"
        )
    limit = float(np.clip(limit, LEAST_DOUBT, MOST_DOUBT))
    are_all = not hasattr(source, "data_vars")
    return _Data(values=np.maximum(values, 0.0), weights=weights, are_all=are_all, rows=rows, limit=limit)


def _grid(grid: npt.ArrayLike | None, smallest: float, largest: float) -> Vector:
    """Return the places to choose from, ascending."""
    if grid is None:
        return np.concatenate([[0.0], largest * np.geomspace(LOWEST * smallest, 1.0, NUM_PLACES)])
    places = np.unique(frozen_array(grid, name="grid"))
    if np.ndim(grid) != 1 or places.size == 0 or places[0] < 0 or places[-1] == 0:
        raise ArgumentError("grid must be a list of places that are not negative, one of them positive")
    return places


def _judge(residual: float, weights: Vector, limit: float) -> tuple[bool, str]:
    """Return whether the fit can be used, and why."""
    if residual <= limit:
        return True, f"the residual {residual:.2g} is at most {limit:.2g}, what fluctuations explain"
    ends = f"; {weights[-1]:.0%} of the weight is at its last place" if weights[-1] > AT_THE_END else ""
    return False, (
        f"the residual {residual:.2g} is above {limit:.2g}, what fluctuations explain: the matrix is no sample "
        f"covariance of this aspect ratio, has heavy tails, or the grid does not cover the population{ends}"
    )
