"""Handwritten digits (1797 images of 8 x 8 pixels): dense, convolutional, residual and recurrent networks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from probes.task import Task
from spectra.errors import MissingExtraError

__all__ = ["LastOutput", "Residual", "digits_cnn", "digits_cnn_batchnorm", "digits_lstm", "digits_mlp", "digits_resnet"]


def digits_mlp(*, seed: int = 0, batch_size: int = 256) -> Task:
    """Return a 64-64-32-10 ReLU network at its initialization, with cross-entropy on all 1797 digits.

    Parameters
    ----------
    seed : int
        Of the parameters and of the order of the images.
    batch_size : int
        Of the batches in which the data come; the last one is smaller. It does not change any result.
    """

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    return _task(
        network,
        shape=(64,),
        seed=seed,
        batch_size=batch_size,
        name="digits_mlp",
        description="ReLU network 64-64-32-10 at initialization on 1797 handwritten digits, cross-entropy",
    )


def digits_cnn(*, seed: int = 0, batch_size: int = 256) -> Task:
    """Return a network of two convolutions and one linear layer, with cross-entropy on all 1797 digits.

    Parameters
    ----------
    seed : int
        Of the parameters and of the order of the images.
    batch_size : int
        Of the batches in which the data come; the last one is smaller. It does not change any result.
    """

    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )

    return _task(
        network,
        shape=(1, 8, 8),
        seed=seed,
        batch_size=batch_size,
        name="digits_cnn",
        description="two convolutions, two linear layers, at initialization on 1797 handwritten digits, cross-entropy",
    )


def digits_cnn_batchnorm(*, seed: int = 0, batch_size: int = 256) -> Task:
    """Return the network of :func:`digits_cnn` with batch normalization after each convolution.

    Parameters
    ----------
    seed : int
        Of the parameters and of the order of the images.
    batch_size : int
        Of the batches in which the data come; the last one is smaller.
    """

    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 10),
        )

    return _task(
        network,
        shape=(1, 8, 8),
        seed=seed,
        batch_size=batch_size,
        name="digits_cnn_batchnorm",
        description="two convolutions with batch normalization at initialization on 1797 handwritten digits",
    )


def digits_resnet(*, seed: int = 0, batch_size: int = 256) -> Task:
    """Return a network of three residual blocks with group normalization (16 channels), for all 1797 digits.

    Parameters
    ----------
    seed : int
        Of the parameters and of the order of the images.
    batch_size : int
        Of the batches in which the data come; the last one is smaller. It does not change any result.
    """

    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            Residual(16),
            nn.AvgPool2d(2),
            Residual(16),
            nn.AvgPool2d(2),
            Residual(16),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 10),
        )

    return _task(
        network,
        shape=(1, 8, 8),
        seed=seed,
        batch_size=batch_size,
        name="digits_resnet",
        description="three residual blocks with group normalization at initialization on 1797 handwritten digits",
    )


def digits_lstm(*, seed: int = 0, batch_size: int = 256) -> Task:
    """Return an LSTM with 32 units that reads the rows of a digit from top to bottom, and a linear layer.

    Parameters
    ----------
    seed : int
        Of the parameters and of the order of the images.
    batch_size : int
        Of the batches in which the data come; the last one is smaller. It does not change any result.
    """

    def network() -> nn.Module:
        return nn.Sequential(nn.LSTM(8, 32, batch_first=True), LastOutput(), nn.Linear(32, 10))

    return _task(
        network,
        shape=(8, 8),
        seed=seed,
        batch_size=batch_size,
        name="digits_lstm",
        description="LSTM with 32 units at initialization, reading the rows of 1797 handwritten digits",
    )


class Residual(nn.Module):
    """Two convolutions with group normalization, added to their input.

    Parameters
    ----------
    width : int
        Channels, a multiple of 4.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.GroupNorm(4, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(4, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        return images + self.branch(images)


class LastOutput(nn.Module):
    """What a recurrent layer says after the last element of the sequence."""

    def forward(self, result: tuple[Tensor, object]) -> Tensor:
        """Map outputs (N, T, width), with their states, to (N, width)."""
        return result[0][:, -1]


def _task(
    network: Callable[[], nn.Module], *, shape: tuple[int, ...], seed: int, batch_size: int, name: str, description: str
) -> Task:
    """Return a network at its seeded initialization, with cross-entropy on all digits in a shape that it reads."""
    images, labels = _digits(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network()
    batches = list(zip(images.reshape(-1, *shape).split(batch_size), labels.split(batch_size), strict=True))
    return Task(model, nn.CrossEntropyLoss(), batches, name=name, description=description)


def _digits(seed: int) -> tuple[Tensor, Tensor]:
    """Return pixels in 0..1, shape (1797, 64), and labels, in an order drawn once (the file is sorted by writer)."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "the digits come with scikit-learn, which is not installed. Run pip install 'spectra-probes[examples]'."
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(pixels / 16, dtype=torch.float32)[order], torch.tensor(labels, dtype=torch.int64)[order]
