"""Every weight matrix of a model or checkpoint, one after the other."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from probes.weights.dataset import weights_dataset
from probes.weights.matrices import select, weight_matrices
from probes.weights.matrix import MatrixSpectrum, analyze_matrix
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count, as_seed

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["weight_spectra"]

Progress = Callable[[str, int, int], None]

#: Bootstrap samples of a p-value, as in :func:`spectra.laws.power_law_tail.fit_power_law_tail`.
NUM_BOOTSTRAP = 100


def weight_spectra(
    source: nn.Module | str | os.PathLike[str],
    *,
    layers: str | Sequence[str] = (),
    num_bootstrap: int = NUM_BOOTSTRAP,
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
) -> "xr.Dataset":
    """Return the spectrum of every weight matrix: bulk, spikes, norms, ranks, and a power law where there is one.

    Linear weights and embeddings are taken as they are, convolutions as (out, in * kernel), fused attention
    projections as three (:mod:`probes.weights.matrices`). No data are needed and nothing is trained.

    Parameters
    ----------
    source : torch.nn.Module, str or path
        A model; or a safetensors file, a file of ``torch.save``, or a Hugging Face directory, of which one tensor at a
        time is read.
    layers : str or sequence of str
        Patterns (:mod:`fnmatch`) or parts of the names wanted; by default all.
    num_bootstrap : int
        Samples for the p-value of each power law, at least 20.
    rng : int or numpy.random.Generator
        Seed of bootstrap, permutation and Gaussian matrices.
    progress : callable, optional
        Called with a description, the matrices done and their number.

    Returns
    -------
    xarray.Dataset
        Schema ``"spectra/weights"`` with one row for each ``layer``, in units of the weights:

        - ``kind``, ``stored_shape``, ``num_rows``, ``num_columns``, ``aspect_ratio`` (of at most 1);
        - ``spectral_norm``, ``frobenius_norm``, both also as ``log10`` of their squares (``log_spectral_norm``,
          ``log_norm``), ``stable_rank``, ``participation_ratio``, ``rank``, ``condition_number``, ``mean_entry``;
        - ``sigma``, ``marchenko_pastur_lower``, ``..._upper``, ``..._num_spikes``, ``bulk_distance`` (Kolmogorov and
          Smirnov): white noise; ``ladder_...``: the law-free split of the same values; -1 spikes where none was made;
        - ``spike_value``, ``spike_signal`` (freed of bias), ``spike_overlap``, ``spike_margin`` (Tracy-Widom units)
          over ``spike``, of the first split;
        - ``permuted_num_spikes``: spikes that remain where entries are in random places; ``heavy_tailed``: at least
          half as many;
        - ``exponent`` of eigenvalues ``s^2`` (NaN with ``tail_why`` where a test fails), ``exponent_stderr``,
          ``num_tail``, ``tail_smallest``, ``tail_distance``, ``p_value``, ``noise_ratio``,
          ``exponential_ratio`` (:class:`spectra.laws.power_law_tail.PowerLawTail`), ``fitted_exponent``;
        - ``singular_value`` over ``index``, descending.

    Raises
    ------
    ArgumentError
        If there is no matrix, none of that name, or an option is out of range.
    CheckpointError, MissingExtraError
        If the checkpoint cannot be read.
    TaskError
        If a parameter of the model has no memory.

    Notes
    -----
    Costs two decompositions of each matrix, O(n p^2), and about 0.1 s for its power law. Matrices that hold NaN or are
    0 are in the result with a reason. Transposed convolutions are recognized in models, not in files.

    Examples
    --------
    An untrained layer has neither spikes nor a power law.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> found = weight_spectra(torch.nn.Linear(300, 100))
    >>> int(found["marchenko_pastur_num_spikes"][0]), float(found["exponent"][0])
    (0, nan)
    """
    if not isinstance(source, nn.Module | str | os.PathLike):
        raise ArgumentError(f"a torch.nn.Module or the path of a checkpoint is required; got {type(source).__name__}")
    num_bootstrap = as_count(num_bootstrap, name="num_bootstrap", least=20)
    seed = as_seed(rng)
    patterns = (layers,) if isinstance(layers, str) else tuple(layers)
    matrices, others = select(weight_matrices(source), patterns)
    name = type(source).__name__ if isinstance(source, nn.Module) else str(Path(source))
    if not matrices:
        raise ArgumentError(
            f"{name} has no weight matrix matching {', '.join(patterns)}; it has {', '.join(others[:10])}"
            if others
            else f"{name} has no weight matrix: a tensor of real numbers of at least two rows and columns is required "
            "(integers, as of quantized models, are none)"
        )
    found: list[MatrixSpectrum] = []
    for done, matrix in enumerate(matrices):
        if progress is not None:
            progress("weight matrices", done, len(matrices))
        found.append(analyze_matrix(matrix.read(), num_bootstrap=num_bootstrap, seed=seed))
    if progress is not None:
        progress("weight matrices", len(matrices), len(matrices))
    return weights_dataset(
        matrices, found, source=name, num_bootstrap=num_bootstrap, seed=seed, layers=json.dumps(patterns)
    )
