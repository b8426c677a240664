"""Small real tasks that ship with the package, ready for ``spectra recommend probes.examples:digits_mlp``.

Each is a function without required arguments that returns a :class:`probes.Task`, the same one at every call.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probes.examples.characters import char_transformer as char_transformer
    from probes.examples.diabetes import diabetes_mlp as diabetes_mlp
    from probes.examples.digits import digits_cnn as digits_cnn
    from probes.examples.digits import digits_cnn_batchnorm as digits_cnn_batchnorm
    from probes.examples.digits import digits_lstm as digits_lstm
    from probes.examples.digits import digits_mlp as digits_mlp
    from probes.examples.digits import digits_resnet as digits_resnet
    from probes.examples.sentences import minilm as minilm

__all__ = [
    "char_transformer",
    "diabetes_mlp",
    "digits_cnn",
    "digits_cnn_batchnorm",
    "digits_lstm",
    "digits_mlp",
    "digits_resnet",
    "minilm",
]

_HOMES = {
    "char_transformer": "probes.examples.characters",
    "diabetes_mlp": "probes.examples.diabetes",
    "digits_cnn": "probes.examples.digits",
    "digits_cnn_batchnorm": "probes.examples.digits",
    "digits_lstm": "probes.examples.digits",
    "digits_mlp": "probes.examples.digits",
    "digits_resnet": "probes.examples.digits",
    "minilm": "probes.examples.sentences",
}


def __getattr__(name: str) -> Any:
    """Load a task on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'probes.examples' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the tasks."""
    return sorted({*globals(), *__all__})
