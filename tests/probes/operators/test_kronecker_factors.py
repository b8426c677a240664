import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev

from probes.operators import GaussNewtonOperator
from probes.operators.kronecker import KroneckerFactors, KroneckerPreconditioner
from probes.operators.kronecker_factors import kronecker_factors
from probes.operators.preconditioned import preconditioned
from spectra import as_operator
from spectra.errors import ArgumentError, DerivativeError, NonFiniteError, TaskError
from tests.probes.networks import (
    cnn,
    cut,
    dense_gauss_newton,
    labels,
    mlp,
    normal,
    seeded,
)


def dense(factors: KroneckerFactors) -> Tensor:
    """Return the undamped matrix, through the products that other tests check."""
    P = KroneckerPreconditioner(factors, damping=1.0)
    eye = torch.eye(P.shape[0], dtype=torch.float64)
    return P.multiply(eye) - eye


def flat_gradient(model, loss, inputs, target) -> Tensor:
    pieces = torch.autograd.grad(loss(model(inputs), target), list(model.parameters()))
    return torch.cat([piece.reshape(-1) for piece in pieces])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_exact_for_least_squares(reduction):
    """One linear layer with squared error: the output Hessian is constant, so inputs and gradients are independent."""
    model = seeded(lambda: nn.Linear(5, 3)).double()
    inputs, target = normal(14, 5), normal(14, 3, seed=1)
    loss = nn.MSELoss(reduction=reduction)
    factors = kronecker_factors(model, loss, cut(inputs, target), kind="exact")
    torch.testing.assert_close(dense(factors), dense_gauss_newton(model, loss, inputs, target))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_one_sample_gives_the_blocks_of_the_outer_product(reduction):
    model = mlp(nn.Tanh)
    inputs, target = normal(1, 6), labels(1)
    loss = nn.CrossEntropyLoss(reduction=reduction)
    found = dense(kronecker_factors(model, loss, (inputs, target), kind="empirical"))
    g = flat_gradient(model, loss, inputs, target)
    first = model[0].weight.numel() + model[0].bias.numel()
    expected = torch.block_diag(torch.outer(g[:first], g[:first]), torch.outer(g[first:], g[first:]))
    torch.testing.assert_close(found, expected)


def test_one_sample_of_a_convolution_with_one_place():
    model = seeded(lambda: nn.Sequential(nn.Conv2d(2, 3, (3, 4)), nn.Flatten())).double()
    inputs, target = normal(1, 2, 3, 4), normal(1, 3, seed=1)
    found = dense(kronecker_factors(model, nn.MSELoss(), (inputs, target), kind="empirical"))
    g = flat_gradient(model, nn.MSELoss(), inputs, target)
    torch.testing.assert_close(found, torch.outer(g, g))


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(weight=torch.arange(1.0, 5.0).double())])
def test_exact_gradient_covariances_of_a_network(loss):
    """B of the last layer sums the output Hessians, B of the first carries them through one layer by hand."""
    model = mlp(nn.Tanh)
    inputs, target = normal(14, 6), labels(14)
    layers = kronecker_factors(model, loss, cut(inputs, target), kind="exact").layers
    hidden = torch.tanh(model[0](inputs)).detach()
    z = model(inputs).detach()
    hessian = jacrev(jacrev(lambda outputs: loss(outputs, target)))(z)
    last, first = torch.zeros(4, 4).double(), torch.zeros(8, 8).double()
    for n in range(14):
        back = model[2].weight.detach() * (1 - hidden[n] ** 2)
        last += hessian[n, :, n, :]
        first += back.T @ hessian[n, :, n, :] @ back
    torch.testing.assert_close(layers["2"].gradient_covariance, last)
    torch.testing.assert_close(layers["0"].gradient_covariance, first)
    homogeneous = torch.cat([hidden, torch.ones(14, 1).double()], dim=1)
    torch.testing.assert_close(layers["2"].input_covariance, homogeneous.T @ homogeneous / 14)


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (nn.CrossEntropyLoss(), labels(14)),
        (nn.CrossEntropyLoss(ignore_index=0), labels(14)),
        (nn.MSELoss(), normal(14, 4, seed=1)),
        (nn.MSELoss(reduction="sum"), normal(14, 4, seed=1)),
        (nn.BCEWithLogitsLoss(), labels(14, 4, num_classes=2).double()),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_drawn_targets_are_unbiased_for_the_exact_factors(loss, target):
    model = mlp(nn.Tanh)
    data = cut(normal(14, 6), target)
    exact = kronecker_factors(model, loss, data, kind="exact").layers
    for path in ("0", "2"):
        drawn = torch.stack(
            [
                kronecker_factors(model, loss, data, num_draws=4, rng=seed).layers[path].gradient_covariance
                for seed in range(30)
            ]
        )
        stderr = drawn.std(0) / 30**0.5
        z = (drawn.mean(0) - exact[path].gradient_covariance) / stderr
        # 64 + 16 numbers for each of five losses: the largest of 400 standard normals is below 4 in 97 % of cases.
        assert float(z.abs().max()) < 4.5


