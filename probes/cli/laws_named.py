"""A law of random matrices that is named on the command line."""

from pathlib import Path
from typing import Any

from probes.cli.reports import deliver
from probes.cli.session import say
from spectra.errors import ArgumentError

__all__ = ["law_name", "show_law"]

#: Files that the table of a law goes to, besides those of results.
TABLE = ".csv"


def law_name(target: str) -> str | None:
    """Return the law of that name, in any case and with any hyphens; None for anything else."""
    from spectra.law_table import LAW_PARAMETERS

    plain = target.lower().replace("-", "_")
    joined = {name.replace("_", ""): name for name in LAW_PARAMETERS}
    return plain if plain in LAW_PARAMETERS else joined.get(plain.replace("_", ""))


def show_law(
    name: str,
    typed: list[str],
    at: list[float],
    *,
    output: Path | None,
    plot: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print a law, and write its table."""
    from spectra.atomic_write import check_writable, explained, replacing
    from spectra.law_table import make_law, tabulate_law
    from spectra.storage import check_writable as check_result
    from spectra.storage import save

    is_table = output is not None and output.suffix.lower() == TABLE
    if output is not None:
        (check_writable if is_table else check_result)(output)
    table = tabulate_law(make_law(name, dict(map(_parameter, typed))), at=at)
    if output is not None and is_table:
        frame = table[["pdf", "cdf"]].to_dataframe()
        with explained(output, "written"), replacing(output) as free:
            frame.to_csv(free)
    elif output is not None:
        save(table, output)
    deliver(table, plot=plot, as_json=as_json)
    if output is not None:
        say(f"wrote {output}", quiet=quiet)


def _parameter(text: str) -> tuple[str, Any]:
    """Read ``name=value``, or ``name=value,value``."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ArgumentError(f"a parameter of a law is name=value, as aspect_ratio=0.5; got {text!r}")
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        raise ArgumentError(f"{name.strip()} takes a number, or numbers with commas between; got {value!r}") from None
    key = name.strip().replace("-", "_")
    if len(numbers) > 1 or key in ("values", "weights"):
        return key, numbers
    return key, int(numbers[0]) if key == "beta" and numbers[0].is_integer() else numbers[0]
