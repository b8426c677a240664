"""The Jacobian against the dense one."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

import spectra
from probes.operators.jacobian import JacobianOperator
from probes.operators.linearization import LINEARIZATIONS
from spectra.errors import BackendError, ShapeError
from tests.probes.networks import cut, labels, mlp, normal, relative_error, transformer

INPUTS, TARGET, LOSS = normal(14, 6), labels(14), nn.CrossEntropyLoss()
CODES = labels(14, 5, seed=3)


def dense_jacobian(model, inputs):
    named = dict(model.named_parameters())
    jacobian = jacrev(lambda p: functional_call(model, p, (inputs,)))({k: v.detach() for k, v in named.items()})
    return torch.cat([jacobian[name].reshape(-1, p.numel()) for name, p in named.items()], dim=1)


@pytest.mark.parametrize("strategy", [*LINEARIZATIONS, "auto"])
def test_jacobian(strategy):
    model = mlp(nn.Tanh)
    expected = dense_jacobian(model, INPUTS)
    operator = JacobianOperator(model, LOSS, cut(INPUTS, TARGET), strategy=strategy)
    assert operator.shape == expected.shape
    right, left = normal(operator.shape[1], 3), normal(operator.shape[0], 11)
    assert relative_error(operator @ right, expected @ right) <= 1e-12
    assert relative_error(operator @ right[:, 0], expected @ right[:, 0]) <= 1e-12
    assert relative_error(operator.rmatmat(left), expected.T @ left) <= 1e-12
    assert relative_error(operator.T.matmat(left), expected.T @ left) <= 1e-12
    assert operator.num_products == 3 + 1 + 22


def test_attention_and_singular_values():
    model = transformer()
    operator = JacobianOperator(model, LOSS, cut(CODES, labels(14, 5)))
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        expected = dense_jacobian(model, CODES)
    vector = normal(operator.shape[1])
    assert relative_error(operator @ vector, expected @ vector) <= 1e-12
    found = spectra.golub_kahan(operator.rectangular(), vector, num_steps=30).singular_values(0)
    assert float(found.max()) == pytest.approx(float(torch.linalg.matrix_norm(expected, 2)), rel=1e-6)


def test_wrong_operands():
    operator = JacobianOperator(mlp(), LOSS, cut(INPUTS, TARGET))
    with pytest.raises(ShapeError, match=r"\(92,\) or \(92, k\)"):
        operator @ normal(91)
    with pytest.raises(BackendError, match="float64 on cpu"):
        operator @ normal(92).float()
    with pytest.raises(BackendError, match="ndarray"):
        operator.matmat(normal(92, 1).numpy())
