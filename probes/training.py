"""Real optimizer steps on a copy of a task's model, with the optimizer's own arithmetic."""

import math
from collections.abc import Iterator

import numpy as np
import torch

from probes.batches import Batch, Samples
from probes.objective import read_objective
from probes.state import preserved_random_state
from probes.task import Task
from spectra.errors import ArgumentError
from spectra.recommend import OptimizerSpec

__all__ = ["TrainingRun", "build_optimizer", "shuffled_batches"]


def build_optimizer(
    spec: OptimizerSpec, parameters: list[torch.nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """Return the torch optimizer that ``spec`` describes."""
    if spec.kind in ("sgd", "momentum"):
        return torch.optim.SGD(parameters, lr=learning_rate, momentum=spec.beta, weight_decay=spec.weight_decay)
    kind = torch.optim.AdamW if spec.kind == "adamw" else torch.optim.Adam
    return kind(
        parameters,
        lr=learning_rate,
        betas=(spec.beta, spec.beta2),
        eps=spec.eps,
        weight_decay=spec.weight_decay,
    )


def shuffled_batches(samples: Samples, *, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Yield batches of ``batch_size`` samples for ever: a fresh permutation each epoch, ragged remainder dropped."""
    if not 1 <= batch_size <= samples.num_samples:
        raise ArgumentError(
            f"batch_size must lie between 1 and the {samples.num_samples} samples of the data; got {batch_size}"
        )
    while True:
        order = rng.permutation(samples.num_samples)
        for start in range(0, samples.num_samples - batch_size + 1, batch_size):
            yield samples.take(order[start : start + batch_size])


class TrainingRun:
    """A model in training: takes real steps and shows its losses and optimizer state.

    Parameters
    ----------
    task : Task
        The task whose loss and output reader are used; its model is *not* touched.
    model : torch.nn.Module
        The copy that is trained.
    parameters : list of torch.nn.Parameter
        Parameters of ``model`` to train.
    optimizer : OptimizerSpec
        Kind and constants.
    batch_size : int
        Samples in each step.
    learning_rate : float
        Rate of the steps.
    rng : numpy.random.Generator
        Order of the samples.
    """

    def __init__(
        self,
        task: Task,
        model: torch.nn.Module,
        parameters: list[torch.nn.Parameter],
        samples: Samples,
        *,
        optimizer: OptimizerSpec,
        batch_size: int,
        learning_rate: float,
        rng: np.random.Generator,
    ) -> None:
        self.model = model
        self.parameters = parameters
        self.spec = optimizer
        self.optimizer = build_optimizer(optimizer, parameters, learning_rate)
        self.learning_rate = learning_rate
        self.losses: list[float] = []
        self._seed = int(rng.spawn(1)[0].integers(2**62))
        self._objective = read_objective(model, task.loss, output=task.output)
        self._batches = shuffled_batches(samples, batch_size=batch_size, rng=rng)

    def advance(self, count: int) -> bool:
        """Take ``count`` steps in train mode; return False as soon as a loss is not finite or has grown tenfold.

        The loss of a step is that of its batch *before* the step. The model's mode is restored afterwards, and so
        are the global random states: dropout masks depend on the seed and the step only.
        """
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.train()
        try:
            with torch.inference_mode(False), torch.enable_grad(), preserved_random_state(*self._devices()):
                return self._advance(count)
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            for module, mode in modes:
                module.training = mode

    def _devices(self) -> set[torch.device]:
        return {parameter.device for parameter in self.parameters}

    def _advance(self, count: int) -> bool:
        for _ in range(count):
            torch.manual_seed(self._seed + len(self.losses))
            batch = next(self._batches)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self._objective.evaluate(batch)
            loss.backward()
            self.losses.append(float(loss.detach()))
            if self._has_diverged():
                return False
            self.optimizer.step()
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters)

    def _has_diverged(self) -> bool:
        latest = self.losses[-1]
        return not math.isfinite(latest) or latest > 10 * max(abs(self.losses[0]), 1e-3)

    def second_moment(self) -> torch.Tensor:
        """Return Adam's bias-corrected ``v_hat``, flat; zero where a parameter has no state yet."""
        parts = []
        for parameter in self.parameters:
            state = self.optimizer.state.get(parameter, {})
            if "exp_avg_sq" in state:
                parts.append((state["exp_avg_sq"] / (1 - self.spec.beta2 ** float(state["step"]))).flatten())
            else:
                parts.append(torch.zeros_like(parameter).flatten())
        return torch.cat(parts).detach()
