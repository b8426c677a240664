"""The tensors of a checkpoint one by one, so that no more than one of them need be in memory."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from probes.checkpoints.directories import Shards, find_shards, read_index
from probes.checkpoints.reading import is_safetensors, read_entries, read_stored
from spectra.errors import CheckpointError, MissingExtraError

__all__ = ["StoredTensor", "stream_tensors"]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, not yet read.

    Attributes
    ----------
    name : str
    shape : tuple of int
    is_floating : bool
        Whether it holds real numbers rather than integers or complex ones.
    read : callable
        Returns it as a torch.Tensor on the CPU, or raises a CheckpointError.
    dtype : str
        As of torch, ``"float32"`` and so on.
    also : tuple of str
        Other names of the same memory.
    obstacle : str
        Why it cannot be read as a dense tensor; empty if it can.
    """

    name: str
    shape: tuple[int, ...]
    is_floating: bool
    read: Callable[[], Tensor]
    dtype: str = ""
    also: tuple[str, ...] = ()
    obstacle: str = ""


#: Names of numbers in safetensors files that are not those of torch but for the first letters.
_DTYPES = {
    "BOOL": "bool",
    "BF16": "bfloat16",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
}
_KINDS = {"F": "float", "I": "int", "U": "uint"}


def stream_tensors(
    path: str | os.PathLike[str], *, key: str | None = None, allow_pickle_from_trusted_source: bool = False
) -> tuple[StoredTensor, ...]:
    """Return what a checkpoint holds, each tensor to be read when it is wanted.

    Of a safetensors file only the header is read here, a file of ``torch.save`` is mapped (one older than PyTorch 1.6
    is read whole). A tensor that two names share is listed once.

    Parameters
    ----------
    path, key, allow_pickle_from_trusted_source
        As for :func:`probes.checkpoints.read_state_dict`.

    Returns
    -------
    tuple of StoredTensor
        In the order of the files.

    Raises
    ------
    CheckpointError
        As for :func:`probes.checkpoints.read_state_dict`.
    MissingExtraError
        It is a safetensors file and the library is not installed.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     torch.save(torch.nn.Linear(3, 2).state_dict(), f"{directory}/last.pt")
    ...     [(tensor.name, tensor.shape) for tensor in stream_tensors(f"{directory}/last.pt")]
    [('weight', (2, 3)), ('bias', (2,))]
    """
    path = Path(path).expanduser()
    shards = Shards((path,))
    if path.is_dir():
        shards = find_shards(path)
    elif path.name.endswith(".index.json") and path.is_file():
        shards = read_index(path)
    found: list[StoredTensor] = []
    for file in shards.files:
        if file.is_file() and is_safetensors(file) and key is None:
            held = _in_safetensors(file)
        else:
            held = _in_torch(file, key, allow_pickle_from_trusted_source)
        if shards.homes is not None:
            _check_index(path, shards.homes, file, {name for tensor in held for name in (tensor.name, *tensor.also)})
        found += held
    return tuple(found)


def _check_index(path: Path, homes: dict[str, str], file: Path, held: set[str]) -> None:
    """Refuse an index that is wrong about a file: a tensor would be absent, or there twice."""
    listed = {name for name, home in homes.items() if home == file.name}
    wrong = sorted(listed ^ held)
    if wrong:
        raise CheckpointError(
            f"{path}: the index and {file.name} disagree about {', '.join(wrong[:5])}"
            f"{f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''}. They are of different versions, or one is "
            "damaged: download them again."
        )


def _in_safetensors(path: Path) -> list[StoredTensor]:
    """List a file by its header."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{path} is a safetensors file, and the library safetensors is not installed. Run pip install "
            "'spectra-probes[checkpoints]'."
        ) from error
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            notes = [(alias, name) for alias, name in (file.metadata() or {}).items() if alias not in parts]
            return [
                StoredTensor(
                    name,
                    tuple(part.get_shape()),
                    part.get_dtype().startswith(("F", "BF")),
                    partial(_read_one, path, name),
                    dtype=_dtype_name(part.get_dtype()),
                    also=tuple(alias for alias, of in notes if of == name),
                )
                for name, part in parts.items()
            ]
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _dtype_name(code: str) -> str:
    """Return the name that torch has for numbers of a safetensors file."""
    kind, rest = _KINDS.get(code[:1]), code[1:]
    return _DTYPES.get(code, f"{kind}{rest.lower()}" if kind else code.lower())


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} is damaged or incomplete. Download or save it again. safetensors says: {error}")


def _read_one(path: Path, name: str) -> Tensor:
    """Read a tensor of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _in_torch(path: Path, key: str | None, trusted: bool) -> list[StoredTensor]:
    """List a mapped file; tensors with the same memory are one."""
    if not path.is_file() or is_safetensors(path):
        entries = read_stored(path, key=key, trusted=trusted).tensors
    else:
        entries = read_entries(path, key, trusted).tensors
    found: dict[object, StoredTensor] = {}
    for name, tensor in entries.items():
        obstacle = _obstacle(tensor)
        place: object = name
        if not obstacle and tensor.numel():
            place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride())
        if place in found:
            first = found[place]
            found[place] = replace(first, also=(*first.also, name))
            continue
        dtype = str(tensor.dtype).removeprefix("torch.")
        found[place] = StoredTensor(
            name, tuple(tensor.shape), tensor.is_floating_point(), partial(_same, tensor), dtype, obstacle=obstacle
        )
    return list(found.values())


def _obstacle(tensor: Tensor) -> str:
    """Say why the numbers of a tensor cannot be taken as they are stored."""
    if tensor.layout != torch.strided:
        return "sparse tensors"
    if tensor.is_quantized:
        return "tensors of torch's quantized kinds"
    return "tensors without data (meta device)" if tensor.is_meta else ""


def _same(tensor: Tensor) -> Tensor:
    """Return a tensor that is mapped already."""
    return tensor
