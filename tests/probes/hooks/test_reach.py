"""What a function holds on to."""

import functools

import pytest
import torch
from torch import nn

from probes.hooks.reach import FEW, reached

CRITIC = nn.Linear(2, 1)


def by_name(output, target):
    return CRITIC(output).mean()


def by_two_names(output, target):
    return sum(by_name(output, t) for t in target)


def given(output, target, critic):
    return critic(output).mean()


def by_default(output, target, critic=CRITIC):
    return critic(output).mean()


def by_closure(critic):
    def loss(output, target):
        return critic(output).mean()

    return lambda output, target: 2 * loss(output, target)


class Judge:
    def __init__(self):
        self.parts = {"critic": [CRITIC]}

    def __call__(self, output, target):
        return self.parts["critic"][0](output).mean()

    def bound(self, output, target):
        return self(output, target)


ROOTS = {
    "global": by_name,
    "global of a global": by_two_names,
    "partial": functools.partial(given, critic=CRITIC),
    "default": by_default,
    "closure": by_closure(CRITIC),
    "callable": Judge(),
    "bound": Judge().bound,
    "itself": CRITIC,
}


@pytest.mark.parametrize("name", ROOTS)
def test_a_module_is_found_by(name):
    (found,) = reached([ROOTS[name], None, nn.functional.mse_loss], nn.Module)
    assert found is CRITIC


def test_what_is_not_looked_into():
    assert reached([nn.functional.mse_loss, torch.nn.functional, "text", [CRITIC] * (FEW + 1)], nn.Module) == []
    assert reached([nn.Sequential(CRITIC)], nn.Linear) == [CRITIC]


def test_circles_and_empty_cells():
    circle = []
    circle.append(circle)

    def function():
        return later

    assert reached([circle, function], nn.Module) == []
    later = 1
    assert function() == 1


def test_objects_that_raise_when_looked_at():
    class Broken:
        @property
        def __dict__(self):
            raise RuntimeError

    assert reached([Broken(), CRITIC], nn.Module) == [CRITIC]
