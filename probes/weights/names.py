"""What the name of a tensor says: that it is an embedding or attention, raw weights, or no weights at all."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

__all__ = ["SCALES", "kind_by_name", "matches", "notes_by_name", "why_no_matrix"]

#: Names of what a module makes its weights of: of pruning and spectral norm, and of weight norm.
_RAW, _PARAMETRIZED = ("weight_orig", "weight_v"), "parametrizations."
#: Words in the names of embeddings, and beginnings of the parts of a name that say nothing of the module.
_EMBEDDING_MARKS, _OF_TENSORS = ("embed", "wte", "wpe"), ("weight", "parametrizations", "original")
#: Ends of the names of tables that are stored beside weights: masks, and sines and cosines of rotary positions.
_TABLES = ("mask", "cos_cached", "sin_cached")
#: Ends that quantized checkpoints put to the name of a matrix for its scales.
SCALES = ("_scale", "_scale_inv", "_scales")


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name holds one of the patterns, or matches it with ``*`` and ``?`` as a whole.

    Parameters
    ----------
    name : str
    patterns : sequence of str

    Returns
    -------
    bool

    Notes
    -----
    Source: :mod:`fnmatch`.

    Examples
    --------
    >>> matches("encoder.0.weight", ("0.w",)), matches("encoder.0.weight", ("0.*",))
    (True, False)
    """
    return any(fnmatchcase(name, pattern) or pattern in name for pattern in patterns)


def why_no_matrix(name: str, shape: tuple[int, ...]) -> str:
    """Return why a tensor is no matrix whatever its entries; empty if it may be one.

    Parameters
    ----------
    name : str
    shape : tuple of int

    Returns
    -------
    str

    Examples
    --------
    >>> why_no_matrix("encoder.mask", (30, 30))
    'the name says that it is a bias, a mask or a table'
    """
    last = name.rpartition(".")[2].lower()
    if len(shape) < 2:
        return "vectors and single numbers, as biases and norms"
    if 0 in shape:
        return "empty"
    if last.endswith(("bias", *_TABLES)):
        return "the name says that it is a bias, a mask or a table"
    if last.endswith(SCALES) or last == "scales":
        return "the name says that it is the scales of quantized weights"
    return ""


def notes_by_name(name: str) -> tuple[str, ...]:
    """Say where a tensor is not what its module multiplies by.

    Parameters
    ----------
    name : str

    Returns
    -------
    tuple of str
        None or one.

    Examples
    --------
    >>> notes_by_name("encoder.weight")
    ()
    """
    if name.rpartition(".")[2] in _RAW or _PARAMETRIZED in name:
        return ("what pruning, a norm or another parametrization is applied to, which is not applied here",)
    return ()


def kind_by_name(name: str, *, is_kernel: bool = False) -> str:
    """Guess the kind of a tensor of a checkpoint.

    Parameters
    ----------
    name : str
    is_kernel : bool
        Whether it is a kernel of three or more sizes: not one of embeddings, which look things up.

    Returns
    -------
    str

    Examples
    --------
    >>> kind_by_name("h.3.attn.c_proj.weight"), kind_by_name("wte"), kind_by_name("embedder.layer.0.ffn.weight")
    ('attention', 'embedding', 'linear')
    """
    lower = name.lower()
    # Of the module and the one that holds it: further outside, whole models are called embedders.
    near = [part for part in lower.split(".") if not part.isdigit() and not part.startswith(_OF_TENSORS)][-2:]
    if not is_kernel and "norm" not in lower and any(mark in part for mark in _EMBEDDING_MARKS for part in near):
        return "embedding"
    if "attention" in lower or "attn" in lower:
        return "attention"
    return "convolution" if is_kernel else "linear"
