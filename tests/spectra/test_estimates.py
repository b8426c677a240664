import dataclasses

import pytest

from spectra import Estimate


def estimate(**changes):
    fields = {"value": 2.0, "stderr": 0.1, "low": 1.8, "high": 2.2, "covers": "probes", "num_matvecs": 30}
    return Estimate(**{**fields, **changes})


def test_text_with_interval():
    assert str(estimate()) == "2 [1.8, 2.2] at 95% (30 matvecs)"
    assert str(estimate(level=0.5)) == "2 [1.8, 2.2] at 50% (30 matvecs)"


def test_text_without_interval_names_the_status():
    assert str(estimate(low=None, high=None, status="unresolved")) == "2 (no interval: unresolved) (30 matvecs)"


def test_frozen_and_keyword_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        estimate().value = 3.0
    with pytest.raises(TypeError):
        Estimate(2.0)
