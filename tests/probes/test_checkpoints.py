"""Checkpoints: what is read, what is refused, and that a model is either loaded or left alone."""

import builtins
import copy
import dataclasses
import json
import pickle

import pytest
import torch
from torch import nn

from probes.checkpoints import CheckpointReport, load_checkpoint, read_state_dict
from spectra.errors import CheckpointError, MissingExtraError, TaskError
from tests.probes.networks import mlp, seeded, transformer

safetensors = pytest.importorskip("safetensors.torch")


def other(build=mlp, **options) -> nn.Module:
    """Return a model of the same shape and other values."""
    model = build(**options)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
    return model


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def write(state, path, *, names=None):
    """Write a state dict as safetensors or by torch.save, after the suffix."""
    state = {name: state[name].clone() for name in (names or state)}
    if path.suffix == ".safetensors":
        safetensors.save_file(state, path, metadata={"format": "pt"})
    else:
        torch.save(state, path)
    return path


def write_shards(state, directory, stem, suffix):
    """Write two files and their index, as Hugging Face libraries do."""
    names = list(state)
    files = [f"{stem}-0000{i}-of-00002{suffix}" for i in (1, 2)]
    write(state, directory / files[0], names=names[:2])
    write(state, directory / files[1], names=names[2:])
    weight_map = {name: files[0 if i < 2 else 1] for i, name in enumerate(names)}
    path = directory / f"{stem}{suffix}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))
    return path


@pytest.mark.parametrize(
    "layout", ["a.safetensors", "a.pt", "legacy.pt", "misnamed.bin", "whole_safe", "whole_bin", "safe", "bin", "index"]
)
def test_every_layout_gives_the_same_model(layout, tmp_path):
    source, model = other(), mlp()
    state, path = source.state_dict(), tmp_path
    if layout in ("a.safetensors", "a.pt"):
        path = write(state, tmp_path / layout)
    elif layout == "legacy.pt":
        torch.save(state, path := tmp_path / layout, _use_new_zipfile_serialization=False)
    elif layout == "misnamed.bin":
        path = write(state, tmp_path / "a.safetensors").rename(tmp_path / layout)
    elif layout == "whole_safe":
        write(state, tmp_path / "model.safetensors")
    elif layout == "whole_bin":
        write(state, tmp_path / "pytorch_model.bin")
        torch.save({"state": {}}, tmp_path / "optimizer.pt")
    elif layout == "safe":
        write_shards(state, tmp_path, "model", ".safetensors")
    elif layout == "bin":
        write_shards(state, tmp_path, "pytorch_model", ".bin")
    else:
        path = write_shards(state, tmp_path, "model", ".safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert not same(source, model)
    report = load_checkpoint(model, path)
    assert same(source, model)
    assert isinstance(report, CheckpointReport)
    assert report.is_complete
    assert {entry.name for entry in report.loaded} == set(state)
    assert report.converted == ()
    assert "4 tensors loaded (92 numbers)" in str(report)
    read = read_state_dict(path)
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def test_what_was_read_outlives_its_file(tmp_path):
    for path in (write(mlp().state_dict(), tmp_path / name) for name in ("a.pt", "a.safetensors")):
        read = read_state_dict(path)
        path.write_bytes(b"")
        assert torch.equal(read["0.weight"], mlp()[0].weight)


def test_nothing_but_values_changes(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    model[0].bias.requires_grad_(False)
    model[0].weight.grad = torch.ones(2, 3)
    before = dict(model.named_parameters())
    random = torch.get_rng_state()
    source = seeded(lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), seed=5)
    source[1].running_mean += 3
    load_checkpoint(model, write(source.state_dict(), tmp_path / "a.pt"))
    assert same(model, source)
    assert torch.equal(random, torch.get_rng_state())
    assert not model.training
    assert all(p is before[name] for name, p in model.named_parameters())
    assert not model[0].bias.requires_grad
    assert torch.equal(model[0].weight.grad, torch.ones(2, 3))


def test_conversions_are_reported(tmp_path):
    source, model = other().bfloat16(), mlp()
    source[2].float()
    report = load_checkpoint(model, write(source.state_dict(), tmp_path / "a.safetensors"))
    assert torch.equal(model[0].weight, source[0].weight.double())
    first = report.converted[0]
    assert (first.name, first.stored_dtype, first.model_dtype) == ("0.weight", torch.bfloat16, torch.float64)
    assert "2 converted from bfloat16 to float64, 2 converted from float32 to float64" in str(report)
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.key = "x"


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "ours"])
def test_wrapped_states_are_found(key, tmp_path):
    source, model = other(), mlp()
    optimizer = torch.optim.SGD(source.parameters(), lr=0.1, momentum=0.9)
    saved = {"epoch": 3, "loss": torch.tensor(0.5), "optimizer": optimizer.state_dict(), key: source.state_dict()}
    if key == "ours":
        del saved["loss"]
    torch.save(saved, tmp_path / "a.pt")
    report = load_checkpoint(model, tmp_path / "a.pt")
    assert report.key == key
    assert same(source, model)


