"""Learning rates of parameter groups as multiples of one, whatever a scheduler has made of them."""

import pytest
import torch
from torch import nn, optim

from probes.optimizers import group_differences, group_ratios, set_learning_rate
from spectra.errors import ArgumentError


def two_groups(first: float = 1e-3, second: float = 2.5e-4, **kwargs) -> optim.AdamW:
    return optim.AdamW(
        [
            {"params": [nn.Parameter(torch.ones(2))], "lr": first},
            {"params": [nn.Parameter(torch.ones(3))], "lr": second, **kwargs},
        ]
    )


def test_ratios_are_relative_to_the_reference():
    assert group_ratios(two_groups()) == (1.0, 0.25)
    assert group_ratios(two_groups(), reference=1) == (4.0, 1.0)
    assert group_ratios(two_groups(second=0.0)) == (1.0, 0.0)


def test_rates_may_be_tensors():
    optimizer = two_groups()
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
    assert group_ratios(optimizer) == (1.0, 0.25)
    set_learning_rate(optimizer, 8.0)
    assert [group["lr"] for group in optimizer.param_groups] == [torch.tensor(8.0), torch.tensor(2.0)]


def test_in_the_first_step_of_a_warm_up_the_ratios_are_those_of_the_schedule():
    optimizer = two_groups()
    optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]
    assert group_ratios(optimizer) == (1.0, 0.25)


def test_a_reference_that_stands_still_is_refused():
    with pytest.raises(ArgumentError, match=r"parameter group 0 is 0.*\[0.0, 0.00025\]"):
        group_ratios(two_groups(first=0.0))
    broken = two_groups()
    broken.param_groups[1]["lr"] = -1.0
    with pytest.raises(ArgumentError, match="must not be negative"):
        group_ratios(broken)
    broken.param_groups[1]["lr"] = float("nan")
    with pytest.raises(ArgumentError, match="finite"):
        group_ratios(broken)


def test_setting_the_rate_keeps_the_ratios():
    optimizer = two_groups()
    set_learning_rate(optimizer, 1e-2)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 2.5e-3]
    set_learning_rate(optimizer, 1e-2, reference=1)
    assert [group["lr"] for group in optimizer.param_groups] == [4e-2, 1e-2]
    with pytest.raises(ArgumentError, match="positive"):
        set_learning_rate(optimizer, 0.0)


def test_constants_that_differ_are_listed_with_the_value_of_every_group():
    assert group_differences(two_groups()) == {}
    optimizer = two_groups(weight_decay=0.0, betas=(0.8, 0.99), foreach=True)
    assert group_differences(optimizer) == {"weight_decay": (0.01, 0.0), "betas": ((0.9, 0.999), (0.8, 0.99))}
