"""Why a checkpoint does not fit a model, in a sentence that says what to do."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from torch import Tensor

from probes.checkpoints.matching import Match
from probes.checkpoints.reading import Stored

__all__ = ["explain"]

#: More names of one list are counted, not shown.
NUM_SHOWN = 10


def explain(
    targets: dict[str, Tensor], tensors: dict[str, Tensor], found: Match, stored: Stored, *, model: str, prefix: str
) -> str:
    """Return the text of the error for a checkpoint that does not fit: the names, then the likely cause.

    Parameters
    ----------
    targets, tensors : dict of str to torch.Tensor
        Of the model and of the checkpoint, the prefix taken off.
    found : Match
        The outcome for every name.
    stored : Stored
        The checkpoint, as read.
    model : str
        The name of its class.
    prefix : str
        What was taken off already.
    """
    lines = [f"{stored.path} does not fit {model}: {len(found.loaded)} of its {len(targets)} tensors do."]
    for title, entries in (
        ("missing in the checkpoint", found.missing),
        ("unexpected in the checkpoint", found.unexpected),
        ("mismatched", found.mismatched),
    ):
        if entries:
            lines.append(f"  {title} ({len(entries)}): {_abbreviated(str(entry) for entry in entries)}")
    lines += _causes(targets, tensors, found, stored, prefix)
    lines.append("Nothing was loaded; the model is as it was.")
    return "\n".join(lines)


def _causes(
    targets: dict[str, Tensor], tensors: dict[str, Tensor], found: Match, stored: Stored, prefix: str
) -> list[str]:
    """Return what explains the names, the likeliest first; nearest names if nothing does."""
    causes = [
        *_prefix_of_checkpoint(targets, stored, found, prefix),
        *_prefix_of_model(targets, tensors, found),
        *_one_shard(stored),
        *_untied(found),
    ]
    if causes:
        return causes
    unexpected = [entry.name for entry in found.unexpected]
    for entry in found.missing[:3]:
        if near := difflib.get_close_matches(entry.name, unexpected, n=2, cutoff=0.6):
            causes.append(f"Nearest to {entry.name} in the checkpoint: {', '.join(near)}.")
    if found.unexpected and not found.missing and not found.mismatched:
        names = [entry.name for entry in found.unexpected[:2]]
        causes.append(f"If the model does not need them, pass ignore={names}, or patterns such as 'pooler.*'.")
    return causes


def _prefix_of_checkpoint(targets: dict[str, Tensor], stored: Stored, found: Match, prefix: str) -> Iterator[str]:
    """Find a beginning that only the names of the checkpoint have."""
    for lead, count in _leads(stored.tensors, targets, len(found.loaded)):
        yield f"{count} of the {len(targets)} names fit behind {lead!r}: pass prefix={lead!r}.{_origin(lead)}"
    if prefix and not any(name.startswith(prefix) for name in stored.tensors):
        yield f"No name of the checkpoint begins with {prefix!r}: the first is {next(iter(stored.tensors), None)!r}."


def _prefix_of_model(targets: dict[str, Tensor], tensors: dict[str, Tensor], found: Match) -> Iterator[str]:
    """Find a beginning that only the names of the model have."""
    for lead, count in _leads(targets, tensors, len(found.loaded)):
        inner = re.sub(r"\.(\d+)", r"[\1]", f"model.{lead.rstrip('.')}")
        yield (
            f"{count} of the {len(tensors)} names of the checkpoint fit behind {lead!r} of the model: load it into "
            f"{inner}, which has names without {lead!r}." + _origin(lead)
        )


def _leads(long: dict[str, Tensor], short: dict[str, Tensor], baseline: int) -> list[tuple[str, int]]:
    """Return the prefixes that make the most names of ``long`` equal to names of ``short``, if more than do without."""
    counts: Counter[str] = Counter()
    for name, tensor in long.items():
        start = name.find(".") + 1
        while start:
            rest = name[start:]
            if rest in short and short[rest].shape == tensor.shape:
                counts[name[:start]] += 1
            start = name.find(".", start) + 1
    most = max(counts.values(), default=0)
    best = [(lead, count) for lead, count in counts.items() if count == most > baseline]
    return best[:3]


def _origin(lead: str) -> str:
    """Say where a well-known prefix comes from."""
    for mark, origin in (
        ("module.", "DataParallel or DistributedDataParallel"),
        ("_orig_mod.", "torch.compile"),
        ("_fsdp_wrapped_module.", "FSDP"),
    ):
        if lead.endswith(mark):
            return f" It comes from {origin}."
    return ""


def _one_shard(stored: Stored) -> Iterator[str]:
    """Recognize one file of several."""
    if part := re.search(r"-(\d{5})-of-(\d{5})", stored.path.name):
        yield f"The file is part {int(part[1])} of {int(part[2])}: pass the directory {stored.path.parent}."


def _untied(found: Match) -> Iterator[str]:
    """Recognize a checkpoint that holds one of two tied matrices, where the model does not tie them."""
    embeddings = [e for e in found.loaded if re.search(r"emb|wte|tok", e.name) and len(e.model_shape or ()) == 2]
    for entry in found.missing:
        near = [e for e in embeddings if e.model_shape == entry.model_shape]
        if len(found.missing) <= 2 and len(near) == 1:
            yield (
                f"{entry.name} has the shape of {near[0].name}, with which many models tie it; the checkpoint then "
                f"holds it once. If this one does, tie it in the model as well: model.{entry.name} = "
                f"model.{near[0].name}."
            )


def _abbreviated(entries: Iterable[str]) -> str:
    """Join the first :data:`NUM_SHOWN`."""
    entries = list(entries)
    more = len(entries) - NUM_SHOWN
    return ", ".join(entries[:NUM_SHOWN]) + (f" and {more} more" if more > 0 else "")
