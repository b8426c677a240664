"""The self-check passes sound models, and every trap is caught with an error that names the cause."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from probes import GaussNewtonOperator, HessianOperator, examples
from spectra.errors import (
    DerivativeError,
    NonDeterministicError,
    NonFiniteError,
    TaskError,
)
from tests.probes.networks import cnn, cut, labels, mlp, normal, seeded, transformer

KINDS = [HessianOperator, GaussNewtonOperator]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
INPUTS, TARGET = normal(14, 6), labels(14)
LOSS = nn.CrossEntropyLoss()


def data():
    return cut(INPUTS, TARGET)


def chain(*modules):
    """Return a double-precision network in eval mode: 6 inputs, the given modules on 8 units, 4 outputs."""
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), *modules, nn.Linear(8, 4)))
    return model.double().eval()


class Function(nn.Module):
    """A module from a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@kinds
@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn", "char_transformer"])
def test_sound_models_pass_for_every_seed(name, kind):
    task = getattr(examples, name)()
    key = "gradient_difference" if kind is HessianOperator else "output_difference"
    for seed in range(30 if name != "char_transformer" else 10):
        operator = kind(task.model, task.loss, task.data[:2], rng=seed)
        assert operator.checks["precision"] == "float64"
        assert "differences" not in operator.checks
        assert operator.checks[key] < 1e-5
        assert operator.checks["symmetry"] < 1e-8


@kinds
def test_kinks_at_the_parameters_themselves_do_not_fail_a_sound_model(kind):
    # Zero biases and images with an empty border put thousands of ReLUs exactly on their kink.
    task = examples.digits_cnn()
    with torch.no_grad():
        for name, p in task.model.named_parameters():
            if name.endswith("bias"):
                p.zero_()
    for seed in range(10):
        assert "differences" not in kind(task.model, task.loss, task.data[:2], rng=seed).checks


@kinds
def test_sound_layers_pass(kind):
    for layer in (
        nn.LayerNorm(8),
        nn.BatchNorm1d(8),
        nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)),
        nn.utils.parametrizations.orthogonal(nn.Linear(8, 8)),
        nn.PReLU(),
        nn.GELU(),
    ):
        assert kind(chain(layer), LOSS, data()).checks["symmetry"] < 1e-8


class _Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(2, 1, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(2, 1, dim_feedforward=4, batch_first=True)

    def forward(self, x):
        x = x.unflatten(1, (4, 2))
        return self.layer(self.inner(x, x, x)[0]).flatten(1)


@kinds
def test_fused_attention_is_differentiated_with_the_math_kernel(kind):
    fast = torch.backends.mha.get_fastpath_enabled()
    assert kind(chain(_Attending()), LOSS, data()).checks["symmetry"] < 1e-8
    assert torch.backends.mha.get_fastpath_enabled() == fast


@kinds
def test_large_and_tiny_scales_pass(kind):
    for scale in (1e-6, 1e6):
        model = chain()
        with torch.no_grad():
            model[0].weight.mul_(1 / scale)
        batches = [(x * scale, t) for x, t in data()]
        assert "differences" not in kind(model, LOSS, batches).checks
        loss = functools.partial(_scaled_loss, scale=scale)
        assert "differences" not in kind(chain(), loss, data()).checks


def _scaled_loss(output, target, *, scale):
    return scale * functional.cross_entropy(output, target)


@kinds
def test_dropout_in_train_mode(kind):
    with pytest.raises(NonDeterministicError, match=r"dropout.*model.eval\(\)"):
        kind(chain(nn.Dropout(0.5)).train(), LOSS, data())
    assert kind(chain(nn.Dropout(0.5)), LOSS, data()).checks["repeat"] == 0


@kinds
def test_randomness_that_is_no_dropout_layer(kind):
    with pytest.raises(NonDeterministicError, match="differs by"):
        kind(chain(Function(lambda x: x * (1 + 0.1 * torch.rand_like(x)))), LOSS, data())
    attending = _Attending()
    attending.inner.dropout = 0.5
    model = chain(attending)
    attending.inner.train()
    with pytest.raises(NonDeterministicError, match=r"MultiheadAttention in train mode.*model.eval\(\)"):
        kind(model, LOSS, data())


@kinds
def test_batch_normalization_in_train_mode(kind):
    model = chain(nn.BatchNorm1d(8)).train()
    with pytest.raises(TaskError, match=r"batch normalization.*model.eval\(\).*one single batch"):
        kind(model, LOSS, data(), check=False)
    operator = kind(model, LOSS, (INPUTS, TARGET))
    assert operator.checks["symmetry"] < 1e-8
    with pytest.raises(TaskError, match="batch normalization"):
        kind(model, LOSS, (INPUTS, TARGET), micro_batch=7)


@kinds
def test_samples_coupled_by_hand(kind):
    with pytest.raises(TaskError, match="when other samples join the batch"):
        kind(chain(Function(lambda x: x - x.mean(0))), LOSS, data())


@kinds
def test_shuffling_loader(kind):
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(INPUTS, TARGET), shuffle=True)
    with pytest.raises(NonDeterministicError, match="shuffle=True"):
        kind(mlp(), LOSS, loader)


