"""A rate that does not hold is halved until one does."""

import math

import pytest

from spectra.recommend import Verdict, advise
from spectra.recommend.confirmation import Confirmation, confirmed_rate, next_confirmation
from tests.spectra.recommend.fabricated import fabricated_run


def followed(outcome, *, value, initial_loss=2.0):
    tried = []
    while (rate := next_confirmation(tried, value=value, initial_loss=initial_loss)) is not None:
        tried.append(outcome(rate))
        assert len(tried) < 10
    return tried, confirmed_rate(tried, initial_loss=initial_loss)


def test_rates_are_halved_until_one_holds():
    def outcome(rate):
        return Confirmation(learning_rate=rate, limit=1.0, midway_loss=1.0, loss=0.5 if rate < 0.3 else 1.5)

    tried, rate = followed(outcome, value=1.0)
    assert [confirmation.learning_rate for confirmation in tried] == [1.0, 0.5, 0.25]
    assert rate == 0.25


def test_four_tries_and_no_answer():
    tried, rate = followed(
        lambda r: Confirmation(learning_rate=r, limit=math.nan, midway_loss=math.inf, loss=math.inf), value=1.0
    )
    assert len(tried) == 4
    assert rate is None


@pytest.mark.parametrize(
    ("limit", "midway", "loss", "broken"),
    [
        (1.0, 1.0, 0.9, ""),
        (1.0, 1.0, 1.09, ""),  # within a tenth of the gain from 2 to 1
        (1.0, 1.0, 1.11, "loss"),
        (1.0, 2.5, 2.4, ""),  # above the start all the time, but falling
        (1 / 2.9, 1.0, 0.5, ""),
        (1 / 3.1, 1.0, 0.5, "stability"),
        (math.inf, 1.0, 0.5, ""),
        (math.nan, 1.0, math.inf, "divergence"),
    ],
)
def test_what_breaks_a_rate(limit, midway, loss, broken):
    confirmation = Confirmation(learning_rate=1.0, limit=limit, midway_loss=midway, loss=loss)
    assert confirmation.broken(2.0) == broken


TRIED = ((0.05, 3.0, 0.8), (0.1, 3.0, 0.6), (0.2, 3.0, 0.5), (0.4, 12.0, 0.7))


def test_a_confirmed_rate_is_the_answer():
    held = ((0.2, 3.0, 0.5, 0.3),)
    advice = advise(fabricated_run(optimizer="sgd", candidates=TRIED, confirmations=held))
    assert advice.learning_rate.value == pytest.approx(0.2)
    assert advice.learning_rate.verdict is not Verdict.WITHHELD
    check = next(c for c in advice.learning_rate.checks if "twice the steps" in c.claim)
    assert check.passed
    assert "0.5 to 0.3" in check.observed


def test_a_lowered_rate_is_tentative_and_says_so():
    held = ((0.1, 3.0, 0.6, 0.4), (0.2, 3.0, 0.5, 0.9))
    advice = advise(fabricated_run(optimizer="sgd", candidates=TRIED, confirmations=held))
    assert advice.learning_rate.value == pytest.approx(0.1)
    assert advice.learning_rate.verdict is Verdict.TENTATIVE
    assert advice.learning_rate.evidence["found_before_confirmation"] == pytest.approx(0.2)
    assert "halved" in advice.learning_rate.evidence["rule"]


def test_without_a_rate_that_holds_nothing_is_recommended():
    held = ((0.1, 3.0, 0.6, 0.9), (0.2, 3.0, 0.5, float("nan")))
    advice = advise(fabricated_run(optimizer="sgd", candidates=TRIED, confirmations=held))
    assert advice.learning_rate.value is None
    assert advice.verdict is Verdict.WITHHELD


def test_a_rate_that_was_not_followed_is_tentative():
    assert advise(fabricated_run(optimizer="sgd", candidates=TRIED)).verdict is Verdict.TENTATIVE
