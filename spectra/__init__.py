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
    from spectra import plot, recommend, report, testing
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
        SchemaError,
        ShapeError,
        SpectraError,
        TaskError,
    )
    from spectra.estimates import Estimate
    from spectra.lanczos import lanczos
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
    from spectra.operators import Operator, as_operator, gram
    from spectra.quadrature import extend, slq
    from spectra.recommend import Recommendation
    from spectra.start_vectors import start_vectors
    from spectra.storage import load, save
    from spectra.tridiagonal import Tridiagonal

__version__ = "0.1.0"
__spectra_probes__ = True

_HOME = {
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
        "SchemaError",
        "ShapeError",
        "SpectraError",
        "TaskError",
    ),
    "estimates": ("Estimate",),
    "lanczos": ("lanczos",),
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
    "operators": ("Operator", "as_operator", "gram"),
    "quadrature": ("extend", "slq"),
    "recommend": ("Recommendation",),
    "start_vectors": ("start_vectors",),
    "storage": ("load", "save"),
    "tridiagonal": ("Tridiagonal",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_SUBMODULES = ("errors", "plot", "recommend", "report", "testing")

__all__ = [
    "ArgumentError",
    "BackendError",
    "CheckpointError",
    "DerivativeError",
    "Estimate",
    "MissingExtraError",
    "NonDeterministicError",
    "NonFiniteError",
    "NotSymmetricError",
    "Operator",
    "Recommendation",
    "SchemaError",
    "ShapeError",
    "SpectraError",
    "TaskError",
    "Tridiagonal",
    "as_operator",
    "cdf",
    "cdf_bounds",
    "density",
    "eigenpairs",
    "expectation",
    "extend",
    "gram",
    "lanczos",
    "load",
    "moment",
    "plot",
    "quantile",
    "recommend",
    "report",
    "save",
    "slq",
    "start_vectors",
    "testing",
    "validate_measure",
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