@pytest.mark.parametrize("kind", ["sampled", "exact", "empirical"])
def test_diagonal_of_other_parameters_is_unbiased(kind):
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 4))).double()
    model[1].weight.data = normal(5, seed=3)
    inputs, target, loss = normal(14, 6), labels(14), nn.CrossEntropyLoss()
    if kind == "empirical":
        gradients = torch.stack(
            [flat_gradient(model, loss, x[None], y[None]) for x, y in zip(inputs, target, strict=True)]
        )
        expected = gradients.square().mean(0)
    else:
        expected = dense_gauss_newton(model, loss, inputs, target).diagonal()
    expected = expected[35:45]
    found = []
    for seed in range(30):
        factors = kronecker_factors(model, loss, cut(inputs, target), kind=kind, num_draws=3, rng=seed)
        assert list(factors.diagonal) == ["1.weight", "1.bias"]
        found.append(torch.cat(list(factors.diagonal.values())))
    stderr = torch.stack(found).std(0) / 30**0.5
    z = (torch.stack(found).mean(0) - expected) / stderr
    # Squares are skewed, so that small means go with small errors: 4.5 instead of 3.5 for the largest of ten.
    assert float(z.abs().max()) < 4.5


def test_result_does_not_depend_on_how_data_are_cut():
    model, inputs, target = cnn(), normal(14, 1, 4, 4), labels(14)
    loss = nn.CrossEntropyLoss(weight=torch.arange(1.0, 5.0).double(), ignore_index=2)
    whole = kronecker_factors(model, loss, (inputs, target), kind="exact")
    parts = kronecker_factors(model, loss, cut(inputs, target), kind="exact", micro_batch=3)
    assert list(whole.layers) == ["0", "5"]
    assert list(whole.diagonal) == ["3.weight", "3.bias"]
    for path in whole.layers:
        for name in ("input_covariance", "gradient_covariance"):
            torch.testing.assert_close(getattr(whole.layers[path], name), getattr(parts.layers[path], name))
    for kind in ("empirical", "exact"):
        a, b = (kronecker_factors(model, loss, d, kind=kind) for d in ((inputs, target), cut(inputs, target)))
        torch.testing.assert_close(a.layers["5"].gradient_covariance, b.layers["5"].gradient_covariance)


def test_preconditioning_a_network_improves_its_condition():
    model = mlp(nn.Tanh)
    inputs, target = normal(64, 6) * torch.logspace(-1, 1, 6).double(), labels(64)
    damping = 1e-3
    G = GaussNewtonOperator(model, nn.CrossEntropyLoss(), (inputs, target))
    factors = kronecker_factors(model, nn.CrossEntropyLoss(), (inputs, target), kind="exact")
    assert list(factors.parameters) == list(G.parameters)
    damped = as_operator(G).shift(damping)
    eye = torch.eye(G.shape[0], dtype=torch.float64)
    before = torch.linalg.eigvalsh(damped @ eye)
    after = torch.linalg.eigvalsh(preconditioned(damped, KroneckerPreconditioner(factors, damping=damping)) @ eye)
    assert float(after[-1] / after[0]) < float(before[-1] / before[0])


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(x)))


def test_layer_applied_twice_sums_over_its_uses():
    model = seeded(Twice).double()
    inputs, target = normal(6, 3), normal(6, 3, seed=1)
    layer = kronecker_factors(model, nn.MSELoss(), (inputs, target), kind="empirical").layers["layer"]
    first = model.layer(inputs)
    hidden = torch.tanh(first)
    second = model.layer(hidden)
    by_first, by_second = torch.autograd.grad(nn.MSELoss()(second, target), [first, second])
    rows = torch.cat([torch.cat([inputs, hidden.detach()]), torch.ones(12, 1).double()], dim=1)
    torch.testing.assert_close(layer.input_covariance, rows.T @ rows / 12)
    torch.testing.assert_close(layer.gradient_covariance, 6 * (by_first.T @ by_first + by_second.T @ by_second))


