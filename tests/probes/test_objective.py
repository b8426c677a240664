"""The objective as a value, a weight, a pure function and a copy, for losses of either kind."""

import collections
import functools
import types
import warnings

import pytest
import torch
from torch import nn
from torch.func import grad, jvp, vjp, vmap
from torch.nn import functional

from probes.batch import Batch
from probes.batches import Batches
from probes.losses import read_loss
from probes.model_loss import ModelLoss, read_any_loss
from probes.objective import Objective, read_objective
from probes.parameters import flatten, unflatten
from probes.state import forward_mode
from probes.unwrapping import unwrapped
from spectra.errors import ArgumentError, DerivativeError, TaskError
from tests.probes.networks import labels, mlp, normal, relative_error, seeded, transformer

X, Y = normal(14, 6), labels(14)
BATCH = Batch(X, Y, 14)
LOSS = nn.CrossEntropyLoss()


def cross_entropy(model, batch):
    """Return the loss of a pair, as a loss that runs the model itself."""
    return functional.cross_entropy(model(batch[0]), batch[1])


def test_both_kinds_of_loss_agree():
    model = mlp()
    plain, own = read_objective(model, LOSS), read_objective(model, cross_entropy)
    assert isinstance(own.loss, ModelLoss)
    assert own.loss.name == "cross_entropy"
    assert torch.equal(plain.value(BATCH), own.value(BATCH))
    assert plain.weight(BATCH) == own.weight(BATCH) == 14
    assert plain.reduction == own.reduction == "mean"
    assert plain.needs_target
    assert not own.needs_target
    assert torch.equal(own.to(torch.float32).model[0].weight, model[0].weight.float())


class _ModelModule(nn.Module):
    """A loss with a tensor of its own."""

    reduction = "sum"

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(1, dtype=torch.float64))

    def forward(self, model, batch):
        return self.scale * cross_entropy(model, batch) * len(batch[1])


def test_what_is_read_as_a_loss_of_the_model():
    summed = read_any_loss(_ModelModule())
    assert isinstance(summed, ModelLoss)
    assert summed.reduction == "sum"
    assert summed.batch_weight(BATCH) == summed.weight(None, Y, 14) == 1
    assert summed.to(torch.float32).function.scale.dtype == torch.float32
    assert summed.function.scale.dtype == torch.float64
    partial = functools.partial(lambda model, batch, scale: scale * cross_entropy(model, batch), scale=2)
    assert isinstance(read_any_loss(partial), ModelLoss)
    for loss in (LOSS, functional.cross_entropy, lambda z, t: z.mean(), lambda model: model, lambda *model: 0, max):
        assert not isinstance(read_any_loss(loss), ModelLoss)
    assert read_any_loss(summed) is summed
    assert read_loss(summed) is summed
    with pytest.raises(TaskError, match="callable"):
        read_any_loss("model")
    none = functools.partial(lambda model, batch, reduction: 0, reduction="none")
    with pytest.raises(TaskError, match="reduction='none'"):
        read_any_loss(none)


def test_weights():
    loss = ModelLoss(cross_entropy, weight=lambda batch: (batch[1] > 0).sum())
    assert loss.batch_weight(BATCH) == int((Y > 0).sum())
    with pytest.raises(TaskError, match="weight without the whole batch"):
        loss.weight(None, Y, 14)
    for wrong in (-1.0, float("nan")):
        with pytest.raises(TaskError, match="finite number"):
            ModelLoss(cross_entropy, weight=lambda batch, wrong=wrong: wrong).batch_weight(BATCH)
    for arguments in ({"weight": 3}, {"reduction": "none"}):
        with pytest.raises(ArgumentError):
            ModelLoss(cross_entropy, **arguments)
    with pytest.raises(ArgumentError, match="callable"):
        ModelLoss("cross_entropy")


def test_a_loss_of_the_model_has_no_outputs():
    objective = read_objective(mlp(), cross_entropy)
    loss = objective.loss
    for act in (
        lambda: objective.outputs(BATCH),
        lambda: objective.functional(["0.weight"], value="outputs")([mlp()[0].weight], BATCH),
        lambda: loss.value(X, Y),
        lambda: loss.sample_values(X, Y),
        lambda: loss.hessian_product(X, Y, X),
        lambda: loss.root_product(X, Y, X),
        lambda: loss.fisher_product(X, Y, X),
    ):
        with pytest.raises(TaskError, match=r"Gauss-Newton and Fisher matrices need loss\(output, target\)"):
            act()
    assert not loss.is_convex
    with pytest.raises(TaskError, match="output= is never called"):
        read_objective(mlp(), cross_entropy, output=lambda z: z)


