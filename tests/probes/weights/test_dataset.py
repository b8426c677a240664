"""Results side by side: norms in units of the weights, and the same again from a file."""

import math

import numpy as np
import pytest
from torch import nn

import spectra
from probes.weights import weight_spectra
from tests.probes.weights.planted_matrices import layer
from tests.probes.weights.result_parts import row


def test_norms_are_those_of_the_matrix():
    matrix = np.random.default_rng(0).normal(size=(30, 50))
    found, values = row(layer(matrix)), np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(found["singular_value"], values)
    assert found["spectral_norm"] == pytest.approx(values[0])
    assert found["frobenius_norm"] == pytest.approx(np.linalg.norm(matrix))
    assert found["log_norm"] == pytest.approx(math.log10(np.sum(matrix**2)))
    assert found["log_spectral_norm"] == pytest.approx(math.log10(values[0] ** 2))
    assert found["stable_rank"] == pytest.approx(np.sum(matrix**2) / values[0] ** 2)
    assert found["participation_ratio"] == pytest.approx(np.sum(values**2) ** 2 / np.sum(values**4))
    assert found["condition_number"] == pytest.approx(values[0] / values[-1])
    assert found["rank"] == 30


def test_results_are_files_and_repeat(tmp_path):
    model = nn.Sequential(nn.Linear(60, 30), nn.Linear(30, 4))
    found = weight_spectra(model, rng=3)
    again = spectra.load(spectra.save(found, tmp_path / "w.nc"))
    for name in found.data_vars:
        np.testing.assert_array_equal(again[name], weight_spectra(model, rng=3)[name])
