"""Advice as text for a terminal, Markdown for a file, or one JSON object for a program.

The JSON object carries ``schema`` and ``schema_version`` and never contains NaN or infinity: what is not a number is
``null``.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Literal

from spectra.errors import ArgumentError
from spectra.recommend.advice import Advice
from spectra.recommend.recommendation import Recommendation, Verdict

__all__ = ["ADVICE_SCHEMA", "ADVICE_SCHEMA_VERSION", "finite_or_null", "number", "render", "table"]

ADVICE_SCHEMA = "spectra/advice"
ADVICE_SCHEMA_VERSION = 1

SCOPE = (
    "Limits are local and linear: they hold for the linearized iteration at the measured state. "
    "Curvature moves during training; measure again when the loss has changed a lot."
)

TITLES = {
    "learning_rate": "learning rate",
    "max_stable_learning_rate": "largest stable learning rate",
    "saturation_batch_size": "batch size b* where the limit saturates",
    "gradient_noise_scale": "gradient noise scale B_simple",
    "batch_size": "batch sizes worth using",
}


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a reader: ``digits`` significant digits, ``-`` for what is missing.

    Examples
    --------
    >>> number(0.012345), number(1234.5), number(None), number(float("inf"))
    ('0.0123', '1230', '-', 'unbounded')
    """
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "unbounded"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        rounded = round(value, digits - 1 - exponent)
        return f"{rounded:.{max(digits - 1 - exponent, 0)}f}"
    return f"{value:.{digits - 1}e}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, markdown: bool = False) -> str:
    """Return an aligned table; numbers are strings already. Markdown tables are aligned too.

    Examples
    --------
    >>> print(table(["b", "rate"], [["16", "0.1"]], markdown=True))
    | b  | rate |
    | -- | ---- |
    | 16 | 0.1  |
    """
    body = [list(row) for row in rows]
    widths = [max(len(line[column]) for line in [list(header), *body]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        return f"| {' | '.join(padded)} |" if markdown else f"  {'  '.join(padded)}".rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *(line(row) for row in body)])


