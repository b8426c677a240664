"""Modules measured in the midst of training, left as they were found."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from probes.state import preserved
from spectra.errors import TaskError

__all__ = ["evaluation_mode", "written_parameter"]


@contextmanager
def evaluation_mode(*modules: nn.Module) -> Iterator[None]:
    """Leave modules as they were found; meanwhile each is in evaluation mode, and no hook sees a parameter's gradient.

    Flags are set one by one, as ``eval()`` of a module may do more. Hooks of ``Tensor.register_hook`` would change the
    derivatives, and remember gradients that are none of the training's.
    """
    together = nn.ModuleList(modules)
    with preserved(together), _without_gradient_hooks(together):
        for module in together.modules():
            module.training = False
        yield


@contextmanager
def _without_gradient_hooks(model: nn.Module) -> Iterator[None]:
    # Emptied rather than taken away: PyTorch holds on to the mapping, and so do the handles.
    hooks = [(p._backward_hooks, dict(p._backward_hooks)) for p in model.parameters() if p._backward_hooks]
    for present, _ in hooks:
        present.clear()
    try:
        yield
    finally:
        for present, kept in hooks:
            present.update(kept)


def written_parameter(modules: Sequence[nn.Module], run: Callable[[], object]) -> str:
    """Run something, and return the name of a parameter that it writes to, or an empty string; none is changed.

    The first write in place is stopped before it happens. Tensors put in the place of others (``p.data = ...``) are
    taken away again. What else ``run`` raises is not passed on.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        Whose parameters are watched.
    run : callable
        Such as a forward pass.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> written_parameter([layer], lambda: layer.bias.data.zero_()), written_parameter([layer], layer.forward)
    ('bias', '')
    """
    named = {id(p): (name, p, p.data) for module in modules for name, p in module.named_parameters()}
    watch = _Watch({number: name for name, p, _ in named.values() if (number := _storage(p))})
    try:
        with contextlib.suppress(Exception), watch:
            run()
    finally:
        replaced = [(name, p, data) for name, p, data in named.values() if _storage(p) != _storage(data)]
        for _, p, data in replaced:
            p.data = data
    return watch.written or (replaced[0][0] if replaced else "")


class _Watch(TorchDispatchMode):
    """Raises where an operation is about to write to one of some storages."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.names, self.written = names, ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.is_mutable:
            for argument, value in _given(func._schema.arguments, args, kwargs):
                if argument.alias_info is None or not argument.alias_info.is_write:
                    continue
                for tensor in value if isinstance(value, list | tuple) else [value]:
                    if isinstance(tensor, Tensor) and _storage(tensor) in self.names:
                        self.written = self.names[_storage(tensor)]
                        raise TaskError(f"{func} writes to parameter {self.written!r}")
        return func(*args, **kwargs)


def _given(arguments: Any, args: Any, kwargs: Any) -> Iterator[tuple[Any, Any]]:
    yield from zip(arguments, args, strict=False)
    yield from ((argument, kwargs[argument.name]) for argument in arguments if argument.name in kwargs)


def _storage(tensor: Tensor) -> int:
    """Return where the memory of a tensor begins; 0 where it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0
