import math

import pytest
import torch
from torch import nn, optim

from probes.operators.optimizer_preconditioner import preconditioner_of
from probes.parameters import flatten
from spectra.errors import ArgumentError, NonFiniteError, ShapeError, TaskError
from tests.probes.networks import mlp, normal

RATE = 1e-3

#: Optimizers without momentum, so that a step is -learning_rate * P^-1 gradient.
WITHOUT_MOMENTUM = {
    "Adam": lambda p: optim.Adam(p, lr=RATE, betas=(0.0, 0.9), eps=1e-3),
    "Adam, one tensor at a time": lambda p: optim.Adam(p, lr=RATE, betas=(0.0, 0.9), foreach=False),
    "Adam, fused": lambda p: optim.Adam(p, lr=RATE, betas=(0.0, 0.9), fused=True),
    "Adam, amsgrad": lambda p: optim.Adam(p, lr=RATE, betas=(0.0, 0.9), amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=RATE, betas=(0.0, 0.99), weight_decay=0.0),
    "AdamW, tensors as rates": lambda p: optim.AdamW(
        p, lr=torch.tensor(RATE, dtype=torch.float64), betas=(0.0, 0.99), weight_decay=0.0, foreach=False
    ),
    "NAdam": lambda p: optim.NAdam(p, lr=RATE, betas=(0.0, 0.9)),
    "Adamax": lambda p: optim.Adamax(p, lr=RATE, betas=(0.0, 0.9)),
    "RMSprop": lambda p: optim.RMSprop(p, lr=RATE, alpha=0.9, eps=1e-2),
    "RMSprop, centered": lambda p: optim.RMSprop(p, lr=RATE, alpha=0.9, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=RATE, initial_accumulator_value=0.1),
    "SGD": lambda p: optim.SGD(p, lr=RATE),
}


def train(optimizer, model, *, steps=1, seed=0):
    """Take steps on different batches and return the last change of the parameters and the last gradient."""
    parameters = list(model.parameters())
    for step in range(steps):
        optimizer.zero_grad()
        model(normal(9, 6, seed=seed + step)).square().mean().backward()
        before = flatten([p.detach().clone() for p in parameters])
        optimizer.step()
    after = flatten([p.detach() for p in parameters])
    gradient = flatten([torch.zeros_like(p) if p.grad is None else p.grad for p in parameters])
    return after - before, gradient


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("kind", WITHOUT_MOMENTUM)
def test_a_real_step_is_the_learning_rate_times_the_solution_of_p(kind, steps):
    model = mlp(nn.Tanh)
    optimizer = WITHOUT_MOMENTUM[kind](model.parameters())
    change, gradient = train(optimizer, model, steps=steps)
    P = preconditioner_of(optimizer, dict(model.named_parameters()))
    # The change is a difference of parameters of order one, which float64 rounds to about 1e-16.
    torch.testing.assert_close(change, -RATE * P.solve(gradient), rtol=1e-9, atol=1e-15)


def test_groups_have_their_own_constants():
    model = mlp(nn.Tanh)
    first, second = [list(layer.parameters()) for layer in (model[0], model[2])]
    optimizer = optim.Adam(
        [{"params": second, "eps": 0.5, "betas": (0.0, 0.5), "lr": 4 * RATE}, {"params": first}],
        lr=RATE,
        betas=(0.0, 0.9),
    )
    change, gradient = train(optimizer, model, steps=3)
    named = dict(model.named_parameters())
    scaled = preconditioner_of(optimizer, named, relative_to=RATE)
    torch.testing.assert_close(change, -RATE * scaled.solve(gradient), rtol=1e-9, atol=1e-15)
    plain = preconditioner_of(optimizer, named)
    split = sum(p.numel() for p in first)
    torch.testing.assert_close(plain.diagonal[:split], scaled.diagonal[:split])
    torch.testing.assert_close(plain.diagonal[split:], 4 * scaled.diagonal[split:])


def test_decayed_rate_of_adagrad():
    model = mlp(nn.Tanh)
    optimizer = optim.Adagrad(model.parameters(), lr=RATE, lr_decay=0.5)
    change, gradient = train(optimizer, model, steps=3)
    P = preconditioner_of(optimizer, dict(model.named_parameters()), relative_to=RATE)
    torch.testing.assert_close(change, -RATE * P.solve(gradient), rtol=1e-9, atol=1e-15)


def test_momentum_and_learning_rate_are_left_out():
    squares = []
    for rate, beta in ((RATE, 0.0), (0.0, 0.9)):
        model = mlp(nn.Tanh)
        optimizer = optim.Adam(model.parameters(), lr=rate, betas=(beta, 0.9))
        train(optimizer, model)
        squares.append(preconditioner_of(optimizer, dict(model.named_parameters())).diagonal)
    torch.testing.assert_close(*squares)


