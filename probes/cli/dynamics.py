"""``spectra dynamics``: predicted loss curves and the best learning rate, from a task or from a saved problem."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probes.cli import options as shared
from probes.cli.progress import progress_bar
from probes.cli.session import DEFAULT_BATCH, INTERRUPTED, is_run_file, open_task, say, write_picture
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

    from probes.task import Task
    from spectra.dynamics import Quadratic

__all__ = ["ClosureName", "dynamics"]

WITHHELD = 3
PREDICTION = "Prediction"
#: Passes over the data, and fewest steps, of a budget that was not typed. Linearizations of ordinary networks were off
#: by more than 10 % from 0.9 to 5.3 epochs on (theory notes); this lies between.
EPOCHS, FEWEST_STEPS, STREAM_STEPS = 2, 20, 1000
#: Real runs at each learning rate, as ``check_linearization``.
RUNS = 4
#: Batch sizes beside the first one, relative to it.
BESIDE = (0.25, 4)
#: What can be set anew without the model, and is taken from the file otherwise.
SETTINGS = ("closure", "momentum", "nesterov")


class ClosureName(StrEnum):
    """What stands for the gradient noise."""

    LIMIT = "limit"
    GAUSSIAN = "gaussian"
    KURTOSIS = "kurtosis"
    ROW_RESOLVED = "row_resolved"
    EXACT = "exact"
    CONTINUOUS = "continuous"


def dynamics(
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
        typer.Option(min=1, help="Budget in steps. Default: 2 epochs.", show_default=False, rich_help_panel=PREDICTION),
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
            "Default 4 for a task.",
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
    from spectra.dynamics_summary import summarize_dynamics
    from spectra.storage import check_writable, save

    if output is not None:
        check_writable(output)
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
            save(tree, output)

    _require_rates(learning_rate)
    try:
        if is_run_file(target):
            if checkpoint is not None or device is not None or check_runs:
                raise ArgumentError("--checkpoint, --device and --check-runs need the task, not a result file")
            tree = _from_file(target, **given)
        else:
            runs = RUNS if check_runs is None else check_runs
            if runs == 1:
                raise ArgumentError("--check-runs takes at least 2 runs, which show how they scatter, or 0 for none")
            loaded = open_task(target, checkpoint=checkpoint, device=device, threads=threads, quiet=quiet)
            tree = _from_task(loaded, target, runs=runs, seed=seed, quiet=quiet, keep=keep, **given)
        keep(tree)
    except KeyboardInterrupt:
        _say_interrupted(kept, output)
        raise typer.Exit(INTERRUPTED) from None
    _deliver(tree, plot=plot, as_json=as_json)
    if output is not None:
        say(f"wrote {output}", quiet=quiet)
    if summarize_dynamics(tree)["answer"]["verdict"] == "withheld":
        raise typer.Exit(WITHHELD)


def _from_file(name: str, *, settings: dict[str, Any], **given: Any) -> "xr.DataTree":
    """Predict anew from a file; what was not typed is as in the file, and its check stays."""
    from spectra.dynamics_tree import problem_of
    from spectra.errors import SchemaError
    from spectra.storage import load

    data = load(name)
    try:
        problem = problem_of(data)
    except SchemaError as error:
        raise SchemaError(f"{name}: {error}") from error
    before = data.attrs if "num_steps" in data.attrs else {}
    sizes = given["sizes"] or ([int(size) for size in data["best"]["batch_size"].values] if before else None)
    # The same number of steps at another batch size is another number of epochs.
    steps = given["steps"] or (int(before["num_steps"]) if before and not given["sizes"] else None)
    old = {key: before[key] for key in SETTINGS if key in before}
    if settings.get("momentum") == 0 and "nesterov" not in settings:
        old["nesterov"] = False
    tree = _predicted(problem, settings=old | settings, rates=given["rates"], sizes=sizes, steps=steps)
    if "check" in getattr(data, "children", {}):
        tree["check"] = data["check"]
    origin = ("task", "description", "seed", "device")
    tree.attrs |= {key: data.attrs[key] for key in origin if key in data.attrs}
    return tree


def _from_task(task: "Task", name: str, *, runs: int, seed: int, quiet: bool, keep: Any, **given: Any) -> "xr.DataTree":
    """Linearize, predict, and check with real runs; ``keep`` gets the result after each stage."""
    import time

    import xarray as xr

    from probes.linearization_check import check_linearization
    from probes.linearized import linearize
    from spectra.dynamics_tree import checks_dataset, problem_tree

    begin = time.perf_counter()
    _require_settings(task.batches.num_samples, **given)
    about = {
        "task": name,
        "description": task.description,
        "seed": seed,
        "device": str(next(task.model.parameters()).device),
    }

    def kept(tree: xr.DataTree) -> xr.DataTree:
        tree.attrs |= {**about, "seconds": time.perf_counter() - begin}
        keep(tree)
        return tree

    with progress_bar(quiet=quiet) as progress:
        problem = linearize(task, rng=seed, progress=progress)
        kept(problem_tree(problem))
        tree = kept(_predicted(problem, **given))
        checks: list[xr.Dataset] = []
        for rate in _rates_to_check(tree) if runs else []:
            checks.append(
                check_linearization(
                    task,
                    problem,
                    learning_rate=rate,
                    batch_size=tree.attrs["batch_size"],
                    num_steps=tree.attrs["num_steps"],
                    num_runs=runs,
                    closure=tree.attrs["closure"],
                    momentum=tree.attrs["momentum"],
                    nesterov=bool(tree.attrs["nesterov"]),
                    rng=seed,
                    progress=progress,
                )
            )
            tree["check"] = xr.DataTree(checks_dataset(checks))
            kept(tree)
    return tree


def _predicted(
    problem: "Quadratic",
    *,
    settings: dict[str, Any],
    rates: list[float] | None,
    sizes: list[int] | None,
    steps: int | None,
) -> "xr.DataTree":
    from spectra.dynamics_tree import predict

    number = problem.num_samples
    sizes = sizes or _default_sizes(number)
    if steps is None:
        steps = STREAM_STEPS if number is None else max(FEWEST_STEPS, round(EPOCHS * number / sizes[0]))
    usual = "limit" if problem.kurtosis is None else "kurtosis"
    chosen: dict[str, Any] = {"closure": usual, **settings}
    return predict(problem, batch_sizes=sizes, learning_rates=rates, num_steps=steps, **chosen)


def _default_sizes(num_samples: int | None) -> list[int]:
    first = DEFAULT_BATCH if num_samples is None else min(DEFAULT_BATCH, num_samples)
    others = [int(factor * first) for factor in BESIDE]
    return [first, *(size for size in others if size >= 1 and (num_samples is None or size <= num_samples))]


def _require_rates(rates: list[float] | None) -> None:
    for rate in rates or []:
        if not 0 < rate < float("inf"):
            raise ArgumentError(f"--learning-rate must be positive and finite; got {rate}")


def _require_settings(num_samples: int, *, settings: dict[str, Any], sizes: list[int] | None, **_: Any) -> None:
    """Refuse before the spectrum is measured what would be refused after it."""
    from spectra.dynamics import noise_factor
    from spectra.dynamics.method import require_method

    noise_factor(sizes or [1], num_samples=num_samples)
    closure = settings.get("closure", "limit")
    if closure in ("row_resolved", "exact"):
        raise ArgumentError(
            f"--closure {closure} follows the samples in the eigenbasis, which a network's spectrum does not have; "
            "use kurtosis, limit, gaussian or continuous"
        )
    require_method(closure, momentum=settings.get("momentum", 0.0), nesterov=bool(settings.get("nesterov")))


def _rates_to_check(tree: "xr.DataTree") -> list[float]:
    """Return the best learning rate, then those of the curves that are predicted to be stable."""
    best = tree["best"].to_dataset().isel(batch_size=0)
    answer = float(best["learning_rate"])
    limit = min(float(best["closure_learning_rate"]), float(best["noise_free_learning_rate"]))
    others = [float(rate) for rate in tree["curves"].to_dataset()["learning_rate"].values]
    return [answer, *(rate for rate in others if rate < limit and abs(rate / answer - 1) >= 0.01)]


def _say_interrupted(kept: "list[xr.DataTree]", output: Path | None) -> None:
    if not kept:
        say("interrupted before the network was linearized; nothing was saved")
    elif output is None:
        say("interrupted; nothing was saved (no output file was named)")
    else:
        say(f"interrupted; what was measured is in {output}: `spectra dynamics {output}` predicts from it")


def _deliver(tree: "xr.DataTree", *, plot: Path | None, as_json: bool) -> None:
    from spectra.dynamics_report import render_dynamics

    typer.echo(render_dynamics(tree, format="json" if as_json else "text"))
    if plot is not None:
        from spectra.dynamics_plot import plot_dynamics

        write_picture(plot_dynamics(tree), plot)
