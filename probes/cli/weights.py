"""``spectra weights``: bulk, spikes and power laws of every weight matrix of a checkpoint or task."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from probes.cli import options as shared
from probes.cli.pictures import check_picture, write_picture
from probes.cli.progress import progress_bar
from probes.cli.session import INTERRUPTED, is_run_file, open_task, say, typed_options
from spectra.errors import ArgumentError

__all__ = ["weights"]

#: Options that a file of results takes too; the others say how something is found.
OF_RESULT = ("--sort", "--csv", "--plot", "--json", "--quiet", "--debug")


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
    against: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="Another state of the same model, as before fine-tuning: the spectra are those of the differences.",
            show_default=False,
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = None,
    stack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Tensors of three or more sizes with such names are stacks of matrices, as of experts.",
            show_default=False,
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = None,
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="... and such ones are kernels of convolutions. Without: told by name and size.",
            show_default=False,
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Entry of a torch file that holds the weights, where it has several.",
            show_default=False,
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = None,
    allow_pickle_from_trusted_source: Annotated[
        bool,
        typer.Option(
            "--allow-pickle-from-trusted-source",
            help="Run Python code stored in a torch file while reading it. Never for a file of unknown origin.",
            rich_help_panel=shared.MEASUREMENT,
        ),
    ] = False,
    num_bootstrap: Annotated[
        int,
        typer.Option(min=20, help="Samples for the p-value of each power law.", rich_help_panel=shared.MEASUREMENT),
    ] = 100,
    threads: shared.Threads = None,
    seed: shared.Seed = 0,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Order by a column of the table or the CSV file, largest first: norm, margin, stable_rank ...",
            show_default=False,
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Write all numbers of all matrices as comma-separated text.",
            show_default=False,
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
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

      spectra weights tuned.safetensors --against pretrained.safetensors --sort relative_change

      spectra weights probes.examples:minilm
    """
    from spectra.storage import check_writable, load, save

    if plot is not None:
        check_picture(plot)
    if csv is not None:
        _check_csv(csv)
    show = partial(_deliver, sort=sort, csv=csv, plot=plot, as_json=as_json)
    if is_run_file(target):
        needless = [option for option in typed_options(context, leave_out=()) if option not in OF_RESULT]
        if needless:
            verb = "needs" if len(needless) == 1 else "need"
            raise ArgumentError(f"{', '.join(needless)} {verb} the weights, not a result file: nothing is found again")
        show(load(target))
        return
    if output is not None:
        check_writable(output)
    source = _source(target, threads=threads, quiet=quiet)
    from threadpoolctl import threadpool_limits

    from probes.weights.measure import WeightsInterrupted, weight_spectra

    interrupted = False
    try:
        with progress_bar(quiet=quiet) as progress, threadpool_limits(threads or 1):
            found = weight_spectra(
                source,
                layers=layer or (),
                num_bootstrap=num_bootstrap,
                rng=seed,
                progress=progress,
                against=against,
                stacks=stack or (),
                kernels=kernel or (),
                key=key,
                allow_pickle_from_trusted_source=allow_pickle_from_trusted_source,
            )
    except WeightsInterrupted as stopped:
        if stopped.found is None:
            say("interrupted before the first matrix was done; nothing was saved")
            raise typer.Exit(INTERRUPTED) from None
        interrupted, found = True, stopped.found
    except KeyboardInterrupt:
        say("interrupted before the first matrix was done; nothing was saved")
        raise typer.Exit(INTERRUPTED) from None
    found.attrs["source"] = target
    # Saved first: what is wrong with a picture or a column to sort by must not lose the result.
    if output is not None:
        save(found, output)
    if interrupted:
        where = f"are in {output}" if output is not None else "were not saved (no output file was named)"
        say(f"interrupted; the {found.sizes['layer']} matrices that were done {where}")
    elif output is not None:
        say(f"wrote {output}", quiet=quiet)
    show(found)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _check_csv(path: Path) -> None:
    """Refuse before anything is measured what cannot be written."""
    if path.suffix.lower() != ".csv" or not path.absolute().parent.is_dir():
        raise ArgumentError(f"--csv takes a file ending in .csv in a directory that exists; got {path}")


def _source(target: str, *, threads: int | None, quiet: bool) -> Any:
    """Return the model of a task, or a path, with the number of threads set."""
    if not Path(target).exists() and ":" in target:
        return open_task(target, checkpoint=None, device=None, threads=threads, quiet=quiet).model
    if threads:
        import torch

        torch.set_num_threads(threads)
    return target


def _deliver(found: Any, *, sort: str | None, csv: Path | None, plot: Path | None, as_json: bool) -> None:
    """Print the answer and write what was asked for, in one order."""
    from spectra.weights_report import render_weights
    from spectra.weights_summary import sort_weights

    ordered, wrong = found, None
    if sort is not None:
        try:
            ordered = sort_weights(found, sort)
        except ArgumentError as error:
            # Said last: the result took longer than a word to mend.
            wrong = error
    typer.echo(render_weights(ordered, format="json" if as_json else "text"))
    if csv is not None:
        from spectra.weights_csv import weights_csv

        csv.write_text(weights_csv(ordered), encoding="utf-8")
    if plot is not None:
        from spectra.weights_plot import plot_weights

        write_picture(plot_weights(found), plot)
    if wrong is not None:
        raise wrong
