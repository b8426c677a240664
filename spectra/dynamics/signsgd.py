r"""Risk of signSGD in streaming regression with Gaussian features, for any covariance.

Each step takes a fresh sample, :math:`a \sim N(0, K)` with target :math:`a \cdot x_* + \sigma \xi`, and moves every
coordinate by the learning rate h against the sign of its gradient. With :math:`M = \mathrm{E}\, e e^T` of the error
:math:`e = x - x_*`, risk :math:`R = \tfrac12 (\operatorname{tr} KM + \sigma^2)` and :math:`\bar K = D^{-1/2} K`,
:math:`D = \operatorname{diag} K`,

.. math::
    M \leftarrow M - \frac{2}{\pi} \frac{h}{\sqrt{2R}} (\bar K M + M \bar K^T) + h^2 K_s, \qquad
    K_s = \frac{2}{\pi} \arcsin \big( D^{-1/2} K D^{-1/2} \big)

(Xiao, Marshall, Agarwala and Paquette 2024, arXiv 2411.12135, whose learning rate is d h). Only the part of M that the
risk sees is followed here (derived): with :math:`C = K^{1/2} D^{-1/2} K^{1/2} = Q \operatorname{diag}(\mu) Q^T`, the
diagonal n of :math:`Q^T K^{1/2} M K^{1/2} Q` obeys

.. math::
    n_i \leftarrow \Big( 1 - \frac{4}{\pi} \frac{h \mu_i}{\sqrt{2R}} \Big) n_i + h^2 p_i, \qquad
    p = \operatorname{diag}(Q^T K^{1/2} K_s K^{1/2} Q), \qquad 2R = \sigma^2 + \sum_i n_i,

an equation of d numbers for every covariance. Two consequences (derived): no :math:`n_i` turns negative and no curve
diverges, since :math:`p_i \ge (2/\pi) \mu_i^2`; and with
:math:`T = \operatorname{tr} (K_s K^{1/2} C^+ K^{1/2})`, which is :math:`\sum_i K_{ii}^{1/2}` for a K of full rank, the
fixed point is :math:`\sqrt{2R} = (c + \sqrt{c^2 + 4 \sigma^2})/2`, :math:`c = \pi h T / 4`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectra.dynamics.preconditions import number_within
from spectra.dynamics.recursion import segments
from spectra.dynamics.steps import recorded_steps
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SIGNSGD_SCHEMA", "signsgd_curve", "signsgd_floor"]

SIGNSGD_SCHEMA = "spectra/signsgd"
_VERSION = 1

Vector = npt.NDArray[np.float64]

#: Eigenvalues below this share of the largest, times d, are the rounding of zeros or of a covariance in float32.
ROUNDING = {2: 1e-3, 4: 1e-6, 8: 1e-14}


def signsgd_curve(
    covariance: npt.ArrayLike,
    *,
    start: npt.ArrayLike,
    learning_rate: float,
    noise: float,
    num_steps: int,
    record: npt.ArrayLike | None = None,
) -> "xr.Dataset":
    r"""Return the expected risk of signSGD at batch size 1, by the recursion of this module.

    Parameters
    ----------
    covariance : array_like of shape (d, d) or (d,)
        K, symmetric positive semidefinite; a vector is the diagonal of a diagonal one.
    start : array_like of shape (d,)
        :math:`x_0 - x_*`, the error of the first iterate.
    learning_rate : float
        :math:`h > 0`, what each coordinate moves by.
    noise : float
        :math:`\sigma \ge 0`, standard deviation of the label noise, assumed Gaussian.
    num_steps : int
        Steps, each with one new sample.
    record : array_like of int, optional
        Steps to keep; by default as in :func:`spectra.dynamics.steps.recorded_steps`.

    Returns
    -------
    xarray.Dataset
        ``risk`` over ``step`` and ``floor``, both in units of half squared targets, the label noise included;
        ``start_alignment``, the largest correlation of a feature with the residual at the start. Where it is not
        small, the linear law used for the drift is off by its square over 6; where few features carry the risk, one
        run scatters about this mean. Attributes: ``schema``, ``schema_version``, the settings and the provenance.

    Raises
    ------
    ShapeError
        If shapes do not fit.
    NonFiniteError
        If a number is not finite, or the risk exceeds the largest float64.
    ArgumentError
        If the covariance is not symmetric positive semidefinite or zero, or a setting is out of range.

    Notes
    -----
    O(d) per step after one eigendecomposition, O(d^3); a diagonal covariance needs none. Compared with simulations in
    ``tests/claims/test_signsgd_risk.py``, and with the recursion of M in ``tests/spectra/dynamics/test_signsgd.py``.

    Source: Xiao, Marshall, Agarwala and Paquette (2024), arXiv 2411.12135, for the recursion of M; the equation of d
    numbers is derived.

    Examples
    --------
    >>> curve = signsgd_curve(np.ones(100), start=np.ones(100), learning_rate=0.01, noise=0.5, num_steps=3)
    >>> np.round(curve["risk"].values, 3).tolist(), round(float(curve["floor"]), 3)
    ([50.125, 50.066, 50.008, 49.949], 0.529)
    """
    spectrum, matrix = _signs_of(covariance), _matrix_of(covariance)
    error = np.asarray(start, dtype=np.float64)
    if error.shape != matrix.shape[:1]:
        raise ShapeError(f"start must have shape {matrix.shape[:1]} as the covariance; got {error.shape}")
    if not np.all(np.isfinite(error)):
        raise NonFiniteError("start must be finite; got NaN or infinity")
    rate = number_within(learning_rate, name="learning_rate", above=0.0)
    sd = number_within(noise, name="noise", least=0.0)
    steps = recorded_steps(num_steps, record)

    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        moments = spectrum.coordinates(error) ** 2
        image = matrix * error if matrix.ndim == 1 else matrix @ error
        spread = np.sqrt(matrix if matrix.ndim == 1 else np.diag(matrix))
        scale = spread * np.sqrt(np.sum(moments) + sd * sd)
        _require_finite(scale)
        alignment = float(np.max(np.abs(image[scale > 0] / scale[scale > 0]), initial=0.0))
    risks = []
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        push = rate * (rate * spectrum.pull * spectrum.ratio)
        for begin, end in segments(steps):
            for _ in range(begin, end):
                size = np.sqrt(sd * sd + np.sum(moments))
                drift = (4 / np.pi) * rate / size if size > 0 else 0.0
                moments = moments - drift * spectrum.pull * moments + push
            risks.append((sd * sd + np.sum(moments)) / 2)
    _require_finite(np.array(risks))
    import xarray as xr

    return xr.Dataset(
        {
            "risk": ("step", np.array(risks)),
            "floor": _floor(spectrum, rate, sd),
            "start_alignment": alignment,
        },
        coords={"step": steps},
        attrs=provenance(
            schema=SIGNSGD_SCHEMA,
            schema_version=_VERSION,
            method="signsgd",
            batch_size=1,
            learning_rate=rate,
            noise=sd,
        ),
    )


def signsgd_floor(covariance: npt.ArrayLike, *, learning_rate: float, noise: float) -> float:
    r"""Return the stationary risk of signSGD, the fixed point of the recursion of this module.

    For a covariance of full rank it depends on the diagonal alone: correlations change how fast signSGD gets there.

    Parameters
    ----------
    covariance, learning_rate, noise
        As in :func:`signsgd_curve`.

    Returns
    -------
    float
        The risk, label noise included; :math:`\sigma^2/2` for vanishing learning rates.

    Raises
    ------
    ShapeError, NonFiniteError, ArgumentError
        As :func:`signsgd_curve`.

    Notes
    -----
    One eigendecomposition, O(d^3); a diagonal covariance needs none. Source: derived.

    Examples
    --------
    Without label noise, ``(pi/4)^2 h^2 (sum of feature deviations)^2 / 2``.

    >>> round(signsgd_floor([4.0, 1.0], learning_rate=0.4 / np.pi, noise=0.0), 9)
    0.045
    """
    rate = number_within(learning_rate, name="learning_rate", above=0.0)
    return _floor(_signs_of(covariance), rate, number_within(noise, name="noise", least=0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Signs:
    """``mu``, ``p / mu`` and the rows of ``Q' K^(1/2)`` of the module docstring; a vector if that is diagonal."""

    pull: Vector
    ratio: Vector
    rows: Vector

    def coordinates(self, error: Vector) -> Vector:
        return self.rows * error if self.rows.ndim == 1 else self.rows @ error


