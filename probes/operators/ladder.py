"""Which way to a product is taken: the fastest on the first micro-batch among those that work and agree.

The names, the safest first:

* ``kept_graph``: double backward through the live model, one pass for each column on a graph that is kept;
* ``vmap_forward`` (products with a Jacobian): forward mode and a kept reverse pass, mapped over the block;
* ``vmap_reverse``: reverse mode twice, kept, mapped over the block;
* ``batched_graph`` (Hessian): double backward through the live model, one pass for the whole block;
* ``rebuilt_graph``: a fresh graph for each column; never chosen for speed;
* ``compiled`` (Hessian): ``vmap_reverse`` compiled by Inductor, which takes long; never chosen, only asked for;
* ``differences`` (Hessian): central differences in float64; never chosen, only asked for.

A single vector takes ``kept_graph``. The first block makes every candidate multiply it on the first micro-batch; those
that fail or disagree with ``kept_graph`` are out, with the reason noted, and the fastest of the others serves from then
on. So which one is taken may differ from run to run, and results with it by rounding; name a strategy to fix it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from spectra.errors import ArgumentError, DerivativeError

__all__ = ["AGREEMENT", "Built", "Ladder"]

#: How far a product may be from that of ``kept_graph``, relatively: exact strategies differ by at most 7e-7 in float32.
AGREEMENT = {torch.float32: 1e-4, torch.float64: 1e-9}
#: A candidate must be faster than a safer one by this factor; differences below are noise.
ADVANTAGE = 0.95
#: What takes less than so many seconds is timed so many times, for it may have been interrupted.
BRIEF, REPETITIONS = 0.1, 3
_NEVER_CHOSEN = ("rebuilt_graph", "compiled", "differences")


class Built(Protocol):
    """What a strategy makes of one micro-batch: its loss, and products with its matrix."""

    @property
    def loss(self) -> Tensor:
        """The loss of the micro-batch, detached."""

    @property
    def used(self) -> list[bool] | None:
        """Which parameters are depended on, if known."""

    def multiply(self, columns: Tensor, /) -> Tensor:
        """Return the product with columns (n, k)."""


@dataclass
class Ladder:
    """The choice of a strategy, and what it rests on.

    Parameters
    ----------
    names : sequence of str
        Strategies of the operator, the safest first.
    requested : str
        ``"auto"`` or one of the names.

    Attributes
    ----------
    excluded : dict of str to str
        Why a strategy is out.
    seconds : dict of str to float
        Time for the first block on the first micro-batch, set-up included.
    block, single : str
        What serves blocks (empty until measured) and single vectors.

    Raises
    ------
    ArgumentError
        No such strategy.
    """

    names: Sequence[str]
    requested: str = "auto"
    excluded: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    block: str = ""

    def __post_init__(self) -> None:
        """Look at the request."""
        if self.requested != "auto" and self.requested not in self.names:
            raise ArgumentError(f"strategy must be 'auto' or one of {', '.join(self.names)}; got {self.requested!r}.")
        if self.requested != "auto":
            self.block = self.requested

    @property
    def candidates(self) -> list[str]:
        """Strategies that may be chosen, the safest first."""
        return [name for name in self.names if name not in self.excluded and name not in _NEVER_CHOSEN]

    @property
    def single(self) -> str:
        """The strategy for single vectors."""
        if self.requested != "auto":
            return self.requested
        return next((name for name in self.names if name not in self.excluded and name != "differences"), self.names[0])

    def strategy(self, width: int) -> str:
        """Return the name for a block of this width; empty where it has to be measured first."""
        if width == 1 or len(self.candidates) < 2:
            return self.single
        return self.block

    def exclude(self, name: str, reason: BaseException | str) -> None:
        """Take a strategy out of the choice; asked for by name it stays."""
        while isinstance(reason, BaseException) and reason.__cause__ is not None:
            reason = reason.__cause__
        text = reason if isinstance(reason, str) else f"{type(reason).__name__}: {str(reason).strip()}"
        self.excluded[name] = text.splitlines()[0][:200]
        if self.block == name and self.requested == "auto":
            self.block = ""

    def measure(
        self,
        build: Callable[[str], Built],
        columns: Tensor,
        *,
        warm_up: Callable[[str], object] | None = None,
        is_kept: bool = False,
    ) -> tuple[Built, Tensor]:
        """Time every candidate on a block, choose, and return what the chosen one found.

        Parameters
        ----------
        build : callable
            Makes a strategy, by name, ready for the micro-batch.
        columns : torch.Tensor, shape (n, k)
            The block.
        warm_up : callable, optional
            Called with the name before the clock starts, to pay for what PyTorch sets up on first use.
        is_kept : bool
            Whether what is built serves later products too, so that only multiplying counts.

        Raises
        ------
        DerivativeError
            No candidate works.
        """
        found: dict[str, tuple[Built, Tensor]] = {}
        last: Exception | None = None
        for name in self.candidates:
            try:
                if warm_up is not None:
                    warm_up(name)
                built, product, elapsed = _timed(lambda name=name: build(name), columns, is_kept=is_kept)  # type: ignore[misc]
            except torch.OutOfMemoryError as error:
                if not found:
                    raise
                self.exclude(name, error)
                continue
            except Exception as error:
                self.exclude(name, error)
                last = error
                continue
            if found and not self._compare(name, product, next(iter(found.values()))[1]):
                continue
            found[name], self.seconds[name] = (built, product), elapsed
        if not found:
            if last is not None:
                raise last
            raise DerivativeError("no way to the product works for this model: " + "; ".join(self.excluded.values()))
        self._choose()
        return found[self.block]

    def _choose(self) -> None:
        best = ""
        for name in self.candidates:
            if name in self.seconds and (not best or self.seconds[name] < ADVANTAGE * self.seconds[best]):
                best = name
        self.block = best

    def _compare(self, name: str, product: Tensor, reference: Tensor) -> bool:
        scale = float(torch.linalg.vector_norm(reference))
        apart = float(torch.linalg.vector_norm(product - reference)) / (scale or 1.0)
        if apart <= AGREEMENT[reference.dtype]:
            return True
        self.exclude(name, f"its product differs by {apart:.2g} (relative) from double backward through the live model")
        return False


def _timed(build: Callable[[], Built], columns: Tensor, *, is_kept: bool) -> tuple[Built, Tensor, float]:
    """Build and multiply; what is over quickly is repeated, and the shortest time counts."""
    elapsed = float("inf")
    for _ in range(REPETITIONS):
        begin = _now(columns)
        built = build()
        begin = _now(columns) if is_kept else begin
        product = built.multiply(columns)
        elapsed = min(elapsed, _now(columns) - begin)
        if elapsed > BRIEF:
            break
    return built, product, elapsed


def _now(like: Tensor) -> float:
    """Return a time in seconds, once the device has finished what it was given."""
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return time.perf_counter()
