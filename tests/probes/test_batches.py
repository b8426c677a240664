"""Data in a fixed order, whatever they come as."""

import collections
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset
from torch.utils.data import WeightedRandomSampler as WeightedSampler

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
    assert Batches(user)[0].whole.keys() == {"x", "y"}
    assert Batches([{"x": X, "labels": None, "y": Y}])[0].target_key == "y"
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
        DataLoader(TensorDataset(X, Y), sampler=WeightedSampler([1.0] * 14, 14)),
        DataLoader(TensorDataset(X, Y), batch_sampler=BatchSampler(RandomSampler(X), 4, drop_last=False)),
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
    with pytest.raises(NonDeterministicError, match="differ, first in batch 0 of 1"):
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


@dataclasses.dataclass(frozen=True)
class _Record:
    x: Any
    mask: Any
    y: Any
    rows: int = dataclasses.field(init=False, default=0)

    def __post_init__(self):
        object.__setattr__(self, "rows", len(self.x))


class _Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


class _Encoding(collections.UserDict):
    """What tokenizers return: a mapping with attributes and its own method ``to``."""

    def __getattr__(self, name):
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None


def test_dataclass_batches():
    for data in (
        _Record(X, X > 0, Y),
        [_Record(*parts) for parts in zip(X.split(7), X.split(7), Y.split(7), strict=True)],
    ):
        batches = Batches(data)
        assert batches.num_samples == 14
        assert set(batches[0].inputs) == {"x", "mask", "rows"}
    with pytest.raises(TaskError, match="_Record with keys"):
        Batches([dataclasses.replace(_Record(X, X, Y), y=None)])


@pytest.mark.parametrize("kind", [_Encoding, dict, collections.OrderedDict, collections.UserDict])
def test_containers_keep_their_type(kind):
    inputs = kind({"codes": Y, "extra": ["constant", None, (X, 3)], "pair": _Pair(X, X)})
    taken = Batches([(inputs, Y)]).split(5)[1].inputs
    assert type(taken) is kind
    assert type(taken["pair"]) is _Pair
    assert torch.equal(taken["codes"], Y[5:10])
    assert torch.equal(taken["extra"][2][0], X[5:10])
    assert taken["extra"][:2] == ["constant", None]
    assert torch.equal(inputs["codes"], Y)


def test_collate_functions_that_return_mappings():
    def collate(samples):
        return _Encoding(
            {"codes": torch.stack([x for x, _ in samples]), "labels": torch.stack([y for _, y in samples])}
        )

    batches = Batches(DataLoader(TensorDataset(X, Y), batch_size=4, collate_fn=collate))
    assert batches.sizes == [4, 4, 4, 2]
    assert torch.equal(batches[1].inputs["codes"], X[4:8])


def test_what_belongs_to_single_samples_is_not_cut_apart():
    texts = [f"text {i}" for i in range(14)]
    for inputs in ({"x": X, "texts": texts}, {"x": X, "thing": object()}, (X, list(range(14)))):
        batches = Batches([(inputs, Y)])
        assert not batches[0].is_divisible
        with pytest.raises(TaskError, match="nothing but tensors belongs to single samples"):
            batches.split(7)
    assert Batches([({"x": X, "mode": "text", "scale": 2.0}, Y)]).split(7).sizes == [7, 7]


def test_arrays_of_every_kind():
    frozen = X.numpy().copy()
    frozen.setflags(write=False)
    for array in (frozen, X.numpy()[::-1][::-1], X.numpy().astype(">f8"), X.numpy()[::-1]):
        batch = Batches([({"x": array, "names": np.array(["a"] * 14)}, Y)])[0]
        assert torch.equal(batch.inputs["x"], torch.tensor(array.astype(float)))
        assert isinstance(batch.inputs["names"], np.ndarray)


def test_packed_sequences():
    packed = pack_sequence([X[:3], X[:2], X[:1]])
    batch = Batches([(packed, Y[:3])])[0]
    assert batch.size == 3
    assert torch.equal(batch.inputs.data, packed.data)
    assert torch.equal(batch.to(dtype=torch.float32).inputs.batch_sizes, packed.batch_sizes)
    assert not batch.is_divisible


