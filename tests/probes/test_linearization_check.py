"""SGD beside its prediction: the steps are torch's and independent, and what is said of them follows from numbers."""

import dataclasses

import numpy as np
import pytest
import torch

from probes import Task
from probes.linearization_check import check_linearization
from probes.linearized import linearize
from spectra.dynamics import from_data, sgd_curve
from spectra.errors import ArgumentError, NonDeterministicError, TaskError
from tests.probes.small_tasks import classifier, with_batchnorm, with_dropout
from tests.probes.test_linearized import exact, regression

SETTINGS = {"learning_rate": 0.02, "batch_size": 4, "num_steps": 30}


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_full_batches_of_a_linear_network_follow_the_prediction_exactly(outputs, momentum):
    task = regression(outputs)[0]
    settings = {"learning_rate": 0.05, "batch_size": 40, "num_steps": 60, "num_runs": 2, "momentum": momentum}
    found = check_linearization(task, exact(task), nesterov=momentum > 0, **settings)
    np.testing.assert_allclose(found.loss, found.predicted_loss, rtol=1e-9)
    np.testing.assert_allclose(found.loss, found.noise_free_loss, rtol=1e-9)
    assert found.attrs["trusted_steps"] == 60
    assert found.attrs["is_trusted_throughout"] == 1
    assert found.attrs["closer"] == "same"


def test_the_mean_loss_of_the_runs_is_the_exact_one():
    """The closure "exact" is exact for independent batches drawn without replacement: z below 3 at 4 records."""
    task, A, B, start = regression(1, num_samples=12, dimension=3)
    problem = from_data(A, B[:, 0], start[:, 0]).scaled(2.0)
    settings = {"closure": "exact", "learning_rate": 0.1, "batch_size": 9, "num_steps": 24, "record": [0, 1, 3, 8, 24]}
    found = check_linearization(task, problem, num_runs=48, rng=1, **settings)
    z = ((found.loss - found.predicted_loss) / found.stderr).values[1:]
    assert abs(float(found.deviation[0])) < 1e-12
    assert np.all(np.abs(z) < 3)
    # The runs tell batches from none, and drawing without from drawing with replacement: c is 1/33 here, not 1/9.
    replaced = sgd_curve(problem, sampling="with_replacement", **settings)
    assert float((found.loss - found.noise_free_loss)[-1] / found.stderr[-1]) > 4
    assert float((found.loss - replaced.loss)[-1] / found.stderr[-1]) < -4
    assert found.attrs["closer"] == "predicted_loss"
    assert "supports the noise model too" in found.attrs["reason"]


def test_outputs_of_a_sample_are_drawn_together():
    """Every output of a linear network is a problem of its own with 1/C of the learning rate; z as above."""
    task, A, B, start = regression(3, num_samples=12, dimension=3)
    settings = {"learning_rate": 0.3, "batch_size": 3, "num_steps": 24, "record": [0, 3, 24]}
    found = check_linearization(task, exact(task), num_runs=48, tolerance=0.5, **settings)
    alone = [
        sgd_curve(from_data(A, B[:, c], start[:, c]).scaled(2 / 3), closure="exact", **settings).loss for c in range(3)
    ]
    z = ((found.loss - sum(alone)) / found.stderr).values[1:]
    assert np.all(np.abs(z) < 3)
    assert float((found.loss - found.noise_free_loss)[-1] / found.stderr[-1]) > 4


