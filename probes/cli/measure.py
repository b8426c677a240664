"""``spectra measure``: curvature and noise into a file, for `recommend` and `show`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from probes.cli import options as shared
from probes.cli.session import MeasureOptions, is_run_file, measure_task, parse_steps, say

__all__ = ["measure"]


class Matrix(StrEnum):
    """Matrices of the spectral measure."""

    HESSIAN = "hessian"
    GAUSS_NEWTON = "gauss_newton"


class OptimizerOrNone(StrEnum):
    """Optimizers whose steps can be taken, or none: the given state only."""

    SGD = "sgd"
    MOMENTUM = "momentum"
    ADAM = "adam"
    ADAMW = "adamw"
    NONE = "none"


def measure(
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
        OptimizerOrNone,
        typer.Option(
            help="Whose steps to take before measuring; none: the given state.",
            rich_help_panel=shared.OPTIMIZER,
        ),
    ] = OptimizerOrNone.ADAMW,
    batch_size: shared.BatchSize = None,
    momentum: shared.Momentum = None,
    beta2: shared.Beta2 = 0.999,
    eps: shared.Eps = 1e-8,
    weight_decay: shared.WeightDecay = 0.0,
    matrix: Annotated[
        Matrix, typer.Option(help="Matrix of the spectral measure.", rich_help_panel=shared.MEASUREMENT)
    ] = Matrix.HESSIAN,
    probe_steps: shared.ProbeSteps = "10,20",
    probe_learning_rate: shared.ProbeLearningRate = None,
    micro_batches: shared.MicroBatches = 24,
    max_krylov_steps: shared.MaxKrylovSteps = 60,
    num_probes: shared.NumProbes = 10,
    num_steps: shared.NumSteps = 30,
    reference_size: shared.ReferenceSize = None,
    seed: shared.Seed = 0,
    threads: shared.Threads = None,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,
) -> None:
    """Measure curvature, noise and spectrum of a task and save them.

    The file feeds `spectra recommend FILE` and `spectra show FILE`, and opens with xarray. It is written after each
    stage, so that an interrupted measurement keeps what it has.

    Examples
    --------
      spectra measure probes.examples:digits_cnn -o run.nc --optimizer sgd --batch-size 32

      spectra measure my_project/train.py:task -o spectrum.nc --optimizer none --matrix gauss_newton
    """
    from spectra.errors import ArgumentError

    if not is_run_file(str(output)):
        raise ArgumentError(f"--output must end in .nc or .zarr; got {output}")
    run = measure_task(
        task,
        MeasureOptions(
            optimizer=None if optimizer is OptimizerOrNone.NONE else optimizer.value,
            batch_size=batch_size,
            momentum=momentum,
            beta2=beta2,
            eps=eps,
            weight_decay=weight_decay,
            plan={
                "probe_steps": parse_steps(probe_steps),
                "probe_learning_rate": probe_learning_rate,
                "num_micro_batches": micro_batches,
                "max_krylov_steps": max_krylov_steps,
                "num_probes": num_probes,
                "num_steps": num_steps,
                "reference_size": reference_size,
                "matrix": matrix.value,
            },
            seed=seed,
            threads=threads,
            quiet=quiet,
        ),
        path=output,
    )
    say(
        f"wrote {output}: {len(run['stages']['stage'])} stages, {int(run.attrs['num_matvecs'])} curvature products, "
        f"{float(run.attrs['seconds']):.1f} s",
        quiet=quiet,
    )
