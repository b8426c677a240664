"""A prediction of training as text for a terminal, or as one JSON object for a program.

The JSON object carries ``schema`` and ``schema_version`` and never contains NaN or infinity: what is not a number is
``null``.
"""

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spectra.dynamics.answer_verdict import NOTHING, described
from spectra.dynamics_summary import summarize_dynamics
from spectra.errors import ArgumentError
from spectra.report import finite_or_null, number, paragraph, table

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["render_dynamics"]

#: Steps of a curve that the table shows, relative to the budget.
SHOWN = (0.03, 0.1, 0.3, 1.0)
HEADING = "HOW LONG REAL TRAINING FOLLOWS THE PREDICTION"
#: Evidence worth a remark: change of the noise-free loss by half of the Lanczos steps; change of weights by the trace.
COARSE_FORCING, COARSE_TRACE = 0.05, 0.2


def render_dynamics(tree: "xr.DataTree", *, format: Literal["text", "json"] = "text") -> str:
    """Return a tree of :func:`spectra.dynamics_tree.predict` as text or JSON, without a trailing newline.

    Parameters
    ----------
    tree : xarray.DataTree
        A prediction; or only a problem that was not predicted from yet.
    format : {"text", "json"}
        The first line of the text is the answer. See :func:`spectra.dynamics_summary.summarize_dynamics` for the JSON.

    Raises
    ------
    ArgumentError
        For an unknown format, or another tree.

    Examples
    --------
    >>> from spectra.dynamics import from_data
    >>> from spectra.dynamics_tree import predict
    >>> problem = from_data([[1.0, 0.0], [0.0, 2.0]], [1.0, 2.0])
    >>> tree = predict(problem, closure="limit", batch_sizes=[2], num_steps=10)
    >>> print(render_dynamics(tree).splitlines()[0])
    LEARNING RATE 0.766 for 10 steps (10.0 epochs) at batch size 2: predicted loss from 1.25 to 1.93e-05
    """
    if format not in ("text", "json"):
        raise ArgumentError(f"format must be 'text' or 'json'; got {format!r}")
    summary = summarize_dynamics(tree)
    if format == "json":
        return json.dumps(finite_or_null(summary), indent=2, allow_nan=False)
    sections = [_answer(summary)]
    if summary["best"]:
        sections += [_best(summary), _curves(summary)]
    if summary["saturation"]:
        sections.append(_saturation(summary["saturation"]))
    sections += [_trust(summary), _problem(summary)]
    return "\n\n".join(section for section in sections if section)


def _answer(summary: dict[str, Any]) -> str:
    answer = summary["answer"]
    if answer is None:
        return "NOT PREDICTED: this result holds a linearized problem only; `spectra dynamics FILE` predicts from it"
    rate, low, high = (number(answer[name]) for name in ("predicted_learning_rate", "low", "high"))
    budget = f"for {_budget(answer)} at batch size {answer['batch_size']}"
    losses = f"from {number(answer['loss_at_start'])} to {number(answer['loss'])}"
    cap = " at the cap" * answer["is_high_the_cap"]
    flat = f"Flat region {low} to {high}{cap} (within 2% of the gain). Limited by {answer['limited_by']}."
    if answer["verdict"] == "withheld" and answer["why"].startswith(NOTHING):
        lines = [f"WITHHELD: no learning rate {budget}: {answer['why']}"]
        return "\n".join([*lines, paragraph(f"The search ended at {rate}, with a predicted loss {losses}.")])
    if answer["verdict"] == "withheld":
        lines = [f"WITHHELD: no learning rate {budget}; the best predicted, {rate}, cannot be relied on"]
        lines.append(paragraph(f"{answer['why'][0].upper()}{answer['why'][1:]}."))
        lines.append(paragraph(f"What was predicted: loss {losses}. {flat}"))
    else:
        lines = [f"LEARNING RATE {rate} {budget}: predicted loss {losses}"]
        lines.append(paragraph(flat))
        lines.append(paragraph(f"{answer['verdict'].upper()}: {answer['why']}."))
    lines.append(paragraph(f"{answer['batches'][0].upper()}{answer['batches'][1:]}."))
    if answer["loss"] < 0 <= answer["loss_at_start"]:
        lines.append(
            paragraph("The prediction goes below zero: a quadratic model of this loss does not hold that far.")
        )
    return "\n".join(lines)


