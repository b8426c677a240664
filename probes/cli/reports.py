"""Which page and which picture belong to a kind of result."""

from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from probes.cli.pictures import write_picture

__all__ = ["REPORTS", "deliver"]

#: Schema, and module and function of its text and of its picture.
REPORTS = {
    "spectra/spectrum": ("spectrum_report:render_spectrum", "spectrum_plot:plot_spectrum"),
    "spectra/survey": ("spectrum_report:render_spectrum", "spectrum_plot:plot_spectrum"),
    "spectra/dynamics": ("dynamics_report:render_dynamics", "dynamics_plot:plot_dynamics"),
    "spectra/kernel": ("kernel_report:render_kernel", "kernel_plot:plot_kernel"),
    "spectra/weights": ("weights_report:render_weights", "weights_plot:plot_weights"),
    "spectra/laws": ("laws_report:render_laws", "laws_plot:plot_laws"),
    "spectra/law": ("law_report:render_law", "laws_plot:plot_law"),
}


def deliver(data: Any, *, plot: Path | None, as_json: bool) -> None:
    """Print a result with one of these schemas, and draw it where a picture was asked for."""
    text, picture = REPORTS[data.attrs["schema"]]
    typer.echo(_function(text)(data, format="json" if as_json else "text"))
    if plot is not None:
        write_picture(_function(picture)(data), plot)


def _function(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(f"spectra.{module}"), name)
