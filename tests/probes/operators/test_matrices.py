"""Every matrix, in every way to a product, against a dense reference made by other means."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from probes.operators import MATRICES
from spectra import as_operator
from spectra.errors import ArgumentError, TaskError
from spectra.testing import check_operator
from tests.probes.networks import SIZES, cut, dense_gauss_newton, dense_hessian, labels, mlp, normal, relative_error

ACCURACY = 1e-10
N = sum(SIZES)
INPUTS, TARGET = normal(N, 6), labels(N)
LOSS = nn.CrossEntropyLoss()
MODEL = mlp(nn.Tanh)
SIZE = sum(p.numel() for p in MODEL.parameters())
IDENTITY = torch.eye(SIZE, dtype=torch.float64)


def sample_gradients(loss=LOSS, target=TARGET, model=MODEL):
    """Return the gradients of the samples, one by one, (N, n)."""
    rows = []
    for n in range(N):
        value = loss(model(INPUTS[n : n + 1]), target[n : n + 1])
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, list(model.parameters()))]))
    return torch.stack(rows)


def reference(name):
    gauss_newton = dense_gauss_newton(MODEL, LOSS, INPUTS, TARGET)
    if name in ("gauss_newton", "fisher"):
        return gauss_newton
    if name == "hessian":
        return dense_hessian(MODEL, LOSS, INPUTS, TARGET)
    if name == "residual":
        return dense_hessian(MODEL, LOSS, INPUTS, TARGET) - gauss_newton
    gradients = sample_gradients()
    if name == "empirical_fisher":
        return gradients.T @ gradients / N
    centered = gradients - gradients.mean(0)
    return centered.T @ centered / N


EXACT = sorted(set(MATRICES) - {"monte_carlo_fisher"})


@pytest.mark.parametrize("name", EXACT)
def test_every_way_to_a_product(name):
    kind, dense = MATRICES[name], reference(name)
    for strategy in (*(s for s in kind.strategies if s not in ("differences", "compiled")), "auto"):
        operator = kind(MODEL, LOSS, cut(INPUTS, TARGET), strategy=strategy, check=strategy == "auto")
        assert relative_error(operator @ IDENTITY, dense) <= ACCURACY, strategy
        assert relative_error(operator @ IDENTITY[:, 3], dense[:, 3]) <= ACCURACY, strategy
        if strategy != "auto":
            assert operator.product_strategy == strategy
    assert operator.product_strategy in kind.strategies
    assert operator.ladder.excluded == {}


@pytest.mark.parametrize("name", MATRICES)
def test_every_matrix_keeps_the_promises_of_an_operator(name):
    check_operator(MATRICES[name](MODEL, LOSS, cut(INPUTS, TARGET)), rng=1)


@pytest.mark.parametrize("name", EXACT)
def test_every_way_of_cutting_gives_one_matrix(name):
    kind, vectors = MATRICES[name], normal(SIZE, 3, seed=9)
    target = TARGET.clone()
    target[:5] = -100
    loss = nn.CrossEntropyLoss(weight=torch.tensor([0.2, 1.0, 3.0, 0.5], dtype=torch.float64))
    if name == "fisher":
        loss = LOSS
    whole = kind(MODEL, loss, (INPUTS, target), check=False) @ vectors
    for sizes in ((1,) * N, (5, N - 5), (7, 7)):
        operator = kind(MODEL, loss, cut(INPUTS, target, sizes), check=False)
        assert relative_error(operator @ vectors, whole) <= 1e-12
    assert relative_error(kind(MODEL, loss, (INPUTS, target), micro_batch=3, check=False) @ vectors, whole) <= 1e-12


@pytest.mark.parametrize("name", EXACT)
def test_batches_add_up(name):
    vectors = normal(SIZE, 2)
    operator = MATRICES[name](MODEL, LOSS, cut(INPUTS, TARGET), check=False)
    weights, products = zip(*operator.per_batch(vectors), strict=True)
    assert weights == SIZES
    own = [MATRICES[name](MODEL, LOSS, [batch], check=False) @ vectors for batch in cut(INPUTS, TARGET)]
    for found, expected in zip(products, own, strict=True):
        assert relative_error(found, expected) <= 1e-12


def test_gradients_of_samples_under_a_weighted_mean():
    """The mean of the samples' gradients is the gradient, whatever the loss divides by."""
    target = TARGET.clone()
    target[:5] = -100
    weight = torch.tensor([0.2, 1.0, 3.0, 0.5], dtype=torch.float64)
    loss = nn.CrossEntropyLoss(weight=weight)
    summed = nn.CrossEntropyLoss(weight=weight, reduction="sum")
    divisor = float(weight[target[5:]].sum())
    gradients = sample_gradients(summed, target) * (N / divisor)
    operator = MATRICES["empirical_fisher"](MODEL, loss, cut(INPUTS, target))
    assert relative_error(operator @ IDENTITY, gradients.T @ gradients / N) <= ACCURACY
    assert relative_error(operator.gradient(), gradients.mean(0)) <= ACCURACY
    centered = gradients - gradients.mean(0)
    covariance = MATRICES["gradient_covariance"](MODEL, loss, cut(INPUTS, target))
    assert relative_error(covariance @ IDENTITY, centered.T @ centered / N) <= ACCURACY


