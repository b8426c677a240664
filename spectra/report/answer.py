"""The answer in one sentence, and the numbers with their intervals and verdicts."""

from spectra.recommend.advice import Advice
from spectra.recommend.recommendation import Recommendation, Verdict
from spectra.report.blocks import Table
from spectra.report.numbers import interval, number

__all__ = ["answer", "because", "name_of", "numbers_table", "setting", "task_of"]

NAMES = {
    "learning_rate": "learning rate",
    "saturation_batch_size": "b*, batch size where that limit saturates",
    "gradient_noise_scale": "gradient noise scale B_simple",
    "batch_size": "batch sizes worth using",
    "next_batch_size": "next batch size, by the norm test",
    "momentum": "momentum",
    "warmup_steps": "warm-up length",
}

#: Shown when resolved; otherwise their reason is enough.
OPTIONAL = ("next_batch_size", "momentum", "warmup_steps")

SCHEDULES = {"constant": "constant learning rate", "linear": "linear decay to zero"}


def setting(advice: Advice) -> str:
    """Return the optimizer, batch size and schedule that the advice is for."""
    run = advice.run
    optimizer = run.optimizer.label if run.optimizer else str(run.attributes.get("requested_optimizer") or "")
    return f"{optimizer or 'no optimizer'}, batch size {advice.requested_batch_size}, {SCHEDULES[advice.schedule]}"


def task_of(advice: Advice) -> str:
    """Return how the run calls its task."""
    return str(advice.run.attributes.get("task") or "this run")


def answer(advice: Advice) -> str:
    """Return one sentence: the learning rate with its range and verdict, or why there is none."""
    rate = advice.learning_rate
    if rate.value is None:
        reason = because(rate)
        why = f"{reason[:1].upper()}{reason[1:]}"
        return f"{task_of(advice)}: no learning rate is recommended for {setting(advice)}: WITHHELD. {why}."
    peak = " (the peak, decayed linearly to zero)" if advice.schedule == "linear" else ""
    sentence = f"{task_of(advice)}: use learning rate {number(rate.value)}{peak} for {setting(advice)}: {rate.verdict}"
    if rate.low is not None:
        sentence += f", the best rate most likely between {number(rate.low)} and {number(rate.high)}"
    if rate.verdict is Verdict.TENTATIVE:
        return f"{sentence}. Tentative; {because(rate)}."
    return f"{sentence}."


def because(item: Recommendation) -> str:
    """Return the check that decides the verdict, which names a claim that does not hold, or the reason."""
    failed = [check for check in item.checks if not check.passed and check.consequence is item.verdict]
    if not failed:
        return item.reason
    return f"failed: {failed[0].claim}; observed {failed[0].observed}; required {failed[0].required}"


def name_of(item: Recommendation, advice: Advice) -> str:
    """Return a quantity in words, with the state that it belongs to."""
    if item.quantity == "max_stable_learning_rate":
        whose = "" if advice.run.optimizer else " (of plain SGD)"
        if not advice.stages:
            return f"largest stable rate{whose}"
        step = advice.stages[-1].step
        return f"largest stable rate{whose}, {f'after {step} gentle steps' if step else 'at the given state'}"
    if item.quantity == "own_stable_limit":
        rate, steps = item.evidence["learning_rate"], item.evidence["num_steps"]
        return f"its stable limit, after {int(float(steps or 0))} steps at {number(float(rate or 0))}"
    if item.quantity == "learning_rate" and advice.schedule == "linear":
        return "learning rate, peak of the linear decay"
    return NAMES.get(item.quantity, item.quantity.replace("_", " "))


def numbers_table(advice: Advice, *, detail: bool) -> Table:
    """Return the table of all quantities that carry a number, and of those that should."""
    rows = []
    for item in advice.recommendations:
        if item.quantity in OPTIONAL and not item.value:
            continue
        if item.quantity == "max_stable_learning_rate" and advice.own_stable_limit is not None and not detail:
            continue  # of another state than the one that decides
        withheld = item.value is None or item.verdict is Verdict.WITHHELD
        value = "withheld" if withheld else value_of(item)
        ends = "" if withheld else interval(item.low, item.high)
        meaning = item.interval if item.quantity == "learning_rate" else item.reason
        rows.append((name_of(item, advice), value, ends, str(item.verdict), meaning))
        peak = advice.linear_decay_peak
        if item.quantity == "learning_rate" and item.value and peak is not None and advice.schedule == "constant":
            low, high = (None if end is None else end * peak / item.value for end in (item.low, item.high))
            rows.append(
                (
                    "peak rate, if decayed linearly to zero",
                    number(peak),
                    interval(low, high),
                    "",
                    "in place of the constant rate",
                )
            )
    header = ("quantity", "value", "interval", "verdict", "meaning")
    kept = len(header) if detail else -1
    return Table(header[:kept], tuple(row[:kept] for row in rows), frozenset({0}))


def value_of(item: Recommendation) -> str:
    """Return a value as its unit wants it: whole samples and steps, momentum as it was set."""
    assert item.value is not None
    if item.unit in ("samples", "steps"):
        return str(round(item.value))
    return f"{item.value:.4g}" if item.quantity == "momentum" else number(item.value)
