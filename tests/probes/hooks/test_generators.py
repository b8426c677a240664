"""Data that draw from generators of their own are read without moving these."""

import contextlib
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from probes.hooks.generators import preserved_generators
from probes.hooks.reference import draw_reference
from spectra.errors import TaskError

X, Y = torch.arange(64.0)[:, None], torch.arange(64)


class Prebatched(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        return X[8 * i : 8 * i + 8], Y[8 * i : 8 * i + 8]


class Augmented(Dataset):
    """Has a transform with a generator, bound to an object."""

    def __init__(self, rng):
        self.transforms = [lambda x: x, Shift(rng).apply]

    def __len__(self):
        return 64

    def __getitem__(self, i):
        x = X[i]
        for transform in self.transforms:
            x = transform(x)
        return x, Y[i]


class Shift:
    def __init__(self, rng):
        self.rng = rng

    def apply(self, x):
        return x + self.rng.random()


class Loader:
    """Not PyTorch's; a stream where ``stream`` is asked for."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __iter__(self):
        for rows in torch.randperm(64, generator=self.generator).split(8):
            yield X[rows], Y[rows]


class Stream(IterableDataset):
    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __iter__(self):
        for i in torch.randperm(64, generator=self.generator):
            yield X[i], Y[i]


def shuffled(dataset, **options):
    return DataLoader(dataset, shuffle=True, generator=torch.Generator().manual_seed(0), **options)


CASES = {
    "batches by number": lambda: shuffled(Prebatched(), batch_size=None),
    "numpy": lambda: shuffled(Augmented(np.random.default_rng(0)), batch_size=8),
    "older numpy": lambda: shuffled(Augmented(np.random.RandomState(0)), batch_size=8),
    "python": lambda: shuffled(Augmented(random.Random(0)), batch_size=8),
    "own loader": Loader,
    "stream": lambda: DataLoader(Stream(), batch_size=8),
}


@pytest.mark.parametrize("name", CASES)
def test_a_later_pass_is_the_same_with_and_without_a_draw(name):
    passes = []
    for drawn in (False, True):
        data = CASES[name]()
        torch.manual_seed(0)
        if drawn:
            draw_reference(data, size=20, paired=True, rng=np.random.default_rng(0))
        passes.append([(x.clone(), y.clone()) for x, y in data])
    for (x, y), (other_x, other_y) in zip(*passes, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


def test_after_an_error_too():
    generator = np.random.default_rng(0)
    with contextlib.suppress(ValueError), preserved_generators({"rng": generator}):
        generator.random()
        raise ValueError("inside")
    assert generator.random() == np.random.default_rng(0).random()


class Once(IterableDataset):
    """Goes on where it was left, whoever reads."""

    def __init__(self):
        self.place = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.place += 1
        return X[self.place], Y[self.place]


@pytest.mark.parametrize("data", [iter([(X, Y)]), DataLoader(Once(), batch_size=4)], ids=["iterator", "loader"])
def test_iterators_are_refused_before_anything_is_read(data):
    with pytest.raises(TaskError, match=r"is an iterator: .* missing from training"):
        draw_reference(data, size=4, paired=True, rng=np.random.default_rng(0))
    assert not isinstance(data, DataLoader) or data.dataset.place == 0


def test_workers_that_stay_are_not_those_of_training():
    loader = DataLoader(Stream(), batch_size=8, num_workers=1, persistent_workers=True)
    draw_reference(loader, size=8, paired=True, rng=np.random.default_rng(0))
    assert loader._iterator is None
