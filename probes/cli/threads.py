"""The threads that a command takes."""

import sys

__all__ = ["limit_threads"]


def limit_threads(threads: int | None) -> None:
    """Limit the threads of NumPy's linear algebra, and those of PyTorch where it is loaded."""
    if threads is None:
        return
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
