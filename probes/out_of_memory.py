"""One name for all the ways in which PyTorch says that memory is short."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["naming_out_of_memory"]

#: How PyTorch's allocators say that there is not enough memory, besides `torch.OutOfMemoryError`.
_SAYINGS = ("can't allocate memory", "not enough memory", "out of memory", "CUDA_ERROR_OUT_OF_MEMORY", "std::bad_alloc")


@contextmanager
def naming_out_of_memory() -> Iterator[None]:
    """Turn every way in which PyTorch says that memory is short into `torch.OutOfMemoryError`."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or any(saying in str(error) for saying in _SAYINGS):
            raise torch.OutOfMemoryError(str(error).strip().splitlines()[0] if str(error) else "MemoryError") from error
        raise
