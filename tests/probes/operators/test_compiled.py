"""Compiled products are the same products, and notice what they depend on."""

import pytest
import torch
from torch import nn

from probes import HessianOperator
from probes.operators.compiled import _signature
from spectra.errors import ArgumentError
from tests.probes.networks import cut, dense_hessian, labels, normal, relative_error, seeded

INPUTS, TARGET, LOSS = normal(12, 6), labels(12), nn.CrossEntropyLoss()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # the compiler's own
def test_compiled_products():
    model = (
        seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 4))).double().eval()
    )
    operator = HessianOperator(model, LOSS, cut(INPUTS, TARGET, (6, 6)), strategy="compiled")
    identity = torch.eye(operator.shape[0], dtype=torch.float64)
    assert operator.product_strategy == "compiled"
    assert relative_error(operator @ identity, dense_hessian(model, LOSS, INPUTS, TARGET)) <= 1e-10
    with torch.no_grad():
        model[0].weight.mul_(1.5)  # an argument of the program
        model[2].running_var.mul_(2.0)  # part of it
    assert relative_error(operator @ identity, dense_hessian(model, LOSS, INPUTS, TARGET)) <= 1e-10


def test_what_a_program_is_good_for():
    """A plain attribute is frozen into a program, so that a change of it must ask for another one."""
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.1), nn.Linear(5, 4))).double()
    operator = HessianOperator(model, LOSS, (INPUTS, TARGET), check=False)
    piece = operator.workload.piece(operator.batches[0])
    before = _signature(piece, (), [])
    assert _signature(piece, (), []) == before
    model[1].negative_slope = 0.3
    assert _signature(piece, (), []) != before


def test_masks_that_a_program_cannot_freeze():
    model = nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 4)).double().train()
    operator = HessianOperator(model, LOSS, (INPUTS, TARGET), check=False, strategy="compiled", dropout_seed=0)
    with pytest.raises(ArgumentError, match="dropout_seed"):
        operator @ operator.like
