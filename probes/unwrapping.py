"""The plain module under wrappers, or why there is none that can be differentiated twice."""

import sys
from typing import Any

import torch
from torch import nn

from spectra.errors import TaskError

__all__ = ["unwrapped"]


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the plain module under ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``.

    The parameters are the very same. A compiled module cannot be differentiated twice, and the other two would return
    the curvature of one process's samples with gradients that are not reduced.

    Raises
    ------
    TaskError
        The model is a TorchScript or exported module, or its parameters are sharded (FSDP, DTensor).
    """
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, parallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            break
    _refuse_scripted(model)
    _refuse_sharded(model)
    return model


def _refuse_scripted(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TaskError(
                f"{name or 'the model'} is a TorchScript module ({type(module).__name__}), whose parameters cannot be "
                "replaced and whose second derivatives are not those of the code it was made from. Pass the module "
                "before torch.jit.script or torch.jit.trace, with load_state_dict(scripted.state_dict())."
            )


def _refuse_sharded(model: nn.Module) -> None:
    # Only looked for where the user has imported them: both imports take seconds.
    fully_sharded = _class("torch.distributed.fsdp", "FullyShardedDataParallel")
    fully_shard = _class("torch.distributed.fsdp", "FSDPModule")
    distributed = _class("torch.distributed.tensor", "DTensor")
    sharded = [
        name or "the model" for name, m in model.named_modules() if isinstance(m, (*fully_sharded, *fully_shard))
    ]
    split = [name for name, p in model.named_parameters() if isinstance(p, distributed)]
    if sharded or split:
        what = f"{sharded[0]} is under FSDP" if sharded else f"parameter {split[0]} is a DTensor"
        raise TaskError(
            f"{what}: its parameters are sharded over processes, and PyTorch frees and regathers them in a way that "
            "has no second derivative. Gather them into a plain copy: build the module anew without sharding and copy "
            "the full values into it, with fully_shard p.full_tensor() of every parameter, with "
            "FullyShardedDataParallel under FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT)."
        )


def _class(module: str, name: str) -> tuple[Any, ...]:
    """Return a class of a module that has been imported, as a tuple for ``isinstance``."""
    found = getattr(sys.modules.get(module), name, None)
    return (found,) if isinstance(found, type) else ()
