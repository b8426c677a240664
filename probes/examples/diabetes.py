"""Regression on real data: disease progression of 442 diabetes patients (scikit-learn), by a multilayer perceptron."""

import torch
from torch import nn

from probes.task import Task
from spectra.errors import MissingExtraError

__all__ = ["diabetes_mlp"]


def diabetes_mlp(*, seed: int = 0, batch_size: int = 442) -> Task:
    """Return a 10-64-64-1 tanh network at its initialization, with mean squared error on all 442 patients.

    The ten features and the target are standardized.

    Parameters
    ----------
    seed : int
        Of the parameters and of the order of the patients.
    batch_size : int
        Of the batches in which the data come; the last one may be smaller. It does not change any result.
    """
    try:
        from sklearn.datasets import load_diabetes
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "the diabetes data come with scikit-learn, which is not installed. Run pip install "
            "'spectra-probes[examples]'."
        ) from error
    features, target = (
        torch.tensor((values - values.mean(0)) / values.std(0), dtype=torch.float32)
        for values in load_diabetes(return_X_y=True)
    )
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    return Task(
        model,
        nn.MSELoss(),
        list(zip(features[order].split(batch_size), target[order, None].split(batch_size), strict=True)),
        name="diabetes_mlp",
        description="tanh network 10-64-64-1 at initialization on 442 diabetes patients, mean squared error",
    )
