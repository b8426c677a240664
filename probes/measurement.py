"""Measure a task for a recommendation: real optimizer steps on a copy, curvature and noise at several stages.

The flow, for each stage (0, 10 and 20 real steps by default):

1. top Ritz pairs of the Hessian on a fixed reference set, in the space of the optimizer's preconditioner;
2. curvature noise of those directions and gradient noise, from disjoint micro-batches;

and at the last stage a spectral measure by stochastic Lanczos quadrature. Everything runs on a deep copy of the model;
nothing of the user's is touched.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import torch
import xarray as xr

from probes.batches import Batch, Samples
from probes.model_loss import read_any_loss
from probes.noise import curvature_noise_grams, gram, micro_batch_gradients, micro_batches
from probes.operators import GaussNewtonOperator, HessianOperator
from probes.parameters import flatten, select
from probes.plan import MeasurementPlan
from probes.record import Record
from probes.task import Task
from probes.training import TrainingRun, shuffled_batches
from spectra import Operator, eigenpairs, slq
from spectra.errors import ArgumentError, NonFiniteError, TaskError
from spectra.provenance import provenance
from spectra.recommend import OptimizerSpec, gradient_statistics
from spectra.recommend.run import RUN_SCHEMA, RUN_SCHEMA_VERSION

__all__ = ["MeasurementInterrupted", "measure_run"]

Progress = Callable[[str, int, int], None]

#: Samples in one piece of the reference set: bounds the memory of a product, does not change its value.
CHUNK_SAMPLES = 256

#: Gentle rates, by design choice: a rate near the limit spoils the measurement. A pretrained model moves far less.
ADAM_PROBE_RATE = 1e-3
PRETRAINED_PROBE_RATE = 1e-5

#: How much the loss may rise from stage to stage, relatively: a converged model only jitters.
LOSS_SLACK = 0.01
MAX_REHEARSALS = 10


class MeasurementInterrupted(KeyboardInterrupt):
    """Ctrl-C during a measurement; ``run`` holds what had been measured."""

    def __init__(self, run: xr.DataTree) -> None:
        super().__init__("measurement interrupted")
        self.run = run


def measure_run(
    task: Task,
    *,
    optimizer: OptimizerSpec | str | None = "adamw",
    batch_size: int = 64,
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
    optimizer : OptimizerSpec or {"sgd", "momentum", "adam", "adamw"} or None
        Whose steps to take. ``None`` measures the given state only, without steps.
    batch_size : int
        Effective batch size of the steps.
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
    Cost at the defaults: three stages of about 2 x 20 to 2 x 60 products on the reference set for the Ritz pairs, 24
    products and 24 gradients for the noise, and once 300 products for the spectral measure.
    """
    plan = plan or MeasurementPlan()
    spec = OptimizerSpec(kind=optimizer) if isinstance(optimizer, str) else optimizer  # type: ignore[arg-type]
    if read_any_loss(task.loss).reduction == "sum":
        raise TaskError(
            "the loss sums over the batch (reduction='sum'); learning rates are for a loss that is a mean over "
            "samples. Use reduction='mean'."
        )
    samples = task.samples()
    if not 1 <= batch_size <= samples.num_samples:
        raise ArgumentError(
            f"batch_size must lie between 1 and the {samples.num_samples} samples of the data; got {batch_size}"
        )
    task = replace(task, name=name or task.name)
    session = _Session(task, samples, spec, batch_size, plan, rng, progress or (lambda *_: None))
    try:
        session.run(on_stage or (lambda _: None))
    except KeyboardInterrupt as interrupt:
        raise MeasurementInterrupted(session.record.to_tree()) from interrupt
    return session.record.to_tree()


