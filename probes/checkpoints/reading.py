"""Read the tensors of a checkpoint: one file, or a directory as Hugging Face libraries write it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from probes.checkpoints.directories import Shards, find_shards, read_index
from probes.checkpoints.torch_files import read_torch, unwrap
from spectra.errors import CheckpointError, MissingExtraError

__all__ = ["Stored", "is_safetensors", "read_entries", "read_state_dict", "read_stored"]


@dataclass(frozen=True)
class Stored:
    """What a checkpoint holds.

    Attributes
    ----------
    path : pathlib.Path
        File or directory, as given.
    tensors : dict of str to torch.Tensor
        On the CPU, possibly mapped from the file: to be copied before the file changes.
    key : str or None
        The entry of the file under which they lay.
    others : tuple of str
        Names of entries that are no tensors.
    """

    path: Path
    tensors: dict[str, Tensor]
    key: str | None = None
    others: tuple[str, ...] = ()


def read_state_dict(
    path: str | os.PathLike[str], *, key: str | None = None, allow_pickle_from_trusted_source: bool = False
) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, on the CPU and in memory of their own.

    Parameters
    ----------
    path : str or path
        A safetensors file, a file of ``torch.save``, an ``*.index.json`` of several such files, or a directory that
        holds ``model.safetensors`` or ``pytorch_model.bin``, whole or in parts. What a file is, its first bytes tell.
    key : str, optional
        The entry of a ``torch.save`` file that holds the state. Usual ones (``"state_dict"``, ``"model_state_dict"``,
        ``"model"``) are found without.
    allow_pickle_from_trusted_source : bool
        Whether Python code stored in the file may run while it is read. Never for a file of unknown origin.

    Returns
    -------
    dict of str to torch.Tensor
        In the order of the file. Entries that are no tensors are left out; a name that safetensors stored once for
        two tied tensors is there twice.

    Raises
    ------
    CheckpointError
        Nothing there, damaged, a Git-LFS pointer, another format, or readable only by running code stored in it.
    MissingExtraError
        It is a safetensors file and the library is not installed.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     torch.save({"epoch": 3, "state_dict": torch.nn.Linear(2, 1).state_dict()}, f"{directory}/last.pt")
    ...     list(read_state_dict(f"{directory}/last.pt"))
    ['weight', 'bias']
    """
    stored = read_stored(path, key=key, trusted=allow_pickle_from_trusted_source)
    return {name: tensor.clone() for name, tensor in stored.tensors.items()}


def read_stored(path: str | os.PathLike[str], *, key: str | None, trusted: bool) -> Stored:
    """Return what :func:`read_state_dict` does, uncopied and with its circumstances."""
    path = Path(path).expanduser()
    if path.is_dir():
        return _read_shards(find_shards(path), path, key, trusted)
    if not path.exists():
        raise CheckpointError(
            f"there is no file or directory {path} (in {Path.cwd()}). Nothing is downloaded: a model of a hub must be "
            "downloaded first, and its directory given."
        )
    if path.name.endswith(".index.json"):
        return _read_shards(read_index(path), path, key, trusted)
    return _read_file(path, key, trusted)


def _read_shards(shards: Shards, path: Path, key: str | None, trusted: bool) -> Stored:
    """Join the files of a directory; the index, if there is one, must be right about every tensor."""
    parts = [_read_file(file, key, trusted) for file in shards.files]
    if shards.homes is None:
        (part,) = parts
        return Stored(path, part.tensors, part.key, part.others)
    found = {name: part.path.name for part in parts for name in part.tensors}
    wrong = [name for name in {**shards.homes, **found} if shards.homes.get(name) != found.get(name)]
    if wrong or len(found) != sum(len(part.tensors) for part in parts):
        raise CheckpointError(
            f"{path}: the index and its {len(parts)} files disagree about {', '.join(wrong[:5]) or 'repeated tensors'}"
            f"{f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''}. They are of different versions, or one is "
            "damaged: download them again."
        )
    tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    return Stored(path, {name: tensors[name] for name in shards.homes}, None, sum((p.others for p in parts), ()))


def _read_file(path: Path, key: str | None, trusted: bool) -> Stored:
    """Read one file of either format, all of whose tensors must be dense."""
    stored = read_entries(path, key, trusted)
    odd = [name for name, t in stored.tensors.items() if t.layout != torch.strided or t.is_quantized or t.is_meta]
    if odd:
        first = stored.tensors[odd[0]]
        raise CheckpointError(
            f"{path} must hold dense tensors; {odd[0]!r} is sparse, quantized or without data "
            f"({first.layout}, {first.dtype}, {first.device}). Convert it before saving."
        )
    return stored


def read_entries(path: Path, key: str | None, trusted: bool) -> Stored:
    """Read one file of either format, with tensors of any kind."""
    if is_safetensors(path):
        if key is not None:
            raise CheckpointError(
                f"{path} is a safetensors file, which has no entries to choose from; omit key={key!r}."
            )
        return Stored(path, _read_safetensors(path))
    entries, found = unwrap(read_torch(path, trusted=trusted), path, key)
    state = {name: entry.detach() for name, entry in entries.items() if isinstance(entry, Tensor)}
    return Stored(path, state, found, tuple(name for name in entries if name not in state))


def is_safetensors(path: Path) -> bool:
    """Tell the two formats apart by their first bytes, and refuse what is neither."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error}.") from error
    if not head:
        raise CheckpointError(f"{path} is empty. Download or save it again.")
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        size = re.search(rb"size (\d+)", head)
        raise CheckpointError(
            f"{path} is a Git-LFS pointer, not the file itself"
            + (f" (which has {int(size[1]):,} bytes)" if size else "")
            + ". Run 'git lfs pull' in its repository, or download the file."
        )
    if b"/annex/objects/" in head:
        raise CheckpointError(f"{path} is a git-annex pointer, not the file itself. Run 'git annex get' on it.")
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"{path} is a web page, not a checkpoint: the download was answered with an error or a login."
        )
    for magic, name in ((b"\x89HDF", "HDF5 (Keras)"), (b"GGUF", "GGUF"), (b"\x93NUMPY", "NumPy")):
        if head.startswith(magic):
            raise CheckpointError(f"{path} is a file of {name}; safetensors and torch.save files are read.")
    if head[8:9] == b"{":
        return True
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return False
    if path.suffix == ".safetensors":
        return True
    raise CheckpointError(
        f"{path} is neither a safetensors file nor one of torch.save: it begins with {head[:12]!r}. It is damaged or "
        "of another format."
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors, each name of a tied one included (``safetensors.torch.save_model`` notes them aside)."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{path} is a safetensors file, and the library safetensors is not installed. Run pip install "
            "'spectra-probes[checkpoints]'."
        ) from error
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            notes = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or incomplete. Download or save it again. safetensors says: {error}"
        ) from error
    return tensors | {alias: tensors[name] for alias, name in notes.items() if name in tensors and alias not in tensors}
