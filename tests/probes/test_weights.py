"""Spectra of weight matrices: against planted truths, and the same from models and from files."""

import json
import math

import numpy as np
import pytest

import spectra

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from probes.checkpoints.streaming import stream_tensors  # noqa: E402
from probes.weights import weight_spectra  # noqa: E402
from probes.weights.matrices import weight_matrices  # noqa: E402
from probes.weights.matrix import singular_values  # noqa: E402
from spectra.errors import ArgumentError, CheckpointError, TaskError  # noqa: E402
from spectra.laws.edge_scaling import largest_eigenvalue_scaling  # noqa: E402


def layer(matrix):
    """Return a linear layer with these weights."""
    found = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False, dtype=torch.float64)
    with torch.no_grad():
        found.weight.copy_(torch.as_tensor(matrix))
    return found


def spiked(shape, signals, *, seed=0, sigma=1.0):
    """Return noise of variance sigma^2 plus a matrix with these singular values, in units of sigma sqrt(n)."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(size, len(signals))))[0] for size in shape)
    return sigma * (rng.normal(size=shape) + math.sqrt(max(shape)) * (left * signals) @ right.T)


def with_spectrum(squares, shape, seed=0):
    """Return a matrix with these squared singular values and random directions."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(size, len(squares))))[0] for size in shape)
    return (left * np.sqrt(squares)) @ right.T


def row(model, **options):
    """Return the only row of a model as a Dataset without the dimension."""
    return weight_spectra(model, **options).isel(layer=0)


def test_singular_values_of_a_known_matrix():
    values = np.geomspace(1, 1e-12, 30)
    for shape in ((30, 30), (30, 200), (200, 30)):
        np.testing.assert_allclose(singular_values(with_spectrum(values**2, shape)), values, rtol=1e-3)
    assert singular_values(np.zeros((3, 4))).tolist() == [0, 0, 0]


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


@pytest.mark.parametrize("factor", [1e-14, 1e14])
def test_units_change_only_units(factor):
    matrix = spiked((100, 150), [3.0])
    plain, scaled = row(layer(matrix)), row(layer(matrix * factor))
    for name in ("sigma", "spectral_norm", "marchenko_pastur_upper", "ladder_upper", "spike_value", "spike_signal"):
        np.testing.assert_allclose(scaled[name], plain[name] * factor, rtol=1e-8)
    for name in ("spike_margin", "stable_rank", "p_value", "fitted_exponent", "noise_ratio", "permuted_num_spikes"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-6)


def test_a_transposed_matrix_has_the_same_spectrum():
    matrix = spiked((80, 130), [3.0])
    one, other = row(layer(matrix)), row(layer(matrix.T))
    for name in ("sigma", "spectral_norm", "spike_margin", "fitted_exponent", "ladder_num_spikes"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-8)


def test_shapes_and_kinds_of_a_model():
    torch.manual_seed(0)
    shared = nn.Linear(24, 24)
    model = nn.ModuleDict(
        {
            "conv": nn.Conv1d(4, 6, 5),
            "up": nn.ConvTranspose2d(4, 6, (2, 3)),
            "words": nn.Embedding(40, 24),
            "attention": nn.MultiheadAttention(24, 2),
            "first": shared,
            "second": shared,
            "norm": nn.LayerNorm(24),
            "output": nn.Linear(24, 1),
        }
    )
    found = {matrix.name: (matrix.kind, matrix.shape) for matrix in weight_matrices(model)}
    assert found == {
        "conv.weight": ("convolution", (6, 20)),
        "up.weight": ("convolution", (6, 24)),
        "words.weight": ("embedding", (40, 24)),
        "attention.in_proj_weight[query]": ("attention", (24, 24)),
        "attention.in_proj_weight[key]": ("attention", (24, 24)),
        "attention.in_proj_weight[value]": ("attention", (24, 24)),
        "attention.out_proj.weight": ("attention", (24, 24)),
        "first.weight": ("linear", (24, 24)),
    }
    matrices = {matrix.name: matrix.read() for matrix in weight_matrices(model)}
    np.testing.assert_array_equal(matrices["up.weight"][1, 6:12], model["up"].weight[1, 1].detach().ravel())
    np.testing.assert_array_equal(
        matrices["attention.in_proj_weight[key]"], model["attention"].in_proj_weight[24:48].detach()
    )
    assert {matrix.read().dtype for matrix in weight_matrices(model.half())} == {np.dtype("float64")}


def test_gpt2_projections_lie_beside_each_other():
    state = {"h.0.attn.c_attn.weight": torch.randn(8, 24)}
    matrices = list(weight_matrices(_Stored(state)))
    assert [matrix.shape for matrix in matrices] == [(8, 8)] * 3
    np.testing.assert_array_equal(matrices[1].read(), state["h.0.attn.c_attn.weight"][:, 8:16].numpy().astype(float))


