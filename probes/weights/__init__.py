"""Spectra of weight matrices, of a model or of a checkpoint: no data and no products, only the weights.

===============  =================================================================================
``measure``      :func:`weight_spectra`: every matrix, one after the other, as a Dataset
``matrices``     which tensors are weight matrices, and which are left out and why
``tensors``      how a tensor becomes matrices: flattened, cut into slices or thirds
``names``        what the name of a tensor says of it
``differences``  the weights of one checkpoint less those of another
``matrix``       one matrix: bulk, spikes, power law and control from one decomposition
``singular``     its singular values
``splits``       its bulk and spikes by two methods
``control``      the same entries in random places
``dataset``      the results side by side
===============  =================================================================================
"""

from probes.weights.measure import weight_spectra

__all__ = ["weight_spectra"]