def _budget(answer: dict[str, Any]) -> str:
    steps, epochs = answer["num_steps"], answer["num_epochs"]
    text = f"{steps} step{'s' * (steps != 1)}"
    return text if epochs is None else f"{text} ({number(epochs)} epochs)"


def _best(summary: dict[str, Any]) -> str:
    start = summary["problem"]["loss"]
    header = ("batch size", "best rate", "flat region", "loss", "without noise", "floor", "critical", "row-safe", "")
    rows = [
        (
            str(row["batch_size"]),
            number(row["learning_rate"]),
            f"{number(row['low'])} - {number(row['high'])}",
            number(row["loss"]),
            number(row["noise_free_loss"]),
            number(_attainable(row["floor"], start)),
            "refused" if np.isnan(row["critical_learning_rate"]) else number(row["critical_learning_rate"]),
            number(row["row_safe_learning_rate"]),
            "capped" if row["is_capped"] else "",
        )
        for row in summary["best"]
    ]
    steps = summary["attributes"]["num_steps"]
    title = f"BEST LEARNING RATE FOR {steps} STEP{'S' * (steps != 1)}, BY BATCH SIZE"
    return "\n".join([title, table(header, rows), paragraph(f"At {rows[0][0]}: {summary['best'][0]['reason']}.")])


def _attainable(loss: float, start: float) -> float | None:
    """Return a loss, but None for one below zero where none started there."""
    return None if loss < 0 <= start else loss


def _curves(summary: dict[str, Any]) -> str:
    first = summary["best"][0]["batch_size"]
    curves = [curve for curve in summary["curves"] if curve["batch_size"] == first]
    steps = np.array(curves[0]["step"])
    wanted = np.unique([np.argmin(np.abs(steps - share * steps[-1])) for share in SHOWN])
    wanted = wanted[steps[wanted] > 0]
    header = ("learning rate", *(f"step {steps[i]}" for i in wanted), "without noise", "")
    rows = [
        (
            number(curve["learning_rate"]),
            *(number(curve["loss"][i]) for i in wanted),
            number(curve["noise_free_loss"][-1]),
            "" if curve["is_stable"] else "UNSTABLE",
        )
        for curve in curves
    ]
    settings = summary["attributes"]
    kind = f"closure {settings['closure']!r}"
    if settings["momentum"]:
        kind += f", {'Nesterov ' * bool(settings['nesterov'])}momentum {settings['momentum']:g}"
    title = f"PREDICTED LOSS AT BATCH SIZE {first} ({kind})"
    cautions = [f"At {number(curve['learning_rate'])}: {curve['caution']}." for curve in curves if curve["caution"]]
    return "\n".join([title, table(header, rows), *map(paragraph, cautions)])


def _saturation(saturation: dict[str, Any]) -> str:
    rows = [
        (
            str(row["batch_size"]),
            number(row["learning_rate"]),
            "-" if np.isnan(row["num_steps"]) else f"{row['num_steps']:.0f}",
            "-" if np.isnan(row["num_samples"]) else f"{row['num_samples']:.0f}",
        )
        for row in saturation["rows"]
    ]
    knee = saturation["knee"]
    remark = (
        "No batch size reaches it within 32 budgets."
        if np.isnan(knee)
        else f"Up to a batch size of {knee:.0f} the samples are at most twice the fewest."
    )
    title = f"FEWEST STEPS TO A LOSS OF {number(saturation['target'])}, BY BATCH SIZE"
    return "\n".join([title, table(("batch size", "learning rate", "steps", "samples"), rows), paragraph(remark)])


def _trust(summary: dict[str, Any]) -> str:
    check = summary["check"]
    if check is None:
        if not (summary["problem"]["evidence"] or summary["attributes"].get("task")):
            return ""
        return f"{HEADING}\n  Not compared with training (`spectra dynamics TASK` does)."
    header = (
        "learning rate",
        "trusted steps",
        "epochs",
        "measured at the end",
        "predicted",
        "without noise",
        "closer over the curve",
    )
    closer = {"predicted_loss": "with noise", "noise_free_loss": "without noise", "same": "both are the same"}
    rows = [
        (
            number(row["learning_rate"]),
            f"{row['trusted_steps']} of {check['num_steps']}",
            number(row["trusted_epochs"]),
            f"{number(row['loss'][-1])} +- {number(row['stderr'][-1], 2)}"
            if np.isfinite(row["loss"][-1])
            else "diverged",
            number(row["predicted_loss"][-1]),
            number(row["noise_free_loss"][-1]),
            closer.get(row["closer"], row["closer"]),
        )
        for row in check["rows"]
    ]
    title = f"{HEADING}: {check['num_runs']} runs of SGD at each rate, {described(check)}"
    return "\n".join([title, table(header, rows), *map(paragraph, _remarks(check))])


