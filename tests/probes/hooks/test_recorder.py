"""The promises of the recorder: it changes nothing, raises nothing, keeps to its budget, and records the truth."""

import errno
import json
import random
import warnings

import numpy as np
import pytest
import torch

from probes import HessianOperator, Task
from probes.hooks import LogSpaced, Recorder
from probes.hooks.measurement import Probe
from probes.hooks.workbench import Workbench
from spectra.errors import ArgumentError, TaskError
from spectra.recording import MEASURED, read_recording
from tests.probes import small_tasks
from tests.probes.hooks.loops import OPTIMIZERS, Clock, heard, noisy_task, recorder, train


def states(task, optimizer):
    """Everything that training may depend on, as plain values."""
    model = task.model
    return {
        "weights": [p.detach().clone() for p in model.parameters()],
        "buffers": [b.clone() for b in model.buffers()],
        "gradients": [p.grad.clone() for p in model.parameters()],
        "moments": [
            value.clone() for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)
        ],
        "random": [torch.get_rng_state()],
        "numpy": [torch.tensor(np.random.get_state()[1].astype(np.int64))],  # noqa: NPY002
        "python": [torch.tensor(random.getstate()[1])],
    }


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_training_is_bit_identical_with_and_without_it(kind, tmp_path):
    found = []
    for recorded in (False, True):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
        task = noisy_task()
        optimizer = OPTIMIZERS[kind](task.model.parameters())
        if recorded:
            with recorder(task, tmp_path / "run.zarr", optimizer, every=3, check=True) as hook:
                losses = train(task, optimizer, num_steps=20, after=hook.step)
            assert hook.num_measured == 7
            assert not hook.failures
        else:
            losses = train(task, optimizer, num_steps=20)
        found.append((losses, states(task, optimizer)))
    assert found[0][0] == found[1][0]
    for name, tensors in found[0][1].items():
        assert len(tensors) == len(found[1][1][name]), name
        assert all(torch.equal(a, b) for a, b in zip(tensors, found[1][1][name], strict=True)), name


def test_modes_flags_and_hooks_are_left_as_found(tmp_path):
    task = noisy_task()
    model = task.model
    model.train()
    model.layers[1].eval()
    model.layers[0].bias.requires_grad_(False)
    model.layers[0].register_forward_hook(lambda *_: None)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)

    def described():
        return (
            [module.training for module in model.modules()],
            [p.requires_grad for p in model.parameters()],
            [p.grad for p in model.parameters()],
            [id(b) for b in model.buffers()],
            [dict(module._forward_hooks) for module in model.modules()],
            [p._backward_hooks for p in model.parameters()],
            dict(optimizer._optimizer_step_post_hooks),
        )

    before = described()
    with recorder(task, tmp_path / "run.zarr", optimizer) as hook:
        hook.measure()
        hook.attach(optimizer)
    assert described() == before
    assert not hook.failures


def test_attached_it_counts_the_steps_of_the_optimizer(tmp_path):
    task = noisy_task()
    optimizer = OPTIMIZERS["adamw"](task.model.parameters())
    hook = recorder(task, tmp_path / "run.zarr", None, every=LogSpaced(per_decade=2)).attach(optimizer)
    train(task, optimizer, num_steps=10)
    hook.close()
    train(task, optimizer, num_steps=3)
    assert hook.step_count == 10
    assert read_recording(tmp_path / "run.zarr")["step"].values.tolist() == [1, 3, 10]


