"""The recursion of one noisy mode: its matrices against steps of torch, its radius against a simulation."""

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.second_moment import mode_recursion, recursion_limit, second_moment_radius

CASES = [
    (OptimizerSpec(kind="sgd"), "SGD", {}),
    (OptimizerSpec(kind="momentum", momentum=0.8), "SGD", {"momentum": 0.8}),
    (
        OptimizerSpec(kind="momentum", momentum=0.8, dampening=0.3),
        "SGD",
        {"momentum": 0.8, "dampening": 0.3},
    ),
    (OptimizerSpec(kind="nesterov"), "SGD", {"momentum": 0.9, "nesterov": True}),
    (OptimizerSpec(kind="rmsprop", momentum=0.6), "RMSprop", {"momentum": 0.6, "eps": 1.0}),
    (
        OptimizerSpec(kind="adamw", weight_decay=0.4),
        "AdamW",
        {"weight_decay": 0.4, "eps": 1.0},
    ),
]


@pytest.mark.parametrize(("spec", "kind", "kwargs"), CASES, ids=[spec.label for spec, _, _ in CASES])
def test_matrices_are_the_step_of_torch(spec, kind, kwargs):
    # Gradients far below eps = 1 freeze the denominator there. Late: Adam's bias correction is over.
    torch = pytest.importorskip("torch")
    curvature, rate, noise = 1.7, 0.3, 0.45
    weight, buffer = 2e-12, -3e-12
    parameter = torch.nn.Parameter(torch.full((1,), weight, dtype=torch.float64))
    optimizer = getattr(torch.optim, kind)([parameter], lr=rate, **kwargs)
    name = {"rmsprop": "momentum_buffer", "adamw": "exp_avg"}.get(spec.kind, "momentum_buffer")
    zero = torch.zeros(1, dtype=torch.float64)
    if spec.beta:
        state = {name: torch.full((1,), buffer, dtype=torch.float64)}
        if spec.kind == "adamw":
            state |= {"exp_avg_sq": zero.clone(), "step": torch.tensor(1e6)}
        elif spec.kind == "rmsprop":
            state |= {"square_avg": zero.clone(), "step": torch.tensor(5.0)}
        optimizer.state[parameter] = state
    else:
        buffer = 0.0
    parameter.grad = (curvature + noise) * parameter.detach()
    optimizer.step()
    recursion = mode_recursion(spec, curvature=curvature, learning_rate=rate)
    after = (recursion.step + noise * recursion.noise) @ np.array([weight, buffer])
    np.testing.assert_allclose(parameter.item(), after[0], rtol=1e-9)
    if spec.beta:
        np.testing.assert_allclose(optimizer.state[parameter][name].item(), after[1], rtol=1e-9)


def test_radius_is_the_growth_of_simulated_second_moments():
    recursion = mode_recursion(OptimizerSpec(kind="nesterov", momentum=0.5), curvature=1.0, learning_rate=0.4)
    variance = 0.5
    rng = np.random.default_rng(0)
    states = np.tile([[1.0], [0.0]], (1, 200_000))
    squares = []
    for _ in range(12):
        xi = np.sqrt(variance) * rng.standard_normal(states.shape[1])
        states = recursion.step @ states + xi * (recursion.noise @ states)
        squares.append(states[0] ** 2)
    logs = np.log([np.mean(square) for square in squares])
    errors = [np.std(square) / np.mean(square) / np.sqrt(len(square)) for square in squares]
    slope = (logs[-1] - logs[3]) / 8
    # Errors of both ends at most add up.
    assert abs(slope - np.log(second_moment_radius(recursion, variance=variance))) < 3 * (errors[-1] + errors[3]) / 8


def test_without_positive_curvature_there_is_no_limit():
    assert recursion_limit(-1.0, 2.0, batch_size=1, optimizer=OptimizerSpec(kind="sgd")) == float("inf")


def test_batches_without_replacement_of_all_samples_have_no_noise():
    spec = OptimizerSpec(kind="nesterov")
    limit = recursion_limit(2.0, 7.0, batch_size=50, num_samples=50, optimizer=spec)
    assert limit == pytest.approx(2 * 1.9 / 2.8 / 2, rel=1e-12)


def test_refusals():
    with pytest.raises(ArgumentError, match="must not be negative"):
        recursion_limit(1.0, -1.0, batch_size=1, optimizer=OptimizerSpec(kind="sgd"))
    with pytest.raises(ArgumentError, match="orthogonalized"):
        mode_recursion(OptimizerSpec(kind="muon"), curvature=1.0, learning_rate=1.0)
