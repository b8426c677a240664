"""``spectra show``: what is in a result file."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probes.cli import options as shared
from probes.cli.reports import REPORTS, deliver
from probes.cli.session import write_picture

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["show"]

CURVES = ("spectra/curve", "spectra/linearization", "spectra/simulation")
#: Steps of a curve that are listed.
MAX_ROWS = 12


def show(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A result file (.nc or .zarr).", show_default=False)],
    plot: shared.Plot = None,
    as_json: shared.Json = False,
    debug: shared.Debug = False,
) -> None:
    """Show what a result file holds: numbers with their error bars, cost and provenance.

    Examples
    --------
      spectra show run.nc

      spectra show run.nc --plot spectrum.png
    """
    from spectra.report import finite_or_null
    from spectra.storage import load

    data = load(file)
    if data.attrs["schema"] == "spectra/quadratic":
        from spectra.dynamics_tree import problem_of, problem_tree

        data = problem_tree(problem_of(data))
    if data.attrs["schema"] in REPORTS:
        deliver(data, plot=plot, as_json=as_json)
        return
    if data.attrs["schema"] == "spectra/recording":
        _show_recording(data, plot=plot, as_json=as_json)
        return
    summary = summarize(data)
    if as_json:
        typer.echo(json.dumps(finite_or_null(summary), indent=2, allow_nan=False))
    else:
        typer.echo(as_text(summary))
    if plot is not None:
        write_picture(picture(data), plot)


def _show_recording(recording: "xr.Dataset", *, plot: Path | None, as_json: bool) -> None:
    from spectra.recording_report import render_recording, summarize_recording
    from spectra.report import finite_or_null

    if as_json:
        summary = finite_or_null(summarize_recording(recording))
        typer.echo(json.dumps(summary, indent=2, allow_nan=False))
    else:
        typer.echo(render_recording(recording))
    if plot is not None:
        from spectra.recording_plot import plot_recording

        write_picture(plot_recording(recording), plot)


def measure_of(data: "xr.Dataset | xr.DataTree") -> "xr.Dataset | None":
    """Return the spectral measure in a file, if it has one."""
    if data.attrs.get("schema") == "spectra/measure":
        return data  # type: ignore[return-value]
    children = getattr(data, "children", {})
    return data["spectrum"].to_dataset() if "spectrum" in children else None  # type: ignore[union-attr]


def summarize(data: "xr.Dataset | xr.DataTree") -> dict[str, Any]:
    """Return the content of a result file as nested plain values."""
    attrs = {key: value for key, value in data.attrs.items() if key not in ("plan", "checks", "software")}
    summary: dict[str, Any] = {
        "schema": attrs.pop("schema"),
        "schema_version": int(attrs.pop("schema_version")),
    }
    summary["attributes"] = {key: _plain(value) for key, value in attrs.items()}
    summary["software"] = json.loads(data.attrs["software"]) if "software" in data.attrs else {}
    measure = measure_of(data)
    if measure is not None:
        summary["spectrum"] = _spectrum(measure)
    if data.attrs["schema"] == "spectra/run" and "stages" in data.children:  # type: ignore[union-attr]
        from dataclasses import asdict

        from spectra.recommend import advise
        from spectra.report.followed import followed_rates

        advice = advise(data)
        summary["stages"] = [asdict(row) for row in advice.stages]
        summary["candidates"] = [asdict(row) for row in advice.candidates]
        summary["followed_on"] = [asdict(row) for row in followed_rates(advice)]
    if data.attrs["schema"] in CURVES:
        summary["curve"] = _curve(data)  # type: ignore[arg-type]
    if data.attrs["schema"] == "spectra/eigenpairs":
        import numpy as np

        summary["eigenpairs"] = [
            {"eigenvalue": float(value), "residual": float(residual), "converged": bool(converged)}
            for value, residual, converged in np.transpose(
                [np.asarray(data[name]) for name in ("eigenvalue", "residual", "converged")]
            )
        ]
    return summary


def _curve(data: "xr.Dataset") -> list[dict[str, Any]]:
    """Return steps of one curve, or of a grid the losses at its last step."""
    if data["loss"].dims != ("step",):
        last = data["loss"].isel(step=-1).to_dataframe().reset_index()
        names = ["step", *(name for name in data["loss"].dims if name != "step"), "loss"]
        return [{str(name): _plain(row[name]) for name in names} for row in last.to_dict("records")]
    import numpy as np

    names = [name for name in data.data_vars if data[name].dims == ("step",)]
    places = np.unique(np.linspace(0, data.sizes["step"] - 1, MAX_ROWS).round().astype(int))
    return [{str(name): data[name].values[i].item() for name in ("step", *names)} for i in places]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _spectrum(measure: "xr.Dataset") -> dict[str, Any]:
    import numpy as np

    from spectra.measure import moment, quantile

    dimension = int(measure.attrs["dimension"])
    values = measure["ritz_value"].values
    mean = moment(measure, 1)
    second = moment(measure, 2)
    scaled = {
        "trace": (mean, dimension),
        "squared_frobenius_norm": (second, dimension),
    }
    return {
        "operator": measure.attrs["operator"],
        "dimension": dimension,
        "num_probes": int(measure.sizes["probe"]),
        "num_steps": int(measure.sizes["node"]),
        "num_matvecs": int(measure.attrs["num_matvecs"]),
        "largest_ritz_value": float(np.nanmax(values)),
        "smallest_ritz_value": float(np.nanmin(values)),
        "estimates": {
            name: {
                "value": estimate.value * factor,
                "low": None if estimate.low is None else estimate.low * factor,
                "high": None if estimate.high is None else estimate.high * factor,
                "status": estimate.status,
            }
            for name, (estimate, factor) in scaled.items()
        },
        "quantiles": {f"{level:g}": float(quantile(measure, level)) for level in (0.01, 0.1, 0.5, 0.9, 0.99)},
    }


def as_text(summary: dict[str, Any]) -> str:
    """Return the summary for a terminal."""
    from spectra.report import number, table

    attributes = summary["attributes"]
    lines = [f"{summary['schema']} version {summary['schema_version']}"]
    lines += [
        f"  {key}: {f'{value:.10g}' if isinstance(value, float) else value}"
        for key, value in attributes.items()
        if value not in ("", None)
    ]
    lines.append("  software: " + ", ".join(f"{name} {version}" for name, version in summary["software"].items()))
    sections = ["\n".join(lines)]
    if "spectrum" in summary:
        spectrum = summary["spectrum"]
        rows = [
            (
                name.replace("_", " "),
                number(item["value"], 4),
                f"[{number(item['low'], 4)}, {number(item['high'], 4)}]",
            )
            for name, item in spectrum["estimates"].items()
        ]
        rows += [
            ("largest Ritz value", number(spectrum["largest_ritz_value"], 4), ""),
            ("smallest Ritz value", number(spectrum["smallest_ritz_value"], 4), ""),
        ]
        rows += [(f"quantile {level}", number(value, 4), "") for level, value in spectrum["quantiles"].items()]
        title = (
            f"SPECTRUM of {spectrum['operator']}, dimension {spectrum['dimension']}: {spectrum['num_probes']} probes x "
            f"{spectrum['num_steps']} steps, {spectrum['num_matvecs']} products"
        )
        sections.append(title + "\n" + table(("quantity", "value", "95% interval"), rows))
    if "stages" in summary:
        lines_of_stages = [
            (
                str(row["step"]),
                number(row["loss"]),
                f"{number(row['curvature'])} +- {number(row['residual'], 1)}",
                f"{number(row['curvature_noise'])} +- {number(row['curvature_noise_stderr'], 2)}",
                number(row["max_stable_learning_rate"]),
            )
            for row in summary["stages"]
        ]
        header = ("real steps", "loss", "largest curvature", "curvature noise", "stable limit")
        sections.append("STAGES\n" + table(header, lines_of_stages))
    for name, title in (("candidates", "LEARNING RATES THAT WERE TRIED"), ("followed_on", "FOLLOWED ON")):
        tried = [
            (
                number(row["learning_rate"]),
                str(row["num_steps"]),
                number(row["loss"]) if math.isfinite(row["loss"]) else "diverged",
                number(row["max_stable_learning_rate"]),
                row["breaks"] or "nothing",
            )
            for row in summary.get(name, ())
        ]
        if tried:
            sections.append(f"{title}\n" + table(("rate", "steps", "loss after", "its own limit", "breaks"), tried))
    if summary.get("curve"):
        header = tuple(name.replace("_", " ") for name in summary["curve"][0])
        lines_of_steps = [
            tuple(str(value) if isinstance(value, int) else number(value, 4) for value in row.values())
            for row in summary["curve"]
        ]
        sections.append("LOSS\n" + table(header, lines_of_steps))
    if "eigenpairs" in summary:
        rows = [
            (number(row["eigenvalue"], 6), number(row["residual"], 2), "yes" if row["converged"] else "NO")
            for row in summary["eigenpairs"]
        ]
        sections.append("EIGENPAIRS\n" + table(("eigenvalue", "residual", "converged"), rows))
    return "\n\n".join(sections)


def picture(data: "xr.Dataset | xr.DataTree") -> Any:
    """Return a figure of the file's content."""
    from spectra.advice_plot import plot_advice
    from spectra.errors import ArgumentError
    from spectra.plot import figure, plot_cdf, plot_density

    if data.attrs["schema"] == "spectra/run" and "stages" in data.children:  # type: ignore[union-attr]
        from spectra.recommend import advise

        return plot_advice(advise(data), data)  # type: ignore[arg-type]
    measure = measure_of(data)
    if measure is None:
        raise ArgumentError("this file holds no spectral measure to plot")
    result, axes = figure(ncols=2)
    plot_density(measure, ax=axes[0])
    plot_cdf(measure, ax=axes[1])
    return result
