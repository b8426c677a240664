"""Spectra of large symmetric operators, known only through products ``A @ v``: named numbers with error bars.

Names are loaded when they are first used, so that importing the package is quick.

Examples
--------
>>> import numpy as np
>>> import spectra
>>> measure = spectra.slq(np.diag([1.0, 2.0, 3.0]), num_probes=5, num_steps=3)
>>> spectra.moment(measure, 0).value
1.0
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spectra import dynamics, kernels, laws, plot, recommend, report, testing
    from spectra.arnoldi import Hessenberg, arnoldi
    from spectra.bulk import eigenvalue_count, negative_mass, spectral_gaps
    from spectra.bulk_split import BulkSplit
    from spectra.certificates import SpectralBounds, spectral_bounds
    from spectra.chebyshev import kernel_polynomial
    from spectra.complex_measure import complex_expectation, normal_spectrum
    from spectra.conditioning import ConditionNumber, condition_number
    from spectra.diagonals import diagonal
    from spectra.distances import kolmogorov, wasserstein
    from spectra.effective_ranks import effective_rank
    from spectra.eigenpairs import eigenpairs
    from spectra.errors import (
        ArgumentError,
        BackendError,
        CheckpointError,
        DerivativeError,
        MissingExtraError,
        NonDeterministicError,
        NonFiniteError,
        NotSymmetricError,
        OutOfMemoryError,
        SchemaError,
        ShapeError,
        SpectraError,
        TaskError,
    )
    from spectra.estimates import Estimate
    from spectra.exchange import to_library
    from spectra.golub_kahan import Bidiagonal, golub_kahan
    from spectra.interoperability import as_scipy, in_library
    from spectra.lanczos import lanczos
    from spectra.matrix_functions import log_determinant, trace_function
    from spectra.measure import (
        cdf,
        cdf_bounds,
        density,
        expectation,
        moment,
        quantile,
        validate_measure,
        wasserstein_distance,
    )
    from spectra.norms import frobenius_norm, schatten_norm
    from spectra.operators import Operator, as_operator, gram
    from spectra.outliers import split_bulk
    from spectra.pseudo_conditioning import pseudo_condition_number
    from spectra.quadrature import extend, slq
    from spectra.recommend import Recommendation
    from spectra.rectangular import RectangularOperator, as_rectangular
    from spectra.softened import effective_dimension, free_energy
    from spectra.start_vectors import start_vectors
    from spectra.stochastic_trace import trace
    from spectra.storage import load, save
    from spectra.survey import SurveyInterrupted, survey
    from spectra.tridiagonal import Tridiagonal

__version__ = "0.1.0"
__spectra_probes__ = True

_HOME = {
    "arnoldi": (
        "Hessenberg",
        "arnoldi",
    ),
    "bulk": (
        "eigenvalue_count",
        "negative_mass",
        "spectral_gaps",
    ),
    "bulk_split": ("BulkSplit",),
    "certificates": (
        "SpectralBounds",
        "spectral_bounds",
    ),
    "chebyshev": ("kernel_polynomial",),
    "complex_measure": (
        "complex_expectation",
        "normal_spectrum",
    ),
    "conditioning": (
        "ConditionNumber",
        "condition_number",
    ),
    "diagonals": ("diagonal",),
    "distances": (
        "kolmogorov",
        "wasserstein",
    ),
    "effective_ranks": ("effective_rank",),
    "eigenpairs": ("eigenpairs",),
    "errors": (
        "ArgumentError",
        "BackendError",
        "CheckpointError",
        "DerivativeError",
        "MissingExtraError",
        "NonDeterministicError",
        "NonFiniteError",
        "NotSymmetricError",
        "OutOfMemoryError",
        "SchemaError",
        "ShapeError",
        "SpectraError",
        "TaskError",
    ),
    "estimates": ("Estimate",),
    "exchange": ("to_library",),
    "golub_kahan": (
        "Bidiagonal",
        "golub_kahan",
    ),
    "interoperability": (
        "as_scipy",
        "in_library",
    ),
    "lanczos": ("lanczos",),
    "matrix_functions": (
        "log_determinant",
        "trace_function",
    ),
    "measure": (
        "cdf",
        "cdf_bounds",
        "density",
        "expectation",
        "moment",
        "quantile",
        "validate_measure",
        "wasserstein_distance",
    ),
    "norms": (
        "frobenius_norm",
        "schatten_norm",
    ),
    "operators": (
        "Operator",
        "as_operator",
        "gram",
    ),
    "outliers": ("split_bulk",),
    "pseudo_conditioning": ("pseudo_condition_number",),
    "quadrature": (
        "extend",
        "slq",
    ),
    "recommend": ("Recommendation",),
    "rectangular": (
        "RectangularOperator",
        "as_rectangular",
    ),
    "softened": (
        "effective_dimension",
        "free_energy",
    ),
    "start_vectors": ("start_vectors",),
    "stochastic_trace": ("trace",),
    "storage": (
        "load",
        "save",
    ),
    "survey": (
        "SurveyInterrupted",
        "survey",
    ),
    "tridiagonal": ("Tridiagonal",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_SUBMODULES = ("dynamics", "errors", "kernels", "laws", "plot", "recommend", "report", "testing")

__all__ = [
    "ArgumentError",
    "BackendError",
    "Bidiagonal",
    "BulkSplit",
    "CheckpointError",
    "ConditionNumber",
    "DerivativeError",
    "Estimate",
    "Hessenberg",
    "MissingExtraError",
    "NonDeterministicError",
    "NonFiniteError",
    "NotSymmetricError",
    "Operator",
    "OutOfMemoryError",
    "Recommendation",
    "RectangularOperator",
    "SchemaError",
    "ShapeError",
    "SpectraError",
    "SpectralBounds",
    "SurveyInterrupted",
    "TaskError",
    "Tridiagonal",
    "arnoldi",
    "as_operator",
    "as_rectangular",
    "as_scipy",
    "cdf",
    "cdf_bounds",
    "complex_expectation",
    "condition_number",
    "density",
    "diagonal",
    "dynamics",
    "effective_dimension",
    "effective_rank",
    "eigenpairs",
    "eigenvalue_count",
    "expectation",
    "extend",
    "free_energy",
    "frobenius_norm",
    "golub_kahan",
    "gram",
    "in_library",
    "kernel_polynomial",
    "kernels",
    "kolmogorov",
    "lanczos",
    "laws",
    "load",
    "log_determinant",
    "moment",
    "negative_mass",
    "normal_spectrum",
    "plot",
    "pseudo_condition_number",
    "quantile",
    "recommend",
    "report",
    "save",
    "schatten_norm",
    "slq",
    "spectral_bounds",
    "spectral_gaps",
    "split_bulk",
    "start_vectors",
    "survey",
    "testing",
    "to_library",
    "trace",
    "trace_function",
    "validate_measure",
    "wasserstein",
    "wasserstein_distance",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted([*globals(), *__all__])


class _Package(ModuleType):
    """The package, in which a function keeps its name although its module has the same one.

    Importing ``spectra.lanczos`` makes Python bind the module to ``spectra.lanczos``; the function of that name
    belongs there.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _MODULE_OF.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
