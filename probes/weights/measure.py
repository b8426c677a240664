"""Every weight matrix of a model or checkpoint, one after the other."""

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.linalg import LinAlgError
from torch import nn

from probes.checkpoints.reading import is_safetensors
from probes.weights.dataset import weights_dataset
from probes.weights.differences import difference, subtract
from probes.weights.matrices import Inventory, list_weights, select
from probes.weights.matrix import MatrixSpectrum, analyze_matrix, no_spectrum
from probes.weights.names import matches
from probes.weights.tensors import LeftOut, WeightMatrix
from spectra.errors import ArgumentError, CheckpointError
from spectra.laws.power_law_tail import MIN_BOOTSTRAP, NUM_BOOTSTRAP
from spectra.start_vectors import as_count, as_seed
from spectra.weights_summary import UNCHANGED

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["WeightsInterrupted", "weight_spectra"]

Progress = Callable[[str, int, int], None]
Source = nn.Module | str | os.PathLike[str]

#: Why a matrix is left out that an interrupted run did not come to.
NOT_REACHED = "matrices that were not reached before the run was interrupted"


class WeightsInterrupted(KeyboardInterrupt):
    """Ctrl-C while matrices were analyzed; ``found`` holds those that were done, or is None."""

    def __init__(self, found: "xr.Dataset | None") -> None:
        super().__init__("interrupted")
        self.found = found