def _remarks(check: dict[str, Any]) -> list[str]:
    """Say what the runs support, and which learning rate served best in them."""
    rows = check["rows"]
    remarks = [
        f"Trusted: within {check['tolerance']:.0%} of the measured loss, whose 95% interval is at most "
        f"{2 * check['tolerance']:.0%} to each side; +- is one standard error. At other learning rates, later in "
        "training and on other data it may be otherwise."
    ]
    told = {row["closer"] for row in rows}
    if told == {"same"}:
        remarks.append("These batches have no gradient noise, so that the runs say nothing about the noise model.")
    elif "predicted_loss" not in told:
        remarks.append(
            "Nowhere was the prediction closer than the one without gradient noise: the runs support the linearization "
            "at most, not the noise model."
        )
    finite = [row for row in rows if np.isfinite(row["loss"][-1])]
    if len(rows) > 1 and finite:
        lowest = min(finite, key=lambda row: row["loss"][-1])
        remarks.append(
            f"Lowest measured loss of the rates tried: {number(lowest['loss'][-1])}, at "
            f"{number(lowest['learning_rate'])}. `spectra recommend` finds a rate from training itself."
        )
    return remarks


def _problem(summary: dict[str, Any]) -> str:
    problem, attributes = summary["problem"], summary["attributes"]
    evidence = problem["evidence"]
    samples = "a stream" if problem["num_samples"] is None else f"{problem['num_samples']} samples"
    lines = [
        f"{attributes.get('task', problem['name'])}: {samples}, {problem['num_nodes']} nodes, largest curvature "
        f"{number(problem['largest_eigenvalue'], 4)}, trace {number(problem['trace'], 4)}",
        f"loss {number(problem['loss'], 4)}, lowest loss of the model {number(problem['lowest_loss'], 4)} (noise comes "
        f"from {number(problem['floor'], 3)} that stays)",
    ]
    if problem["offset"]:
        lines.append(
            f"The loss is no square: its quadratic model has a constant {number(problem['offset'])}, which gives no "
            f"noise, and squares that end at {number(problem['floor'])}. Below zero, it is past what it describes."
        )
    cost = []
    if "num_matvecs" in evidence:
        cost.append(f"{evidence['num_matvecs']:.0f} products")
    if evidence.get("num_rows"):
        cost.append(f"{evidence['num_rows']:.0f} rows of samples")
    if summary["check"]:
        check = summary["check"]
        cost.append(f"{len(check['rows']) * check['num_runs'] * check['num_steps']} training steps")
    if "seconds" in attributes:
        cost.append(f"{attributes['seconds']:.1f} s")
    if cost:
        lines.append(f"cost: {', '.join(cost)}")
    return "\n".join(["PROBLEM", *map(paragraph, lines + [f"note: {remark}" for remark in _doubts(evidence)])])


def _doubts(evidence: dict[str, float]) -> list[str]:
    """Return what weakens the spectrum that was measured."""
    doubts = []
    if evidence.get("forcing_change", 0.0) > COARSE_FORCING:
        doubts.append(
            f"half of the Lanczos steps from the gradient change the loss without noise by up to "
            f"{evidence['forcing_change']:.1%} of the loss at the start, late in training"
        )
    if abs(evidence.get("trace_correction", 1.0) - 1) > COARSE_TRACE:
        doubts.append(f"the sampled spectrum had to be scaled by {evidence['trace_correction']:.3g} to its trace")
    if evidence.get("unconverged", 0.0) > 0:
        doubts.append(f"{evidence['unconverged']:.0f} of the largest eigenvalues missed their tolerance")
    if evidence.get("trace_stderr", 0.0) > 0:
        doubts.append(f"the trace is estimated, with a standard error of {number(evidence['trace_stderr'])}")
    return doubts
