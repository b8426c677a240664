"""Spectra of weight matrices: against planted truths, and the same from models and from files."""

import json
import math

import numpy as np
import pytest

import spectra

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

from probes.checkpoints.streaming import stream_tensors  # noqa: E402
from probes.weights import weight_spectra  # noqa: E402
from probes.weights.differences import difference  # noqa: E402
from probes.weights.matrices import list_weights, weight_matrices  # noqa: E402
from probes.weights.measure import NOT_REACHED, WeightsInterrupted  # noqa: E402
from probes.weights.singular import singular_values  # noqa: E402
from spectra.errors import ArgumentError, CheckpointError, TaskError  # noqa: E402
from spectra.laws.edge_scaling import largest_eigenvalue_scaling  # noqa: E402
from spectra.weights_summary import summarize_weights  # noqa: E402


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


def test_gpt2_projections_lie_beside_each_other_or_above_each_other(tmp_path):
    weight = torch.randn(8, 24)
    torch.save({"h.0.attn.c_attn.weight": weight, "h.1.attn.c_attn.weight": weight.T.clone()}, tmp_path / "w.pt")
    matrices = list(weight_matrices(tmp_path / "w.pt"))
    assert [matrix.shape for matrix in matrices] == [(8, 8)] * 6
    np.testing.assert_array_equal(matrices[1].read(), weight[:, 8:16].double())
    np.testing.assert_array_equal(matrices[4].read(), weight[:, 8:16].T.double())


def test_what_is_parametrized_is_remarked_and_is_that_of_its_module():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.ConvTranspose1d(30, 40, 4)), nn.Linear(20, 30), nn.Linear(30, 20)
    )
    prune.l1_unstructured(model[1], "weight", 0.9)
    norm, pruned, plain = weight_matrices(model)
    assert (norm.name, norm.shape) == ("0.parametrizations.weight.original1", (40, 120))
    assert plain.notes == ()
    assert pruned.name == "1.weight_orig"
    for matrix in (norm, pruned):
        assert "which is not applied here" in matrix.notes[0]


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
        # By what a tensor was taken for a kernel is not the same: a model has modules.
        for name in set(own.data_vars) - {"rule"}:
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
    assert found["why"].values.tolist() == ["1 of 1,200 entries are NaN or infinite", "the matrix is 0", "", ""]
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
    # One of several that fits nothing is a slip, not a wish.
    with pytest.raises(ArgumentError, match=r"matching 1\.\*a; it has .*must fit the whole name"):
        weight_spectra(model, layers=["0.", "1.*a"])


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
    with pytest.raises(ArgumentError, match=r"it has 1 integers \(int8\), as of positions and quantized weights"):
        weight_spectra(tmp_path / "int.pt")


def left_out(found):
    """Return why each tensor is not in a result, by its name."""
    return {entry["name"]: entry["why"] for entry in json.loads(found.attrs["left_out"])}


def test_what_is_no_weight_matrix_is_listed_with_the_reason(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    state = {
        "weight": torch.randn(30, 40),
        "bias": torch.randn(40),
        "ids": torch.arange(40)[None],
        "quantized": torch.ones(30, 40, dtype=torch.int8),
        "row": torch.randn(1, 40),
        "attention_mask": torch.ones(30, 30),
        "h.0.attn.bias": torch.ones(1, 1, 64, 64),
        "kept": torch.ones(30, 30, dtype=torch.bool),
        "turned": torch.ones(30, 30, dtype=torch.complex64),
        "none": torch.zeros(0, 30),
        "experts.down_proj_bias": torch.ones(4, 30),
        "w_scale_inv": torch.randn(4, 4),
        "q.scales": torch.randn(4, 4),
    }
    torch.save(state, tmp_path / "w.pt")
    safetensors.save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        found = weight_spectra(tmp_path / name)
        assert found["layer"].values.tolist() == ["weight"]
        assert left_out(found) == {
            "bias": "vectors and single numbers, as biases and norms",
            "ids": "integers (int64), as of positions and quantized weights",
            "quantized": "integers (int8), as of positions and quantized weights",
            "row": "a single row or column",
            "attention_mask": "the name says that it is a bias, a mask or a table",
            "h.0.attn.bias": "the name says that it is a bias, a mask or a table",
            "kept": "truth values, as masks",
            "turned": "complex numbers",
            "none": "empty",
            "experts.down_proj_bias": "the name says that it is a bias, a mask or a table",
            "w_scale_inv": "the name says that it is the scales of quantized weights",
            "q.scales": "the name says that it is the scales of quantized weights",
        }


def test_shared_sparse_and_unchosen_tensors_are_listed(tmp_path):
    weight = torch.randn(30, 40)
    torch.save({"a": weight, "b": weight, "s": weight.to_sparse(), "c": torch.randn(30, 40)}, tmp_path / "w.pt")
    found = weight_spectra(tmp_path / "w.pt", layers="a")
    assert left_out(found) == {
        "b": "other names of tensors that are listed",
        "s": "sparse tensors",
        "c": "matrices that were not chosen",
    }
    model = nn.Sequential(nn.Linear(30, 30, bias=False), nn.Linear(30, 30, bias=False))
    model[1].weight = model[0].weight
    model.register_buffer("table", torch.ones(3, 3))
    entries = {entry.name: entry.why for entry in list_weights(model).left_out}
    assert entries == {"table": "buffers of a model", "1.weight": "other names of tensors that are listed"}


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("layer.experts.w1", (4, 60, 80), ((60, 80), 4, "slice of a stack, the name holds 'expert'")),
        ("block.w1", (4, 60, 80), ((60, 80), 4, "slice of a stack, a guess by its last sizes, 80")),
        ("block.w1", (64, 32, 3), ((64, 96), 1, "kernel as (out, in * kernel), a guess by its last sizes, 3")),
        ("pos_conv.weight", (64, 16, 128), ((64, 2048), 1, "kernel as (out, in * kernel), the name holds 'conv'")),
        ("block.w1", (2, 3, 60, 80), ((60, 80), 6, "slice of a stack, a guess by its last sizes, 60x80")),
        ("positions", (1, 50, 64), ((50, 64), 1, "slice of a stack, there is one")),
    ],
)
def test_stacks_are_told_from_kernels_and_the_result_says_by_what(tmp_path, name, shape, expected):
    state = {name: torch.randn(*shape)}
    torch.save(state, tmp_path / "w.pt")
    for source in (tmp_path / "w.pt", _Stored({name.replace(".", "_"): state[name]})):
        matrices = list_weights(source).matrices
        assert (matrices[0].shape, len(matrices), matrices[0].rule) == expected
        read = np.stack([matrix.read() for matrix in matrices])
        np.testing.assert_array_equal(read.reshape(shape), state[name].double().numpy())


