"""How tensors become matrices: thirds, stacks and kernels, and the rule that is named."""

import numpy as np
import pytest
import torch
from torch import nn

from probes.weights import weight_spectra
from probes.weights.matrices import list_weights
from spectra.errors import ArgumentError


def test_gpt2_projections_lie_beside_each_other_or_above_each_other(tmp_path):
    weight = torch.randn(8, 24)
    torch.save({"h.0.attn.c_attn.weight": weight, "h.1.attn.c_attn.weight": weight.T.clone()}, tmp_path / "w.pt")
    matrices = list_weights(tmp_path / "w.pt").matrices
    assert [matrix.shape for matrix in matrices] == [(8, 8)] * 6
    np.testing.assert_array_equal(matrices[1].read(), weight[:, 8:16].double())
    np.testing.assert_array_equal(matrices[4].read(), weight[:, 8:16].T.double())


class _Stored(nn.Module):
    """A model whose parameters have given names."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            self._parameters[name] = nn.Parameter(value)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("layer.experts.w1", (4, 60, 80), ((60, 80), 4, "slice of a stack, the name holds 'expert'")),
        ("block.w1", (4, 60, 80), ((60, 80), 4, "slice of a stack, a guess by its last sizes, 80")),
        ("block.w1", (64, 32, 3), ((64, 96), 1, "kernel as (out, in * kernel), a guess by its last sizes, 3")),
        ("pos_conv.weight", (64, 16, 128), ((64, 2048), 1, "kernel as (out, in * kernel), the name holds 'conv'")),
        ("block.w1", (2, 3, 60, 80), ((60, 80), 6, "slice of a stack, a guess by its last sizes, 60x80")),
        ("positions", (1, 50, 64), ((50, 64), 1, "slice of a stack, there is one")),
    ],
)
def test_stacks_are_told_from_kernels_and_the_result_says_by_what(tmp_path, name, shape, expected):
    state = {name: torch.randn(*shape)}
    torch.save(state, tmp_path / "w.pt")
    for source in (tmp_path / "w.pt", _Stored({name.replace(".", "_"): state[name]})):
        matrices = list_weights(source).matrices
        assert (matrices[0].shape, len(matrices), matrices[0].rule) == expected
        read = np.stack([matrix.read() for matrix in matrices])
        np.testing.assert_array_equal(read.reshape(shape), state[name].double().numpy())


def test_the_user_says_what_is_a_stack_and_what_a_kernel(tmp_path):
    torch.save({"a.w": torch.randn(4, 60, 80), "b.w": torch.randn(64, 32, 3)}, tmp_path / "w.pt")
    found = weight_spectra(tmp_path / "w.pt", kernels="a.*", layers="a.w")
    assert found["num_columns"].values.tolist() == [4800]
    assert found["rule"].values.tolist() == ["kernel as (out, in * kernel), as asked"]
    assert len(list_weights(tmp_path / "w.pt", stacks=("b.w",)).matrices) == 4 + 64
    with pytest.raises(ArgumentError, match=r"stacks are names of tensors.*'c' fits none of a\.w, b\.w"):
        weight_spectra(tmp_path / "w.pt", stacks="c")
    # A module knows better than the sizes.
    assert list_weights(nn.Conv1d(4, 60, 80)).matrices[0].shape == (60, 320)
    # What fits both is neither.
    with pytest.raises(ArgumentError, match=r"a\.w fits a pattern of stacks and one of kernels"):
        list_weights(tmp_path / "w.pt", stacks=("w",), kernels=("a.*",))


def test_patterns_are_of_tensors_whatever_their_names_and_whether_they_become_matrices(tmp_path):
    torch.save({"a[0].w": torch.randn(4, 60, 80), "b": torch.randn(5, 1, 80)}, tmp_path / "w.pt")
    found = list_weights(tmp_path / "w.pt", stacks=("b",), kernels=("a[0].w",))
    assert [(matrix.name, matrix.tensor, matrix.shape) for matrix in found.matrices] == [
        ("a[0].w", "a[0].w", (4, 4800))
    ]
    assert [(entry.name, entry.why) for entry in found.left_out] == [("b", "a single row or column")]


@pytest.mark.parametrize("groups", [1, 4, 16, 32])
@pytest.mark.parametrize("size", [(), (3,), (3, 2)])
def test_a_transposed_convolution_is_the_matrix_of_the_convolution_with_the_same_connections(groups, size):
    inputs, outputs = 32, 64
    names = {0: nn.ConvTranspose1d, 1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
    module = names[len(size)](inputs, outputs, size or 1, groups=groups, bias=False)
    kernel = module.weight.detach().double()
    # Row by row: an output is connected to the inputs of its group.
    expected = np.stack(
        [
            kernel[group * (inputs // groups) : (group + 1) * (inputs // groups), out].reshape(-1).numpy()
            for group in range(groups)
            for out in range(outputs // groups)
        ]
    )
    found = list_weights(module)
    if expected.shape[1] == 1:
        assert [entry.why for entry in found.left_out] == ["a single row or column"]
        return
    assert found.matrices[0].shape == expected.shape
    np.testing.assert_array_equal(found.matrices[0].read(), expected)


def test_a_grouped_transposed_convolution_has_the_shape_of_the_other_one_and_norms_of_it_are_no_matrix():
    for groups, shape in ((1, (32, 288)), (4, (32, 72)), (32, (32, 9))):
        for make in (nn.Conv2d, nn.ConvTranspose2d):
            assert list_weights(make(32, 32, 3, groups=groups)).matrices[0].shape == shape
    found = list_weights(nn.utils.parametrizations.weight_norm(nn.ConvTranspose2d(32, 64, 3, groups=4)))
    assert [matrix.shape for matrix in found.matrices] == [(64, 72)]


def test_kinds_of_tensors_of_three_and_more_sizes_follow_what_they_became(tmp_path):
    state = {"pos_embed": (1, 50, 64), "patch_embed.proj.weight": (60, 3, 16, 16), "a.experts": (2, 30, 40)}
    torch.save({name: torch.randn(*shape) for name, shape in state.items()}, tmp_path / "w.pt")
    kinds = {matrix.tensor: matrix.kind for matrix in list_weights(tmp_path / "w.pt").matrices}
    assert kinds == {"pos_embed": "embedding", "patch_embed.proj.weight": "convolution", "a.experts": "linear"}
    stack = list_weights(nn.Conv1d(40, 4, 30), stacks=("weight",)).matrices
    assert [(matrix.kind, matrix.shape) for matrix in stack] == [("linear", (40, 30))] * 4