def weight_spectra(
    source: Source,
    *,
    layers: str | Sequence[str] = (),
    num_bootstrap: int = NUM_BOOTSTRAP,
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
    against: Source | None = None,
    stacks: str | Sequence[str] = (),
    kernels: str | Sequence[str] = (),
    key: str | None = None,
    allow_pickle_from_trusted_source: bool = False,
) -> "xr.Dataset":
    """Return the spectrum of every weight matrix: bulk, spikes, norms, ranks, and a power law where there is one.

    Linear weights and embeddings are taken as they are, convolutions as (out, in * kernel), fused attention
    projections as three, stacks of experts one by one (:mod:`probes.weights.tensors`). No data are needed and nothing
    is trained.

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
    against : torch.nn.Module, str or path, optional
        Another state of the same model, as before fine-tuning: the spectra are those of the differences. It is read
        with the same ``stacks`` and ``kernels``, and the same ``key`` where it is a file of ``torch.save``.
    stacks, kernels : str or sequence of str
        Patterns of names whose tensors of three or more sizes are stacks of matrices, or kernels of convolutions; the
        others are told by module, name and size, and ``rule`` says by which. None may fit both.
    key : str, optional
        The entry of a ``torch.save`` file that holds the state; usual ones are found without.
    allow_pickle_from_trusted_source : bool
        Whether Python code stored in such a file may run while it is read. Never for a file of unknown origin.

    Returns
    -------
    xarray.Dataset
        Schema ``"spectra/weights"`` with one row for each ``layer``, in units of the weights but for
        ``tail_smallest``:

        - ``kind``, ``stored_shape``, ``rule`` (how the tensor became this matrix, and why), ``num_rows``,
          ``num_columns``, ``aspect_ratio`` (of at most 1);
        - ``spectral_norm``, ``frobenius_norm``, both also as ``log10`` of their squares (``log_spectral_norm``,
          ``log_norm``), ``stable_rank``, ``participation_ratio``, ``rank``, ``condition_number``, ``mean_entry``;
        - ``sigma``, ``marchenko_pastur_lower``, ``..._upper``, ``..._num_spikes``, ``bulk_distance`` (Kolmogorov and
          Smirnov): white noise; ``ladder_...``: the law-free split of the same values; -1 spikes where none was made;
        - ``spike_value``, ``spike_signal`` (freed of bias), ``spike_overlap``, ``spike_margin`` (Tracy-Widom units)
          over ``spike``, of the first split;
        - ``permuted_num_spikes``: spikes that remain where entries are in random places; ``heavy_tailed``: single
          entries make at least half of the spikes, or of the misfit of the bulk; ``unequal_sizes``: independent
          entries in rows and columns of such sizes have such singular values;
        - ``exponent`` of eigenvalues ``s^2`` (NaN with ``tail_why`` where a test fails), ``exponent_stderr``,
          ``num_tail``, ``tail_smallest`` (an eigenvalue, in squared units), ``tail_distance``, ``p_value``,
          ``noise_ratio``, ``exponential_ratio`` (:class:`spectra.laws.power_law_tail.PowerLawTail`),
          ``fitted_exponent``;
        - ``singular_value`` over ``index``, descending;
        - ``relative_change``: Frobenius norm of the difference over that of ``against``, where one is given.

        The attribute ``left_out`` lists, as JSON, what is none of these, with its shape and why: other tensors but
        buffers of a model of fewer than two sizes, and matrices that were not chosen, not reached or not in common,
        with the shape of the matrix. ``num_parameters`` is the number of entries of all rows together; ``source``,
        ``against``, ``layers``, ``stacks``, ``kernels`` (as JSON), ``key``, ``num_bootstrap`` and ``seed`` are the
        arguments, ``against`` and ``key`` only where they were given.

    Raises
    ------
    ArgumentError
        If there is no matrix, none of that name, none in common with ``against``, a pattern fits nothing, a tensor fits
        both ``stacks`` and ``kernels``, or an option is out of range.
    CheckpointError, MissingExtraError
        If the checkpoint cannot be read.
    TaskError
        If a parameter of the model has no memory.
    WeightsInterrupted
        A KeyboardInterrupt, on Ctrl-C; its ``found`` is the result so far.

    Notes
    -----
    Costs up to three decompositions of each matrix, O(n p^2), and about 0.1 s for its power law. Memory is that of one
    matrix: measured for 4 float32 matrices of 1024 x 8192 in one safetensors file of 128 MiB, 279 MiB, 4.4 times the
    matrix in float64, and 343 MiB where a third decomposition is made. Matrices that hold NaN, are 0 or cannot be read
    are in the result with a reason. Transposed convolutions are recognized in models, not in files.

    Examples
    --------
    An untrained layer has neither spikes nor a power law.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> found = weight_spectra(torch.nn.Linear(300, 100))
    >>> int(found["marchenko_pastur_num_spikes"][0]), float(found["exponent"][0])
    (0, nan)
    """
    for given in (source,) if against is None else (source, against):
        if not isinstance(given, nn.Module | str | os.PathLike):
            raise ArgumentError(
                f"a torch.nn.Module or the path of a checkpoint is required; got {type(given).__name__}"
            )
    num_bootstrap = as_count(num_bootstrap, name="num_bootstrap", least=MIN_BOOTSTRAP)
    seed = as_seed(rng)
    patterns, stacks, kernels = _as_patterns(layers), _as_patterns(stacks), _as_patterns(kernels)
    listed = partial(
        list_weights,
        stacks=stacks,
        kernels=kernels,
        allow_pickle_from_trusted_source=allow_pickle_from_trusted_source,
    )
    every = listed(source, key=key)
    name = _name(source)
    attributes: dict[str, Any] = {
        "source": name,
        "num_bootstrap": num_bootstrap,
        "seed": seed,
        "layers": json.dumps(patterns),
        "stacks": json.dumps(stacks),
        "kernels": json.dumps(kernels),
    }
    if key is not None:
        attributes["key"] = key
    if against is not None:
        every = subtract(every, listed(against, key=key if _has_keys(against) else None))
        attributes["against"] = _name(against)
    chosen = select(every, patterns)
    _require_some(every, name, patterns, attributes.get("against"))
    done: list[tuple[MatrixSpectrum, float]] = []

    def tell() -> None:
        if progress is not None:
            progress("weight matrices", len(done), len(chosen.matrices))

    def result(left_out: tuple[LeftOut, ...]) -> "xr.Dataset":
        found = [spectrum for spectrum, _ in done]
        changes = None if against is None else [change for _, change in done]
        return weights_dataset(chosen.matrices[: len(done)], found, changes=changes, left_out=left_out, **attributes)

    try:
        for matrix in chosen.matrices:
            tell()
            done.append(_analyze(matrix, num_bootstrap, seed))
        tell()
    except KeyboardInterrupt:
        missed = chosen.matrices[len(done) :]
        rest = [LeftOut(name=matrix.name, shape=matrix.shape, why=NOT_REACHED) for matrix in missed]
        raise WeightsInterrupted(result((*chosen.left_out, *rest)) if done else None) from None
    return result(chosen.left_out)


