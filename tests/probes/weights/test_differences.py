"""Differences of two checkpoints: their change, and their rank above rounding in any precision."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from probes.weights import weight_spectra
from probes.weights.differences import LACKING, ONLY_OTHER, difference, subtract
from probes.weights.matrices import list_weights
from tests.probes.weights.result_parts import left_out, look, row


def test_differences_of_two_checkpoints():
    torch.manual_seed(0)
    before = nn.Sequential(nn.Linear(60, 80), nn.Linear(80, 40), nn.Linear(40, 30))
    after = nn.Sequential(nn.Linear(60, 80), nn.Linear(80, 40), nn.Linear(40, 31), nn.Linear(31, 30))
    after[1].load_state_dict(before[1].state_dict())
    change = torch.randn(80, 1) @ torch.randn(1, 60)
    with torch.no_grad():
        after[0].weight.copy_(before[0].weight + change)
    found = weight_spectra(after, against=before)
    assert found["layer"].values.tolist() == ["0.weight", "1.weight"]
    expected = float(change.norm() / before[0].weight.detach().norm())
    assert found["relative_change"].values.tolist() == pytest.approx([expected, 0.0], rel=1e-5)
    assert float(found["spectral_norm"][0]) == pytest.approx(float(change.norm()), rel=1e-5)
    assert float(found["stable_rank"][0]) == pytest.approx(1, abs=1e-6)
    assert found["why"].values.tolist() == ["", "unchanged"]
    assert found.attrs["against"] == "Sequential"
    assert left_out(found)["2.weight"] == "matrices of another shape in the other checkpoint"
    assert left_out(found)["3.weight"] == "matrices that the other checkpoint lacks"
    assert left_out(weight_spectra(before, against=after))["3.weight"] == "matrices that only the other checkpoint has"


def test_the_rank_of_a_small_change_is_not_that_of_the_rounding_of_the_weights():
    for seed in range(3):
        torch.manual_seed(seed)
        before, after = nn.Linear(100, 120), nn.Linear(100, 120)
        with torch.no_grad():
            after.weight.copy_(before.weight + 1e-4 * torch.randn(120, 3) @ torch.randn(3, 100))
        found = row(after, against=before)
        assert found["rank"] == 3
        assert math.isinf(found["condition_number"])


def stored(weight, path, dtype):
    """Write one matrix in a dtype and return the path."""
    torch.save({"w": torch.as_tensor(weight).to(dtype)}, path)
    return path


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.bfloat16, 0.01), (torch.bfloat16, 20), (torch.float16, 0.001), (torch.float32, 1e-5)]
)
@pytest.mark.parametrize("base_dtype", [None, torch.float32])
def test_the_rank_of_a_change_in_any_precision(tmp_path, dtype, size, base_dtype):
    rng = np.random.default_rng(11)
    before = 0.02 * rng.normal(size=(120, 200))
    base = stored(before, tmp_path / "before.pt", base_dtype or dtype)
    start = torch.load(base)["w"].double().numpy()
    change = rng.normal(size=(120, 4)) @ rng.normal(size=(4, 200))
    change *= size * np.linalg.norm(before) / np.linalg.norm(change)
    assert look(stored(start + change, tmp_path / "after.pt", dtype), against=base) == ("low rank", 4)
    # What rounding hides is neither a power law nor noise nor structure.
    small = stored(start + change / size * 0.03 * torch.finfo(dtype).eps, tmp_path / "small.pt", dtype)
    assert look(small, against=base)[0] in ("rounding", "unchanged")
    large = stored(start + 0.1 * np.abs(start).mean() * rng.normal(size=start.shape), tmp_path / "large.pt", dtype)
    assert look(large, against=base)[0] == "noise"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_rounding_stays_below_what_is_said(dtype):
    spacing = float(torch.finfo(dtype).eps)
    for seed in range(4):
        rng = np.random.default_rng([8, seed])
        for weights in (
            rng.normal(size=(60, 60)),
            rng.normal(size=(60, 300)) * np.where(np.arange(300) < 3, 30, 1),
            rng.standard_t(3, size=(200, 100)),
            np.outer(rng.normal(size=80), rng.normal(size=90)),
        ):
            rounded = torch.as_tensor(weights).to(dtype).double().numpy()
            found = difference(rounded, weights, spacing=spacing)
            assert 0.1 < np.linalg.norm(found.weights, 2) / found.rounding < 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_differences_from_what_is_not_finite_are_results(bad):
    before, after = nn.Linear(30, 40), nn.Linear(30, 40)
    with torch.no_grad():
        before.weight[0, 0] = after.weight[0, 0] = bad
    found = row(after, against=before)
    assert found["why"] == "1 of 1,200 entries are NaN or infinite"
    assert math.isnan(found["relative_change"])
    with torch.no_grad():
        before.weight.zero_()
        after.weight[0, 0] = 0.0
    found = row(after, against=before)
    assert found["why"] == ""
    assert math.isnan(found["relative_change"])


@pytest.mark.parametrize(("own", "base"), [(1e300, 1e-300), (1e-300, 1e300), (1e300, 1e300), (1e-300, 1e-300)])
def test_differences_of_any_size_are_numbers_without_warnings(own, base):
    one, other = np.random.default_rng(0).normal(size=(2, 30, 40))
    found = difference(own * one, base * other)
    larger = max(own, base)
    np.testing.assert_array_equal(found.weights, own * one - base * other)
    # The ratio of 1e300 and 1e-300 is beyond all numbers.
    expected = (
        math.inf if own > base else np.linalg.norm(found.weights / larger) / np.linalg.norm(base / larger * other)
    )
    assert found.change == pytest.approx(expected)
    assert 0 < found.rounding / larger < 1e-5
    # Nor is there a number for a difference of twice the largest one.
    assert math.isnan(difference(np.full((2, 2), 1.5e308), np.full((2, 2), -1.5e308)).change)


def test_a_difference_is_subtracted_and_has_the_notes_of_both(tmp_path):
    scaled = {"w": torch.randn(30, 40).to(torch.float8_e4m3fn), "w_scale_inv": torch.ones(1)}
    torch.save(scaled, tmp_path / "scaled.pt")
    torch.save({"w": torch.randn(30, 40), "v": torch.randn(30, 40)}, tmp_path / "plain.pt")
    with_scales, plain = list_weights(tmp_path / "scaled.pt"), list_weights(tmp_path / "plain.pt")
    note = "scales that are stored aside (_scale_inv) are not applied"
    for one, other in ((with_scales, plain), (plain, with_scales), (with_scales, with_scales)):
        found = subtract(one, other)
        (matrix,) = found.matrices
        assert [text.replace("w_scale", "_scale") for text in matrix.notes] == [note]
        assert matrix.spacing == 0.125
        np.testing.assert_array_equal(matrix.base(), other.matrices[0].read())
        np.testing.assert_array_equal(matrix.read(), one.matrices[0].read())
    assert {entry.name: entry.why for entry in subtract(plain, with_scales).left_out} == {"v": LACKING}
    assert {entry.name: entry.why for entry in subtract(with_scales, plain).left_out}["v"] == ONLY_OTHER
    # Notes stay where there is no spectrum.
    assert "not applied" in str(row(tmp_path / "scaled.pt", against=tmp_path / "scaled.pt")["remarks"].values)
