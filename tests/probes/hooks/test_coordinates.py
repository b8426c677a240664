"""Measured are the parameters that training moves, also after these have changed."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from probes import HessianOperator
from probes.hooks.coordinates import trained_parameters
from probes.parameters import select
from spectra.errors import TaskError
from spectra.recording import read_recording
from tests.probes import small_tasks
from tests.probes.hooks.loops import heard, recorder

EXACT = {"reference_size": 256, "samples_in_memory": 256, "tolerance": 1e-8, "max_products": 120}


def largest(task, parameters=None):
    operator = HessianOperator(task.model, task.loss, task.data, parameters=parameters, check=False)
    dense = operator @ torch.eye(operator.shape[0], dtype=torch.float64)
    return float(torch.linalg.eigvalsh(dense)[-1])


def stepped(task, optimizer):
    optimizer.zero_grad()
    task.loss(task.model(task.data[0][0]), task.data[0][1]).backward()
    optimizer.step()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_unfrozen_and_frozen_again(kind, tmp_path):
    task = small_tasks.classifier()
    first, last = task.model[0], task.model[2]
    first.requires_grad_(False)
    optimizer = kind(last.parameters(), lr=0.05)
    expected = []
    with recorder(task, tmp_path / "run.zarr", optimizer, **EXACT) as hook:
        for change in (None, True, False):
            if change is not None:
                first.requires_grad_(change)
            if change:
                optimizer.add_param_group({"params": list(first.parameters()), "lr": 0.01})
            stepped(task, optimizer)
            hook.measure()
            expected.append(largest(task))
        assert not hook.failures
    found = read_recording(tmp_path / "run.zarr")
    np.testing.assert_allclose(found["sharpness"], expected, rtol=1e-6)
    # From the second on the groups have different rates.
    assert found["preconditioned_sharpness_status"].values.tolist()[1:] == [1, 1]


def test_values_that_were_assigned_are_followed(tmp_path):
    task = small_tasks.classifier()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    with recorder(task, tmp_path / "run.zarr", optimizer, **EXACT) as hook:
        hook.measure()
        state = copy.deepcopy(task.model.state_dict())
        task.model.load_state_dict({name: 2 * value for name, value in state.items()}, assign=True)
        hook.measure()
        task.model[2] = small_tasks.network()[2]
        hook.attach(torch.optim.SGD(task.model.parameters(), lr=0.1))
        hook.measure()
        expected = largest(task)
        task.model[2] = small_tasks.network()[2]
        with heard() as messages:
            hook.measure()
    assert any("attach() the present optimizer" in message for message in messages)
    found = read_recording(tmp_path / "run.zarr")
    assert found["sharpness_status"].values.tolist() == [1, 1, 1, 2]
    assert float(found["sharpness"][2]) == pytest.approx(expected, rel=1e-6)
    task.model.load_state_dict({name: 2 * value for name, value in state.items()})
    assert float(found["sharpness"][1]) == pytest.approx(largest(task), rel=1e-6)


def test_only_what_the_optimizer_moves(tmp_path):
    task = small_tasks.classifier()
    optimizer = torch.optim.SGD(task.model[2].parameters(), lr=0.1)
    with recorder(task, tmp_path / "run.zarr", optimizer, **EXACT) as hook:
        hook.measure()
    found = read_recording(tmp_path / "run.zarr")
    assert float(found["sharpness"][0]) == pytest.approx(largest(task, "2"), rel=1e-6)
    assert largest(task) > 1.1 * largest(task, "2")


def test_what_decides():
    model, other = small_tasks.network(), nn.Linear(2, 1)

    def names(spec, *parameters):
        return list(select(model, trained_parameters(model, spec, torch.optim.SGD(parameters))))

    head = list(model[2].parameters())
    assert names("0.weight", *head) == ["0.weight"]
    assert names(None, *head) == ["2.weight", "2.bias"]
    assert len(names(None, *other.parameters())) == 4  # copies in another precision, say
    assert len(names(None, *model.parameters(), *other.parameters())) == 4
    with pytest.raises(TaskError, match="holds 2 parameters that are not the model's"):
        names(None, *head, *other.parameters())
    assert trained_parameters(model, None, None) is None
