"""``spectra weights``: bulk, spikes and power laws of every weight matrix of a checkpoint or task."""

from pathlib import Path
from typing import Annotated, Any

import typer

from probes.cli import options as shared
from probes.cli.pictures import check_picture, write_picture
from probes.cli.progress import progress_bar
from probes.cli.session import INTERRUPTED, is_run_file, open_task, say, typed_options
from spectra.errors import ArgumentError

__all__ = ["weights"]

#: Options that say how something is found, and nothing of a file of results.
OF_DATA = ("--plot", "--json", "--quiet", "--debug")


def weights(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT|TASK",
            help="A safetensors or torch file, a Hugging Face directory; a task as package.module:function or "
            "file.py:function, for the weights of its model; or a result of this command, to show it.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to keep the result in: .nc or .zarr.",
            show_default=False,
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="PATTERN",
            help="Only matrices whose names contain this, or match it with * and ?; repeat for several.",
            show_default=False,
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = None,
    num_bootstrap: Annotated[
        int,
        typer.Option(min=20, help="Samples for the p-value of each power law.", rich_help_panel=shared.MEASUREMENT),
    ] = 100,
    threads: shared.Threads = None,
    seed: shared.Seed = 0,
    plot: shared.Plot = None,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,
) -> None:
    """Tell noise from structure in every weight matrix, without data.

    Prints, for each matrix, whether its spectrum is that of random numbers, how many singular values stand above the
    noise and how far, norms and ranks, and the exponent of a power law where tests allow one.

    Examples
    --------
      spectra weights model.safetensors

      spectra weights runs/last/ -o weights.nc --plot weights.png --layer attention

      spectra weights probes.examples:minilm
    """
    from spectra.storage import check_writable, load, save

    if plot is not None:
        check_picture(plot)
    if is_run_file(target):
        needless = [option for option in typed_options(context, leave_out=()) if option not in OF_DATA]
        if needless:
            verb = "needs" if len(needless) == 1 else "need"
            raise ArgumentError(f"{', '.join(needless)} {verb} the weights, not a result file: nothing is found again")
        _deliver(load(target), plot=plot, as_json=as_json)
        return
    if output is not None:
        check_writable(output)
    source = _source(target, threads=threads, quiet=quiet)
    from threadpoolctl import threadpool_limits

    from probes.weights import weight_spectra

    try:
        with progress_bar(quiet=quiet) as progress, threadpool_limits(threads or 1):
            found = weight_spectra(source, layers=layer or (), num_bootstrap=num_bootstrap, rng=seed, progress=progress)
    except KeyboardInterrupt:
        say("interrupted; nothing was saved")
        raise typer.Exit(INTERRUPTED) from None
    found.attrs["source"] = target
    if output is not None:
        save(found, output)
    _deliver(found, plot=plot, as_json=as_json)
    if output is not None:
        say(f"wrote {output}", quiet=quiet)


def _source(target: str, *, threads: int | None, quiet: bool) -> Any:
    """Return the model of a task, or a path, with the number of threads set."""
    if not Path(target).exists() and ":" in target:
        return open_task(target, checkpoint=None, device=None, threads=threads, quiet=quiet).model
    if threads:
        import torch

        torch.set_num_threads(threads)
    return target


def _deliver(found: Any, *, plot: Path | None, as_json: bool) -> None:
    from spectra.weights_report import render_weights

    typer.echo(render_weights(found, format="json" if as_json else "text"))
    if plot is not None:
        from spectra.weights_plot import plot_weights

        write_picture(plot_weights(found), plot)
