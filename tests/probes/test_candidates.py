"""Candidate rates on tasks where their limit is known."""

import copy

import numpy as np
import pytest
import torch

from probes import MeasurementPlan, Task, measure_run, recommend
from probes.state_meter import StateMeter
from probes.trainer import Trainer
from spectra.errors import TaskError
from spectra.recommend import OptimizerSpec, Verdict, advise, read_run
from tests.probes import small_tasks

PLAN = MeasurementPlan(probe_steps=(0, 10), candidate_steps=20)


def test_on_least_squares_every_candidate_has_the_limit_of_the_quadratic():
    """The curvature does not depend on the rate, so that every limit equals that of the first stage."""
    run = read_run(measure_run(small_tasks.least_squares(), optimizer="sgd", batch_size=8, plan=PLAN))
    assert len(run.candidates) >= 2
    exact, noise = run.stages[0].curvature[0], run.stages[0].curvature_noise[0]
    for candidate in run.candidates:
        found = candidate.stage
        # The search ends at a residual of 10 %; the error of a Ritz value is of the square of that.
        assert exact * (1 - 1e-2) <= found.curvature[0] <= exact * (1 + 1e-9)
        # From half of the micro-batches, so that the two estimates differ by their standard errors.
        assert abs(found.curvature_noise[0].value - noise.value) < 3 * (found.curvature_noise[0].stderr + noise.stderr)
        assert len(candidate.training_losses) == 20
        assert candidate.stage.gradient is None


@pytest.mark.parametrize("kind", ["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"])
def test_the_recommended_rate_trains(kind):
    """A training at the recommended rate lowers the loss more than one at a 16th of it, and does not diverge."""
    from probes.training import TrainingRun

    task = small_tasks.classifier()
    advice = recommend(task, optimizer=kind, batch_size=32, plan=PLAN)
    rate = advice.learning_rate.value
    assert advice.learning_rate.verdict is not Verdict.WITHHELD
    final = {}
    for factor in (1.0, 1 / 16):
        model = copy.deepcopy(task.model)
        run = TrainingRun(
            task,
            model,
            list(model.parameters()),
            task.samples(),
            optimizer=OptimizerSpec(kind=kind),
            batch_size=32,
            learning_rate=factor * rate,
            rng=np.random.default_rng(5),
        )
        assert run.advance(60)
        final[factor] = np.mean(run.losses[-10:])
    assert final[1.0] < final[1 / 16] < run.losses[0] * 1.05


def test_the_rate_is_followed_for_twice_the_steps():
    tree = measure_run(small_tasks.classifier(), optimizer="momentum", batch_size=32, plan=PLAN)
    run = read_run(tree)
    assert run.confirmations
    first = run.confirmations[-1]
    assert len(first.training_losses) == 40
    same = next((c for c in run.candidates if c.learning_rate == first.learning_rate), None)
    if same is not None:
        np.testing.assert_array_equal(first.training_losses[:20], same.training_losses)
    advice = advise(run)
    assert advice.learning_rate.value == pytest.approx(run.confirmations[0].learning_rate)
    assert first.midway_loss < run.stages[0].loss


def test_candidates_are_recorded_with_those_that_diverged():
    plan = MeasurementPlan(probe_steps=(0,), probe_learning_rate=1e3, candidate_steps=20)
    tree = measure_run(small_tasks.least_squares(), optimizer="sgd", batch_size=8, plan=plan)
    run = read_run(tree)
    diverged = [candidate for candidate in run.candidates if candidate.stage is None]
    assert diverged
    assert all(len(candidate.training_losses) < 20 or candidate.learning_rate > 1 for candidate in diverged)
    rates = [candidate.learning_rate for candidate in run.candidates]
    assert rates == sorted(rates)
    assert advise(run).learning_rate.value == pytest.approx(
        advise(
            read_run(measure_run(small_tasks.least_squares(), optimizer="sgd", batch_size=8, plan=PLAN))
        ).learning_rate.value,
        rel=0.5,
    )


