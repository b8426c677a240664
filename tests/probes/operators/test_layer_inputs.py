import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev
from torch.nn import functional

from probes.operators.kronecker import KroneckerPreconditioner
from probes.operators.kronecker_factors import kronecker_factors
from tests.probes.networks import labels, normal, seeded, transformer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1, "stride": 2},
        {"padding": "same", "dilation": 2},
        {"padding": (2, 0), "padding_mode": "circular"},
        {"padding": 1, "padding_mode": "reflect", "bias": False},
    ],
    ids=str,
)
def test_patches_of_a_convolution_are_the_derivatives_by_its_weight(options):
    layer = seeded(lambda: nn.Conv2d(2, 3, (2, 3), **options)).double()
    inputs = normal(4, 2, 6, 5)
    target = normal(*layer(inputs).shape, seed=1)
    factors = kronecker_factors(layer, nn.MSELoss(), (inputs, target), kind="empirical").layers[""]
    by_weight = jacrev(lambda w: functional.conv2d(*padded(layer, inputs), w[None], **steps(layer))[:, 0])
    patches = by_weight(layer.weight[0].detach()).reshape(-1, layer.weight[0].numel())
    if layer.bias is not None:
        patches = torch.cat([patches, torch.ones(len(patches), 1, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(factors.input_covariance, patches.T @ patches / len(patches))
    residual = (2 * (layer(inputs) - target).detach() / target.numel()).movedim(1, -1).reshape(-1, 3)
    torch.testing.assert_close(factors.gradient_covariance, 4 * residual.T @ residual)


def padded(layer: nn.Conv2d, inputs: Tensor) -> tuple[Tensor]:
    """Pad by hand: PyTorch's ``conv2d`` itself knows zeros only."""
    if layer.padding == "same":
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        (top, left) = (t // 2 for t in total)
        return (functional.pad(inputs, (left, total[1] - left, top, total[0] - top)),)
    rows, columns = layer.padding
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return (functional.pad(inputs, (columns, columns, rows, rows), mode=mode),)


def steps(layer: nn.Conv2d) -> dict:
    return {"stride": layer.stride, "dilation": layer.dilation}


def test_tokens_are_places():
    """A layer on tokens of a sequence: A averages over all of them, B sums."""
    model = seeded(lambda: nn.Linear(3, 2)).double()
    inputs, target = normal(4, 5, 3), normal(4, 5, 2, seed=1)
    layer = kronecker_factors(model, nn.MSELoss(), (inputs, target), kind="exact").layers[""]
    rows = torch.cat([inputs.reshape(20, 3), torch.ones(20, 1).double()], dim=1)
    torch.testing.assert_close(layer.input_covariance, rows.T @ rows / 20)
    torch.testing.assert_close(layer.gradient_covariance, torch.eye(2).double())


@pytest.mark.parametrize("tied", [False, True])
def test_what_is_no_matrix_goes_to_the_diagonal(tied):
    model = transformer(tied=tied)
    data = (torch.randint(4, (6, 5), generator=torch.Generator().manual_seed(0)), labels(6, 5))
    factors = kronecker_factors(model, nn.CrossEntropyLoss(), data)
    linear = ["attention", "network.1", "network.3"] + ([] if tied else ["head"])
    assert list(factors.layers) == linear
    norms = ["embedding.weight", "norm.weight", "norm.bias", "network.0.weight", "network.0.bias"]
    assert list(factors.diagonal) == norms
    P = KroneckerPreconditioner(factors, damping=1e-2)
    v = normal(P.shape[0], 2)
    torch.testing.assert_close(P.inverse_sqrt(P.sqrt(v)), v)


class Odd(nn.Module):
    """Layers that are there but are not called as such."""

    def __init__(self):
        super().__init__()
        self.by_hand = nn.Linear(6, 6)
        self.masked = Masked(6, 6)
        self.unused = nn.Linear(6, 6)
        self.called = nn.Linear(6, 4)

    def forward(self, x):
        x = functional.linear(x, self.by_hand.weight, self.by_hand.bias)
        with torch.no_grad():
            offset = self.called(x).sum()
        return self.called(input=self.masked(x + offset))


class Masked(nn.Linear):
    def forward(self, x):
        return functional.linear(x, self.weight.tril(), self.bias)


def test_layers_that_are_not_called_as_such_go_to_the_diagonal():
    model = seeded(Odd).double()
    data = (normal(14, 6), labels(14))
    factors = kronecker_factors(model, nn.CrossEntropyLoss(), data)
    assert list(factors.layers) == ["called"]
    assert float(factors.diagonal["unused.weight"].abs().max()) == 0.0
    for name in ("by_hand.weight", "masked.weight", "masked.bias"):
        assert float(factors.diagonal[name].max()) > 0.0
    # The use without gradient is no part of the derivative, so its inputs do not count.
    x = model.by_hand(data[0])
    x = model.masked(x + model.called(x).sum()).detach()
    torch.testing.assert_close(factors.layers["called"].input_covariance[:6, :6], x.T @ x / 14)
