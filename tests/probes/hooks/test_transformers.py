"""The callback in a real training with the Trainer of transformers."""

import gc
from types import MappingProxyType

import numpy as np
import pytest
import torch

from spectra.recording import read_recording
from tests.cases import optional

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of transformers' own code
]

NUM_TOKENS, LENGTH = 23, 8


class Sentences(torch.utils.data.Dataset):
    """Arithmetic progressions of tokens."""

    def __len__(self):
        return 96

    def __getitem__(self, index):
        ids = (index + torch.arange(LENGTH) * (1 + index % 5)) % NUM_TOKENS
        return {"input_ids": ids, "labels": ids}


def fit(tmp_path, callbacks, *, resume=MappingProxyType({}), again=False, dataset=None, **arguments):
    transformers = optional("transformers")
    optional("accelerate")
    transformers.set_seed(5)
    config = transformers.GPT2Config(
        vocab_size=NUM_TOKENS, n_positions=LENGTH, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config)
    options = {
        "output_dir": str(tmp_path / "trainer"),
        "max_steps": 9,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "linear",
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "logging_strategy": "no",
        "seed": 5,
        **arguments,
    }
    trainer = transformers.Trainer(
        model, transformers.TrainingArguments(**options), train_dataset=dataset or Sentences(), callbacks=callbacks
    )
    trainer.train(**resume)
    if again:
        trainer.train()
    return model


def callback(path, **options):
    optional("transformers")
    from probes.hooks.transformers import RecorderCallback

    return RecorderCallback(path, **{"overhead": 1e6, "every": 3, "check": False, **options})


def test_it_records_and_changes_nothing(tmp_path):
    plain = fit(tmp_path, [])
    hook = callback(tmp_path / "run.zarr")
    recorded = fit(tmp_path, [hook])
    for mine, theirs in zip(plain.state_dict().values(), recorded.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    found = read_recording(tmp_path / "run.zarr")
    assert hook.recorder.failures == []
    assert found["step"].values.tolist() == [1, 3, 6, 9]
    assert np.isfinite(found["preconditioned_sharpness"]).all()
    assert np.isfinite(found["noise_scale"]).all()
    assert np.isfinite(found["max_stable_learning_rate"]).all()
    assert found.attrs["batch_size"] == 8
    assert found.attrs["status"] == "closed"
    # Gradients are there, and the rate is that of the very step.
    assert np.all(found["gradient_norm"] > 0)
    np.testing.assert_allclose(found["step_learning_rate"], 1e-2 * (1 - (found["training_step"] - 1) / 9))


def test_accumulation_counts_in_the_batch_size(tmp_path):
    fit(tmp_path, [callback(tmp_path / "run.zarr")], gradient_accumulation_steps=2, max_steps=3)
    found = read_recording(tmp_path / "run.zarr")
    assert found.attrs["batch_size"] == 16
    assert found.attrs["num_steps"] == 3


class Broken(Sentences):
    """Fails in the fifth batch."""

    def __init__(self):
        self.left = 64 + 32  # the reference set is drawn first

    def __getitem__(self, index):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the data are broken")
        return super().__getitem__(index)


def test_an_error_of_the_training_loses_no_row(tmp_path):
    with pytest.raises(RuntimeError, match="data are broken"):
        fit(tmp_path, [callback(tmp_path / "run.zarr")], dataset=Broken())
    gc.collect()
    found = read_recording(tmp_path / "run.zarr")
    assert found["training_step"].values.tolist() == [1, 2, 3]
    assert found["step"].values.tolist() == [1, 3]


def test_a_second_training_goes_on_in_the_same_recording(tmp_path):
    fit(tmp_path, [callback(tmp_path / "run.zarr")], again=True, max_steps=4)
    found = read_recording(tmp_path / "run.zarr")
    assert found["step"].values.tolist() == [1, 3, 6]
    assert found["training_step"].values.tolist() == list(range(1, 9))


def test_a_training_resumed_from_a_checkpoint_counts_from_there(tmp_path):
    fit(tmp_path, [callback(tmp_path / "run.zarr")], max_steps=6, save_strategy="steps", save_steps=2)
    resume = {"resume_from_checkpoint": str(tmp_path / "trainer" / "checkpoint-4")}
    fit(tmp_path, [callback(tmp_path / "run.zarr", if_exists="append")], resume=resume)
    found = read_recording(tmp_path / "run.zarr")
    assert found["training_step"].values.tolist() == list(range(1, 10))
    assert found["step"].values.tolist() == [1, 3, 6, 9]
    # The rate of step 5 was in the checkpoint; from step 6 on it is that of the longer schedule.
    rates = 1e-2 * (1 - (found["training_step"].values - 1) / np.where(found["training_step"] <= 5, 6, 9))
    np.testing.assert_allclose(found["step_learning_rate"], rates)