def test_the_model_and_the_optimizer_of_the_user_are_left_alone():
    task = small_tasks.classifier()
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    loss = task.loss(task.model(task.data[0][0]), task.data[0][1])
    loss.backward()
    optimizer.step()
    before = copy.deepcopy((task.model.state_dict(), optimizer.state_dict()))
    gradients = [parameter.grad.clone() for parameter in task.model.parameters()]
    advice = recommend(task, optimizer=optimizer, batch_size=32, plan=PLAN)
    assert advice.run.is_trained
    after = (task.model.state_dict(), optimizer.state_dict())
    assert all(torch.equal(after[0][name], value) for name, value in before[0].items())
    for index, state in before[1]["state"].items():
        for key, value in state.items():
            assert torch.equal(torch.as_tensor(after[1]["state"][index][key]), torch.as_tensor(value))
    assert after[1]["param_groups"] == before[1]["param_groups"]
    assert all(
        torch.equal(parameter.grad, gradient)
        for parameter, gradient in zip(task.model.parameters(), gradients, strict=True)
    )


def test_groups_with_ratios_are_measured_in_their_own_space():
    """A group that learns r times as fast has r times the curvature in the space of the optimizer."""
    task = small_tasks.least_squares()
    parameters = list(task.model.parameters())
    live = torch.optim.SGD([{"params": parameters, "lr": 0.01}])
    single = read_run(measure_run(task, optimizer=live, batch_size=32, plan=MeasurementPlan(probe_steps=(0,))))
    task = small_tasks.classifier()
    first, *others = list(task.model.parameters())
    live = torch.optim.SGD([{"params": [first], "lr": 0.01}, {"params": others, "lr": 0.04}])
    trainer = Trainer.of(task, live)
    assert trainer.relative_rates.unique().tolist() == pytest.approx([1.0, 4.0])
    meter = StateMeter(
        task,
        task.samples(),
        optimizer=trainer.spec,
        batch_size=32,
        plan=MeasurementPlan(),
        seed=0,
        progress=lambda *_: None,
        parameters=trainer.names,
        relative_rates=trainer.relative_rates,
    )
    stage, scaling, _ = meter.measure("test", tolerance=1e-6)
    hessian = meter.hessian(meter.reference)
    dense = torch.stack([hessian @ column for column in torch.eye(hessian.like.numel(), dtype=torch.float64)])
    root = trainer.relative_rates.sqrt()
    exact = torch.linalg.eigvalsh((root[:, None] * dense * root).double())[-1]
    assert float(stage["curvature"][0]) == pytest.approx(float(exact), rel=1e-4)
    assert torch.equal(scaling, root)
    assert "ratios" in " ".join(trainer.remarks)
    assert single.optimizer.kind == "sgd"


def test_clipping_is_carried_out_and_reported():
    run = read_run(measure_run(small_tasks.classifier(), optimizer="sgd", batch_size=32, clip_norm=1e-3, plan=PLAN))
    assert "were clipped to norm 0.001" in run.attributes["remarks"]
    run = read_run(measure_run(small_tasks.classifier(), optimizer="sgd", batch_size=32, clip_norm=1e6, plan=PLAN))
    assert "never reached" in run.attributes["remarks"]


def test_noise_and_loss_are_measured_on_more_samples_than_curvature():
    """The reference set is part of the others: no coordinate is curved where its preconditioner saw no gradient."""
    task = small_tasks.classifier()
    meter = StateMeter(
        task,
        task.samples(),
        optimizer=OptimizerSpec(kind="adam"),
        batch_size=8,
        plan=MeasurementPlan(),
        seed=0,
        progress=lambda *_: None,
    )
    assert meter.reference_size == 32
    assert meter.noise_size == 128
    rows = {tuple(row.tolist()) for batch in meter.moment_batches for row in batch.inputs}
    assert len(rows) == 128
    assert {tuple(row.tolist()) for batch in meter.loss_batches for row in batch.inputs} == rows
    assert {tuple(row.tolist()) for batch in meter.reference for row in batch.inputs} <= rows
    assert {tuple(row.tolist()) for batch in meter.micro.batches for row in batch.inputs} <= rows
    with torch.no_grad():
        expected = sum(float(task.loss(task.model(b.inputs), b.target)) * len(b.target) for b in meter.loss_batches)
    assert meter.loss() == pytest.approx(expected / 128, rel=1e-12)


