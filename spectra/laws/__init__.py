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
from spectra.laws.population import PopulationLaw
from spectra.laws.population_recovery import PopulationSpectrum, recover_population
from spectra.laws.semicircle import Semicircle
from spectra.laws.silverstein import CompanionSolution, companion_stieltjes
from spectra.laws.silverstein_support import support_edges
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
    "Semicircle",
    "TracyWidom",
    "companion_stieltjes",
    "free_additive_convolution",
    "free_multiplicative_convolution",
    "largest_eigenvalue_scaling",
    "recover_population",
    "support_edges",
    "wigner_scaling",
]