def test_the_user_says_what_is_a_stack_and_what_a_kernel(tmp_path):
    torch.save({"a.w": torch.randn(4, 60, 80), "b.w": torch.randn(64, 32, 3)}, tmp_path / "w.pt")
    found = weight_spectra(tmp_path / "w.pt", kernels="a.*", layers="a.w")
    assert found["num_columns"].values.tolist() == [4800]
    assert found["rule"].values.tolist() == ["kernel as (out, in * kernel), as asked"]
    assert len(list_weights(tmp_path / "w.pt", stacks=("b.w",)).matrices) == 4 + 64
    with pytest.raises(ArgumentError, match=r"stacks are names of tensors.*'c' fits none of a\.w, b\.w"):
        weight_spectra(tmp_path / "w.pt", stacks="c")
    # A module knows better than the sizes.
    assert list_weights(nn.Conv1d(4, 60, 80)).matrices[0].shape == (60, 320)


def test_a_key_chooses_and_errors_name_it_for_both_interfaces(tmp_path):
    torch.save({"generator": {"w": torch.randn(30, 40)}, "average": {"v": torch.randn(30, 40)}}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"key='generator' \(spectra weights: --key generator\)"):
        weight_spectra(tmp_path / "w.pt")
    assert weight_spectra(tmp_path / "w.pt", key="average")["layer"].values.tolist() == ["v"]
    with pytest.raises(ArgumentError, match="key='a' with a model"):
        weight_spectra(nn.Linear(30, 40), key="a")


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


def test_checkpoints_without_a_matrix_in_common_are_refused():
    one, other = nn.Sequential(nn.Linear(30, 40)), nn.ModuleDict({"a": nn.Linear(30, 40)})
    with pytest.raises(ArgumentError, match=r"Sequential and ModuleDict have no weight matrix of the same name.*lacks"):
        weight_spectra(one, against=other)


def test_the_rank_of_a_small_change_is_not_that_of_the_rounding_of_the_weights():
    for seed in range(3):
        torch.manual_seed(seed)
        before, after = nn.Linear(100, 120), nn.Linear(100, 120)
        with torch.no_grad():
            after.weight.copy_(before.weight + 1e-4 * torch.randn(120, 3) @ torch.randn(3, 100))
        found = row(after, against=before)
        assert found["rank"] == 3
        assert math.isinf(found["condition_number"])


def look(source, **options):
    """Return what the only matrix of a source looks like, and its rank."""
    found = summarize_weights(weight_spectra(source, num_bootstrap=20, **options))["layers"][0]
    return found["looks_like"], found["rank"]


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


def test_rows_of_zeros_are_remarked():
    weight = np.random.default_rng(0).normal(size=(60, 80))
    weight[:7] = 0
    assert "7 of 60 rows and 0 of 80 columns are 0" in str(row(layer(weight))["remarks"].values)


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


def test_ctrl_c_keeps_what_was_done():
    model = nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 30), nn.Linear(30, 20))

    def stop(at):
        def progress(description, done, total):
            if done == at:
                raise KeyboardInterrupt

        return progress

    with pytest.raises(WeightsInterrupted) as stopped:
        weight_spectra(model, progress=stop(2))
    found = stopped.value.found
    assert found["layer"].values.tolist() == ["0.weight", "1.weight"]
    assert left_out(found)["2.weight"] == NOT_REACHED
    with pytest.raises(WeightsInterrupted) as stopped:
        weight_spectra(model, progress=stop(0))
    assert stopped.value.found is None


def test_a_tensor_that_cannot_be_read_is_a_result(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "w.safetensors"
    safetensors.save_file({"a": torch.randn(30, 40), "b": torch.randn(30, 40)}, path)

    def cut(description, done, total):
        if done == 1:
            path.write_bytes(path.read_bytes()[:4000])

    found = weight_spectra(path, progress=cut)
    assert found["why"].values[0] == ""
    assert "could not be read or analyzed: CheckpointError" in found["why"].values[1]


def test_equal_singular_values_are_neither_noise_nor_a_tail():
    torch.manual_seed(0)
    weight = torch.empty(128, 256)
    nn.init.orthogonal_(weight)
    found = row(layer(weight))
    assert found["tail_why"] == "all singular values are equal up to rounding"
    assert found["marchenko_pastur_num_spikes"] == -1
    assert not found["heavy_tailed"]
    assert math.isnan(found["exponent"])


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