def test_steps_are_those_of_torch():
    task = classifier()
    found = check_linearization(task, linearize(task), num_runs=2, rng=3, momentum=0.5, nesterov=True, **SETTINGS)
    for run in range(2):
        random, model = np.random.default_rng([3, run]), classifier().model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.5, nesterov=True)
        inputs, labels = task.data[0]
        for _ in range(30):
            rows = random.choice(256, 4, replace=False)
            optimizer.zero_grad()
            task.loss(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
        assert float(found.run_loss[run, -1]) == pytest.approx(task.loss(model(inputs), labels).item(), rel=1e-12)
    np.testing.assert_allclose(found.loss, found.run_loss.mean("run"))
    np.testing.assert_allclose(found.stderr, found.run_loss.std("run", ddof=1) / 2**0.5)
    np.testing.assert_allclose(found.deviation, found.predicted_loss / found.loss - 1, atol=1e-12)
    np.testing.assert_allclose(found.epoch, found.step * 4 / 256)
    assert found.attrs["momentum"] == 0.5
    assert found.attrs["nesterov"] == 1


def test_only_the_parameters_of_the_task_are_trained():
    task = classifier()
    task.parameters = "2"
    whole = linearize(task)
    inputs, labels = task.data[0]
    head = Task(task.model[2], task.loss, [(task.model[:2](inputs).detach(), labels)])
    ours = check_linearization(task, whole, num_runs=2, **SETTINGS)
    theirs = check_linearization(head, linearize(head), num_runs=2, **SETTINGS)
    np.testing.assert_allclose(ours.run_loss, theirs.run_loss, rtol=1e-12)


def test_how_the_data_are_cut_does_not_matter():
    task = classifier()
    inputs, labels = task.data[0]
    cut = Task(task.model, task.loss, [(inputs[:50], labels[:50]), (inputs[50:], labels[50:])])
    problem = linearize(task)
    found = [check_linearization(each, problem, num_runs=2, **SETTINGS).run_loss for each in (task, cut)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_a_network_beyond_its_linearization_is_found_out():
    """At its initialization a network of 8 hidden units leaves the linear regime; close to it, it has not yet."""
    task = classifier()
    problem = linearize(task)
    found = check_linearization(task, problem, learning_rate=0.5, batch_size=32, num_steps=400)
    assert 0 < found.attrs["trusted_steps"] < 400
    assert found.attrs["is_trusted_throughout"] == 0
    within = found.sel(step=slice(0, found.attrs["trusted_steps"]))
    assert np.all(abs(within.predicted_loss - within.loss) <= 0.1 * within.loss + 2 * within.stderr)
    assert f"up to step {found.attrs['trusted_steps']}" in found.attrs["reason"]
    assert found.sizes["step"] <= 21


def test_divergence_is_infinite_from_there_on():
    task = regression(1)[0]
    found = check_linearization(task, linearize(task), learning_rate=1e3, batch_size=2, num_steps=200, num_runs=2)
    assert np.isinf(found.loss[-1])
    assert np.isfinite(found.loss[0])
    assert not np.any(np.isnan(found.deviation))


def test_nothing_of_the_task_is_touched():
    task = classifier()
    task.model.train()
    problem = linearize(task)
    marker = torch.ones_like(task.model[0].weight)
    task.model[0].weight.grad = marker
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    states = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002
    with torch.inference_mode():
        check_linearization(task, problem, num_runs=2, **SETTINGS)
    assert all(module.training for module in task.model.modules())
    assert task.model[0].weight.grad is marker
    assert task.model[2].weight.grad is None
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1][1])  # noqa: NPY002
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())


def test_running_statistics_stay_fixed_in_evaluation_mode():
    task = with_batchnorm()
    task.model.eval()
    found = check_linearization(task, linearize(task), num_runs=2, **SETTINGS)
    assert np.all(np.isfinite(found.loss))


def test_the_result_can_be_kept(tmp_path):
    task, seen = classifier(), []
    found = check_linearization(
        task, linearize(task), num_runs=2, progress=lambda *step: seen.append(step), record=[7, 30, 7], **SETTINGS
    )
    found.to_netcdf(tmp_path / "found.nc", engine="h5netcdf")
    assert found.step.values.tolist() == [7, 30]
    assert seen == [("training", done, 60) for done in (7, 30, 37, 60)]
    assert found.attrs["schema"] == "spectra/linearization"


def test_problems_of_other_states_are_refused():
    task = classifier()
    problem = linearize(task)
    with pytest.raises(ArgumentError, match="Linearize the task as it is now"):
        check_linearization(task, problem.scaled(2.0), **SETTINGS)
    with pytest.raises(ArgumentError, match="has 255 samples"):
        check_linearization(task, dataclasses.replace(problem, num_samples=255), **SETTINGS)
    with torch.no_grad():
        task.model[0].weight.mul_(1.5)
    with pytest.raises(ArgumentError, match="other parameters"):
        check_linearization(task, problem, **SETTINGS)


@pytest.mark.parametrize(
    "options",
    [
        {"num_runs": 1},
        {"num_runs": 2.5},
        {"tolerance": 0.0},
        {"tolerance": float("nan")},
        {"learning_rate": float("nan")},
        {"learning_rate": -0.1},
        {"learning_rate": [0.1, 0.2]},
        {"batch_size": 257},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"num_steps": 0},
        {"record": [31]},
        {"record": []},
        {"momentum": 1.0},
        {"nesterov": True},
        {"closure": "row_resolved"},
        {"closure": "no"},
    ],
)
def test_wrong_settings(options):
    task = classifier()
    with pytest.raises(ArgumentError):
        check_linearization(task, linearize(task, check=False, num_probes=1), **{**SETTINGS, **options})


def test_models_that_draw_or_couple_are_refused():
    problem = linearize(classifier())
    for build, error in ((with_dropout, NonDeterministicError), (with_batchnorm, TaskError)):
        task = build()
        task.model.train()
        with pytest.raises(error, match="eval"):
            check_linearization(task, problem, **SETTINGS)
