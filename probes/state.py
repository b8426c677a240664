"""Run a model without leaving a trace in it, under conditions in which it can be differentiated twice."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["differentiable", "preserved", "preserved_random_state"]


@contextmanager
def preserved_random_state(*devices: torch.device) -> Iterator[None]:
    """Restore the global random states of PyTorch, NumPy and Python on the way out, also after an error.

    Parameters
    ----------
    *devices : torch.device
        CUDA devices whose generators are kept too; other devices are ignored. The CPU generator is always kept.
    """
    cuda = [device for device in set(devices) if device.type == "cuda"]
    torch_state = torch.get_rng_state()
    cuda_states = [(device, torch.cuda.get_rng_state(device)) for device in cuda]
    numpy_state = np.random.get_state()  # noqa: NPY002 - the global state is what user code may advance
    python_state = random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        for device, state in cuda_states:
            torch.cuda.set_rng_state(state, device)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


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
def differentiable(model: nn.Module) -> Iterator[None]:
    """Switch on what double backward needs, for the duration of the block.

    Gradients are recorded whatever the ambient mode (``no_grad``, ``inference_mode``); autocast is off; attention
    uses PyTorch's math kernel and the fused inference path of ``nn.MultiheadAttention`` is off, because the fused
    kernels have no second derivative; recurrent layers on CUDA run without cuDNN for the same reason.
    """
    kinds = {p.device.type for p in model.parameters()}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for kind in sorted(kinds & {"cpu", "cuda"}):
            stack.enter_context(torch.autocast(kind, enabled=False))
        if "cuda" in kinds and any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        fast_path = torch.backends.mha.get_fastpath_enabled()
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        torch.backends.mha.set_fastpath_enabled(False)
        yield