def test_covariance_without_cancellation():
    """A gradient a million times its scatter leaves the covariance right; E - gg' would lose twelve digits."""
    model = nn.Linear(6, 1, bias=False).double()
    inputs = 1e6 + normal(N, 6)
    loss = lambda z, t: z.mean()  # noqa: E731
    operator = MATRICES["gradient_covariance"](model, loss, cut(inputs, torch.zeros(N, 1)), check=False)
    expected = torch.cov(inputs.T, correction=0)
    # The inputs themselves carry an error of 1e-16 * 1e6 relative to their scatter.
    assert relative_error(operator @ torch.eye(6, dtype=torch.float64), expected) <= 1e-8
    unbiased = MATRICES["gradient_covariance"](model, loss, cut(inputs, torch.zeros(N, 1)), check=False, ddof=1)
    vector = normal(6)
    assert relative_error(unbiased @ vector, (operator @ vector) * (N / (N - 1))) <= 1e-12
    with pytest.raises(ArgumentError, match="ddof"):
        MATRICES["gradient_covariance"](model, loss, cut(inputs, torch.zeros(N, 1)), check=False, ddof=N)


def test_sums_instead_of_means():
    vector, summed = normal(SIZE), nn.CrossEntropyLoss(reduction="sum")
    for name in EXACT:
        total = MATRICES[name](MODEL, summed, cut(INPUTS, TARGET)) @ vector
        mean = MATRICES[name](MODEL, LOSS, cut(INPUTS, TARGET)) @ vector
        assert relative_error(total, N * mean) <= 1e-12, name


def test_fisher_of_losses_that_are_no_likelihood():
    weighted = nn.CrossEntropyLoss(weight=torch.ones(4, dtype=torch.float64))
    for name in ("fisher", "monte_carlo_fisher"):
        with pytest.raises(TaskError, match="GaussNewtonOperator"):
            MATRICES[name](MODEL, nn.HuberLoss(), cut(INPUTS, normal(N, 4)))
        with pytest.raises(TaskError, match="weight"):
            MATRICES[name](MODEL, weighted, cut(INPUTS, TARGET))


def test_monte_carlo_fisher_estimates_the_fisher_matrix():
    """A z-test over seeds: v'Fv is unbiased."""
    vector = normal(SIZE)
    exact = float(vector @ (MATRICES["fisher"](MODEL, LOSS, cut(INPUTS, TARGET)) @ vector))
    values = []
    for seed in range(64):
        operator = MATRICES["monte_carlo_fisher"](MODEL, LOSS, cut(INPUTS, TARGET), rng=seed, num_draws=4, check=False)
        values.append(float(vector @ (operator @ vector)))
    stderr = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values) - exact) < 4 * stderr
    again = MATRICES["monte_carlo_fisher"](MODEL, LOSS, cut(INPUTS, TARGET), rng=63, num_draws=4, check=False)
    assert float(vector @ (again @ vector)) == values[-1]
    with pytest.raises(ArgumentError, match="num_draws"):
        MATRICES["monte_carlo_fisher"](MODEL, LOSS, cut(INPUTS, TARGET), num_draws=0)


def test_differences_are_close_and_only_on_request():
    operator = MATRICES["hessian"](MODEL, LOSS, cut(INPUTS, TARGET), strategy="differences")
    assert operator.product_strategy == "differences"
    error = relative_error(operator @ IDENTITY, reference("hessian"))
    assert 1e-12 < error < 1e-6  # an approximation: step 1e-8, float64
    assert not {"differences", "compiled"} & set(
        MATRICES["hessian"](MODEL, LOSS, cut(INPUTS, TARGET)).ladder.candidates
    )


def test_algebra():
    hessian = MATRICES["hessian"](MODEL, LOSS, cut(INPUTS, TARGET))
    gauss_newton = MATRICES["gauss_newton"](MODEL, LOSS, cut(INPUTS, TARGET))
    vector = normal(SIZE, 2)
    left, right = hessian @ vector, gauss_newton @ vector
    torch.testing.assert_close((hessian + gauss_newton) @ vector, left + right)
    torch.testing.assert_close((hessian - gauss_newton) @ vector, left - right)
    torch.testing.assert_close((2 * hessian) @ vector, 2 * left)
    torch.testing.assert_close((-hessian) @ vector, -left)
    torch.testing.assert_close(hessian.shift(0.5) @ vector, left + 0.5 * vector)
    index = [0, 5, 7]
    block = as_operator(hessian).submatrix(index) @ torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(block, reference("hessian")[index][:, index])


@pytest.mark.parametrize("name", EXACT)
def test_restriction_to_some_parameters(name):
    operator = MATRICES[name](MODEL, LOSS, cut(INPUTS, TARGET), check=False)
    part = operator.restricted(["0.bias", "0.weight"])
    where = slice(0, 56)
    assert part.shape == (56, 56)
    assert relative_error(part @ torch.eye(56, dtype=torch.float64), reference(name)[where, where]) <= ACCURACY
    assert operator.shape == (SIZE, SIZE)
    with pytest.raises(TaskError, match="nonsense"):
        operator.restricted(["nonsense"])


def test_products_in_another_precision():
    """A copy in another precision follows the model."""
    model = mlp(nn.Tanh).float()
    for dtype, source in ((torch.float64, model), (torch.float32, mlp(nn.Tanh).bfloat16())):
        operator = MATRICES["hessian"](
            source, LOSS, cut(INPUTS.to(next(source.parameters()).dtype), TARGET), dtype=dtype
        )
        assert operator.dtype == dtype
        assert "on a copy of a model" in operator.remarks[0]
        vector = normal(SIZE, dtype=dtype)
        before = operator @ vector
        with torch.no_grad():
            for p in source.parameters():
                p.mul_(1.5)
        after = operator @ vector
        assert relative_error(after, before) > 1e-3
        fresh = MATRICES["hessian"](source, LOSS, cut(INPUTS.to(next(source.parameters()).dtype), TARGET), dtype=dtype)
        assert torch.equal(fresh @ vector, after)
    assert next(source.parameters()).dtype == torch.bfloat16
    automatic = MATRICES["hessian"](source, LOSS, cut(INPUTS.bfloat16(), TARGET))
    assert automatic.dtype == torch.float32