def _analyze(matrix: WeightMatrix, num_bootstrap: int, seed: int) -> tuple[MatrixSpectrum, float]:
    """Return the spectrum of a matrix, and its relative change; what fails is a result with a reason."""
    change, rounding = math.nan, 0.0
    try:
        weights = matrix.read()
        base = None if matrix.base is None else matrix.base()
    except (CheckpointError, OSError, RuntimeError, TypeError, MemoryError) as error:
        return _failed(matrix, error), change
    try:
        if base is not None:
            compared = difference(weights, base, spacing=matrix.spacing)
            weights, change, rounding = compared.weights, compared.change, compared.rounding
        if base is not None and not weights.any():
            found = no_spectrum(matrix.shape, UNCHANGED, values=np.zeros(min(matrix.shape)))
        else:
            found = analyze_matrix(weights, num_bootstrap=num_bootstrap, seed=seed, rounding=rounding)
    except (MemoryError, LinAlgError) as error:
        return _failed(matrix, error), change
    return replace(found, remarks=(*matrix.notes, *found.remarks)), change


def _failed(matrix: WeightMatrix, error: Exception) -> MatrixSpectrum:
    """Return the result of a matrix that an error kept from being read or analyzed."""
    detail = " ".join(str(error).split())[:200]
    why = f"it could not be read or analyzed: {type(error).__name__}: {detail}"
    return replace(no_spectrum(matrix.shape, why), remarks=matrix.notes)


def _require_some(every: Inventory, name: str, patterns: tuple[str, ...], against: str | None) -> None:
    """Refuse a source without matrices, or without any that another has, and patterns that fit none."""
    names = [matrix.name for matrix in every.matrices]
    needless = [pattern for pattern in patterns if not any(matches(other, (pattern,)) for other in names)]
    if names and needless:
        hint = "; with * or ? a pattern must fit the whole name" if any(set(p) & set("*?[") for p in needless) else ""
        text, held = f"{name} has no weight matrix", "it has"
        if against is not None:
            text, held = f"{name} and {against} have no weight matrix in common", "in common are"
        raise ArgumentError(
            f"{text} matching {', '.join(needless)}; {held} {', '.join(names[:10])}"
            f"{f' and {len(names) - 10} more' if len(names) > 10 else ''}{hint}"
        )
    if names:
        return
    reasons = Counter(entry.why for entry in every.left_out)
    held = "; ".join(f"{count} {why}" for why, count in reasons.items()) or "nothing"
    if against is not None:
        raise ArgumentError(
            f"{name} and {against} have no weight matrix of the same name and shape, of which a difference could be "
            f"taken; there are {held}"
        )
    raise ArgumentError(
        f"{name} has no weight matrix: a tensor of real numbers of at least two rows and columns is required; it has "
        f"{held}"
    )


def _as_patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _name(source: Source) -> str:
    return type(source).__name__ if isinstance(source, nn.Module) else str(Path(source))


def _has_keys(source: Source) -> bool:
    """Whether a source is a file whose entries a key chooses from."""
    return not isinstance(source, nn.Module) and Path(source).is_file() and not is_safetensors(Path(source))
