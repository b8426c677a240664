"""Vectors cut into tensors and joined again."""

import torch

from probes.operators.rows import columns_of, contiguous_rows, joined, rows_of, side_by_side
from tests.probes.networks import normal

LIKE = [torch.zeros(shape, dtype=torch.float64) for shape in ((2, 3), (), (4,))]


def test_cutting_and_joining_are_inverse():
    columns = normal(11, 3)
    assert torch.equal(columns_of(rows_of(columns, LIKE), LIKE), columns)


def test_none_is_zero():
    assert joined([None, torch.ones(()), torch.ones(4)], LIKE).tolist() == [0.0] * 6 + [1.0] * 5
    pieces = [normal(2, 2, 3), None, normal(2, 4)]
    assert not columns_of(pieces, LIKE)[6].any()


def test_contiguous_vectors_are_not_copied():
    rows = normal(3, 11)
    assert contiguous_rows(rows.T).data_ptr() == rows.data_ptr()
    copied = contiguous_rows(rows.T.contiguous())
    assert copied.is_contiguous()
    assert torch.equal(copied, rows)


def test_blocks_side_by_side():
    columns = normal(11, 5)
    joint = side_by_side(columns.split(2, dim=1), LIKE)
    assert torch.equal(joint, columns)
    assert joint.T.is_contiguous()