def _floor(spectrum: _Signs, rate: float, sd: float) -> float:
    with np.errstate(over="ignore", under="ignore"):
        c = rate * (np.pi / 4) * np.sum(spectrum.ratio)
        size = c / 2 + np.hypot(c / 2, sd)
        risk = size * size / 2
    _require_finite(risk)
    return float(risk)


def _require_finite(values: npt.ArrayLike) -> None:
    """Raise if a risk or a root of one overflows."""
    if not np.all(np.isfinite(values)):
        raise NonFiniteError(
            "the risk exceeds the largest float64; lower the learning rate, noise, start or covariance, or use larger "
            "units"
        )


def _matrix_of(covariance: npt.ArrayLike) -> Vector:
    """Return the covariance, or its diagonal, in double precision."""
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim not in (1, 2) or matrix.shape[0] != matrix.shape[-1] or matrix.size == 0:
        raise ShapeError(f"covariance must have shape (d, d), or (d,) if diagonal, d at least 1; got {matrix.shape}")
    if not np.all(np.isfinite(matrix)):
        raise NonFiniteError("covariance must be finite; got NaN or infinity")
    return matrix


def _signs_of(covariance: npt.ArrayLike) -> _Signs:
    """Return what moves the risk in the directions that decouple the risk."""
    matrix = _matrix_of(covariance)
    own = matrix if matrix.ndim == 1 else np.diag(matrix)
    if np.any(own < 0) or not np.any(own > 0):
        raise ArgumentError(f"covariance must be positive semidefinite and not 0; its diagonal has {own.min():g}")
    if matrix.ndim == 1:
        return _Signs(pull=np.sqrt(own), ratio=np.sqrt(own), rows=np.sqrt(own))
    precision = np.asarray(covariance).dtype.itemsize if np.asarray(covariance).dtype.kind == "f" else 8
    slack = ROUNDING.get(precision, 1e-14) * len(own)
    if np.max(np.abs(matrix - matrix.T)) > slack * own.max():
        raise ArgumentError("covariance must be symmetric; pass (K + K.T) / 2 if it is so up to rounding")
    # In units of each feature, where a positive semidefinite matrix has entries of at most 1.
    used = own > 0
    if np.any(np.abs(matrix[~used]) > slack * own.max()):
        raise ArgumentError("covariance must be positive semidefinite; a feature without variance has covariances")
    spread = np.sqrt(own[used])
    correlation = ((matrix + matrix.T) / 2)[np.ix_(used, used)] / np.outer(spread, spread)
    np.fill_diagonal(correlation, 1.0)  # the arcsine turns a rounding error here into its root
    # C has the spectrum of D^(1/4) corr D^(1/4) = B; if B = U diag(mu) U', then Q'K^(1/2) = mu^(1/2) U' D^(1/4).
    quarter = np.sqrt(spread)
    mu, basis = np.linalg.eigh(quarter[:, None] * correlation * quarter)
    if mu[0] < -slack * mu[-1]:
        raise ArgumentError(
            f"covariance must be positive semidefinite; a scaled eigenvalue is {mu[0]:g}, of {mu[-1]:g}"
        )
    mu = np.where(mu > slack * mu[-1], mu, 0.0)
    half = basis.T * quarter
    rows = np.zeros((len(mu), len(own)))
    rows[:, used] = np.sqrt(mu)[:, None] * half
    signs = (2 / np.pi) * np.arcsin(np.clip(correlation, -1.0, 1.0))
    ratio = np.where(mu > 0, np.sum((half @ signs) * half, axis=1), 0.0)
    return _Signs(pull=mu, ratio=ratio, rows=rows)
