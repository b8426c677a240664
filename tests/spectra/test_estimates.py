import dataclasses

import numpy as np
import pytest

from spectra import Estimate


def estimate(**changes):
    fields = {"value": 2.0, "stderr": 0.1, "low": 1.8, "high": 2.2, "covers": "probes", "num_matvecs": 30}
    return Estimate(**{**fields, **changes})


def array_estimate(**changes):
    value = np.array([1.0, -2.0, 3.0])
    return estimate(**{"value": value, "stderr": 0.1 + 0 * value, "low": value - 0.5, "high": value + 0.5, **changes})


def test_text_with_interval():
    assert str(estimate()) == "2 [1.8, 2.2] at 95% (30 matvecs)"
    assert str(estimate(level=0.5)) == "2 [1.8, 2.2] at 50% (30 matvecs)"


def test_text_without_interval_names_the_status():
    assert str(estimate(low=None, high=None, status="unresolved")) == "2 (no interval: unresolved) (30 matvecs)"


def test_text_of_an_array():
    assert str(array_estimate()) == "3 values from -2 to 3, half-widths up to 0.5 at 95% (30 matvecs)"
    assert (
        str(array_estimate(stderr=None, low=None, high=None))
        == "3 values from -2 to 3 (no intervals: resolved) (30 matvecs)"
    )


def test_frozen_and_keyword_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        estimate().value = 3.0
    with pytest.raises(TypeError):
        Estimate(2.0)


def test_equality_of_numbers_and_arrays():
    assert estimate() == estimate()
    assert hash(estimate()) == hash(estimate())
    assert estimate() != estimate(value=2.1)
    assert estimate(low=None) != estimate()
    assert estimate() != 2.0
    assert array_estimate() == array_estimate()
    assert array_estimate() != array_estimate(value=np.ones(3))
    with pytest.raises(TypeError, match="unhashable"):
        hash(array_estimate())
