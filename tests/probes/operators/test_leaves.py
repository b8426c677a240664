"""Embeddings cut off at the rows read: the same matrices as with the whole table, and where they are left alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from probes import GaussNewtonOperator, HessianOperator
from probes.operators.leaves import Lookups
from tests.probes.networks import normal, relative_error

CODES = torch.tensor([[1, 4, 4], [0, 2, 1]])
TARGET = torch.tensor([0, 2])


class Reader(nn.Module):
    """Tokens to three classes, by a table of nine rows; what is done with the rows varies."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.table = nn.Embedding(9, 4, padding_idx=-9 if way == "padded" else None)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)
        self.double()

    def forward(self, codes):
        rows = checkpoint(self.table, codes, use_reentrant=False) if self.way == "checkpointed" else self.table(codes)
        if self.way == "written":
            rows += 0.5
        if self.way == "twice":
            rows = rows * self.table(codes.flip(1))
        hidden = torch.tanh(self.mix(rows)).mean(1)
        if self.way == "tied":
            hidden = torch.tanh(functional.linear(hidden, self.table.weight)) @ self.table.weight
        if self.way == "derivative":
            (slope,) = torch.autograd.grad(hidden.square().sum(), self.table.weight, create_graph=True)
            hidden = hidden + slope.sum(0)
        return self.head(hidden)


# The row of a padding token has no gradient although the output depends on it: the self-check rightly objects.
WAYS = ("plain", "padded", "written", "twice", "tied", "derivative", "checkpointed")


@pytest.mark.parametrize("way", WAYS)
def test_hessian_is_that_of_the_whole_table(way):
    model, loss = Reader(way), nn.CrossEntropyLoss()
    tensors = tuple(model.parameters())
    gradients = torch.autograd.grad(loss(model(CODES), TARGET), tensors, create_graph=True)
    v = normal(sum(p.numel() for p in tensors), 3, seed=1)
    inner = torch.cat([g.reshape(-1) for g in gradients]) @ v
    expected = torch.stack(
        [
            torch.cat(
                [h.reshape(-1) for h in torch.autograd.grad(s, tensors, retain_graph=True, materialize_grads=True)]
            )
            for s in inner
        ],
        dim=1,
    )
    for strategy in ("kept_graph", "rebuilt_graph"):
        operator = HessianOperator(model, loss, (CODES, TARGET), strategy=strategy, check=way != "padded")
        assert relative_error(operator @ v, expected) < 1e-12


@pytest.mark.parametrize("way", ["plain", "padded", "twice", "tied"])
def test_gauss_newton_is_that_of_the_whole_table(way):
    model, loss = Reader(way), nn.CrossEntropyLoss()
    v = normal(sum(p.numel() for p in model.parameters()), 3, seed=2)
    expected = GaussNewtonOperator(model, loss, (CODES, TARGET), strategy="vmap_reverse", check=way != "padded") @ v
    for strategy in ("kept_graph", "rebuilt_graph"):
        operator = GaussNewtonOperator(model, loss, (CODES, TARGET), strategy=strategy, check=way != "padded")
        assert relative_error(operator @ v, expected) < 1e-12


@pytest.mark.parametrize(("way", "number"), [("plain", 1), ("twice", 2), ("checkpointed", 0)])
def test_what_is_cut_off(way, number):
    model = Reader(way)
    with Lookups(tuple(model.parameters())) as lookups:
        value = model(CODES).sum()
    assert len(lookups.found) == number
    (gradient,) = torch.autograd.grad(value, model.table.weight, allow_unused=True)
    assert (gradient is None) == (number > 0)


def test_what_is_left_alone():
    table = nn.Embedding(9, 4)
    with Lookups((table.weight,)) as lookups:
        table(torch.arange(9))  # as many rows as there are
        functional.embedding(CODES, table.weight * 2.0)  # no parameter
        with torch.no_grad():
            assert not table(CODES).requires_grad
        handle = table.weight.register_hook(lambda gradient: gradient)
        table(CODES)
        handle.remove()
    assert not lookups.found


def test_derivatives_inside_the_model_are_noticed():
    with Lookups(()) as lookups:
        x = torch.ones((), requires_grad=True)
        torch.autograd.grad(x.square(), x)
    assert lookups.is_void
