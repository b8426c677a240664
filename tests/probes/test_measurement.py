"""Measuring a task: closed forms on least squares, an untouched model, interruption, refusals."""

import itertools

import numpy as np
import pytest
import torch

import spectra
from probes import MeasurementPlan, measure_run, recommend
from probes.measurement import MeasurementInterrupted
from spectra.errors import ArgumentError, NonFiniteError, TaskError
from spectra.recommend import OptimizerSpec, Verdict, advise, read_run
from tests.probes import small_tasks

QUICK = MeasurementPlan(probe_steps=(0, 10), candidate_steps=0, reference_size=256)


def hessian_of_least_squares() -> torch.Tensor:
    inputs, _ = small_tasks.least_squares().data[0]
    return 2 * inputs.T @ inputs / len(inputs)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_curvature_of_least_squares_is_exact_at_every_stage(decay):
    optimizer = OptimizerSpec(kind="sgd", weight_decay=decay)
    run = read_run(measure_run(small_tasks.least_squares(), optimizer=optimizer, batch_size=32, plan=QUICK))
    exact = torch.linalg.eigvalsh(hessian_of_least_squares()).flip(0)[:3].numpy() + decay
    for stage in run.stages:
        np.testing.assert_allclose(stage.curvature, exact, rtol=1e-6)
        assert stage.residual.max() < 1e-2 * exact[0]
        assert stage.smallest_curvature == pytest.approx(
            float(torch.linalg.eigvalsh(hessian_of_least_squares())[0]) + decay, rel=1e-6
        )


def test_noise_grams_are_those_of_the_micro_batches():
    """The curvature-noise statistic of a stage equals the public estimator at the same vector, seed and batches."""
    task = small_tasks.least_squares()
    run = read_run(measure_run(task, optimizer="sgd", batch_size=32, plan=QUICK))
    vector = torch.linalg.eigh(hessian_of_least_squares())[1][:, -1]
    from probes import curvature_noise

    expected = curvature_noise(task, vector)
    assert run.stages[0].curvature_noise[0].value == pytest.approx(expected.value, rel=1e-5)


def test_the_sgd_limit_of_least_squares_separates_stable_from_unstable_rates():
    """On a quadratic the linearization is exact: below the limit the iterates stay bounded, well above they blow up."""
    from probes.training import TrainingRun

    task = small_tasks.least_squares()
    limit = advise(measure_run(task, optimizer="sgd", batch_size=8, plan=QUICK)).max_stable_learning_rate
    outcome = {}
    for factor in (0.7, 1.6):
        import copy

        model = copy.deepcopy(task.model)
        run = TrainingRun(
            task,
            model,
            list(model.parameters()),
            task.samples(),
            optimizer=OptimizerSpec(kind="sgd"),
            batch_size=8,
            learning_rate=factor * limit.value,
            rng=np.random.default_rng(0),
        )
        outcome[factor] = run.advance(1500)
    assert outcome == {0.7: True, 1.6: False}


