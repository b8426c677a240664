"""Tasks that are quick to measure; also named on the command line of the tests as ``small_tasks.py:NAME``."""

import numpy as np
import torch

from probes import Task


def data(num_samples: int = 256, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and class labels of a noisy three-class problem."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, num_samples)
    centers = rng.standard_normal((3, 6)) * 1.5
    inputs = centers[labels] + rng.standard_normal((num_samples, 6))
    return torch.tensor(inputs, dtype=dtype), torch.tensor(labels)


def network(dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    """Return a seeded two-layer network without touching the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).to(dtype)


def classifier() -> Task:
    """Return a well-behaved task."""
    return Task(network(), torch.nn.CrossEntropyLoss(), [data()], name="classifier")


def least_squares() -> Task:
    """Return linear regression: its Hessian is 2 X'X / N, the same everywhere."""
    inputs, _ = data()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = torch.nn.Linear(6, 1, bias=False).double()
    target = inputs @ torch.arange(1.0, 7.0, dtype=torch.float64)[:, None]
    target = target + 0.5 * torch.tensor(np.random.default_rng(1).standard_normal((256, 1)))
    return Task(model, torch.nn.MSELoss(), [(inputs, target)], name="least_squares")


def nan_loss() -> Task:
    """Return a task whose data contain a NaN."""
    inputs, labels = data()
    inputs[3, 2] = float("nan")
    return Task(network(), torch.nn.CrossEntropyLoss(), [(inputs, labels)])


def shuffling() -> Task:
    """Return a task whose loader shuffles."""
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=32, shuffle=True)
    return Task(network(), torch.nn.CrossEntropyLoss(), loader)


def frozen() -> Task:
    """Return a task without a trainable parameter."""
    model = network()
    model.requires_grad_(False)
    return Task(model, torch.nn.CrossEntropyLoss(), [data()])


def unused_parameter() -> Task:
    """Return a task one of whose parameters gets no gradient."""
    model = network()
    model.register_parameter("spare", torch.nn.Parameter(torch.ones(2, dtype=torch.float64)))
    return Task(model, torch.nn.CrossEntropyLoss(), [data()])


def sum_loss() -> Task:
    """Return a task whose loss sums over the batch."""
    return Task(network(), torch.nn.CrossEntropyLoss(reduction="sum"), [data()])


def once_differentiable() -> Task:
    """Return a task with a layer whose backward pass is cut, so that its second derivative is silently wrong."""

    class _Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return 2 * x.detach() * gradient

    class Squares(torch.nn.Module):
        def forward(self, x):
            return _Once.apply(x)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(6, 8), Squares(), torch.nn.Linear(8, 3)).double()
    return Task(model, torch.nn.CrossEntropyLoss(), [data()])


def wrong_backward() -> Task:
    """Return a task whose backward pass is not the derivative of its forward pass."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x @ w.T

        @staticmethod
        def backward(ctx, grad):
            x, w = ctx.saved_tensors
            return grad @ w, (grad.T @ x) * (1 + w)

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 18, dtype=torch.float64).reshape(3, 6))

        def forward(self, x):
            return Wrong.apply(x, self.weight)

    return Task(Layer(), torch.nn.CrossEntropyLoss(), [data()])


def with_batchnorm() -> Task:
    """Return a task whose network normalizes each batch."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
        model = torch.nn.Sequential(*layers).double()
    return Task(model, torch.nn.CrossEntropyLoss(), [data()], name="with_batchnorm")


def with_dropout() -> Task:
    """Return a task with dropout: measured in evaluation mode, trained with it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Dropout(0.3), torch.nn.Linear(8, 3)
        ).double()
    return Task(model, torch.nn.CrossEntropyLoss(), [data()])


def pickled_checkpoint() -> Task:
    """Return nothing: the checkpoint it loads could only be read by running code."""
    import pickle
    import tempfile

    class Payload:
        def __reduce__(self):
            return (print, ("this code must not run",))

    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        pickle.dump({"weight": Payload()}, file)
        file.flush()
        torch.load(file.name)
    raise AssertionError("an unsafe checkpoint was read")


def returns_none() -> None:
    """Return the wrong thing."""


def slow() -> Task:
    """Return a task whose forward pass takes a while, to be interrupted."""
    import time

    class Slow(torch.nn.Sequential):
        def forward(self, x):
            time.sleep(0.02)
            return super().forward(x)

    return Task(Slow(*network()), torch.nn.CrossEntropyLoss(), [data()])


def random_forward() -> Task:
    """Return a task whose forward pass draws random numbers, in evaluation mode too."""

    class Noisy(torch.nn.Sequential):
        def forward(self, x):
            return super().forward(x) * (1 + 0.1 * torch.randn((), dtype=x.dtype))

    return Task(Noisy(*network()), torch.nn.CrossEntropyLoss(), [data()])
