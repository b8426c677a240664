"""What a measurement has spent."""

from dataclasses import dataclass

__all__ = ["Cost"]


@dataclass
class Cost:
    """What a measurement has spent.

    Attributes
    ----------
    num_matvecs, num_gradients : int
        Curvature products, on the reference set or a micro-batch, and gradients of batches.
    sample_gradients : float
        The same in gradients of one sample, a product counting as two (its operation count).
    """

    num_matvecs: int = 0
    num_gradients: int = 0
    sample_gradients: float = 0.0

    def products(self, count: int, samples: float) -> None:
        """Add ``count`` products over so many samples each."""
        self.num_matvecs += count
        self.sample_gradients += 2.0 * count * samples

    def gradients(self, count: int, samples: float) -> None:
        """Add ``count`` gradients over so many samples each."""
        self.num_gradients += count
        self.sample_gradients += float(count) * samples
