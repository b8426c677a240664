"""Files of ``torch.save``: read without pickle, and freed of the dictionary around the state."""

import re
import shlex
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from spectra.errors import CheckpointError

__all__ = ["read_torch", "unwrap"]

#: Under which the state of a model lies in a training checkpoint: Lightning and timm, PyTorch's tutorial, fairseq and
#: torchvision, DeepSpeed.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "model_state", "net", "network", "weights", "params")


def read_torch(path: Path, *, trusted: bool) -> Any:
    """Return what a file holds, with its tensors on the CPU and mapped from the file where the format allows it.

    Parameters
    ----------
    path : pathlib.Path
        Written by ``torch.save``, in the current or the pre-1.6 format.
    trusted : bool
        Whether code stored in the file may run.

    Raises
    ------
    CheckpointError
        The file is damaged, something else, or could only be read by running code stored in it.
    """
    is_zip = _is_zip_of_torch(path)
    try:
        with warnings.catch_warnings():
            # What follows it is our own error, which says more.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            # Quantized tensors in the file: whether they can be used is said by whoever uses them.
            warnings.filterwarnings("ignore", message="TypedStorage is deprecated")
            warnings.filterwarnings("ignore", message=r"torch\.quantize_per_tensor")
            return torch.load(path, map_location="cpu", weights_only=not trusted, mmap=is_zip)
    except UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error), trusted)) from error
    except Exception as error:
        detail = str(error).strip().partition("\n")[0][:200]
        raise CheckpointError(
            f"{path} could not be read: it is damaged or incomplete, or no file of torch.save. Download or save it "
            f"again. PyTorch says: {type(error).__name__}: {detail}"
        ) from error


def unwrap(loaded: Any, path: Path, key: str | None) -> tuple[dict[str, Any], str | None]:
    """Return the mapping of names to tensors inside of what a file holds, and the key it lay under.

    A mapping of names to tensors is itself the state. Otherwise the state lies under ``key``, under one of
    :data:`WRAPPERS`, or under the only key whose value is such a mapping.

    Raises
    ------
    CheckpointError
        No state was found, or several.
    """
    if isinstance(loaded, nn.Module):
        loaded = loaded.state_dict()
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{path} must hold a mapping of names to tensors; it holds {_a(loaded)}. Save model.state_dict() instead."
        )
    candidates = [name for name, value in loaded.items() if _is_state(value)]
    known = [name for name in WRAPPERS if name in candidates]
    if key is not None:
        if key not in candidates:
            raise CheckpointError(
                f"{path} holds no state under {key!r}; "
                + (f"try {_choice(candidates[0])}." if candidates else _held(loaded))
            )
        options = [key]
    elif known or not _is_state(loaded):
        options = known or candidates
    else:
        return dict(loaded), None
    if not options:
        raise CheckpointError(f"{path} must hold a mapping of names to tensors, or one under a key; {_held(loaded)}")
    if len(options) > 1:
        raise CheckpointError(
            f"{path} holds {len(options)} states, under {', '.join(map(repr, options))}; say which one: "
            f"{_choice(options[0])}."
        )
    state = loaded[options[0]]
    return dict(state.state_dict() if isinstance(state, nn.Module) else state), options[0]


def _is_state(value: Any) -> bool:
    """Whether a value maps names to tensors (beside which there may be other entries)."""
    if isinstance(value, nn.Module):
        return True
    return (
        isinstance(value, Mapping)
        and all(isinstance(name, str) for name in value)
        and any(isinstance(entry, Tensor) for entry in value.values())
    )


def _is_zip_of_torch(path: Path) -> bool:
    """Whether the file is in the current format; a zip file of another kind is refused here, with its kind."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} is damaged or incomplete ({error}). Download or save it again.") from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(
            f"{path} is a TorchScript program, not a state: torch.save(torch.jit.load(path).state_dict(), ...) makes "
            "one of it, if you trust it."
        )
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError(f"{path} is a zip file that torch.save did not write; it holds {', '.join(names[:5])}.")
    return True


def _refusal(path: Path, message: str, trusted: bool) -> str:
    """Say what could not be unpickled."""
    found = re.search(r"GLOBAL ([\w.]+) was not an allowed global", message) or re.search(r"class ([\w.]+)", message)
    if trusted:
        return f"{path} is damaged or no file of torch.save. PyTorch says: {message.strip().partition(chr(10))[0]}"
    what = f" (the first is {found[1]})" if found else ", or it is damaged or no file of torch.save"
    return (
        f"{path} cannot be read safely: besides tensors it holds Python objects{what}, and reading those runs code "
        "stored in the file. Save model.state_dict() alone, or a safetensors file. If you know who made it and trust "
        "them, pass allow_pickle_from_trusted_source=True (spectra weights: --allow-pickle-from-trusted-source)."
    )


def _choice(name: str) -> str:
    """Say how to choose an entry, in Python and at the command line."""
    return f"key={name!r} (spectra weights: --key {shlex.quote(name)})"


def _held(loaded: Mapping[Any, Any]) -> str:
    """Say what a mapping holds."""
    held = ", ".join(f"{name!r}: {_a(value)}" for name, value in list(loaded.items())[:8])
    return f"it holds {held or 'nothing'}."


def _a(value: Any) -> str:
    """Name the type of a value."""
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, Mapping | list | tuple) else "")
