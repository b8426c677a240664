r"""A least-squares problem as its eigenvalues see it: what every prediction of :mod:`spectra.dynamics` starts from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.arrays import finite_number
from spectra.dynamics.eigenbasis import Coordinates, Rows
from spectra.errors import ArgumentError, SchemaError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.provenance import provenance
from spectra.start_vectors import as_count

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["QUADRATIC_SCHEMA", "QUADRATIC_SCHEMA_VERSION", "Quadratic"]

QUADRATIC_SCHEMA = "spectra/quadratic"
QUADRATIC_SCHEMA_VERSION = 1
#: Curvatures up to this, and from its inverse, are used as they are: their fourth powers stay within float64.
MODERATE = 1e50


@dataclass(frozen=True, eq=False, kw_only=True)
class Quadratic:
    r"""A quadratic training problem in its eigenbasis: curvature, and the loss that each mode has to lose.

    The loss is a sum of squares of residuals that are linear in the parameters, such as
    :math:`L(x) = |Ax - b|^2 / 2n`, with Hessian :math:`H = A^T A / n = \sum_j \lambda_j v_j v_j^T`. Mode j holds the
    loss :math:`q_j = \lambda_j (v_j \cdot (x_0 - x_*))^2 / 2`, and :math:`L(x_0) = L_* + \sum_j q_j`.

    No unit is prescribed: eigenvalues are those of the Hessian of the loss *as it is reported*, mean or mean of halves,
    and the learning rate is the one that multiplies its gradient. Equations hold in any such units, because curvature
    and loss scale together. What must not be mixed is the Hessian of one convention with the loss of another.

    Built by :func:`from_eigenvalues`, :func:`from_data`, :func:`from_kernel`, :func:`from_law`,
    :func:`from_marchenko_pastur`, :func:`from_operator`, :func:`streaming`, and for a network by
    :func:`probes.linearize`.

    Attributes
    ----------
    eigenvalue : ndarray, shape (m,)
        :math:`\lambda_j > 0`.
    multiplicity : ndarray, shape (m,)
        :math:`w_j \ge 0`: how many eigenvalues a node stands for, not necessarily whole. A node that only carries
        loss (from a Lanczos run that starts at the gradient) has 0.
    initial_loss : ndarray, shape (m,)
        :math:`q_j \ge 0`, the loss of all eigenvalues of a node together.
    floor : float
        :math:`L_*`, loss of the minimizer. Residuals that stay, and therefore make noise.
    num_samples : int or None
        Size n of the data; None for a stream that never repeats.
    offset : float
        A constant in the reported loss that makes no noise, as of a quadratic model of another loss.
    rows_per_sample : float
        Residuals that a sample brings at once: its outputs. They share one draw, so that the noise is divided by it.
    largest_row : float or None
        :math:`\max_i |a_i|^2`, curvature of the steepest sample alone.
    row_bound : float or None
        Smallest number with :math:`\tfrac1n \sum_i |a_i|^2 a_i a_i^T \preceq \text{row\_bound} \cdot H`: a mean over
        samples where ``largest_row`` is the worst of them, and at most that.
    kurtosis : ndarray, shape (m,), or None
        :math:`\kappa_j = n \sum_i |A_i v_j|^4 / (\sum_i |A_i v_j|^2)^2` with the rows of sample i, which is
        :math:`n \sum_i u_{ij}^4` of left singular vectors: 1 if every sample takes the same part in a mode, 3 for
        Gaussian data, n if one sample is all of it.
    rows : Rows or None
        The samples, where they are known.
    coordinates : Coordinates or None
        Start and minimizer, where they are known.
    evidence : mapping of str to float
        How well it is known, for problems that were measured: see :func:`from_operator`.
    name : str
        For reports.

    Raises
    ------
    ShapeError
        If the arrays are not vectors of one length.
    NonFiniteError
        If a number is NaN or infinite.
    ArgumentError
        If an eigenvalue is not positive, a loss or multiplicity is negative, or there is no curvature at all.

    Notes
    -----
    Source: Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396, for the loss of a mode; quadrature nodes
    with multiplicities are a construction of this project.

    Examples
    --------
    >>> problem = Quadratic(
    ...     eigenvalue=np.array([1.0, 2.0]),
    ...     multiplicity=np.ones(2),
    ...     initial_loss=np.array([0.5, 0.25]),
    ...     floor=0.25,
    ...     num_samples=10,
    ... )
    >>> problem.trace, problem.largest, problem.loss
    (3.0, 2.0, 1.0)
    """

    eigenvalue: Vector
    multiplicity: Vector
    initial_loss: Vector
    floor: float = 0.0
    num_samples: int | None = None
    offset: float = 0.0
    rows_per_sample: float = 1.0
    largest_row: float | None = None
    row_bound: float | None = None
    kurtosis: Vector | None = None
    rows: Rows | None = None
    coordinates: Coordinates | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
    name: str = "quadratic"

    def __post_init__(self) -> None:
        """Check what every equation relies on, and keep copies that nobody writes to."""
        shape = np.shape(self.eigenvalue)
        for name in ("eigenvalue", "multiplicity", "initial_loss", "kurtosis"):
            given = getattr(self, name)
            if name == "kurtosis" and given is None:
                continue
            array = frozen_array(given, name=name)
            if array.ndim != 1 or array.shape != shape:
                raise ShapeError(f"{name} must be a vector with one entry per node, {shape}; got {array.shape}")
            if np.any(array < 0):
                raise ArgumentError(f"{name} must not be negative; got {array.min():.6g}")
            object.__setattr__(self, name, array)
        for name in ("floor", "offset", "rows_per_sample", "largest_row", "row_bound"):
            value = getattr(self, name)
            if value is not None or name not in ("largest_row", "row_bound"):
                object.__setattr__(self, name, finite_number(value, name=name))
        if self.num_samples is not None:
            object.__setattr__(self, "num_samples", as_count(self.num_samples, name="num_samples"))
        object.__setattr__(self, "name", str(self.name))
        try:
            evidence = {str(key): float(value) for key, value in self.evidence.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise ArgumentError(f"evidence must map names to numbers; got {self.evidence!r}") from error
        object.__setattr__(self, "evidence", evidence)
        if self.eigenvalue.size == 0 or np.any(self.eigenvalue == 0) or self.trace <= 0:
            raise ArgumentError(
                "at least one positive eigenvalue with positive multiplicity is needed, and none that is zero: "
                "directions without curvature carry no loss; leave them out"
            )
        if self.floor < 0:
            raise ArgumentError(f"floor is a loss of squares and must not be negative; got {self.floor}")
        if self.rows_per_sample < 1:
            raise ArgumentError(f"rows_per_sample must be at least 1; got {self.rows_per_sample}")
        for name in ("largest_row", "row_bound"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ArgumentError(f"{name} must be positive; got {value}")

    @property
    def trace(self) -> float:
        """Trace of the Hessian, the sum of eigenvalues with multiplicities."""
        return float(self.multiplicity @ self.eigenvalue)

    @property
    def largest(self) -> float:
        """Largest eigenvalue."""
        return float(np.max(self.eigenvalue))

    @property
    def loss(self) -> float:
        """Loss at the start, with the offset."""
        return float(self.offset + self.floor + np.sum(self.initial_loss))

    def scaled(self, factor: float) -> "Quadratic":
        r"""Return the problem of the loss times a factor: eigenvalues and losses both scale with it.

        From the mean of half squares to ``torch.nn.MSELoss``, which is the mean of squares over samples and C outputs,
        the factor is ``2 / C``.

        Examples
        --------
        >>> problem = Quadratic(eigenvalue=np.ones(1), multiplicity=np.ones(1), initial_loss=np.ones(1))
        >>> problem.scaled(2.0).largest, problem.scaled(2.0).loss
        (2.0, 2.0)
        """
        factor = finite_number(factor, name="factor")
        if not factor > 0:
            raise ArgumentError(f"factor must be positive; got {factor}")
        root = float(np.sqrt(factor))
        return replace(
            self,
            eigenvalue=self.eigenvalue * factor,
            initial_loss=self.initial_loss * factor,
            floor=self.floor * factor,
            offset=self.offset * factor,
            largest_row=None if self.largest_row is None else self.largest_row * factor,
            row_bound=None if self.row_bound is None else self.row_bound * factor,
            rows=self.rows
            and Rows(features=self.rows.features * root, residual=self.rows.residual * root, error=self.rows.error),
        )

    @property
    def unit(self) -> float:
        """A factor that brings the curvature near 1 where squares of it would leave float64; 1 otherwise."""
        return 1.0 if 1 / MODERATE < self.largest < MODERATE else 1.0 / self.largest

    def to_dataset(self) -> "xr.Dataset":
        """Return nodes and numbers as a dataset that :func:`spectra.save` keeps; rows and coordinates are left out."""
        import xarray as xr

        variables: dict[str, Any] = {
            "eigenvalue": ("node", self.eigenvalue.copy()),
            "multiplicity": ("node", self.multiplicity.copy()),
            "initial_loss": ("node", self.initial_loss.copy()),
        }
        if self.kurtosis is not None:
            variables["kurtosis"] = ("node", self.kurtosis.copy())
        optional = {"num_samples": self.num_samples, "largest_row": self.largest_row, "row_bound": self.row_bound}
        return xr.Dataset(
            variables,
            attrs=provenance(
                schema=QUADRATIC_SCHEMA,
                schema_version=QUADRATIC_SCHEMA_VERSION,
                floor=self.floor,
                offset=self.offset,
                rows_per_sample=self.rows_per_sample,
                problem=self.name,
                evidence=json.dumps(dict(self.evidence)),
                **{key: value for key, value in optional.items() if value is not None},
            ),
        )

    @classmethod
    def from_dataset(cls, dataset: "xr.Dataset") -> "Quadratic":
        """Return the problem that :meth:`to_dataset` wrote.

        Raises
        ------
        SchemaError
            If it is another kind of dataset, of a newer version, or incomplete.
        """
        attrs = dataset.attrs
        version = attrs.get("schema_version")
        if attrs.get("schema") != QUADRATIC_SCHEMA or version not in range(1, QUADRATIC_SCHEMA_VERSION + 1):
            raise SchemaError(
                f"schema {QUADRATIC_SCHEMA!r}, version 1 to {QUADRATIC_SCHEMA_VERSION}, is required; got "
                f"{attrs.get('schema')!r}, version {version!r}"
            )
        needed: tuple[str, ...] = ("eigenvalue", "multiplicity", "initial_loss")
        missing = [name for name in needed if name not in dataset] + [
            name for name in ("floor", "offset", "rows_per_sample") if name not in attrs
        ]
        if missing:
            raise SchemaError(f"a {QUADRATIC_SCHEMA} dataset needs {', '.join(missing)}")
        try:
            return cls(
                eigenvalue=dataset["eigenvalue"].values,
                multiplicity=dataset["multiplicity"].values,
                initial_loss=dataset["initial_loss"].values,
                kurtosis=dataset["kurtosis"].values if "kurtosis" in dataset else None,
                floor=attrs["floor"],
                offset=attrs["offset"],
                rows_per_sample=attrs["rows_per_sample"],
                num_samples=attrs.get("num_samples"),
                largest_row=attrs.get("largest_row"),
                row_bound=attrs.get("row_bound"),
                evidence=json.loads(attrs.get("evidence", "{}")),
                name=str(attrs.get("problem", "quadratic")),
            )
        except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
            raise SchemaError(f"a {QUADRATIC_SCHEMA} dataset is damaged: {error}") from error
