"""The tasks that ship."""

import builtins

import pytest
import torch

from probes import examples
from spectra.errors import MissingExtraError

NAMES = {
    "digits_mlp": (1797, 6570),
    "digits_cnn": (1797, 9258),
    "digits_cnn_batchnorm": (1797, 6138),
    "digits_resnet": (1797, 14442),
    "digits_lstm": (1797, 5706),
    "diabetes_mlp": (442, 4929),
    "char_transformer": (1200, 69024),
}


@pytest.mark.parametrize("name", NAMES)
def test_tasks_are_reproducible(name):
    state = torch.get_rng_state()
    first, second = getattr(examples, name)(), getattr(examples, name)()
    assert torch.equal(state, torch.get_rng_state())
    num_samples, size = NAMES[name]
    assert first.name == name
    assert first.samples().num_samples == num_samples
    assert sum(p.numel() for p in first.model.parameters()) == size
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(first.batches, second.batches, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.target, b.target)
    other = getattr(examples, name)(seed=1)
    assert not torch.equal(next(iter(other.model.parameters())), next(iter(first.model.parameters())))


@pytest.mark.parametrize("name", NAMES)
def test_tasks_can_be_learned(name):
    task = getattr(examples, name)()
    optimizer = torch.optim.Adam(task.model.parameters(), lr=3e-3)
    losses = []
    for batch in list(task.batches) * (1 if name == "char_transformer" else 4):
        loss = task.loss(task.model(batch.inputs), batch.target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_the_next_character_is_not_seen():
    task = examples.char_transformer()
    codes = task.batches[0].inputs[:1].clone()
    before = task.model(codes)
    codes[0, 40:] = 1
    after = task.model(codes)
    assert before.shape == (1, 96, 64)
    torch.testing.assert_close(before[..., :40], after[..., :40])
    assert not torch.allclose(before[..., 40:], after[..., 40:])


def test_scikit_learn_missing(monkeypatch):
    real = builtins.__import__

    def fake(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(MissingExtraError, match=r"spectra-probes\[examples\]"):
        examples.digits_mlp()
