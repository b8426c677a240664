"""Scalars arrive in each tracker, as its own reader finds them."""

import json
import random
import sys
import time

import pytest

from probes.hooks import MLflowSink, TensorBoardSink, WandbSink
from spectra.errors import MissingExtraError
from tests.cases import optional

ROWS = {1: {"sharpness": 2.0, "noise_scale": 30.0}, 100: {"sharpness": 4.0}}


def fill(sink):
    for step, scalars in ROWS.items():
        sink.log_scalars(step, scalars)
    sink.close()


@pytest.mark.filterwarnings("ignore")  # of TensorBoard's own code
def test_tensorboard(tmp_path):
    optional("tensorboard")
    fill(TensorBoardSink(tmp_path))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in found.Scalars("curvature/sharpness")] == [(1, 2.0), (100, 4.0)]
    assert [(event.step, event.value) for event in found.Scalars("curvature/noise_scale")] == [(1, 30.0)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_in_a_local_file(tmp_path):
    mlflow = optional("mlflow")
    optional("sqlalchemy")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    state = random.getstate()
    MLflowSink(uri, experiment="curves").close()  # its name is drawn
    sink = MLflowSink(uri, experiment="curves", run_name="first")
    fill(sink)
    assert random.getstate() == state
    client = mlflow.tracking.MlflowClient(tracking_uri=uri, registry_uri=uri)
    history = client.get_metric_history(sink.run_id, "curvature/sharpness")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (100, 4.0)]
    assert client.get_run(sink.run_id).info.status == "FINISHED"
    again = MLflowSink(uri, run_id=sink.run_id)
    again.log_scalars(200, {"sharpness": 5.0})
    again.close()
    assert client.get_run(sink.run_id).data.metrics["curvature/sharpness"] == 5.0


def logged(file):
    """Return what a file of Weights & Biases holds of the curvature."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    store, rows = DataStore(), []
    store.open_for_scan(str(file))
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            rows.append({key: value for key, value in items.items() if key.startswith("curvature/")})
    store.close()
    return rows


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(tmp_path, monkeypatch):
    optional("wandb")
    monkeypatch.chdir(tmp_path)  # its service leaves a log in the working directory
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    fill(WandbSink(project="curves", directory=tmp_path))
    (file,) = tmp_path.rglob("*.wandb")
    rows: list[dict] = []
    for _ in range(100):  # the service is a process of its own and may write a little later
        rows = logged(file)
        if len(rows) == 2:
            break
        time.sleep(0.2)
    assert rows == [
        {"curvature/sharpness": 2.0, "curvature/noise_scale": 30.0, "curvature/step": 1},
        {"curvature/sharpness": 4.0, "curvature/step": 100},
    ]


@pytest.mark.parametrize(
    ("sink", "module"), [(TensorBoardSink, "tensorboard"), (WandbSink, "wandb"), (MLflowSink, "mlflow")]
)
def test_a_missing_tracker_is_one_sentence(sink, module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    arguments = [] if sink is WandbSink else [str(tmp_path)]
    with pytest.raises(MissingExtraError, match=rf"{sink.__name__} needs {module}.*spectra-probes\[hooks\]"):
        sink(*arguments)
