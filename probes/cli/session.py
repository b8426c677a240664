"""What `recommend` and `measure` share: from options to a saved run, whatever ends it early."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from probes.cli.pictures import write_picture
from probes.cli.progress import progress_bar
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from probes.effective_batch import EffectiveBatch
    from probes.task import Task
    from spectra.recommend import Check, OptimizerSpec

__all__ = [
    "DEFAULT_BATCH",
    "INTERRUPTED",
    "MeasureOptions",
    "MeasurementRefused",
    "is_run_file",
    "measure_task",
    "say",
    "write_picture",
]

INTERRUPTED = 130
DEFAULT_BATCH = 64


class MeasurementRefused(Exception):
    """A measurement that could not be carried out, as the check that failed; ``run`` is what was measured before."""

    def __init__(
        self, check: "Check", *, batch_size: int, num_samples: int = 0, run: "xr.DataTree | None" = None
    ) -> None:
        super().__init__(f"{check.claim}: {check.observed}; required {check.required}")
        self.check, self.batch_size, self.num_samples, self.run = check, batch_size, num_samples, run


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """Command-line options of a measurement, as typed.

    Attributes
    ----------
    optimizer : OptimizerSpec or None
        Whose steps to take; None: of ``optimizer_state``, or none.
    kind : str or None
        The kind that was typed, for an optimizer state that leaves it open.
    typed : dict
        Options to repeat in a later command, by name.
    linearize : bool
        Whether to add the linearized problem at the given state.
    """

    optimizer: "OptimizerSpec | None"
    kind: str | None
    optimizer_state: Path | None
    checkpoint: Path | None
    device: str | None
    batch_size: int | None
    micro_batch_size: int | None
    accumulation: int | None
    world_size: int | None
    clip_norm: float | None
    plan: dict[str, Any]
    seed: int
    threads: int | None
    quiet: bool
    typed: dict[str, str]
    linearize: bool = False


def say(message: str, *, quiet: bool = False) -> None:
    """Print a remark on stderr."""
    if not quiet:
        print(message, file=sys.stderr)


def is_run_file(target: str) -> bool:
    """Whether the argument names a result file rather than a task."""
    return Path(target).suffix in (".nc", ".zarr")


def parse_steps(text: str) -> tuple[int, ...]:
    """Read ``"10,20"``; 0 is always measured first."""
    try:
        steps = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ArgumentError(
            f"--probe-steps takes whole numbers separated by commas, e.g. 10,20; got {text!r}"
        ) from error
    return steps if steps[0] == 0 else (0, *steps)


def typed_options(context: typer.Context, *, leave_out: tuple[str, ...]) -> dict[str, str]:
    """Return the options that stand on the command line with their values, ``""`` for flags."""
    found = {}
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or name in leave_out:
            continue
        value = context.params[name]
        option = max(parameter.opts, key=len)
        if option.startswith("--"):
            found[option] = "" if isinstance(value, bool) else str(getattr(value, "value", value))
    return found


def measure_task(name: str, options: MeasureOptions, *, path: Path | None) -> "xr.DataTree":
    """Load a task, measure it and save the run to ``path`` after each stage.

    On Ctrl-C what has been measured is saved, and the command ends with exit code 130.

    Raises
    ------
    MeasurementRefused
        The batch is larger than the data, or something turned out not to be finite or not to be reproducible.
    """
    from spectra.errors import NonDeterministicError, NonFiniteError
    from spectra.storage import check_writable, save

    if options.clip_norm is not None and not 0 < options.clip_norm < float("inf"):
        raise ArgumentError(f"--clip-norm must be positive and finite; got {options.clip_norm}")
    if path is not None:
        check_writable(path)
    from probes.measurement import MeasurementInterrupted, measure_run
    from probes.plan import MeasurementPlan

    plan = MeasurementPlan(**options.plan)
    task = open_task(
        name, checkpoint=options.checkpoint, device=options.device, threads=options.threads, quiet=options.quiet
    )
    optimizer = options.optimizer if options.optimizer_state is None else _live_optimizer(task, options)
    num_samples = task.samples().num_samples
    batch = effective_batch(options, num_samples)
    if batch.size > num_samples:
        raise MeasurementRefused(batch_check(batch.size, num_samples), batch_size=batch.size, num_samples=num_samples)
    attributes = _attributes(options, batch, optimizer)
    latest: list[xr.DataTree] = []

    def keep(run: "xr.DataTree") -> None:
        run.attrs.update(attributes)
        latest[:] = [run]
        if path is not None:
            save(run, path)

    pieces = batch.micro_batch_size if batch.micro_batch_size < batch.size else None
    try:
        with progress_bar(quiet=options.quiet) as progress:
            run = measure_run(
                task,
                optimizer=optimizer,
                batch_size=batch.size,
                clip_norm=options.clip_norm,
                micro_batch_size=pieces,
                plan=plan,
                rng=options.seed,
                name=name,
                progress=progress,
                on_stage=keep,
            )
    except MeasurementInterrupted as interrupted:
        _say_interrupted(interrupted.run, attributes, path)
        raise typer.Exit(INTERRUPTED) from None
    except (NonFiniteError, NonDeterministicError) as error:
        raise MeasurementRefused(
            _check_of(error), batch_size=batch.size, num_samples=num_samples, run=latest[0] if latest else None
        ) from error
    keep(run)
    if options.linearize:
        from xarray import DataTree

        from probes.linearized import linearize

        with progress_bar(quiet=options.quiet) as progress:
            try:
                run["problem"] = DataTree(linearize(task, rng=options.seed, progress=progress).to_dataset())
            except KeyboardInterrupt:
                say(f"interrupted before the task was linearized; the measured run is in {path}")
                raise typer.Exit(INTERRUPTED) from None
        keep(run)
    return run


def open_task(name: str, *, checkpoint: Path | None, device: str | None, threads: int | None, quiet: bool) -> "Task":
    """Load a task, move its model to a device, and load a checkpoint into it, as far as they are named."""
    import torch

    from probes.task import load_task

    if threads:
        torch.set_num_threads(threads)
    task = load_task(name)
    prepare_task(task, checkpoint=checkpoint, device=device, quiet=quiet)
    return task


def prepare_task(task: "Task", *, checkpoint: Path | None, device: str | None, quiet: bool) -> None:
    """Move a task's model to a device and load a checkpoint into it, as far as they are named."""
    import torch

    if device is not None:
        try:
            task.model.to(device)
            if isinstance(task.loss, torch.nn.Module):
                task.loss.to(device)
        except (RuntimeError, AssertionError) as error:
            raise ArgumentError(f"the model cannot be moved to --device {device}: {error}") from error
    if checkpoint is not None:
        from probes.checkpoints import load_checkpoint

        say(str(load_checkpoint(task.model, checkpoint)), quiet=quiet)
        task.pretrained = True


