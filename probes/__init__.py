"""Curvature and gradient noise of PyTorch models, as operators and numbers that :mod:`spectra` understands.

Importing :mod:`probes` does not import PyTorch; the public names below load it on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

import spectra

if TYPE_CHECKING:
    from probes import examples as examples
    from probes.checkpoints import CheckpointReport as CheckpointReport
    from probes.checkpoints import load_checkpoint as load_checkpoint
    from probes.checkpoints import read_state_dict as read_state_dict
    from probes.effective_batch import EffectiveBatch as EffectiveBatch
    from probes.hooks import Recorder as Recorder
    from probes.linearization_check import check_linearization as check_linearization
    from probes.linearized import linearize as linearize
    from probes.measurement import measure_run as measure_run
    from probes.model_loss import ModelLoss as ModelLoss
    from probes.noise import curvature_noise as curvature_noise
    from probes.noise import gradient_noise as gradient_noise
    from probes.operators import EmpiricalFisherOperator as EmpiricalFisherOperator
    from probes.operators import FisherOperator as FisherOperator
    from probes.operators import GaussNewtonOperator as GaussNewtonOperator
    from probes.operators import GradientCovarianceOperator as GradientCovarianceOperator
    from probes.operators import HessianOperator as HessianOperator
    from probes.operators import InverseEmpiricalFisher as InverseEmpiricalFisher
    from probes.operators import JacobianOperator as JacobianOperator
    from probes.operators import MonteCarloFisherOperator as MonteCarloFisherOperator
    from probes.operators import NTKOperator as NTKOperator
    from probes.operators import ResidualOperator as ResidualOperator
    from probes.operators import block_diagonal as block_diagonal
    from probes.operators import preconditioned as preconditioned
    from probes.operators import preconditioner_of as preconditioner_of
    from probes.optimizers import describe_optimizer as describe_optimizer
    from probes.optimizers import group_ratios as group_ratios
    from probes.optimizers import load_optimizer_state as load_optimizer_state
    from probes.optimizers import optimizer_from_state as optimizer_from_state
    from probes.plan import MeasurementPlan as MeasurementPlan
    from probes.recommendation import recommend as recommend
    from probes.spectrum import measure as measure
    from probes.tangent_kernel import EmpiricalNTK as EmpiricalNTK
    from probes.tangent_kernel import empirical_ntk as empirical_ntk
    from probes.task import Task as Task
    from probes.task import load_task as load_task

__all__ = [
    "CheckpointReport",
    "EffectiveBatch",
    "EmpiricalFisherOperator",
    "EmpiricalNTK",
    "FisherOperator",
    "GaussNewtonOperator",
    "GradientCovarianceOperator",
    "HessianOperator",
    "InverseEmpiricalFisher",
    "JacobianOperator",
    "MeasurementPlan",
    "ModelLoss",
    "MonteCarloFisherOperator",
    "NTKOperator",
    "Recorder",
    "ResidualOperator",
    "Task",
    "block_diagonal",
    "check_linearization",
    "curvature_noise",
    "describe_optimizer",
    "empirical_ntk",
    "examples",
    "gradient_noise",
    "group_ratios",
    "linearize",
    "load_checkpoint",
    "load_optimizer_state",
    "load_task",
    "measure",
    "measure_run",
    "optimizer_from_state",
    "preconditioned",
    "preconditioner_of",
    "read_state_dict",
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
    "CheckpointReport": "probes.checkpoints",
    "EffectiveBatch": "probes.effective_batch",
    "EmpiricalFisherOperator": "probes.operators",
    "EmpiricalNTK": "probes.tangent_kernel",
    "FisherOperator": "probes.operators",
    "GaussNewtonOperator": "probes.operators",
    "GradientCovarianceOperator": "probes.operators",
    "HessianOperator": "probes.operators",
    "InverseEmpiricalFisher": "probes.operators",
    "JacobianOperator": "probes.operators",
    "MeasurementPlan": "probes.plan",
    "ModelLoss": "probes.model_loss",
    "MonteCarloFisherOperator": "probes.operators",
    "NTKOperator": "probes.operators",
    "Recorder": "probes.hooks",
    "ResidualOperator": "probes.operators",
    "Task": "probes.task",
    "block_diagonal": "probes.operators",
    "check_linearization": "probes.linearization_check",
    "curvature_noise": "probes.noise",
    "describe_optimizer": "probes.optimizers",
    "empirical_ntk": "probes.tangent_kernel",
    "gradient_noise": "probes.noise",
    "group_ratios": "probes.optimizers",
    "linearize": "probes.linearized",
    "load_checkpoint": "probes.checkpoints",
    "load_optimizer_state": "probes.optimizers",
    "load_task": "probes.task",
    "measure": "probes.spectrum",
    "measure_run": "probes.measurement",
    "optimizer_from_state": "probes.optimizers",
    "preconditioned": "probes.operators",
    "preconditioner_of": "probes.operators",
    "read_state_dict": "probes.checkpoints",
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
