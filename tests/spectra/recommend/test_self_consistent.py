"""The search for the self-consistent rate on curves that are known."""

import math

import numpy as np
import pytest

from spectra.recommend import OptimizerSpec
from spectra.recommend.self_consistent import (
    Candidate,
    ConsistencyRule,
    consistency_rule,
    next_candidate,
    self_consistent_rate,
)


def searched(consistency, loss, *, first, rule=None, initial_loss=2.0):
    """Run the search with candidates whose q and loss are known functions of the rate."""
    tried = []
    while (rate := next_candidate(tried, first=first, initial_loss=initial_loss, rule=rule)) is not None:
        q, after = consistency(rate), loss(rate)
        tried.append(Candidate(learning_rate=rate, limit=rate / q if q else math.inf, loss=after))
        assert len(tried) < 20
    return tried, self_consistent_rate(tried, initial_loss=initial_loss, rule=rule)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("first", [1e-4, 0.03, 3.0])
def test_a_power_law_of_q_is_crossed_exactly(power, first):
    """log q is linear in log r, so the interpolated crossing is q = 1 exactly, wherever the search begins."""
    tried, found = searched(lambda r: (r / 0.2) ** power, lambda r: 2 - min(r, 1.0), first=first)
    assert found.value == pytest.approx(0.2, rel=1e-9)
    assert found.limited_by == "stability"
    assert found.low < 0.2 < found.high <= 2.02 * found.low
    assert len({candidate.learning_rate for candidate in tried}) == len(tried)


@pytest.mark.parametrize("first", [1e-3, 0.1, 5.0])
def test_where_stability_is_silent_the_lowest_loss_decides(first):
    """On a plateau q is small; the loss has its minimum at 0.1 and the search ends within a factor sqrt(2) of it."""
    _, found = searched(lambda r: 1e-3 * r, lambda r: 1 + 0.1 * math.log(r / 0.1) ** 2, first=first, initial_loss=9.0)
    assert found.limited_by == "loss"
    assert abs(math.log2(found.value / 0.1)) <= 0.5 + 1e-9
    assert found.low >= found.value / 2.02
    assert found.high <= found.value * 2.02


def test_a_rate_that_diverges_is_past_the_mark():
    def loss(rate):
        return 1 / rate if rate < 1 else math.inf

    tried, found = searched(lambda r: 0.1 if r < 1 else math.nan, loss, first=0.3, initial_loss=20.0)
    assert found.limited_by == "divergence"
    largest = max(c.learning_rate for c in tried if not c.diverged)
    assert found.low == largest
    assert found.value == pytest.approx(ConsistencyRule().divergence_margin * largest)
    assert found.high >= 1


def test_a_negative_largest_curvature_sets_no_limit():
    flat = Candidate(learning_rate=1.0, limit=math.inf, loss=1.0)
    assert flat.consistency == 0
    assert self_consistent_rate([flat], initial_loss=2.0).limited_by == "nothing"


def test_no_answer_where_no_candidate_is_consistent_or_lowers_the_loss():
    beyond = [Candidate(learning_rate=r, limit=r / 2, loss=1.0) for r in (0.1, 0.2)]
    assert self_consistent_rate(beyond, initial_loss=2.0) == self_consistent_rate(beyond[:1], initial_loss=2.0)
    assert self_consistent_rate(beyond, initial_loss=2.0).value is None
    assert self_consistent_rate(beyond, initial_loss=2.0).limited_by == "stability"
    rising = [Candidate(learning_rate=r, limit=10.0, loss=2 + r) for r in (0.1, 0.2)]
    found = self_consistent_rate(rising, initial_loss=2.0)
    assert (found.value, found.limited_by) == (None, "loss")
    assert self_consistent_rate([], initial_loss=2.0).value is None
    diverged = [Candidate(learning_rate=0.1, limit=math.nan, loss=math.inf)]
    assert self_consistent_rate(diverged, initial_loss=2.0).limited_by == "divergence"


def test_the_search_gives_up_after_its_limit():
    tried = []
    while (rate := next_candidate(tried, first=1.0, initial_loss=1.0, max_candidates=5)) is not None:
        tried.append(Candidate(learning_rate=rate, limit=math.nan, loss=math.inf))
    assert [candidate.learning_rate for candidate in tried] == [4.0**-power for power in range(5)]


def test_units_of_rate_and_loss_do_not_matter():
    """Scaling every rate and limit by one factor and every loss by another scales the answer alone."""
    rng = np.random.default_rng(0)
    rates, limits, losses = 2.0 ** np.arange(6), 40 / (1 + rng.random(6)), rng.random(6)
    plain = [Candidate(learning_rate=r, limit=m, loss=e) for r, m, e in zip(rates, limits, losses, strict=True)]
    scaled = [Candidate(learning_rate=1e-9 * c.learning_rate, limit=1e-9 * c.limit, loss=1e5 * c.loss) for c in plain]
    first = self_consistent_rate(plain, initial_loss=1.5)
    second = self_consistent_rate(scaled, initial_loss=1.5e5)
    assert second.value == pytest.approx(1e-9 * first.value, rel=1e-12)
    assert second.limited_by == first.limited_by


def test_the_margin_belongs_to_heavy_balls():
    found = [Candidate(learning_rate=r, limit=1.0, loss=2 - r) for r in (0.5, 1.0, 2.0)]
    rule = consistency_rule(OptimizerSpec(kind="momentum"))
    assert self_consistent_rate(found, initial_loss=2.0, rule=rule).value == pytest.approx(rule.margin)
    assert rule.margin < 1
    for kind in ("sgd", "adamw", "rmsprop"):
        assert consistency_rule(OptimizerSpec(kind=kind)) == ConsistencyRule()
