"""Which tensors of models and checkpoints are weight matrices, and why the others are none."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from probes.weights import weight_spectra
from probes.weights.matrices import NOT_CHOSEN, list_weights, select
from spectra.errors import ArgumentError, CheckpointError, TaskError
from tests.probes.weights.result_parts import left_out


def test_shapes_and_kinds_of_a_model():
    torch.manual_seed(0)
    shared = nn.Linear(24, 24)
    model = nn.ModuleDict(
        {
            "conv": nn.Conv1d(4, 6, 5),
            "up": nn.ConvTranspose2d(4, 6, (2, 3)),
            "words": nn.Embedding(40, 24),
            "attention": nn.MultiheadAttention(24, 2),
            "first": shared,
            "second": shared,
            "norm": nn.LayerNorm(24),
            "output": nn.Linear(24, 1),
        }
    )
    found = {matrix.name: (matrix.kind, matrix.shape) for matrix in list_weights(model).matrices}
    assert found == {
        "conv.weight": ("convolution", (6, 20)),
        "up.weight": ("convolution", (6, 24)),
        "words.weight": ("embedding", (40, 24)),
        "attention.in_proj_weight[query]": ("attention", (24, 24)),
        "attention.in_proj_weight[key]": ("attention", (24, 24)),
        "attention.in_proj_weight[value]": ("attention", (24, 24)),
        "attention.out_proj.weight": ("attention", (24, 24)),
        "first.weight": ("linear", (24, 24)),
    }
    matrices = {matrix.name: matrix.read() for matrix in list_weights(model).matrices}
    np.testing.assert_array_equal(matrices["up.weight"][1, 6:12], model["up"].weight[1, 1].detach().ravel())
    np.testing.assert_array_equal(
        matrices["attention.in_proj_weight[key]"], model["attention"].in_proj_weight[24:48].detach()
    )
    assert {matrix.read().dtype for matrix in list_weights(model.half()).matrices} == {np.dtype("float64")}


def test_what_is_parametrized_is_remarked_and_is_that_of_its_module():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.ConvTranspose1d(30, 40, 4)), nn.Linear(20, 30), nn.Linear(30, 20)
    )
    prune.l1_unstructured(model[1], "weight", 0.9)
    norm, pruned, plain = list_weights(model).matrices
    assert (norm.name, norm.shape) == ("0.parametrizations.weight.original1", (40, 120))
    assert plain.notes == ()
    assert pruned.name == "1.weight_orig"
    for matrix in (norm, pruned):
        assert "which is not applied here" in matrix.notes[0]


def test_parameters_without_memory_are_refused():
    for model in (nn.LazyLinear(30), nn.Linear(30, 40, device="meta")):
        with pytest.raises(TaskError, match="'weight' is lazy or on the meta device"):
            weight_spectra(model)


def test_what_is_no_weight_matrix_is_listed_with_the_reason(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    state = {
        "weight": torch.randn(30, 40),
        "bias": torch.randn(40),
        "ids": torch.arange(40)[None],
        "quantized": torch.ones(30, 40, dtype=torch.int8),
        "row": torch.randn(1, 40),
        "attention_mask": torch.ones(30, 30),
        "h.0.attn.bias": torch.ones(1, 1, 64, 64),
        "kept": torch.ones(30, 30, dtype=torch.bool),
        "turned": torch.ones(30, 30, dtype=torch.complex64),
        "none": torch.zeros(0, 30),
        "experts.down_proj_bias": torch.ones(4, 30),
        "w_scale_inv": torch.randn(4, 4),
        "q.scales": torch.randn(4, 4),
    }
    torch.save(state, tmp_path / "w.pt")
    safetensors.save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        found = weight_spectra(tmp_path / name)
        assert found["layer"].values.tolist() == ["weight"]
        assert left_out(found) == {
            "bias": "vectors and single numbers, as biases and norms",
            "ids": "integers (int64), as of positions and quantized weights",
            "quantized": "integers (int8), as of positions and quantized weights",
            "row": "a single row or column",
            "attention_mask": "the name says that it is a bias, a mask or a table",
            "h.0.attn.bias": "the name says that it is a bias, a mask or a table",
            "kept": "truth values, as masks",
            "turned": "complex numbers",
            "none": "empty",
            "experts.down_proj_bias": "the name says that it is a bias, a mask or a table",
            "w_scale_inv": "the name says that it is the scales of quantized weights",
            "q.scales": "the name says that it is the scales of quantized weights",
        }


def test_shared_sparse_and_unchosen_tensors_are_listed(tmp_path):
    weight = torch.randn(30, 40)
    torch.save({"a": weight, "b": weight, "s": weight.to_sparse(), "c": torch.randn(30, 40)}, tmp_path / "w.pt")
    found = weight_spectra(tmp_path / "w.pt", layers="a")
    assert left_out(found) == {
        "b": "other names of tensors that are listed",
        "s": "sparse tensors",
        "c": "matrices that were not chosen",
    }
    model = nn.Sequential(nn.Linear(30, 30, bias=False), nn.Linear(30, 30, bias=False))
    model[1].weight = model[0].weight
    model.register_buffer("table", torch.ones(3, 3))
    entries = {entry.name: entry.why for entry in list_weights(model).left_out}
    assert entries == {"table": "buffers of a model", "1.weight": "other names of tensors that are listed"}


def test_a_key_chooses_and_errors_name_it_for_both_interfaces(tmp_path):
    torch.save({"generator": {"w": torch.randn(30, 40)}, "average": {"v": torch.randn(30, 40)}}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"key='generator' \(spectra weights: --key generator\)"):
        weight_spectra(tmp_path / "w.pt")
    assert weight_spectra(tmp_path / "w.pt", key="average")["layer"].values.tolist() == ["v"]
    with pytest.raises(ArgumentError, match="key='a' with a model"):
        weight_spectra(nn.Linear(30, 40), key="a")


def test_a_module_that_is_used_twice_is_listed_under_both_names():
    layer = nn.Linear(30, 40)
    layer.register_buffer("table", torch.ones(3, 3))
    layer.again = layer.weight
    found = list_weights(nn.ModuleDict({"first": layer, "second": layer}))
    assert [matrix.name for matrix in found.matrices] == ["first.weight"]
    tied = [entry.name for entry in found.left_out if entry.why == "other names of tensors that are listed"]
    assert tied == ["first.again", "second.weight", "second.bias", "second.again"]


def test_matrices_that_are_selected_and_the_others():
    inventory = list_weights(nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 20, bias=False)))
    assert select(inventory, ()) is inventory
    found = select(inventory, ("1.*", "absent"))
    assert [matrix.name for matrix in found.matrices] == ["1.weight"]
    assert [(entry.name, entry.shape, entry.why) for entry in found.left_out] == [
        ("0.bias", (40,), "vectors and single numbers, as biases and norms"),
        ("0.weight", (40, 30), NOT_CHOSEN),
    ]
