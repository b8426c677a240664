"""The batch that one optimizer step averages over: micro-batch x accumulation x data-parallel workers."""

from dataclasses import dataclass
from numbers import Integral

from spectra.errors import ArgumentError

__all__ = ["EffectiveBatch"]


@dataclass(frozen=True, kw_only=True)
class EffectiveBatch:
    """How the samples of one optimizer step come together.

    Attributes
    ----------
    micro_batch_size : int
        Samples of one forward pass of one worker.
    accumulation : int
        Backward passes of every worker before a step.
    world_size : int
        Workers whose gradients are averaged.

    Examples
    --------
    >>> EffectiveBatch(micro_batch_size=8, accumulation=4, world_size=2).size
    64
    """

    micro_batch_size: int
    accumulation: int = 1
    world_size: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be counts."""
        for name in ("micro_batch_size", "accumulation", "world_size"):
            _require_count(name, getattr(self, name))

    @staticmethod
    def of(
        *,
        size: int | None = None,
        micro_batch_size: int | None = None,
        accumulation: int | None = None,
        world_size: int | None = None,
        num_samples: int | None = None,
    ) -> "EffectiveBatch":
        """Return the effective batch from what is known of it; what is left out follows, or is 1.

        Parameters
        ----------
        size : int, optional
            The effective batch size, if it is what is known. One of the others then follows from it: the accumulation
            where a micro-batch is given, the micro-batch otherwise.
        micro_batch_size : int, optional
            Samples of one forward pass of *one* worker: ``batch_size`` of the loader under
            ``DistributedDataParallel``, ``per_device_train_batch_size`` of transformers. (``DataParallel`` splits one
            batch over its devices: there it is the whole batch, and ``world_size`` is 1.)
        accumulation : int, optional
            ``accumulate_grad_batches`` of Lightning, ``gradient_accumulation_steps`` of transformers.
        world_size : int, optional
            Data-parallel workers only: tensor- and pipeline-parallel ranks share their samples and do not count.
        num_samples : int, optional
            Samples of the data; a larger batch is refused.

        Raises
        ------
        ArgumentError
            Neither ``size`` nor ``micro_batch_size`` is given; the numbers contradict each other, do not divide, or
            ask for more than the data have.

        Examples
        --------
        >>> print(EffectiveBatch.of(size=64, micro_batch_size=8, world_size=2))
        batch size 64 = 8 per pass x 4 accumulated x 2 workers
        >>> EffectiveBatch.of(micro_batch_size=8, accumulation=4).size
        32
        """
        given = {
            "size": size,
            "micro_batch_size": micro_batch_size,
            "accumulation": accumulation,
            "world_size": world_size,
        }
        for name, value in given.items():
            if value is not None:
                _require_count(name, value)
        if size is None and micro_batch_size is None:
            raise ArgumentError(
                "the batch of one step needs size, or micro_batch_size (with accumulation and world_size); got neither"
            )
        workers = world_size or 1
        if micro_batch_size is None:
            assert size is not None
            batch = EffectiveBatch(
                micro_batch_size=_quotient(size, {"accumulation": accumulation or 1, "world_size": workers}),
                accumulation=accumulation or 1,
                world_size=workers,
            )
        elif size is not None and accumulation is None:
            batch = EffectiveBatch(
                micro_batch_size=micro_batch_size,
                accumulation=_quotient(size, {"micro_batch_size": micro_batch_size, "world_size": workers}),
                world_size=workers,
            )
        else:
            batch = EffectiveBatch(
                micro_batch_size=micro_batch_size, accumulation=accumulation or 1, world_size=workers
            )
        if size is not None and batch.size != size:
            raise ArgumentError(
                f"size says {size} samples in a step, but micro_batch_size {batch.micro_batch_size} x accumulation "
                f"{batch.accumulation} x world_size {batch.world_size} = {batch.size}. The size is the product of all "
                "three; give the size of one forward pass as micro_batch_size."
            )
        if num_samples is not None and batch.size > num_samples:
            raise ArgumentError(f"one step would average over {batch}, more than the {num_samples} samples of the data")
        return batch

    @property
    def size(self) -> int:
        """Samples that one optimizer step averages over: the batch size that all rules speak of."""
        return self.micro_batch_size * self.accumulation * self.world_size

    def __str__(self) -> str:
        if self.accumulation == self.world_size == 1:
            return f"batch size {self.size}"
        return (
            f"batch size {self.size} = {self.micro_batch_size} per pass x {self.accumulation} accumulated "
            f"x {self.world_size} worker{'s' if self.world_size > 1 else ''}"
        )


def _quotient(size: int, divisors: dict[str, int]) -> int:
    """Return the size over the product of the divisors, which must divide it."""
    product = 1
    for value in divisors.values():
        product *= value
    if size % product:
        low = size // product * product
        nearest = " or ".join(str(value) for value in (low, low + product) if value)
        factors = " x ".join(f"{name} {value}" for name, value in divisors.items())
        raise ArgumentError(
            f"a batch size of {size} must be a multiple of {factors} = {product}, so that all passes have equally many "
            f"samples; nearest is {nearest}"
        )
    return size // product


def _require_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ArgumentError(f"{name} must be a whole number of at least 1; got {value!r}")
