"""The evidence: candidate rates, batch sizes, states on the way, checks, refusals, other rules."""

from spectra.recommend.advice import Advice
from spectra.recommend.recommendation import Check, Verdict
from spectra.report.answer import OPTIONAL, because, name_of
from spectra.report.blocks import Block, Bullets, Paragraph, Table
from spectra.report.numbers import interval, number

__all__ = ["batch_sizes", "candidates", "checks", "other_rules", "refusals", "stages"]

#: Of the brief page: batch sizes up to this factor from the one asked for.
NEAR = 4


def candidates(advice: Advice) -> tuple[Block, ...]:
    """Return the table of the rates that were tried."""
    marks = {"best": "<- best", "low": "<- below", "high": "<- above"}
    rows = tuple(
        (
            number(row.learning_rate),
            "diverged" if row.breaks == "divergence" and row.loss == float("inf") else number(row.loss),
            number(row.max_stable_learning_rate),
            number(row.consistency, 2) if row.consistency != float("inf") else "-",
            row.breaks or "nothing",
            marks.get(row.bracket, ""),
        )
        for row in advice.candidates
    )
    marked = frozenset(index for index, row in enumerate(advice.candidates) if row.bracket)
    steps = max(row.num_steps for row in advice.candidates)
    return (
        Paragraph(
            f"Each for {steps} real steps from the given state (loss {number(advice.stages[0].loss)}); "
            "q = rate / its own stable limit."
        ),
        Table(("rate", "loss after", "its own limit", "q", "breaks", ""), rows, marked),
    )


def batch_sizes(advice: Advice, *, detail: bool) -> tuple[Block, ...]:
    """Return learning rate against batch size, or why it cannot be told."""
    batch = advice.requested_batch_size
    if advice.run.optimizer is not None and advice.run.optimizer.is_adaptive:
        return (
            Paragraph(
                f"Withheld for other batch sizes than {batch}: the preconditioner depends on the batch size. Measure "
                "at each size that you consider."
            ),
        )
    shown = [row for row in advice.curve if detail or batch / NEAR <= row.batch_size <= batch * NEAR]
    rows = tuple(
        (
            str(row.batch_size),
            number(row.learning_rate),
            number(row.max_stable_learning_rate),
            interval(row.low, row.high),
            f"{row.exponent:.2f}",
            row.regime,
        )
        for row in shown
    )
    marked = frozenset(index for index, row in enumerate(shown) if row.batch_size == batch)
    header = ("batch size", "learning rate", "stable limit", "95% interval", "exponent", "regime")
    return (
        Paragraph(
            f"Extrapolated from {batch} by limit(b) / limit({batch}); exponent = d log limit / d log b."
            + (" Rebuild the schedule when you change the batch." if detail else "")
        ),
        Table(header, rows, marked),
    )


def stages(advice: Advice) -> tuple[Block, ...]:
    """Return the table of the states measured on the way."""
    rows = tuple(
        (
            str(row.step),
            number(row.loss),
            f"{number(row.curvature)} +- {number(row.residual, 1)}",
            number(row.smallest_curvature),
            f"{number(row.curvature_noise)} +- {number(row.curvature_noise_stderr, 2)}",
            number(row.max_stable_learning_rate),
        )
        for row in advice.stages
    )
    header = ("real steps", "loss", "largest curvature", "smallest", "curvature noise", "stable limit")
    return (Table(header, rows),)


def checks(advice: Advice, *, detail: bool, more: tuple[str, ...] = ()) -> tuple[Block, ...]:
    """Return the checks of the learning rate, failed ones first; in brief, passed ones by name, and ``more`` items."""
    every = sorted(advice.learning_rate.checks, key=lambda check: check.passed)
    if detail:
        rows = tuple(
            (
                "passed" if check.passed else f"FAILED ({check.consequence})",
                check.claim,
                check.observed,
                check.required,
                check.source,
            )
            for check in every
        )
        marked = frozenset(index for index, check in enumerate(every) if not check.passed)
        return (Table(("", "claim", "observed", "required", "source"), rows, marked),)
    failed = [failure(check) for check in every if not check.passed]
    passed = [check.claim for check in every if check.passed]
    said = f"{len(passed)} of {len(every)} passed" + (f": {'; '.join(passed)}." if passed else ".")
    return (Bullets((*failed, said, *more)),)


def failure(check: Check) -> str:
    """Return a failed check as one sentence."""
    return f"FAILED ({check.consequence}) {check.claim}: observed {check.observed}; required {check.required}."


def refusals(advice: Advice) -> tuple[str, ...]:
    """Return which quantities carry no number or a tentative one, and why; the answer speaks of the learning rate."""
    if not advice.stages:
        return ()
    return tuple(
        f"{name_of(item, advice)}: {item.verdict}; {because(item)}."
        for item in advice.recommendations
        if item.quantity != "learning_rate"
        and item.verdict is not Verdict.SUPPORTED
        and not (item.quantity in OPTIONAL and item.value is not None)
    )


def other_rules(advice: Advice, *, detail: bool) -> tuple[Block, ...]:
    """Return the constant rates of other rules."""
    if detail:
        rows = tuple((item.rule, number(item.value), item.reason) for item in advice.alternatives)
        return (Table(("rule", "constant rate", "why it is not the answer"), rows),)
    said = "; ".join(
        f"{item.rule} {'refused' if item.value is None else number(item.value)}" for item in advice.alternatives
    )
    return (Paragraph(f"{said}."),)
