"""Whole models and checkpoints: files as models, choices, wrong calls, and what failures leave."""

import json
import math
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import spectra
from probes.weights import measure, weight_spectra
from probes.weights.matrices import list_weights
from probes.weights.measure import NOT_REACHED, WeightsInterrupted, _analyze
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


def test_a_tensor_that_cannot_be_read_keeps_its_notes(tmp_path):
    model = nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 30))
    prune.l1_unstructured(model[0], "weight", 0.5)

    def broken(text):
        raise TypeError(text)

    matrices = tuple(
        replace(matrix, read=partial(broken, "no  such\nthing")) for matrix in list_weights(model).matrices
    )
    assert [len(matrix.notes) for matrix in matrices] == [1, 0]
    for matrix in matrices:
        found, change = _analyze(matrix, 20, 0)
        assert found.why == "it could not be read or analyzed: TypeError: no such thing"
        assert found.remarks == matrix.notes
        assert math.isnan(change)


@pytest.mark.parametrize("error", [TypeError, RuntimeError])
def test_errors_of_the_analysis_are_not_taken_for_those_of_the_file(monkeypatch, error):
    def broken(*arguments, **options):
        raise error("a slip of the programmer")

    monkeypatch.setattr(measure, "analyze_matrix", broken)
    with pytest.raises(error, match="a slip"):
        weight_spectra(nn.Linear(30, 40))


def test_a_decomposition_that_fails_is_a_result(monkeypatch):
    def broken(*arguments, **options):
        raise np.linalg.LinAlgError("no convergence")

    monkeypatch.setattr(measure, "analyze_matrix", broken)
    assert weight_spectra(nn.Linear(30, 40))["why"].values.tolist() == [
        "it could not be read or analyzed: LinAlgError: no convergence"
    ]


def test_ctrl_c_after_the_last_matrix_loses_nothing():
    def progress(description, done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(WeightsInterrupted) as stopped:
        weight_spectra(nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 30)), progress=progress)
    assert stopped.value.found["layer"].values.tolist() == ["0.weight", "1.weight"]
    assert NOT_REACHED not in left_out(stopped.value.found).values()


def interrupted_at(line, source, **options):
    """Return what Ctrl-C leaves at such a line of the loop after the first matrix; None if there are not so many."""
    reached = []

    def trace(frame, event, argument):
        return lines if frame.f_code is weight_spectra.__code__ else None

    def lines(frame, event, argument):
        if event == "line" and len(frame.f_locals.get("done", ())) == 1:
            reached.append(frame.f_lineno)
            if len(reached) == line:
                raise KeyboardInterrupt
        return lines

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        weight_spectra(source, **options)
    except WeightsInterrupted as stopped:
        return stopped.found
    finally:
        sys.settrace(before)
    return None


def test_ctrl_c_at_any_line_between_two_matrices_keeps_the_first():
    model, other = (nn.Sequential(nn.Linear(30, 30), nn.Linear(30, 30)) for _ in range(2))
    line = 1
    while (found := interrupted_at(line, model, against=other, num_bootstrap=20)) is not None:
        assert found["layer"].values.tolist() == ["0.weight"]
        assert found["relative_change"].size == 1
        line += 1
    assert line > 3


def test_patterns_that_fit_nothing_in_common_are_said_to():
    one = nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 30))
    other = nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 20))
    with pytest.raises(
        ArgumentError,
        match=r"Sequential and Sequential have no weight matrix in common matching 1\.; in common are 0\.w",
    ):
        weight_spectra(one, against=other, layers="1.")


def test_a_result_says_how_it_was_asked_for(tmp_path):
    torch.save({"one": {"a": torch.randn(4, 30, 40), "b": torch.randn(20, 30, 40)}, "two": {}}, tmp_path / "w.pt")
    found = weight_spectra(tmp_path / "w.pt", stacks="a", kernels=["b"], key="one", layers="a", num_bootstrap=20)
    assert found.attrs["key"] == "one"
    asked = {name: json.loads(found.attrs[name]) for name in ("layers", "stacks", "kernels")}
    assert asked == {"layers": ["a"], "stacks": ["a"], "kernels": ["b"]}
    assert found.attrs["num_parameters"] == 4 * 30 * 40
    again = spectra.load(spectra.save(found, tmp_path / "w.nc"))
    assert {name: again.attrs[name] for name in ("key", "stacks", "kernels")} == {
        "key": "one",
        "stacks": '["a"]',
        "kernels": '["b"]',
    }
    assert "key" not in weight_spectra(nn.Linear(30, 40), num_bootstrap=20).attrs
