"""The Gram matrix of the outputs gives the spectrum of the big matrix, on both sides of the switch."""

import numpy as np
import pytest
import torch
from torch import nn

import spectra
from probes.operators import MATRICES
from probes.operators.dual import dual_eigenpairs, dual_gram, dual_is_cheaper, dual_order, dual_spectrum
from spectra.errors import ArgumentError, TaskError
from tests.probes.networks import cut, labels, mlp, normal, relative_error

INPUTS, TARGET = normal(14, 6), labels(14)
LOSSES = {
    "cross-entropy": (nn.CrossEntropyLoss(label_smoothing=0.1), TARGET),
    "mean squared error": (nn.MSELoss(), normal(14, 4, seed=2)),
    "binary": (nn.BCEWithLogitsLoss(), (normal(14, 4, seed=2) > 0).double()),
    "sum": (nn.CrossEntropyLoss(reduction="sum"), TARGET),
}


def dense(operator):
    return operator @ torch.eye(operator.shape[0], dtype=torch.float64)


@pytest.mark.parametrize("name", ["gauss_newton", "fisher", "empirical_fisher"])
@pytest.mark.parametrize("loss", LOSSES)
def test_spectrum_of_the_gram_matrix(name, loss):
    function, target = LOSSES[loss]
    operator = MATRICES[name](mlp(nn.Tanh), function, cut(INPUTS, target))
    order = 14 if name == "empirical_fisher" else 14 * 4
    expected = np.linalg.eigvalsh(dense(operator).numpy())
    assert dual_order(operator) == order
    gram = np.linalg.eigvalsh(dual_gram(operator).numpy())
    scale = expected[-1]
    np.testing.assert_allclose(gram[::-1][:order], expected[::-1][:order], atol=1e-12 * scale)
    measure = dual_spectrum(operator)
    assert measure.attrs["dimension"] == operator.shape[0]
    assert measure.attrs["num_matvecs"] == order
    estimate = spectra.expectation(measure, np.exp)
    assert float(estimate.value) == pytest.approx(np.mean(np.exp(expected)), rel=1e-12)
    assert estimate.status == "exact"


def test_eigenvectors():
    operator = MATRICES["gauss_newton"](mlp(nn.Tanh), nn.CrossEntropyLoss(), cut(INPUTS, TARGET))
    values, vectors = dual_eigenpairs(operator, num=5)
    assert relative_error(operator @ vectors, vectors * torch.tensor(values.copy())) <= 1e-12
    assert values.tolist() == sorted(values, reverse=True)


def test_both_sides_of_the_switch():
    operator = MATRICES["gauss_newton"](mlp(nn.Tanh), nn.CrossEntropyLoss(), cut(INPUTS, TARGET), check=False)
    assert dual_is_cheaper(operator, num_products=56)
    assert not dual_is_cheaper(operator, num_products=55)
    assert not dual_is_cheaper(operator, num_products=56, max_bytes=56 * 92 * 8 - 1)
    many = MATRICES["gauss_newton"](
        mlp(nn.Tanh), nn.CrossEntropyLoss(), (normal(30, 6), labels(30)), check=False
    )  # 120 outputs, 92 parameters
    assert not dual_is_cheaper(many, num_products=1000)


def test_matrices_without_a_known_factor():
    hessian = MATRICES["hessian"](mlp(nn.Tanh), nn.CrossEntropyLoss(), cut(INPUTS, TARGET), check=False)
    assert dual_order(hessian) is None
    assert not dual_is_cheaper(hessian, num_products=10**9)
    other = normal(14, 4, seed=2)
    convex = MATRICES["gauss_newton"](mlp(nn.Tanh), lambda z, t: (z - t).pow(4).mean(), cut(INPUTS, other))
    assert dual_order(convex) is None  # not known beforehand
    expected = np.linalg.eigvalsh(dense(convex).numpy())
    np.testing.assert_allclose(np.linalg.eigvalsh(dual_gram(convex).numpy())[-56:], expected[-56:], atol=1e-12)
    concave = MATRICES["gauss_newton"](mlp(nn.Tanh), lambda z, t: -(z - t).pow(2).mean(), cut(INPUTS, other))
    with pytest.raises(TaskError, match="positive semidefinite"):
        dual_gram(concave)
    for name in ("gradient_covariance", "monte_carlo_fisher"):
        with pytest.raises(ArgumentError, match="no known real factor"):
            dual_gram(MATRICES[name](mlp(nn.Tanh), nn.CrossEntropyLoss(), cut(INPUTS, TARGET), check=False))


def test_rows_that_do_not_count():
    target = TARGET.clone()
    target[:7] = -100
    operator = MATRICES["gauss_newton"](mlp(nn.Tanh), nn.CrossEntropyLoss(), cut(INPUTS, target))
    assert dual_order(operator) == 28  # the first batch is left out as a whole
    expected = np.linalg.eigvalsh(dense(operator).numpy())
    np.testing.assert_allclose(
        np.linalg.eigvalsh(dual_gram(operator).numpy())[-28:], expected[-28:], atol=1e-12 * expected[-1]
    )


class _Old(torch.autograd.Function):
    """Squares in the old style, which torch.func refuses."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class _Squares(nn.Module):
    def forward(self, x):
        return _Old.apply(x)


def test_models_that_only_the_live_graph_can_differentiate():
    model = nn.Sequential(*mlp()[:1], _Squares(), *mlp()[2:])
    operator = MATRICES["gauss_newton"](model, nn.CrossEntropyLoss(), cut(INPUTS, TARGET))
    expected = np.linalg.eigvalsh(dense(operator).numpy())
    fresh = MATRICES["gauss_newton"](model, nn.CrossEntropyLoss(), cut(INPUTS, TARGET))
    found = np.linalg.eigvalsh(dual_gram(fresh).numpy())
    np.testing.assert_allclose(found[-56:], expected[-56:], atol=1e-12 * expected[-1])
    assert "setup_context" in fresh.ladder.excluded["vmap_forward"]
