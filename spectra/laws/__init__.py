"""Laws of random-matrix theory, one per file; and what they say of spikes, edges and populations.

Sample covariances are ``X X'/n`` with ``aspect_ratio = p/n``; the Stieltjes transform is ``m(z) = int dF(x)/(x - z)``.
"""

from spectra.laws.base import Law
from spectra.laws.edge_scaling import EdgeScaling, largest_eigenvalue_scaling, wigner_scaling
from spectra.laws.f_ratio import FRatio
from spectra.laws.free_convolution import (
    FreeConvolution,
    free_additive_convolution,
    free_multiplicative_convolution,
)
from spectra.laws.generalized_marchenko_pastur import GeneralizedMarchenkoPastur
from spectra.laws.jacobi import Jacobi
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.nonlinear_shrinkage import shrink_covariance_eigenvalues
from spectra.laws.population import PopulationLaw
from spectra.laws.population_recovery import PopulationSpectrum, recover_population
from spectra.laws.power_law_tail import PowerLawTail, fit_power_law_tail
from spectra.laws.semicircle import Semicircle
from spectra.laws.shrinkage import ShrunkSingularValues, hard_threshold, noise_from_median, shrink_singular_values
from spectra.laws.silverstein import CompanionSolution, companion_stieltjes
from spectra.laws.silverstein_support import support_edges
from spectra.laws.spiked import SpikedCovariance, SpikedRectangular, SpikedWigner
from spectra.laws.spiked_population import SpikedPopulation
from spectra.laws.tracy_widom import TracyWidom

__all__ = [
    "CompanionSolution",
    "EdgeScaling",
    "FRatio",
    "FreeConvolution",
    "GeneralizedMarchenkoPastur",
    "Jacobi",
    "Law",
    "MarchenkoPastur",
    "PopulationLaw",
    "PopulationSpectrum",
    "PowerLawTail",
    "Semicircle",
    "ShrunkSingularValues",
    "SpikedCovariance",
    "SpikedPopulation",
    "SpikedRectangular",
    "SpikedWigner",
    "TracyWidom",
    "companion_stieltjes",
    "fit_power_law_tail",
    "free_additive_convolution",
    "free_multiplicative_convolution",
    "hard_threshold",
    "largest_eigenvalue_scaling",
    "noise_from_median",
    "recover_population",
    "shrink_covariance_eigenvalues",
    "shrink_singular_values",
    "support_edges",
    "wigner_scaling",
]