def test_what_a_loss_of_the_model_may_not_return():
    for function, message in (
        (lambda model, batch: model(batch[0]), r"one number.*shape \(14, 4\)"),
        (lambda model, batch: 3.0, "one number.*float"),
        (lambda model, batch: batch.nothing, "failed on Sequential and a batch of 14 samples, a tuple: AttributeError"),
    ):
        with pytest.raises(TaskError, match=message):
            read_objective(mlp(), function).value(BATCH)
    other = mlp()
    for p in other.parameters():
        p.requires_grad_(False)
    with pytest.raises(DerivativeError, match="use the model that it is given"):
        read_objective(mlp(), lambda model, batch: cross_entropy(other, batch)).value(BATCH)


class _Owning(nn.Module):
    """Computes its own loss, as the models of Hugging Face do."""

    def __init__(self):
        super().__init__()
        self.network = mlp()

    def forward(self, inputs, mask=None, labels=None):
        logits = self.network(inputs)
        loss = None if labels is None else functional.cross_entropy(logits, labels, ignore_index=-100)
        return types.SimpleNamespace(loss=loss, logits=logits)


def test_a_model_that_returns_its_loss():
    model, targets = _Owning(), Y.clone()
    targets[:3] = -100
    data = [collections.UserDict({"inputs": x, "labels": t}) for x, t in zip(X.split(7), targets.split(7), strict=True)]
    weight = lambda batch: float((batch["labels"] != -100).sum())  # noqa: E731
    own = read_objective(model, ModelLoss(lambda model, batch: model(**batch).loss, weight=weight))
    plain = read_objective(model, nn.CrossEntropyLoss())
    for whole, pair in zip(Batches(data, paired=own.needs_target), Batches(data), strict=True):
        assert isinstance(whole.inputs, collections.UserDict)
        assert torch.equal(own.value(whole), plain.value(pair))
        assert torch.equal(own.value(pair), plain.value(pair))
        assert own.weight(whole) == plain.weight(pair)