class _Session:
    """One measurement: the model copy, the fixed data and the record."""

    def __init__(
        self,
        task: Task,
        samples: Samples,
        optimizer: OptimizerSpec | None,
        batch_size: int,
        plan: MeasurementPlan,
        rng: int,
        progress: Progress,
    ) -> None:
        self.task, self.samples, self.optimizer, self.plan, self.seed = task, samples, optimizer, plan, rng
        self.batch_size, self.progress = batch_size, progress
        self.model = copy.deepcopy(task.model)
        self.model.eval()
        self.parameters = select(self.model, task.parameters)
        count = samples.num_samples
        size = min(count, plan.reference_size or max(512, 16 * batch_size))
        order = np.sort(np.random.default_rng([rng, 0]).permutation(count)[:size])
        pieces = max(1, -(-size // CHUNK_SAMPLES))
        self.reference = [samples.take(chunk) for chunk in np.array_split(order, pieces)]
        # Within the reference set: a coordinate that only other samples use would have a preconditioner of eps there.
        self.micro = micro_batches(
            samples,
            num=plan.num_micro_batches,
            size=plan.micro_batch_size,
            rng=np.random.default_rng([rng, 1]),
            within=order,
        )
        shuffled = np.random.default_rng([rng, 4]).permutation(order)
        self.moment_batches = [
            samples.take(chunk) for chunk in np.array_split(shuffled, max(2, size // plan.micro_batch_size))
        ]
        trained = optimizer is None or task.pretrained
        self.steps = (0,) if optimizer is None else plan.probe_steps
        first = next(iter(self.parameters.values()))
        self.record = Record(
            attrs={
                "schema": RUN_SCHEMA,
                "schema_version": RUN_SCHEMA_VERSION,
                "task": task.name,
                "description": task.description,
                "optimizer": optimizer.to_json() if optimizer else "",
                "batch_size": batch_size,
                "num_samples": count,
                "dimension": sum(parameter.numel() for parameter in self.parameters.values()),
                "dtype": str(first.dtype).removeprefix("torch."),
                "device": str(first.device),
                "space": "preconditioned" if optimizer and optimizer.is_adaptive else "parameters",
                "reference_size": size,
                "micro_batch_size": self.micro.size,
                "num_micro_batches": len(self.micro.batches),
                "max_krylov_steps": plan.max_krylov_steps,
                "num_planned_stages": len(self.steps),
                "planned_spectrum": int(plan.num_probes > 0),
                "is_trained": int(trained and task.pretrained),
                "seed": rng,
                "plan": json.dumps(asdict(plan)),
                **provenance(),
            }
        )

    def run(self, on_stage: Callable[[xr.DataTree], object]) -> None:
        self.progress("checking the operator", 0, 1)
        operator = self.operator(HessianOperator, self.reference, check=True)
        loss = float(operator.loss())
        if not np.isfinite(loss):
            raise NonFiniteError(
                f"the loss at the given state is {loss}; it must be finite before anything is measured"
            )
        if any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in self.model.modules()):
            self.record.notes.append("BatchNorm measured with its running statistics, which training does not use")
        self.record.attrs["checks"] = json.dumps(getattr(operator, "checks", {}), default=str)
        dataset, scaling = self.stage(0, None)
        self.keep(dataset, on_stage)
        if len(self.steps) > 1:
            training = self.training_run(self.gentle_rate(dataset))
            for step in self.steps[1:]:
                self.progress("taking real steps", step, self.steps[-1])
                if not training.advance(step - len(training.losses)):
                    raise NonFiniteError(f"training diverged before step {step} although the rehearsal did not")
                self.record.losses = list(training.losses)
                dataset, scaling = self.stage(step, training)
                self.keep(dataset, on_stage)
        if self.plan.num_probes:
            kind = HessianOperator if self.plan.matrix == "hessian" else GaussNewtonOperator
            target = self.space(self.operator(kind, self.reference, check=kind is GaussNewtonOperator), scaling)
            self.record.spectrum = slq(
                target,
                num_probes=self.plan.num_probes,
                num_steps=self.plan.num_steps,
                rng=self.seed,
                progress=lambda done, total: self.progress("spectral measure", done, total),
            )
            self.record.num_matvecs += int(self.record.spectrum.attrs["num_matvecs"])
            on_stage(self.record.to_tree())

    @property
    def coupled_decay(self) -> float:
        """L2 weight decay that adds itself to gradient and Hessian; AdamW's is decoupled."""
        return self.optimizer.weight_decay if self.optimizer and self.optimizer.kind != "adamw" else 0.0

    def operator(self, kind: type, batches: list[Batch], *, check: bool = False) -> HessianOperator:
        options = {**self.task.operator_options(), "parameters": list(self.parameters)}
        # A named strategy: one that is chosen by its speed would change the last digits from run to run.
        options["strategy"] = "kept_graph"
        return kind(self.model, self.task.loss, batches, **options, check=check, rng=self.seed)

    def space(self, operator: HessianOperator, scaling: torch.Tensor | None) -> Operator:
        """Return the operator in the space of the optimizer: coupled weight decay added, then preconditioned."""
        result = Operator(lambda block: operator @ block, like=operator.like, name=operator.name)
        if self.coupled_decay:
            result = result.shift(self.coupled_decay)
        return result if scaling is None else result.congruence(scaling)

    def keep(self, dataset: xr.Dataset, on_stage: Callable[[xr.DataTree], object]) -> None:
        self.record.stages.append(dataset)
        on_stage(self.record.to_tree())

    def training_run(self, rate: float) -> TrainingRun:
        assert self.optimizer is not None
        return TrainingRun(
            self.task,
            self.model,
            list(self.parameters.values()),
            self.samples,
            optimizer=self.optimizer,
            batch_size=self.batch_size,
            learning_rate=rate,
            rng=np.random.default_rng([self.seed, 2]),
        )

    def gentle_rate(self, start: xr.Dataset) -> float:
        """Return a rate at which no stage raises the loss of the one before: the default, quartered until that holds.

        A rate near the limit spoils the measurement: it drives the model onto a plateau, where curvature is small and
        the stable limit looks large. So the steps are rehearsed, and the model is set back.
        """
        rate = self.plan.probe_learning_rate or self.default_rate(start)
        state = copy.deepcopy(self.model.state_dict())
        for _ in range(MAX_REHEARSALS):
            training = self.training_run(rate)
            gentle, loss = True, float(start["loss"])
            for step in self.steps[1:]:
                self.progress("rehearsing real steps", step, self.steps[-1])
                gentle = training.advance(step - len(training.losses))
                if gentle:
                    before, loss = loss, float(self.operator(HessianOperator, self.reference).loss())
                    gentle = loss <= before + LOSS_SLACK * abs(before)
                if not gentle:
                    break
            self.model.load_state_dict(state)
            if gentle:
                self.record.attrs["probe_learning_rate"] = rate
                return rate
            self.record.remarks.append(f"steps at learning rate {rate:.3g} raised the loss; measured with smaller ones")
            rate /= 4
        raise NonFiniteError(
            f"real steps raise the loss at every learning rate down to {rate:.3g}; check the loss and the data, or "
            "say pretrained=True if the model is at a minimum"
        )

    def default_rate(self, start: xr.Dataset) -> float:
        """Return the rate at which the rehearsal begins (see :class:`MeasurementPlan`)."""
        assert self.optimizer is not None
        if self.optimizer.is_adaptive:
            return PRETRAINED_PROBE_RATE if self.task.pretrained else ADAM_PROBE_RATE
        sharpness = max(self.batch_sharpness(), float(start["curvature"][0]))
        rate = (1 - self.optimizer.beta) / sharpness if sharpness > 0 else 1e-2
        return rate * (0.1 if self.task.pretrained else 1.0)

    def batch_sharpness(self, num_batches: int = 8) -> float:
        """Return ``E[g_b'H_b g_b / ||g_b||^2]`` at batch size 64 (Andreyev and Beneventano, arXiv 2412.20553)."""
        size = min(64, self.samples.num_samples)
        source = shuffled_batches(self.samples, batch_size=size, rng=np.random.default_rng([self.seed, 3]))
        values = []
        for _ in range(num_batches):
            operator = self.operator(HessianOperator, [next(source)])
            gradient = operator.gradient()
            squared = float(gradient @ gradient)
            if squared > 0:
                values.append(float(gradient @ (operator @ gradient)) / squared)
            self.record.num_matvecs += 1
            self.record.num_gradients += 1
        return float(np.mean(values)) if values else 0.0

    def stage(self, step: int, training: TrainingRun | None) -> tuple[xr.Dataset, torch.Tensor | None]:
        """Measure the current state; return its dataset and the scaling ``P^-1/2`` of the optimizer's space."""
        plan, label = self.plan, f"stage at {step} steps"
        hessian = self.operator(HessianOperator, self.reference)
        micro = self.operator(HessianOperator, list(self.micro.batches))
        self.progress(f"{label}: gradient noise", 0, 1)
        gradients = micro_batch_gradients(micro)
        if self.coupled_decay:
            gradients = gradients + self.coupled_decay * self.flat_parameters()[:, None]
        scaling = self.preconditioner(training)
        if scaling is not None:
            gradients = scaling[:, None] * gradients
        operator = self.space(hessian, scaling)
        products = operator @ gradients
        pairs = eigenpairs(
            operator,
            num=plan.num_directions,
            which="largest",
            num_starts=plan.num_starts,
            max_steps=plan.max_krylov_steps,
            tolerance=1e-4,
            rng=self.seed,
            progress=lambda done, total: self.progress(f"{label}: Ritz pairs", done, total),
        )
        self.progress(f"{label}: curvature noise", 0, 1)
        vectors = torch.as_tensor(pairs["eigenvector"].values.T.copy()).to(hessian.like)
        noise = curvature_noise_grams(micro, vectors, scaling=scaling)
        self.record.num_matvecs += (
            gradients.shape[1] + int(pairs.attrs["num_matvecs"]) + noise.shape[0] * noise.shape[1]
        )
        self.record.num_gradients += gradients.shape[1]

        def padded(values: np.ndarray) -> np.ndarray:
            out = np.full((plan.num_directions, *values.shape[1:]), np.nan)
            out[: len(values)] = values
            return out

        count = len(self.micro.batches)
        dataset = xr.Dataset(
            {
                "loss": float(hessian.loss()),
                "curvature": ("direction", padded(pairs["eigenvalue"].values)),
                "residual": ("direction", padded(pairs["residual"].values)),
                "start_curvature": ("start", pairs["start_largest"].values),
                "smallest_curvature": float(pairs["start_smallest"].min()),
                "curvature_noise_gram": (("direction", "micro_batch", "other"), padded(noise)),
                "gradient_gram": (("micro_batch", "other"), gram(gradients)),
                "gradient_curvature_gram": (("micro_batch", "other"), gram(gradients, products)),
            },
            coords={"stage": step, "micro_batch": np.arange(count), "other": np.arange(count)},
        )
        statistics = gradient_statistics(
            dataset["gradient_gram"].values,
            dataset["gradient_curvature_gram"].values,
            batch_size=self.micro.size,
        )
        if not np.isfinite(statistics.squared_gradient.value):
            raise NonFiniteError(f"a gradient is not finite after {step} real steps")
        return dataset, scaling

    def preconditioner(self, training: TrainingRun | None) -> torch.Tensor | None:
        r"""Return ``P^-1/2`` with ``P = sqrt(max(v_hat, E g_b^2)) + eps``, or None for plain SGD.

        Young second moments are near zero for many coordinates, which makes the preconditioned curvature explode;
        their expectation ``E g_b^2 = G^2 + diag(Sigma)/b`` under the current state takes over until they have filled.
        ``G`` and ``diag(Sigma)`` are the mean and the scaled scatter of the gradients of pieces of the *whole*
        reference set, on which the curvature is measured: a coordinate that few samples use must not be curved there
        and flat here.
        """
        if self.optimizer is None or not self.optimizer.is_adaptive:
            return None
        operator = self.operator(HessianOperator, self.moment_batches)
        count, size = len(self.moment_batches), self.record.attrs["reference_size"] / len(self.moment_batches)
        mean = torch.zeros_like(operator.like)
        squared = torch.zeros_like(operator.like)
        for index, gradient in enumerate(operator.batch_gradients(), 1):
            decayed = gradient + self.coupled_decay * self.flat_parameters()
            step = decayed - mean
            mean += step / index
            squared += step * (decayed - mean)
        variance = size * squared / (count - 1)
        self.record.num_gradients += count
        moment = mean**2 + variance * max(0.0, 1 / self.batch_size - 1 / (size * count))
        if training is not None and training.losses:
            moment = torch.maximum(moment, training.second_moment())
        return (moment.sqrt() + self.optimizer.eps).rsqrt()

    def flat_parameters(self) -> torch.Tensor:
        """Return the current parameters as one vector."""
        return flatten(list(self.parameters.values())).detach()
