"""What a run says of its own failure becomes the first failed check."""

import pytest

from spectra.recommend import Verdict, advise
from spectra.recommend.refusal import refusal_attribute
from tests.spectra.recommend.fabricated import fabricated_run


def test_a_refusal_withholds_the_rate_and_comes_first():
    attribute = refusal_attribute(claim="the loss is finite", observed="nan after 3 steps", required="a number")
    advice = advise(fabricated_run(refusal=attribute))
    assert advice.verdict is Verdict.WITHHELD
    assert advice.learning_rate.value is None
    assert advice.learning_rate.checks[0].observed == "nan after 3 steps"
    assert advice.learning_rate.reason.startswith("the loss is finite: observed nan after 3 steps")
    # what was measured before is still there
    assert advice.max_stable_learning_rate.value > 0


def test_an_unsupported_optimizer_is_measured_and_withheld_with_its_reason():
    run = fabricated_run(optimizer=None, steps=(0,), requested_optimizer="lion", why_unsupported="signs of gradients")
    advice = advise(run)
    failed = [check for check in advice.learning_rate.checks if not check.passed]
    assert [check.claim for check in failed] == ["the optimizer has a known stable limit"]
    assert failed[0].observed == "lion: signs of gradients"
    assert advice.verdict is Verdict.WITHHELD
    assert advice.stages[0].curvature == pytest.approx(4.0)


def test_an_interrupted_run_gives_what_it_can():
    advice = advise(fabricated_run(status="interrupted"))
    assert advice.verdict is Verdict.TENTATIVE
    assert advice.learning_rate.value > 0
    assert "interrupted after 3 of 3 stages" in advice.learning_rate.reason
