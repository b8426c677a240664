"""``spectra dynamics``: predicted loss curves and the best learning rate, from a task or from a saved problem."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probes.cli import options as shared
from probes.cli.interrupts import interrupts_held_back
from probes.cli.pictures import check_picture
from probes.cli.reports import deliver
from probes.cli.session import INTERRUPTED, is_run_file, open_task, say, typed_options
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ClosureName", "dynamics"]

WITHHELD = 3
PREDICTION = "Prediction"
#: Real runs at each learning rate, as ``check_linearization``.
RUNS = 8
#: Options that say something of a measurement, and nothing of a file.
OF_A_TASK = ("--checkpoint", "--device", "--check-runs", "--max-trace-products", "--seed", "--threads")


class ClosureName(StrEnum):
    """What stands for the gradient noise."""

    LIMIT = "limit"
    GAUSSIAN = "gaussian"
    KURTOSIS = "kurtosis"
    ROW_RESOLVED = "row_resolved"
    EXACT = "exact"
    CONTINUOUS = "continuous"


def dynamics(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TASK_OR_FILE",
            help="A task as package.module:function or file.py:function; or a result of this command, to predict anew.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to keep the result in: .nc or .zarr. Written after each stage.",
            show_default=False,
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    learning_rate: Annotated[
        list[float] | None,
        typer.Option(
            "--learning-rate",
            help="Learning rate of a curve; repeat for several. Default: around the best one.",
            show_default=False,
            rich_help_panel=PREDICTION,
        ),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option(
            "--batch-size",
            "-b",
            min=1,
            help="Batch size; repeat for several: the first is answered for, others are compared. Default 64, 16, 256.",
            show_default=False,
            rich_help_panel=PREDICTION,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Budget in steps. Default: 2 epochs, at least 20 steps; 1000 of a stream.",
            show_default=False,
            rich_help_panel=PREDICTION,
        ),
    ] = None,
    closure: Annotated[
        ClosureName | None,
        typer.Option(
            help="What stands for the gradient noise. Default kurtosis where the samples were measured along the "
            "largest modes, else limit. row_resolved and exact need the data themselves.",
            show_default=False,
            rich_help_panel=PREDICTION,
        ),
    ] = None,
    momentum: Annotated[
        float | None,
        typer.Option(help="Momentum of SGD. Default 0.", show_default=False, rich_help_panel=PREDICTION),
    ] = None,
    nesterov: Annotated[
        bool | None,
        typer.Option("--nesterov/--no-nesterov", help="Nesterov's momentum.", rich_help_panel=PREDICTION),
    ] = None,
    check_runs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Real SGD runs at each learning rate, to see how long the prediction holds; 0 trains nothing. "
            "Default 8 for a task.",
            show_default=False,
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = None,
    max_trace_products: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Products with the curvature that its trace may cost. Where the exact trace costs more, it is "
            "estimated from this many, held at once. Default 240.",
            show_default=False,
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = None,
    checkpoint: shared.Checkpoint = None,
    device: shared.Device = None,
    threads: shared.Threads = None,
    seed: shared.Seed = 0,
    plot: shared.Plot = None,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,
) -> None:
    """Predict training by SGD near the present parameters, and check the prediction with real runs.

    The network is linearized, its Gauss-Newton spectrum measured, and the expected loss follows for any learning rate
    and batch size. Prints the best learning rate for a budget of steps, what limits it, curves, how far larger batches
    help, and for how long all this can be trusted. A file is predicted from anew, with other settings and no model.

    Examples
    --------
      spectra dynamics probes.examples:diabetes_mlp

      spectra dynamics train.py:task --batch-size 128 --steps 500 -o dynamics.nc --plot curves.png

      spectra dynamics dynamics.nc --batch-size 32 --momentum 0.9 --steps 1000
    """
    from probes.cli.dynamics_session import predict_from_file, predict_from_task
    from spectra.dynamics_summary import summarize_dynamics
    from spectra.storage import check_writable, save

    if is_run_file(target):
        needless = [option for option in OF_A_TASK if option in typed_options(context, leave_out=())]
        if needless:
            verb = "needs" if len(needless) == 1 else "need"
            raise ArgumentError(f"{', '.join(needless)} {verb} the task, not a result file: nothing is measured again")
    if output is not None:
        check_writable(output)
    if plot is not None:
        check_picture(plot)
    typed = {"closure": None if closure is None else closure.value, "momentum": momentum, "nesterov": nesterov}
    given: dict[str, Any] = {
        "settings": {name: value for name, value in typed.items() if value is not None},
        "rates": learning_rate,
        "sizes": batch_size,
        "steps": steps,
    }
    kept: list[xr.DataTree] = []

    def keep(tree: "xr.DataTree") -> None:
        kept[:] = [tree]
        if output is not None:
            with interrupts_held_back():
                save(tree, output)

    _require_rates(learning_rate)
    try:
        if is_run_file(target):
            tree = predict_from_file(target, **given)
        else:
            runs = RUNS if check_runs is None else check_runs
            if runs == 1:
                raise ArgumentError("--check-runs takes at least 2 runs, which show how they scatter, or 0 for none")
            loaded = open_task(target, checkpoint=checkpoint, device=device, threads=threads, quiet=quiet)
            tree = predict_from_task(
                loaded,
                target,
                runs=runs,
                max_trace_products=max_trace_products,
                seed=seed,
                quiet=quiet,
                keep=keep,
                **given,
            )
        keep(tree)
    except KeyboardInterrupt:
        _say_interrupted(kept, output)
        raise typer.Exit(INTERRUPTED) from None
    deliver(tree, plot=plot, as_json=as_json)
    if output is not None:
        say(f"wrote {output}", quiet=quiet)
    if summarize_dynamics(tree)["answer"]["verdict"] == "withheld":
        raise typer.Exit(WITHHELD)


def _require_rates(rates: list[float] | None) -> None:
    for rate in rates or []:
        if not 0 < rate < float("inf"):
            raise ArgumentError(f"--learning-rate must be positive and finite; got {rate}")


def _say_interrupted(kept: "list[xr.DataTree]", output: Path | None) -> None:
    if not kept:
        say("interrupted before the network was linearized; nothing was saved")
    elif output is None:
        say("interrupted; nothing was saved (no output file was named)")
    else:
        say(f"interrupted; what was measured is in {output}: `spectra dynamics {output}` predicts from it")
