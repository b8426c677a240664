"""Kernels: from a Gram matrix, or data and a kernel function, to laws, dimensions, regimes and predicted errors.

:func:`analyze` says all at once. Decay of eigenvalues: :func:`eigendecay`; directions that a fit learns:
:func:`effective_dimension`, for large samples :func:`kernel_dimension`; overfitting: :func:`overfitting_regime`; errors
of kernel ridge regression: :func:`leave_one_out`, :func:`best_ridge`, :func:`learning_curve`, :func:`extrapolate` and
the estimator :class:`KernelRidgeRisk`; theory of a known spectrum: :func:`eigenlearning`.

Gram matrices have no factor 1/n, and ridges are added to them as they are.
"""

from spectra.kernels.analysis import analyze
from spectra.kernels.base import Kernel
from spectra.kernels.best_ridge import BestRidge, best_ridge
from spectra.kernels.composed import Constant, Product, Scaled, Sum
from spectra.kernels.conditioning import KernelCondition, kernel_condition
from spectra.kernels.decay_rates import DecayRates, ExponentialRates, decay_rates, exponential_decay_rates
from spectra.kernels.decay_result import EigenDecay
from spectra.kernels.dimension_curve import DimensionCurve, dimension_curve
from spectra.kernels.dot_product import ArcCosine, Linear, NeuralTangent, Polynomial
from spectra.kernels.effective_dimension import EffectiveDimension, effective_dimension
from spectra.kernels.eigendecay import eigendecay
from spectra.kernels.eigenlearning import Eigenlearning, eigenlearning
from spectra.kernels.extrapolation import extrapolate
from spectra.kernels.finite_rank import FiniteRankRisk, finite_rank_risk
from spectra.kernels.fused import fused
from spectra.kernels.gcv import gcv
from spectra.kernels.gram import GramSpectrum, gram_spectrum
from spectra.kernels.independent_features import IndependentFeatures, independent_features
from spectra.kernels.kernel_argument import KERNEL_NAMES, kernel_parameters, resolve_kernel
from spectra.kernels.kernel_risk import KernelRisk
from spectra.kernels.large import kernel_dimension
from spectra.kernels.learning_curve import learning_curve
from spectra.kernels.leave_one_out import leave_one_out
from spectra.kernels.length_scale import median_distance
from spectra.kernels.low_rank import LowRank
from spectra.kernels.noise_amplification import NoiseAmplification, noise_amplification
from spectra.kernels.operator import kernel_diagonal, kernel_operator
from spectra.kernels.overfitting_regime import OverfittingRegime, overfitting_regime
from spectra.kernels.ranks import EffectiveRanks, effective_ranks
from spectra.kernels.resolvent_traces import resolvent_traces
from spectra.kernels.ridge_fit import RidgeFit, ridge_fit
from spectra.kernels.ridge_path import ridge_path
from spectra.kernels.ridge_risk import KernelRidgeRisk, UntrustworthyRiskWarning
from spectra.kernels.ridge_solver import GcvEstimate, RidgeSolution, gcv_of_solution, solve_ridge
from spectra.kernels.rp_cholesky import rp_cholesky, rp_cholesky_of_gram
from spectra.kernels.signal_capture import signal_capture
from spectra.kernels.source import as_spectrum
from spectra.kernels.stationary import RBF, Laplace, Matern, Periodic, Stationary
from spectra.kernels.top_eigenvalues import TopEigenvalues, top_eigenvalues

__all__ = [
    "KERNEL_NAMES",
    "RBF",
    "ArcCosine",
    "BestRidge",
    "Constant",
    "DecayRates",
    "DimensionCurve",
    "EffectiveDimension",
    "EffectiveRanks",
    "EigenDecay",
    "Eigenlearning",
    "ExponentialRates",
    "FiniteRankRisk",
    "GcvEstimate",
    "GramSpectrum",
    "IndependentFeatures",
    "Kernel",
    "KernelCondition",
    "KernelRidgeRisk",
    "KernelRisk",
    "Laplace",
    "Linear",
    "LowRank",
    "Matern",
    "NeuralTangent",
    "NoiseAmplification",
    "OverfittingRegime",
    "Periodic",
    "Polynomial",
    "Product",
    "RidgeFit",
    "RidgeSolution",
    "Scaled",
    "Stationary",
    "Sum",
    "TopEigenvalues",
    "UntrustworthyRiskWarning",
    "analyze",
    "as_spectrum",
    "best_ridge",
    "decay_rates",
    "dimension_curve",
    "effective_dimension",
    "effective_ranks",
    "eigendecay",
    "eigenlearning",
    "exponential_decay_rates",
    "extrapolate",
    "finite_rank_risk",
    "fused",
    "gcv",
    "gcv_of_solution",
    "gram_spectrum",
    "independent_features",
    "kernel_condition",
    "kernel_diagonal",
    "kernel_dimension",
    "kernel_operator",
    "kernel_parameters",
    "learning_curve",
    "leave_one_out",
    "median_distance",
    "noise_amplification",
    "overfitting_regime",
    "resolve_kernel",
    "resolvent_traces",
    "ridge_fit",
    "ridge_path",
    "rp_cholesky",
    "rp_cholesky_of_gram",
    "signal_capture",
    "solve_ridge",
    "top_eigenvalues",
]
