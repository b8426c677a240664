"""Measuring and recommending for a model on a GPU."""

import dataclasses

import numpy as np
import pytest
import torch

import spectra
from probes import MeasurementPlan, Task, examples, measure_run, recommend
from spectra.recommend import Verdict, read_run
from tests.probes import small_tasks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

QUICK = MeasurementPlan(candidate_steps=10)


def on_device(task: Task) -> Task:
    return dataclasses.replace(task, model=task.model.cuda())


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
def test_a_run_in_float64_is_that_of_the_cpu(optimizer):
    """The data stay on the host; the same seeds draw the same samples, batches and start vectors on both."""
    host = measure_run(small_tasks.classifier(), optimizer=optimizer, batch_size=32, plan=QUICK)
    device = measure_run(on_device(small_tasks.classifier()), optimizer=optimizer, batch_size=32, plan=QUICK)
    assert device.attrs["device"].startswith("cuda")
    a, b = read_run(host), read_run(device)
    for expected, found in zip(a.stages, b.stages, strict=True):
        np.testing.assert_allclose(found.curvature, expected.curvature, rtol=1e-3)
        assert found.loss == pytest.approx(expected.loss, rel=1e-9)
    np.testing.assert_allclose(
        [c.learning_rate for c in b.candidates], [c.learning_rate for c in a.candidates], rtol=1e-2
    )


@pytest.mark.parametrize("task", ["digits_cnn", "digits_cnn_batchnorm", "digits_lstm", "char_transformer"])
def test_examples_get_a_recommendation_and_the_model_stays_as_it_was(task, tmp_path):
    found = on_device(getattr(examples, task)())
    before = {name: tensor.clone() for name, tensor in found.model.state_dict().items()}
    advice = recommend(found, optimizer="adamw", batch_size=32)
    assert advice.verdict is not Verdict.WITHHELD
    assert 1e-5 < advice.learning_rate.value < 0.5
    assert all(torch.equal(before[name], tensor) for name, tensor in found.model.state_dict().items())
    spectra.save(measure_run(found, optimizer=None, batch_size=32), tmp_path / "run.nc")
    assert read_run(spectra.load(tmp_path / "run.nc")).stages


def test_a_live_optimizer_with_state_on_the_device_is_read():
    task = on_device(small_tasks.classifier())
    optimizer = torch.optim.Adam(task.model.parameters(), lr=1e-3)
    inputs, labels = small_tasks.data()
    for _ in range(5):
        optimizer.zero_grad()
        task.loss(task.model(inputs.cuda()), labels.cuda()).backward()
        optimizer.step()
    advice = recommend(task, optimizer=optimizer, batch_size=32, plan=QUICK)
    assert advice.run.is_trained
    assert advice.learning_rate.value > 0
