r"""Losses, the denominators of their means, and their curvature with respect to the model's outputs.

A loss over several batches is :math:`L = \sum_j D_j L_j / \sum_j D_j`: each batch mean :math:`L_j` counts by what its
mean divides by. For cross-entropy that is the sum of the class weights of the kept targets, not the number of samples.
"""

from probes.losses.base import Loss, LossLike
from probes.losses.binary import BinaryCrossEntropy, SoftMargin
from probes.losses.cross_entropy import CrossEntropy
from probes.losses.dense import smallest_output_curvature
from probes.losses.differentiated import DifferentiatedLoss
from probes.losses.divergence import KullbackLeibler
from probes.losses.elementwise import ElementwiseLoss
from probes.losses.log_probabilities import NegativeLogLikelihood
from probes.losses.poisson import PoissonLikelihood
from probes.losses.read import read_loss
from probes.losses.robust import AbsoluteError, Huber, SmoothAbsoluteError
from probes.losses.squared import MeanSquaredError

__all__ = [
    "AbsoluteError",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "DifferentiatedLoss",
    "ElementwiseLoss",
    "Huber",
    "KullbackLeibler",
    "Loss",
    "LossLike",
    "MeanSquaredError",
    "NegativeLogLikelihood",
    "PoissonLikelihood",
    "SmoothAbsoluteError",
    "SoftMargin",
    "read_loss",
    "smallest_output_curvature",
]
