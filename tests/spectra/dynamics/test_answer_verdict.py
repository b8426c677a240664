"""The verdict on the best predicted learning rate, from rows that are made up."""

import numpy as np
import pytest
from scipy import stats

from spectra.dynamics.answer_verdict import answer_verdict

SETTINGS = {"num_steps": 20, "closure": "limit", "momentum": 0.0, "nesterov": 0}
START = 2.0


def best(**changes):
    found = {
        "learning_rate": 0.1,
        "batch_size": 4,
        "loss": 1.0,
        "usable_learning_rate": 0.3,
        "noise_free_learning_rate": 0.4,
    }
    return found | changes


def row(rate=0.1, *, end=1.0, predicted=1.0, stderr=0.0, **changes):
    found = {
        "learning_rate": rate,
        "step": [0, 10, 20],
        "loss": [START, 1.5, end],
        "stderr": [0.0, 0.0, stderr],
        "predicted_loss": [START, 1.5, predicted],
        "trusted_steps": 20,
        "is_trusted_throughout": 1,
        "ended": "throughout",
        "off_step": -1,
        "reason": "the prediction stays",
    }
    return found | changes


def check(*rows, **changes):
    found = {"batch_size": 4, "closure": "limit", "momentum": 0.0, "nesterov": 0, "num_steps": 20, "num_runs": 8}
    return found | {"rows": list(rows)} | changes


def judge(*rows, answer=None, settings=SETTINGS, **changes):
    return answer_verdict(answer or best(), check(*rows, **changes), settings=settings, start=START)


OFF = {"trusted_steps": 10, "ended": "off", "off_step": 20, "is_trusted_throughout": 0}
UNRESOLVED = {"trusted_steps": 10, "ended": "unresolved", "is_trusted_throughout": 0}


def test_confirmed():
    found = judge(row())
    assert (found.verdict, found.why) == ("confirmed", "the prediction stays")
    assert judge(row(), row(0.03, end=1.4, predicted=1.4)).verdict == "confirmed"


@pytest.mark.parametrize(
    "other",
    [{"batch_size": 5}, {"closure": "kurtosis"}, {"momentum": 0.9}, {"nesterov": 1}, {"num_steps": 10}],
)
def test_only_a_check_under_the_same_settings_confirms(other):
    found = judge(row(), **other)
    assert found.verdict == "tentative"
    assert found.why.startswith("not compared with training at this setting; with batch size")
    # The same holds if the answer is the one that is of other settings.
    if "num_steps" in other:
        assert judge(row(), settings=SETTINGS | {"num_steps": 21}).verdict == "tentative"
    elif "batch_size" in other:
        assert judge(row(), answer=best(**other)).verdict == "tentative"
    else:
        assert judge(row(), settings=SETTINGS | other).verdict == "tentative"


def test_off_withholds_and_scatter_does_not_tell():
    assert judge(row(**OFF)).verdict == "withheld"
    # Scatter on the way does not matter where the end is known; at the end it does: t(7) = 2.36 of .3 is more than .5.
    early = judge(row(**UNRESOLVED, stderr=0.05))
    assert early.verdict == "confirmed"
    assert "no step is off" in early.why
    assert judge(row(**UNRESOLVED, stderr=0.3)).verdict == "tentative"
    # What happens beyond the budget does not matter.
    assert judge(row(**OFF | {"off_step": 25, "trusted_steps": 22})).verdict == "confirmed"


def test_off_at_a_smaller_rate_leaves_the_answer_tentative():
    found = judge(row(), row(0.03, end=1.9, predicted=1.4, **OFF))
    assert found.verdict == "tentative"
    assert "not at 0.03" in found.why
    assert judge(row(), row(0.2, end=1.9, predicted=1.4, **OFF)).verdict == "confirmed"
    assert judge(row(), row(0.03, end=1.4, predicted=1.4, **UNRESOLVED)).verdict == "confirmed"


def test_another_rate_must_be_better_by_a_quarter_of_its_gain_and_the_scatter():
    """Reached r: r + (2 - r) / 4 below 1.6 if r < 22/15."""
    for reached, verdict in ((1.45, "withheld"), (1.48, "confirmed")):
        mine = row(end=1.6, predicted=1.6)
        assert judge(mine, row(0.03, end=reached, predicted=reached)).verdict == verdict
    quantile = stats.t.ppf(0.975, 7)
    margin = 1.6 - (1.4 + 0.25 * 0.6)
    for factor, verdict in ((0.99, "withheld"), (1.01, "confirmed")):
        other = row(0.03, end=1.4, predicted=1.4, stderr=factor * margin / quantile)
        assert judge(row(end=1.6, predicted=1.6), other).verdict == verdict


def test_a_small_gain_is_not_confirmed_by_a_loss_that_hardly_moves():
    """A convolutional network: predicted 2.303 to 2.29 within 10 % of anything between; training went nowhere."""
    assert judge(row(end=1.995, predicted=1.98)).verdict == "tentative"
    found = judge(row(end=1.999, predicted=1.99, stderr=0.01))
    assert found.verdict == "tentative"
    assert "too small to tell" in found.why
    assert judge(row(end=2.01, predicted=1.99)).verdict == "tentative"


@pytest.mark.parametrize(("end", "verdict"), [(1.24, "confirmed"), (1.26, "tentative"), (0.76, "confirmed")])
def test_the_gain_agrees_within_a_quarter(end, verdict):
    assert judge(row(end=end)).verdict == verdict


def test_scatter_adds_to_the_quarter():
    quantile = stats.t.ppf(0.975, 7)
    for factor, verdict in ((0.9, "tentative"), (1.1, "confirmed")):
        assert judge(row(end=1.3, stderr=factor * 0.05 / quantile)).verdict == verdict


def test_nothing_to_gain():
    for answer in (best(loss=START), best(loss=START * (1 - 1e-6)), best(loss=3.0), best(learning_rate=1e-13)):
        for rows in ([], [row(rate=answer["learning_rate"])]):
            found = answer_verdict(answer, check(*rows) if rows else None, settings=SETTINGS, start=START)
            assert found.verdict == "withheld"
            assert found.why.startswith("nothing to gain at this state")
    scaled = answer_verdict(best(loss=1e-14), None, settings=SETTINGS, start=2e-14)
    assert scaled.verdict == "tentative"


def test_nothing_finite_and_nothing_compared():
    assert answer_verdict(best(loss=np.nan), None, settings=SETTINGS, start=START).verdict == "withheld"
    assert answer_verdict(best(), None, settings=SETTINGS, start=START).verdict == "tentative"


def test_momentum_decides_which_rate_is_near():
    """0.1 of plain SGD is like 0.01 with momentum 0.9."""
    rows = (row(0.01, **OFF), row(0.1))
    assert judge(*rows, momentum=0.9).verdict == "withheld"
    assert judge(*rows, closure="gaussian").verdict == "tentative"
    assert "Nesterov momentum 0.9" in judge(*rows, momentum=0.9, nesterov=1).why
    assert judge(row(1.0, **OFF), row(0.1), settings=SETTINGS | {"momentum": 0.9}).verdict == "withheld"