def test_what_is_recorded_of_least_squares(tmp_path):
    """The Hessian is 2 X'X / N at every state, so that every number can be computed independently."""
    task = small_tasks.least_squares()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01, momentum=0.9)
    options = {"every": 5, "reference_size": 256, "tolerance": 1e-9, "max_products": 12, "samples_in_memory": 100}
    with recorder(task, tmp_path / "run.zarr", optimizer, **options) as hook:
        train(task, optimizer, num_steps=11, after=hook.step)
    found = read_recording(tmp_path / "run.zarr")
    inputs, target = task.data[0]
    hessian = (2 * inputs.T @ inputs / len(inputs)).numpy()
    values, vectors = np.linalg.eigh(hessian)
    np.testing.assert_allclose(found["sharpness"], values[-1], rtol=1e-10)
    assert np.all(found["sharpness_residual"] <= 1e-9 * values[-1])
    # s2 from the exact per-sample matrices: the estimate from 8 micro-batches is unbiased with a known error.
    per_sample = 2 * inputs.numpy()[:, :, None] * inputs.numpy()[:, None, :]
    s2 = np.sum(np.var(per_sample @ vectors[:, -1], axis=0, ddof=1))
    deviation = (found["curvature_noise"] - s2) / found["curvature_noise_stderr"]
    assert np.all(np.abs(deviation) < 3.5)
    limit = 2 * 1.9 / (values[-1] + 19 * found["curvature_noise"] / (32 * values[-1]))
    np.testing.assert_allclose(found["max_stable_learning_rate"], limit, rtol=1e-9)
    np.testing.assert_allclose(found["learning_rate_margin"], limit / 0.01, rtol=1e-9)
    assert found["preconditioned_sharpness_status"].values.tolist() == [0, 0, 0]
    assert found["step"].values.tolist() == [1, 5, 10]
    residual = task.model(inputs).detach() - target
    assert found["reference_loss"][-1] >= float(residual.square().mean())
    assert json.loads(found.attrs["failures"]) == []


def test_preconditioned_sharpness_is_that_of_the_preconditioned_matrix(tmp_path):
    task = small_tasks.classifier()
    optimizer = torch.optim.Adam(task.model.parameters(), lr=1e-3, betas=(0.9, 0.9))
    train(task, optimizer, num_steps=150)  # second moments are taken as they are from step 100 on
    options = {"reference_size": 256, "tolerance": 1e-8, "max_products": 80, "samples_in_memory": 256}
    with recorder(task, tmp_path / "run.zarr", optimizer, **options) as hook:
        hook.measure()
    found = read_recording(tmp_path / "run.zarr")
    n = sum(p.numel() for p in task.model.parameters())
    dense = (HessianOperator(task.model, task.loss, task.data, check=False) @ torch.eye(n, dtype=torch.float64)).numpy()
    parts = [
        (optimizer.state[p]["exp_avg_sq"] / (1 - 0.9**150)).sqrt().flatten() + 1e-8 for p in task.model.parameters()
    ]
    scale = torch.cat(parts).rsqrt().numpy()
    expected = np.linalg.eigvalsh(scale[:, None] * dense * scale)[-1]
    np.testing.assert_allclose(found["preconditioned_sharpness"], expected, rtol=1e-6)
    np.testing.assert_allclose(found["sharpness"], np.linalg.eigvalsh(dense)[-1], rtol=1e-6)
    assert found["step"].values.tolist() == [0]


def test_noise_scale_is_that_of_the_samples(tmp_path):
    """With one sample in each micro-batch the estimates are the plain moments of per-sample gradients."""
    task = small_tasks.least_squares()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
    with recorder(task, tmp_path / "run.zarr", optimizer, reference_size=256, num_micro_batches=256) as hook:
        hook.measure()
    found = read_recording(tmp_path / "run.zarr").isel(step=0)
    inputs, target = (t.numpy() for t in task.data[0])
    gradients = 2 * inputs * (inputs @ task.model.weight.detach().numpy().T - target)
    trace = np.sum(np.var(gradients, axis=0, ddof=1))
    squared = np.sum(np.mean(gradients, axis=0) ** 2) - trace / 256
    assert float(found["trace_covariance"]) == pytest.approx(trace, rel=1e-10)
    assert float(found["squared_gradient"]) == pytest.approx(squared, rel=1e-10)
    assert float(found["noise_scale"]) == pytest.approx(trace / squared, rel=1e-10)


