"""Results side by side: norms in units of the weights, and the same again from a file."""

import math

import numpy as np
import pytest
from torch import nn

import spectra
from probes.weights import weight_spectra
from probes.weights.dataset import weights_dataset
from probes.weights.matrices import list_weights
from probes.weights.matrix import no_spectrum
from spectra.errors import ArgumentError
from tests.probes.weights.planted_matrices import layer
from tests.probes.weights.result_parts import left_out, row


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


@pytest.mark.parametrize("num", [(0, 0, None), (2, 1, None), (1, 2, None), (2, 2, 1), (2, 2, 3), (0, 0, 0)])
def test_results_and_changes_are_as_many_as_matrices(num):
    matrices = list_weights(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))).matrices
    found = no_spectrum((3, 4), "not looked at")
    changes = None if num[2] is None else [0.5] * num[2]
    with pytest.raises(ArgumentError, match=r"as many results.*as matrices are required"):
        weights_dataset(matrices[: num[0]], [found] * num[1], changes=changes)


def test_rows_of_different_lengths_and_what_is_left_out():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    inventory = list_weights(model)
    spectra_found = [no_spectrum((4, 3), "one", values=np.arange(3.0)[::-1]), no_spectrum((2, 4), "other")]
    found = weights_dataset(
        inventory.matrices, spectra_found, changes=[0.5, math.nan], left_out=inventory.left_out, source="x"
    )
    np.testing.assert_array_equal(found["singular_value"], [[2.0, 1.0, 0.0], [math.nan] * 3])
    np.testing.assert_array_equal(found["relative_change"], [0.5, math.nan])
    assert found["why"].values.tolist() == ["one", "other"]
    assert found["permuted_num_spikes"].values.tolist() == [-1, -1]
    assert found.sizes["spike"] == 0
    assert found.attrs["num_parameters"] == 20
    assert found.attrs["source"] == "x"
    assert left_out(found).keys() == {"0.bias", "1.bias"}