def effective_batch(options: MeasureOptions, num_samples: int) -> "EffectiveBatch":
    """Return the batch of one step from what was typed of it; of no size that was typed, one that the passes divide."""
    from probes.effective_batch import EffectiveBatch

    size = options.batch_size
    if size is None and options.micro_batch_size is None:
        passes = (options.accumulation or 1) * (options.world_size or 1)
        size = passes * max(1, min(DEFAULT_BATCH, num_samples) // passes)
    return EffectiveBatch.of(
        size=size,
        micro_batch_size=options.micro_batch_size,
        accumulation=options.accumulation,
        world_size=options.world_size,
    )


def batch_check(size: int, num_samples: int) -> "Check":
    """Return the failed check of a batch that is larger than the data."""
    from spectra.recommend import Check

    return Check(
        claim="the batch fits into the data",
        observed=f"{size} samples in a step, {num_samples} samples in the data",
        required=f"at most {num_samples} samples",
        passed=False,
        source="batches are drawn without replacement",
    )


def _live_optimizer(task: "Task", options: MeasureOptions) -> "torch.optim.Optimizer":
    """Return the optimizer of a saved state, made for the task's model."""
    from probes.optimizers import describe_optimizer, load_optimizer_state, optimizer_from_state

    assert options.optimizer_state is not None
    state = load_optimizer_state(options.optimizer_state)
    optimizer = optimizer_from_state(state, model=task.model, kind=options.kind)
    groups = state["param_groups"]
    numbered = all(isinstance(identity, int) for group in groups for identity in group["params"])
    if len(groups) > 1 and numbered and "param_names" not in groups[0]:
        say("parameter groups without names: taken in the order of Hugging Face Trainer", quiet=options.quiet)
    found = describe_optimizer(optimizer)
    if options.kind is not None and found.kind != options.kind:
        raise ArgumentError(
            f"{options.optimizer_state} is the state of {found.label}, not of {options.kind}; leave --optimizer out, "
            f"or say --optimizer {found.kind}"
        )
    say(f"{options.optimizer_state}: {found.label}", quiet=options.quiet)
    return optimizer


def _attributes(options: MeasureOptions, batch: "EffectiveBatch", optimizer: Any) -> dict[str, str]:
    """Return what the pages need to know beyond the measurement: how to repeat it, and how the batch comes together."""
    from dataclasses import asdict

    found = {"effective_batch": json.dumps(asdict(batch))}
    if options.typed:
        found["command_options"] = json.dumps(options.typed)
    if options.optimizer_state is not None:
        from probes.optimizers import group_ratios

        found["group_ratios"] = json.dumps(group_ratios(optimizer))
    return found


def _check_of(error: Exception) -> "Check":
    """Return what went badly as a failed check."""
    from spectra.errors import NonDeterministicError
    from spectra.recommend import Check

    if isinstance(error, NonDeterministicError):
        claim, required = "the forward pass is deterministic", "the same result for the same parameters and data"
    else:
        claim, required = "the loss is finite, also after gentle steps", "finite losses, gradients and products"
    return Check(claim=claim, observed=str(error).rstrip("."), required=required, passed=False)


def _say_interrupted(run: "xr.DataTree", attributes: dict[str, str], path: Path | None) -> None:
    from spectra.storage import save

    stages, candidates = (
        len(run[part][dimension]) if part in run.children else 0
        for part, dimension in (("stages", "stage"), ("candidates", "learning_rate"))
    )
    measured = f"interrupted after {stages} measured stages and {candidates} candidate rates"
    if path is None:
        say(f"{measured}; nothing was saved (no output file was named)")
        return
    run.attrs.update(attributes)
    save(run, path)
    say(f"{measured}; what was measured is in {path}: `spectra recommend {path}` makes of it what can be made")
