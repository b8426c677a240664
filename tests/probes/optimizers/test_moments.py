"""Second moments of the state: their root plus eps is what the optimizer divides by."""

import pytest
import torch
from torch import optim

from probes.operators import preconditioner_of
from probes.optimizers import second_moment
from tests.probes.optimizers.networks import network, take_steps

EPS = 1e-4


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        (optim.Adam, {}),
        (optim.AdamW, {"amsgrad": True}),
        (optim.RMSprop, {}),
        (optim.RMSprop, {"centered": True, "momentum": 0.5}),
    ],
)
def test_root_plus_eps_is_the_preconditioner(kind, kwargs):
    model = network()
    optimizer = kind(model.parameters(), lr=1e-2, eps=EPS, **kwargs)
    take_steps(optimizer, model, range(7))
    expected = preconditioner_of(optimizer, dict(model.named_parameters())).diagonal
    torch.testing.assert_close(
        second_moment(optimizer, model.parameters()).sqrt() + EPS, expected, rtol=1e-12, atol=1e-16
    )


def test_amsgrad_remembers_the_largest():
    p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = optim.Adam([p], lr=0.0, betas=(0.9, 0.5), amsgrad=True)
    for gradient in (4.0, 0.0, 0.0):
        p.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    # The average was 8 after the first step and is 2 now; the bias correction is that of the third step.
    assert second_moment(optimizer, [p]).item() == pytest.approx(8 / (1 - 0.5**3))


def test_without_state_or_second_moments_there_is_zero():
    model = network()
    adam = optim.Adam([model.hidden.weight], lr=1e-2)
    take_steps(adam, model, range(2))
    moments = second_moment(adam, model.parameters())
    sizes = [p.numel() for p in model.parameters()]
    nonzero = [bool(part.any()) for part in moments.split(sizes)]
    assert nonzero == [p is model.hidden.weight for p in model.parameters()]
    sgd = optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    take_steps(sgd, model, range(2))
    assert not second_moment(sgd, model.parameters()).any()
