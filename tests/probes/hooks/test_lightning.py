"""The callback in a real training with Lightning."""

import logging

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from spectra.recording import read_recording
from tests.cases import optional
from tests.probes.hooks.loops import Noisy
from tests.probes.small_tasks import data

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of Lightning's own code
]

OPTIONS = {"overhead": 1e6, "every": 4, "check": False}


def module_of(lightning, *, fails_at=None):
    class Classifier(lightning.pytorch.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = Noisy()

        def training_step(self, batch, index):
            if index == fails_at:
                raise RuntimeError("the data are broken")
            inputs, target = batch
            return torch.nn.functional.cross_entropy(self.model(inputs), target)

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    return Classifier()


def fit(tmp_path, callbacks, *, fails_at=None, accumulate=1, again=False, **options):
    lightning = optional("lightning")
    optional("lightning.pytorch")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    lightning.pytorch.seed_everything(3, verbose=False)
    module = module_of(lightning, fails_at=fails_at)
    loader = DataLoader(TensorDataset(*data(dtype=torch.float32)), batch_size=32, shuffle=True)
    trainer = lightning.pytorch.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=callbacks,
        accumulate_grad_batches=accumulate,
        **options,
    )
    trainer.fit(module, loader)
    if again:
        trainer.fit_loop.max_epochs += 1
        trainer.fit(module, loader)
    return module


def callback(path, **options):
    optional("lightning.pytorch")
    from probes.hooks.lightning import RecorderCallback

    return RecorderCallback(
        path, loss=torch.nn.CrossEntropyLoss(), module=lambda module: module.model, **{**OPTIONS, **options}
    )


def test_it_records_and_changes_nothing(tmp_path):
    plain = fit(tmp_path, [])
    hook = callback(tmp_path / "run.zarr")
    recorded = fit(tmp_path, [hook])
    for mine, theirs in zip(plain.state_dict().values(), recorded.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    found = read_recording(tmp_path / "run.zarr")
    assert found["step"].values.tolist() == [1, 4, 8, 12, 16]
    assert np.isfinite(found["preconditioned_sharpness"]).all()
    assert np.isfinite(found["training_loss"]).all()
    # The rate of the very step, whatever the schedule makes of it afterwards.
    np.testing.assert_allclose(found["learning_rate"], 1e-2 / found["step"])
    assert found.attrs["batch_size"] == 32
    assert found.attrs["task"] == "Classifier"
    assert found.attrs["status"] == "closed"
    assert hook.recorder.failures == []


def test_accumulated_batches_are_one_step(tmp_path):
    fit(tmp_path, [callback(tmp_path / "run.zarr")], accumulate=4)
    found = read_recording(tmp_path / "run.zarr")
    assert found.attrs["batch_size"] == 128
    assert found.attrs["num_steps"] == 4
    losses = found["step_loss"].values
    assert np.all((losses > 0.05) & (losses < 3.0))  # not a quarter of it


def test_an_error_of_the_training_closes_the_recording(tmp_path):
    with pytest.raises(RuntimeError, match="data are broken"):
        fit(tmp_path, [callback(tmp_path / "run.zarr")], fails_at=5)
    found = read_recording(tmp_path / "run.zarr")
    assert found["step"].values.tolist() == [1, 4]
    assert found.attrs["status"] == "closed"


def test_a_loss_that_is_scaled_for_half_precision_is_recorded_as_it_was(tmp_path):
    optional("lightning.pytorch")
    from lightning.pytorch.plugins import MixedPrecision

    scaler = torch.amp.GradScaler("cpu")
    hook = callback(tmp_path / "run.zarr")
    fit(tmp_path, [hook], plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)])
    assert scaler.get_scale() > 1000
    losses = read_recording(tmp_path / "run.zarr")["step_loss"].values
    assert np.all((losses > 0.05) & (losses < 3.0))
    assert hook.recorder.failures == []


def test_a_second_fit_goes_on_in_the_same_recording(tmp_path):
    fit(tmp_path, [callback(tmp_path / "run.zarr")], again=True)
    found = read_recording(tmp_path / "run.zarr")
    assert found["step"].values.tolist() == [1, 4, 8, 12, 16, 20, 24]
    assert found["training_step"].values.tolist() == list(range(1, 25))
    assert found.attrs["status"] == "closed"
