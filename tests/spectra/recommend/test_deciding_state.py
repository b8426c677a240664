"""The state that goes with a rate: exact where it was tried, interpolated between two that were."""

import numpy as np
import pytest

from spectra.recommend import read_run
from spectra.recommend.deciding_state import deciding_state
from spectra.recommend.limit import measured_limit
from tests.spectra.recommend.fabricated import fabricated_run


def limit_of(run, index: int, batch_size: int) -> float:
    stage = run.candidates[index].stage
    return measured_limit(stage, optimizer=run.optimizer, batch_size=batch_size, num_samples=run.num_samples).value


def test_a_rate_that_was_tried_has_its_own_state():
    run = read_run(fabricated_run(candidates=((0.1, 4.0, 0.5), (0.2, 4.0, 0.8), (0.4, 4.0, 0.9)), steps=(0, 10)))
    state = deciding_state(run, 32)
    assert state.rate == pytest.approx(0.1)
    assert state.stages == (run.candidates[0].stage,)
    assert state.limit(8).value == pytest.approx(limit_of(run, 0, 8))


def test_between_two_rates_the_limit_is_the_rate_itself_at_the_batch_size_of_the_run():
    run = read_run(fabricated_run(candidates=((0.2, 4.0, 0.7), (0.8, 6.0, 0.4)), steps=(0, 10), noise=50.0))
    state = deciding_state(run, 32)
    assert 0.2 < state.rate < 0.8
    assert state.limit(32).value == pytest.approx(state.rate)
    assert sum(state.weights) == pytest.approx(1.0)


@pytest.mark.parametrize("size", [4, 32, 256])
def test_interpolated_limits_lie_between_and_the_exponent_is_their_slope(size):
    run = read_run(fabricated_run(candidates=((0.2, 4.0, 0.7), (0.8, 6.0, 0.4)), steps=(0, 10), noise=50.0))
    state = deciding_state(run, 32)
    ends = sorted(limit_of(run, index, size) for index in (0, 1))
    assert ends[0] <= state.limit(size).value <= ends[1]
    step = 1e-4
    up, down = (state.limit(size * np.exp(sign * step)).value for sign in (1, -1))
    assert state.exponent(size) == pytest.approx(np.log(up / down) / (2 * step), rel=1e-5)
    assert state.limit(size).noise_share == pytest.approx(1 - state.limit(size).value / state.deterministic_limit(size))


def test_without_a_usable_rate_it_is_the_last_stage():
    run = read_run(fabricated_run(candidates=((0.8, 400.0, 0.5),), steps=(0, 10)))
    for batch_size in (32, 64):
        state = deciding_state(run, batch_size)
        assert state.rate is None
        assert state.nearest is run.stages[-1]