@kinds
def test_stop_gradient(kind):
    with pytest.raises(DerivativeError, match=r"detach\(\).*check=False"):
        kind(chain(Function(lambda x: x * x.detach())), LOSS, data())
    operator = kind(chain(Function(torch.detach))[:3], LOSS, data(), check=False)
    with pytest.raises(DerivativeError, match=r"cut.*detach\(\)"):
        operator @ operator.like


@kinds
def test_no_grad_in_a_branch(kind):
    def branch(x):
        with torch.no_grad():
            gate = torch.sigmoid(x)
        return gate * x

    with pytest.raises(DerivativeError, match="no_grad"):
        kind(chain(Function(branch)), LOSS, data())


@kinds
def test_weight_norm_is_written_out(kind):
    """PyTorch's own second derivative is wrong, so that agreement with differences says that it is not used."""
    for normalize in (nn.utils.parametrizations.weight_norm, _old_weight_norm):
        checks = kind(chain(normalize(nn.Linear(8, 8))), LOSS, data()).checks
        assert checks["symmetry"] < 1e-8
        assert checks["gradient_difference" if kind is HessianOperator else "output_difference"] < 1e-5


def _old_weight_norm(layer):
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(layer)


@pytest.mark.parametrize("seed", [0, 83, 106])  # where the power iteration moves little, and where it moves far
def test_spectral_norm_in_train_mode(seed):
    layer = seeded(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)), seed)
    model = chain(layer).train()
    with pytest.raises(DerivativeError, match=r"spectral_norm in train mode.*model.eval\(\)"):
        HessianOperator(model, LOSS, data())


class _Square(torch.autograd.Function):
    """Squares, with a backward that cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x.detach() * gradient


class _OnceSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


def test_custom_function_without_a_second_derivative():
    for function in (_Square, _OnceSquare):
        with pytest.raises(DerivativeError, match=f"{function.__name__}|once_differentiable"):
            HessianOperator(chain(Function(function.apply)), LOSS, data())


class _Cubed(torch.autograd.Function):
    """A wrong first derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x**2 * gradient


@kinds
def test_custom_function_with_a_wrong_backward(kind):
    with pytest.raises(DerivativeError, match="_Cubed"):
        kind(chain(Function(_Cubed.apply)), LOSS, data())


@kinds
def test_nan_and_overflow(kind):
    inputs = INPUTS.clone()
    inputs[10, 2] = torch.nan
    operator = kind(mlp(), LOSS, cut(inputs, TARGET))
    for act in (operator.loss, operator.gradient, lambda: operator @ operator.like):
        with pytest.raises(NonFiniteError, match="batch 1 is nan: its inputs contain 1 values"):
            act()
    inputs[0] = torch.inf
    with pytest.raises(NonFiniteError, match="inputs contain 6 values"):
        kind(mlp(), LOSS, cut(inputs, TARGET))
    model = mlp()
    with torch.no_grad():
        model[0].bias[0] = torch.nan
    with pytest.raises(NonFiniteError, match="parameters are not finite"):
        kind(model, LOSS, data())


@kinds
def test_singular_derivative(kind):
    model = chain(Function(lambda x: torch.sqrt((0 * x).abs().sum(1, keepdim=True)) + x))
    with pytest.raises(NonFiniteError, match="derivative is singular"):
        kind(model, LOSS, data())


@kinds
def test_sum_in_disguise(kind):
    with pytest.raises(TaskError, match=r"is the sum over its halves.*mean over samples"):
        kind(mlp(), lambda z, t: functional.cross_entropy(z, t, reduction="sum"), data())
    vector = normal(92)
    summed = functools.partial(functional.cross_entropy, reduction="sum")
    total = kind(mlp(), summed, data()) @ vector
    torch.testing.assert_close(total, 14 * (kind(mlp(), LOSS, data()) @ vector), rtol=1e-12, atol=1e-12)


@kinds
def test_layers_without_a_second_derivative_are_named(kind):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag, self.head = nn.EmbeddingBag(4, 6, mode="max"), nn.Linear(6, 4)

        def forward(self, codes):
            return self.head(self.bag(codes))

    codes = labels(14, 5, seed=4)
    with pytest.raises(DerivativeError, match="EmbeddingBag with mode='max' has no second"):
        kind(seeded(Bag).double(), LOSS, (codes, TARGET))


