"""Which files of a directory hold the weights, as Hugging Face libraries lay them out."""

import json
from dataclasses import dataclass
from pathlib import Path

from spectra.errors import CheckpointError

__all__ = ["Shards", "find_shards", "read_index"]

#: In the order in which they are looked for: the first one present is read.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
#: State of a training run that lies beside the weights and is none.
_COMPANIONS = ("training_args", "optimizer", "scheduler", "rng_state", "scaler")


@dataclass(frozen=True)
class Shards:
    """The files that together hold the tensors.

    Attributes
    ----------
    files : tuple of pathlib.Path
        Each is read once.
    homes : dict of str to str, or None
        Name of each tensor to the name of its file, where an index says so.
    """

    files: tuple[Path, ...]
    homes: dict[str, str] | None = None


def find_shards(directory: Path) -> Shards:
    """Return the weight files of a directory: :data:`WEIGHT_FILES`, or else the only file that looks like weights.

    Raises
    ------
    CheckpointError
        No file of weights, several without an index, or an index that does not fit its files.
    """
    for name in WEIGHT_FILES:
        path = directory / name
        if path.is_file():
            return read_index(path) if path.suffix == ".json" else Shards((path,))
    present = sorted(entry.name for entry in directory.iterdir())
    weights = [name for name in present if name.endswith(_WEIGHT_SUFFIXES) and not name.startswith(_COMPANIONS)]
    if len(weights) == 1:
        return Shards((directory / weights[0],))
    if weights:
        raise CheckpointError(
            f"{directory} holds {len(weights)} files of weights without an index ({_some(weights)}); pass the path of "
            "one of them."
        )
    raise CheckpointError(
        f"{directory} holds no weights: looked for {', '.join(WEIGHT_FILES)} and for one file ending in "
        f"{', '.join(_WEIGHT_SUFFIXES)}; it holds {_some(present) or 'nothing'}.{_hint(directory, present)}"
    )


def read_index(path: Path) -> Shards:
    """Read ``*.index.json``: which file each tensor lies in.

    Raises
    ------
    CheckpointError
        The index is damaged, names a file outside its own directory, or a file that is not there.
    """
    try:
        homes = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(homes.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} must be a JSON object with 'weight_map': {{tensor: file}}; it could not be read "
            f"({type(error).__name__}: {error}). Download it again."
        ) from error
    foreign = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if foreign:
        raise CheckpointError(f"{path} must name files of its own directory; it names {_some(foreign)}.")
    absent = [name for name in names if not (path.parent / name).is_file()]
    if absent or not names:
        raise CheckpointError(
            f"{path} lists {len(names)} files of weights; {_some(absent) or 'all'} not found beside it. Download the "
            "rest."
        )
    return Shards(tuple(path.parent / name for name in names), homes)


def _hint(directory: Path, present: list[str]) -> str:
    """Say what a directory is that holds weights in another form."""
    snapshots = directory / "snapshots"
    if snapshots.is_dir():
        return f" It is a Hugging Face cache: pass one of {_some([str(p) for p in sorted(snapshots.iterdir())])}."
    if ".metadata" in present:
        return (
            " It was written by torch.distributed.checkpoint: convert it with "
            "torch.distributed.checkpoint.format_utils.dcp_to_torch_save."
        )
    if any(name.endswith((".h5", ".msgpack", ".gguf", ".onnx")) for name in present):
        return " Weights of TensorFlow, Flax, GGUF and ONNX are not read."
    return ""


def _some(names: list[str], limit: int = 5) -> str:
    """Join the first few names."""
    return ", ".join(map(str, names[:limit])) + (f" and {len(names) - limit} more" if len(names) > limit else "")