def test_a_subset_in_its_own_order_and_a_copy():
    model = mlp(nn.Tanh)
    optimizer = optim.Adam(model.parameters())
    train(optimizer, model)
    named = dict(model.named_parameters())
    subset = {name: named[name] for name in ("2.bias", "0.weight")}
    P = preconditioner_of(optimizer, subset)
    expected = flatten([named[name].grad.abs() + 1e-8 for name in subset])
    torch.testing.assert_close(P.diagonal, expected)
    train(optimizer, model, seed=5)
    torch.testing.assert_close(P.diagonal, expected)


def test_lower_bound_under_the_root():
    model = mlp(nn.Tanh)
    named = dict(model.named_parameters())
    n = sum(p.numel() for p in named.values())
    floor = torch.linspace(0.0, 1.0, n, dtype=torch.float64)
    for kind in (optim.Adam, optim.RMSprop, optim.Adagrad, optim.Adamax):
        optimizer = kind(model.parameters(), eps=0.25)
        # Before the first step the bound is all there is.
        fresh = preconditioner_of(optimizer, named, second_moment=floor).diagonal
        torch.testing.assert_close(fresh, floor.sqrt() + 0.25)
        train(optimizer, model, steps=2)
        bare = preconditioner_of(optimizer, named).diagonal
        bounded = preconditioner_of(optimizer, named, second_moment=floor).diagonal
        torch.testing.assert_close(bounded, torch.maximum(bare, fresh))


def test_parameters_that_were_never_stepped_are_named():
    model = mlp(nn.Tanh)
    named = dict(model.named_parameters())
    for kind in (optim.Adam, optim.Adagrad):
        with pytest.raises(ArgumentError, match=r"4 of 4 parameters were never stepped .*0\.weight.*second_moment="):
            preconditioner_of(kind(model.parameters()), named)
    assert bool((preconditioner_of(optim.SGD(model.parameters()), named).diagonal == 1).all())
    optimizer = optim.Adam(model.parameters())
    model[2].requires_grad_(False)
    train(optimizer, model)
    with pytest.raises(ArgumentError, match=r"2 of 4 .*2\.weight, 2\.bias"):
        preconditioner_of(optimizer, named)


def test_parameters_of_another_model_are_named():
    model, other = mlp(), mlp()
    with pytest.raises(TaskError, match=r"does not train 4 of the 4 parameters: 0\.weight"):
        preconditioner_of(optim.SGD(other.parameters()), dict(model.named_parameters()))
    with pytest.raises(TaskError, match=r"does not train 2 .*2\.weight, 2\.bias"):
        preconditioner_of(optim.SGD(model[0].parameters()), dict(model.named_parameters()))


def test_optimizers_with_steps_of_their_own_are_refused():
    class Same(optim.Adam):
        pass

    class Own(optim.Adam):
        def step(self, closure=None):
            return None

    model = mlp(nn.Tanh)
    named = dict(model.named_parameters())
    same = Same(model.parameters())
    train(same, model)
    assert preconditioner_of(same, named).name == "Adam"
    for optimizer in (Own(model.parameters()), optim.Rprop(model.parameters()), optim.LBFGS(model.parameters())):
        with pytest.raises(TaskError, match="is not known; known are the steps of Adam"):
            preconditioner_of(optimizer, named)


def test_denominator_that_is_not_finite():
    model = mlp(nn.Tanh)
    named = dict(model.named_parameters())
    optimizer = optim.RMSprop(model.parameters(), centered=True)
    train(optimizer, model)
    optimizer.state[model[0].weight]["grad_avg"].fill_(1e3)
    with pytest.raises(NonFiniteError, match=r"denominator of RMSprop for '0\.weight' has 48 entries"):
        preconditioner_of(optimizer, named)
    n = sum(p.numel() for p in named.values())
    P = preconditioner_of(optimizer, named, second_moment=torch.ones(n, dtype=torch.float64))
    torch.testing.assert_close(P.diagonal[:48], torch.full((48,), 1 + 1e-8, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"second_moment": torch.ones(3, dtype=torch.float64)}, ShapeError),
        ({"second_moment": -torch.ones(92, dtype=torch.float64)}, ArgumentError),
        ({"second_moment": torch.full((92,), math.nan, dtype=torch.float64)}, ArgumentError),
        ({"relative_to": 0.0}, ArgumentError),
        ({"relative_to": math.nan}, ArgumentError),
    ],
)
def test_wrong_options(options, error):
    model = mlp(nn.Tanh)
    optimizer = optim.RMSprop(model.parameters())
    train(optimizer, model)
    with pytest.raises(error):
        preconditioner_of(optimizer, dict(model.named_parameters()), **options)
