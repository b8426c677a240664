"""Products with the tangent kernel against the dense Jacobian."""

import pytest
import torch
from torch import nn

import spectra
from probes.operators.jacobian import JacobianOperator
from probes.operators.ntk import NTKOperator
from spectra.errors import ArgumentError, ShapeError, TaskError
from spectra.testing import check_operator
from tests.probes.networks import cut, labels, mlp, normal, relative_error

INPUTS, TARGET, LOSS = normal(14, 6), labels(14), nn.CrossEntropyLoss()
OUTPUTS = ("full", "trace", "sum")


def expected_kernel(model, outputs: str) -> torch.Tensor:
    jacobian = JacobianOperator(model, LOSS, (INPUTS, TARGET)) @ torch.eye(92, dtype=torch.float64)
    full = (jacobian @ jacobian.T).reshape(14, 4, 14, 4)
    if outputs == "full":
        return full.reshape(56, 56)
    return torch.einsum("ikjk->ij", full) / 4 if outputs == "trace" else full.sum((1, 3)) / 4


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_products(outputs):
    model = mlp(nn.Tanh)
    expected = expected_kernel(model, outputs)
    kernel = NTKOperator(model, LOSS, cut(INPUTS, TARGET), outputs=outputs)
    assert kernel.shape == expected.shape
    assert kernel.like.shape == (len(expected),)
    assert relative_error(kernel.dense(), expected) <= 1e-12
    assert kernel.num_products == 0
    vectors = normal(len(expected), 3)
    assert relative_error(kernel @ vectors, expected @ vectors) <= 1e-12
    assert relative_error(kernel @ vectors[:, 0], expected @ vectors[:, 0]) <= 1e-12
    assert kernel.num_products == 4
    check_operator(kernel)


@pytest.mark.parametrize(("outputs", "times"), [("full", 1), ("trace", 4), ("sum", 1)])
def test_cost_of_a_product(outputs, times):
    kernel = NTKOperator(mlp(), LOSS, cut(INPUTS, TARGET), outputs=outputs)
    kernel @ kernel.like
    assert kernel.jacobian.num_products == 2 * times


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_spectrum(outputs):
    model = mlp(nn.Tanh)
    expected = torch.linalg.eigvalsh(expected_kernel(model, outputs)).flip(0)
    kernel = NTKOperator(model, LOSS, cut(INPUTS, TARGET), outputs=outputs)
    pairs = spectra.eigenpairs(kernel, num=2)
    assert pairs["eigenvalue"].values == pytest.approx(expected[:2].numpy(), rel=1e-9)
    measure = spectra.slq(spectra.as_operator(kernel), num_probes=2, num_steps=5)
    assert float(measure["ritz_value"].max()) <= float(expected[0]) * (1 + 1e-9)


def test_public_names():
    import probes
    from probes import operators

    assert probes.NTKOperator is operators.NTKOperator is NTKOperator


def test_refusals():
    with pytest.raises(ArgumentError, match="full, trace, sum"):
        NTKOperator(mlp(), LOSS, (INPUTS, TARGET), outputs="mean")
    pooled = nn.Sequential(mlp(), nn.Flatten(0))
    with pytest.raises(TaskError, match="one row of outputs for each sample"):
        NTKOperator(pooled, nn.MSELoss(), (INPUTS, normal(14)), outputs="trace")
    with pytest.raises(ShapeError, match="14"):
        NTKOperator(mlp(), LOSS, (INPUTS, TARGET), outputs="sum") @ normal(56)