class _Stored(nn.Module):
    """A model whose parameters have given names."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            self._parameters[name] = nn.Parameter(value)


def saved(model, folder):
    """Write a model in every format and return the paths."""
    safetensors = pytest.importorskip("safetensors.torch")
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    torch.save(state, folder / "model.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    safetensors.save_file(state, folder / "whole.safetensors")
    parts = folder / "parts"
    parts.mkdir()
    homes = {}
    for i, (name, value) in enumerate(state.items()):
        file = f"model-{i % 2 + 1:05d}-of-00002.safetensors"
        homes[name] = file
        (parts / file).parent.mkdir(exist_ok=True)
        del value
    for file in set(homes.values()):
        safetensors.save_file({n: state[n] for n, home in homes.items() if home == file}, parts / file)
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    return [folder / "model.pt", folder / "old.pt", folder / "whole.safetensors", parts]


def test_files_say_what_the_model_says(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 60), nn.Conv2d(3, 30, 3), nn.BatchNorm2d(30), nn.Linear(30, 25).double())
    own = weight_spectra(model).sortby("layer")
    for path in saved(model, tmp_path):
        found = weight_spectra(path).sortby("layer")
        assert found["layer"].values.tolist() == own["layer"].values.tolist()
        for name in own.data_vars:
            np.testing.assert_array_equal(found[name], own[name])


def test_of_a_safetensors_file_one_tensor_is_read_at_a_time(tmp_path):
    path = saved(nn.Sequential(nn.Linear(40, 60), nn.Linear(60, 20)), tmp_path)[2]
    tensors = stream_tensors(path)
    assert {tensor.name: tensor.shape for tensor in tensors}["1.weight"] == (20, 60)
    assert all(tensor.is_floating for tensor in tensors)
    assert tensors[0].read().shape == tensors[0].shape


def test_unusable_matrices_are_results():
    model = nn.Sequential(nn.Linear(30, 40), nn.Linear(30, 40), nn.Linear(4, 3), nn.Linear(30, 40))
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
        model[1].weight.zero_()
        model[3].weight.copy_(model[3].weight[:, :1] @ torch.ones(1, 30))
    found = weight_spectra(model)
    assert found["why"].values.tolist() == ["the matrix holds NaN or infinity", "the matrix is 0", "", ""]
    assert np.all(np.isnan(found["exponent"].values))
    assert found["marchenko_pastur_num_spikes"].values[:3].tolist() == [-1, -1, -1]
    assert "too few" in found["remarks"].values[2]
    assert math.isinf(found["condition_number"].values[3])
    assert found["rank"].values[3] == 1


def test_layers_are_chosen_by_part_or_pattern():
    model = nn.Sequential(nn.Linear(20, 20), nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20)))
    assert weight_spectra(model, layers="1.").sizes["layer"] == 2
    assert weight_spectra(model, layers=["0.w*", "*.1.weight"])["layer"].values.tolist() == ["0.weight", "1.1.weight"]
    with pytest.raises(ArgumentError, match=r"no weight matrix matching decoder; it has 0\.weight"):
        weight_spectra(model, layers="decoder")


def test_results_are_files_and_repeat(tmp_path):
    model = nn.Sequential(nn.Linear(60, 30), nn.Linear(30, 4))
    found = weight_spectra(model, rng=3)
    again = spectra.load(spectra.save(found, tmp_path / "w.nc"))
    for name in found.data_vars:
        np.testing.assert_array_equal(again[name], weight_spectra(model, rng=3)[name])


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(30, 30), nn.Dropout()).train()
    before, state = model[0].weight.detach().clone(), torch.get_rng_state()
    weight_spectra(model)
    assert torch.equal(model[0].weight, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model[0].weight.requires_grad
    assert model[0].weight.grad is None


def test_wrong_calls(tmp_path):
    with pytest.raises(ArgumentError, match=r"torch\.nn\.Module or the path"):
        weight_spectra({"weight": 1})
    with pytest.raises(ArgumentError, match="at least two rows"):
        weight_spectra(nn.LayerNorm(3))
    with pytest.raises(ArgumentError, match="num_bootstrap"):
        weight_spectra(nn.Linear(3, 3), num_bootstrap=1)
    with pytest.raises(CheckpointError, match="there is no file"):
        weight_spectra(tmp_path / "absent.safetensors")


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


def test_parameters_without_memory_are_refused():
    for model in (nn.LazyLinear(30), nn.Linear(30, 40, device="meta")):
        with pytest.raises(TaskError, match="'weight' is lazy or on the meta device"):
            weight_spectra(model)


def test_an_index_that_is_wrong_about_its_files_is_refused(tmp_path):
    names = [f"pytorch_model-{i}.bin" for i in (1, 2)]
    shared = torch.randn(30, 40)
    torch.save({"a": shared, "tied": shared}, tmp_path / names[0])
    torch.save({"b": torch.randn(30, 40)}, tmp_path / names[1])
    index = tmp_path / "pytorch_model.bin.index.json"
    homes = {"a": names[0], "tied": names[0], "b": names[1]}
    index.write_text(json.dumps({"weight_map": homes}))
    assert [tensor.name for tensor in stream_tensors(tmp_path)] == ["a", "b"]
    for wrong in (homes | {"absent": names[1]}, {"a": names[0], "b": names[1]}, homes | {"a": names[1]}):
        index.write_text(json.dumps({"weight_map": wrong}))
        for path in (tmp_path, index):
            with pytest.raises(CheckpointError, match=r"the index and pytorch_model-.*disagree"):
                stream_tensors(path)


def test_integers_are_no_weights_and_the_message_says_so(tmp_path):
    torch.save({"weight": torch.ones(30, 40, dtype=torch.int8)}, tmp_path / "int.pt")
    with pytest.raises(ArgumentError, match="integers, as of quantized models, are none"):
        weight_spectra(tmp_path / "int.pt")
