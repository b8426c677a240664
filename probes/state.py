"""Run a model without leaving a trace in it, under conditions in which it can be differentiated twice."""

import importlib
import random
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from probes.autocast import Precision, full_precision

__all__ = ["differentiable", "forward_mode", "frozen_randomness", "preserved", "preserved_random_state"]


@contextmanager
def preserved_random_state(*devices: torch.device) -> Iterator[None]:
    """Restore the global random states of PyTorch, NumPy and Python on the way out, also after an error.

    Parameters
    ----------
    *devices : torch.device
        Accelerators whose generators are kept too. The CPU generator is always kept.
    """
    torch_state = torch.get_rng_state()
    device_states = [(which, module, module.get_rng_state(*which)) for which, module in _generators(devices)]
    numpy_state = np.random.get_state()  # noqa: NPY002 - the global state is what user code may advance
    python_state = random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        for which, module, state in device_states:
            module.set_rng_state(state, *which)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


@contextmanager
def frozen_randomness(seed: int, *devices: torch.device) -> Iterator[None]:
    """Draw the same random numbers in every block with the same seed, and leave the global random states alone.

    With it the masks of active dropout are a fixed function of the seed: enter it anew, with the same seed, at each
    evaluation of the same batch, and with different seeds for different batches.

    Parameters
    ----------
    seed : int
        Seeds the generators of PyTorch (CPU and ``devices``), NumPy and Python; taken modulo 2**32 for NumPy.
    *devices : torch.device
        Accelerators on which the model draws.

    Examples
    --------
    >>> import torch
    >>> draws = []
    >>> for _ in range(2):
    ...     with frozen_randomness(3):
    ...         draws.append(float(torch.rand(())))
    >>> draws[0] == draws[1]
    True
    """
    with preserved_random_state(*devices):
        torch.default_generator.manual_seed(seed)
        for which, module in _generators(devices):
            # manual_seed of an accelerator's module seeds the current device only.
            with module.device(*which) if which else nullcontext():
                module.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        yield


def _generators(devices: Iterable[torch.device]) -> list[tuple[tuple[torch.device, ...], Any]]:
    """Return PyTorch's modules for the accelerators among devices, with the arguments that name the device there."""
    kinds = [device for device in set(devices) if device.type in ("cuda", "xpu", "mps")]
    return [(() if device.type == "mps" else (device,), torch.get_device_module(device)) for device in kinds]


@contextmanager
def preserved(model: nn.Module, *, random_state: bool = True) -> Iterator[None]:
    """Leave a model as it was found, also after an error.

    Inside, every module works on copies of its buffers, so that running statistics move in the copies only and the
    originals are never written (a graph the caller holds stays valid). On the way out the original buffers, the
    train/eval flag of each module, ``requires_grad`` and ``grad`` of each parameter and (unless told otherwise) the
    global random states are back.

    Parameters
    ----------
    model : torch.nn.Module
        The live model; nothing but the buffers is copied.
    random_state : bool
        Whether to restore the random states as well.
    """
    modules = list(model.modules())
    flags = [module.training for module in modules]
    parameters = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    buffers = [(module, dict(module._buffers)) for module in modules if module._buffers]
    devices = {p.device for p, _, _ in parameters}
    with ExitStack() as stack:
        if random_state:
            stack.enter_context(preserved_random_state(*devices))
        try:
            copies: dict[int, torch.Tensor] = {}
            with torch.inference_mode(False):
                for module, originals in buffers:
                    for name, buffer in originals.items():
                        if buffer is not None:
                            module._buffers[name] = copies.setdefault(id(buffer), buffer.detach().clone())
            yield
        finally:
            for module, originals in buffers:
                for name in set(module._buffers) - set(originals):
                    del module._buffers[name]
                module._buffers.update(originals)
            for module, flag in zip(modules, flags, strict=True):
                module.training = flag
            for p, requires_grad, grad in parameters:
                if p.requires_grad != requires_grad:
                    p.requires_grad_(requires_grad)
                if p.grad is not grad:
                    p.grad = grad


@contextmanager
def differentiable(model: nn.Module) -> Iterator[Precision]:
    """Switch on what double backward needs, for the duration of the block.

    Gradients are recorded whatever the ambient mode (``no_grad``, ``inference_mode``); autocast is off, the ambient one
    and regions inside the model; attention uses PyTorch's math kernel and the fused inference path of
    ``nn.MultiheadAttention`` is off, because the fused kernels have no second derivative; recurrent layers on CUDA run
    without cuDNN for the same reason. Compiled parts run eagerly, and embeddings give dense gradients.

    Yields
    ------
    Precision
        Its ``num_regions`` says how many autocast regions of the model ran in full precision.
    """
    kinds = {p.device.type for p in model.parameters()}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for kind in sorted(kinds):
            if torch.amp.is_autocast_available(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        seen = stack.enter_context(full_precision())
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if "cuda" in kinds and any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        fast_path = torch.backends.mha.get_fastpath_enabled()
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        torch.backends.mha.set_fastpath_enabled(False)
        for module in model.modules():
            if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
                stack.callback(setattr, module, "sparse", module.sparse)
                module.sparse = False
        yield seen


@contextmanager
def forward_mode() -> Iterator[None]:
    """Switch on what forward-mode differentiation needs besides :func:`differentiable`.

    On the CPU the fused recurrent layers of oneDNN have no forward mode; they are off inside. Convolutions are slower
    so: enter it only around ``jvp``. What PyTorch loads at the first ``jvp`` is loaded here, without the warning that
    it gives about code of its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("torch._decomp.decompositions_for_jvp")
    # Not torch.backends.mkldnn.flags, which sets TF32 along the way and warns where there is none.
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)