def test_gradient_norms_losses_and_rates_of_every_step(tmp_path):
    task = noisy_task()
    optimizer = OPTIMIZERS["adamw"](task.model.parameters())
    expected = []

    def after(loss):
        flat = torch.cat([p.grad.flatten() for p in task.model.parameters()])
        expected.append(
            (float(loss.detach()), float(flat.norm()), float(flat.abs().sum()), optimizer.param_groups[0]["lr"])
        )
        hook.step(loss)
        optimizer.param_groups[0]["lr"] *= 0.9

    with recorder(task, tmp_path / "run.zarr", optimizer, quantities="sharpness", clock=Clock()) as hook:
        train(task, optimizer, num_steps=7, after=after)
    found = read_recording(tmp_path / "run.zarr")
    names = ("step_loss", "gradient_norm", "gradient_l1_norm", "step_learning_rate")
    assert found["training_step"].values.tolist() == list(range(1, 8))
    np.testing.assert_allclose(np.transpose([found[name] for name in names]), expected, rtol=1e-5)


def test_the_budget_thins_measurements_and_the_overhead_is_reported(tmp_path, monkeypatch):
    """A clock that moves by 8 s for a training step and 2 s for a measurement: every count is exact."""
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    clock = Clock()
    hook = Recorder(
        task,
        tmp_path / "run.zarr",
        batch_size=32,
        optimizer=optimizer,
        every=1,
        overhead=1 / 16,
        check=False,
        clock=clock,
    )
    measure = Probe.measure

    def slowly(probe, **options):
        clock.now += 2.0
        return measure(probe, **options)

    monkeypatch.setattr(Probe, "measure", slowly)

    def after(loss):
        clock.now += 8.0
        hook.step(loss)

    train(task, optimizer, num_steps=101, after=after)
    hook.close()
    # 2 s each, half a second allowed for a step of 8 s: one in four, the first at once.
    assert hook.overhead <= 1 / 16
    found = read_recording(tmp_path / "run.zarr")
    assert found.attrs["overhead"] == pytest.approx(hook.overhead)
    assert found.attrs["num_postponed"] == hook.num_postponed > 0
    assert found["step"].values.tolist() == [1, 5, *range(13, 102, 4)]
    assert found["cost_seconds"].values == pytest.approx(2.0)


def test_a_nan_loss_is_recorded_as_failed_with_one_warning(tmp_path):
    task = noisy_task()
    optimizer = OPTIMIZERS["adamw"](task.model.parameters())
    with heard() as messages, recorder(task, tmp_path / "run.zarr", optimizer) as hook:
        train(task, optimizer, num_steps=2, after=hook.step)
        with torch.no_grad():
            task.model.layers[0].weight.fill_(float("nan"))
        hook.measure()
        hook.measure()
    assert sum("sharpness could not be recorded" in message for message in messages) == 2  # plain and preconditioned
    assert sum("noise_scale could not be recorded at step 2" in message for message in messages) == 1
    found = read_recording(tmp_path / "run.zarr")
    for name in MEASURED:
        assert found[f"{name}_status"].values.tolist() == [1, 2, 2], name
    assert np.isnan(found["sharpness"].values).tolist() == [False, True, True]
    reasons = json.loads(found.attrs["failures"])
    expected = ("nan", "top direction", "could not be formed")  # the loss, and what depends on it
    assert all(any(word in entry["reason"].lower() for word in expected) for entry in reasons)


class Slope(torch.autograd.Function):
    """The derivative of the square, without one of its own."""

    @staticmethod
    def forward(ctx, x, gradient):
        return 2 * x * gradient

    @staticmethod
    def backward(ctx, gradient):
        raise NotImplementedError("the second derivative of this layer is not implemented")


