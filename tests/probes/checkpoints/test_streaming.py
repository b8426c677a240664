"""Tensors of a checkpoint one by one: each read when it is wanted, and none missing or twice."""

import json

import pytest
import torch
from torch import nn

from probes.checkpoints.streaming import stream_tensors
from spectra.errors import CheckpointError
from tests.probes.saved_models import saved


def test_of_a_safetensors_file_one_tensor_is_read_at_a_time(tmp_path):
    path = saved(nn.Sequential(nn.Linear(40, 60), nn.Linear(60, 20)), tmp_path)[2]
    tensors = stream_tensors(path)
    assert {tensor.name: tensor.shape for tensor in tensors}["1.weight"] == (20, 60)
    assert all(tensor.is_floating for tensor in tensors)
    assert tensors[0].read().shape == tensors[0].shape


def test_an_index_that_is_wrong_about_its_files_is_refused(tmp_path):
    names = [f"pytorch_model-{i}.bin" for i in (1, 2)]
    shared = torch.randn(30, 40)
    torch.save({"a": shared, "tied": shared}, tmp_path / names[0])
    torch.save({"b": torch.randn(30, 40)}, tmp_path / names[1])
    index = tmp_path / "pytorch_model.bin.index.json"
    homes = {"a": names[0], "tied": names[0], "b": names[1]}
    index.write_text(json.dumps({"weight_map": homes}))
    assert [tensor.name for tensor in stream_tensors(tmp_path)] == ["a", "b"]
    for wrong in (homes | {"absent": names[1]}, {"a": names[0], "b": names[1]}, homes | {"a": names[1]}):
        index.write_text(json.dumps({"weight_map": wrong}))
        for path in (tmp_path, index):
            with pytest.raises(CheckpointError, match=r"the index and pytorch_model-.*disagree"):
                stream_tensors(path)
