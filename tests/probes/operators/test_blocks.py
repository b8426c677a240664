import pytest
import torch
from torch import nn

from probes.operators import EmpiricalFisherOperator, GaussNewtonOperator, HessianOperator
from probes.operators.blocks import block_diagonal, layers, off_diagonal, restrict
from spectra import as_operator
from spectra.errors import ArgumentError, TaskError
from spectra.testing import check_operator
from tests.probes.networks import cut, labels, mlp, normal

KINDS = [HessianOperator, GaussNewtonOperator, EmpiricalFisherOperator]


def operator(kind=HessianOperator, **options):
    data = cut(normal(14, 6), labels(14))
    return kind(mlp(nn.Tanh), nn.CrossEntropyLoss(), data, check=False, **options)


def eye(A) -> torch.Tensor:
    return torch.eye(A.shape[0], dtype=torch.float64)


def mask(sizes) -> torch.Tensor:
    return torch.block_diag(*(torch.ones(size, size, dtype=torch.float64) for size in sizes))


@pytest.mark.parametrize("kind", KINDS)
def test_restriction_against_dense(kind):
    A = operator(kind)
    dense = A @ eye(A)
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    ends = torch.tensor([p.numel() for p in A.parameters.values()]).cumsum(0).tolist()
    rows = dict(zip(names, zip([0, *ends], ends, strict=False), strict=True))
    for spec, expected in {
        "2": ["2.weight", "2.bias"],
        "*.bias": ["0.bias", "2.bias"],
        "!0.weight": ["0.bias", "2.weight", "2.bias"],
        ("2.bias", "0.weight"): ["0.weight", "2.bias"],
    }.items():
        part = restrict(A, spec)
        assert type(part) is kind
        assert list(part.parameters) == expected
        index = [i for name in expected for i in range(*rows[name])]
        torch.testing.assert_close(part @ eye(part), dense[index][:, index])
        torch.testing.assert_close(as_operator(A).submatrix(index) @ eye(part), part @ eye(part))


def test_restriction_of_a_restriction():
    A = operator(parameters="*.weight")
    assert list(restrict(A, "2").parameters) == ["2.weight"]
    with pytest.raises(TaskError, match="none of which belongs"):
        restrict(A, "*.bias")
    with pytest.raises(TaskError, match="matches"):
        restrict(A, "encoder")


def test_layers_are_the_diagonal_blocks():
    A = operator()
    dense = A @ eye(A)
    blocks = layers(A)
    assert list(blocks) == ["0", "2"]
    begin = 0
    for block in blocks.values():
        end = begin + block.shape[0]
        torch.testing.assert_close(block @ eye(block), dense[begin:end, begin:end])
        begin = end
    assert begin == A.shape[0]


@pytest.mark.parametrize("kind", KINDS)
def test_block_diagonal_against_dense(kind):
    A = operator(kind)
    dense = A @ eye(A)
    pattern, v = mask([56, 36]), normal(92, 3)
    for max_columns in (None, 1, 5):
        inside = block_diagonal(A, max_columns=max_columns)
        outside = off_diagonal(A, max_columns=max_columns)
        torch.testing.assert_close(inside @ v, (dense * pattern) @ v)
        torch.testing.assert_close(outside @ v, (dense * (1 - pattern)) @ v)
    check_operator(inside)
    check_operator(outside)


def test_both_parts_add_up_to_the_whole():
    A, v = operator(), normal(92, 2)
    torch.testing.assert_close((block_diagonal(A) + off_diagonal(A)) @ v, A @ v)


def test_blocks_of_ones_own():
    A = operator()
    dense = A @ eye(A)
    # Biases of both layers together, which do not lie side by side, and one weight; the other weight is in no block.
    blocks = {"biases": "*.bias", "last": ["2.weight"]}
    pattern = torch.zeros(92, 92, dtype=torch.float64)
    biases = [*range(48, 56), *range(88, 92)]
    pattern[torch.tensor(biases)[:, None], torch.tensor(biases)] = 1
    pattern[56:88, 56:88] = 1
    torch.testing.assert_close(block_diagonal(A, blocks) @ eye(A), dense * pattern)
    torch.testing.assert_close(block_diagonal(A, list(blocks.values())) @ eye(A), dense * pattern)
    torch.testing.assert_close(off_diagonal(A, blocks) @ eye(A), dense * (1 - pattern))


def test_one_block_is_everything():
    A, v = operator(), normal(92)
    torch.testing.assert_close(block_diagonal(A, ["*"]) @ v, A @ v)
    assert bool((off_diagonal(A, ["*"]) @ v == 0).all())


def test_a_product_costs_as_many_as_there_are_blocks():
    A = operator()
    block_diagonal(A) @ normal(92, 3)
    assert A.num_products == 2 * 3
    off_diagonal(A) @ normal(92, 3)
    assert A.num_products == 4 * 3
    off_diagonal(A, ["2"]) @ normal(92)
    assert A.num_products == 4 * 3 + 2


def test_pieces_go_through_the_model_together():
    A = operator()
    calls = []
    handle = A.model.register_forward_hook(lambda *_: calls.append(1))
    A @ normal(92, 4)
    v = normal(92, 2)
    A @ v
    calls.clear()
    A @ torch.cat([v, v], dim=1)
    once = len(calls)
    calls.clear()
    block_diagonal(A) @ v
    handle.remove()
    assert len(calls) == once


def test_names_tell_what_was_cut():
    A = operator()
    assert block_diagonal(A).name == "2 diagonal blocks of hessian"
    assert off_diagonal(A, ["0"]).name == "hessian without 1 diagonal blocks"


@pytest.mark.parametrize(
    ("blocks", "options", "error", "message"),
    [
        (["*.weight", "0"], {}, TaskError, r"'0\.weight' is in the blocks '0' and '1'"),
        ({"a": "2", "b": "2.bias"}, {}, TaskError, "'a' and 'b'"),
        ([], {}, ArgumentError, "at least one block"),
        ("0", {}, ArgumentError, "use restrict"),
        (["7"], {}, TaskError, "matches"),
        (["0"], {"max_columns": 0}, ArgumentError, "max_columns"),
    ],
)
def test_wrong_blocks(blocks, options, error, message):
    A = operator()
    for cutting in (block_diagonal, off_diagonal):
        with pytest.raises(error, match=message):
            cutting(A, blocks, **options)