def test_several_states_need_a_key(tmp_path):
    saved = {"generator": mlp().state_dict(), "average": other().state_dict()}
    torch.save(saved, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="2 states, under 'generator', 'average'"):
        read_state_dict(tmp_path / "a.pt")
    model = mlp()
    assert load_checkpoint(model, tmp_path / "a.pt", key="average").key == "average"
    assert same(model, other())
    with pytest.raises(CheckpointError, match="no state under 'x'"):
        read_state_dict(tmp_path / "a.pt", key="x")


def test_known_keys_come_before_averages(tmp_path):
    torch.save({"state_dict_ema": other().state_dict(), "state_dict": mlp().state_dict()}, tmp_path / "a.pt")
    assert torch.equal(read_state_dict(tmp_path / "a.pt")["0.bias"], mlp()[0].bias)


def refused(model, path, match, **options):
    """Check that loading is refused and that the model is left as it was."""
    before = copy.deepcopy(model)
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(model, path, **options)
    assert same(model, before)
    return str(caught.value)


def test_names_that_do_not_fit_are_all_listed(tmp_path):
    state = other().state_dict()
    state["0.wieght"] = state.pop("0.weight")
    state["2.weight"] = torch.zeros(4, 9, dtype=torch.float64)
    text = refused(mlp(), write(state, tmp_path / "a.pt"), "2 of its 4 tensors do")
    assert "missing in the checkpoint (1): 0.weight (8, 6) float64" in text
    assert "unexpected in the checkpoint (1): 0.wieght (8, 6) float64" in text
    assert "2.weight (checkpoint (4, 9) float64, model (4, 8) float64: shapes differ)" in text
    assert "Nearest to 0.weight in the checkpoint: 0.wieght." in text


def test_long_lists_are_abbreviated(tmp_path):
    deep = nn.Sequential(*(nn.Linear(2, 2) for _ in range(8)))
    text = refused(deep, write(nn.Linear(3, 3).state_dict(), tmp_path / "a.pt"), r"missing in the checkpoint \(16\)")
    assert "and 6 more" in text


def test_not_strict_loads_what_fits(tmp_path):
    state = other().state_dict()
    state["extra"] = state.pop("0.weight")
    state["2.weight"] = torch.zeros(4, 9)
    model = mlp()
    report = load_checkpoint(model, write(state, tmp_path / "a.pt"), strict=False)
    assert [e.name for e in report.loaded] == ["0.bias", "2.bias"]
    assert [e.name for e in report.missing] == ["0.weight"]
    assert [e.name for e in report.unexpected] == ["extra"]
    assert [(e.name, e.stored_shape, e.model_shape) for e in report.mismatched] == [("2.weight", (4, 9), (4, 8))]
    assert not report.is_complete
    assert torch.equal(model[0].weight, mlp()[0].weight)
    assert torch.equal(model[0].bias, other()[0].bias)
    refused(mlp(), write({"x": torch.ones(2)}, tmp_path / "b.pt"), "0 of its 4", strict=False)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "bert.", "model.encoder."])
def test_the_prefix_that_would_fit_is_named(prefix, tmp_path):
    state = {f"{prefix}{name}": tensor for name, tensor in other().state_dict().items()}
    state["head.bias"] = torch.ones(3)
    path = write(state, tmp_path / "a.pt")
    refused(mlp(), path, f"4 of the 4 names fit behind '{prefix}': pass prefix='{prefix}'")
    model = mlp()
    report = load_checkpoint(model, path, prefix=prefix)
    assert same(model, other())
    assert (report.prefix, report.ignored) == (prefix, ("head.bias",))
    assert same(model, other())
    load_checkpoint(model, path, prefix=prefix.rstrip("."))
    refused(model, path, "No name of the checkpoint begins with 'wrong.'", prefix="wrong")


