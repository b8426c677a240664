"""Rates that were followed on are in every form of the page, with what became of them."""

import json

import pytest

from spectra.recommend import advise
from spectra.report import number, render
from spectra.report.followed import followed_rates
from tests.spectra.recommend.fabricated import fabricated_run

TRIED = ((0.1, 4.0, 0.9), (0.2, 4.0, 0.7), (0.4, 4.0, 0.5), (0.8, 4.0, float("nan")))
#: The first breaks by its loss, the second holds.
FOLLOWED = ((0.4, 4.0, 0.5, 0.9), (0.2, 4.0, 0.6, 0.4))


@pytest.fixture
def advice():
    return advise(fabricated_run(candidates=TRIED, confirmations=FOLLOWED, steps=(0, 10)))


@pytest.mark.parametrize("format", ["text", "markdown", "html"])
def test_every_page_has_their_table(advice, format):
    page = render(advice, format=format)
    assert "followed on" in page.lower()
    for _, _, midway, loss in FOLLOWED:
        assert number(midway) in page
        assert number(loss) in page


def test_json_has_what_the_table_has(advice):
    data = json.loads(render(advice, format="json"))["followed_on"]
    assert [(row["learning_rate"], row["midway_loss"], row["loss"], row["breaks"]) for row in data] == [
        (0.2, 0.6, 0.4, ""),
        (0.4, 0.5, 0.9, "loss"),
    ]
    assert [row["num_steps"] for row in data] == [40, 40]
    assert [row["max_stable_learning_rate"] for row in data] == [
        row.max_stable_learning_rate for row in followed_rates(advice)
    ]


def test_nothing_is_said_where_no_rate_was_followed():
    advice = advise(fabricated_run(candidates=TRIED, steps=(0, 10)))
    assert "followed on" not in render(advice).lower()
    assert json.loads(render(advice, format="json"))["followed_on"] == []


def test_of_another_batch_size_nothing_was_followed():
    run = fabricated_run(candidates=TRIED, confirmations=FOLLOWED, steps=(0, 10))
    assert followed_rates(advise(run, batch_size=64)) == ()
