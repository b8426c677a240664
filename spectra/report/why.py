"""Why the rate is what it is: which term limits it, in words with numbers."""

import math

from spectra.recommend.advice import Advice
from spectra.recommend.self_consistent import consistency_rule
from spectra.report.blocks import Bullets
from spectra.report.numbers import number

__all__ = ["why"]

LIMITED_BY = {
    "stability": "{rate} went past its own limit (q {q})",
    "divergence": "{rate} diverged",
    "loss": "{rate} lowered the loss less",
}


#: Share of the limit that one term has to take to be called dominant.
DOMINATES = 2 / 3


def why(advice: Advice) -> Bullets:
    """Return the reasons, most important first."""
    items = [*_limits(advice), *_search(advice), *_momentum(advice), *_remarks(advice)]
    return Bullets(tuple(items) or ("Nothing was measured.",))


def _limits(advice: Advice) -> list[str]:
    if not advice.stages:
        return []
    limit = advice.own_stable_limit or advice.max_stable_learning_rate
    share, plain = _value(limit.evidence, "noise_share"), _value(limit.evidence, "deterministic_limit")
    curvature, noise = _value(limit.evidence, "curvature"), _value(limit.evidence, "curvature_noise")
    if limit.value is None or share is None or plain is None:
        return [
            f"No measured direction curves upwards (largest curvature {number(curvature)}): a saddle or a plateau, "
            "where no stable limit exists."
            if curvature is not None and curvature <= 0
            else f"No stable limit: {limit.reason}."
        ]
    space = "preconditioned " if advice.run.optimizer and advice.run.optimizer.is_adaptive else ""
    batch, stderr = advice.requested_batch_size, _value(limit.evidence, "curvature_noise_stderr")
    if share > DOMINATES:
        term = f"Noise dominates ({share:.0%} of the limit is lost to it)"
    elif share < 1 - DOMINATES:
        term = f"Curvature dominates (noise takes {share:.0%} of the limit)"
    else:
        term = f"Curvature and noise count about equally (noise takes {share:.0%} of the limit)"
    measured = (
        f"{term}: {space}curvature {number(curvature)} alone would allow {number(plain)}; curvature noise "
        f"{number(noise)} +- {number(stderr, 2)} a sample, over batches of {batch}, lowers that to "
        f"{number(limit.value)}."
    )
    exponent = next((row.exponent for row in advice.curve if row.batch_size == batch), None)
    if exponent is None or 2 * batch > advice.run.num_samples:
        return [measured]
    fixed = " (at a fixed preconditioner)" if space else ""
    return [f"{measured} Twice the batch would raise it by about {2**exponent - 1:.0%}{fixed}."]


def _search(advice: Advice) -> list[str]:
    evidence = advice.learning_rate.evidence
    rule = evidence.get("rule")
    if not rule:
        return []
    limited = str(evidence.get("limited_by", ""))
    if not advice.candidates or limited not in LIMITED_BY:
        return [f"Rule: {rule}."]
    high = next((row for row in advice.candidates if row.bracket == "high"), None)
    inside = [row for row in advice.candidates if row.bracket in ("low", "best")]
    if high is None or not inside:
        return [f"Rule: {rule}."]
    broken = LIMITED_BY[limited].format(rate=number(high.learning_rate), q=number(high.consistency, 2))
    since = _margin(advice) + _followed(advice)
    return [
        f"Tried by real steps: {number(inside[-1].learning_rate)} stayed within the limit that its own steps lead to "
        f"(q {number(inside[-1].consistency, 2)}, loss {number(inside[-1].loss)}), {broken}.{since}"
    ]


def _margin(advice: Advice) -> str:
    margin = 1.0 if advice.run.optimizer is None else consistency_rule(advice.run.optimizer).margin
    return "" if margin == 1.0 else f" The recommended rate is {margin:g} of what was found, as a margin."


def _followed(advice: Advice) -> str:
    """Return what became of the rate when it was followed on."""
    found = _value(advice.learning_rate.evidence, "found_before_confirmation")
    used = _value(advice.learning_rate.evidence, "confirmed_value")
    if found is None or used is None or not advice.run.confirmations:
        return ""
    steps = max(len(confirmation.training_losses) for confirmation in advice.run.confirmations)
    diverged = [c.learning_rate for c in advice.run.confirmations if c.stage is None and c.learning_rate > used]
    edge = f" {number(min(diverged))} diverges, so that a margin of 0.7 is taken." if diverged else ""
    if math.isclose(found, used, rel_tol=1e-9):
        return f" Followed for {steps} steps it holds.{edge}"
    if used < found:
        return f" Followed for {steps} steps {number(used)} does better.{edge}"
    return f" Followed for {steps} steps {number(used)} holds too, and gains at least a quarter more.{edge}"


def _momentum(advice: Advice) -> list[str]:
    item = advice.momentum
    if item.value is None or advice.run.optimizer is None or not advice.run.optimizer.beta:
        return []
    return [f"Momentum: {item.reason}."]


def _remarks(advice: Advice) -> list[str]:
    remarks = str(advice.run.attributes.get("remarks", "")).split("\n")
    return [f"Note: {note}." for note in (*advice.run.notes, *remarks) if note]


def _value(evidence: dict[str, float | str | None], name: str) -> float | None:
    value = evidence.get(name)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None
