"""A survey, or the spectra of a task, as text for a terminal, Markdown for a file, or one JSON object for a program.

The JSON object carries ``schema`` and ``schema_version`` and never contains NaN or infinity: what is not a number is
``null``.
"""

import json
from typing import TYPE_CHECKING, Any, Literal

from spectra.errors import ArgumentError
from spectra.report import finite_or_null, number, table

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SPECTRUM_REPORT_SCHEMA", "SPECTRUM_REPORT_SCHEMA_VERSION", "render_spectrum", "summarize_spectrum"]

SPECTRUM_REPORT_SCHEMA = "spectra/spectrum-report"
SPECTRUM_REPORT_SCHEMA_VERSION = 1

_BULKY = ("software", "checks", "parameters", "schema", "schema_version")
_COVERS = (
    "The bound of an eigenvalue says how far the nearest true one may be, rounding included. Intervals of the smallest "
    "and the largest eigenvalue hold for the whole spectrum, what was missed included."
)


def summarize_spectrum(tree: "xr.DataTree") -> dict[str, Any]:
    """Return the content of a tree of `spectra.survey` or `probes.measure` as nested plain values.

    Raises
    ------
    ArgumentError
        If it is neither.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> summary = summarize_spectrum(spectra.survey(np.diag(np.arange(1.0, 41.0))))
    >>> list(summary["matrices"]), summary["matrices"]["dense matrix"]["quantities"]["trace"]["value"]
    (['dense matrix'], 820.0)
    """
    schema = tree.attrs.get("schema")
    if schema not in ("spectra/survey", "spectra/spectrum"):
        raise ArgumentError(f"a tree of spectra.survey or probes.measure is required, got schema {schema!r}")
    attributes: dict[str, Any] = {}
    matrices: dict[str, Any] = {}
    if schema == "spectra/survey":
        matrices[str(tree.attrs["operator"])] = _matrix(tree)
    else:
        attributes = _attributes(tree)
        matrices = {str(name): _matrix(node) for name, node in tree.children.items()}
    return {
        "schema": SPECTRUM_REPORT_SCHEMA,
        "schema_version": SPECTRUM_REPORT_SCHEMA_VERSION,
        "attributes": attributes,
        "software": json.loads(tree.attrs.get("software", "{}")),
        "matrices": matrices,
    }


def render_spectrum(tree: "xr.DataTree", *, format: Literal["text", "markdown", "json"] = "text") -> str:
    """Return a tree of `spectra.survey` or `probes.measure` as text, Markdown or JSON, without a trailing newline.

    Raises
    ------
    ArgumentError
        For an unknown format, or another tree.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> print(render_spectrum(spectra.survey(np.diag(np.arange(1.0, 41.0)), num_extremal=1)).splitlines()[0])
    DENSE MATRIX (40 x 40)
    """
    if format not in ("text", "markdown", "json"):
        raise ArgumentError(f"format must be 'text', 'markdown' or 'json'; got {format!r}")
    summary = finite_or_null(summarize_spectrum(tree))
    if format == "json":
        return json.dumps(summary, indent=2, allow_nan=False)
    markdown = format == "markdown"
    sections = [_title(summary["attributes"], markdown=markdown)] if summary["attributes"] else []
    for name, found in summary["matrices"].items():
        sections += _sections(name, found, markdown=markdown)
    return "\n\n".join([*sections, _COVERS])


def _attributes(node: "xr.DataTree") -> dict[str, Any]:
    plain = {str(key): value.item() if hasattr(value, "item") else value for key, value in node.attrs.items()}
    return {key: value for key, value in plain.items() if key not in _BULKY}


def _matrix(node: "xr.DataTree") -> dict[str, Any]:
    numbers, pairs = node["quantities"].to_dataset(), node["eigenpairs"].to_dataset()
    columns = ("value", "stderr", "low", "high", "status", "covers")
    names = ("end", "eigenvalue", "error_bound", "residual", "converged", "multiplicity", "multiplicity_resolved")
    return {
        "attributes": _attributes(node),
        "quantities": {
            str(name): {column: numbers[column].values[i].item() for column in columns}
            for i, name in enumerate(numbers["quantity"].values)
        },
        "eigenpairs": [{name: pairs[name].values[i].item() for name in names} for i in range(pairs.sizes["pair"])],
        "layers": {str(name): _matrix(layer) for name, layer in node["layers"].children.items()}
        if "layers" in node.children
        else {},
    }


def _title(attributes: dict[str, Any], *, markdown: bool) -> str:
    lead = str(attributes.get("task", "task"))
    facts = [
        f"loss {number(attributes['loss'], 4)} ({attributes['loss_function']})" if "loss" in attributes else "",
        f"{attributes['num_samples']} samples" if "num_samples" in attributes else "",
        f"{attributes['mode']} mode",
        f"{attributes['dtype']} on {attributes['device']}" if "dtype" in attributes else "",
        f"{attributes['num_matvecs']} products, {attributes['seconds']:.1f} s",
        "INTERRUPTED" if attributes["status"] != "complete" else "",
    ]
    description = f": {attributes['description']}" if attributes.get("description") else ""
    return (
        f"{'# ' if markdown else ''}{lead}{description}\n" + ("\n" if markdown else "") + ", ".join(filter(None, facts))
    )


