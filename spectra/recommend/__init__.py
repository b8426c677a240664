"""From measurements to recommendations: pure functions, no model and no training loop."""

from spectra.recommend.advice import Advice, advise
from spectra.recommend.batch_size import critical_batch_size, noise_scale, saturation
from spectra.recommend.learning_rate import Limit, learning_rate, max_stable_learning_rate, measured_limit
from spectra.recommend.noise_scale import (
    GradientStatistics,
    PairStatistic,
    gradient_statistics,
    pair_statistic,
    scatter,
)
from spectra.recommend.optimizer import OptimizerKind, OptimizerSpec
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of
from spectra.recommend.run import RunMeasurements, Stage, read_run
from spectra.recommend.stability import (
    effective_noise_fraction,
    limit_exponent,
    saturation_batch_size,
    stable_limit,
)

__all__ = [
    "Advice",
    "Check",
    "GradientStatistics",
    "Limit",
    "OptimizerKind",
    "OptimizerSpec",
    "PairStatistic",
    "Recommendation",
    "RunMeasurements",
    "Stage",
    "Verdict",
    "advise",
    "critical_batch_size",
    "effective_noise_fraction",
    "gradient_statistics",
    "learning_rate",
    "limit_exponent",
    "max_stable_learning_rate",
    "measured_limit",
    "noise_scale",
    "pair_statistic",
    "read_run",
    "saturation",
    "saturation_batch_size",
    "scatter",
    "stable_limit",
    "verdict_of",
]
