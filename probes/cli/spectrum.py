"""``spectra spectrum``: eigenvalues, trace, density and condition numbers of a task's curvature matrices."""

from pathlib import Path
from typing import Annotated, Any

import typer

from probes.cli import options as shared
from probes.cli.progress import progress_bar
from probes.cli.session import INTERRUPTED, open_task, say, write_picture

__all__ = ["spectrum"]


def spectrum(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK", help="A task as package.module:function or file.py:function.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to keep the result in: .nc or .zarr. Written after each matrix and layer.",
            show_default=False,
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    matrix: Annotated[
        list[str] | None,
        typer.Option(
            "--matrix",
            help="Matrix to measure: hessian, gauss_newton, fisher, ...; repeat for several. Default: hessian.",
            show_default=False,
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="Measure each layer too.", rich_help_panel=shared.MEASUREMENT)
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Parameters to load into the task's model first: a safetensors or torch file, or a Hugging Face "
            "directory. Every name must fit.",
            show_default=False,
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = None,
    max_matvecs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Products at most, for each matrix and layer. Default 120.", rich_help_panel=shared.MEASUREMENT
        ),
    ] = None,
    num_extremal: Annotated[
        int,
        typer.Option(min=1, help="Eigenvalues to list at each end.", rich_help_panel=shared.MEASUREMENT),
    ] = 5,
    tolerance: Annotated[
        float,
        typer.Option(
            help="Error bound wanted for the largest ones and the smallest, relative to the norm.",
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = 1e-4,
    trace_rtol: Annotated[
        float,
        typer.Option(
            help="Standard error wanted for the trace, relative to the nuclear norm.",
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = 0.01,
    strategy: Annotated[
        str,
        typer.Option(
            help="How products are formed; auto takes what is fastest, kept_graph gives the same digits at every run.",
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = "auto",
    seed: shared.Seed = 0,
    threads: shared.Threads = None,
    device: shared.Device = None,
    plot: shared.Plot = None,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,
) -> None:
    """Measure the spectrum of a task's curvature at its present parameters: one run for all numbers.

    Prints the largest and smallest eigenvalues with error bounds, trace, negative mass and condition numbers with
    intervals, and what they cost. The file opens with xarray and feeds `spectra show FILE`.

    Examples
    --------
      spectra spectrum probes.examples:digits_mlp

      spectra spectrum train.py:task --checkpoint runs/last.safetensors --matrix gauss_newton

      spectra spectrum train.py:task -o spectrum.nc --matrix hessian --matrix gauss_newton --per-layer --plot s.png
    """
    from spectra.storage import check_writable, save

    if output is not None:
        check_writable(output)
    from probes.spectrum import SpectrumInterrupted, measure
    from spectra.spectrum_report import render_spectrum

    def keep(tree: Any) -> None:
        if output is not None:
            save(tree, output)

    loaded = open_task(task, checkpoint=checkpoint, device=device, threads=threads, quiet=quiet)
    loaded.name = task
    format = "json" if as_json else "text"
    try:
        with progress_bar(quiet=quiet) as progress:
            found = measure(
                loaded,
                matrices=matrix or ("hessian",),
                per_layer=per_layer,
                num_extremal=num_extremal,
                num_smallest=min(1, num_extremal),
                tolerance=tolerance,
                trace_rtol=trace_rtol,
                max_matvecs=max_matvecs,
                strategy=strategy,
                rng=seed,
                progress=progress,
                on_result=keep,
            )
    except SpectrumInterrupted as interrupted:
        count = sum("measure" in node.children for node in interrupted.spectrum.subtree)
        if count == 0:
            say("interrupted before anything was measured; nothing was saved")
        elif output is None:
            say(f"interrupted with {count} matrices and layers begun; nothing was saved (no output file was named)")
        else:
            keep(interrupted.spectrum)
            say(f"interrupted with {count} matrices and layers begun; what was measured is in {output}")
        raise typer.Exit(INTERRUPTED) from None
    keep(found)
    typer.echo(render_spectrum(found, format=format))  # type: ignore[arg-type]
    if plot is not None:
        from spectra.spectrum_plot import plot_spectrum

        write_picture(plot_spectrum(found), plot)
    if output is not None:
        say(f"wrote {output}", quiet=quiet)