def _sections(name: str, found: dict[str, Any], *, markdown: bool) -> list[str]:
    gap = "\n\n" if markdown else "\n"
    n = found["attributes"]["dimension"]
    heading = f"## {name} ({n} x {n})" if markdown else f"{name.upper()} ({n} x {n})"
    sections = [gap.join([heading, _cost(found["attributes"])])]
    pairs, numbers = _pair_rows(found["eigenpairs"]), _quantity_rows(found["quantities"])
    level = "interval" if found["attributes"]["level"] == 1.0 else f"{found['attributes']['level']:.0%} interval"
    sections.append(
        table(("eigenvalue", "value", "bound", "within tolerance", "multiplicity"), pairs, markdown=markdown)
    )
    sections.append(
        table(("quantity", "value", level, "status", "what the interval covers"), numbers, markdown=markdown)
    )
    if found["layers"]:
        header = ("layer", "parameters", "largest", "smallest", "trace", "negative mass", "products", "all reached")
        rows = [_layer_row(layer, content) for layer, content in found["layers"].items()]
        title = f"### Layers of {name}" if markdown else f"LAYERS OF {name.upper()}"
        sections.append(gap.join([title, table(header, rows, markdown=markdown)]))
    return sections


def _cost(attributes: dict[str, Any]) -> str:
    """Say what was spent, and what was reached with it."""
    if attributes["ended"] == "exact":
        exact = f"{attributes['num_matvecs']} products: all eigenvalues, exactly, from the Gram matrix of the outputs"
        return "\n".join([exact, *(f"note: {line}" for line in str(attributes.get("remarks", "")).splitlines())])
    spent = (
        f"{attributes['num_matvecs']} products of at most {attributes['max_matvecs']}: {attributes['num_probes']} "
        f"probes x {attributes['num_steps']} steps, {attributes['num_samples']} samples of the trace"
    )
    if attributes.get("product_strategy"):
        spent += f"; strategy {attributes['product_strategy']}"
    targets = (
        ("extremes_reached", f"largest and smallest eigenvalue to {attributes['tolerance']:g} of the norm"),
        ("trace_reached", f"trace to a standard error of {attributes['trace_rtol']:g} of the nuclear norm"),
    )
    missed = [text for key, text in targets if not attributes[key]]
    ended = {
        "targets reached": f"reached: {'; '.join(text for _, text in targets)}",
        "budget": "the budget is spent (--max-matvecs, max_matvecs)",
        "memory": "the memory for vectors is full (max_basis_bytes)",
    }.get(attributes["ended"], attributes["ended"])
    remarks = [f"note: {line}" for line in str(attributes.get("remarks", "")).splitlines()]
    return "\n".join([spent, ended + (f"; NOT reached: {'; '.join(missed)}" if missed else ""), *remarks])


def _pair_rows(pairs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    count = {"largest": 0, "smallest": 0}
    for pair in pairs:
        count[pair["end"]] += 1
        times = str(pair["multiplicity"]) if pair["multiplicity_resolved"] else f">= {pair['multiplicity']}"
        rows.append(
            (
                f"{pair['end']} {count[pair['end']]}",
                number(pair["eigenvalue"], 6),
                f"+- {number(pair['error_bound'], 2)}",
                "yes" if pair["converged"] else "NO",
                times,
            )
        )
    return rows


def _quantity_rows(quantities: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, item in quantities.items():
        low, high = item["low"], item["high"]
        interval, value = f"[{number(low, 4)}, {number(high, 4)}]", number(item["value"], 4)
        is_ratio = name.endswith("condition_number")
        if item["status"] == "singular":
            value = "unbounded"
        elif item["status"] in ("not certified", "lower bound only"):
            value = f">= {number(low, 4)}"
        if is_ratio and high is None:
            interval = f"[{number(low, 4)}, unbounded)"
        elif low is None or high is None:
            interval = "none"
        rows.append((name.replace("_", " "), value, interval, item["status"], item["covers"]))
    return rows


def _layer_row(name: str, layer: dict[str, Any]) -> tuple[str, ...]:
    quantities, pairs = layer["quantities"], layer["eigenpairs"]
    largest = next(pair for pair in pairs if pair["end"] == "largest")
    smallest = next(pair for pair in pairs if pair["end"] == "smallest")
    trace, mass = quantities["trace"], quantities["negative_mass"]
    half = None if trace["low"] is None else 0.5 * (trace["high"] - trace["low"])
    attributes = layer["attributes"]
    return (
        name,
        str(attributes["dimension"]),
        f"{number(largest['eigenvalue'], 4)} +- {number(largest['error_bound'], 1)}",
        f"{number(smallest['eigenvalue'], 4)} +- {number(smallest['error_bound'], 1)}",
        f"{number(trace['value'], 4)} +- {number(half, 2)}",
        f"{number(mass['value'], 2)} [{number(mass['low'], 2)}, {number(mass['high'], 2)}]",
        str(attributes["num_matvecs"]),
        "yes" if attributes["extremes_reached"] and attributes["trace_reached"] else "NO",
    )
