"""One page of an advice, top to bottom, for every form that it is written in."""

from spectra.recommend.advice import Advice
from spectra.recommend.recommendation import Verdict
from spectra.report.answer import answer, name_of, numbers_table, task_of
from spectra.report.blocks import Block, Bullets, Code, Page, Paragraph, Section
from spectra.report.cost import cost_sentence
from spectra.report.evidence import batch_sizes, candidates, checks, other_rules, refusals, stages
from spectra.report.followed import followed_on, followed_rates
from spectra.report.paste import paste_lines
from spectra.report.why import why

__all__ = ["SCOPE", "lead", "page"]

SCOPE = "Limits are local and linear, of the measured states; measure again when the loss has changed a lot."


def page(advice: Advice, *, detail: bool) -> Page:
    """Return the page; with ``detail`` all rows, all checks and the reasons against other rules."""
    sections = [Section("Numbers", (numbers_table(advice, detail=detail),))] if advice.stages else []
    if advice.stages:
        sections.append(Section("Why", (why(advice),)))
    if advice.candidates:
        sections.append(Section("Learning rates that were tried", candidates(advice)))
    if followed_rates(advice):
        sections.append(Section("Followed on", followed_on(advice)))
    if advice.stages and advice.learning_rate.value is not None and advice.curve:
        sections.append(Section("Learning rate x batch size", batch_sizes(advice, detail=detail)))
    refused = refusals(advice)
    if refused and detail:
        sections.append(Section("Checked", checks(advice, detail=True)))
        sections.append(Section("Withheld or tentative", (Bullets(refused),)))
    else:
        sections.append(Section("Checked", checks(advice, detail=detail, more=refused)))
    if detail and advice.stages:
        sections.append(Section("Measured on the way", stages(advice), folded=True))
    if advice.alternatives:
        sections.append(Section("Other rules, as constant rates", other_rules(advice, detail=detail), folded=detail))
    lines = paste_lines(advice)
    if lines:
        sections.append(Section("To paste", tuple(lines.values())))
    closing: list[Block] = [Paragraph(cost_sentence(advice)), Paragraph(SCOPE)]
    closing.append(Code(advice.next_command, "console", lead(advice)))
    sections.append(Section("Cost, scope, and what next", tuple(closing)))
    return Page(f"Learning rate for {task_of(advice)}", str(advice.verdict), answer(advice), tuple(sections))


def lead(advice: Advice) -> str:
    """Return the sentence before the next command."""
    if advice.verdict is not Verdict.SUPPORTED:
        return "To repair the weakest point:"
    widest = advice.widest_interval
    return "To tighten the widest interval" + (f" ({name_of(widest, advice)}):" if widest else ":")
