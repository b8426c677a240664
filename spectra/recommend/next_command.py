"""The one command that repairs the weakest check, or tightens the widest interval."""

import difflib
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from spectra.recommend.optimizer import OptimizerKind
from spectra.recommend.recommendation import Check, Recommendation, Verdict
from spectra.recommend.run import RunMeasurements

__all__ = ["next_command", "typed_options", "widest_interval"]

#: Where an attribute is missing, the defaults of a measurement.
DEFAULTS = {"max_krylov_steps": 60, "candidate_steps": 40, "num_micro_batches": 24}

#: Quantities whose interval shrinks when more is measured.
STATISTICAL = ("max_stable_learning_rate", "own_stable_limit", "saturation_batch_size", "gradient_noise_scale")


def typed_options(run: RunMeasurements) -> dict[str, str]:
    """Return the options of the measurement that a command has to repeat, by name; ``""`` for a flag.

    The attribute ``command_options`` holds them where the run was measured from the command line; otherwise they follow
    from the optimizer.
    """
    stored = run.attributes.get("command_options")
    if stored:
        return {str(name): str(value) for name, value in json.loads(stored).items()}
    options: dict[str, str] = {}
    spec = run.optimizer
    if spec is not None:
        usual = type(spec)(kind=spec.kind)
        for name in ("momentum", "beta2", "eps", "weight_decay"):
            if getattr(spec, name) != getattr(usual, name):
                options[f"--{name.replace('_', '-')}"] = f"{getattr(spec, name):g}"
    if float(run.attributes.get("clip_norm", 0.0)) > 0:
        options["--clip-norm"] = f"{float(run.attributes['clip_norm']):g}"
    return options


def widest_interval(items: Sequence[Recommendation]) -> Recommendation | None:
    """Return the quantity whose measured interval is widest, relative to its value; None if there is none."""
    measured = [
        item
        for item in items
        if item.quantity in STATISTICAL and item.value and item.low is not None and item.high is not None
    ]
    return max(measured, key=lambda item: (item.high - item.low) / item.value, default=None)  # type: ignore[operator]


def next_command(run: RunMeasurements, rate: Recommendation, batch: int, *, schedule: str = "constant") -> str:
    """Return a ``spectra recommend`` command line.

    Parameters
    ----------
    run : RunMeasurements
        The measurements.
    rate : Recommendation
        Whose worst failed check is to be repaired; if none failed, intervals are tightened by more micro-batches.
    batch : int
        Effective batch size.
    schedule : str
        Repeated if it is not ``"constant"``.
    """
    plan = _plan(run.attributes)
    options = {"--optimizer": _kind(run), "--batch-size": str(batch), **typed_options(run)}
    if schedule != "constant":
        options["--schedule"] = schedule
    failed = [check for check in rate.checks if not check.passed]
    worst = next((check for check in failed if check.consequence is rate.verdict), None)
    options |= _repair(worst.claim if worst else "", worst, run, plan, rate)
    words = ["spectra", "recommend", str(run.attributes.get("task", "TASK"))]
    for name, value in options.items():
        words += [name, value] if value else [name]
    return shlex.join(words)


def _repair(
    claim: str, worst: Check | None, run: RunMeasurements, plan: Mapping[str, Any], rate: Recommendation
) -> dict[str, str]:
    """Return the options to change; none where measuring the same again is all that helps."""
    seed = {"--seed": str(int(run.attributes.get("seed", 0)) + 1)}
    about_noise = any(words in claim for words in ("noise", "directional step", "resolved"))
    if worst is None or (about_noise and ("residual" not in worst.observed or _percent(worst.observed) <= 10)):
        return _more_micro_batches(run)
    if "Ritz pair" in claim or "directions have converged" in claim or "resolved after steps" in claim:
        return {"--max-krylov-steps": str(2 * int(plan["max_krylov_steps"]))}
    if "known" in claim:
        return {"--optimizer": _nearest(str(run.attributes.get("requested_optimizer", "")))}
    if "batch fits" in claim:
        return {"--batch-size": str(run.num_samples)}
    if "stays within its own" in claim or "loss is finite" in claim:
        return {"--probe-learning-rate": f"{float(run.attributes.get('probe_learning_rate') or 1e-3) / 16:.2g}"}
    if "past the mark" in claim and run.candidates:
        return {"--probe-learning-rate": f"{4 * run.candidates[-1].learning_rate:.2g}"}
    if "lowered the loss" in claim:
        return {"--candidate-steps": str(2 * int(plan["candidate_steps"]))}
    if any(words in claim for words in ("settled", "left the initial state", "real steps", "one-probe", "agree")):
        last = max(10, run.stages[-1].step if run.stages else 10)
        return {"--probe-steps": f"{last},{2 * last}" if last == 10 else f"{last},{2 * last},{4 * last}"}
    if rate.verdict is Verdict.SUPPORTED or "negative curvature" in claim:
        return seed
    return {}


def _nearest(name: str) -> str:
    """Return the supported kind whose name comes nearest."""
    return next(iter(difflib.get_close_matches(name.lower(), get_args(OptimizerKind), n=1)), "adamw")


def _more_micro_batches(run: RunMeasurements) -> dict[str, str]:
    """Double the micro-batches, with samples for them; another draw where the data are used up."""
    count = int(run.attributes.get("num_micro_batches", DEFAULTS["num_micro_batches"]))
    size = int(run.attributes.get("micro_batch_size", 16))
    samples = int(run.attributes.get("noise_size") or run.attributes.get("reference_size", run.num_samples))
    needed = 2 * count * size
    if needed > run.num_samples:
        return {"--seed": str(int(run.attributes.get("seed", 0)) + 1)}
    options = {"--micro-batches": str(2 * count)}
    if needed > samples:
        options["--noise-size"] = str(min(run.num_samples, 2 * samples))
    return options


def _percent(observed: str) -> float:
    """Return the first percentage in words, 0 if there is none."""
    for word in observed.split():
        if word.endswith("%"):
            return float(word.rstrip("%"))
    return 0.0


def _plan(attributes: Mapping[str, Any]) -> dict[str, Any]:
    stored = json.loads(attributes.get("plan") or "{}")
    known = {name: attributes[name] for name in DEFAULTS if name in attributes}
    return {**DEFAULTS, **stored, **known}


def _kind(run: RunMeasurements) -> str:
    if run.optimizer is not None:
        return run.optimizer.kind
    return str(run.attributes.get("requested_optimizer") or "adamw")
