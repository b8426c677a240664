"""Optimizer states from files, read without running code stored in them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probes.checkpoints.torch_files import read_torch
from spectra.errors import CheckpointError

__all__ = ["is_optimizer_state", "load_optimizer_state"]

#: Of a checkpoint directory, in the order in which they are looked for: Hugging Face Trainer, accelerate.
STATE_FILES = ("optimizer.pt", "optimizer.bin")


def load_optimizer_state(
    path: str | os.PathLike[str], *, key: str | None = None, allow_pickle_from_trusted_source: bool = False
) -> dict[str, Any]:
    """Read ``optimizer.state_dict()`` from a file of ``torch.save``, for ``optimizer.load_state_dict``.

    Parameters
    ----------
    path : str or path
        The state itself, a training checkpoint that holds it under some key (Lightning, ``{"model": ...,
        "optimizer": ...}``), or a directory with ``optimizer.pt`` (Hugging Face Trainer) or ``optimizer.bin``.
    key : str, optional
        Which one, if there are several: ``"optimizer"``, or ``"optimizer_states[1]"`` for an entry of a list.
    allow_pickle_from_trusted_source : bool
        Whether Python code stored in the file may run while it is read. Never for a file of unknown origin.

    Returns
    -------
    dict
        ``{"state": ..., "param_groups": ...}``, tensors on the CPU.

    Raises
    ------
    CheckpointError
        There is no such file, it is damaged or cannot be read safely, or it holds no state of an optimizer or several.

    Examples
    --------
    >>> import tempfile, torch
    >>> optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))], lr=0.01)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     torch.save({"epoch": 3, "optimizer": optimizer.state_dict()}, f"{directory}/last.pt")
    ...     state = load_optimizer_state(f"{directory}/last.pt")
    >>> state["param_groups"][0]["lr"]
    0.01
    """
    file = _file(Path(path))
    loaded = read_torch(file, trusted=allow_pickle_from_trusted_source)
    candidates = {"": loaded} if is_optimizer_state(loaded) else _inside(loaded)
    if key is not None:
        if key not in candidates:
            raise CheckpointError(f"{file} holds no optimizer state under {key!r}; {_held(loaded, candidates)}")
        return dict(candidates[key])
    if len(candidates) != 1:
        several = f"{len(candidates)} optimizer states; pass key=" if candidates else "no state of an optimizer;"
        raise CheckpointError(
            f"{file} holds {several} {_held(loaded, candidates)}"
            + ("" if candidates else " Save optimizer.state_dict(), alone or in a dictionary.")
        )
    return dict(next(iter(candidates.values())))


def _file(path: Path) -> Path:
    if path.is_dir():
        found = next((path / name for name in STATE_FILES if (path / name).is_file()), None)
        if found is None:
            raise CheckpointError(
                f"{path} holds no {' or '.join(STATE_FILES)}; pass the file that holds the state of the optimizer."
            )
        return found
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; pass one that torch.save wrote, or a directory with one.")
    return path


def is_optimizer_state(value: Any) -> bool:
    """Whether a value is what ``optimizer.state_dict()`` returns."""
    if not isinstance(value, Mapping) or not isinstance(value.get("state"), Mapping):
        return False
    groups = value.get("param_groups")
    return (
        isinstance(groups, list | tuple)
        and len(groups) > 0
        and all(isinstance(group, Mapping) and isinstance(group.get("params"), list | tuple) for group in groups)
    )


def _inside(loaded: Any) -> dict[str, Mapping[str, Any]]:
    """Return the optimizer states one level inside of a checkpoint, by what they lie under."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, value in loaded.items() if isinstance(loaded, Mapping) else ():
        if is_optimizer_state(value):
            found[str(name)] = value
        elif isinstance(value, list | tuple):
            found |= {f"{name}[{i}]": entry for i, entry in enumerate(value) if is_optimizer_state(entry)}
    return found


def _held(loaded: Any, candidates: Mapping[str, Any]) -> str:
    if candidates:
        return ", ".join(map(repr, candidates)) + "."
    if isinstance(loaded, Mapping):
        return f"it has the keys {[str(name) for name in list(loaded)[:8]]}."
    return f"it is a {type(loaded).__name__}."
