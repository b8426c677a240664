"""How tensors become matrices: thirds, stacks and kernels, and the rule that is named."""

import numpy as np
import pytest
import torch
from torch import nn

from probes.weights import weight_spectra
from probes.weights.matrices import list_weights, weight_matrices
from spectra.errors import ArgumentError


def test_gpt2_projections_lie_beside_each_other_or_above_each_other(tmp_path):
    weight = torch.randn(8, 24)
    torch.save({"h.0.attn.c_attn.weight": weight, "h.1.attn.c_attn.weight": weight.T.clone()}, tmp_path / "w.pt")
    matrices = list(weight_matrices(tmp_path / "w.pt"))
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
