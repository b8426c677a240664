"""Laws of random-matrix theory, one per file."""

from spectra.laws.marchenko_pastur import MarchenkoPastur

__all__ = ["MarchenkoPastur"]
