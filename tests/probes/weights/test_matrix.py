"""One matrix: noise, power laws and low rank in any units, and what cannot be analyzed."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from probes.weights import weight_spectra
from probes.weights.matrices import list_weights
from probes.weights.matrix import analyze_matrix
from spectra.weights_summary import EQUAL_CONDITION
from tests.probes.weights.planted_matrices import layer, spiked, with_spectrum
from tests.probes.weights.result_parts import look, row


def test_untrained_layers_are_noise_and_have_no_exponent():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(300, 100),
        nn.Linear(128, 128),
        nn.Conv2d(16, 64, 3),
        nn.Embedding(500, 64),
        nn.ConvTranspose2d(64, 80, 3),
    )
    found = weight_spectra(model)
    assert np.all(np.isnan(found["exponent"].values))
    assert np.all(np.isfinite(found["fitted_exponent"].values))
    assert not np.any(found["heavy_tailed"].values)
    # One bulk in a hundred shows a spike.
    assert int(found["marchenko_pastur_num_spikes"].sum()) <= 1
    assert np.all(found["bulk_distance"].values < 0.05)


def test_a_power_law_is_found_within_its_error():
    # Seeds of samples that are no exceptions: a tenth of true laws has a p-value below 0.1.
    for exponent, seed in ((2.5, 1), (3.5, 1)):
        squares = np.random.default_rng(seed).pareto(exponent - 1, size=200) + 1
        found = row(layer(with_spectrum(squares, (200, 300))))
        assert abs(found["exponent"] - exponent) < 3 * found["exponent_stderr"]
        assert found["num_tail"] >= 50
        assert found["tail_why"] == ""
        assert found["p_value"] >= 0.1
        assert found["tail_smallest"] >= squares.min() * (1 - 1e-9)


@pytest.mark.parametrize("factor", [1e-14, 1e14])
def test_units_change_only_units(factor):
    matrix = spiked((100, 150), [3.0])
    plain, scaled = row(layer(matrix)), row(layer(matrix * factor))
    for name in ("sigma", "spectral_norm", "marchenko_pastur_upper", "ladder_upper", "spike_value", "spike_signal"):
        np.testing.assert_allclose(scaled[name], plain[name] * factor, rtol=1e-8)
    for name in ("spike_margin", "stable_rank", "p_value", "fitted_exponent", "noise_ratio", "permuted_num_spikes"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-6)


def test_units_beyond_those_whose_squares_are_numbers():
    torch.manual_seed(0)
    weight = torch.randn(60, 80, dtype=torch.float64)
    weight[0] *= 4
    ordinary = row(layer(weight))
    for factor in (1e-300, 1e-200, 1e160, 1e300):
        found = row(layer(factor * weight))
        for name in ("marchenko_pastur_num_spikes", "ladder_num_spikes", "permuted_num_spikes", "tail_why", "why"):
            assert found[name] == ordinary[name]
        assert float(found["sigma"]) / factor == pytest.approx(float(ordinary["sigma"]))


def test_a_transposed_matrix_has_the_same_spectrum():
    matrix = spiked((80, 130), [3.0])
    one, other = row(layer(matrix)), row(layer(matrix.T))
    for name in ("sigma", "spectral_norm", "spike_margin", "fitted_exponent", "ladder_num_spikes"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-8)


def test_unusable_matrices_are_results():
    model = nn.Sequential(nn.Linear(30, 40), nn.Linear(30, 40), nn.Linear(4, 3), nn.Linear(30, 40))
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
        model[1].weight.zero_()
        model[3].weight.copy_(model[3].weight[:, :1] @ torch.ones(1, 30))
    found = weight_spectra(model)
    assert found["why"].values.tolist() == ["1 of 1,200 entries are NaN or infinite", "the matrix is 0", "", ""]
    assert np.all(np.isnan(found["exponent"].values))
    assert found["marchenko_pastur_num_spikes"].values[:3].tolist() == [-1, -1, -1]
    assert "too few" in found["remarks"].values[2]
    assert math.isinf(found["condition_number"].values[3])
    assert found["rank"].values[3] == 1


def test_few_values_that_are_not_0_are_no_bulk():
    rng = np.random.default_rng(0)
    low = torch.tensor(rng.normal(size=(90, 5)) @ rng.normal(size=(5, 120)), dtype=torch.float32)
    model = nn.Linear(120, 90, bias=False)
    with torch.no_grad():
        model.weight.copy_(low)
    assert look(model) == ("low rank", 5)
    assert look(nn.Linear(60, 5)) == ("too small", 5)
    # More of them, but all others 0: a quarter of the rows is in use.
    some = rng.normal(size=(120, 200)) * (np.arange(120) < 30)[:, None]
    assert look(layer(some)) == ("low rank", 30)
    # A bulk some of which sinks below rounding is one.
    noise = torch.randn(200, 200, generator=torch.Generator().manual_seed(0))
    before = layer(noise.bfloat16()).bfloat16()
    after = noise.bfloat16().double() + 0.008 * torch.tensor(rng.normal(size=(200, 200)))
    found, rank = look(layer(after.bfloat16()).bfloat16(), against=before)
    assert found == "noise"
    assert 20 < rank < 100
    # Thirty directions above a bulk that is all rounding are not.
    after = noise.bfloat16().double() + 0.01 * torch.tensor(rng.normal(size=(200, 30)) @ rng.normal(size=(30, 200)))
    assert look(layer(after.bfloat16()).bfloat16(), against=before) == ("low rank", 30)


def test_equal_singular_values_are_neither_noise_nor_a_tail():
    torch.manual_seed(0)
    weight = torch.empty(128, 256)
    nn.init.orthogonal_(weight)
    found = row(layer(weight))
    assert found["tail_why"] == "all singular values are equal up to rounding"
    assert found["marchenko_pastur_num_spikes"] == -1
    assert not found["heavy_tailed"]
    assert math.isnan(found["exponent"])


def test_rows_of_zeros_are_remarked():
    weight = np.random.default_rng(0).normal(size=(60, 80))
    weight[:7] = 0
    assert "7 of 60 rows and 0 of 80 columns are 0" in str(row(layer(weight))["remarks"].values)


def test_entries_that_are_no_weights_and_scales_aside_are_remarked(tmp_path):
    mask = torch.tril(torch.ones(30, 30))
    torch.save({"a": mask, "b": -1e4 * mask, "c": torch.ones(30, 30), "d": torch.randn(30, 30)}, tmp_path / "w.pt")
    remarks = [json.loads(text) for text in weight_spectra(tmp_path / "w.pt")["remarks"].values]
    code = "all entries are 0 or one other number, as of masks and codes"
    assert [texts[:1] for texts in remarks] == [[code], [code], ["all entries are equal"], []]
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"w": torch.randn(30, 40).to(torch.float8_e4m3fn)}, tmp_path / "s.safetensors")
    assert list_weights(tmp_path / "s.safetensors").matrices[0].spacing == 0.125
    scaled = {"w": torch.randn(30, 40).to(torch.float8_e4m3fn), "w_scale_inv": torch.ones(1)}
    torch.save(scaled, tmp_path / "s.pt")
    assert "w_scale_inv) are not applied" in str(weight_spectra(tmp_path / "s.pt")["remarks"].values[0])


def test_equal_singular_values_end_at_the_same_condition_number_as_in_the_summary():
    for condition, is_flat in ((EQUAL_CONDITION - 1e-9, True), (EQUAL_CONDITION + 1e-9, False)):
        matrix = with_spectrum(np.append(np.ones(29), condition**2), (30, 40))
        found = analyze_matrix(matrix, num_bootstrap=20, seed=0)
        assert (found.tail.why == "all singular values are equal up to rounding") == is_flat
        assert (look(layer(matrix))[0] == "orthogonal") == is_flat
