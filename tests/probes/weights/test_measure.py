"""Whole models and checkpoints: files as models, choices, wrong calls, and what failures leave."""

import numpy as np
import pytest
import torch
from torch import nn

from probes.weights import weight_spectra
from probes.weights.measure import NOT_REACHED, WeightsInterrupted
from spectra.errors import ArgumentError, CheckpointError
from tests.probes.saved_models import saved
from tests.probes.weights.result_parts import left_out


def test_files_say_what_the_model_says(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 60), nn.Conv2d(3, 30, 3), nn.BatchNorm2d(30), nn.Linear(30, 25).double())
    own = weight_spectra(model).sortby("layer")
    for path in saved(model, tmp_path):
        found = weight_spectra(path).sortby("layer")
        assert found["layer"].values.tolist() == own["layer"].values.tolist()
        # By what a tensor was taken for a kernel is not the same: a model has modules.
        for name in set(own.data_vars) - {"rule"}:
            np.testing.assert_array_equal(found[name], own[name])


def test_layers_are_chosen_by_part_or_pattern():
    model = nn.Sequential(nn.Linear(20, 20), nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20)))
    assert weight_spectra(model, layers="1.").sizes["layer"] == 2
    assert weight_spectra(model, layers=["0.w*", "*.1.weight"])["layer"].values.tolist() == ["0.weight", "1.1.weight"]
    with pytest.raises(ArgumentError, match=r"no weight matrix matching decoder; it has 0\.weight"):
        weight_spectra(model, layers="decoder")
    # One of several that fits nothing is a slip, not a wish.
    with pytest.raises(ArgumentError, match=r"matching 1\.\*a; it has .*must fit the whole name"):
        weight_spectra(model, layers=["0.", "1.*a"])


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(30, 30), nn.Dropout()).train()
    before, state = model[0].weight.detach().clone(), torch.get_rng_state()
    weight_spectra(model)
    assert torch.equal(model[0].weight, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model[0].weight.requires_grad
    assert model[0].weight.grad is None


def test_wrong_calls(tmp_path):
    with pytest.raises(ArgumentError, match=r"torch\.nn\.Module or the path"):
        weight_spectra({"weight": 1})
    with pytest.raises(ArgumentError, match="at least two rows"):
        weight_spectra(nn.LayerNorm(3))
    with pytest.raises(ArgumentError, match="num_bootstrap"):
        weight_spectra(nn.Linear(3, 3), num_bootstrap=1)
    with pytest.raises(CheckpointError, match="there is no file"):
        weight_spectra(tmp_path / "absent.safetensors")


def test_integers_are_no_weights_and_the_message_says_so(tmp_path):
    torch.save({"weight": torch.ones(30, 40, dtype=torch.int8)}, tmp_path / "int.pt")
    with pytest.raises(ArgumentError, match=r"it has 1 integers \(int8\), as of positions and quantized weights"):
        weight_spectra(tmp_path / "int.pt")


def test_checkpoints_without_a_matrix_in_common_are_refused():
    one, other = nn.Sequential(nn.Linear(30, 40)), nn.ModuleDict({"a": nn.Linear(30, 40)})
    with pytest.raises(ArgumentError, match=r"Sequential and ModuleDict have no weight matrix of the same name.*lacks"):
        weight_spectra(one, against=other)


def test_ctrl_c_keeps_what_was_done():
    model = nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 30), nn.Linear(30, 20))

    def stop(at):
        def progress(description, done, total):
            if done == at:
                raise KeyboardInterrupt

        return progress

    with pytest.raises(WeightsInterrupted) as stopped:
        weight_spectra(model, progress=stop(2))
    found = stopped.value.found
    assert found["layer"].values.tolist() == ["0.weight", "1.weight"]
    assert left_out(found)["2.weight"] == NOT_REACHED
    with pytest.raises(WeightsInterrupted) as stopped:
        weight_spectra(model, progress=stop(0))
    assert stopped.value.found is None


def test_a_tensor_that_cannot_be_read_is_a_result(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "w.safetensors"
    safetensors.save_file({"a": torch.randn(30, 40), "b": torch.randn(30, 40)}, path)

    def cut(description, done, total):
        if done == 1:
            path.write_bytes(path.read_bytes()[:4000])

    found = weight_spectra(path, progress=cut)
    assert found["why"].values[0] == ""
    assert "could not be read or analyzed: CheckpointError" in found["why"].values[1]