class _Everything(nn.Module):
    """Tied weights, running statistics in train mode, a frozen layer and outputs in a mapping."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.head = nn.Linear(6, 4)
        self.head.bias.requires_grad_(False)

    def forward(self, x):
        return {"logits": self.head(torch.tanh(self.second(self.norm(self.first(x)))))}


@pytest.mark.parametrize("loss", [LOSS, ModelLoss(lambda model, batch: LOSS(model(batch[0])["logits"], batch[1]))])
def test_pure_function_in_every_mode_of_differentiation(loss):
    model = seeded(_Everything).double().train()
    objective = read_objective(model, loss)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    tensors = [dict(model.named_parameters())[name] for name in names]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = torch.autograd.grad(objective.value(BATCH), tensors, create_graph=True)
    vectors = [normal(*p.shape, seed=i) for i, p in enumerate(tensors)]
    expected = flatten(list(torch.autograd.grad(gradients, tensors, vectors)))
    model.load_state_dict(before)
    function, point = objective.functional(names), [p.detach() for p in tensors]

    def value(point):
        return function(point, BATCH)

    assert torch.equal(value(point), objective.evaluate(BATCH))
    model.load_state_dict(before)
    columns = [torch.stack([v, 2 * v]) for v in vectors]
    reverse = vjp(grad(value), point)[1]
    with forward_mode():
        products = [
            flatten(reverse(vectors)[0]),
            flatten(jvp(grad(value), (point,), (vectors,))[1]),
            flatten([piece[1] / 2 for piece in vmap(reverse)(columns)[0]]),
            flatten([piece[1] / 2 for piece in vmap(lambda v: jvp(grad(value), (point,), (v,))[1])(columns)]),
        ]
        _, tangent = jvp(value, (point,), (vectors,))
    slope = sum(float((g.detach() * v).sum()) for g, v in zip(gradients, vectors, strict=True))
    assert float(tangent) == pytest.approx(slope, rel=1e-12)
    for product in products:
        assert relative_error(product, expected) < 1e-12
    for name, buffer in model.state_dict().items():
        assert torch.equal(buffer, before[name]), name
    assert all(p.grad is None for p in model.parameters())


def test_pure_function_of_other_values():
    model = transformer(tied=True)
    codes, targets = labels(3, 5), labels(3, 5, seed=2)
    batch = Batch(codes, targets, 3)
    objective = Objective(model, read_loss(LOSS))
    name = next(name for name, p in model.named_parameters() if p is model.embedding.weight)
    moved = transformer(tied=True)
    with torch.no_grad():
        moved.embedding.weight.mul_(1.5)
    outputs = objective.functional([name], value="outputs")([1.5 * model.embedding.weight.detach()], batch)
    assert torch.equal(outputs, moved(codes))
    assert not outputs.requires_grad
    alias = objective.functional(["head.weight"])([1.5 * model.embedding.weight.detach()], batch)
    assert torch.equal(alias, Objective(moved, read_loss(LOSS)).evaluate(batch).detach())
    with pytest.raises(ArgumentError, match="no parameter 'nothing'"):
        objective.functional(["nothing"])


def test_pure_function_with_an_output_reader_and_a_mapping():
    model = _Owning()
    objective = read_objective(model, LOSS, output=lambda result: 2 * result.logits)
    names = list(dict(model.named_parameters()))
    batch = Batch({"inputs": X, "mask": None}, Y, 14)
    point = [p.detach() for p in model.parameters()]
    assert torch.equal(objective.functional(names)(point, batch), LOSS(2 * model.network(X), Y).detach())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_copies_in_another_precision(dtype):
    for source in (torch.float64, torch.bfloat16):
        model = transformer(tied=True).to(source)
        copied = Objective(model, read_loss(LOSS)).to(dtype).model
        assert {p.dtype for p in copied.parameters()} == {dtype}
        assert copied.head.weight is copied.embedding.weight
        assert copied.head.weight is not model.head.weight
        assert torch.equal(copied.attention.weight, model.attention.weight.to(dtype))
        assert {p.dtype for p in model.parameters()} == {source}
    with pytest.raises(ArgumentError, match="cast to"):
        Objective(model, read_loss(LOSS)).to(torch.int64)


def test_copies_keep_imaginary_parts_and_graphs_of_the_caller():
    model = nn.Linear(3, 2)
    model.register_buffer("phase", torch.tensor([1j]))
    model.last = model(torch.ones(1, 3))
    objective = Objective(model, read_loss(LOSS))
    assert objective.to(torch.float64).model.phase.is_complex()
    assert objective.double().model.last.dtype == torch.float64
    torch.autograd.grad(model.last.sum(), model.weight)


def test_reading_model_and_parameters_back_and_forth():
    model = mlp()
    names = list(dict(model.named_parameters()))
    flat = flatten(list(model.parameters())).detach()
    function = Objective(model, read_loss(LOSS)).functional(names)

    def value(vector):
        return function(unflatten(vector, list(model.parameters())), BATCH)

    assert grad(value)(flat).shape == flat.shape


def test_wrappers_come_off():
    model = mlp()
    compiled = torch.compile(model, backend="eager")
    for wrapper in (
        compiled,
        nn.DataParallel(model),
        nn.DataParallel(compiled),
        torch.compile(nn.DataParallel(model), backend="eager"),
    ):
        assert unwrapped(wrapper) is model
        assert read_objective(wrapper, LOSS).model is model
    assert unwrapped(model) is model


def test_scripted_modules_are_refused():
    for build in (torch.jit.script, lambda model: torch.jit.trace(model, X)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            scripted = build(mlp())
        with pytest.raises(TaskError, match="TorchScript"):
            read_objective(scripted, LOSS)
        with pytest.raises(TaskError, match="1 is a TorchScript"):
            unwrapped(nn.Sequential(nn.Linear(6, 6), scripted))


@pytest.mark.parametrize("loss", [LOSS, cross_entropy])
def test_a_seed_fixes_the_masks_of_every_evaluation(loss):
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 4))).double().train()
    free = read_objective(model, loss)
    objective = free.seeded(3)
    before = torch.get_rng_state()
    values = [objective.evaluate(BATCH), objective.value(BATCH), objective.to(torch.float64).evaluate(BATCH)]
    assert values[0] == values[1] == values[2]
    assert free.seeded(4).evaluate(BATCH) != values[0]
    assert torch.equal(before, torch.get_rng_state())
    names = list(dict(model.named_parameters()))
    tensors, point = list(model.parameters()), [p.detach() for p in model.parameters()]
    vectors = [normal(3, *p.shape, seed=i) for i, p in enumerate(tensors)]
    gradients = torch.autograd.grad(objective.value(BATCH), tensors, create_graph=True)
    expected = flatten(list(torch.autograd.grad(gradients, tensors, [v[0] for v in vectors])))
    function = objective.functional(names)
    slope = grad(lambda tensors: function(tensors, BATCH))
    with forward_mode():
        found = vmap(lambda v: jvp(slope, (point,), (v,))[1], randomness="same")(vectors)
    assert relative_error(flatten([piece[0] for piece in found]), expected) < 1e-12
    assert relative_error(flatten([p[0] for p in vmap(vjp(slope, point)[1])(vectors)[0]]), expected) < 1e-12
