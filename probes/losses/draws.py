"""Random numbers for sampled targets, drawn on the host so that they are the same on every device."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from spectra.errors import ArgumentError, NonFiniteError

__all__ = ["normals", "poissons", "uniforms", "widest"]


def uniforms(shape: Sequence[int], generator: Generator, like: Tensor) -> Tensor:
    """Draw uniform numbers of [0, 1), on the device of ``like`` in the widest dtype there."""
    _require_host(generator)
    return widest(torch.rand(tuple(shape), generator=generator, dtype=torch.float64), like)


def normals(shape: Sequence[int], generator: Generator, like: Tensor) -> Tensor:
    """Draw standard normal numbers, on the device and in the dtype of ``like``."""
    _require_host(generator)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64).to(like)


def poissons(rates: Tensor, num: int, generator: Generator) -> Tensor:
    """Draw ``num`` Poisson counts for every rate, shape ``(num, *rates.shape)``, device and dtype of ``rates``.

    The drawing rejects, so rates that differ by rounding between devices can, rarely, shift all later draws.

    Raises
    ------
    NonFiniteError
        A rate is NaN, negative or too large for counts to be exact in float64.
    """
    _require_host(generator)
    wide = rates.detach().cpu().to(torch.float64).expand(num, *rates.shape)
    if not bool(((wide >= 0) & (wide <= 2**53)).all()):
        raise NonFiniteError(
            f"Poisson counts need rates in [0, 2**53]; the outputs give rates from {float(wide.min()):.3g} to "
            f"{float(wide.max()):.3g}. Look at the outputs and at log_input= of the loss."
        )
    return torch.poisson(wide, generator=generator).to(rates)


def widest(tensor: Tensor, like: Tensor) -> Tensor:
    """Move a tensor to the device of ``like``, in float64 where the device has it."""
    return tensor.to(device=like.device, dtype=torch.float32 if like.device.type == "mps" else torch.float64)


def _require_host(generator: Generator) -> None:
    if not isinstance(generator, Generator) or generator.device.type != "cpu":
        came = f"one on {generator.device}" if isinstance(generator, Generator) else type(generator).__name__
        raise ArgumentError(
            f"targets are drawn on the CPU, to be the same on every device: pass a CPU torch.Generator; got {came}."
        )
