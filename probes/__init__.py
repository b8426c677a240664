"""Curvature and gradient noise of PyTorch models, as operators and numbers that :mod:`spectra` understands.

Importing :mod:`probes` does not import PyTorch; the public names below load it on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

import spectra

if TYPE_CHECKING:
    from probes import examples as examples
    from probes.measurement import measure_run as measure_run
    from probes.noise import curvature_noise as curvature_noise
    from probes.noise import gradient_noise as gradient_noise
    from probes.operators import GaussNewtonOperator as GaussNewtonOperator
    from probes.operators import HessianOperator as HessianOperator
    from probes.plan import MeasurementPlan as MeasurementPlan
    from probes.recommendation import recommend as recommend
    from probes.spectrum import measure as measure
    from probes.task import Task as Task
    from probes.task import load_task as load_task

__all__ = [
    "GaussNewtonOperator",
    "HessianOperator",
    "MeasurementPlan",
    "Task",
    "curvature_noise",
    "examples",
    "gradient_noise",
    "load_task",
    "measure",
    "measure_run",
    "recommend",
]

if not getattr(spectra, "__spectra_probes__", False):
    raise ImportError(
        "probes needs the package 'spectra' of the distribution 'spectra-probes', but 'import spectra' found "
        f"{getattr(spectra, '__file__', None) or list(getattr(spectra, '__path__', []))}. The color library "
        "'spectra' on PyPI has the same import name and hides it, and so does a folder or file named 'spectra' "
        "that comes earlier on sys.path. Run 'pip uninstall spectra' and then "
        "'pip install --force-reinstall spectra-probes', or use a virtual environment without the color library."
    )

_HOMES = {
    "GaussNewtonOperator": "probes.operators",
    "HessianOperator": "probes.operators",
    "Task": "probes.task",
    "curvature_noise": "probes.noise",
    "gradient_noise": "probes.noise",
    "load_task": "probes.task",
    "MeasurementPlan": "probes.plan",
    "measure": "probes.spectrum",
    "measure_run": "probes.measurement",
    "recommend": "probes.recommendation",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name == "examples":
        return importlib.import_module("probes.examples")
    if name not in _HOMES:
        raise AttributeError(f"module 'probes' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "torch":
            raise
        from spectra.errors import MissingExtraError

        raise MissingExtraError(
            f"probes.{name} needs PyTorch, which is not installed. Run pip install 'spectra-probes[torch]'."
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
