"""Both operators against dense references: every loss, network and way of cutting the data."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from probes import GaussNewtonOperator, HessianOperator
from spectra.errors import BackendError, ShapeError, TaskError
from tests.probes.networks import (
    SIZES,
    cnn,
    cut,
    dense_gauss_newton,
    dense_hessian,
    labels,
    mlp,
    normal,
    relative_error,
    transformer,
)

#: Required of every operator, in float64.
ACCURACY = 1e-10
N = sum(SIZES)


def _ignoring(target):
    target = target.clone()
    target.view(-1)[::3] = -100
    return target


def _frozen(model):
    model[0].weight.requires_grad_(False)
    return model


def _probabilities(*shape):
    return torch.softmax(normal(*shape, seed=5), 1)


def _mean_huber(output, target):
    return functional.huber_loss(output, target)


WEIGHTS = torch.tensor([0.2, 1.0, 3.0, 0.5], dtype=torch.float64)
VECTORS, IMAGES, CODES = normal(N, 6), normal(N, 1, 4, 4), labels(N, 5, seed=3)
CASES = {
    "mlp": (mlp, VECTORS, labels(N), nn.CrossEntropyLoss()),
    "mlp, tanh": (lambda: mlp(nn.Tanh), VECTORS, labels(N), nn.CrossEntropyLoss()),
    "mlp, frozen weight": (lambda: _frozen(mlp()), VECTORS, labels(N), nn.CrossEntropyLoss()),
    "cnn": (cnn, IMAGES, labels(N), nn.CrossEntropyLoss()),
    "transformer": (transformer, CODES, labels(N, 5), nn.CrossEntropyLoss()),
    "tied transformer": (lambda: transformer(tied=True), CODES, labels(N, 5), nn.CrossEntropyLoss()),
    "functional cross-entropy": (mlp, VECTORS, labels(N), functional.cross_entropy),
    "ignore_index": (mlp, VECTORS, _ignoring(labels(N)), nn.CrossEntropyLoss()),
    "ignore_index in sequences": (transformer, CODES, _ignoring(labels(N, 5)), nn.CrossEntropyLoss()),
    "class weights": (mlp, VECTORS, labels(N), nn.CrossEntropyLoss(weight=WEIGHTS)),
    "all options": (
        mlp,
        VECTORS,
        _ignoring(labels(N)),
        nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.2),
    ),
    "probabilities": (
        mlp,
        VECTORS,
        _probabilities(N, 4),
        nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1),
    ),
    "sum of cross-entropies": (mlp, VECTORS, labels(N), nn.CrossEntropyLoss(reduction="sum", weight=WEIGHTS)),
    "mean squared error": (mlp, VECTORS, normal(N, 4, seed=2), nn.MSELoss()),
    "sum of squares": (mlp, VECTORS, normal(N, 4, seed=2), nn.MSELoss(reduction="sum")),
    "binary": (
        mlp,
        VECTORS,
        (normal(N, 4, seed=2) > 0).double(),
        nn.BCEWithLogitsLoss(weight=WEIGHTS, pos_weight=WEIGHTS.flip(0)),
    ),
    "smooth L1": (mlp, VECTORS, normal(N, 4, seed=2), nn.SmoothL1Loss()),
    "callable": (mlp, VECTORS, normal(N, 4, seed=2), _mean_huber),
    "log-likelihood": (
        lambda: nn.Sequential(mlp(), nn.LogSoftmax(1)),
        VECTORS,
        _ignoring(labels(N)),
        nn.NLLLoss(weight=WEIGHTS),
    ),
}
OPERATORS = {HessianOperator: dense_hessian, GaussNewtonOperator: dense_gauss_newton}


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("case", CASES)
def test_dense_reference(case, kind):
    build, inputs, target, loss = CASES[case]
    if isinstance(loss, nn.NLLLoss) and kind is GaussNewtonOperator:
        with pytest.raises(TaskError, match="linear in the outputs"):
            kind(build(), loss, cut(inputs, target))
        return
    model = build()
    dense = OPERATORS[kind](model, loss, inputs, target)
    operator = kind(model, loss, cut(inputs, target))
    identity = torch.eye(operator.shape[0], dtype=torch.float64)
    assert operator.shape == dense.shape
    assert relative_error(operator @ identity, dense) <= ACCURACY
    assert operator.checks["precision"] == "float64"
    assert "differences" not in operator.checks


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
def test_every_way_of_cutting_gives_one_operator(kind):
    build, inputs, target, loss = CASES["all options"]
    model = build()
    vectors = normal(kind(model, loss, (inputs, target)).shape[0], 3, seed=9)
    whole = kind(model, loss, (inputs, target)) @ vectors
    for sizes in ((1,) * N, (N - 1, 1), (7, 7)):
        assert relative_error(kind(model, loss, cut(inputs, target, sizes)) @ vectors, whole) <= 1e-13
    assert relative_error(kind(model, loss, [(inputs, target)], micro_batch=3) @ vectors, whole) <= 1e-13


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
def test_loss_gradient_and_batches(kind):
    build, inputs, target, loss = CASES["all options"]
    model = build()
    operator = kind(model, loss, cut(inputs, target))
    whole = loss(model(inputs), target)
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(whole, list(model.parameters()))])
    torch.testing.assert_close(operator.loss(), whole.detach(), rtol=1e-13, atol=0)
    assert relative_error(operator.gradient(), gradient) <= 1e-13
    vectors = normal(operator.shape[0], 2)
    weights, products = zip(*operator.per_batch(vectors), strict=True)
    own = [kind(model, loss, [batch], check=False) @ vectors for batch in cut(inputs, target)]
    for found, expected in zip(products, own, strict=True):
        assert relative_error(found, expected) <= 1e-13
    total = sum(w * p for w, p in zip(weights, products, strict=True)) / sum(weights)
    assert relative_error(total, operator @ vectors) <= 1e-13
    gradients = list(operator.batch_gradients())
    assert len(gradients) == len(operator.batches)
    total = sum(w * g for w, g in zip(weights, gradients, strict=True)) / sum(weights)
    assert relative_error(total, gradient) <= 1e-13


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
def test_one_vector_is_a_column_and_products_repeat(kind):
    build, inputs, target, loss = CASES["transformer"]
    operator = kind(build(), loss, cut(inputs, target))
    before = operator.num_products
    vectors = normal(operator.shape[0], 3)
    kept = vectors.clone()
    block = operator @ vectors
    assert relative_error(operator @ vectors[:, 1], block[:, 1]) <= 1e-13
    assert torch.equal(operator @ vectors, block)
    fixed = kind(build(), loss, cut(inputs, target), strategy="kept_graph")
    assert torch.equal(fixed @ vectors[:, 1], (fixed @ vectors)[:, 1])
    assert torch.equal(vectors, kept)
    assert operator.num_products - before == 7


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
def test_float32_is_the_same_operator(kind):
    build, inputs, target, loss = CASES["cnn"]
    exact = kind(build(), loss, cut(inputs, target))
    coarse = kind(build().float(), nn.CrossEntropyLoss(), cut(inputs.float(), target))
    assert coarse.dtype == torch.float32
    vector = normal(exact.shape[0])
    # eps of float32 is 1.2e-7; the network is a few dozen operations deep.
    assert relative_error((coarse @ vector.float()).double(), exact @ vector) <= 1e-5


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
def test_batch_whose_targets_are_all_ignored_adds_nothing(kind):
    inputs, target = VECTORS, labels(N)
    target[:7] = -100
    model, loss = mlp(), nn.CrossEntropyLoss()
    operator = kind(model, loss, cut(inputs, target))
    expected = kind(model, loss, [(inputs[7:], target[7:])])
    vector = normal(operator.shape[0])
    assert relative_error(operator @ vector, expected @ vector) <= 1e-13
    assert relative_error(operator.gradient(), expected.gradient()) <= 1e-13
    torch.testing.assert_close(operator.loss(), expected.loss(), rtol=1e-13, atol=0)
    assert not next(operator.batch_gradients()).any()


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
def test_subset_of_parameters_is_a_block(kind):
    build, inputs, target, loss = CASES["transformer"]
    model = build()
    dense = OPERATORS[kind](model, loss, inputs, target)
    operator = kind(model, loss, cut(inputs, target), parameters=["norm", "head.*"])
    positions, start = [], 0
    for name, p in model.named_parameters():
        if name.startswith(("norm.", "head.")):
            positions.extend(range(start, start + p.numel()))
        start += p.numel()
    block = dense[positions][:, positions]
    assert list(operator.parameters) == ["norm.weight", "norm.bias", "head.weight"]
    assert relative_error(operator @ torch.eye(len(block), dtype=torch.float64), block) <= ACCURACY


class _Pair(nn.Module):
    """Takes two inputs, returns a mapping, and has a parameter it never uses."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.idle = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(3, 3)

    def forward(self, first, second):
        return {"logits": torch.tanh(self.first(first)) * self.second(second), "hidden": None}


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
def test_mappings_tuples_and_unused_parameters(kind):
    model = _Pair().double()
    other, target, loss = normal(N, 6, seed=8), labels(N), nn.CrossEntropyLoss()
    tuples = [((VECTORS[:9], other[:9]), target[:9]), ((VECTORS[9:], other[9:]), target[9:])]
    mappings = [
        {"first": x, "second": y, "labels": t}
        for x, y, t in zip(VECTORS.split(5), other.split(5), target.split(5), strict=True)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        products = [
            kind(model, loss, data) @ torch.eye(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
            for data in (tuples, mappings)
        ]
    read = lambda result: result["logits"]  # noqa: E731
    dense = OPERATORS[kind](model, loss, (VECTORS, other), target, output=read)
    for product in products:
        assert relative_error(product, dense) <= ACCURACY
    operator = kind(model, loss, tuples)
    with pytest.warns(UserWarning, match=r"idle.weight, idle.bias"):
        product = operator @ torch.ones_like(operator.like)
    assert not product[-12:].any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator @ product


def test_gauss_newton_is_the_hessian_of_a_linear_model_and_semidefinite_otherwise():
    loss, target = nn.CrossEntropyLoss(label_smoothing=0.1), labels(N)
    linear = nn.Linear(6, 4).double()
    identity = torch.eye(28, dtype=torch.float64)
    data = cut(VECTORS, target)
    found = GaussNewtonOperator(linear, loss, data) @ identity
    assert relative_error(found, HessianOperator(linear, loss, data) @ identity) <= 1e-13
    operator = GaussNewtonOperator(mlp(nn.Tanh), loss, data)
    dense = operator @ torch.eye(operator.shape[0], dtype=torch.float64)
    values = torch.linalg.eigvalsh(dense)
    assert float(values.min()) >= -1e-14 * float(values.max())
    assert relative_error(dense, dense.T) <= 1e-13


@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
def test_wrong_operands(kind):
    operator = kind(mlp(), nn.CrossEntropyLoss(), (VECTORS, labels(N)), check=False)
    n = operator.shape[0]
    with pytest.raises(ShapeError, match=rf"\({n},\) or \({n}, k\).*got \({n - 1},\)"):
        operator @ operator.like[1:]
    with pytest.raises(ShapeError):
        operator @ operator.like.reshape(1, n)
    with pytest.raises(BackendError, match=r"float64 on cpu; got torch.float32"):
        operator @ operator.like.float()
    with pytest.raises(BackendError, match="ndarray"):
        operator @ operator.like.numpy()
    operator.model.float()
    with pytest.raises(BackendError, match="build a new operator"):
        operator @ operator.like
    with pytest.raises(TaskError, match=r"torch\.nn\.Module"):
        kind(lambda x: x, nn.CrossEntropyLoss(), (VECTORS, labels(N)))
    with pytest.raises(TaskError, match=r"could not be run on a batch of 14 samples with inputs \(14, 5\) float64"):
        kind(mlp(), nn.CrossEntropyLoss(), (VECTORS[:, 1:], labels(N)))
    with pytest.raises(TaskError, match="every target is ignored"):
        kind(mlp(), nn.CrossEntropyLoss(), (VECTORS, torch.full((N,), -100)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own imports
@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
def test_compiled_models_are_measured_without_the_compiler(kind):
    model = mlp()
    operator = kind(torch.compile(model), nn.CrossEntropyLoss(), (VECTORS, labels(N)))
    assert operator.model is model
    assert list(operator.parameters) == [name for name, _ in model.named_parameters()]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", OPERATORS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("case", ["cnn", "transformer", "all options"])
def test_cuda_agrees_with_the_processor(case, kind):
    build, inputs, target, loss = CASES[case]
    expected = kind(build(), loss, cut(inputs, target))
    operator = kind(build().cuda(), copy.deepcopy(loss).cuda(), cut(inputs, target))
    vectors = normal(expected.shape[0], 3)
    assert operator.like.is_cuda
    assert relative_error((operator @ vectors.cuda()).cpu(), expected @ vectors) <= ACCURACY
