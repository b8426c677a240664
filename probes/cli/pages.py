"""Where the pages of an advice go: stdout, files, and the folder of ``--output``."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from probes.cli.session import say, write_picture
from spectra.errors import ArgumentError, MissingExtraError

if TYPE_CHECKING:
    import xarray as xr

    from spectra.recommend import Advice

__all__ = ["Destinations"]

PICTURE, RUN = "recommendation.png", "run.nc"
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
        SpectraError
            If a folder is missing or may not be written.
        """
        from spectra.atomic_write import check_writable

        if self.plot is not None and self.plot.suffix not in PICTURE_SUFFIXES:
            raise ArgumentError(f"--plot takes a file ending in {', '.join(PICTURE_SUFFIXES)}; got {self.plot.name!r}")
        if self.output is not None:
            try:
                self.output.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ArgumentError(
                    f"--output must be a folder that can be made or written; {self.output}: {error}"
                ) from error
        for path in (self.markdown, self.html, self.plot):
            if path is not None:
                check_writable(path)

    def write(self, advice: "Advice", run: "xr.DataTree | None") -> None:
        """Print the advice on stdout and write every file that was asked for."""
        from spectra.report import render

        typer.echo(render(advice, format="json" if self.as_json else "text", verbose=self.verbose and not self.as_json))
        written = []
        if self.plot is not None:
            written += self._write_plot(advice, run, self.plot)
        if self.markdown is not None:
            picture = os.path.relpath(self.plot, self.markdown.parent) if self.plot in written else None
            _write_text(self.markdown, render(advice, format="markdown", picture=picture))
            written.append(self.markdown)
        if self.html is not None:
            _write_text(self.html, render(advice, format="html", picture=self._svg(advice, run)))
            written.append(self.html)
        if self.output is not None:
            drawn = self._write_folder_picture(advice, run, self.output / PICTURE)
            picture = PICTURE if drawn else None
            _write_text(self.output / "report.md", render(advice, format="markdown", picture=picture))
            _write_text(self.output / "report.html", render(advice, format="html", picture=self._svg(advice, run)))
            written += [self.output / "report.md", self.output / "report.html", *drawn]
            if run is not None:
                written.append(self.output / RUN)
        if written:
            say("\nwrote " + ", ".join(str(path) for path in written), quiet=self.quiet)

    def _write_plot(self, advice: "Advice", run: "xr.DataTree | None", path: Path) -> list[Path]:
        if not advice.stages:
            say(f"no picture {path}: nothing was measured", quiet=self.quiet)
            return []
        from spectra.advice_plot import plot_advice

        write_picture(plot_advice(advice, run), path)
        return [path]

    def _write_folder_picture(self, advice: "Advice", run: "xr.DataTree | None", path: Path) -> list[Path]:
        """Return the picture if it could be drawn: without matplotlib the folder goes without."""
        if not advice.stages:
            return []
        try:
            return self._write_plot(advice, run, path)
        except MissingExtraError as error:
            say(f"no picture: {error}", quiet=self.quiet)
            return []

    def _svg(self, advice: "Advice", run: "xr.DataTree | None") -> str | None:
        if not advice.stages:
            return None
        from spectra.advice_plot import advice_svg

        try:
            return advice_svg(advice, run)
        except MissingExtraError as error:
            say(f"no picture in the HTML page: {error}", quiet=self.quiet)
            return None


def _write_text(path: Path, text: str) -> None:
    from spectra.atomic_write import replacing

    with replacing(path) as free:
        free.write_text(f"{text}\n", encoding="utf-8")
