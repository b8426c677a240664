"""Handwritten digits (scikit-learn's 1797 images of 8 x 8 pixels): a multilayer perceptron and a convolutional net."""

import torch
from torch import Tensor, nn

from probes.task import Task
from spectra.errors import MissingExtraError

__all__ = ["digits_cnn", "digits_mlp"]


def digits_mlp(*, seed: int = 0, batch_size: int = 256) -> Task:
    """Return a 64-64-32-10 ReLU network at its initialization, with cross-entropy on all 1797 digits.

    Parameters
    ----------
    seed : int
        Of the parameters and of the order of the images.
    batch_size : int
        Of the batches in which the data come; the last one is smaller. It does not change any result.
    """
    images, labels = _digits(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return Task(
        model,
        nn.CrossEntropyLoss(),
        _cut(images, labels, batch_size),
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
    images, labels = _digits(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
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
    return Task(
        model,
        nn.CrossEntropyLoss(),
        _cut(images.reshape(-1, 1, 8, 8), labels, batch_size),
        name="digits_cnn",
        description="two convolutions, two linear layers, at initialization on 1797 handwritten digits, cross-entropy",
    )


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


def _cut(images: Tensor, labels: Tensor, batch_size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(images.split(batch_size), labels.split(batch_size), strict=True))
