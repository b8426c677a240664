"""Models written in every format of checkpoints."""

import json

import pytest
import torch


def saved(model, folder):
    """Write a model in every format and return the paths."""
    safetensors = pytest.importorskip("safetensors.torch")
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    torch.save(state, folder / "model.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    safetensors.save_file(state, folder / "whole.safetensors")
    parts = folder / "parts"
    parts.mkdir()
    homes = {name: f"model-{i % 2 + 1:05d}-of-00002.safetensors" for i, name in enumerate(state)}
    for file in set(homes.values()):
        safetensors.save_file({n: state[n] for n, home in homes.items() if home == file}, parts / file)
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    return [folder / "model.pt", folder / "old.pt", folder / "whole.safetensors", parts]
