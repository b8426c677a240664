"""From measurements to recommendations: pure functions, no model and no training loop."""

from spectra.dynamics.heavy_ball import HeavyBall, optimal_heavy_ball
from spectra.recommend.advice import Advice, advise
from spectra.recommend.annealing import AnnealingAreas, AnnealingFit, annealing_areas
from spectra.recommend.annealing_fit import fit_annealing_law
from spectra.recommend.batch_hessian import batch_curvature, batch_hessian_curve, measurement_set_size
from spectra.recommend.batch_schedule import next_batch_size
from spectra.recommend.batch_size import critical_batch_size, noise_scale, saturation
from spectra.recommend.checkpoint_steps import measured_polyak_step
from spectra.recommend.cyclical import CyclicalHeavyBall, cyclical_heavy_ball, cyclical_learning_rates
from spectra.recommend.damping import noise_damping, smallest_damping
from spectra.recommend.learning_rate import learning_rate, max_stable_learning_rate
from spectra.recommend.limit import Limit, measured_limit
from spectra.recommend.momentum import momentum_advice, momentum_gain, momentum_gain_curve
from spectra.recommend.noise_scale import (
    GradientStatistics,
    PairStatistic,
    gradient_statistics,
    pair_statistic,
    scatter,
)
from spectra.recommend.optimizer import OptimizerKind, OptimizerSpec
from spectra.recommend.polyak import (
    DecreasingPolyakStep,
    SlackStep,
    decreasing_polyak_step,
    nonnegative_gauss_newton_momentum_update,
    nonnegative_gauss_newton_step,
    polyak_step,
    slack_polyak_step,
)
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of
from spectra.recommend.run import RunMeasurements, Stage, read_run
from spectra.recommend.schedule import Schedule, linear_decay, refined_schedule, running_median
from spectra.recommend.second_moment import ModeRecursion, mode_recursion, recursion_limit, second_moment_radius
from spectra.recommend.stability import (
    effective_noise_fraction,
    limit_exponent,
    local_exponent,
    noise_share,
    saturation_batch_size,
    stable_limit,
)
from spectra.recommend.unsupported import UNSUPPORTED_OPTIMIZERS
from spectra.recommend.warmup import SmoothnessFit, smoothness_fit, warmup_length

__all__ = [
    "UNSUPPORTED_OPTIMIZERS",
    "Advice",
    "AnnealingAreas",
    "AnnealingFit",
    "Check",
    "CyclicalHeavyBall",
    "DecreasingPolyakStep",
    "GradientStatistics",
    "HeavyBall",
    "Limit",
    "ModeRecursion",
    "OptimizerKind",
    "OptimizerSpec",
    "PairStatistic",
    "Recommendation",
    "RunMeasurements",
    "Schedule",
    "SlackStep",
    "SmoothnessFit",
    "Stage",
    "Verdict",
    "advise",
    "annealing_areas",
    "batch_curvature",
    "batch_hessian_curve",
    "critical_batch_size",
    "cyclical_heavy_ball",
    "cyclical_learning_rates",
    "decreasing_polyak_step",
    "effective_noise_fraction",
    "fit_annealing_law",
    "gradient_statistics",
    "learning_rate",
    "limit_exponent",
    "linear_decay",
    "local_exponent",
    "max_stable_learning_rate",
    "measured_limit",
    "measured_polyak_step",
    "measurement_set_size",
    "mode_recursion",
    "momentum_advice",
    "momentum_gain",
    "momentum_gain_curve",
    "next_batch_size",
    "noise_damping",
    "noise_scale",
    "noise_share",
    "nonnegative_gauss_newton_momentum_update",
    "nonnegative_gauss_newton_step",
    "optimal_heavy_ball",
    "pair_statistic",
    "polyak_step",
    "read_run",
    "recursion_limit",
    "refined_schedule",
    "running_median",
    "saturation",
    "saturation_batch_size",
    "scatter",
    "second_moment_radius",
    "slack_polyak_step",
    "smallest_damping",
    "smoothness_fit",
    "stable_limit",
    "verdict_of",
    "warmup_length",
]
