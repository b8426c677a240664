"""The reference set: drawn once, from whatever the data are, without moving a generator."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from probes.hooks.reference import cut, draw_reference
from spectra.errors import ArgumentError, TaskError


def numbers(count, start=0):
    values = torch.arange(start, start + count)
    return values[:, None].float(), values


class Stream(IterableDataset):
    def __iter__(self):
        x, y = numbers(1000)
        yield from zip(x, y, strict=True)


CASES = {
    "one batch": lambda: numbers(200),
    "list of batches": lambda: [numbers(50, 50 * i) for i in range(4)],
    "shuffling loader": lambda: DataLoader(TensorDataset(*numbers(200)), batch_size=16, shuffle=True),
    "stream": lambda: DataLoader(Stream(), batch_size=16),
    "mapping": lambda: [{"x": numbers(200)[0], "labels": numbers(200)[1]}],
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_data(name):
    before = torch.get_rng_state()
    batch = draw_reference(CASES[name](), size=40, paired=True, rng=np.random.default_rng(0))
    inputs = batch.inputs["x"] if name == "mapping" else batch.inputs
    assert batch.size == 40
    assert torch.equal(inputs[:, 0].long(), batch.target)
    assert len(set(batch.target.tolist())) == 40
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seed_gives_the_same_samples_and_another_others():
    draws = [
        draw_reference(numbers(200), size=20, paired=True, rng=np.random.default_rng(seed)).target.tolist()
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_few_samples_and_none():
    assert draw_reference(numbers(7), size=40, paired=True, rng=np.random.default_rng(0)).size == 7
    with pytest.raises(TaskError, match="empty"):
        draw_reference([], size=4, paired=True, rng=np.random.default_rng(0))
    with pytest.raises(TaskError, match="must be batches"):
        draw_reference(3, size=4, paired=True, rng=np.random.default_rng(0))


def test_batches_of_several_lengths_give_the_largest():
    data = [(torch.zeros(6, 3), torch.zeros(6)), (torch.zeros(8, 5), torch.zeros(8))]
    assert draw_reference(data, size=12, paired=True, rng=np.random.default_rng(0)).size in (6, 8)


def test_pieces_are_nearly_equal_and_complete():
    batch = draw_reference(numbers(30), size=30, paired=True, rng=np.random.default_rng(0))
    pieces = cut(batch, 8)
    assert [piece.size for piece in pieces] == [7, 8, 7, 8]
    assert torch.equal(torch.cat([piece.target for piece in pieces]), batch.target)
    with pytest.raises(ArgumentError, match="at least 1 sample"):
        cut(batch, 0)