def test_the_part_of_the_model_that_would_fit_is_named(tmp_path):
    path = write(other().state_dict(), tmp_path / "a.pt")
    model = nn.Sequential(mlp(), nn.Linear(4, 4))
    refused(model, path, r"load it into model\[0\], which")
    load_checkpoint(model[0], path)
    refused(nn.DataParallel(mlp()), path, r"load it into model\.module, .*It comes from DataParallel")


def test_unwanted_names_can_be_ignored(tmp_path):
    state = other().state_dict() | {"pooler.weight": torch.ones(1), "position_ids": torch.ones(1)}
    path = write(state, tmp_path / "a.safetensors")
    refused(mlp(), path, r"pass ignore=\['pooler.weight', 'position_ids'\]")
    report = load_checkpoint(mlp(), path, ignore=["pooler.*", "position_ids"])
    assert set(report.ignored) == {"pooler.weight", "position_ids"}
    assert report.is_complete


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_tied_parameters_stored_once(name, tmp_path):
    source = other(transformer, tied=True)
    state = dict(source.state_dict())
    del state["embedding.weight"]
    model = transformer(tied=True)
    report = load_checkpoint(model, write(state, tmp_path / name))
    assert report.tied == {"embedding.weight": "head.weight"}
    assert report.is_complete
    assert same(model, source)
    assert model.head.weight is model.embedding.weight


def test_tied_parameters_noted_aside(tmp_path):
    source = other(transformer, tied=True)
    safetensors.save_model(source, tmp_path / "a.safetensors")
    tied, untied = transformer(tied=True), transformer(tied=False)
    assert load_checkpoint(tied, tmp_path / "a.safetensors").is_complete
    assert load_checkpoint(untied, tmp_path / "a.safetensors").is_complete
    assert same(tied, source)
    assert same(untied, source)


def test_ties_that_only_one_side_has(tmp_path):
    untied = other(transformer).state_dict()
    text = refused(transformer(tied=True), write(untied, tmp_path / "a.pt"), "head.weight .*tied to embedding.weight")
    assert "of other values" in text
    del untied["head.weight"]
    refused(transformer(), write(untied, tmp_path / "b.pt"), "model.head.weight = model.embedding.weight")


def test_kinds_of_numbers_are_not_converted(tmp_path):
    state = other().state_dict()
    state["0.weight"] = state["0.weight"].to(torch.int8)
    state["0.bias"] = state["0.bias"] * 1j
    text = refused(mlp(), write(state, tmp_path / "a.pt"), r"mismatched \(2\)")
    assert text.count("kinds of numbers differ") == 2


class Ran(Exception):
    """Code stored in a file ran."""


def run_it():
    raise Ran


class Payload:
    def __reduce__(self):
        return run_it, ()


def test_code_in_files_does_not_run(tmp_path):
    torch.save({"state_dict": mlp().state_dict(), "trainer": Payload()}, tmp_path / "a.pt")
    refused(mlp(), tmp_path / "a.pt", r"cannot be read safely.*run_it.*allow_pickle_from_trusted_source=True")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"a": Payload()}))
    refused(mlp(), tmp_path / "b.pkl", "cannot be read safely")


def test_the_unsafe_way_is_long_to_type(tmp_path):
    source, model = other(), mlp()
    torch.save(source, tmp_path / "whole.pt")
    refused(model, tmp_path / "whole.pt", "cannot be read safely")
    load_checkpoint(model, tmp_path / "whole.pt", allow_pickle_from_trusted_source=True)
    assert same(source, model)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "legacy.pt"])
