"""A small network, gradients that depend on the step only, and optimizers in the middle of training."""

import torch
from torch import nn


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a seeded network with a tied matrix, without touching the global generator."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(4, 5)
            self.hidden = nn.Linear(5, 5)
            self.head = nn.Linear(4, 5, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head.weight.T @ torch.tanh(self.hidden(torch.tanh(self.embed(x)))).T

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tied().to(dtype)


def give_gradients(model: nn.Module, step: int) -> None:
    """Set gradients that depend on the step, the place and the parameters."""
    for place, p in enumerate(model.parameters()):
        wave = torch.sin(torch.arange(p.numel(), dtype=torch.float64) * (place + 1) + step).to(p)
        p.grad = wave.reshape(p.shape) + 0.3 * p.detach()


def take_steps(optimizer: torch.optim.Optimizer, model: nn.Module, steps: range) -> None:
    """Take real steps on those gradients."""
    for step in steps:
        give_gradients(model, step)
        optimizer.step()
    model.zero_grad(set_to_none=True)


def same_parameters(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models agree bit by bit."""
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
