"""Curvature matrices of a model's training loss, as operators that are only ever multiplied."""

from probes.operators.base import CurvatureOperator
from probes.operators.gauss_newton import GaussNewtonOperator
from probes.operators.hessian import HessianOperator

__all__ = ["CurvatureOperator", "GaussNewtonOperator", "HessianOperator"]
