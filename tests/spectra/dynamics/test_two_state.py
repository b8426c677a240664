import numpy as np
import pytest

from spectra.dynamics import (
    Population,
    from_data,
    nesterov_step,
    sgd_curve,
)
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_data, gaussian_problem, loss_of, one_mode


def torch_losses(A, b, *, steps, schedule=None, **options):
    """Full-batch losses of torch.optim.SGD itself."""
    torch = pytest.importorskip("torch")
    x = torch.zeros(A.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([x], **options)
    A, b = torch.tensor(A), torch.tensor(b)
    losses, points = [], []
    for k in range(steps + 1):
        loss = 0.5 * ((A @ x - b) ** 2).mean()
        losses.append(loss.item())
        points.append(x.detach().numpy().copy())
        if schedule is not None and k < steps:
            optimizer.param_groups[0]["momentum"] = schedule[k]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.array(losses), points


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_full_batches_are_torch_sgd(nesterov, decay):
    A, b = gaussian_data(12, 5)
    settings = {"momentum": 0.8, "nesterov": nesterov, "weight_decay": decay}
    losses, points = torch_losses(A, b, steps=30, lr=0.1, **settings)
    population = Population(hessian=np.diag(np.arange(1.0, 6.0)), minimizer=np.ones(5), floor=0.2)
    curve = sgd_curve(
        from_data(A, b),
        closure="limit",
        learning_rate=0.1,
        batch_size=12,
        num_steps=30,
        population=population,
        **settings,
    )
    np.testing.assert_allclose(curve.loss, losses, rtol=1e-11)
    np.testing.assert_allclose(curve.risk, [population.risk(x) for x in points], rtol=1e-11)


def test_momentum_schedules_are_torch_sgd():
    A, b = gaussian_data(12, 5)
    schedule = np.linspace(0.05, 0.95, 20)  # torch keeps no buffer in a step whose momentum is 0
    losses, _ = torch_losses(A, b, steps=20, schedule=schedule, lr=0.1, momentum=0.5)
    curve = sgd_curve(
        from_data(A, b), closure="limit", learning_rate=0.1, batch_size=12, momentum=schedule, num_steps=20
    )
    np.testing.assert_allclose(curve.loss, losses, rtol=1e-11)


def test_second_moments_of_a_single_noisy_mode():
    """Independent oracle: the covariance of (error, buffer) of one mode, iterated as a matrix."""
    problem = one_mode(eigenvalue=2.0, initial_loss=1.5, floor=0.4, num_samples=10)
    step = nesterov_step(np.array([2.0]), learning_rate=0.1, momentum=0.7)
    T, s = step.matrix[:, :, 0], step.noise[:, 0]
    noise = (10 - 3) / (3 * 9)
    moment = np.diag([1.5, 0.0])  # error squared: q = lam e^2 / 2 = e^2
    losses = []
    for _ in range(40):
        loss = 0.4 + moment[0, 0]
        losses.append(loss)
        moment = T @ moment @ T.T + noise * np.outer(s, s) * (2 * 2.0 * loss + 4.0 * moment[0, 0])
    curve = sgd_curve(
        problem, closure="gaussian", learning_rate=0.1, momentum=0.7, nesterov=True, batch_size=3, num_steps=39
    )
    np.testing.assert_allclose(curve.loss, losses, rtol=1e-12)


def test_forcing_and_kernel_may_have_nodes_of_their_own():
    """A node that only carries loss, beside the same eigenvalue that only makes noise, is the whole mode."""
    from dataclasses import replace

    problem = gaussian_problem(40, 10)
    both = np.concatenate([problem.eigenvalue, problem.eigenvalue])
    nothing = np.zeros(10)
    split = replace(
        problem,
        eigenvalue=both,
        multiplicity=np.concatenate([problem.multiplicity, nothing]),
        initial_loss=np.concatenate([nothing, problem.initial_loss]),
        kurtosis=np.concatenate([problem.kurtosis, problem.kurtosis]),
        coordinates=None,
        rows=None,
    )
    for closure in ("limit", "gaussian", "kurtosis"):
        for momentum in (0.0, 0.6):
            first, second = (
                sgd_curve(p, closure=closure, learning_rate=0.02, momentum=momentum, num_steps=60)
                for p in (problem, split)
            )
            np.testing.assert_allclose(first.loss, second.loss, rtol=1e-11)


def test_weight_decay_ends_at_the_ridge_solution():
    A, b = gaussian_data(30, 8)
    curve = sgd_curve(
        from_data(A, b), closure="limit", learning_rate=0.2, weight_decay=0.5, batch_size=30, num_steps=2000
    )
    ridge = np.linalg.solve(A.T @ A / 30 + 0.5 * np.eye(8), A.T @ b / 30)
    assert curve.loss.values[-1] == pytest.approx(loss_of(A, b, ridge), rel=1e-12)


def test_directions_without_curvature_shrink_by_weight_decay_alone():
    A, b = gaussian_data(4, 9)
    start = np.arange(1.0, 10.0)
    population = Population(hessian=np.eye(9), minimizer=np.zeros(9))
    problem = from_data(A, b, start)
    curve = sgd_curve(
        problem, closure="limit", learning_rate=0.1, weight_decay=0.2, batch_size=4, num_steps=50, population=population
    )
    x, risks = start.copy(), []
    for _ in range(51):
        risks.append(0.5 * x @ x)
        x = x - 0.1 * (A.T @ (A @ x - b) / 4 + 0.2 * x)
    np.testing.assert_allclose(curve.risk, risks, rtol=1e-11)


def test_weight_decay_needs_to_know_where_the_minimizer_lies():
    with pytest.raises(ArgumentError, match="from_data"):
        sgd_curve(one_mode(), closure="limit", learning_rate=0.1, weight_decay=0.1, num_steps=3)


def test_divergence_is_infinite_and_silent():
    problem = gaussian_problem(20, 5)
    curve = sgd_curve(problem, closure="gaussian", learning_rate=1e6, momentum=0.9, num_steps=300)
    assert curve.loss.values[-1] == np.inf
    assert curve.noise_free_loss.values[-1] == np.inf
    stable_without_noise = sgd_curve(problem, closure="limit", learning_rate=0.5, momentum=0.0, num_steps=30_000)
    assert stable_without_noise.loss.values[-1] == np.inf
    assert stable_without_noise.noise_free_loss.values[-1] == pytest.approx(problem.floor)
