"""What `recommend` and `measure` share: from options to a saved run, whatever interrupts it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from probes.cli.progress import progress_bar
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["INTERRUPTED", "MeasureOptions", "is_run_file", "measure_task", "say", "write_picture"]

INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """Command-line options of a measurement, as typed."""

    optimizer: str | None
    batch_size: int | None
    momentum: float | None
    beta2: float
    eps: float
    weight_decay: float
    plan: dict[str, Any]
    seed: int
    threads: int | None
    quiet: bool


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


def measure_task(name: str, options: MeasureOptions, *, path: Path | None) -> "xr.DataTree":
    """Load a task, measure it and save the run to ``path`` after each stage.

    On Ctrl-C what has been measured is saved, and the command ends with exit code 130.
    """
    from spectra.recommend.optimizer import OptimizerSpec
    from spectra.storage import check_writable, save

    spec = None
    if options.optimizer is not None:
        spec = OptimizerSpec(
            kind=options.optimizer,  # type: ignore[arg-type]
            momentum=options.momentum,
            beta2=options.beta2,
            eps=options.eps,
            weight_decay=options.weight_decay,
        )
    if path is not None:
        check_writable(path)
    import torch

    from probes.measurement import MeasurementInterrupted, measure_run
    from probes.plan import MeasurementPlan
    from probes.task import load_task

    plan = MeasurementPlan(**options.plan)
    if options.threads:
        torch.set_num_threads(options.threads)
    task = load_task(name)
    on_stage: Callable[[Any], object] | None = None if path is None else (lambda run: save(run, path))
    try:
        with progress_bar(quiet=options.quiet) as progress:
            run = measure_run(
                task,
                optimizer=spec,
                batch_size=options.batch_size or min(64, task.samples().num_samples),
                plan=plan,
                rng=options.seed,
                name=name,
                progress=progress,
                on_stage=on_stage,
            )
    except MeasurementInterrupted as interrupted:
        stages = len(interrupted.run["stages"]["stage"]) if "stages" in interrupted.run.children else 0
        if path is not None:
            save(interrupted.run, path)
            say(f"interrupted after {stages} measured stages; what was measured is in {path}")
        else:
            say(f"interrupted after {stages} measured stages; nothing was saved (no output file was named)")
        raise typer.Exit(INTERRUPTED) from None
    if path is not None:
        save(run, path)
    return run


def write_picture(figure: Any, path: Path) -> None:
    """Save a figure; an unknown suffix or an unwritable folder is a clear error."""
    supported = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".") not in supported:
        raise ArgumentError(f"--plot takes a file ending in .{', .'.join(sorted(supported))}; got {path.name!r}")
    figure.savefig(path, dpi=150, bbox_inches="tight")
