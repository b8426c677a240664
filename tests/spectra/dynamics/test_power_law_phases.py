"""Phases of power-law random features; exponents are compared with curves in tests/claims/test_power_law_phases.py."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from spectra.dynamics.power_law_phases import power_law_phase
from spectra.errors import ArgumentError, NonFiniteError

ROOT = 1 - 1 / np.sqrt(2)


@pytest.mark.parametrize(
    ("alpha", "beta", "name", "terms", "balance"),
    [
        (0.6, 0.4, "Ia", "target floor", "target floor"),
        (0.4, 0.4, "Ib", "target floor", "target floor"),
        (0.2, 0.6, "Ic", "target floor", "target floor"),
        (0.9, 0.6, "II", "target distortion floor", "target distortion"),
        (0.6, 0.9, "III", "noise distortion floor", "noise distortion"),
        (ROOT + 1e-6, 0.6, "IVa", "target noise floor", "noise floor"),
        (ROOT - 1e-6, 0.6, "IVb", "target noise floor", "target noise"),
    ],
)
def test_names_and_terms(alpha, beta, name, terms, balance):
    phase = power_law_phase(alpha, beta)
    assert phase.name == name
    assert [term.name for term in phase.terms] == terms.split()
    assert list(phase.balance) == balance.split()
    assert (phase.data_decay, phase.target_decay) == (alpha, beta)
    times = [term.time for term in phase.terms]
    assert times == sorted(times, reverse=True)  # what falls fastest rules first
    assert times[-1] == 0.0


def test_exponents_are_continuous_across_boundaries():
    # Terms that enter are equal to others on the line, so that nothing jumps.
    step = 1e-7
    lines = [
        ((0.5, 0.3), (1, 0)),
        ((0.5, 0.8), (1, 0)),
        ((0.8, 0.5), (0, 1)),
        ((0.35, 0.5), (0, 1)),
        ((0.2, 0.5), (0, 1)),
    ]
    lines += [((0.25, 0.9), (1, 0)), ((ROOT, 0.9), (1, 0)), ((0.8, 0.8), (1, -1))]
    for (alpha, beta), (da, db) in lines:
        one = power_law_phase(alpha + step * da, beta + step * db)
        two = power_law_phase(alpha - step * da, beta - step * db)
        assert one.name != two.name
        assert one.loss_exponent == pytest.approx(two.loss_exponent, abs=1e-5)


def test_learning_rate_exponent():
    assert power_law_phase(0.75, 0.3).learning_rate_exponent == 0.0
    assert power_law_phase(0.3, 0.3).learning_rate_exponent == pytest.approx(0.4)


def test_single_precision_and_zero_dimensional_exponents():
    assert power_law_phase(np.float32(0.75), np.array(0.25)) == power_law_phase(0.75, 0.25)


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        power_law_phase(1.0, 0.25).name = "II"


@pytest.mark.parametrize(
    ("alpha", "beta", "message"),
    [
        (0.5, 0.3, "data_decay = 1/2"),
        (0.5, 0.8, "data_decay = 1/2"),
        (0.8, 0.5, "target_decay = 1/2"),
        (0.8, 0.8, "data_decay = target_decay"),
        (0.25, 0.8, "data_decay = 1/4"),
        (1 - 0.5**0.5, 0.8, "data_decay = 1 - 1/sqrt"),
    ],
)
def test_on_a_boundary_there_is_no_phase(alpha, beta, message):
    with pytest.raises(ArgumentError, match=message):
        power_law_phase(alpha, beta)


def test_lines_end_where_they_separate_nothing():
    assert power_law_phase(0.25, 0.4).name == "Ib"
    assert power_law_phase(0.4, 0.4).name == "Ib"


@pytest.mark.parametrize(
    ("alpha", "beta", "error", "message"),
    [
        (0.2, 0.3, ArgumentError, "above 1/2"),
        (0.2, 0.2, ArgumentError, "above 1/2"),
        (0.0, 1.0, ArgumentError, "positive"),
        (1.0, 0.0, ArgumentError, "positive"),
        (-1.0, 1.0, ArgumentError, "data_decay"),
        (np.nan, 1.0, NonFiniteError, "data_decay"),
        (1.0, np.inf, NonFiniteError, "target_decay"),
        ([1.0], 1.0, ArgumentError, "data_decay"),
        (1.0, None, ArgumentError, "target_decay"),
    ],
)
def test_wrong_calls(alpha, beta, error, message):
    with pytest.raises(error, match=message):
        power_law_phase(alpha, beta)
