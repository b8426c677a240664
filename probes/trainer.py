"""How the steps of a measurement are taken: an optimizer by its description, or a live one rebuilt for the copy."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from probes.batches import Samples
from probes.optimizers import describe_optimizer, group_differences, group_ratios, rebuild, second_moment
from probes.parameters import select
from probes.task import Task
from probes.training import TrainingRun
from spectra.errors import TaskError
from spectra.recommend import OptimizerSpec

__all__ = ["Trainer"]


@dataclass
class Trainer:
    """Makes training runs at any learning rate, all from the same optimizer state.

    Attributes
    ----------
    spec : OptimizerSpec or None
        Whose steps are taken; ``None`` where there is no theory for them.
    requested : str
        The optimizer that was asked for, in words; empty for none.
    why_unsupported : str
        Why no steps are taken although an optimizer was asked for.
    live : torch.optim.Optimizer or None
        The user's optimizer; only read.
    model : torch.nn.Module or None
        The user's model, which ``live`` trains.
    names : list of str or None
        Parameters that are measured; ``None`` leaves it to the task.
    relative_rates : Tensor or None
        Learning rate of each coordinate over that of the first group, where they differ.
    clip_norm, micro_batch_size
        As :class:`probes.training.TrainingRun` takes them.
    remarks : list of str
        What a reader should know.
    """

    spec: OptimizerSpec | None
    requested: str = ""
    why_unsupported: str = ""
    live: torch.optim.Optimizer | None = None
    model: torch.nn.Module | None = None
    names: list[str] | None = None
    relative_rates: torch.Tensor | None = None
    clip_norm: float | None = None
    micro_batch_size: int | None = None
    remarks: list[str] = field(default_factory=list)
    _runs: list[TrainingRun] = field(default_factory=list)

    @staticmethod
    def of(
        task: Task,
        optimizer: "OptimizerSpec | str | torch.optim.Optimizer | None",
        *,
        clip_norm: float | None = None,
        micro_batch_size: int | None = None,
    ) -> "Trainer":
        """Read what a user gives as an optimizer.

        Raises
        ------
        ArgumentError
            For an unknown kind.
        TaskError
            If a live optimizer trains none of the task's parameters.
        """
        options: dict[str, Any] = {"clip_norm": clip_norm, "micro_batch_size": micro_batch_size}
        live = optimizer if isinstance(optimizer, torch.optim.Optimizer) else None
        if live is not None:
            spec = describe_optimizer(live)
        else:
            spec = OptimizerSpec(kind=optimizer) if isinstance(optimizer, str) else optimizer  # type: ignore[arg-type,assignment]
        if spec is None:
            return Trainer(None, **options)
        if spec.why_unsupported is not None:
            return Trainer(None, requested=spec.kind, why_unsupported=spec.why_unsupported, **options)
        if live is None:
            return Trainer(spec, requested=spec.kind, **options)
        return Trainer(spec, requested=spec.kind, live=live, model=task.model, **_of_groups(task, live), **options)

    @property
    def has_state(self) -> bool:
        """Whether the optimizer has trained before."""
        return self.live is not None and any(self.live.state.values())

    @property
    def learning_rate(self) -> float | None:
        """Rate of the first group of a live optimizer."""
        return None if self.live is None else float(self.live.param_groups[0]["lr"])

    @property
    def group_ratios(self) -> list[float]:
        """Learning rates of the groups of a live optimizer over that of the first."""
        return [] if self.live is None else list(group_ratios(self.live))

    def second_moment(self) -> torch.Tensor | None:
        """Return the second moments that a live adaptive optimizer has gathered, flat, or None."""
        if self.spec is None or not self.spec.is_adaptive or self.live is None or self.model is None:
            return None
        parameters = dict(self.model.named_parameters())
        assert self.names is not None
        return second_moment(self.live, [parameters[name] for name in self.names]) if self.has_state else None

    def run(
        self,
        task: Task,
        model: torch.nn.Module,
        parameters: list[torch.nn.Parameter],
        samples: Samples,
        *,
        batch_size: int,
        learning_rate: float,
        rng: np.random.Generator,
    ) -> TrainingRun:
        """Return a training run of a copy of the model, from the optimizer's own state."""
        assert self.spec is not None
        optimizer: OptimizerSpec | torch.optim.Optimizer = self.spec
        if self.live is not None:
            assert self.model is not None
            optimizer = rebuild(self.live, model=self.model, onto=model, learning_rate=learning_rate)
        made = TrainingRun(
            task,
            model,
            parameters,
            samples,
            optimizer=optimizer,
            batch_size=batch_size,
            learning_rate=learning_rate,
            rng=rng,
            clip_norm=self.clip_norm,
            micro_batch_size=self.micro_batch_size,
        )
        if self.clip_norm is not None:
            self._runs.append(made)
        return made

    def clipping_remarks(self) -> list[str]:
        """Return what clipping did to the steps of all runs."""
        if self.clip_norm is None:
            return []
        clipped, steps = (
            sum(counts) for counts in zip(*((r.num_clipped, len(r.losses)) for r in self._runs), strict=True)
        )
        if not clipped:
            return [f"gradients never reached the clipping norm {self.clip_norm:g} in {steps} steps: no effect"]
        return [
            f"gradients were clipped to norm {self.clip_norm:g} in {clipped} of {steps} steps. Clipped steps are "
            "shorter than the learning rate says, so that larger rates survive; the limits are those without clipping"
        ]


def _of_groups(task: Task, live: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the measured names, relative rates and remarks of an optimizer with parameter groups."""
    ratios = group_ratios(live)
    ratio_of = {id(p): ratio for group, ratio in zip(live.param_groups, ratios, strict=True) for p in group["params"]}
    selected = select(task.model, task.parameters)
    trained = {name: p for name, p in selected.items() if ratio_of.get(id(p), 0.0) > 0}
    if not trained:
        raise TaskError(
            f"the optimizer trains none of the {len(selected)} selected parameters of {type(task.model).__name__}; "
            "pass an optimizer of this very model, with learning rates above zero."
        )
    remarks = []
    if len(trained) < len(selected):
        remarks.append(f"{len(selected) - len(trained)} of {len(selected)} parameters are not trained, nor measured")
    for key, values in group_differences(live).items():
        remarks.append(f"parameter groups differ in {key} {values}; the first group's was used for the limit")
    found: dict[str, Any] = {"names": list(trained), "remarks": remarks}
    if len({ratio_of[id(p)] for p in trained.values()}) > 1:
        found["relative_rates"] = torch.cat(
            [torch.full_like(p.detach(), ratio_of[id(p)]).flatten() for p in trained.values()]
        )
        described = ", ".join(f"{ratio:g}" for ratio in ratios)
        remarks.append(
            f"learning rates are those of the first parameter group; the groups' ratios to it are {described}"
        )
    return found
