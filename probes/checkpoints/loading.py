"""Copy a checkpoint into a model, all of it or nothing, and report every name."""

import os
from collections.abc import Iterable

import torch
from torch import nn

from probes.checkpoints.causes import explain
from probes.checkpoints.matching import keep, match, targets_of
from probes.checkpoints.reading import read_stored
from probes.checkpoints.report import CheckpointReport
from spectra.errors import CheckpointError, TaskError

__all__ = ["load_checkpoint"]


def load_checkpoint(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    strict: bool = True,
    prefix: str | None = None,
    ignore: str | Iterable[str] = (),
    key: str | None = None,
    allow_pickle_from_trusted_source: bool = False,
) -> CheckpointReport:
    """Copy the tensors of a checkpoint into the parameters and buffers of a model.

    Everything is read and compared before the first number is written, so that a model is as it was if this raises.
    Values are converted to the dtype and moved to the device that the model has; conversions are in the report. Train
    or eval mode, ``requires_grad``, gradients and ties stay as they are. Load hooks of modules (``load_state_dict``
    runs them to rename old names) do not run: for those, ``model.load_state_dict(read_state_dict(path))``.

    Parameters
    ----------
    model : torch.nn.Module
        With its memory allocated; on any device.
    path : str or path
        A file or directory as for :func:`read_state_dict`.
    strict : bool
        Whether every parameter and persistent buffer must be in the checkpoint and the other way round. A parameter
        that the model ties to a loaded one may be absent. If not strict, what fits is loaded, the rest of the model
        stays as it was, and the report says which is which.
    prefix : str, optional
        What to take off the names of the checkpoint, such as ``"module."``; names without it are ignored.
    ignore : str or iterable of str
        Names or patterns (:mod:`fnmatch`), after the prefix, of tensors of the checkpoint that are not wanted, such as
        ``"pooler.*"``.
    key : str, optional
        The entry of a ``torch.save`` file that holds the state; usual ones are found without.
    allow_pickle_from_trusted_source : bool
        Whether Python code stored in the file may run while it is read. Never for a file of unknown origin.

    Returns
    -------
    CheckpointReport
        ``loaded``, ``converted``, ``missing``, ``unexpected``, ``mismatched``, ``tied`` and ``ignored`` names, with
        shapes and dtypes; ``str(report)`` is one line.

    Raises
    ------
    CheckpointError
        The checkpoint cannot be read safely; or, if strict, some name is missing, unexpected or of another shape (all
        are listed, with the cause where one is evident); or nothing at all fits.
    TaskError
        ``model`` is no module, or has parameters without memory (lazy, or on the meta device).
    MissingExtraError
        It is a safetensors file and the library is not installed.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = f"{directory}/last.pt"
    ...     torch.save({"model": torch.nn.Linear(2, 1).double().state_dict()}, path)
    ...     print(load_checkpoint(torch.nn.Linear(2, 1), path))
    last.pt: 2 tensors loaded (3 numbers), 2 converted from float64 to float32
    """
    if not isinstance(model, nn.Module):
        raise TaskError(
            f"load_checkpoint needs a torch.nn.Module, an instance; got {type(model).__name__} {model!r:.60}."
        )
    targets = targets_of(model)
    stored = read_stored(path, key=key, trusted=allow_pickle_from_trusted_source)
    prefix = f"{prefix.rstrip('.')}." if prefix else ""
    tensors, ignored = keep(stored.tensors, prefix=prefix, ignore=ignore)
    found = match(targets, tensors)
    if (strict and (found.missing or found.unexpected or found.mismatched)) or not found.loaded:
        raise CheckpointError(explain(targets, tensors, found, stored, model=type(model).__name__, prefix=prefix))
    with torch.no_grad():
        for entry in found.loaded:
            targets[entry.name].copy_(tensors[entry.name])
    return CheckpointReport(
        path=stored.path,
        key=stored.key,
        prefix=prefix,
        loaded=found.loaded,
        missing=found.missing,
        unexpected=found.unexpected,
        mismatched=found.mismatched,
        tied=found.tied,
        ignored=(*ignored, *stored.others),
    )