def test_preconditioner_is_that_of_adam():
    """In the space of P the curvature is that of P^-1/2 H P^-1/2, with P from the expected squared batch gradient."""
    task = small_tasks.least_squares()
    run = read_run(
        measure_run(
            task,
            optimizer="adamw",
            batch_size=32,
            plan=MeasurementPlan(probe_steps=(0,), candidate_steps=0, reference_size=256),
        )
    )
    from probes import HessianOperator
    from probes.noise import micro_batch_gradients

    order = np.random.default_rng([0, 4]).permutation(256).reshape(16, 16)
    batches = [task.samples().take(rows) for rows in order]
    gradients = micro_batch_gradients(HessianOperator(task.model, task.loss, batches, check=False))
    variance = 16 * gradients.var(dim=1, correction=1)
    moment = gradients.mean(1) ** 2 + variance * (1 / 32 - 1 / 256)
    scaling = (moment.sqrt() + 1e-8).rsqrt()
    exact = torch.linalg.eigvalsh(scaling[:, None] * hessian_of_least_squares() * scaling)
    assert run.stages[0].curvature[0] == pytest.approx(float(exact[-1]), rel=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_the_users_model_and_random_state_are_unchanged(optimizer):
    task = small_tasks.with_dropout()
    task.model.train()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    state, legacy = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    recommend(task, optimizer=optimizer, batch_size=32, plan=QUICK)
    assert task.model.training
    assert all(module.training for module in task.model.modules())
    assert all(parameter.grad is None for parameter in task.model.parameters())
    for name, value in task.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002


def test_state_is_unchanged_after_an_exception_in_the_middle():
    task = small_tasks.classifier()
    task.model.train()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    state = torch.random.get_rng_state()

    def fail(description, done, total):
        if "10 steps" in description:
            raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        measure_run(task, optimizer="adamw", batch_size=32, plan=QUICK, progress=fail)
    assert task.model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in task.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_same_seed_same_numbers_and_files_round_trip(tmp_path):
    first, second = (
        measure_run(small_tasks.classifier(), optimizer="adamw", batch_size=32, plan=QUICK) for _ in range(2)
    )
    assert first["stages"].to_dataset().identical(second["stages"].to_dataset())
    for suffix in (".nc", ".zarr"):
        path = tmp_path / f"run{suffix}"
        spectra.save(first, path)
        loaded = advise(spectra.load(path))
        assert loaded.recommendations == advise(first).recommendations


def test_an_interrupted_measurement_carries_its_stages():
    def interrupt(description, done, total):
        if "10 steps: Ritz" in description:
            raise KeyboardInterrupt

    with pytest.raises(MeasurementInterrupted) as caught:
        measure_run(small_tasks.classifier(), optimizer="adamw", batch_size=32, plan=QUICK, progress=interrupt)
    run = read_run(caught.value.run)
    assert [stage.step for stage in run.stages] == [0]
    assert not run.is_complete
    assert advise(run).verdict is Verdict.WITHHELD


def test_stages_are_delivered_as_they_are_measured():
    seen = []
    measure_run(
        small_tasks.classifier(),
        optimizer="sgd",
        batch_size=32,
        plan=QUICK,
        on_stage=lambda run: seen.append(len(run["stages"]["stage"])),
    )
    assert seen == [1, 2]


def test_probe_steps_that_diverge_start_again_more_gently():
    plan = MeasurementPlan(probe_steps=(0, 10), probe_learning_rate=1e4, candidate_steps=0)
    run = read_run(measure_run(small_tasks.least_squares(), optimizer="sgd", batch_size=32, plan=plan))
    assert "raised the loss" in run.attributes["remarks"]
    assert run.attributes["probe_learning_rate"] < 1e4
    assert all(later.loss < earlier.loss for earlier, later in itertools.pairwise(run.stages))


def test_a_trained_model_is_measured_where_it_is():
    task = small_tasks.classifier()
    task.pretrained = True
    plan = MeasurementPlan(probe_steps=(0,), candidate_steps=0)
    advice = advise(measure_run(task, optimizer="adamw", batch_size=32, plan=plan))
    assert "measured after real steps" not in " ".join(c.claim for c in advice.learning_rate.checks if not c.passed)


def test_wrong_calls_are_refused_before_anything_is_measured():
    with pytest.raises(ArgumentError, match="256 samples"):
        measure_run(small_tasks.classifier(), batch_size=257)
    with pytest.raises(TaskError, match="mean"):
        measure_run(small_tasks.sum_loss())
    with pytest.raises(NonFiniteError, match="NaN"):
        measure_run(small_tasks.nan_loss())
    for arguments in ({"probe_steps": (10, 5)}, {"num_steps": 0}, {"matrix": "fisher"}, {"probe_learning_rate": -1.0}):
        with pytest.raises(ArgumentError):
            MeasurementPlan(**arguments)
