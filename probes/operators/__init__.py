"""Curvature matrices of a model's training loss, as operators that are only ever multiplied."""

from probes.operators.base import CurvatureOperator
from probes.operators.blocks import block_diagonal, layers, off_diagonal, restrict
from probes.operators.fisher import FisherOperator, MonteCarloFisherOperator
from probes.operators.gauss_newton import GaussNewtonOperator
from probes.operators.hessian import HessianOperator
from probes.operators.inverse_fisher import InverseEmpiricalFisher
from probes.operators.jacobian import JacobianOperator
from probes.operators.kronecker import KroneckerFactors, KroneckerPreconditioner
from probes.operators.ntk import NTKOperator
from probes.operators.optimizer_preconditioner import preconditioner_of
from probes.operators.preconditioned import DiagonalPreconditioner, Preconditioner, preconditioned
from probes.operators.residual import ResidualOperator
from probes.operators.sample_gradients import EmpiricalFisherOperator, GradientCovarianceOperator

__all__ = [
    "MATRICES",
    "CurvatureOperator",
    "DiagonalPreconditioner",
    "EmpiricalFisherOperator",
    "FisherOperator",
    "GaussNewtonOperator",
    "GradientCovarianceOperator",
    "HessianOperator",
    "InverseEmpiricalFisher",
    "JacobianOperator",
    "KroneckerFactors",
    "KroneckerPreconditioner",
    "MonteCarloFisherOperator",
    "NTKOperator",
    "Preconditioner",
    "ResidualOperator",
    "block_diagonal",
    "layers",
    "off_diagonal",
    "preconditioned",
    "preconditioner_of",
    "restrict",
]

#: Symmetric matrices on the parameters, by name.
MATRICES: dict[str, type[CurvatureOperator]] = {
    kind.name: kind
    for kind in (
        HessianOperator,
        GaussNewtonOperator,
        FisherOperator,
        MonteCarloFisherOperator,
        EmpiricalFisherOperator,
        GradientCovarianceOperator,
        ResidualOperator,
    )
}
