"""Bulk and spikes against planted ones."""

import math

import numpy as np
import pytest

from probes.weights.splits import Split, judge_spikes, split
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


@pytest.mark.parametrize("factor", [1e-7, 1e7])
def test_a_split_and_its_spikes_in_other_units(factor):
    matrix = spiked((100, 200), [3.0, 2.0], seed=5)
    eigenvalues = np.linalg.eigvalsh(matrix @ matrix.T / 200)[::-1]
    for method in ("marchenko_pastur", "edge"):
        plain = split(eigenvalues, method=method, num_samples=200)
        scaled = split(factor**2 * eigenvalues, method=method, num_samples=200)
        assert plain.num_spikes == scaled.num_spikes == 2
        for name in ("sigma", "lower", "upper"):
            np.testing.assert_allclose(getattr(plain.scaled(factor), name), getattr(scaled, name), rtol=1e-8)
        assert math.isnan(plain.misfit) == math.isnan(plain.sigma) == (method == "edge")
    bulk = split(eigenvalues, method="marchenko_pastur", num_samples=200)
    found = judge_spikes(eigenvalues, bulk, num_samples=200)
    again = judge_spikes(factor**2 * eigenvalues, bulk.scaled(factor), num_samples=200)
    np.testing.assert_allclose(found.value, np.linalg.svd(matrix, compute_uv=False)[:2], rtol=1e-10)
    for name in ("value", "signal", "overlap", "margin"):
        np.testing.assert_allclose(getattr(found.scaled(factor), name), getattr(again, name), rtol=1e-8)


def test_spikes_below_the_edge_have_no_signal_and_no_split_has_no_spikes():
    eigenvalues = np.append([9.0, 2.0], np.linspace(1.9, 0.1, 48))
    # The edge of endless matrices is (1 + sqrt(1/2))^2 = 2.91.
    found = judge_spikes(eigenvalues, Split(sigma=1.0, num_spikes=2), num_samples=100)
    assert np.isfinite(found.signal).tolist() == np.isfinite(found.overlap).tolist() == [True, False]
    assert found.margin[0] > 0 > found.margin[1]
    for bulk in (Split(), Split(sigma=1.0, num_spikes=0), Split(num_spikes=2)):
        assert judge_spikes(eigenvalues, bulk, num_samples=100).value.size == 0
