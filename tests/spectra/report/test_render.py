"""Advice as text, Markdown, HTML and JSON: every form says what the advice holds."""

import json

import pytest

from spectra.errors import ArgumentError
from spectra.recommend import Verdict, advise
from spectra.report import number, render
from tests.spectra.recommend.fabricated import fabricated_run

TRIED = ((0.1, 4.0, 0.9), (0.2, 4.0, 0.7), (0.4, 4.0, 0.5), (0.8, 4.0, float("nan")))

KINDS = {
    "sgd": {"optimizer": "sgd", "candidates": TRIED, "steps": (0, 10)},
    "momentum": {"optimizer": "momentum"},
    "adamw": {"optimizer": "adamw", "candidates": TRIED, "steps": (0, 10)},
    "none": {"optimizer": None, "steps": (0,)},
    "saddle": {"curvature": -4.0},
    "unsupported": {"optimizer": None, "steps": (0,), "requested_optimizer": "lion", "why_unsupported": "signs"},
    "nothing measured": {"steps": (), "planned": 2, "status": "interrupted"},
}

FORMS = {
    "text": {"format": "text"},
    "verbose": {"format": "text", "verbose": True},
    "markdown": {"format": "markdown"},
    "html": {"format": "html"},
}


def words(page: str) -> str:
    """Return a page without line breaks and escapes."""
    import html

    return " ".join(html.unescape(page).replace("\\", "").replace("**", "").split())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_pages_hold_the_answer_every_failed_check_and_the_next_command(kind, form):
    advice = advise(fabricated_run(**KINDS[kind]))
    page = words(render(advice, **FORMS[form]))
    assert str(advice.verdict) in page
    assert advice.next_command in page
    assert "local and linear" in page
    for check in advice.learning_rate.checks:
        if not check.passed:
            assert f"FAILED ({check.consequence})" in page
            for part in (check.claim, check.observed, check.required):
                assert words(part) in page
        else:
            assert check.claim in page
    for odd in ("nan", "inf,", "None"):
        assert odd not in page


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("form", FORMS)
def test_numbers_are_those_of_the_advice(kind, form):
    advice = advise(fabricated_run(**KINDS[kind]))
    page = words(render(advice, **FORMS[form]))
    assert f"use learning rate {number(advice.learning_rate.value)} " in page
    for item in advice.recommendations:
        if not item.value:
            continue
        if item.quantity == "max_stable_learning_rate" and form == "text" and advice.own_stable_limit is not None:
            continue  # the other one is shown in its place
        value = number(item.value) if item.unit == "1" else str(round(item.value))
        assert (f"{item.value:g}" if item.quantity == "momentum" else value) in page
        if item.low is not None:
            assert f"[{number(item.low)}, {number(item.high)}]" in page
    for row in advice.candidates:
        assert number(row.learning_rate) in page
        assert number(row.loss) in page or row.breaks == "divergence"
    for item in advice.alternatives:
        assert item.value is None or number(item.value) in page
    assert number(advice.linear_decay_peak) in page


def test_candidates_are_marked_and_divergence_is_said():
    page = render(advise(fabricated_run(**KINDS["sgd"])))
    lines = [line.split() for line in page.splitlines()]
    assert [
        "0.400",
        "0.500",
        number(advise(fabricated_run(**KINDS["sgd"])).candidates[2].max_stable_learning_rate),
    ] in [line[:3] for line in lines]
    assert any(line[:2] == ["0.800", "diverged"] and line[-2:] == ["<-", "above"] for line in lines)


def test_the_table_of_batch_sizes_says_that_it_is_extrapolated_and_is_withheld_for_adam():
    sgd, adamw = (words(render(advise(fabricated_run(**KINDS[kind])))) for kind in ("sgd", "adamw"))
    assert "Extrapolated from 32 by limit(b) / limit(32)" in sgd
    assert "Withheld for other batch sizes than 32" in adamw


@pytest.mark.parametrize(("noise", "term"), [(1.0, "Curvature dominates"), (4000.0, "Noise dominates")])
def test_why_names_the_term_that_dominates(noise, term):
    advice = advise(fabricated_run(noise=noise))
    page = words(render(advice))
    assert term in page
    assert number(advice.max_stable_learning_rate.evidence["deterministic_limit"]) in page


def test_default_text_is_short_and_verbose_has_more():
    advice = advise(fabricated_run(**KINDS["sgd"]))
    brief, full = render(advice), render(advice, verbose=True)
    assert len(brief.splitlines()) <= 80
    assert len(full) > len(brief)
    code = advice.next_command
    assert max(len(line) for line in brief.splitlines() if code not in line) <= 100


def test_withheld_pages_show_no_rate_and_nothing_to_paste_but_all_measurements():
    advice = advise(fabricated_run(steps=(0,)))
    page = render(advice, verbose=True)
    assert "withheld" in page
    assert "FAILED (WITHHELD)" in page
    assert "curvature noise" in page
    assert "torch.optim" not in page


def test_cost_is_told_in_training_steps_and_epochs():
    page = words(render(advise(fabricated_run(sample_gradients=6400.0))))
    assert "as much as 200 training steps at batch size 32 (6.2 epochs)" in page


@pytest.mark.parametrize("kind", KINDS)
def test_json_is_versioned_strict_and_complete(kind):
    advice = advise(fabricated_run(**KINDS[kind]))
    data = json.loads(render(advice, format="json"), parse_constant=pytest.fail)
    assert (data["schema"], data["schema_version"]) == ("spectra/advice", 2)
    assert data["verdict"] == str(advice.verdict)
    assert set(data["recommendations"]) == {item.quantity for item in advice.recommendations}
    for item in advice.recommendations:
        shown = None if item.verdict is Verdict.WITHHELD else item.value
        assert data["recommendations"][item.quantity]["value"] == shown
    assert [row["learning_rate"] for row in data["candidates"]] == [row.learning_rate for row in advice.candidates]
    assert bool(data["paste"]) == (advice.verdict is not Verdict.WITHHELD)
    assert data["next_command"] == advice.next_command


def test_json_withholds_what_the_pages_withhold():
    from dataclasses import replace

    advice = advise(fabricated_run())
    limit = replace(advice.max_stable_learning_rate, verdict=Verdict.WITHHELD)
    assert limit.value
    data = json.loads(render(replace(advice, max_stable_learning_rate=limit), format="json"))
    shown = data["recommendations"]["max_stable_learning_rate"]
    assert [shown[name] for name in ("value", "low", "high")] == [None, None, None]


def test_a_tentative_answer_says_which_check_failed():
    advice = advise(fabricated_run(residual=0.08))
    assert advice.verdict is Verdict.TENTATIVE
    failed = next(check for check in advice.learning_rate.checks if not check.passed)
    assert f"Tentative; failed: {failed.claim}; observed" in words(render(advice))


def test_unknown_format_and_a_picture_for_text_are_refused():
    with pytest.raises(ArgumentError, match="format"):
        render(advise(fabricated_run()), format="pdf")
    with pytest.raises(ArgumentError, match="picture"):
        render(advise(fabricated_run()), picture="x.png")