@kinds
def test_models_that_rewrite_their_parameters(kind):
    model = transformer()
    model.embedding.max_norm = 1.0
    before = model.embedding.weight.clone()
    with pytest.raises(TaskError, match="max_norm"):
        kind(model, LOSS, (labels(14, 5), labels(14, 5)))

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 4)

        def forward(self, x):
            with torch.no_grad():
                self.linear.weight.mul_(0.99)
            return self.linear(x)

    other = seeded(Counting).double()
    weight = other.linear.weight.clone()
    with pytest.raises(TaskError, match=r"overwrites its own parameter 'linear.weight'"):
        kind(other, LOSS, data())
    assert torch.equal(weight, other.linear.weight)
    assert torch.equal(before, model.embedding.weight)


class _Uncopyable(nn.Sequential):
    def __deepcopy__(self, memo):
        raise RuntimeError("no copies")


@kinds
def test_a_model_that_cannot_be_copied_is_checked_as_it_is(kind):
    checks = kind(_Uncopyable(*mlp()).float(), LOSS, cut(INPUTS.float(), TARGET)).checks
    assert checks["precision"] == "float32"
    assert "no copies" in checks["differences"]
    assert checks["symmetry"] < 1e-4


@kinds
def test_a_model_that_rounds_inside_is_not_blamed(kind):
    checks = kind(chain(Function(lambda x: torch.tanh(x.float()).to(x.dtype))), LOSS, data()).checks
    assert "works in float32" in checks["differences"]
    assert checks["symmetry"] < 1e-4


@kinds
def test_check_can_be_left_out_and_takes_generators(kind):
    assert kind(mlp(), LOSS, data(), check=False).checks == {}
    assert kind(mlp(), LOSS, data(), rng=np.random.default_rng(3)).checks["symmetry"] < 1e-8


@kinds
def test_zero_curvature_passes(kind):
    model = nn.Linear(6, 4).double()
    if kind is HessianOperator:
        checks = kind(model, lambda z, t: z.mean(), data()).checks
        assert checks["symmetry"] == 0
    else:
        with pytest.raises(TaskError, match="linear in the outputs"):
            kind(model, lambda z, t: z.mean(), data())


@kinds
def test_the_result_does_not_depend_on_the_check(kind):
    vector = normal(sum(p.numel() for p in cnn().parameters()))
    images = normal(14, 1, 4, 4)
    checked, unchecked = (kind(cnn(), LOSS, cut(images, TARGET), check=check) @ vector for check in (True, False))
    assert torch.equal(checked, unchecked)


@kinds
def test_a_single_parameter(kind):
    model = nn.Linear(1, 1, bias=False).double()
    inputs = normal(6, 1)
    for seed in range(10):
        operator = kind(model, nn.MSELoss(), (inputs, 2 * inputs), rng=seed)
    torch.testing.assert_close(operator @ torch.ones_like(operator.like), 2 * inputs.square().mean().reshape(1))


def test_independent_oracle():
    """Dense central differences of the gradient: an oracle without any second derivative."""
    model, step = transformer(), 1e-6
    data = cut(labels(14, 5, seed=3), labels(14, 5))
    operator = HessianOperator(model, LOSS, data)
    columns = []
    for position in range(operator.shape[0]):
        sides = []
        for sign in (step, -step):
            start = 0
            with torch.no_grad():
                for p in model.parameters():
                    if start <= position < start + p.numel():
                        p.view(-1)[position - start] += sign
                    start += p.numel()
            sides.append(operator.gradient())
            with torch.no_grad():
                start = 0
                for p in model.parameters():
                    if start <= position < start + p.numel():
                        p.view(-1)[position - start] -= sign
                    start += p.numel()
        columns.append((sides[0] - sides[1]) / (2 * step))
    dense = operator @ torch.eye(operator.shape[0], dtype=torch.float64)
    # Rounding of differences: 1e-16 / 1e-6 of a gradient near 1.
    assert float((torch.stack(columns, 1) - dense).abs().max()) < 1e-9


def test_losses_that_are_not_convex_in_the_outputs_are_said_to_be():
    target = normal(14, 4)
    concave = GaussNewtonOperator(mlp(nn.Tanh), lambda z, t: torch.cos(z - t).mean(), (INPUTS, target))
    assert concave.checks["smallest_output_curvature"] < -0.1
    assert "not convex in the outputs" in concave.remarks[0]
    convex = GaussNewtonOperator(mlp(nn.Tanh), lambda z, t: (z - t).pow(4).mean(), (INPUTS, target))
    assert convex.checks["smallest_output_curvature"] >= 0
    assert convex.remarks == []
