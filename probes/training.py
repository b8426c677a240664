"""Real optimizer steps on a copy of a task's model, with the optimizer's own arithmetic."""

import math
from collections.abc import Iterator

import numpy as np
import torch

from probes.batches import Batch, Samples
from probes.objective import read_objective
from probes.optimizers import describe_optimizer, second_moment, set_learning_rate
from probes.state import preserved_random_state
from probes.task import Task
from spectra.arrays import finite_number
from spectra.errors import ArgumentError, TaskError
from spectra.recommend.optimizer import OptimizerSpec

__all__ = ["TrainingRun", "build_optimizer", "shuffled_batches"]


def build_optimizer(
    spec: OptimizerSpec, parameters: list[torch.nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """Return the torch optimizer that ``spec`` describes.

    Raises
    ------
    ArgumentError
        If torch.optim has no optimizer of that kind that the rules cover.
    """
    if spec.why_unsupported is not None:
        raise ArgumentError(f"steps of {spec.kind} are not taken here: {spec.why_unsupported}.")
    if spec.kind in ("sgd", "momentum", "nesterov"):
        return torch.optim.SGD(
            parameters,
            lr=learning_rate,
            momentum=spec.beta,
            dampening=spec.dampening,
            weight_decay=spec.weight_decay,
            nesterov=spec.kind == "nesterov",
        )
    if spec.kind == "rmsprop":
        return torch.optim.RMSprop(
            parameters,
            lr=learning_rate,
            alpha=spec.alpha,
            eps=spec.eps,
            weight_decay=spec.weight_decay,
            momentum=spec.beta,
            centered=spec.centered,
        )
    kind = torch.optim.AdamW if spec.kind == "adamw" else torch.optim.Adam
    return kind(
        parameters,
        lr=learning_rate,
        betas=(spec.beta, spec.beta2),
        eps=spec.eps,
        weight_decay=spec.weight_decay,
        amsgrad=spec.amsgrad,
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
        Parameters of ``model`` to train; with a torch optimizer, those whose second moments are asked for.
    samples : Samples
        The data.
    optimizer : OptimizerSpec or torch.optim.Optimizer
        Kind and constants of a fresh optimizer; or one that trains parameters of ``model``, in any state, such as
        :func:`probes.optimizers.rebuild` returns. It is used as it is, so that its state moves with the steps.
    batch_size : int
        Samples in each step.
    learning_rate : float, optional
        Rate of the steps; of a torch optimizer that of its first parameter group, to which the others keep their
        ratios. By default a torch optimizer keeps its rates.
    rng : numpy.random.Generator
        Order of the samples.
    clip_norm : float, optional
        Bound on the norm of the gradient of all parameters that are trained, as
        :func:`torch.nn.utils.clip_grad_norm_` has it.
    micro_batch_size : int, optional
        The gradient of a step is accumulated over pieces of at most so many samples. The mean over the batch is the
        same, however the pieces and the weights of samples in the loss divide it.

    Attributes
    ----------
    losses : list of float
        Loss of the batch of every step, before the step.
    gradient_norms : list of float
        Norm of the gradient of every step, before clipping; empty without ``clip_norm``.
    num_clipped : int
        Steps whose gradient was clipped.

    Raises
    ------
    TaskError
        The optimizer trains parameters that are not in ``model``.
    ArgumentError
        ``clip_norm`` or ``micro_batch_size`` is not positive, or a description comes without a learning rate.
    """

    def __init__(
        self,
        task: Task,
        model: torch.nn.Module,
        parameters: list[torch.nn.Parameter],
        samples: Samples,
        *,
        optimizer: OptimizerSpec | torch.optim.Optimizer,
        batch_size: int,
        learning_rate: float | None = None,
        rng: np.random.Generator,
        clip_norm: float | None = None,
        micro_batch_size: int | None = None,
    ) -> None:
        self.model = model
        self.parameters = parameters
        if isinstance(optimizer, OptimizerSpec):
            if learning_rate is None:
                raise ArgumentError("learning_rate is needed where the optimizer is a description, OptimizerSpec")
            self.spec = optimizer
            self.optimizer = build_optimizer(optimizer, parameters, learning_rate)
        else:
            _require_own(optimizer, model)
            self.spec = describe_optimizer(optimizer)
            self.optimizer = optimizer
            if learning_rate is not None:
                set_learning_rate(optimizer, learning_rate)
        if clip_norm is not None and not finite_number(clip_norm, name="clip_norm") > 0:
            raise ArgumentError(f"clip_norm must be positive; got {clip_norm}")
        if micro_batch_size is not None and micro_batch_size < 1:
            raise ArgumentError(f"micro_batch_size must be at least 1 sample; got {micro_batch_size}")
        self.clip_norm, self.micro_batch_size = clip_norm, micro_batch_size
        self.learning_rate = float(self.optimizer.param_groups[0]["lr"])
        self.losses: list[float] = []
        self.gradient_norms: list[float] = []
        self.num_clipped = 0
        self._trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
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
            self._clear_gradients()
            for module, mode in modes:
                module.training = mode

    def _devices(self) -> set[torch.device]:
        return {parameter.device for parameter in self._trained}

    def _clear_gradients(self) -> None:
        """Free all gradients of the copy: those of parameters that are not trained would add up."""
        self.optimizer.zero_grad(set_to_none=True)
        self.model.zero_grad(set_to_none=True)

    def _advance(self, count: int) -> bool:
        for _ in range(count):
            torch.manual_seed(self._seed + len(self.losses))
            batch = next(self._batches)
            self._clear_gradients()
            self.losses.append(self._backward(batch))
            if self._has_diverged():
                return False
            if self.clip_norm is not None:
                self._clip(self.clip_norm)
            self.optimizer.step()
        return all(bool(torch.isfinite(parameter).all()) for parameter in self._trained)

    def _backward(self, batch: Batch) -> float:
        """Leave the gradient of the mean loss of a batch in the parameters, and return that loss."""
        value = 0.0
        for piece, share in self._pieces(batch):
            loss = self._objective.evaluate(piece)
            loss = loss if share == 1 else share * loss
            loss.backward()
            value += float(loss.detach())
        return value

    def _pieces(self, batch: Batch) -> list[tuple[Batch, float]]:
        """Cut a batch into micro-batches, with the share of each in the mean."""
        size = self.micro_batch_size
        if size is None or batch.size <= size:
            return [(batch, 1.0)]
        cut = [batch.take(slice(start, start + size)) for start in range(0, batch.size, size)]
        if self._objective.reduction == "sum":
            return [(piece, 1.0) for piece in cut]
        weighted = [(piece, self._objective.weight(piece)) for piece in cut]
        total = sum(weight for _, weight in weighted)
        # The mean of a piece without weight, such as one whose targets are all ignored, is 0/0.
        return [(piece, weight / total) for piece, weight in weighted if weight] or [(batch, 1.0)]

    def _clip(self, bound: float) -> None:
        norm = float(torch.nn.utils.clip_grad_norm_(self._trained, bound))
        self.gradient_norms.append(norm)
        self.num_clipped += norm > bound

    def _has_diverged(self) -> bool:
        latest = self.losses[-1]
        return not math.isfinite(latest) or latest > 10 * max(abs(self.losses[0]), 1e-3)

    def second_moment(self) -> torch.Tensor:
        """Return the squares that the optimizer divides by the root of: :func:`probes.optimizers.second_moment`."""
        return second_moment(self.optimizer, self.parameters)


def _require_own(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> None:
    own = {id(parameter) for parameter in model.parameters()}
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    strangers = sum(id(parameter) not in own for parameter in trained)
    if strangers:
        raise TaskError(
            f"{strangers} of the {len(trained)} tensors that the {type(optimizer).__name__} trains are not in the "
            "model that is trained here, a copy. Make one for the copy: "
            "probes.optimizers.rebuild(optimizer, model=model, onto=copy)."
        )
