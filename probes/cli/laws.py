"""``spectra laws``: which random-matrix law eigenvalues follow and what is outside, or the numbers of one law."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from probes.cli import options as shared
from probes.cli.laws_named import law_name, show_law
from probes.cli.pictures import check_picture
from probes.cli.reports import deliver
from probes.cli.session import INTERRUPTED, is_run_file, say, typed_options
from spectra.errors import ArgumentError

__all__ = ["LawChoice", "MatrixChoice", "MethodChoice", "laws"]

WITHHELD = 3
LAW, FILE = "Of a law", "Of a file"
#: Options that the list of laws takes, those that a result takes, which is only shown, and those of a law.
OF_LIST = ("--quiet", "--debug")
OF_RESULT = ("--plot", "--json", "--quiet", "--debug")
OF_LAW = ("--at", "--output", *OF_RESULT)


class LawChoice(StrEnum):
    """Laws that can be fitted."""

    AUTO = "auto"
    MARCHENKO_PASTUR = "marchenko_pastur"
    SEMICIRCLE = "semicircle"
    JACOBI = "jacobi"
    F = "f"
    GENERALIZED = "generalized"


class MatrixChoice(StrEnum):
    """What an array is."""

    DATA = "data"
    SYMMETRIC = "symmetric"
    EIGENVALUES = "eigenvalues"


class MethodChoice(StrEnum):
    """How bulk and outliers are told apart."""

    AUTO = "auto"
    EDGE = "edge"
    MARCHENKO_PASTUR = "marchenko_pastur"
    LANCZOS = "lanczos"


def laws(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|LAW]",
            help="A file (.npy, .npz, .csv, .tsv, .txt) or function (package.module:function, file.py:function) of "
            "eigenvalues, of a symmetric matrix, or of data (rows are samples); a result with a spectral measure; a "
            "result of this command, to show it. Or the name of a law. Without: the list of laws.",
            show_default=False,
        ),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...",
            help="Parameters of a law, as aspect_ratio=0.5; of a list, as values=1,10.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to keep the result in: .nc or .zarr; the density and distribution of a law also as .csv.",
            show_default=False,
            rich_help_panel=shared.OUTPUT,
        ),
    ] = None,
    law: Annotated[
        LawChoice, typer.Option("--law", help="The law to fit. auto: all that may be.", rich_help_panel=FILE)
    ] = LawChoice.AUTO,
    matrix: Annotated[
        MatrixChoice | None,
        typer.Option(
            "--matrix",
            help="What the array is. Default: a list is eigenvalues, a symmetric matrix is one, another is data.",
            show_default=False,
            rich_help_panel=FILE,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=1,
            help="Samples of the covariance that eigenvalues or a matrix belong to; one less if the mean was "
            "subtracted.",
            show_default=False,
            rich_help_panel=FILE,
        ),
    ] = None,
    aspect_ratio: Annotated[
        float | None,
        typer.Option(help="Or its variables over samples.", show_default=False, rich_help_panel=FILE),
    ] = None,
    array: Annotated[
        str | None,
        typer.Option(
            "--array",
            help="Array of an .npz, column of a table, or matrix of a result.",
            show_default=False,
            rich_help_panel=FILE,
        ),
    ] = None,
    center: Annotated[
        bool,
        typer.Option("--center/--no-center", help="Subtract the mean of each column of data.", rich_help_panel=FILE),
    ] = True,
    standardize: Annotated[
        bool,
        typer.Option("--standardize", help="Scale each column of data to variance 1.", rich_help_panel=FILE),
    ] = False,
    method: Annotated[
        MethodChoice,
        typer.Option(
            help="How the bulk ends: marchenko_pastur supposes white noise, edge no law, lanczos takes a measure.",
            rich_help_panel=FILE,
        ),
    ] = MethodChoice.AUTO,
    level: Annotated[
        float,
        typer.Option(help="Probability that a bulk without outliers shows none.", rich_help_panel=FILE),
    ] = 0.99,
    at: Annotated[
        list[float] | None,
        typer.Option(
            "--at",
            help="A point at which density, distribution and p-value are wanted; repeat for several.",
            show_default=False,
            rich_help_panel=LAW,
        ),
    ] = None,
    threads: shared.Threads = None,
    seed: shared.Seed = 0,
    plot: shared.Plot = None,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,
) -> None:
    """Find the random-matrix law of a spectrum, where its bulk ends and what is outside; or show a law.

    Of a FILE prints the law with its parameters and distance, the edges of the bulk, and outliers with p-values and the
    population values behind them, with a verdict. Of a LAW prints support, moments and quantiles. A name of the list is
    a law; everything else is a file or a function.

    Examples
    --------
      spectra laws data.npy --plot laws.png

      spectra laws eigenvalues.csv --samples 600 -o laws.nc

      spectra laws run.nc

      spectra laws

      spectra laws marchenko_pastur aspect_ratio=0.5 variance=2 -o law.csv

      spectra laws tracy_widom beta=1 --at 2.5
    """
    if plot is not None:
        check_picture(plot)
    typed = list(typed_options(context, leave_out=()))
    name = None if target is None else law_name(target)
    if target is None or name is not None:
        allowed, came = (OF_LIST, "a list") if name is None else (OF_LAW, "a law")
        _refuse(typed, allowed, "a file", came)
        if name is None:
            from spectra.law_report import render_list

            typer.echo(render_list())
            return
        show_law(name, parameters or [], at or [], output=output, plot=plot, as_json=as_json, quiet=quiet)
        return
    if parameters:
        from spectra.law_table import LAW_PARAMETERS

        raise ArgumentError(f"{' '.join(parameters)} needs the name of a law ({', '.join(LAW_PARAMETERS)})")
    _refuse(typed, [one for one in typed if one != "--at"], "the name of a law", "a file")
    from spectra.storage import check_writable, load, save

    if is_run_file(target):
        data = load(target)
        if data.attrs.get("schema") in ("spectra/laws", "spectra/law"):
            _refuse(typed, OF_RESULT, "the spectrum", "a result file")
            deliver(data, plot=plot, as_json=as_json)
            return
    if output is not None:
        check_writable(output)
    from probes.cli.laws_source import read_spectrum
    from probes.cli.threads import limit_threads
    from spectra.laws_analysis import analyze_spectrum
    from spectra.laws_summary import summarize_laws

    limit_threads(threads)
    try:
        found = read_spectrum(target, array=array)
        say(f"{found.name}: {found.content}", quiet=quiet)
        analysis = analyze_spectrum(
            found.source,
            kind=None if matrix is None else matrix.value,
            num_samples=samples,
            aspect_ratio=aspect_ratio,
            law=law.value,
            method=method.value,
            level=level,
            center=center,
            standardize=standardize,
            rng=seed,
            name=found.name,
            remarks=found.remarks,
        )
    except KeyboardInterrupt:
        say("interrupted; nothing was saved")
        raise typer.Exit(INTERRUPTED) from None
    if output is not None:
        save(analysis, output)
    deliver(analysis, plot=plot, as_json=as_json)
    if output is not None:
        say(f"wrote {output}", quiet=quiet)
    if summarize_laws(analysis)["answer"]["verdict"] == "withheld":
        raise typer.Exit(WITHHELD)


def _refuse(typed: list[str], allowed: Sequence[str], need: str, came: str) -> None:
    """Raise if options were typed that do not belong to what was named."""
    needless = [option for option in typed if option not in allowed]
    if needless:
        verb = "needs" if len(needless) == 1 else "need"
        raise ArgumentError(f"{', '.join(needless)} {verb} {need}, not {came}")
