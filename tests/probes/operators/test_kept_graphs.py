"""Graphs that are kept never answer for another state of the model."""

import pytest
import torch
from torch import nn

from probes import GaussNewtonOperator, HessianOperator
from probes.operators.kept_graphs import fingerprint
from tests.probes.networks import cut, labels, mlp, normal, relative_error, seeded

INPUTS, TARGET, LOSS = normal(14, 6), labels(14), nn.CrossEntropyLoss()
KINDS = pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator], ids=lambda kind: kind.name)


class _Scaled(nn.Module):
    """Multiplies by an attribute and by a buffer."""

    def __init__(self):
        super().__init__()
        self.factor = 1.0
        self.register_buffer("shift", torch.zeros(8, dtype=torch.float64))

    def forward(self, x):
        return self.factor * x + self.shift


def network():
    model = mlp(nn.Tanh)
    return nn.Sequential(model[0], _Scaled(), nn.Dropout(0.5), *model[1:]).eval()


def by_step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    LOSS(model(INPUTS), TARGET).backward()
    optimizer.step()
    optimizer.zero_grad()


def by_data(model):
    model[0].weight.data.mul_(1.1)


def by_replacing(model):
    model[0].weight.data = 1.1 * model[0].weight.data


def by_attribute(model):
    model[1].factor = 1.3


def by_buffer(model):
    model[1].shift.add_(0.3)


def by_freezing(model):
    model[0].bias.requires_grad_(False)


CHANGES = [by_step, by_data, by_replacing, by_attribute, by_buffer]


@KINDS
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("strategy", ["kept_graph", "vmap_reverse"])
def test_a_change_of_the_model_is_noticed(kind, change, strategy):
    model = network()
    operator = kind(model, LOSS, (INPUTS, TARGET), strategy=strategy)
    vectors = normal(operator.shape[0], 3)
    before = operator @ vectors
    assert torch.equal(operator @ vectors, before)
    change(model)
    after = operator @ vectors
    assert relative_error(after, before) > 1e-4
    fresh = kind(model, LOSS, (INPUTS, TARGET), strategy=strategy, kept_graph_bytes=0)
    assert torch.equal(after, fresh @ vectors)


@KINDS
def test_graphs_are_built_once_and_freed_on_request(kind, monkeypatch):
    operator = kind(network(), LOSS, (INPUTS, TARGET), strategy="kept_graph")
    count, build = [0], type(operator).build

    def counting(self, piece, strategy):
        count[0] += 1
        return build(self, piece, strategy)

    monkeypatch.setattr(type(operator), "build", counting)
    for _ in range(3):
        operator @ operator.like
    assert count == [1]
    operator.release()
    operator @ operator.like
    assert count == [2]
    for most, builds in ((1 << 30, 3), (100, 6)):  # three batches: all kept, or none
        several = kind(network(), LOSS, cut(INPUTS, TARGET), strategy="kept_graph", kept_graph_bytes=most)
        several.refresh()  # looks at the size of a graph
        count[0] = 0
        for _ in range(2):
            several @ several.like
        assert count == [builds]


def test_what_a_fingerprint_sees():
    model = network()
    seen = {fingerprint(model)}
    for change in (*CHANGES, by_freezing, nn.Module.train):
        change(model)
        assert fingerprint(model) not in seen
        assert fingerprint(model) == fingerprint(model)
        seen.add(fingerprint(model))


def test_models_of_two_dtypes_have_fingerprints():
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1).double()))
    assert fingerprint(model) == fingerprint(model)


def test_data_that_a_sibling_has_cut_anew():
    """Operators that share their data share how these are cut; a graph of the old first batch must not serve."""
    first = HessianOperator(network(), LOSS, (INPUTS, TARGET), strategy="kept_graph")
    second = first.sibling(GaussNewtonOperator, strategy="kept_graph")
    vectors = normal(first.shape[0], 3)
    before = second @ vectors
    first.workload.split(4, because="a test")
    assert second.batches.sizes == [4, 4, 4, 2]
    assert relative_error(second @ vectors, before) <= 1e-12
