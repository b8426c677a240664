"""What is known about the decay of a kernel's eigenvalues."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

from spectra.frozen import Vector, frozen_array
from spectra.kernels.dimension_curve import DimensionCurve
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["EIGENDECAY_SCHEMA", "EIGENDECAY_SCHEMA_VERSION", "EigenDecay", "Law"]

EIGENDECAY_SCHEMA = "spectra/eigendecay"
EIGENDECAY_SCHEMA_VERSION = 1

Law = Literal["polynomial", "exponential", "finite_rank", "plateau", "ambiguous", "undetermined"]

COVERS = (
    "systematic deviations from the exponent of the limit, as measured on kernels with known exponents (Matern, "
    "Laplace, neural tangent and arc-cosine kernels on cubes, spheres and Gaussian inputs; Gaussian designs), and the "
    "spread over random halves of the sample; no guarantee for another kind of kernel"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class EigenDecay:
    r"""The law of decay of a kernel's eigenvalues on a sample.

    Attributes
    ----------
    law : str
        ``"polynomial"``: :math:`\lambda_i \sim i^{-\alpha}`. ``"exponential"``: faster than every power, also
        stretched, :math:`e^{-c i^b}`. ``"finite_rank"``. ``"plateau"``: a few large eigenvalues over a flat rest, as
        of a nugget, jitter or noise. ``"ambiguous"``: between polynomial and exponential, or two readings that the
        remarks give. ``"undetermined"``: too little is resolved.
    decay_exponent : float
        :math:`\alpha`; NaN unless the law is polynomial or ambiguous. Others write :math:`i^{-(1+a)}`.
    low, high : float
        Interval for it, see ``covers``; NaN unless the law is polynomial.
    covers : str
        What the interval accounts for.
    rank : int
        Of a finite-rank kernel, or eigenvalues above the plateau; 0 otherwise.
    plateau : float
        Median of the eigenvalues of the plateau, in the unit of the Gram matrix; NaN otherwise.
    rate : float
        c of :math:`e^{-c i}`, NaN unless exponential. Of a stretched exponential the local rate.
    shape : float
        b of the fit :math:`\log\kappa = c - a (N^b - 1)/b`: a label of the law and no estimate of an exponent. NaN
        where no curve was fitted, and at an end of its range, -0.6 or 1.6, a bound.
    delta_bic : float
        BIC of the power law less that of the exponential one.
    fitted_exponent, rms, r_squared : float
        Slope of the power law; and of the better of power and exponential law, root mean square deviation of
        :math:`\log\kappa`, and share of its variance that is explained.
    curve : DimensionCurve
        Effective dimensions over ridges, of the centered kernel where ``is_centered``.
    is_centered : bool
        Whether the mean of the kernel was removed before laws were fitted.
    mean_spike_share : float
        Share of the trace along the constant vector; NaN from eigenvalues alone.
    eigenvalue : ndarray, shape (m,)
        Of the Gram matrix itself, descending.
    subsample_exponent : ndarray
        Exponents from random halves of the sample; empty from eigenvalues alone.
    agreement : float
        Share of the halves with the same law, of those that are not ambiguous; NaN without any.
    num_samples : int
        n.
    is_trustworthy : bool
        Whether a law was found, fits, and is found on most halves too.
    why : str
        A sentence on that.
    remarks : tuple of str
        What else there is to know.
    """

    law: Law
    decay_exponent: float = np.nan
    low: float = np.nan
    high: float = np.nan
    covers: str = COVERS
    rank: int = 0
    plateau: float = np.nan
    rate: float = np.nan
    shape: float = np.nan
    delta_bic: float = np.nan
    fitted_exponent: float = np.nan
    rms: float = np.nan
    r_squared: float = np.nan
    curve: DimensionCurve
    is_centered: bool = False
    mean_spike_share: float = np.nan
    eigenvalue: Vector
    subsample_exponent: Vector
    agreement: float = np.nan
    num_samples: int
    is_trustworthy: bool
    why: str
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("eigenvalue", "subsample_exponent"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), name=name))

    def __str__(self) -> str:
        """Return the law with its number on one line."""
        detail = {
            "polynomial": f", exponent {self.decay_exponent:.3g} [{self.low:.3g}, {self.high:.3g}]",
            "exponential": f", rate {self.rate:.3g}, shape {self.shape:.2g}",
            "finite_rank": f", rank {self.rank}",
            "plateau": f", {self.rank} eigenvalues above {self.plateau:.3g}",
        }.get(self.law, "")
        return f"{self.law}{detail} ({self.num_samples} samples)"

    def to_dataset(self) -> "xr.Dataset":
        """Return everything as a dataset: the curve over ``point``, the eigenvalues over ``mode``."""
        import xarray as xr

        columns = ("ridge", "kappa", "df1", "df2", "overfitting_coefficient")
        variables = {name: ("point", getattr(self.curve, name)) for name in columns}
        array_like = {"curve", "eigenvalue", "subsample_exponent", "is_centered", "is_trustworthy", "remarks"}
        numbers = [field.name for field in fields(self) if field.name not in array_like]
        return xr.Dataset(
            {
                **variables,
                "eigenvalue": ("mode", self.eigenvalue),
                "subsample_exponent": ("subsample", self.subsample_exponent),
            },
            attrs=provenance(
                schema=EIGENDECAY_SCHEMA,
                schema_version=EIGENDECAY_SCHEMA_VERSION,
                **{name: getattr(self, name) for name in numbers},
                is_centered=int(self.is_centered),
                is_trustworthy=int(self.is_trustworthy),
                remarks="\n".join(self.remarks),
            ),
        )
