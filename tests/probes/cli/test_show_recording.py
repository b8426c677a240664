"""``spectra show`` of a recording."""

import json

import pytest
from typer.testing import CliRunner

from probes.cli.main import app
from tests.cases import optional
from tests.probes.hooks.loops import OPTIMIZERS, noisy_task, recorder, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "run.zarr"
    task = noisy_task()
    optimizer = OPTIMIZERS["adamw"](task.model.parameters())
    with recorder(task, path, optimizer, every=5) as hook:
        train(task, optimizer, num_steps=20, after=hook.step)
    return path


def test_text(run):
    result = CliRunner().invoke(app, ["show", str(run)])
    assert result.exit_code == 0, result.output
    assert "RECORDING of noisy, closed" in result.output
    assert "preconditioned sharpness" in result.output


def test_json(run):
    result = CliRunner().invoke(app, ["show", str(run), "--json"])
    found = json.loads(result.output)
    assert (found["schema"], found["schema_version"]) == ("spectra/recording", 1)
    assert found["steps"]["num_measured"] == 5


def test_plot(run, tmp_path):
    optional("matplotlib")
    result = CliRunner().invoke(app, ["show", str(run), "--plot", str(tmp_path / "run.png")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run.png").stat().st_size > 10_000
