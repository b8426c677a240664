"""Entries in random places: large entries and unequal sizes are told from directions and power laws."""

import math

import numpy as np
import pytest

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
