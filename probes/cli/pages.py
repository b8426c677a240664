"""Where the pages of an advice go: stdout, files, and the folder of ``--output``."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from probes.cli.session import say, write_picture
from spectra.errors import ArgumentError, SpectraError

if TYPE_CHECKING:
    import xarray as xr

    from spectra.recommend import Advice

__all__ = ["Destinations"]

PICTURE, RUN = "recommendation.png", "run.nc"
REPORTS = ("report.md", "report.html")
PICTURE_SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, kw_only=True)
class Destinations:
    """What is to be written, and where."""

    output: Path | None
    markdown: Path | None
    html: Path | None
    plot: Path | None
    as_json: bool
    verbose: bool
    quiet: bool

    @property
    def run_path(self) -> Path | None:
        """Where the run goes."""
        return None if self.output is None else self.output / RUN

    def check(self) -> None:
        """Find out before a long measurement whether everything could be written; make the folder of ``--output``.

        Raises
        ------
        ArgumentError
            For a picture of an unknown kind, or a folder that cannot be made.
        MissingExtraError
            If ``--plot`` asks for a picture and matplotlib is missing.
        SpectraError
            If a folder is missing or may not be written, or something stands in the way that is no file.
        """
        from spectra.atomic_write import check_writable

        if self.plot is not None:
            if self.plot.suffix.lower() not in PICTURE_SUFFIXES:
                kinds = ", ".join(PICTURE_SUFFIXES)
                raise ArgumentError(f"--plot takes a file ending in {kinds}; got {self.plot.name!r}")
            from spectra.plot import figure

            figure()  # without matplotlib, said now
        folder: tuple[Path, ...] = ()
        if self.output is not None:
            try:
                self.output.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ArgumentError(
                    f"--output must be a folder that can be made or written; {self.output}: {error}"
                ) from error
            folder = tuple(self.output / name for name in (*REPORTS, PICTURE, RUN))
        for path in (self.markdown, self.html, self.plot, *folder):
            if path is not None:
                check_writable(path)

    def write(self, advice: "Advice", run: "xr.DataTree | None") -> None:
        """Print the advice on stdout and write every file that was asked for.

        A picture that cannot be drawn is said on stderr, and the pages go without. In the folder of ``--output`` no
        picture of an earlier run stays; an earlier run does, and is named.
        """
        from spectra.report import render

        typer.echo(render(advice, format="json" if self.as_json else "text", verbose=self.verbose and not self.as_json))
        written = []
        if self.plot is not None and self._draw(advice, run, self.plot):
            written.append(self.plot)
        if self.markdown is not None:
            picture = os.path.relpath(self.plot, self.markdown.parent) if self.plot in written and self.plot else None
            _write_text(self.markdown, render(advice, format="markdown", picture=picture))
            written.append(self.markdown)
        if self.html is not None:
            _write_text(self.html, render(advice, format="html", picture=self._svg(advice, run)))
            written.append(self.html)
        if self.output is not None:
            written += self._write_folder(advice, run, self.output)
        if written:
            say("\nwrote " + ", ".join(str(path) for path in written), quiet=self.quiet)

    def _write_folder(self, advice: "Advice", run: "xr.DataTree | None", folder: Path) -> list[Path]:
        from spectra.report import render

        drawn = self._draw(advice, run, folder / PICTURE)
        if not drawn:
            (folder / PICTURE).unlink(missing_ok=True)
        texts = (
            render(advice, format="markdown", picture=PICTURE if drawn else None),
            render(advice, format="html", picture=self._svg(advice, run)),
        )
        for name, text in zip(REPORTS, texts, strict=True):
            _write_text(folder / name, text)
        if run is None and (folder / RUN).exists():
            say(f"{folder / RUN} is of an earlier measurement, not of this one; it was left as it is")
        return [
            folder / name for name in (*REPORTS, *([PICTURE] if drawn else []), *([RUN] if run is not None else []))
        ]

    def _draw(self, advice: "Advice", run: "xr.DataTree | None", path: Path) -> bool:
        """Return whether the picture could be drawn and written."""
        if not advice.stages:
            say(f"no picture {path}: nothing was measured", quiet=self.quiet)
            return False
        from spectra.advice_plot import plot_advice

        return _succeeds(lambda: write_picture(plot_advice(advice, run), path), f"no picture {path}")

    def _svg(self, advice: "Advice", run: "xr.DataTree | None") -> str | None:
        if not advice.stages:
            return None
        from spectra.advice_plot import advice_svg

        drawn: list[str] = []
        _succeeds(lambda: drawn.append(advice_svg(advice, run)), "no picture in the HTML page")
        return drawn[0] if drawn else None


def _succeeds(draw: Callable[[], object], otherwise: str) -> bool:
    """Draw; if that fails for whatever reason, say so and go on: the numbers matter more than their picture."""
    try:
        draw()
    except Exception as error:
        kind = "" if isinstance(error, SpectraError) else f"{type(error).__name__}: "
        say(f"{otherwise}: {kind}{error}")
        return False
    return True


def _write_text(path: Path, text: str) -> None:
    from spectra.atomic_write import explained, replacing

    with explained(path, "written"), replacing(path) as free:
        free.write_text(f"{text}\n", encoding="utf-8")
