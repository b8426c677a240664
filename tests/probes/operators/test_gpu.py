"""What only a machine with a CUDA device can show; skipped elsewhere."""

import copy

import pytest
import torch
from torch import nn

from probes import HessianOperator
from probes.operators import MATRICES
from probes.operators.dual import dual_gram
from probes.operators.jacobian import JacobianOperator
from probes.operators.ntk import NTKOperator
from spectra import eigenpairs, slq
from spectra.testing import check_operator
from tests.probes.networks import cnn, cut, labels, mlp, normal, relative_error, seeded, transformer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
LOSS = nn.CrossEntropyLoss()
CASES = {
    "mlp": (mlp, normal(14, 6), labels(14)),
    "cnn": (cnn, normal(14, 1, 4, 4), labels(14)),
    "transformer": (transformer, labels(14, 5, seed=3), labels(14, 5)),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("case", CASES)
def test_every_matrix_and_strategy_agrees_with_the_processor(case, name):
    build, inputs, target = CASES[case]
    kind = MATRICES[name]
    expected = kind(build(), LOSS, cut(inputs, target), check=False)
    vectors = normal(expected.shape[0], 3)
    reference = expected @ vectors
    for strategy in (*kind.strategies, "auto"):
        if strategy in ("differences", "compiled") or (strategy, case) == (
            "batched_graph",
            "cnn",
        ):  # GroupNorm refuses the latter
            continue
        operator = kind(build().cuda(), copy.deepcopy(LOSS).cuda(), cut(inputs, target), strategy=strategy)
        assert operator.like.is_cuda
        assert relative_error((operator @ vectors.cuda()).cpu(), reference) <= 1e-10, strategy


def test_float32_and_the_methods_of_spectra():
    build, inputs, target = CASES["transformer"]
    operator = HessianOperator(build().float().cuda(), LOSS, cut(inputs, target))
    check_operator(operator)
    exact = HessianOperator(build(), LOSS, cut(inputs, target))
    ours, reference = eigenpairs(operator, num=3), eigenpairs(exact, num=3)
    assert ours["eigenvalue"].values == pytest.approx(reference["eigenvalue"].values, rel=1e-4)
    measure = slq(operator, num_probes=4, num_steps=20)
    assert measure.sizes["probe"] == 4


def test_jacobian_kernel_and_gram_matrix():
    build, inputs, target = CASES["cnn"]
    here, there = ((JacobianOperator(m, LOSS, cut(inputs, target)), m) for m in (build(), build().cuda()))
    vectors = normal(here[0].shape[1], 3)
    assert relative_error((there[0] @ vectors.cuda()).cpu(), here[0] @ vectors) <= 1e-10
    kernels = [NTKOperator(m, LOSS, cut(inputs, target)).dense().cpu() for _, m in (here, there)]
    assert relative_error(kernels[1], kernels[0]) <= 1e-10
    grams = [dual_gram(MATRICES["gauss_newton"](m, LOSS, cut(inputs, target))).cpu() for _, m in (here, there)]
    assert relative_error(grams[1], grams[0]) <= 1e-10


class _Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent, self.head = nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, x):
        return self.head(self.recurrent(x)[0][:, -1])


def test_recurrent_layers():
    inputs, target = normal(14, 3, 6), labels(14)
    build = lambda: seeded(_Recurrent).double()  # noqa: E731
    for name in ("hessian", "gauss_newton"):
        expected = MATRICES[name](build(), LOSS, cut(inputs, target))
        vectors = normal(expected.shape[0], 3)
        operator = MATRICES[name](build().cuda(), LOSS, cut(inputs, target))
        assert relative_error((operator @ vectors.cuda()).cpu(), expected @ vectors) <= 1e-10


def test_products_go_on_when_the_device_runs_out_of_memory():
    model = nn.Sequential(nn.Linear(256, 2048), nn.Tanh(), nn.Linear(2048, 2048), nn.Tanh(), nn.Linear(2048, 4)).cuda()
    inputs, target = normal(16384, 256, dtype=torch.float32), labels(16384)
    vectors = normal(sum(p.numel() for p in model.parameters()), 8, dtype=torch.float32).cuda()
    expected = HessianOperator(model, LOSS, cut(inputs, target, (512,) * 32), check=False) @ vectors
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    allowed = torch.cuda.memory_allocated() + (1 << 30)  # one activation takes 128 MiB
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    try:
        operator = HessianOperator(model, LOSS, (inputs, target), check=False)
        product = operator @ vectors
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert operator.block_width < 32 or max(operator.batches.sizes) < 16384
    assert relative_error(product, expected) <= 1e-4


def test_random_states_of_the_device_are_left_alone():
    model = mlp(nn.Tanh).cuda()
    before = torch.cuda.get_rng_state()
    operator = HessianOperator(model, LOSS, cut(normal(14, 6), labels(14)))
    operator @ torch.ones_like(operator.like)
    assert torch.equal(before, torch.cuda.get_rng_state())
