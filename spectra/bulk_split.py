"""A spectrum as a bulk with two edges and the eigenvalues outside."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

from spectra.frozen import Vector, frozen_array
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["BULK_SPLIT_SCHEMA", "BULK_SPLIT_SCHEMA_VERSION", "BulkSplit", "SplitMethod"]

BULK_SPLIT_SCHEMA = "spectra/bulk-split"
BULK_SPLIT_SCHEMA_VERSION = 1

SplitMethod = Literal["edge", "marchenko_pastur", "lanczos"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BulkSplit:
    """Edges of a bulk, and outliers.

    Attributes
    ----------
    method : str
        ``"edge"``: only the square-root edges of the bulk are assumed. ``"marchenko_pastur"``: white noise.
        ``"lanczos"``: a bulk of one interval, from the coefficients of Lanczos runs.
    low, high : float
        Edges of the bulk; ``low`` is 0 at a hard edge, and NaN where too few eigenvalues tell or none is left between
        the edges.
    low_stderr, high_stderr : float
        Standard errors; NaN where there is none.
    low_kind : str
        ``"soft"``: eigenvalues fluctuate around the edge, and outliers below it were looked for. ``"hard"``: the bulk
        of a positive semidefinite matrix reaches 0, below which there is nothing. ``"unknown"``.
    scale, low_scale : float
        Tracy-Widom scale, the unit of fluctuations of the outermost eigenvalue of the bulk; NaN from Lanczos runs.
    threshold, low_threshold : float
        Eigenvalues beyond are outliers; NaN where none were looked for.
    variance : float
        Of the noise; NaN unless the method is ``"marchenko_pastur"``.
    outlier : ndarray, shape (num_outliers,)
        Values, descending.
    side : ndarray of int, shape (num_outliers,)
        1 above and -1 below the bulk.
    residual : ndarray, shape (num_outliers,)
        Residuals of Ritz values: an eigenvalue is within. 0 for eigenvalues.
    p_value : ndarray, shape (num_outliers,)
        Probability that the bulk alone, without the outliers further out, reaches as far (Tracy-Widom); NaN from
        Lanczos runs.
    misfit, misfit_limit : float
        Deviation of the bulk from what the method assumes, and what it may be: in units of the scale for ``"edge"``,
        of distribution functions for ``"marchenko_pastur"``, of coefficients over the width for ``"lanczos"``.
    is_decay : bool
        Whether something speaks against an end of the bulk at all, as where eigenvalues fall off slowly.
    heavy_tailed : bool or None
        Whether outliers remain after a random permutation of the entries of the matrix, so that they say nothing about
        its structure. None where the entries were not given, or are too few to tell.
    num_eigenvalues, num_zeros : int
        Of the spectrum; and how many are 0 up to rounding and were left out.
    level : float
        Nominal probability that a bulk without outliers shows none, over both edges.
    is_trustworthy : bool
        Whether the bulk fits the method, enough is resolved and entries are not known to be heavy-tailed.
    why : str
        A sentence on that.
    remarks : tuple of str
        What else there is to know.
    """

    method: SplitMethod
    low: float
    high: float
    low_stderr: float
    high_stderr: float
    low_kind: Literal["soft", "hard", "unknown"]
    scale: float = np.nan
    low_scale: float = np.nan
    threshold: float
    low_threshold: float = np.nan
    variance: float = np.nan
    outlier: Vector
    side: np.ndarray
    residual: Vector
    p_value: Vector
    misfit: float
    misfit_limit: float
    is_decay: bool = False
    heavy_tailed: bool | None = None
    num_eigenvalues: int
    num_zeros: int = 0
    level: float
    is_trustworthy: bool
    why: str
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("outlier", "residual"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), name=name))
        for name, kind in (("side", np.int64), ("p_value", np.float64)):
            copy = np.array(getattr(self, name), dtype=kind)
            copy.flags.writeable = False
            object.__setattr__(self, name, copy)

    @property
    def num_outliers(self) -> int:
        """Number of outliers; distinct values from Lanczos runs, which do not see multiplicities."""
        return len(self.outlier)

    def __str__(self) -> str:
        """Return edges and outliers on one line."""
        count = f"{self.num_outliers} outlier{'' if self.num_outliers == 1 else 's'}"
        doubt = "" if self.is_trustworthy else f"; not trustworthy: {self.why}"
        return f"bulk [{self.low:.4g}, {self.high:.4g}], {count} ({self.method}){doubt}"

    def to_dataset(self) -> "xr.Dataset":
        """Return everything as a dataset over ``outlier``."""
        import xarray as xr

        columns = ("side", "residual", "p_value")
        plain = {"outlier", "is_decay", "heavy_tailed", "is_trustworthy", "remarks", *columns}
        numbers = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in plain}
        known = {None: "unknown", True: "yes", False: "no"}
        return xr.Dataset(
            {"value": ("outlier", self.outlier), **{name: ("outlier", getattr(self, name)) for name in columns}},
            attrs=provenance(
                schema=BULK_SPLIT_SCHEMA,
                schema_version=BULK_SPLIT_SCHEMA_VERSION,
                **numbers,
                is_decay=int(self.is_decay),
                heavy_tailed=known[self.heavy_tailed],
                is_trustworthy=int(self.is_trustworthy),
                remarks="\n".join(self.remarks),
            ),
        )
