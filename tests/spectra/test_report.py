"""Advice as text, Markdown and JSON."""

import json

import pytest

from spectra.errors import ArgumentError
from spectra.recommend import advise
from spectra.report import finite_or_null, render, table
from tests.spectra.recommend.fabricated import fabricated_run


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw", None])
@pytest.mark.parametrize("form", ["text", "markdown"])
def test_pages_hold_the_answer_the_reason_and_the_next_command(optimizer, form):
    steps = (0, 10, 20) if optimizer else (0,)
    advice = advise(fabricated_run(optimizer=optimizer, steps=steps))
    page = render(advice, format=form)
    assert str(advice.verdict) in page
    assert advice.next_command in page
    assert "local and linear" in page
    assert "curvature products" in page
    for number in ("nan", "inf,", "None"):
        assert number not in page


def test_withheld_pages_show_no_rate_but_all_measurements():
    advice = advise(fabricated_run(steps=(0,)))
    page = render(advice)
    assert "withheld" in page
    assert "FAILED (WITHHELD)" in page
    assert "curvature noise" in page


def test_json_is_versioned_strict_and_complete():
    def refuse(constant):
        raise AssertionError(f"{constant} in JSON")

    advice = advise(fabricated_run(curvature=-4.0))
    data = json.loads(render(advice, format="json"), parse_constant=refuse)
    assert data["schema"] == "spectra/advice"
    assert data["schema_version"] == 1
    assert data["verdict"] == "WITHHELD"
    assert set(data["recommendations"]) == {item.quantity for item in advice.recommendations}
    assert data["recommendations"]["learning_rate"]["value"] is None


def test_nan_becomes_null_at_any_depth():
    assert finite_or_null({"a": [float("nan"), (1.0, float("inf"))]}) == {"a": [None, [1.0, None]]}


def test_table_columns_line_up():
    lines = table(("a", "bb"), [("1", "2"), ("333", "4")], markdown=True).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_unknown_format_is_refused():
    with pytest.raises(ArgumentError, match="format"):
        render(advise(fabricated_run()), format="pdf")
