"""Entries in random places: large entries and unequal sizes are told from directions and power laws."""

import math

import numpy as np
import pytest

from probes.weights.control import Control, compare_with_permuted
from probes.weights.singular import singular_values
from probes.weights.splits import split
from tests.probes.weights.planted_matrices import layer, with_spectrum
from tests.probes.weights.result_parts import look, row


def test_large_entries_are_told_from_directions():
    rng = np.random.default_rng(0)
    heavy = row(layer(rng.standard_t(2.5, size=(150, 300))))
    assert heavy["heavy_tailed"]
    assert heavy["permuted_num_spikes"] > 0
    # A mean of all entries is a direction that no permutation destroys.
    shifted = row(layer(rng.normal(size=(150, 300)) + 1.0))
    assert not shifted["heavy_tailed"]
    assert shifted["marchenko_pastur_num_spikes"] == 1
    assert "the mean of the entries alone" in str(shifted["remarks"].values)


def test_sparse_entries_in_random_places_are_no_structure():
    for seed in range(6):
        rng = np.random.default_rng([3, seed])
        noise = rng.normal(size=(200, 400))
        assert look(layer(noise * (rng.random((200, 400)) < 0.1)))[0] == "heavy-tailed entries"
        kept = noise * (np.abs(noise) > np.quantile(np.abs(noise), 0.99))
        assert look(layer(kept))[0] == "heavy-tailed entries"
        # Also where they make a tail like a power law.
        assert look(layer(rng.standard_t(2.2, size=(200, 400))))[0] == "heavy-tailed entries"


def test_large_columns_are_directions_though_their_entries_make_spikes_elsewhere():
    for seed in range(4):
        noise = np.random.default_rng([4, seed]).normal(size=(200, 400))
        found = row(layer(noise * np.where(np.arange(400) < 2, 10, 1)))
        assert found["permuted_num_spikes"] > 2
        assert found["marchenko_pastur_num_spikes"] == 2
        assert not found["heavy_tailed"]


@pytest.mark.parametrize("shape", [(60, 120), (200, 400), (300, 100)])
@pytest.mark.parametrize("spread", [0.4, 0.8])
def test_independent_entries_in_rows_and_columns_of_unequal_size_are_neither_structure_nor_a_power_law(shape, spread):
    looks = []
    for seed in range(8):
        rng = np.random.default_rng([21, seed])
        rows, columns = rng.normal(size=(shape[0], 1)), rng.normal(size=(1, shape[1]))
        logs = (rows, columns, (rows + columns) / 2)[seed % 3]
        looks.append(look(layer(1e-9 * rng.normal(size=shape) * np.exp(spread * logs)))[0])
    # Some of the spread of 0.8 are decided the other way: sizes are known from few entries.
    assert looks.count("unequal sizes") >= 7 - (spread > 0.5)


def test_what_is_more_than_sizes_is_not_put_down_to_them():
    for seed in range(4):
        rng = np.random.default_rng([22, seed])
        sizes = np.exp(0.4 * rng.normal(size=(200, 1)))
        one = 4 * math.sqrt(400) * np.outer(*(v / np.linalg.norm(v) for v in (rng.normal(size=200), np.ones(400))))
        assert look(layer(sizes * rng.normal(size=(200, 400)) + 2 * one))[0] != "unequal sizes"
        tail = with_spectrum(rng.pareto(2, size=200) + 1, (200, 300), seed=seed)
        assert look(layer(tail))[0] != "unequal sizes"
        assert look(layer(sizes * tail))[0] != "unequal sizes"


def compared(matrix, seed=1):
    """Return the control of a matrix, and its own number of spikes."""
    shape = min(matrix.shape), max(matrix.shape)
    values = singular_values(matrix) ** 2 / shape[1]
    bulk = split(values, method="marchenko_pastur", num_samples=shape[1])
    return compare_with_permuted(matrix - matrix.mean(), values, bulk, seed=seed), bulk.num_spikes


def test_a_control_says_how_many_spikes_are_left_and_whether_they_matter():
    noise = np.random.default_rng(0).normal(size=(100, 200))
    # A direction that entries in random places lose.
    direction = noise + 0.5 * np.ones(200) * np.where(np.arange(100) < 50, 1, -1)[:, None]
    assert compared(noise)[0] == Control(num_spikes=0)
    assert compared(direction)[0] == Control(num_spikes=0)
    assert compared(direction)[1] == 1
    # The same without a mean, and equal entries, of which nothing is left.
    assert compared(np.ones((30, 40)))[0] == Control()
    heavy, own = compared(np.random.default_rng(1).standard_t(2.2, size=(100, 200)))
    assert heavy.heavy_tailed
    assert 2 * heavy.num_spikes >= own > 0
    # One large entry among directions is remarked, and no reason.
    left, right = (np.linalg.qr(np.random.default_rng(2).normal(size=(size, 4)))[0] for size in (100, 200))
    several = noise + 60 * left @ right.T
    several[0, 0] += 45
    found, own = compared(several)
    assert not found.heavy_tailed
    assert (own, found.num_spikes) == (5, 1)
    assert "single large entries make them" in found.remarks[0]


def test_the_control_of_a_seed_repeats_and_units_do_not_matter():
    matrix = np.random.default_rng(3).standard_t(3, size=(60, 120))
    assert compared(matrix)[0] == compared(matrix)[0] == compared(1e-9 * matrix)[0]
