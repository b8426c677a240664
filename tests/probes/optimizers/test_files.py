"""Saved optimizer states: found in what people save them in, and never by running code."""

import pickle

import pytest
import torch
from torch import optim

from probes.optimizers import load_optimizer_state
from spectra.errors import CheckpointError
from tests.probes.optimizers.networks import network, take_steps


@pytest.fixture
def state() -> dict:
    model = network()
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    take_steps(optimizer, model, range(3))
    return optimizer.state_dict()


def same(a: dict, b: dict) -> bool:
    moments = (torch.equal(a["state"][i]["exp_avg_sq"], b["state"][i]["exp_avg_sq"]) for i in b["state"])
    return a["param_groups"] == b["param_groups"] and a["state"].keys() == b["state"].keys() and all(moments)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "model": network().state_dict(), "optimizer": state},
        lambda state: {"model_state_dict": network().state_dict(), "optimizer_state_dict": state},
        lambda state: {"state_dict": network().state_dict(), "optimizer_states": [state], "lr_schedulers": [{}]},
    ],
    ids=["alone", "beside the model", "tutorial", "lightning"],
)
def test_a_state_is_found_in_what_it_was_saved_in(tmp_path, state, wrap):
    torch.save(wrap(state), tmp_path / "last.pt")
    assert same(load_optimizer_state(tmp_path / "last.pt"), state)


@pytest.mark.parametrize("name", ["optimizer.pt", "optimizer.bin"])
def test_a_directory_is_searched_for_the_usual_names(tmp_path, state, name):
    torch.save(state, tmp_path / name)
    torch.save(network().state_dict(), tmp_path / "pytorch_model.bin")
    assert same(load_optimizer_state(tmp_path), state)


def test_one_of_several_is_chosen_by_key(tmp_path, state):
    other = optim.SGD(network().parameters(), lr=0.5).state_dict()
    torch.save({"optimizer_states": [other, state], "ema": {"a": 1}}, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"2 optimizer states; pass key= 'optimizer_states\[0\]', "):
        load_optimizer_state(tmp_path / "last.ckpt")
    assert same(load_optimizer_state(tmp_path / "last.ckpt", key="optimizer_states[1]"), state)
    with pytest.raises(CheckpointError, match="no optimizer state under 'ema'"):
        load_optimizer_state(tmp_path / "last.ckpt", key="ema")


@pytest.mark.parametrize(
    "content",
    [
        network().state_dict(),
        {"state": {}, "param_groups": []},
        {"state": {}, "param_groups": [{"lr": 0.1}]},
        torch.ones(3),
        [1, 2],
    ],
    ids=["a model", "no groups", "groups without parameters", "a tensor", "a list"],
)
def test_files_without_a_state_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match=r"holds no state of an optimizer; it .*optimizer.state_dict\(\)"):
        load_optimizer_state(tmp_path / "file.pt")


class Payload:
    """Runs code when it is unpickled."""

    ran = False

    def __reduce__(self):
        return (setattr, (Payload, "ran", True))


def test_code_in_a_file_is_never_run(tmp_path, state):
    torch.save({"optimizer": state, "extra": Payload()}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(CheckpointError, match="cannot be read safely"):
            load_optimizer_state(tmp_path / name)
    assert not Payload.ran


def test_missing_damaged_and_empty_paths_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no file"):
        load_optimizer_state(tmp_path / "absent.pt")
    with pytest.raises(CheckpointError, match=r"holds no optimizer.pt or optimizer.bin"):
        load_optimizer_state(tmp_path)
    (tmp_path / "damaged.pt").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(CheckpointError, match="damaged"):
        load_optimizer_state(tmp_path / "damaged.pt")
