"""The choice of a strategy: measured, checked, recorded, overridable, and stepped down from."""

import pytest
import torch
from torch import nn

from probes import GaussNewtonOperator, HessianOperator
from probes.operators.ladder import Ladder
from spectra.errors import ArgumentError, DerivativeError, TaskError
from tests.probes.networks import cut, dense_gauss_newton, dense_hessian, labels, mlp, normal, relative_error

INPUTS, TARGET, LOSS = normal(14, 6), labels(14), nn.CrossEntropyLoss()


class _Built:
    def __init__(self, product):
        self.loss, self.used, self._product = torch.zeros(()), None, product

    def multiply(self, columns):
        return self._product(columns)


def measured(*, wrong=(), failing=()):
    ladder = Ladder(("kept_graph", "vmap_reverse", "batched_graph", "rebuilt_graph"))

    def build(name):
        if name in failing:
            raise RuntimeError(f"{name} cannot\nsecond line")
        return _Built(lambda v: 2 * v * (1.01 if name in wrong else 1.0))

    columns = normal(5, 3)
    return ladder, columns, lambda: ladder.measure(build, columns)


def test_what_disagrees_or_fails_is_out_and_the_reason_is_kept():
    ladder, columns, act = measured(wrong=("vmap_reverse",), failing=("batched_graph",))
    _, product = act()
    assert torch.equal(product, 2 * columns)
    assert ladder.block == "kept_graph"
    assert "differs by 0.01" in ladder.excluded["vmap_reverse"]
    assert ladder.excluded["batched_graph"] == "RuntimeError: batched_graph cannot"
    assert set(ladder.seconds) == {"kept_graph"}


def test_nothing_is_measured_for_single_vectors_or_named_strategies():
    assert Ladder(("kept_graph", "vmap_reverse")).strategy(1) == "kept_graph"
    assert Ladder(("kept_graph", "vmap_reverse")).strategy(2) == ""
    assert Ladder(("kept_graph", "vmap_reverse"), "vmap_reverse").strategy(1) == "vmap_reverse"
    with pytest.raises(ArgumentError, match="'auto' or one of kept_graph"):
        HessianOperator(mlp(), LOSS, (INPUTS, TARGET), strategy="fastest")


def test_what_raises_everywhere_raises():
    _, _, act = measured(failing=("kept_graph", "vmap_reverse", "batched_graph"))
    with pytest.raises(RuntimeError, match="batched_graph cannot"):
        act()


@pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator], ids=lambda kind: kind.name)
def test_the_choice_is_recorded(kind):
    operator = kind(mlp(), LOSS, cut(INPUTS, TARGET))
    assert operator.product_strategy == "kept_graph"
    operator @ normal(92, 4)
    assert operator.product_strategy in operator.strategies
    assert set(operator.ladder.seconds) == set(operator.ladder.candidates)
    assert operator.ladder.excluded == {}


class _Old(torch.autograd.Function):
    """Squares in the old style, which torch.func refuses."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class _Squares(nn.Module):
    def forward(self, x):
        return _Old.apply(x)


def test_layers_that_some_strategies_refuse():
    model = nn.Sequential(*mlp()[:1], _Squares(), *mlp()[2:])
    plain = nn.Sequential(*model[:1], _Plain(), *model[2:])
    for kind, dense in ((HessianOperator, dense_hessian), (GaussNewtonOperator, dense_gauss_newton)):
        operator = kind(model, LOSS, cut(INPUTS, TARGET))
        product = operator @ torch.eye(92, dtype=torch.float64)
        assert relative_error(product, dense(plain, LOSS, INPUTS, TARGET)) <= 1e-10
        assert "setup_context" in operator.ladder.excluded["vmap_reverse"]
        with pytest.raises((DerivativeError, TaskError), match="setup_context"):
            kind(model, LOSS, cut(INPUTS, TARGET), strategy="vmap_reverse")


class _Plain(nn.Module):
    def forward(self, x):
        return x * x


class _Moody(nn.Module):
    """Refuses torch.func on small batches only."""

    def forward(self, x):
        return _Old.apply(x) if len(x) < 5 else x * x


def test_a_later_batch_may_need_another_way():
    model = nn.Sequential(*mlp()[:1], _Moody(), *mlp()[2:])
    plain = nn.Sequential(*model[:1], _Plain(), *model[2:])
    operator = HessianOperator(model, LOSS, cut(INPUTS, TARGET), check=False)
    operator.ladder.block = "vmap_reverse"  # as if it had been the fastest on the first batch of 7
    product = operator @ torch.eye(92, dtype=torch.float64)
    assert relative_error(product, dense_hessian(plain, LOSS, INPUTS, TARGET)) <= 1e-10
    assert "setup_context" in operator.ladder.excluded["vmap_reverse"]
