"""Training that reaches further than the model is left alone as well: loss modules, frozen parameters, hooks."""

import copy

import pytest
import torch
from torch import nn

from probes import Task
from probes.hooks.protection import written_parameter
from spectra.recording import MEASURED, read_recording
from tests.probes import small_tasks
from tests.probes.hooks.loops import heard, recorder


class Centered(nn.Module):
    """A loss with a running mean and dropout of its own."""

    def __init__(self):
        super().__init__()
        self.register_buffer("center", torch.zeros(3, dtype=torch.float64))
        self.drop = nn.Dropout(0.5)

    def forward(self, output, target):
        loss = nn.functional.cross_entropy(self.drop(output - self.center), target)
        if self.training:
            self.center.mul_(0.9).add_(output.detach().mean(0), alpha=0.1)
        return loss


def critic():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 8))
        return nn.Sequential(first, nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1)).double()


def judged(module):
    return lambda output, target: nn.functional.softplus(-module(output)).mean()


CASES = {"module": lambda: (loss := Centered(), loss), "closure": lambda: (judged(judge := critic()), judge)}


@pytest.mark.parametrize("name", CASES)
def test_modules_behind_the_loss_are_left_as_found(name, tmp_path):
    found = []
    for recorded in (False, True):
        torch.manual_seed(0)
        loss, module = CASES[name]()
        task = Task(small_tasks.network(), loss, [small_tasks.data()])
        inputs, target = task.data[0]
        own = [*task.model.parameters(), *module.parameters()]
        optimizer = torch.optim.SGD(own, lr=0.1)
        hook = recorder(task, tmp_path / "run.zarr", optimizer, every=1, check=True) if recorded else None
        for _ in range(4):
            optimizer.zero_grad()
            value = loss(task.model(inputs), target)
            value.backward()
            optimizer.step()
            if hook is not None:
                hook.step(value)
        if hook is not None:
            assert not hook.failures
            hook.close()
        assert all(m.training for m in module.modules())
        found.append([t.detach().clone() for t in (*own, *module.buffers())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_scripted_module_behind_the_loss_is_refused(tmp_path):
    judge = torch.jit.trace(critic().eval(), torch.zeros(2, 3, dtype=torch.float64)).train()
    before = [t.clone() for t in judge.buffers()]
    task = Task(small_tasks.network(), judged(judge), [small_tasks.data()])
    with heard() as messages, recorder(task, tmp_path / "run.zarr", None) as hook:
        hook.measure()
    assert any("is a TorchScript module" in message for message in messages)
    assert all(torch.equal(a, b) for a, b in zip(before, judge.buffers(), strict=True))
    assert judge.training


class Averaged(nn.Module):
    """Moves a frozen average of its weights in the forward pass, as momentum contrast does."""

    def __init__(self, update):
        super().__init__()
        self.query, self.update = small_tasks.network(), update
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        with torch.no_grad():
            self.key[0].weight.add_(1.0)

    def forward(self, x):
        with torch.no_grad():
            for mine, other in zip(self.key.parameters(), self.query.parameters(), strict=True):
                self.update(mine, other)
        return self.query(x) - self.key(x)


def exchanged(mine, other):
    mine.data = 0.9 * mine.data + 0.1 * other.data


UPDATES = {
    "in place": lambda mine, other: mine.lerp_(other, 0.1),
    "past the version counter": lambda mine, other: mine.data.mul_(0.9).add_(other.data, alpha=0.1),
    "several at once": lambda mine, other: torch._foreach_mul_([mine], 0.9),
    "out=": lambda mine, other: torch.add(mine, 1.0, out=mine),
    "exchanged": exchanged,
}


@pytest.mark.parametrize("name", UPDATES)
def test_a_forward_pass_that_moves_parameters_is_not_measured(name, tmp_path):
    model = Averaged(UPDATES[name])
    task = Task(model, nn.CrossEntropyLoss(), [small_tasks.data()])
    optimizer = torch.optim.SGD(model.query.parameters(), lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]
    with heard() as messages, recorder(task, tmp_path / "run.zarr", optimizer, check=True) as hook:
        hook.measure()
        hook.measure()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert any("writes to the parameter 'key.0.weight'" in message for message in messages)
    found = read_recording(tmp_path / "run.zarr")
    assert [found[f"{name}_status"].values.tolist() for name in MEASURED] == [[2, 2], [0, 0], [2, 2], [2, 2]]


def test_a_write_behind_a_failing_pass_is_undone():
    layer = nn.Linear(2, 1)
    before = layer.weight.detach().clone()

    def run():
        layer.weight.data = torch.zeros(1, 2)
        raise ValueError

    assert written_parameter([layer], run) == "weight"
    assert torch.equal(layer.weight, before)


def test_hooks_on_gradients_neither_count_nor_see_a_measurement(tmp_path):
    found, seen = [], []
    for factor in (1.0, 0.5):
        task = small_tasks.classifier()
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        for p in task.model.parameters():
            p.register_hook(lambda g, factor=factor: (seen.append(1), factor * g)[1])
        path = tmp_path / f"{factor}.zarr"
        with recorder(task, path, optimizer, check=True) as hook:
            hook.measure()
        assert not hook.failures
        found.append(read_recording(path).isel(step=0))
        assert not seen
        task.loss(task.model(task.data[0][0]), task.data[0][1]).backward()
        assert len(seen) == 4
        seen.clear()
    for name in ("sharpness", "squared_gradient", "curvature_noise"):
        assert float(found[0][name]) == float(found[1][name])