def test_an_optimizer_without_a_theory_is_measured_but_takes_no_steps():
    run = read_run(measure_run(small_tasks.classifier(), optimizer="lion", batch_size=32, plan=PLAN))
    assert run.optimizer is None
    assert not run.candidates
    assert run.attributes["requested_optimizer"] == "lion"
    assert run.attributes["why_unsupported"]
    assert advise(run).verdict is Verdict.WITHHELD


def test_batch_normalization_is_measured_as_it_trains():
    """The curvature is that of the mean loss of batches that are normalized each by itself; buffers stay."""
    task = small_tasks.with_batchnorm()
    buffers = {name: value.clone() for name, value in task.model.named_buffers()}
    plan = MeasurementPlan(probe_steps=(0,), candidate_steps=0, reference_size=64)
    meter = StateMeter(
        task,
        task.samples(),
        optimizer=OptimizerSpec(kind="sgd"),
        batch_size=16,
        plan=plan,
        seed=0,
        progress=lambda *_: None,
    )
    assert [len(batch.target) for batch in meter.reference] == [16] * 4
    stage, _, _ = meter.measure("test", tolerance=1e-6)
    model = copy.deepcopy(task.model).train()
    names = [name for name, _ in model.named_parameters()]
    parameters = torch.cat([p.detach().flatten() for p in model.parameters()])

    def loss(flat, batches=meter.reference):
        pieces = flat.split([p.numel() for p in model.parameters()])
        weights = {n: q.view(p.shape) for n, q, p in zip(names, pieces, model.parameters(), strict=True)}
        total = 0.0
        for batch in batches:
            output = torch.func.functional_call(model, weights, (batch.inputs,))
            total = total + task.loss(output, batch.target)
        return total / len(batches)

    exact = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, parameters).double())[-1]
    assert float(stage["curvature"][0]) == pytest.approx(float(exact), rel=1e-3)
    assert len(meter.loss_batches) == 8
    assert float(stage["loss"]) == pytest.approx(float(loss(parameters, meter.loss_batches)), rel=1e-5)
    measure_run(task, optimizer="sgd", batch_size=16, plan=plan)
    assert all(torch.equal(value, buffers[name]) for name, value in task.model.named_buffers())


@pytest.mark.parametrize("kind", ["adamw", "rmsprop"])
def test_a_bias_before_batch_normalization_is_left_out(kind):
    """The loss does not depend on it: its gradient is rounding, which a preconditioner would divide by."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        )
    inputs, labels = small_tasks.data(dtype=torch.float32)
    task = Task(model, torch.nn.CrossEntropyLoss(), [(inputs, labels)])
    for seed in range(3):
        meter = StateMeter(
            task,
            task.samples(),
            optimizer=OptimizerSpec(kind=kind),
            batch_size=32,
            plan=MeasurementPlan(),
            seed=seed,
            progress=lambda *_: None,
        )
        stage, scaling, _ = meter.measure("test", with_gradients=False)
        assert torch.all(scaling[48:56] == 0)
        assert torch.count_nonzero(scaling) == len(scaling) - 8
        assert float(stage["residual"][0]) < 0.1 * float(stage["curvature"][0])


def test_a_loss_function_that_sums_is_found_out():
    task = small_tasks.classifier()
    loss = lambda output, target: torch.nn.functional.cross_entropy(output, target, reduction="sum")  # noqa: E731
    with pytest.raises(TaskError, match="sums over the batch"):
        measure_run(Task(task.model, loss, task.data), optimizer="sgd", batch_size=32, plan=PLAN)


def test_a_loss_that_curves_downwards_has_no_rate():
    class Downhill(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((3,), 0.1, dtype=torch.float64))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs * self.weight

    inputs = torch.ones(256, 3, dtype=torch.float64)
    task = Task(Downhill(), lambda output, target: -output.square().sum(1).mean(), [(inputs, inputs)])
    advice = recommend(task, optimizer="sgd", batch_size=32, plan=PLAN)
    assert advice.verdict is Verdict.WITHHELD
    assert advice.learning_rate.value is None
    assert any("curves upwards" in check.claim and not check.passed for check in advice.learning_rate.checks)
