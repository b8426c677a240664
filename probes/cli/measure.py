"""``spectra measure``: curvature and noise into a file, for `recommend` and `show`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from probes.cli import options as shared
from probes.cli.session import (
    MeasurementRefused,
    MeasureOptions,
    is_run_file,
    measure_task,
    parse_steps,
    say,
    typed_options,
)
from spectra.errors import ArgumentError, SpectraError

__all__ = ["measure"]

#: Not part of what a later `spectra recommend` repeats.
NOT_REPEATED = ("task", "output", "optimizer", "batch_size", "matrix", "num_probes", "num_steps", "quiet", "debug")


class Matrix(StrEnum):
    """Matrices of the spectral measure."""

    HESSIAN = "hessian"
    GAUSS_NEWTON = "gauss_newton"


def measure(
    context: typer.Context,
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK", help="A task as package.module:function or file.py:function.", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run file to write: .nc or .zarr.", show_default=False)
    ],
    optimizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"{shared.OPTIMIZERS}; none: the given state. Default adamw, or that of the optimizer state.",
            show_default=False,
            rich_help_panel=shared.OPTIMIZER,
        ),
    ] = None,
    batch_size: shared.BatchSize = None,
    micro_batch_size: shared.MicroBatchSize = None,
    accumulation: shared.Accumulation = None,
    world_size: shared.WorldSize = None,
    momentum: shared.Momentum = None,
    beta2: shared.Beta2 = 0.999,
    eps: shared.Eps = 1e-8,
    weight_decay: shared.WeightDecay = 0.0,
    clip_norm: shared.ClipNorm = None,
    optimizer_state: shared.OptimizerState = None,
    checkpoint: shared.Checkpoint = None,
    candidate_steps: shared.CandidateSteps = 40,
    matrix: Annotated[
        Matrix, typer.Option(help="Matrix of the spectral measure.", rich_help_panel=shared.MEASUREMENT)
    ] = Matrix.HESSIAN,
    probe_steps: shared.ProbeSteps = "10",
    probe_learning_rate: shared.ProbeLearningRate = None,
    micro_batches: shared.MicroBatches = 24,
    max_krylov_steps: shared.MaxKrylovSteps = 60,
    num_probes: shared.NumProbes = 10,
    num_steps: shared.NumSteps = 30,
    linearize: Annotated[
        bool,
        typer.Option(
            "--linearize",
            help="Keep the linearized problem at the given state too, for `spectra dynamics FILE`.",
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = False,
    reference_size: shared.ReferenceSize = None,
    noise_size: shared.NoiseSize = None,
    seed: shared.Seed = 0,
    threads: shared.Threads = None,
    device: shared.Device = None,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,
) -> None:
    """Measure curvature, noise and spectrum of a task and save them.

    The file feeds `spectra recommend FILE` and `spectra show FILE`, and opens with xarray. It is written after each
    stage and each learning rate that is tried, so that an interrupted measurement keeps what it has.

    Examples
    --------
      spectra measure probes.examples:digits_cnn -o run.nc --optimizer sgd --batch-size 32

      spectra measure my_project/train.py:task -o spectrum.nc --optimizer none --matrix gauss_newton
    """
    from probes.cli.optimizer_names import read_kind, spec_of, unknown_check

    if not is_run_file(str(output)):
        raise ArgumentError(f"--output must end in .nc or .zarr; got {output}")
    typed = typed_options(context, leave_out=NOT_REPEATED)
    spec, kind = None, None
    if optimizer is not None and optimizer.lower() != "none":
        kind = read_kind(optimizer)
        if kind is None:
            check = unknown_check(optimizer)
            raise ArgumentError(f"--optimizer must be {check.required}, or none; got {check.observed}")
    elif optimizer is None and optimizer_state is None:
        kind = "adamw"
    if kind is not None and optimizer_state is None:
        spec = spec_of(kind, typed=typed, momentum=momentum, beta2=beta2, eps=eps, weight_decay=weight_decay)
    try:
        run = measure_task(
            task,
            MeasureOptions(
                optimizer=spec,
                kind=kind,
                optimizer_state=optimizer_state,
                checkpoint=checkpoint,
                device=device,
                batch_size=batch_size,
                micro_batch_size=micro_batch_size,
                accumulation=accumulation,
                world_size=world_size,
                clip_norm=clip_norm,
                plan={
                    "probe_steps": parse_steps(probe_steps),
                    "candidate_steps": candidate_steps,
                    "probe_learning_rate": probe_learning_rate,
                    "num_micro_batches": micro_batches,
                    "max_krylov_steps": max_krylov_steps,
                    "num_probes": num_probes,
                    "num_steps": num_steps,
                    "reference_size": reference_size,
                    "noise_size": noise_size,
                    "matrix": matrix.value,
                },
                seed=seed,
                threads=threads,
                quiet=quiet,
                typed=typed,
                linearize=linearize,
            ),
            path=output,
        )
    except MeasurementRefused as refusal:
        if isinstance(refusal.__cause__, SpectraError):
            raise refusal.__cause__ from None
        raise ArgumentError(str(refusal)) from None
    say(
        f"wrote {output}: {len(run['stages']['stage'])} stages, {int(run.attrs['num_matvecs'])} curvature products, "
        f"{float(run.attrs['seconds']):.1f} s",
        quiet=quiet,
    )
