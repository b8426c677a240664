"""A rate that does not hold is halved until one does."""

import math

import pytest

from spectra.recommend import Verdict, advise
from spectra.recommend.confirmation import Confirmation, confirmed_rate, next_confirmation
from tests.spectra.recommend.fabricated import fabricated_run


def followed(outcome, *, value, initial_loss=2.0, may_climb=False):
    tried = []
    while (rate := next_confirmation(tried, value=value, initial_loss=initial_loss, may_climb=may_climb)) is not None:
        tried.append(outcome(rate))
        assert len(tried) < 10
    return tried, confirmed_rate(tried, initial_loss=initial_loss, value=value)


def test_rates_are_halved_until_one_holds():
    def outcome(rate):
        return Confirmation(learning_rate=rate, limit=1.0, midway_loss=1.0, loss=0.5 if rate < 0.3 else 1.5)

    tried, rate = followed(outcome, value=1.0)
    assert [confirmation.learning_rate for confirmation in tried] == [1.0, 0.5, 0.25]
    assert rate == 0.25


def test_five_tries_and_no_answer():
    tried, rate = followed(
        lambda r: Confirmation(learning_rate=r, limit=math.nan, midway_loss=math.inf, loss=math.inf), value=1.0
    )
    assert len(tried) == 5
    assert rate is None


def ends_at(**losses):
    """Return an outcome by rate; loss None is a divergence."""

    def outcome(rate):
        loss = losses[f"r{rate:g}"]
        return Confirmation(learning_rate=rate, limit=rate, midway_loss=1.9, loss=math.inf if loss is None else loss)

    return outcome


@pytest.mark.parametrize(
    ("outcome", "visited", "rate"),
    [
        (ends_at(r1=1.0, r2=0.7, r4=0.6), [1, 2, 4], 2.0),  # gains 1, 1.3, 1.4
        (ends_at(r1=1.0, r2=0.76), [1, 2], 1.0),  # 1.24 is not worth it
        (ends_at(r1=1.8, r2=1.7, r4=1.5, r8=1.0, r16=0.0), [1, 2, 4, 8, 16], 16.0),  # five at most
        (ends_at(r1=1.0, r2=None), [1, 2], 1.0),
        (ends_at(r1=1.0, r2=1.95), [1, 2], 1.0),
        (ends_at(**{"r1": None, "r0.5": 1.0}), [1, 0.5], 0.5),
    ],
)
def test_rates_climb_while_that_gains_a_quarter_more(outcome, visited, rate):
    tried, found = followed(outcome, value=1.0, may_climb=True)
    assert [confirmation.learning_rate for confirmation in tried] == visited
    assert found == rate
    assert confirmed_rate(tried[::-1], initial_loss=2.0, value=1.0) == rate


@pytest.mark.parametrize(
    ("limit", "losses", "visited", "rate"),
    [
        (0.5, {1: 1.0, 0.5: 1.2}, [1, 0.5], 1.0),  # q = 2, and the half gains less
        (0.5, {1: 1.0, 0.5: 0.8, 0.25: 0.5}, [1, 0.5], 0.5),  # q = 1 is consistent
        (0.2, {1: 1.0, 0.5: 0.8, 0.25: 0.9}, [1, 0.5, 0.25], 0.5),  # q = 5 breaks the first, 2.5 does not the second
        (1.0, {1: 1.0}, [1], 1.0),
    ],
)
def test_the_half_of_a_rate_past_its_limit_is_taken_if_its_loss_is_lower(limit, losses, visited, rate):
    def outcome(r):
        return Confirmation(learning_rate=r, limit=limit, midway_loss=1.9, loss=losses[r])

    tried, found = followed(outcome, value=1.0)
    assert [confirmation.learning_rate for confirmation in tried] == visited
    assert found == rate


def test_rates_do_not_climb_unless_stability_ended_the_search():
    tried, rate = followed(ends_at(r1=1.0, r2=0.1), value=1.0)
    assert len(tried) == 1
    assert rate == 1.0


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


def test_a_raised_rate_is_supported_and_shows_where_it_leads():
    tried, held = ((0.2, 3.0, 0.95), (0.4, 12.0, 0.7)), ((0.2, 3.0, 0.9, 0.8), (0.4, 6.0, 0.7, 0.3))
    advice = advise(fabricated_run(optimizer="sgd", candidates=tried, confirmations=held))
    found = advice.learning_rate
    assert found.evidence["limited_by"] == "stability"
    assert found.value == pytest.approx(0.4)
    assert found.verdict is not Verdict.WITHHELD
    assert "times" in found.evidence["rule"]
    assert advice.own_stable_limit.evidence["learning_rate"] == pytest.approx(0.4)
    assert advice.own_stable_limit.evidence["curvature"] == pytest.approx(6.0)


def test_below_a_rate_that_diverged_there_is_a_margin_and_no_higher_peak():
    held = ((0.1, 3.0, 0.6, 0.4), (0.2, 3.0, 0.5, float("nan")))
    run = fabricated_run(optimizer="sgd", candidates=TRIED, confirmations=held)
    assert advise(run).learning_rate.value == pytest.approx(0.07)
    assert advise(run, schedule="linear").learning_rate.value == pytest.approx(0.07)
    assert advise(fabricated_run(optimizer="sgd", candidates=TRIED), schedule="linear").linear_decay_peak > 0.2


def test_without_a_rate_that_holds_nothing_is_recommended():
    held = ((0.1, 3.0, 0.6, 0.9), (0.2, 3.0, 0.5, float("nan")))
    advice = advise(fabricated_run(optimizer="sgd", candidates=TRIED, confirmations=held))
    assert advice.learning_rate.value is None
    assert advice.verdict is Verdict.WITHHELD


def test_a_rate_that_was_not_followed_is_tentative():
    assert advise(fabricated_run(optimizer="sgd", candidates=TRIED)).verdict is Verdict.TENTATIVE
