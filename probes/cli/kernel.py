"""``spectra kernel``: decay law, regime, best ridge and predicted test error of a kernel, from data or a task."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probes.cli import options as shared
from probes.cli.interrupts import interrupts_held_back
from probes.cli.pictures import check_picture
from probes.cli.reports import deliver
from probes.cli.session import INTERRUPTED, is_run_file, say, typed_options
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["KernelOutputs", "kernel"]

WITHHELD = 3
KERNEL, DATA = "Kernel", "Data"
#: Options that say how something is found, and nothing of a file of results.
OF_DATA = ("--plot", "--json", "--quiet", "--debug")


class KernelOutputs(StrEnum):
    """How the outputs of a network enter its tangent kernel."""

    TRACE = "trace"
    SUM = "sum"


def kernel(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A file (.npz with X and y or K and y, .npy, .csv, .tsv, .txt); a function that returns X and y, as "
            "package.module:function or file.py:function; a task, for the tangent kernel of its network; or a result "
            "of this command, to show it.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to keep the result in: .nc or .zarr. Written after each part.",
            show_default=False,
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            "--kernel",
            "-k",
            help="rbf, laplace, matern, periodic, linear, polynomial, arc-cosine, ntk (of infinite width), "
            "precomputed; or a name of scikit-learn. Default rbf; precomputed where the file holds K.",
            show_default=False,
            rich_help_panel=KERNEL,
        ),
    ] = None,
    length_scale: Annotated[
        float | None,
        typer.Option(
            help="Of rbf, laplace, matern, periodic. Default: the median distance of samples.",
            show_default=False,
            rich_help_panel=KERNEL,
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="NAME=VALUE",
            help="Another parameter of the kernel: nu, degree, offset, period, order, num_hidden, bias, gamma ...; "
            "repeat for several.",
            show_default=False,
            rich_help_panel=KERNEL,
        ),
    ] = None,
    ridge: Annotated[
        list[float] | None,
        typer.Option(
            "--ridge",
            help="Ridge at which the effective dimension is wanted, unnormalized as scikit-learn's alpha; repeat for "
            "several. Default: three of the size of the kernel, and the best one.",
            show_default=False,
            rich_help_panel=KERNEL,
        ),
    ] = None,
    target_name: Annotated[
        str | None,
        typer.Option(
            "--target",
            help="Array or column of the targets: a name, or a number (-1 is the last). Default: y, target, labels ...",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    one_hot: Annotated[
        bool, typer.Option("--one-hot", help="Take the targets for classes.", rich_help_panel=DATA)
    ] = False,
    standardize: Annotated[
        bool,
        typer.Option("--standardize", help="Scale each feature to mean 0 and variance 1 first.", rich_help_panel=DATA),
    ] = False,
    center: Annotated[
        bool,
        typer.Option(
            "--center/--no-center",
            help="Subtract the mean of the targets of data, for kernel ridge regression has no intercept.",
            rich_help_panel=DATA,
        ),
    ] = True,
    outputs: Annotated[
        KernelOutputs | None,
        typer.Option(
            help="Of a task: trace, the mean of the tangent kernel over outputs, or sum, that of their scaled sum. "
            "Default trace.",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    max_dense: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Samples up to which all enter the Gram matrix; beyond, random rows. Default 2500.",
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
    """Analyze a kernel on data: how its eigenvalues fall, how it overfits, which ridge is best, what error to expect.

    Prints the ridge with its predicted test error (exact leave-one-out, with an interval and a warning), the decay law
    with its exponent, the overfitting regime, effective dimensions, the learning curve and the condition number.

    Examples
    --------
      spectra kernel sklearn.datasets:load_diabetes --kernel laplace

      spectra kernel data.npz --kernel rbf --ridge 0.1 -o kernel.nc --plot kernel.png

      spectra kernel houses.csv --target price --standardize --kernel matern -p nu=2.5

      spectra kernel probes.examples:digits_mlp
    """
    from probes.cli.kernel_session import analyze_data
    from spectra.kernel_summary import summarize_kernel
    from spectra.storage import check_writable, load, save

    if plot is not None:
        check_picture(plot)
    if is_run_file(target):
        needless = [option for option in typed_options(context, leave_out=()) if option not in OF_DATA]
        if needless:
            verb = "needs" if len(needless) == 1 else "need"
            raise ArgumentError(f"{', '.join(needless)} {verb} the data, not a result file: nothing is found again")
        deliver(load(target), plot=plot, as_json=as_json)
        return
    if output is not None:
        check_writable(output)
    kept: list[xr.DataTree] = []

    def keep(tree: "xr.DataTree") -> None:
        kept[:] = [tree]
        if output is not None:
            with interrupts_held_back():
                save(tree, output)

    try:
        tree = analyze_data(
            target,
            kernel=kernel,
            parameters=_parameters(parameter, length_scale),
            ridges=ridge,
            target_name=target_name,
            one_hot=one_hot,
            standardize=standardize,
            center=center,
            max_dense=max_dense,
            of_task={
                "checkpoint": checkpoint,
                "device": device,
                "outputs": None if outputs is None else outputs.value,
            },
            threads=threads,
            seed=seed,
            quiet=quiet,
            keep=keep,
        )
    except KeyboardInterrupt:
        _say_interrupted(kept, output)
        raise typer.Exit(INTERRUPTED) from None
    deliver(tree, plot=plot, as_json=as_json)
    if output is not None:
        say(f"wrote {output}", quiet=quiet)
    answer = summarize_kernel(tree)["answer"]
    if answer is not None and answer["verdict"] == "withheld":
        raise typer.Exit(WITHHELD)


def _parameters(typed: list[str] | None, length_scale: float | None) -> dict[str, Any]:
    """Read ``name=value`` pairs."""
    found: dict[str, Any] = {} if length_scale is None else {"length_scale": length_scale}
    for text in typed or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ArgumentError(f"--parameter takes name=value, as nu=2.5; got {text!r}")
        try:
            number = float(value)
        except ValueError:
            raise ArgumentError(f"--parameter {name.strip()} takes a number; got {value!r}") from None
        found[name.strip()] = int(number) if number.is_integer() and "." not in value else number
    return found


def _say_interrupted(kept: "list[xr.DataTree]", output: Path | None) -> None:
    if not kept:
        say("interrupted before anything was found; nothing was saved")
    elif output is None:
        say("interrupted; nothing was saved (no output file was named)")
    else:
        say(f"interrupted; what was found is in {output}: `spectra show {output}` shows it")
