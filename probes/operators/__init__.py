"""Curvature matrices of a model's training loss, as operators that are only ever multiplied."""

from probes.operators.base import CurvatureOperator
from probes.operators.fisher import FisherOperator, MonteCarloFisherOperator
from probes.operators.gauss_newton import GaussNewtonOperator
from probes.operators.hessian import HessianOperator
from probes.operators.residual import ResidualOperator
from probes.operators.sample_gradients import EmpiricalFisherOperator, GradientCovarianceOperator

__all__ = [
    "MATRICES",
    "CurvatureOperator",
    "EmpiricalFisherOperator",
    "FisherOperator",
    "GaussNewtonOperator",
    "GradientCovarianceOperator",
    "HessianOperator",
    "MonteCarloFisherOperator",
    "ResidualOperator",
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