@pytest.mark.parametrize("kept", [0.0, 0.03, 0.5, 0.98])
def test_damaged_files(name, kept, tmp_path):
    path = tmp_path / name
    if name == "legacy.pt":
        torch.save(mlp().state_dict(), path, _use_new_zipfile_serialization=False)
    else:
        write(mlp().state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    refused(mlp(), path, "empty" if kept == 0 else r"damaged|no file of torch\.save")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 90868376\n", "Git-LFS .*90,868,376 bytes"),
        (b"../../.git/annex/objects/xx/yy", "git-annex"),
        (b"<!DOCTYPE html><html>login</html>", "web page"),
        (b"\x89HDF\r\n\x1a\n0000", "HDF5"),
        (b"GGUF0000000000", "GGUF"),
        (b"weights, trust me", "neither"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_files_of_other_kinds(content, match, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    if match == "neither" and name.endswith("safetensors"):
        match = "damaged"
    refused(mlp(), tmp_path / name, match)
    refused(mlp(), tmp_path, match)


def test_zip_files_of_other_kinds(tmp_path):
    import numpy as np

    np.savez(tmp_path / "a.npz", a=np.ones(3))
    refused(mlp(), tmp_path / "a.npz", r"torch\.save did not write; it holds a\.npy")
    torch.save([1, 2], tmp_path / "list.pt")
    refused(mlp(), tmp_path / "list.pt", "holds a list of 2")
    torch.save({"epoch": 3, "losses": [1.0]}, tmp_path / "none.pt")
    refused(mlp(), tmp_path / "none.pt", "'losses': a list of 1")
    torch.save({"0.weight": torch.ones(2, 2).to_sparse()}, tmp_path / "sparse.pt")
    refused(mlp(), tmp_path / "sparse.pt", "must hold dense tensors; '0.weight'")


def test_paths_without_weights(tmp_path):
    refused(mlp(), tmp_path / "no_such.pt", "no file or directory .*Nothing is downloaded")
    (tmp_path / "config.json").write_text("{}")
    refused(mlp(), tmp_path, r"holds no weights: looked for model\.safetensors.*it holds config\.json")
    (tmp_path / "tf_model.h5").write_text("")
    refused(mlp(), tmp_path, "Flax")
    (tmp_path / "snapshots" / "0123").mkdir(parents=True)
    refused(mlp(), tmp_path, "Hugging Face cache: pass one of .*0123")
    write(mlp().state_dict(), tmp_path / "a.pt")
    load_checkpoint(mlp(), tmp_path)
    write(mlp().state_dict(), tmp_path / "b.pt")
    refused(mlp(), tmp_path, r"2 files of weights without an index \(a\.pt, b\.pt\)")


def test_indices_that_do_not_fit(tmp_path):
    path = write_shards(other().state_dict(), tmp_path, "model", ".safetensors")
    index = json.loads(path.read_text())
    refused(mlp(), tmp_path / "model-00001-of-00002.safetensors", "part 1 of 2: pass the directory")
    path.write_text(json.dumps({"weight_map": index["weight_map"] | {"ghost": "model-00001-of-00002.safetensors"}}))
    refused(mlp(), tmp_path, "disagree about ghost")
    path.write_text(json.dumps({"weight_map": {"0.weight": "../secret.bin"}}))
    refused(mlp(), tmp_path, "must name files of its own directory")
    path.write_text(json.dumps({"weight_map": index["weight_map"] | {"ghost": "model-00003-of-00003.safetensors"}}))
    refused(mlp(), tmp_path, "model-00003-of-00003.safetensors not found")
    path.write_text("{")
    refused(mlp(), tmp_path, "JSON object with 'weight_map'")


def test_models_that_cannot_be_written(tmp_path):
    path = write(nn.Linear(2, 1).state_dict(), tmp_path / "a.pt")
    with pytest.raises(TaskError, match="lazy module"):
        load_checkpoint(nn.LazyLinear(1), path)
    with pytest.raises(TaskError, match="to_empty"):
        load_checkpoint(nn.Linear(2, 1, device="meta"), path)
    with torch.inference_mode():
        inferring = nn.Linear(2, 1)
    with pytest.raises(CheckpointError, match="inference_mode"):
        load_checkpoint(inferring, path)
    with pytest.raises(TaskError, match="got type"):
        load_checkpoint(nn.Linear, path)


def test_safetensors_missing(tmp_path, monkeypatch):
    path = write(mlp().state_dict(), tmp_path / "a.safetensors")
    real = builtins.__import__

    def fake(name, *args, **kwargs):
        if name.startswith("safetensors"):
            raise ModuleNotFoundError("No module named 'safetensors'", name="safetensors")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(MissingExtraError, match=r"spectra-probes\[checkpoints\]"):
        load_checkpoint(mlp(), path)
