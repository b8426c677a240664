"""Spectra of weight matrices, of a model or of a checkpoint: no data and no products, only the weights.

============  ====================================================================================
``measure``   :func:`weight_spectra`: every matrix, one after the other, as a Dataset
``matrices``  what is a weight matrix, and how tensors of other shapes become one
``matrix``    one matrix: bulk, spikes, power law and control from one decomposition
``dataset``   the results side by side
============  ====================================================================================
"""

from probes.weights.measure import weight_spectra

__all__ = ["weight_spectra"]
