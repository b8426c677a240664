"""Short memory: narrower blocks, then smaller batches, the same result; at the end a clear error."""

import pytest
import torch
from torch import nn

from probes import GaussNewtonOperator, HessianOperator
from probes.operators.memory import fitting, saved_bytes
from probes.out_of_memory import naming_out_of_memory
from spectra.errors import ArgumentError, OutOfMemoryError
from tests.probes.networks import cut, labels, mlp, normal, relative_error

INPUTS, TARGET, LOSS = normal(14, 6), labels(14), nn.CrossEntropyLoss()
KINDS = pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator], ids=lambda kind: kind.name)


class _Hungry(nn.Module):
    """Fails as an allocator does, for batches of more than so many samples."""

    def __init__(self, most, error):
        super().__init__()
        self.most, self.error = most, error

    def forward(self, x):
        if len(x) > self.most:
            raise self.error
        return x


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
    MemoryError(),
]


@KINDS
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_products_go_on_with_less_memory(kind, error):
    vectors = normal(92, 9)
    expected = kind(mlp(), LOSS, cut(INPUTS, TARGET)) @ vectors
    model = nn.Sequential(_Hungry(3, error), *mlp())
    operator = kind(model, LOSS, cut(INPUTS, TARGET), check=False)
    assert relative_error(operator @ vectors, expected) <= 1e-12
    assert operator.block_width == 1
    assert max(operator.batches.sizes) <= 3
    assert sum(operator.batches.sizes) == 14


@KINDS
def test_a_single_sample_that_does_not_fit(kind):
    operator = kind(nn.Sequential(_Hungry(0, ERRORS[0]), *mlp()), LOSS, cut(INPUTS, TARGET), check=False)
    before = {name: p.clone() for name, p in operator.model.named_parameters()}
    with pytest.raises(OutOfMemoryError, match=r"one column on 1 sample\(s\).*Tried to allocate 2 GiB.*parameters="):
        operator @ operator.like
    assert all(torch.equal(p, before[name]) for name, p in operator.model.named_parameters())


def test_batches_that_must_stay_whole():
    model = nn.Sequential(_Hungry(3, ERRORS[0]), nn.BatchNorm1d(6).double(), *mlp()).train()
    operator = HessianOperator(model, LOSS, (INPUTS, TARGET), check=False)
    with pytest.raises(OutOfMemoryError, match=r"cannot be made smaller.*batch normalization"):
        operator @ operator.like
    masked = nn.Sequential(_Hungry(3, ERRORS[0]), nn.Dropout(0.5), *mlp()).train()
    with pytest.raises(OutOfMemoryError, match="dropout masks depend on how the data are cut"):
        HessianOperator(masked, LOSS, (INPUTS, TARGET), check=False, dropout_seed=0) @ normal(92)


@KINDS
def test_a_budget_is_met_by_smaller_pieces(kind):
    vectors = normal(92, 4)
    free = kind(mlp(), LOSS, (INPUTS, TARGET))
    expected = free @ vectors
    tight = kind(mlp(), LOSS, (INPUTS, TARGET), memory_budget=3000)
    assert max(tight.batches.sizes) < 14
    assert relative_error(tight @ vectors, expected) <= 1e-12
    assert tight.kept_graph_bytes == 1500
    assert kind(mlp(), LOSS, (INPUTS, TARGET), memory_budget=10**9).batches.sizes == [14]
    with pytest.raises(OutOfMemoryError, match="memory_budget = 10"):
        kind(mlp(), LOSS, (INPUTS, TARGET), memory_budget=10)
    with pytest.raises(ArgumentError, match="positive"):
        kind(mlp(), LOSS, (INPUTS, TARGET), memory_budget=0)


def test_what_autograd_saves_is_counted_once_and_without_parameters():
    weight = torch.ones(10, 10, dtype=torch.float64, requires_grad=True)
    x = torch.ones(3, 10, dtype=torch.float64)

    def act():
        return torch.exp(x @ weight).sum()  # saves x, and the exponential

    assert saved_bytes(act, apart_from=(weight,)) == 8 * (30 + 30)


def test_width_gives_way_before_samples():
    assert fitting(10_000, each=10.0, largest=10, width=8) == (8, 10)
    assert fitting(500, each=10.0, largest=10, width=8) == (2, 10)
    assert fitting(60, each=10.0, largest=10, width=8) == (1, 2)
    assert fitting(60, each=10.0, largest=10, width=8, fixed=10.0) == (1, 1)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="something else"), naming_out_of_memory():
        raise RuntimeError("something else")