def finite_or_null(value: Any) -> Any:
    """Return ``value`` as plain Python values, with every NaN and infinity, at any depth, replaced by ``None``."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): finite_or_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(item) for item in value]
    return value


def render(advice: Advice, *, format: Literal["text", "markdown", "json"] = "text") -> str:
    """Return the advice as text, Markdown or JSON, without a trailing newline.

    Raises
    ------
    ArgumentError
        For an unknown format.
    """
    if format == "json":
        return json.dumps(finite_or_null(_as_dict(advice)), indent=2, allow_nan=False)
    if format not in ("text", "markdown"):
        raise ArgumentError(f"format must be 'text', 'markdown' or 'json'; got {format!r}")
    return "\n\n".join(_sections(advice, markdown=format == "markdown"))


def _as_dict(advice: Advice) -> dict[str, Any]:
    run = advice.run
    return {
        "schema": ADVICE_SCHEMA,
        "schema_version": ADVICE_SCHEMA_VERSION,
        "verdict": str(advice.verdict),
        "task": run.attributes.get("task"),
        "optimizer": asdict(run.optimizer) if run.optimizer else None,
        "batch_size": advice.requested_batch_size,
        "linear_decay_peak": advice.linear_decay_peak,
        "recommendations": {item.quantity: asdict(item) for item in advice.recommendations},
        "curve": [asdict(row) for row in advice.curve],
        "stages": [asdict(row) for row in advice.stages],
        "alternatives": [asdict(item) for item in advice.alternatives],
        "next_command": advice.next_command,
        "run": {key: value for key, value in run.attributes.items() if isinstance(value, str | int | float)},
    }


def _sections(advice: Advice, *, markdown: bool) -> list[str]:
    run = advice.run
    optimizer = run.optimizer.label if run.optimizer else "no optimizer"
    title = f"{run.attributes.get('task', 'run')}: {optimizer}, batch size {advice.requested_batch_size}"
    heading = "## {}".format if markdown else str.upper
    sections = [f"# {title}" if markdown else title]
    sections.append(_answers(advice, markdown=markdown))
    sections.append(f"{heading('Why')}\n" + ("\n" if markdown else "") + "\n".join(_why(advice, markdown=markdown)))
    sections.append(
        f"{heading('Measured on the way')}\n" + ("\n" if markdown else "") + _stages(advice, markdown=markdown)
    )
    if len(advice.curve) > 1:
        title = "Largest stable learning rate against batch size"
        sections.append(f"{heading(title)}\n" + ("\n" if markdown else "") + _curve(advice, markdown=markdown))
    sections.append(
        f"{heading('Checks')}\n" + ("\n" if markdown else "") + _checks(advice.learning_rate, markdown=markdown)
    )
    if advice.alternatives:
        rows = [(item.rule, number(item.value), item.reason) for item in advice.alternatives]
        body = table(("other rule", "learning rate", "why it is not the answer"), rows, markdown=markdown)
        sections.append(f"{heading('Other rules')}\n" + ("\n" if markdown else "") + body)
    command = f"`{advice.next_command}`" if markdown else f"  {advice.next_command}"
    lead = (
        "To repair the weakest point:" if advice.verdict is not Verdict.SUPPORTED else "To tighten the widest interval:"
    )
    sections.append(
        f"{SCOPE}\n{_cost(advice)}\n{lead}\n{command}"
        if not markdown
        else f"{SCOPE}\n\n{_cost(advice)}\n\n{lead} {command}"
    )
    return sections


def _answers(advice: Advice, *, markdown: bool) -> str:
    rows = []
    for item in advice.recommendations:
        value = "withheld" if item.value is None else number(item.value)
        interval = "" if item.low is None else f"[{number(item.low)}, {number(item.high)}]"
        rows.append((TITLES.get(item.quantity, item.quantity), value, interval, str(item.verdict)))
        if item.quantity == "learning_rate" and advice.linear_decay_peak is not None:
            if item.evidence.get("schedule") == "linear":
                rows[-1] = (f"{rows[-1][0]} (peak, linear decay to 0)", *rows[-1][1:])
            else:
                rows.append(("  peak, if decayed linearly to 0", number(advice.linear_decay_peak), "", ""))
    reasons = [
        f"{item.verdict}, {TITLES.get(item.quantity, item.quantity)}: {item.reason}."
        for item in advice.recommendations
        if item.verdict is not Verdict.SUPPORTED
    ]
    body = table(("quantity", "value", "interval", "verdict"), rows, markdown=markdown)
    gap = "\n\n" if markdown else "\n"
    return body + (gap + gap.join(reasons) if reasons else "")


def _why(advice: Advice, *, markdown: bool) -> list[str]:
    evidence = advice.max_stable_learning_rate.evidence
    bullet = "- " if markdown else "  "
    space = "preconditioned " if advice.run.optimizer and advice.run.optimizer.is_adaptive else ""

    def get(name: str) -> float | None:
        value = evidence.get(name)
        return float(value) if isinstance(value, int | float) else None

    lines = [
        f"{bullet}{space}curvature {number(get('curvature'))} (residual {number(get('curvature_residual'), 2)}), "
        f"curvature noise {number(get('curvature_noise'))} +- {number(get('curvature_noise_stderr'), 2)} per sample",
    ]
    share = get("noise_share")
    if share is not None and math.isfinite(share):
        lines.append(
            f"{bullet}{evidence['regime']}: batch noise makes {share:.0%} of the limit at batch size "
            f"{advice.requested_batch_size}; that changes at batch size {number(get('saturation_batch_size'))}"
        )
    lines.append(f"{bullet}rule: {advice.learning_rate.evidence.get('rule')}")
    remarks = str(advice.run.attributes.get("remarks", "")).split("\n")
    lines += [f"{bullet}note: {note}" for note in (*advice.run.notes, *remarks) if note]
    return lines


def _stages(advice: Advice, *, markdown: bool) -> str:
    rows = [
        (
            str(row.step),
            number(row.loss),
            f"{number(row.curvature)} +- {number(row.residual, 1)}",
            number(row.smallest_curvature),
            f"{number(row.curvature_noise)} +- {number(row.curvature_noise_stderr, 2)}",
            number(row.max_stable_learning_rate),
        )
        for row in advice.stages
    ]
    header = ("real steps", "loss", "largest curvature", "smallest", "curvature noise", "stable limit")
    return table(header, rows, markdown=markdown)


def _curve(advice: Advice, *, markdown: bool) -> str:
    rows = [
        (
            str(row.batch_size) + (" *" if row.batch_size == advice.requested_batch_size else ""),
            number(row.max_stable_learning_rate),
            f"[{number(row.low)}, {number(row.high)}]",
            f"{row.exponent:.2f}",
            row.regime,
        )
        for row in advice.curve
    ]
    return table(("batch size", "stable limit", "interval", "exponent", "regime"), rows, markdown=markdown)


def _checks(item: Recommendation, *, markdown: bool) -> str:
    rows = [
        (
            "ok" if check.passed else f"FAILED ({check.consequence})",
            check.claim,
            check.observed,
            check.required,
        )
        for check in sorted(item.checks, key=lambda check: check.passed)
    ]
    return table(("", "claim", "observed", "required"), rows, markdown=markdown)


def _cost(advice: Advice) -> str:
    attributes = advice.run.attributes
    products, samples, gradients, seed = (
        int(attributes.get(key, 0)) for key in ("num_matvecs", "reference_size", "num_gradients", "seed")
    )
    return (
        f"Cost: {products} curvature products on up to {samples} samples, {gradients} micro-batch gradients, "
        f"{float(attributes.get('seconds', 0.0)):.1f} s, seed {seed}."
    )