def test_activation_in_place_changes_nothing():
    data = (normal(14, 6), labels(14))
    first, second = mlp(nn.ReLU), mlp(lambda: nn.ReLU(inplace=True))
    a, b = (kronecker_factors(m, nn.CrossEntropyLoss(), data, kind="exact") for m in (first, second))
    torch.testing.assert_close(dense(a), dense(b))


def test_checkpointed_layers_count_once():
    class Checkpointed(nn.Sequential):
        def forward(self, x):
            return self[2](torch.utils.checkpoint.checkpoint(lambda y: self[1](self[0](y)), x, use_reentrant=False))

    data = (normal(14, 6), labels(14))
    a, b = (
        kronecker_factors(m, nn.CrossEntropyLoss(), data, kind="exact", num_draws=2)
        for m in (mlp(nn.Tanh), Checkpointed(*mlp(nn.Tanh)))
    )
    torch.testing.assert_close(dense(a), dense(b))


def test_selected_parameters():
    model, data = mlp(nn.Tanh), (normal(14, 6), labels(14))
    whole = kronecker_factors(model, nn.CrossEntropyLoss(), data, kind="exact")
    weights = kronecker_factors(model, nn.CrossEntropyLoss(), data, kind="exact", parameters="*.weight")
    biases = kronecker_factors(model, nn.CrossEntropyLoss(), data, kind="exact", parameters=["0.bias", "2"])
    A, B = whole.layers["0"].input_covariance, whole.layers["0"].gradient_covariance
    torch.testing.assert_close(weights.layers["0"].input_covariance, A[:-1, :-1])
    torch.testing.assert_close(weights.layers["0"].gradient_covariance, B)
    torch.testing.assert_close(biases.layers["0"].input_covariance, A[-1:, -1:])
    torch.testing.assert_close(dense(biases)[:8, :8], B)


def test_same_seed_same_factors():
    model, data = mlp(nn.Tanh), (normal(14, 6), labels(14))
    a, b, c, d = (
        dense(kronecker_factors(model, nn.CrossEntropyLoss(), data, rng=rng))
        for rng in (3, 3, 4, np.random.default_rng(0))
    )
    assert bool((a == b).all())
    assert not bool((a == c).all())
    assert not bool((a == d).all())


def test_model_is_left_as_it_was():
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 4))).double()
    model.train()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    state = torch.get_rng_state()
    kronecker_factors(model, nn.CrossEntropyLoss(), (normal(14, 6), labels(14)))
    bad = normal(14, 6)
    bad[0, 0] = torch.nan
    with pytest.raises(NonFiniteError):
        kronecker_factors(model, nn.CrossEntropyLoss(), (bad, labels(14)))
    with pytest.raises(TaskError):
        kronecker_factors(model, nn.CrossEntropyLoss(), (normal(14, 5), labels(14)))
    assert model.training
    assert all(not module._forward_hooks and not module._backward_hooks for module in model.modules())
    assert bool((model[0].weight.grad == 1).all())
    assert model[2].weight.grad is None
    assert all(bool((b == buffers[name]).all()) for name, b in model.named_buffers())
    assert bool((torch.get_rng_state() == state).all())


def test_works_without_gradients_around():
    with torch.no_grad():
        factors = kronecker_factors(mlp(nn.Tanh), nn.CrossEntropyLoss(), (normal(14, 6), labels(14)))
    assert list(factors.layers) == ["0", "2"]
    assert factors.kind == "sampled"


def test_wrong_arguments():
    model, data = mlp(nn.Tanh), (normal(14, 6), labels(14))
    with pytest.raises(ArgumentError, match="sampled, exact, empirical"):
        kronecker_factors(model, nn.CrossEntropyLoss(), data, kind="fisher")
    with pytest.raises(ArgumentError, match="num_draws"):
        kronecker_factors(model, nn.CrossEntropyLoss(), data, num_draws=0)
    with pytest.raises(TaskError, match="not the negative log-likelihood"):
        kronecker_factors(model, nn.L1Loss(), (data[0], normal(14, 4)))
    with pytest.raises(TaskError, match="one row for each sample"):
        kronecker_factors(model, lambda z, y: z.mean(), data, output=lambda z: z.sum(), kind="empirical")

    class Cut(nn.Sequential):
        def forward(self, x):
            return super().forward(x).detach()

    with pytest.raises(DerivativeError):
        kronecker_factors(Cut(*model), nn.CrossEntropyLoss(), data)