def test_data_are_moved_and_cast_on_delivery():
    class Graph:
        device = torch.device("cpu")

        def to(self, device):
            self.device = device
            return self

    graph = Graph()
    batches = Batches([((X, graph), Y)], device=torch.device("meta"), dtype=torch.float32)
    for batch in (batches[0], next(iter(batches)), batches[:1][0], Batches([(X, Y)], device=torch.device("meta"))[0]):
        assert batch.target.device.type == "meta"
    assert batches[0].inputs[0].dtype == torch.float32
    assert batches[0].inputs[1].device.type == "meta"
    assert graph.device.type == "cpu"
    assert Batches([(X, Y)], dtype=torch.float32).split(3)[0].inputs.dtype == torch.float32
    assert Batches([(X, Y)], dtype=torch.float32).samples().take([1]).inputs.dtype == torch.float32


class _Later(IterableDataset):
    """Equal in its first batch, different later: in values, in number, or in what batches hold."""

    def __init__(self, kind):
        self.kind, self.passes = kind, 0

    def __iter__(self):
        self.passes += 1
        yield X, Y
        first = self.passes == 1
        if self.kind == "values":
            yield X + self.passes, Y
        if self.kind == "fewer" and first:
            yield X, Y
        if self.kind == "more" and not first:
            yield X, Y
        if self.kind == "dtype":
            yield (X if first else X.float()), Y


@pytest.mark.parametrize("kind", ["values", "fewer", "more", "dtype"])
def test_passes_that_differ_later(kind):
    with pytest.raises(NonDeterministicError, match="first in batch 1 of"):
        Batches(_Later(kind))


def test_passes_without_tensors_in_dense_memory():
    sparse = torch.eye(14, dtype=torch.float64).to_sparse()
    assert Batches(_Stream(lambda x: sparse.clone())).num_samples == 14
    assert Batches(_Stream(lambda x: x * 1j)).num_samples == 14
    assert Batches(_Stream(lambda x: x.numpy().copy())).num_samples == 14


def test_a_spent_iterable_is_read_once():
    class Once:
        def __init__(self):
            self.rest = iter(cut(X, Y))

        def __iter__(self):
            yield from self.rest

    assert Batches(Once()).sizes == [7, 5, 2]


def test_a_loader_that_overwrites_its_batches():
    class Reusing:
        def __iter__(self):
            buffer = torch.zeros(7, 6, dtype=torch.float64)
            for part in X.split(7):
                yield buffer.copy_(part), Y[:7]

    with pytest.raises(TaskError, match="batch 0 was overwritten"):
        Batches(Reusing())

    class Refilling:
        def __iter__(self):
            batch = {}
            for part in X.split(7):
                batch["x"], batch["y"] = part, Y[:7]
                yield batch

    assert torch.equal(Batches(Refilling())[0].inputs["x"], X[:7])


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        (X, [14]),
        (X.numpy(), [14]),
        ([X, X[:3]], [14, 3]),
        ([X, X[:3], X[:5]], [14, 3, 5]),
        ((X, X[:3]), [14]),
        ({"interior": X, "boundary": X[:3]}, [14]),
        (_Record(X, None, Y), [14]),
        ({"images": X.repeat(2, 1), "labels": Y}, [14]),
        (DataLoader(TensorDataset(X), batch_size=8), [8, 6]),
        ([(X, Y)], [14]),
        (Batch(X, Y, 14), [14]),
    ],
)
def test_batches_taken_whole(data, sizes):
    batches = Batches(data, paired=False)
    assert batches.sizes == sizes
    if not isinstance(data, Batch):
        assert all(batch.target is None for batch in batches)
    entry = data[0] if isinstance(data, list) else data
    if not isinstance(data, np.ndarray | Batch | DataLoader):
        assert type(batches[0].whole) is type(entry)


def test_batches_that_cannot_be_taken_whole():
    with pytest.raises(TaskError, match="one batch or as several"):
        Batches(({"x": X}, {"x": X}), paired=False)
    with pytest.raises(TaskError, match="cannot be counted"):
        Batches([{"text": "nothing"}], paired=False)
    with pytest.raises(TaskError, match="got str"):
        Batches("text", paired=False)


def test_a_whole_batch_is_as_the_data_gave_it():
    assert Batch({"x": X}, Y, 14, "labels").whole.keys() == {"x", "labels"}
    assert Batch(X, Y, 14).whole[1] is Y
    assert Batch(X, None, 14).whole is X
    assert Batches([{"x": X, "labels": Y}]).split(5)[0].whole["labels"].shape == (5,)
    taken = Batches([{"x": X, "labels": Y}]).samples().take([3, 1])
    assert torch.equal(taken.whole["labels"], Y[[3, 1]])
    assert torch.equal(Batches([X, X[:3]], paired=False).samples().take([15]).whole, X[1:2])
