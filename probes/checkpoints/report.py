"""What became of every name when a checkpoint met a model."""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

__all__ = ["CheckpointEntry", "CheckpointReport"]


@dataclass(frozen=True)
class CheckpointEntry:
    """One name, with the shape and dtype it has on either side.

    Attributes
    ----------
    name : str
        As in the model, without the prefix of the checkpoint.
    stored_shape, stored_dtype : tuple of int and torch.dtype, or None
        In the checkpoint; ``None`` where it does not have the name.
    model_shape, model_dtype : tuple of int and torch.dtype, or None
        In the model; ``None`` where it does not have the name.
    reason : str
        Of a mismatch.
    """

    name: str
    stored_shape: tuple[int, ...] | None = None
    stored_dtype: torch.dtype | None = None
    model_shape: tuple[int, ...] | None = None
    model_dtype: torch.dtype | None = None
    reason: str = ""

    def __str__(self) -> str:
        """Name the tensor, with its shape and dtype where there is one side and with both where there are two."""
        stored = f"{self.stored_shape} {_short(self.stored_dtype)}"
        model = f"{self.model_shape} {_short(self.model_dtype)}"
        if self.stored_shape is None:
            return f"{self.name} {model}"
        if self.model_shape is None:
            return f"{self.name} {stored}"
        return f"{self.name} (checkpoint {stored}, model {model}" + (f": {self.reason})" if self.reason else ")")


@dataclass(frozen=True)
class CheckpointReport:
    """What :func:`load_checkpoint` did, name by name.

    Attributes
    ----------
    path : pathlib.Path
        The file or directory that was read.
    key : str or None
        The entry of the file under which the state was found, such as ``"state_dict"``.
    prefix : str
        What was taken off the names of the checkpoint.
    loaded, missing, unexpected, mismatched : tuple of CheckpointEntry
        Copied into the model; in the model only; in the checkpoint only; in both, but not copied. The last three are
        empty after a strict load.
    tied : dict of str to str
        Names of the model that the checkpoint need not hold, and the loaded name with which each shares its memory.
    ignored : tuple of str
        Names of the checkpoint that were left out on request, lie outside the prefix, or hold no tensor.
    """

    path: Path
    key: str | None
    prefix: str
    loaded: tuple[CheckpointEntry, ...]
    missing: tuple[CheckpointEntry, ...] = ()
    unexpected: tuple[CheckpointEntry, ...] = ()
    mismatched: tuple[CheckpointEntry, ...] = ()
    tied: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def converted(self) -> tuple[CheckpointEntry, ...]:
        """The loaded tensors whose dtype in the model is not the stored one."""
        return tuple(entry for entry in self.loaded if entry.stored_dtype != entry.model_dtype)

    @property
    def is_complete(self) -> bool:
        """Whether every name of either side has its counterpart, other than those ignored."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        """Summarize in one line."""
        count = sum(math.prod(entry.model_shape or ()) for entry in self.loaded)
        parts = [f"{len(self.loaded)} tensors loaded ({count:,} numbers)"]
        kinds = Counter((_short(e.stored_dtype), _short(e.model_dtype)) for e in self.converted)
        parts += [f"{number} converted from {stored} to {model}" for (stored, model), number in kinds.items()]
        for name in ("missing", "unexpected", "mismatched", "tied", "ignored"):
            if found := getattr(self, name):
                parts.append(f"{len(found)} {name}")
        return f"{self.path.name}: {', '.join(parts)}"


def _short(dtype: torch.dtype | None) -> str:
    """Name a dtype without its module."""
    return str(dtype).removeprefix("torch.")
