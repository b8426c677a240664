"""Batches: every sample once per epoch, uniform pairs, one stream per run."""

import itertools

import numpy as np
import pytest

from spectra.dynamics.batch_order import batch_blocks, batch_sizes, run_generator
from spectra.errors import ArgumentError

SAMPLINGS = ("with_replacement", "without_replacement", "reshuffled")


def drawn(sizes, n, sampling, *, num_runs=3, steps_per_block=10**6, seed=0):
    """Return the batches as lists [step][run]."""
    blocks = batch_blocks(
        np.asarray(sizes),
        num_samples=n,
        sampling=sampling,
        seed=seed,
        num_runs=num_runs,
        steps_per_block=steps_per_block,
    )
    found = []
    for block in blocks:
        pieces = np.split(block.samples, num_runs * np.cumsum(block.sizes)[:-1])
        found += [piece.reshape(num_runs, -1).tolist() for piece in pieces]
    return found


@pytest.mark.parametrize("steps_per_block", [1, 2, 3, 100])
def test_an_epoch_holds_every_sample_once(steps_per_block):
    sizes = batch_sizes(np.full(12, 3), num_samples=7, sampling="reshuffled")
    assert sizes.tolist() == [3, 3, 1] * 4
    found = drawn(sizes, 7, "reshuffled", steps_per_block=steps_per_block)
    orders = set()
    for run in range(3):
        for epoch in range(4):
            order = [sample for step in found[3 * epoch : 3 * epoch + 3] for sample in step[run]]
            assert sorted(order) == list(range(7))
            orders.add(tuple(order))
    assert len(orders) == 12


def test_sizes_that_vary_fill_epochs_too():
    sizes = batch_sizes(np.array([4, 5, 9, 2, 8]), num_samples=9, sampling="reshuffled")
    assert sizes.tolist() == [4, 5, 9, 2, 7]


@pytest.mark.parametrize("size", [2, 5, 9, 10])
def test_batches_without_replacement_are_distinct(size):
    for step in drawn(np.full(200, size), 10, "without_replacement"):
        assert all(len(set(batch)) == size for batch in step)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_combination_is_equally_likely(sampling, size):
    n, num_runs, steps = 5, 40, 500
    sizes = batch_sizes(np.full(steps, size), num_samples=n, sampling=sampling)
    found = [
        tuple(batch) for step in drawn(sizes, n, sampling, num_runs=num_runs) for batch in step if len(batch) == size
    ]
    if sampling == "with_replacement":
        every = list(itertools.product(range(n), repeat=size))
    else:
        found = [tuple(sorted(batch)) for batch in found]
        every = list(itertools.combinations(range(n), size))
    counts = np.array([found.count(batch) for batch in every])
    assert np.sum(counts) == len(found)
    # counts are multinomial, or with reshuffling less variable: |z| < 4 for each of at most 125 combinations
    p = 1 / len(every)
    assert np.max(np.abs(counts - p * len(found))) < 4 * np.sqrt(len(found) * p * (1 - p))


def test_batches_of_following_steps_are_independent_unless_reshuffled():
    sizes = np.full(4000, 1)
    for sampling, expected in (("with_replacement", 0.2), ("without_replacement", 0.2)):
        found = np.array(drawn(sizes, 5, sampling, num_runs=2))[:, :, 0]
        same = found[1:] == found[:-1]
        assert abs(np.mean(same) - expected) < 4 * np.sqrt(0.2 * 0.8 / same.size)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_run_depends_on_seed_and_index_only(sampling):
    sizes = batch_sizes(np.array([1, 3, 2, 2, 5, 1, 3, 7, 1] * 3), num_samples=8, sampling=sampling)
    reference = drawn(sizes, 8, sampling, num_runs=4)
    for steps_per_block in (1, 2, 5):
        assert drawn(sizes, 8, sampling, num_runs=4, steps_per_block=steps_per_block) == reference
    assert drawn(sizes, 8, sampling, num_runs=2) == [step[:2] for step in reference]
    assert drawn(sizes, 8, sampling, num_runs=4, seed=1) != reference
    runs = {str([step[run] for step in reference]) for run in range(4)}
    assert len(runs) == 4


def test_streams_are_apart_from_those_of_data():
    streams = [np.random.default_rng(0), np.random.default_rng([0, 1]), np.random.default_rng(0).spawn(2)[1]]
    streams += [run_generator(0, 0), run_generator(0, 1), run_generator(1, 0), run_generator(0, 0, 1)]
    assert len({generator.random() for generator in streams}) == len(streams)


def test_bad_arguments():
    with pytest.raises(ArgumentError, match="sampling must be one of"):
        batch_sizes(np.array([1]), num_samples=3, sampling="shuffled")
    for sampling in ("without_replacement", "reshuffled"):
        with pytest.raises(ArgumentError, match="at most the number of samples, 3"):
            batch_sizes(np.array([1, 4]), num_samples=3, sampling=sampling)
