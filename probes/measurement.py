"""Measure a task for a recommendation: real optimizer steps on a copy, curvature and noise of where they lead.

The flow:

1. the given state, and states after a few gentle steps (0 and 10 real steps by default): top Ritz pairs of the
   Hessian on a fixed reference set, in the space of the optimizer's preconditioner; curvature noise of those
   directions and gradient noise, from disjoint micro-batches;
2. candidate learning rates, each with real steps from the given state; the one that was found, and maybe its half or
   double, followed for two or four times as many (:mod:`probes.candidates`);
3. on request a spectral measure at the last gentle state, by stochastic Lanczos quadrature.

Everything runs on a deep copy of the model; nothing of the user's is touched.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import torch
import xarray as xr

from probes.batches import Samples
from probes.candidates import confirm_rate, try_candidates
from probes.model_loss import read_any_loss
from probes.operators import GaussNewtonOperator
from probes.plan import MeasurementPlan
from probes.probe_rate import default_rate, gentle_rate
from probes.record import Record
from probes.state_meter import StateMeter
from probes.task import Task
from probes.trainer import Trainer
from probes.training import TrainingRun
from spectra import slq
from spectra.errors import ArgumentError, NonFiniteError, TaskError
from spectra.provenance import provenance
from spectra.recommend import OptimizerSpec
from spectra.recommend.run import RUN_SCHEMA, RUN_SCHEMA_VERSION
from spectra.recommend.self_consistent import consistency_rule, self_consistent_rate

__all__ = ["MeasurementInterrupted", "measure_run"]

Progress = Callable[[str, int, int], None]

#: The search for a learning rate begins at this part of the rate of the gentle steps; a design choice.
FIRST_CANDIDATE = {"sgd": 0.25, "momentum": 0.25, "nesterov": 0.25, "adam": 0.5, "adamw": 0.5, "rmsprop": 0.5}


SUMMED = (
    "the loss sums over the batch (reduction='sum'); learning rates are for a loss that is a mean over samples. Use "
    "reduction='mean', or divide by the batch size."
)


class MeasurementInterrupted(KeyboardInterrupt):
    """Ctrl-C during a measurement; ``run`` holds what had been measured."""

    def __init__(self, run: xr.DataTree) -> None:
        super().__init__("measurement interrupted")
        self.run = run


def measure_run(
    task: Task,
    *,
    optimizer: "OptimizerSpec | str | torch.optim.Optimizer | None" = "adamw",
    batch_size: int = 64,
    clip_norm: float | None = None,
    micro_batch_size: int | None = None,
    plan: MeasurementPlan | None = None,
    rng: int = 0,
    name: str | None = None,
    progress: Progress | None = None,
    on_stage: Callable[[xr.DataTree], object] | None = None,
) -> xr.DataTree:
    """Measure curvature and noise of a task before and after real steps of an optimizer.

    Parameters
    ----------
    task : Task
        Model, loss and data. Measured in evaluation mode on a deep copy; steps are taken in train mode.
    optimizer : OptimizerSpec, or its kind, or torch.optim.Optimizer, or None
        Whose steps to take. A torch optimizer of ``task.model`` is read, never stepped: its state (second moments,
        momentum buffers) goes into the measurement, and the learning rate is that of its first parameter group, to
        which the others keep their ratios. ``None``, or an optimizer without a theory of its limit, measures the given
        state only.
    batch_size : int
        Effective batch size of the steps: micro-batch x accumulation x workers, see
        :class:`probes.effective_batch.EffectiveBatch`.
    clip_norm : float, optional
        Bound on the norm of the gradient in training, as :func:`torch.nn.utils.clip_grad_norm_` has it. The steps are
        clipped; limits are those of the iteration without clipping.
    micro_batch_size : int, optional
        Gradients of the steps are accumulated over pieces of at most so many samples, which bounds the memory.
    plan : MeasurementPlan, optional
        What to measure; the defaults are those of the recommender's validation.
    rng : int
        Seed of everything random.
    name : str, optional
        How the run calls the task; its own name by default.
    progress : callable, optional
        Called with (what is being done, done, total).
    on_stage : callable, optional
        Called with the run so far after each stage, e.g. to save it.

    Returns
    -------
    xarray.DataTree
        A run: see :mod:`spectra.recommend.run` for its content.

    Raises
    ------
    TaskError, ArgumentError
        If the task or the plan cannot be carried out.
    NonFiniteError
        If the loss is NaN or infinite at the given state.
    MeasurementInterrupted
        On Ctrl-C; it carries the run so far.

    Notes
    -----
    Cost at the defaults: two stages of about 15 to 40 products on the reference set for the Ritz pairs, three for each
    micro-batch and one gradient; four to eight candidates of 40 steps with about ten products on the reference set and
    one of two directions for every second micro-batch; one to five rates followed for 80 or 160 steps. The run says
    what was spent: ``num_matvecs``, ``num_gradients``, ``sample_gradients`` and ``seconds``.
    """
    plan = plan or MeasurementPlan()
    trainer = Trainer.of(task, optimizer, clip_norm=clip_norm, micro_batch_size=micro_batch_size)
    if read_any_loss(task.loss).reduction == "sum":
        raise TaskError(SUMMED)
    samples = task.samples()
    if not 1 <= batch_size <= samples.num_samples:
        raise ArgumentError(
            f"batch_size must lie between 1 and the {samples.num_samples} samples of the data; got {batch_size}"
        )
    task = replace(task, name=name or task.name)
    session = _Session(task, samples, trainer, batch_size, plan, rng, progress or (lambda *_: None))
    try:
        session.run(on_stage or (lambda _: None))
    except KeyboardInterrupt as interrupt:
        raise MeasurementInterrupted(session.record.to_tree()) from interrupt
    return session.record.to_tree()


class _Session:
    """One measurement: the meter, the steps to take and the record."""

    def __init__(
        self,
        task: Task,
        samples: Samples,
        trainer: Trainer,
        batch_size: int,
        plan: MeasurementPlan,
        rng: int,
        progress: Progress,
    ) -> None:
        optimizer = trainer.spec
        self.task, self.samples, self.optimizer, self.plan, self.seed = task, samples, optimizer, plan, rng
        self.trainer, self.batch_size, self.progress = trainer, batch_size, progress
        self.meter = StateMeter(
            task,
            samples,
            optimizer=optimizer,
            batch_size=batch_size,
            plan=plan,
            seed=rng,
            progress=progress,
            parameters=trainer.names,
            relative_rates=trainer.relative_rates,
        )
        self.steps = (0,) if optimizer is None else plan.probe_steps
        first = next(iter(self.meter.parameters.values()))
        self.record = Record(
            cost=self.meter.cost,
            attrs={
                "schema": RUN_SCHEMA,
                "schema_version": RUN_SCHEMA_VERSION,
                "task": task.name,
                "description": task.description,
                "optimizer": optimizer.to_json() if optimizer else "",
                "requested_optimizer": trainer.requested,
                "why_unsupported": trainer.why_unsupported,
                "clip_norm": trainer.clip_norm or 0.0,
                "group_ratios": json.dumps(trainer.group_ratios),
                "batch_size": batch_size,
                "num_samples": samples.num_samples,
                "dimension": sum(parameter.numel() for parameter in self.meter.parameters.values()),
                "dtype": str(first.dtype).removeprefix("torch."),
                "device": str(first.device),
                "space": "preconditioned" if optimizer and optimizer.is_adaptive else "parameters",
                "reference_size": self.meter.reference_size,
                "noise_size": self.meter.noise_size,
                "micro_batch_size": self.meter.micro.size,
                "num_micro_batches": len(self.meter.micro.batches),
                "max_krylov_steps": plan.max_krylov_steps,
                "num_planned_stages": len(self.steps),
                "planned_candidates": int(self.tries_candidates),
                "planned_spectrum": int(plan.num_probes > 0),
                "is_trained": int(task.pretrained or trainer.has_state),
                "seed": rng,
                "plan": json.dumps(asdict(plan)),
                **provenance(),
            },
        )

    @property
    def tries_candidates(self) -> bool:
        """Whether candidate learning rates are part of the measurement."""
        return self.optimizer is not None and self.plan.candidate_steps > 0

    def run(self, on_stage: Callable[[xr.DataTree], object]) -> None:
        meter = self.meter
        self.progress("checking the operator", 0, 1)
        operator = meter.hessian(meter.reference, check=True)
        loss = meter.loss()
        if not np.isfinite(loss):
            raise NonFiniteError(
                f"the loss at the given state is {loss}; it must be finite before anything is measured"
            )
        if meter.sums_losses():
            raise TaskError(SUMMED)
        self.record.remarks += self.trainer.remarks
        self.record.attrs["checks"] = json.dumps(getattr(operator, "checks", {}), default=str)
        initial = copy.deepcopy(meter.model.state_dict())
        dataset, scaling, _ = meter.measure(
            "given state", loss=loss, second_moment=self.trainer.second_moment(), with_gradients=len(self.steps) == 1
        )
        self.keep(dataset, 0, on_stage)
        rate = 0.0
        if len(self.steps) > 1:
            first = self.first_rate(dataset)
            rate, remarks = gentle_rate(meter, self.training_run, steps=self.steps[1:], initial_loss=loss, first=first)
            self.record.attrs["probe_learning_rate"] = rate
            self.record.remarks += remarks
            scaling = self.take_gentle_steps(rate, on_stage)
        if self.plan.num_probes:
            self.measure_spectrum(scaling)
            on_stage(self.record.to_tree())
        if self.tries_candidates:
            assert self.optimizer is not None
            meter.model.load_state_dict(initial)
            rate = rate or self.first_rate(dataset)
            steps = self.plan.candidate_steps
            tried = try_candidates(
                meter,
                self.training_run,
                num_steps=steps,
                first=rate * FIRST_CANDIDATE[self.optimizer.kind],
                initial_loss=loss,
                keep=lambda candidate: self.keep_candidate(candidate, self.record.candidates, on_stage),
            )
            found = self_consistent_rate(tried, initial_loss=loss, rule=consistency_rule(self.optimizer))
            confirm_rate(
                meter,
                self.training_run,
                num_steps=steps,
                found=found,
                initial_loss=loss,
                keep=lambda candidate: self.keep_candidate(candidate, self.record.confirmations, on_stage),
            )
            self.record.candidates_complete = True
            self.record.remarks += self.trainer.clipping_remarks()
            on_stage(self.record.to_tree())

    def take_gentle_steps(self, rate: float, on_stage: Callable[[xr.DataTree], object]) -> torch.Tensor | None:
        """Measure the later stages; return the scaling of the last one."""
        assert self.optimizer is not None
        training, scaling = self.training_run(rate), None
        for step in self.steps[1:]:
            self.progress("taking real steps", step, self.steps[-1])
            if not training.advance(step - len(training.losses)):
                raise NonFiniteError(f"training diverged before step {step} although the rehearsal did not")
            self.record.losses = list(training.losses)
            moment = training.second_moment() if self.optimizer.is_adaptive else None
            dataset, scaling, _ = self.meter.measure(f"stage at {step} steps", second_moment=moment)
            self.keep(dataset, step, on_stage)
        self.meter.cost.gradients(len(training.losses), self.batch_size)
        return scaling

    def measure_spectrum(self, scaling: torch.Tensor | None) -> None:
        """Add a spectral measure of the state the model is in."""
        meter = self.meter
        operator: object = meter.hessian(meter.reference)
        if self.plan.matrix == "gauss_newton":
            operator = GaussNewtonOperator(meter.model, self.task.loss, meter.reference, **meter.options(), check=True)
        self.record.spectrum = slq(
            self.meter.space(operator, scaling),
            num_probes=self.plan.num_probes,
            num_steps=self.plan.num_steps,
            rng=self.seed,
            progress=lambda done, total: self.progress("spectral measure", done, total),
        )
        self.meter.cost.products(int(self.record.spectrum.attrs["num_matvecs"]), self.meter.reference_size)

    def keep(self, dataset: xr.Dataset, step: int, on_stage: Callable[[xr.DataTree], object]) -> None:
        """Record a stage."""
        count = np.arange(len(self.meter.micro.batches))
        if "gradient_gram" not in dataset:
            missing = (("micro_batch", "other"), np.full((len(count), len(count)), np.nan))
            dataset = dataset.assign(gradient_gram=missing, gradient_curvature_gram=missing)
        self.record.stages.append(dataset.assign_coords(stage=step, micro_batch=count, other=count))
        on_stage(self.record.to_tree())

    def keep_candidate(
        self, dataset: xr.Dataset, among: list[xr.Dataset], on_stage: Callable[[xr.DataTree], object]
    ) -> None:
        """Record a rate that was tried."""
        among.append(dataset)
        on_stage(self.record.to_tree())

    def first_rate(self, start: xr.Dataset) -> float:
        """Return the rate of the gentle steps, before they are rehearsed."""
        if self.plan.probe_learning_rate:
            return self.plan.probe_learning_rate
        if self.trainer.has_state and self.trainer.learning_rate:
            return self.trainer.learning_rate / 4
        return default_rate(self.meter, float(start["curvature"][0]))

    def training_run(self, rate: float) -> TrainingRun:
        """Return a run of real steps of the meter's model from the state it is in."""
        return self.trainer.run(
            self.task,
            self.meter.model,
            list(self.meter.parameters.values()),
            self.samples,
            batch_size=self.batch_size,
            learning_rate=rate,
            rng=np.random.default_rng([self.seed, 2]),
        )
