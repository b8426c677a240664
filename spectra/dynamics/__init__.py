"""From a spectrum to a loss curve: expected losses of SGD and its relatives, their stability, floor and rate.

A problem (:class:`Quadratic`) is built from arrays, data, a kernel, a law or products with a Hessian; :func:`sgd_curve`
predicts, :func:`stability` bounds, :func:`simulate_sgd` referees. What stands for the gradient noise is always named:
see :mod:`spectra.dynamics.closures`.
"""

from spectra.dynamics.analytic import from_law, from_marchenko_pastur
from spectra.dynamics.asymptotics import floor, rate
from spectra.dynamics.average_case import AverageCaseMethod, average_case_optimal, marchenko_pastur_method
from spectra.dynamics.best_rate import BestLearningRate, best_learning_rate
from spectra.dynamics.closures import CLOSURES, Closure, Sampling, noise_factor
from spectra.dynamics.compression import compress
from spectra.dynamics.continuous import volterra_exponential
from spectra.dynamics.critical import kernel_norm
from spectra.dynamics.cyclical import CyclicalHeavyBall, cyclical_heavy_ball
from spectra.dynamics.disk_fit import DiskFit, fit_disk
from spectra.dynamics.games import DiskMethod, GameRun, bilinear_game_method, disk_method
from spectra.dynamics.grid import sgd_curves
from spectra.dynamics.halting_time import gradient_norm_curve, halting_time
from spectra.dynamics.heavy_ball import HeavyBall, optimal_heavy_ball
from spectra.dynamics.kernel_problem import from_kernel
from spectra.dynamics.linear_methods import linear_method_curve
from spectra.dynamics.marchenko_pastur import MarchenkoPasturSGD
from spectra.dynamics.matrix_free import from_operator
from spectra.dynamics.passage import StepsToTarget, steps_to_target
from spectra.dynamics.population import Population
from spectra.dynamics.power_law import power_law_features
from spectra.dynamics.power_law_equivalent import power_law_equivalent, power_law_resolvent
from spectra.dynamics.power_law_phases import PowerLawPhase, PowerLawTerm, power_law_phase
from spectra.dynamics.power_law_resolvent import FeatureResolvent
from spectra.dynamics.preconditions import Precondition
from spectra.dynamics.problems import from_data, from_eigenvalues, streaming
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.saturation import batch_saturation, implicit_conditioning_ratio
from spectra.dynamics.scaling_rules import OptimizerSettings, ScaledSettings, scale_settings
from spectra.dynamics.sgd import sgd_curve
from spectra.dynamics.signsgd import signsgd_curve, signsgd_floor
from spectra.dynamics.simulation import simulate_sgd
from spectra.dynamics.stability import Stability, stability
from spectra.dynamics.stationary import StationaryLoss, stationary_loss
from spectra.dynamics.streaming_simulation import simulate_streaming
from spectra.dynamics.two_state import LinearStep, heavy_ball_step, nesterov_step
from spectra.dynamics.unrolling import UnrollingBurnIn, unrolling_burn_in, unrolling_error
from spectra.dynamics.z_scores import z_scores

__all__ = [
    "CLOSURES",
    "AverageCaseMethod",
    "BestLearningRate",
    "Closure",
    "CyclicalHeavyBall",
    "DiskFit",
    "DiskMethod",
    "FeatureResolvent",
    "GameRun",
    "HeavyBall",
    "LinearStep",
    "MarchenkoPasturSGD",
    "OptimizerSettings",
    "Population",
    "PowerLawPhase",
    "PowerLawTerm",
    "Precondition",
    "Quadratic",
    "Sampling",
    "ScaledSettings",
    "Stability",
    "StationaryLoss",
    "StepsToTarget",
    "UnrollingBurnIn",
    "average_case_optimal",
    "batch_saturation",
    "best_learning_rate",
    "bilinear_game_method",
    "compress",
    "cyclical_heavy_ball",
    "disk_method",
    "fit_disk",
    "floor",
    "from_data",
    "from_eigenvalues",
    "from_kernel",
    "from_law",
    "from_marchenko_pastur",
    "from_operator",
    "gradient_norm_curve",
    "halting_time",
    "heavy_ball_step",
    "implicit_conditioning_ratio",
    "kernel_norm",
    "linear_method_curve",
    "marchenko_pastur_method",
    "nesterov_step",
    "noise_factor",
    "optimal_heavy_ball",
    "power_law_equivalent",
    "power_law_features",
    "power_law_phase",
    "power_law_resolvent",
    "rate",
    "scale_settings",
    "sgd_curve",
    "sgd_curves",
    "signsgd_curve",
    "signsgd_floor",
    "simulate_sgd",
    "simulate_streaming",
    "stability",
    "stationary_loss",
    "steps_to_target",
    "streaming",
    "unrolling_burn_in",
    "unrolling_error",
    "volterra_exponential",
    "z_scores",
]
