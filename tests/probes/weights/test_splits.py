"""Bulk and spikes against planted ones."""

import math

import numpy as np
import pytest

from spectra.laws.edge_scaling import largest_eigenvalue_scaling
from tests.probes.weights.planted_matrices import layer, spiked
from tests.probes.weights.result_parts import row


def test_planted_spikes_are_found_and_freed_of_bias():
    signals, shape, sigma = [4.0, 2.5], (200, 400), 0.02
    found = [row(layer(spiked(shape, signals, seed=seed, sigma=sigma))) for seed in range(12)]
    for one in found:
        assert one["marchenko_pastur_num_spikes"] == one["ladder_num_spikes"] == 2
        assert one["permuted_num_spikes"] == 0
        assert not one["heavy_tailed"]
        assert one["sigma"] == pytest.approx(sigma, rel=0.02)
    signal = np.array([one["spike_signal"].values for one in found]) / (sigma * math.sqrt(400))
    z = (signal.mean(axis=0) - signals) / (signal.std(axis=0, ddof=1) / math.sqrt(len(found)))
    # A bias of order 1/n remains, far below one standard deviation of a single matrix.
    assert np.all(np.abs(z) < 4)
    value = found[0]["spike_value"].values[0]
    edge = largest_eigenvalue_scaling(400, 200, variance=float(found[0]["sigma"]) ** 2)
    own = (value**2 - edge.center) / edge.scale
    assert found[0]["spike_margin"].values[0] == pytest.approx(own, rel=1e-6)
    assert np.all(np.diff(found[0]["spike_margin"].values) < 0)
    assert 0 < found[0]["spike_overlap"].values[1] < found[0]["spike_overlap"].values[0] < 1
