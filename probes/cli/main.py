"""Entry point of the command ``spectra``: exit codes, errors and versions.

Exit codes: 0 answered, 1 expected failure (one clear message), 2 usage, 3 measured but withheld, 130 interrupted.
Heavy libraries are imported inside the subcommands, so that ``--help`` stays quick.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from probes.cli.dynamics import dynamics
from probes.cli.kernel import kernel
from probes.cli.laws import laws
from probes.cli.measure import measure
from probes.cli.recommend import recommend
from probes.cli.show import show
from probes.cli.spectrum import spectrum
from probes.cli.weights import weights

__all__ = ["app", "main"]

app = typer.Typer(
    name="spectra",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(recommend)
app.command()(measure)
app.command()(spectrum)
app.command()(dynamics)
app.command()(kernel)
app.command()(weights)
app.command()(laws)
app.command()(show)


def _print_version(requested: bool) -> None:
    if not requested:
        return
    import platform
    from importlib import metadata

    import probes
    import spectra

    typer.echo(f"spectra-probes {spectra.__version__}")
    typer.echo(f"  spectra   {spectra.__file__}")
    typer.echo(f"  probes    {probes.__file__}")
    typer.echo(f"  python    {platform.python_version()}")
    for name in ("numpy", "scipy", "xarray", "torch", "cupy"):
        try:
            typer.echo(f"  {name:<9} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            typer.echo(f"  {name:<9} not installed")
    raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print versions, and where both packages were imported from.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Measure the curvature of a PyTorch model, with error bars, and turn it into a learning rate and a batch size.

    A task is a function without arguments that returns a `probes.Task` (model, loss, data); name it as
    `package.module:function` or `file.py:function`. Built-in examples: `probes.examples:digits_mlp`,
    `probes.examples:digits_cnn`, `probes.examples:char_transformer`.

    Exit codes: 0 answered, 1 failed, 2 usage, 3 measured but the answer is withheld, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments without the program name; ``sys.argv[1:]`` by default.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=typed, prog_name="spectra", standalone_mode=True)
    except SystemExit as end:
        return int(end.code) if isinstance(end.code, int) else (0 if end.code is None else 1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if "--debug" in typed:
            raise
        return _explain(error)
    return 0


def _explain(error: Exception) -> int:
    """Print one clear message for an expected failure; name the type of an unexpected one."""
    from spectra.errors import SpectraError

    if isinstance(error, SpectraError):
        print(f"error: {error}", file=sys.stderr)
    elif isinstance(error, OSError):
        print(f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
    else:
        print(
            f"error: unexpected {type(error).__name__}: {error}\n(--debug shows the traceback)",
            file=sys.stderr,
        )
    return 1


if __name__ == "__main__":
    sys.exit(main())
