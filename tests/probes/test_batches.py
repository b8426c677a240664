"""Data in a fixed order, whatever they come as."""

import collections

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from probes.batches import Batch, Batches
from spectra.errors import ArgumentError, NonDeterministicError, TaskError
from tests.probes.networks import cut, labels, normal

X, Y = normal(14, 6), labels(14)


def joined(batches):
    return torch.cat([b.inputs for b in batches]), torch.cat([b.target for b in batches])


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        ((X, Y), [14]),
        ([X, Y], [14]),
        (cut(X, Y), [7, 5, 2]),
        (tuple(cut(X, Y)), [7, 5, 2]),
        ([list(pair) for pair in cut(X, Y)], [7, 5, 2]),
        ((pair for pair in cut(X, Y)), [7, 5, 2]),
        (iter(cut(X, Y)), [7, 5, 2]),
        (DataLoader(TensorDataset(X, Y), batch_size=4), [4, 4, 4, 2]),
        ((X.numpy(), Y), [14]),
        ([(X.numpy(), Y.numpy())], [14]),
        (Batch(X, Y, 14), [14]),
        (Batches([(X, Y)]), [14]),
    ],
)
def test_forms_of_data(data, sizes):
    batches = Batches(data)
    assert batches.sizes == sizes
    assert batches.num_samples == 14
    for _ in range(2):
        inputs, target = joined(batches)
        assert torch.equal(inputs, X)
        assert torch.equal(target, Y)


def test_mappings():
    batches = Batches([{"codes": X, "mask": X > 0, "labels": Y}])
    assert set(batches[0].inputs) == {"codes", "mask"}
    assert torch.equal(batches[0].target, Y)
    user = collections.UserDict({"x": X, "y": Y})
    assert torch.equal(Batches(user)[0].inputs["x"], X)
    with pytest.raises(TaskError, match="must be under one of"):
        Batches([{"codes": X}])


@pytest.mark.parametrize(
    ("inputs", "target", "size"),
    [
        ((X, X), Y, 14),
        (X, (Y, Y), 14),
        (X.reshape(7, 12), labels(21), 7),
        ((torch.zeros(2, 30), X), Y, 14),
        (X, labels(3), 3),
    ],
)
def test_number_of_samples(inputs, target, size):
    assert Batches([(inputs, target)]).sizes == [size]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, "one Tensor"),
        ([], "empty"),
        (TensorDataset(X, Y), "gives single samples"),
        ([(X,)], "tuple of length 1"),
        ([X], "Tensor"),
        ([(X[:0], Y[:0])], "no samples"),
        (3, "got int"),
        (((X, X), (Y, Y)), "one batch or as two"),
        ([("a", "b")], "no tensor"),
    ],
)
def test_what_is_not_data(data, message):
    with pytest.raises(TaskError, match=message):
        Batches(data)


class _Stream:
    """Re-iterable, in an order or with values that change."""

    def __init__(self, change):
        self.change = change

    def __iter__(self):
        return iter([(self.change(X), Y)])


@pytest.mark.parametrize(
    "data",
    [
        DataLoader(TensorDataset(X, Y), shuffle=True),
        DataLoader(TensorDataset(X, Y), sampler=WeightedRandomSampler([1.0] * 14, 14)),
    ],
)
def test_shuffling_loaders(data):
    with pytest.raises(NonDeterministicError, match="shuffle=True"):
        Batches(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[torch.randperm(14)],
        lambda x: x + torch.rand_like(x),
        lambda x: x[np.random.permutation(14)],  # noqa: NPY002 - what user code does
    ],
)
def test_random_passes(change):
    with pytest.raises(NonDeterministicError, match="begin with different batches"):
        Batches(_Stream(change))
    assert Batches(list(_Stream(change))).num_samples == 14


def test_nan_is_not_mistaken_for_randomness():
    broken = X.clone()
    broken[0] = torch.nan
    assert Batches(_Stream(lambda x: broken)).num_samples == 14


def test_reading_leaves_random_states_alone():
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(TensorDataset(X, Y), batch_size=4, generator=generator)
    before = torch.get_rng_state(), generator.get_state()
    Batches(loader)
    assert torch.equal(before[0], torch.get_rng_state())
    assert torch.equal(before[1], generator.get_state())


class _Endless(IterableDataset):
    def __iter__(self):
        yield from cut(X, Y)


def test_iterable_dataset():
    assert Batches(_Endless()).sizes == [7, 5, 2]


def test_split():
    batches = Batches(cut(X, Y)).split(3)
    assert batches.sizes == [3, 3, 1, 3, 2, 2]
    assert torch.equal(joined(batches)[0], X)
    with pytest.raises(ArgumentError, match="at least 1"):
        batches.split(0)
    with pytest.raises(TaskError, match="first axis of every tensor counts samples"):
        Batches([((torch.zeros(2, 30), X), Y)]).split(3)


def test_samples():
    samples = Batches([({"x": a, "pair": (a, b)}, b) for a, b in cut(X, Y)]).samples()
    assert samples.num_samples == 14
    batch = samples.take(np.array([3, 13, 0]))
    assert batch.size == 3
    assert torch.equal(batch.inputs["x"], X[[3, 13, 0]])
    assert torch.equal(batch.inputs["pair"][1], Y[[3, 13, 0]])
    assert torch.equal(batch.target, Y[[3, 13, 0]])
    for wrong in ([14], [-1], []):
        with pytest.raises(ArgumentError, match=r"0 .. 13"):
            samples.take(wrong)


def test_samples_of_unequal_shapes():
    with pytest.raises(TaskError, match="Pad the batches"):
        Batches([(X, Y), (X[:, :3], Y)]).samples()
    with pytest.raises(TaskError, match="counts samples"):
        Batches([((torch.zeros(2, 30), X), Y)]).samples()


def test_cast_and_inference_tensors():
    batch = Batch({"x": X, "codes": Y}, Y, 14).to(dtype=torch.float32)
    assert batch.inputs["x"].dtype == torch.float32
    assert batch.inputs["codes"].dtype == torch.int64
    with torch.inference_mode():
        frozen = X * 2
    assert frozen.is_inference()
    with torch.inference_mode(False):
        assert not Batches([(frozen, Y)])[0].inputs.is_inference()
