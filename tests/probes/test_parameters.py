"""Which parameters are measured, and the flat vector they form."""

import pytest
import torch
from torch import nn

from probes.parameters import flatten, select, unflatten
from spectra.errors import BackendError, ShapeError, TaskError
from tests.probes.networks import mlp, normal, transformer


def test_order_and_ties():
    model = transformer(tied=True)
    names = list(select(model))
    assert names == [name for name, _ in model.named_parameters()]
    assert "embedding.weight" in names
    assert "head.weight" not in names


def test_frozen_parameters_are_left_out():
    model = mlp()
    model[0].requires_grad_(False)
    assert list(select(model)) == ["2.weight", "2.bias"]
    with pytest.raises(TaskError, match="only frozen"):
        select(model, "0.*")
    model.requires_grad_(False)
    with pytest.raises(TaskError, match="no trainable parameter: all 4"):
        select(model)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("0", ["0.weight", "0.bias"]),
        ("*.bias", ["0.bias", "2.bias"]),
        (["2.bias", "0.weight"], ["0.weight", "2.bias"]),
        (lambda name, p: p.ndim == 2, ["0.weight", "2.weight"]),
    ],
)
def test_specifications(spec, names):
    assert list(select(mlp(), spec)) == names


def test_the_second_name_of_a_tied_parameter_selects_it():
    assert list(select(transformer(tied=True), "head.weight")) == ["embedding.weight"]


def test_wrong_specifications():
    with pytest.raises(TaskError, match=r"no parameter of Sequential matches '0.wieght'. Did you mean 0.weight"):
        select(mlp(), "0.wieght")
    with pytest.raises(TaskError, match="kept none of the 4"):
        select(mlp(), lambda name, p: False)
    with pytest.raises(TaskError, match="empty list"):
        select(mlp(), [])
    with pytest.raises(TaskError, match="entry of type int"):
        select(mlp(), [3])


def test_unsuitable_kinds():
    with pytest.raises(BackendError, match="bfloat16"):
        select(mlp().bfloat16())
    model = mlp()
    model[0].float()
    with pytest.raises(BackendError, match="one dtype and device"):
        select(model)
    with pytest.raises(TaskError, match="lazy"):
        select(nn.LazyLinear(3))


def test_flatten_and_unflatten_are_inverse():
    parameters = list(mlp().parameters())
    vector = normal(92)
    assert torch.equal(flatten(unflatten(vector, parameters)), vector)
    columns = normal(92, 3)
    pieces = unflatten(columns, parameters)
    assert [p.shape for p in pieces] == [(*p.shape, 3) for p in parameters]
    for j in range(3):
        assert torch.equal(flatten([p[..., j] for p in pieces]), columns[:, j])
    with pytest.raises(ShapeError, match=r"\(92,\).*got \(91,\)"):
        unflatten(vector[1:], parameters)
