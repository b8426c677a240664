"""Compare a model with the tensors of a checkpoint, name by name, before anything is copied."""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from probes.checkpoints.report import CheckpointEntry
from spectra.errors import CheckpointError, TaskError

__all__ = ["Match", "keep", "match", "targets_of"]


@dataclass(frozen=True)
class Match:
    """The outcome for every name; the fields are those of :class:`CheckpointReport`."""

    loaded: tuple[CheckpointEntry, ...]
    missing: tuple[CheckpointEntry, ...]
    unexpected: tuple[CheckpointEntry, ...]
    mismatched: tuple[CheckpointEntry, ...]
    tied: dict[str, str]


def targets_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and persistent buffers of a model under all of their names.

    Raises
    ------
    TaskError
        One of them has no memory to copy into: a lazy module, or one on the meta device.
    CheckpointError
        One is sharded over processes or was made in inference mode.
    """
    persistent = model.state_dict().keys()
    targets: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    targets |= {name: b for name, b in model.named_buffers(remove_duplicate=False) if name in persistent}
    for name, target in targets.items():
        if nn.parameter.is_lazy(target):
            raise TaskError(
                f"{name!r} of {type(model).__name__} has no shape yet (lazy module); run one forward pass before "
                "loading a checkpoint."
            )
        if target.is_meta:
            raise TaskError(
                f"{name!r} of {type(model).__name__} is on the meta device and has no memory; call "
                "model.to_empty(device='cpu') before loading a checkpoint."
            )
        if hasattr(target, "device_mesh"):
            raise CheckpointError(
                f"{name!r} is sharded over processes (DTensor); load the checkpoint before sharding the model, or with "
                "torch.distributed.checkpoint."
            )
        if target.is_inference():
            raise CheckpointError(
                f"{name!r} was made under torch.inference_mode() and cannot be written; build the model outside of it."
            )
    return targets


def match(targets: dict[str, Tensor], tensors: dict[str, Tensor]) -> Match:
    """Compare names, shapes and kinds of numbers (real, complex, integer); dtypes of one kind may differ.

    A name of the model that the checkpoint lacks is not missing if the model ties it to one that is loaded. Two names
    tied in the model but of different values in the checkpoint are a mismatch: one would overwrite the other.
    """
    owners: dict[object, str] = {}
    loaded: list[CheckpointEntry] = []
    mismatched: list[CheckpointEntry] = []
    for name in (name for name in targets if name in tensors):
        target, tensor = targets[name], tensors[name]
        owner = owners.setdefault(_memory(target), name)
        entry = _entry(name, tensor, target)
        reason = ""
        if tensor.shape != target.shape:
            reason = "shapes differ"
        elif _kind(tensor.dtype) != _kind(target.dtype):
            reason = "kinds of numbers differ"
        elif owner != name and not _equal(tensors[owner], tensor):
            reason = f"tied to {owner} in the model, but of other values in the checkpoint"
        (mismatched if reason else loaded).append(_entry(name, tensor, target, reason) if reason else entry)
    absent = [name for name in targets if name not in tensors]
    tied = {name: owners[key] for name in absent if (key := _memory(targets[name])) in owners}
    return Match(
        loaded=tuple(loaded),
        missing=tuple(_entry(name, None, targets[name]) for name in absent if name not in tied),
        unexpected=tuple(_entry(name, tensor, None) for name, tensor in tensors.items() if name not in targets),
        mismatched=tuple(mismatched),
        tied=tied,
    )


def keep(
    tensors: dict[str, Tensor], *, prefix: str, ignore: Iterable[str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take a prefix off the names, and return the tensors wanted and the names left out."""
    patterns = [ignore] if isinstance(ignore, str) else list(ignore)
    kept: dict[str, Tensor] = {}
    ignored: list[str] = []
    for name, tensor in tensors.items():
        short = name.removeprefix(prefix)
        if not name.startswith(prefix) or any(fnmatch.fnmatchcase(short, pattern) for pattern in patterns):
            ignored.append(name)
        else:
            kept[short] = tensor
    return kept, tuple(ignored)


def _entry(name: str, tensor: Tensor | None, target: Tensor | None, reason: str = "") -> CheckpointEntry:
    """Describe both sides of a name."""
    return CheckpointEntry(
        name,
        stored_shape=None if tensor is None else tuple(tensor.shape),
        stored_dtype=None if tensor is None else tensor.dtype,
        model_shape=None if target is None else tuple(target.shape),
        model_dtype=None if target is None else target.dtype,
        reason=reason,
    )


def _memory(tensor: Tensor) -> object:
    """Return a key that two tensors share if they are the same numbers in the same memory."""
    if tensor.numel() == 0:
        return id(tensor)
    return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())


def _kind(dtype: torch.dtype) -> str:
    """Tell kinds of numbers apart, between which a conversion would lose or invent something."""
    if dtype.is_complex:
        return "complex"
    return "real" if dtype.is_floating_point else "integer"


def _equal(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are bitwise the same numbers, NaN equal to NaN."""
    return (
        first.shape == second.shape
        and first.dtype == second.dtype
        and (torch.equal(first, second) or bool(torch.isclose(first, second, rtol=0, atol=0, equal_nan=True).all()))
    )