class Once(torch.autograd.Function):
    """A square that can be differentiated once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return Slope.apply(x, gradient)


class Squares(torch.nn.Module):
    def forward(self, x):
        return Once.apply(x)


def test_without_a_second_derivative_the_noise_scale_is_still_recorded(tmp_path):
    task = small_tasks.classifier()
    model = torch.nn.Sequential(torch.nn.Linear(6, 4), Squares(), torch.nn.Linear(4, 3)).double()
    task = Task(model, task.loss, task.data)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with heard() as messages, recorder(task, tmp_path / "run.zarr", optimizer) as hook:
        train(task, optimizer, num_steps=1, after=hook.step)
    assert any("sharpness could not be recorded at step 1" in message for message in messages)
    found = read_recording(tmp_path / "run.zarr").isel(step=0)
    assert [int(found[f"{name}_status"]) for name in MEASURED] == [2, 0, 1, 2]
    assert np.isfinite(found["noise_scale"])


def test_a_silently_wrong_second_derivative_is_found_by_the_check(tmp_path):
    task = small_tasks.once_differentiable()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
    with heard() as messages, recorder(task, tmp_path / "run.zarr", optimizer, check=True) as hook:
        train(task, optimizer, num_steps=1, after=hook.step)
    assert any("DerivativeError" in message for message in messages)
    assert read_recording(tmp_path / "run.zarr")["sharpness_status"].values.tolist() == [2]


def test_a_model_that_fails_the_check_is_not_checked_at_every_step(tmp_path, monkeypatch):
    """A check that fails is tried again only when the budget allows it."""
    task, clock = small_tasks.once_differentiable(), Clock()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
    hook = Recorder(
        task, tmp_path / "run.zarr", batch_size=32, optimizer=optimizer, every=1, overhead=0.25, clock=clock
    )
    check = Workbench.check

    def slow(bench, **options):
        clock.now += 8.0
        return check(bench, **options)

    def after(loss):
        clock.now += 1.0
        hook.step(loss)

    monkeypatch.setattr(Workbench, "check", slow)
    with heard() as messages:
        train(task, optimizer, num_steps=100, after=after)
        hook.close()
    found = read_recording(tmp_path / "run.zarr")
    # 8 s each, and a quarter of a second allowed for each second of training.
    assert found["step"].values.tolist() == [1, 33, 97]
    assert sum("DerivativeError" in message for message in messages) == 1
    assert found["sharpness_status"].values.tolist() == [2, 2, 2]


def test_a_few_samples_are_said_to_be_too_few(tmp_path):
    inputs, target = small_tasks.data()
    task = Task(small_tasks.network(), torch.nn.CrossEntropyLoss(), [(inputs[:5], target[:5])])
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
    with heard() as messages, recorder(task, tmp_path / "run.zarr", optimizer) as hook:
        hook.measure()
    assert any("too few for 8 micro-batches" in message for message in messages)
    with recorder(task, tmp_path / "other.zarr", optimizer, num_micro_batches=4) as hook:
        hook.measure()
    found = read_recording(tmp_path / "other.zarr")
    assert found.attrs["reference_size"] == 4
    assert np.isfinite(found["sharpness"]).all()


def test_a_full_disk_neither_raises_nor_loses_rows(tmp_path, monkeypatch):
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    clock = Clock()
    hook = recorder(task, tmp_path / "run.zarr", optimizer, every=1, clock=clock)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def after(loss):
        clock.now += 5.0
        hook.step(loss)

    with monkeypatch.context() as patched:
        patched.setattr(hook._journal.store, "append", full)
        with pytest.warns(UserWarning, match="No space left"):
            train(task, optimizer, num_steps=3, after=after)
    assert read_recording(tmp_path / "run.zarr").sizes["step"] == 0
    train(task, optimizer, num_steps=1, after=after)
    hook.close()
    found = read_recording(tmp_path / "run.zarr")
    assert found["step"].values.tolist() == [1, 2, 3, 4]
    assert found["training_step"].values.tolist() == [1, 2, 3, 4]


def test_nothing_is_raised_where_warnings_are_errors(tmp_path):
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hook = recorder(task, tmp_path / "run.zarr", optimizer)
        with torch.no_grad():
            task.model.layers[0].weight.fill_(float("inf"))
        hook.measure()
        hook.close()
        hook.step()
        hook.measure()
    assert {entry["quantity"] for entry in hook.failures} >= {"sharpness", "noise_scale"}


def test_a_broken_sink_does_not_stop_anything(tmp_path):
    class Broken:
        def log_scalars(self, step, scalars):
            raise ConnectionError("no network")

        def close(self):
            raise ConnectionError("no network")

    class Kept:
        def __init__(self):
            self.seen, self.is_closed = {}, False

        def log_scalars(self, step, scalars):
            self.seen[step] = dict(scalars)

        def close(self):
            self.is_closed = True

    task, kept = noisy_task(), Kept()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    with heard() as messages, recorder(task, tmp_path / "run.zarr", optimizer, every=2, sinks=[Broken(), kept]) as hook:
        train(task, optimizer, num_steps=4, after=hook.step)
    assert any("no network" in message for message in messages)
    assert list(kept.seen) == [1, 2, 4]
    assert kept.is_closed
    assert {"sharpness", "noise_scale", "max_stable_learning_rate"} <= set(kept.seen[1])
    assert all(np.isfinite(value) for row in kept.seen.values() for value in row.values())


def test_resumed_training_goes_on_in_the_same_recording(tmp_path):
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    with recorder(task, tmp_path / "run.zarr", optimizer, every=4) as hook:
        train(task, optimizer, num_steps=5, after=hook.step)
    with pytest.raises(ArgumentError, match="if_exists='append'"):
        recorder(task, tmp_path / "run.zarr", optimizer)
    with recorder(task, tmp_path / "run.zarr", optimizer, every=4, if_exists="append") as hook:
        train(task, optimizer, num_steps=5, after=hook.step)
    found = read_recording(tmp_path / "run.zarr")
    assert found["step"].values.tolist() == [1, 4, 8]
    assert found["training_step"].values.tolist() == list(range(1, 11))


def test_an_optimizer_without_a_limit_still_has_curvature(tmp_path):
    task = noisy_task()
    optimizer = torch.optim.Adagrad(task.model.parameters(), lr=0.01)
    with heard() as messages, recorder(task, tmp_path / "run.zarr", optimizer) as hook:
        train(task, optimizer, num_steps=1, after=hook.step)
    assert any("no largest stable learning rate" in message for message in messages)
    found = read_recording(tmp_path / "run.zarr")
    assert np.isfinite(found["sharpness"]).all()
    assert np.isnan(found["max_stable_learning_rate"]).all()


def test_groups_with_other_rates_share_one_limit(tmp_path):
    """With rates in the ratio r the steps are those of one rate on the matrix scaled by sqrt(r) on both sides."""
    task = small_tasks.classifier()
    first, second = task.model[0], task.model[2]
    groups = [{"params": first.parameters()}, {"params": second.parameters(), "lr": 0.4}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    options = {"reference_size": 256, "tolerance": 1e-8, "max_products": 80, "samples_in_memory": 256}
    with recorder(task, tmp_path / "run.zarr", optimizer, **options) as hook:
        hook.measure()
    n = sum(p.numel() for p in task.model.parameters())
    dense = (HessianOperator(task.model, task.loss, task.data, check=False) @ torch.eye(n, dtype=torch.float64)).numpy()
    ratios = np.concatenate([np.ones(6 * 8 + 8), np.full(8 * 3 + 3, 4.0)])
    expected = np.linalg.eigvalsh(np.sqrt(ratios)[:, None] * dense * np.sqrt(ratios))[-1]
    found = read_recording(tmp_path / "run.zarr")
    np.testing.assert_allclose(found["preconditioned_sharpness"], expected, rtol=1e-6)


def test_wrong_calls_are_refused_before_training(tmp_path):
    task = noisy_task()
    with pytest.raises(ArgumentError, match=r"named \*\.zarr"):
        recorder(task, tmp_path / "run.nc", None)
    with pytest.raises(ArgumentError, match="overhead must be a positive share"):
        recorder(task, tmp_path / "run.zarr", None, overhead=0.0)
    with pytest.raises(ArgumentError, match="quantities must be some of sharpness"):
        recorder(task, tmp_path / "run.zarr", None, quantities=["sharpnes"])
    with pytest.raises(ArgumentError, match="whole number of steps"):
        recorder(task, tmp_path / "run.zarr", None, every="often")
    with pytest.raises(TaskError, match="reduction='sum'"):
        recorder(small_tasks.sum_loss(), tmp_path / "run.zarr", None)
    with pytest.raises(TaskError, match="must be an instance of torch"):
        recorder(task, tmp_path / "run.zarr", object())
