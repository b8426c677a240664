"""Progress on stderr, only when stderr is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]

Progress = Callable[[str, int, int], None]


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress | None]:
    """Yield a callback ``(description, done, total)`` that draws one bar a phase, or None when nothing is drawn."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        current: dict[str, object] = {}

        def report(description: str, done: int, total: int) -> None:
            if current.get("description") != description:
                if "task" in current:
                    bars.remove_task(current["task"])  # type: ignore[arg-type]
                current["task"] = bars.add_task(description, total=total)
                current["description"] = description
            bars.update(current["task"], completed=done, total=total)  # type: ignore[arg-type]

        yield report
