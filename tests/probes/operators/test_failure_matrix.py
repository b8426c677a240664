"""Any layer, any data: the product is right to 1e-10, or an error names the cause; never silently wrong.

One row for each situation in which a tool for curvature is known to fail or to be wrong. Every row also asserts that
the model and the random states are left as they were found.
"""

import collections
import contextlib
import dataclasses
import random
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from probes import GaussNewtonOperator, HessianOperator
from probes.model_loss import ModelLoss
from probes.state import frozen_randomness
from spectra.errors import (
    DerivativeError,
    NonDeterministicError,
    NonFiniteError,
    NotSymmetricError,
    SpectraError,
    TaskError,
)
from tests.probes.networks import (
    cut,
    dense_gauss_newton,
    dense_hessian,
    labels,
    normal,
    relative_error,
    seeded,
    transformer,
)

X, Y = normal(12, 5), labels(12, num_classes=3)
CODES, NEXT = labels(6, 5, seed=3), labels(6, 5, seed=4)
SIZES = (5, 4, 3)
LOSS = nn.CrossEntropyLoss()
BATCHES = cut(X, Y, SIZES)

#: Rounding of a product in float64: the reference itself is good to about 1e-14.
EXACT = 1e-10
#: Rounding of a product in float32, a hundred units in the last place.
SINGLE = 1e-5

#: More than go through a graph at once, so that every way to a block is taken.
NUM_COLUMNS = 10

Errors = tuple[type[SpectraError], ...]


@dataclasses.dataclass(frozen=True)
class Refused:
    """The operator cannot be had, and the message says why."""

    errors: Errors | type[SpectraError]
    match: str


@dataclasses.dataclass(frozen=True)
class Right:
    """The product is right; or, with ``otherwise``, it may be refused with a named cause instead."""

    tolerance: float = EXACT
    otherwise: Refused | None = None


RIGHT = Right()


@dataclasses.dataclass(frozen=True)
class Case:
    """A situation, and what is expected of each matrix in it.

    ``reference`` builds an equal network with the same parameters from layers that PyTorch differentiates rightly;
    without it the network is its own reference. ``whole`` is all data as one batch; without ``data`` it comes in three.
    """

    name: str
    build: Callable[[], nn.Module]
    hessian: Right | Refused = RIGHT
    gauss_newton: Right | Refused = RIGHT
    data: Any = None
    whole: tuple[Any, Any] = (X, Y)
    loss: Any = LOSS
    reference: Callable[[], nn.Module] | None = None
    reference_loss: Any = None
    output: Callable[[Any], torch.Tensor] | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    warns: str = ""


class Call(nn.Module):
    """A module from a function, with modules that the function may use."""

    def __init__(self, function, *modules):
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(*self.parts, *args, **kwargs)


def net(*build, features=6):
    """Return a builder: 5 inputs, 6 units, the given layers, 3 outputs; float64, eval mode, seeded."""

    def made():
        layers = [layer() if isinstance(layer, type | types.FunctionType) else layer for layer in build]
        return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), *layers, nn.Linear(features, 3))

    return lambda: seeded(made).double().eval()


def apply(function, *build):
    """Return a builder of one layer that calls ``function(*modules, x)``."""
    return lambda: Call(function, *(layer() for layer in build))


def training(build):
    return lambda: build().train()


def built(function):
    """Return a builder of a float64 network in eval mode."""
    return lambda: seeded(function).double().eval()


# ------------------------------------------------------------------------------------------------------ layers


def sequence(layer):
    """Run a recurrent layer over the units, three steps of two."""
    return apply(lambda inner, x: inner(x.unflatten(1, (3, 2)))[0].flatten(1), layer)


def attend(inner, x):
    x = x.unflatten(1, (3, 2))
    return inner(x, x, x)[0].flatten(1)


def attend_masked(inner, x):
    x = x.unflatten(1, (3, 2))
    hidden = torch.tensor([False, False, True]).expand(len(x), 3)
    return inner(x, x, x, key_padding_mask=hidden, need_weights=False)[0].flatten(1)


def encode(inner, x):
    return inner(x.unflatten(1, (3, 2))).flatten(1)


def mix(x, **options):
    """Attend with the fused function, at its default kernel."""
    parts = x.unflatten(1, (1, 3, 2))
    return functional.scaled_dot_product_attention(parts, 2 * parts, parts, **options).flatten(1)


class WeightNormReference(nn.Module):
    """What ``weight_norm`` computes, with its parameters in its order."""

    def __init__(self):
        super().__init__()
        layer = nn.Linear(6, 6)
        self.bias = nn.Parameter(layer.bias.detach())
        for name in ("g", "v"):
            value = layer.weight.norm(dim=1, keepdim=True) if name == "g" else layer.weight
            setattr(self, name, nn.Parameter(value.detach().clone()))

    def forward(self, x):
        return functional.linear(x, self.g * self.v / self.v.norm(dim=1, keepdim=True), self.bias)


def old_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


class Distances(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.centers = nn.Parameter(torch.randn(6, 6))
        self.function = function

    def forward(self, x):
        return self.function(x, self.centers)


def by_hand(x, centers):
    return (x[:, None] - centers).square().sum(-1).sqrt()


class Bag(nn.Module):
    def __init__(self, *, fused, sparse=False):
        super().__init__()
        kind = nn.EmbeddingBag if fused else nn.Embedding
        self.embedding, self.head, self.fused = kind(4, 5, sparse=sparse), nn.Linear(5, 4), fused

    def forward(self, codes):
        hidden = self.embedding(codes)
        return self.head(torch.tanh(hidden if self.fused else hidden.mean(1)))


def checkpointed(*, reentrant, wrapped=True):
    def run(inner, x):
        return checkpoint(inner, x, use_reentrant=reentrant) if wrapped else inner(x)

    return apply(run, lambda: nn.Sequential(nn.Linear(6, 6), nn.Tanh()))


def gate(x):
    with torch.no_grad():
        factor = torch.sigmoid(x)
    return factor * x


def branch(x):
    return x.square() if x.sum().item() > -1e9 else x


def fill(x):
    filled = x.new_zeros(x.shape)
    filled[:, :3] = x[:, 3:] ** 2
    filled[:, 3:] = x[:, :3]
    return filled


class Cube(torch.autograd.Function):
    """The cube, in the form that ``torch.func`` needs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        return 3 * ctx.saved_tensors[0] ** 2 * gradient

    @staticmethod
    def jvp(ctx, tangent):
        return 3 * ctx.saved_tensors[0] ** 2 * tangent


class OldCube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


class OnceCube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


def cube(x):
    return x**3


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Linear(5, 3), nn.Linear(5, 2)

    def forward(self, x):
        return torch.tanh(self.used(x))


def frozen():
    model = net(lambda: nn.Linear(6, 6), nn.Tanh)()
    model[2].requires_grad_(False)
    return model


def two_inputs(inner, x, z):
    return inner(x) * (1 + z)


def keywords(inner, *, x, z):
    return inner(x) * (1 + z)


class OneMapping(nn.Module):
    """Takes a mapping as one argument, and uses it as one and by its attributes."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(5, 3), nn.Tanh())

    def forward(self, batch):
        return self.inner(batch.x) * (1 + batch["z"])


class Encoding(collections.UserDict):
    """A mapping with attributes, as tokenizers return."""

    def __getattr__(self, name):
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None


Z = normal(12, 3, seed=5)


def parts(kind):
    """Cut inputs (x, z) of a kind and targets into batches."""
    return [(kind(x, z), y) for x, z, y in zip(X.split(SIZES), Z.split(SIZES), Y.split(SIZES), strict=True)]


@dataclasses.dataclass
class Record:
    x: torch.Tensor
    z: torch.Tensor
    target: torch.Tensor


def pair_inputs(inner):
    return built(lambda: Call(inner, nn.Sequential(nn.Linear(5, 3), nn.Tanh())))


# ------------------------------------------------------------------------------------------------ whole losses

POINTS = normal(9, 1, seed=6)


def field():
    return seeded(lambda: nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))).double()


def residual(model, points):
    """Return the mean square of u'' + u - 1, differentiating the network by its inputs."""
    points = points.detach().requires_grad_()
    u = model(points)
    (first,) = torch.autograd.grad(u.sum(), points, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), points, create_graph=True)
    return (second + u - 1).square().mean()


def unfinished(model, points):
    """Fail as PyTorch does where the derivative of a derivative is missing."""
    raise NotImplementedError("derivative for aten::residual_backward is not implemented")


class Residual(nn.Module):
    """The same network, which returns u'' + u, its derivatives worked out by hand: tanh'' = -2 tanh (1 - tanh^2)."""

    def __init__(self):
        super().__init__()
        for name, p in field().named_children():
            self.add_module(name, p)

    def forward(self, points):
        hidden, head = self.get_submodule("0"), self.get_submodule("2")
        t = torch.tanh(hidden(points))
        curved = -2 * t * (1 - t.square()) * hidden.weight[:, 0].square()
        return functional.linear(curved, head.weight) + head(t)


def contrast(model, views):
    """Return the contrastive loss of pairs of views, in which all samples of the batch meet."""
    first, second = (functional.normalize(model(view), dim=1) for view in views)
    return functional.cross_entropy(first @ second.T / 0.5, torch.arange(len(first)))


class Contrast(nn.Module):
    """The similarities as outputs, so that a plain loss follows."""

    def __init__(self):
        super().__init__()
        for name, p in net()().named_children():
            self.add_module(name, p)

    def forward(self, x):
        inner = nn.Sequential(*self.children())
        first, second = (functional.normalize(inner(view), dim=1) for view in (x, x + 0.1))
        return first @ second.T / 0.5


class Owner(nn.Module):
    """Returns its own loss, a mean over the targets that count."""

    def __init__(self):
        super().__init__()
        self.inner = net()()

    def forward(self, inputs, labels=None):
        logits = self.inner(inputs)
        loss = None if labels is None else functional.cross_entropy(logits, labels, ignore_index=-100)
        return types.SimpleNamespace(loss=loss, logits=logits)


PARTLY = torch.where(torch.arange(12) < 3, -100, Y)
OWN_LOSS = ModelLoss(lambda model, batch: model(**batch).loss, weight=lambda b: float((b["labels"] != -100).sum()))
NO_OUTPUTS = Refused(TaskError, r"need loss\(output, target\)")


def transcribed(log_probabilities, target):
    lengths = torch.full((len(target),), 3)
    return functional.ctc_loss(log_probabilities.transpose(0, 1), target, lengths, torch.ones_like(lengths))


def spoken(x):
    return functional.log_softmax(x.unflatten(1, (3, 2)), -1)


# --------------------------------------------------------------------------------------------------- the table


#: In train mode the power iteration of ``spectral_norm`` runs on; its fifteen first rounds had come this close.
CONVERGED = 1e-6
FROZEN_ITERATION = Refused(DerivativeError, r"spectral_norm in train mode.*model\.eval\(\)")


def wrong_derivative(match):
    return Refused((DerivativeError, NotSymmetricError), match)


def either(match):
    return Right(otherwise=wrong_derivative(match))


def both(expected):
    return {"hessian": expected, "gauss_newton": expected}


def broken():
    inputs = X.clone()
    inputs[1, 2] = torch.nan
    return cut(inputs, Y, SIZES)


def masked(seed, sizes):
    """Return the layer that dropout is, where batch j of the given sizes is drawn with ``seed + j``."""
    masks = []
    for index, size in enumerate(sizes):
        with frozen_randomness(seed + index):
            masks.append(functional.dropout(torch.ones(size, 6, dtype=torch.float64), 0.5))
    return apply(lambda x: x * torch.cat(masks))


def mixed(inner, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return inner(x).to(x.dtype)


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(net()())


def partly_compiled():
    model = net(lambda: nn.Linear(6, 6))()
    model[2] = torch.compile(model[2], backend="eager")
    model[0].compile(backend="eager")
    return model


CASES = [
    Case("plain", net(nn.ReLU)),
    Case("frozen layer", frozen),
    Case("layer norm", net(lambda: nn.LayerNorm(6))),
    Case("layer norm without affine", net(lambda: nn.LayerNorm(6, elementwise_affine=False))),
    Case("rms norm", net(lambda: nn.RMSNorm(6))),
    Case("group norm", net(lambda: nn.GroupNorm(2, 6))),
    Case(
        "instance norm",
        net(apply(lambda norm, x: norm(x.unflatten(1, (2, 3))).flatten(1), lambda: nn.InstanceNorm1d(2, affine=True))),
    ),
    Case("local response norm", net(apply(lambda x: nn.LocalResponseNorm(2)(x[:, :, None]).flatten(1)))),
    Case("batch norm, eval mode", net(lambda: nn.BatchNorm1d(6))),
    Case(
        "batch norm, train mode, one batch",
        training(net(lambda: nn.BatchNorm1d(6))),
        data=(X, Y),
        reference=net(lambda: nn.BatchNorm1d(6, track_running_stats=False)),
    ),
    Case("batch norm without statistics", net(lambda: nn.BatchNorm1d(6, track_running_stats=False)), data=(X, Y)),
    Case(
        "batch norm, train mode, several batches",
        training(net(lambda: nn.BatchNorm1d(6))),
        **both(Refused(TaskError, r"batch normalization.*model\.eval\(\)")),
    ),
    Case("prelu, glu", net(nn.PReLU, nn.GLU, features=3)),
    Case("in-place relu", net(lambda: nn.Linear(6, 6), lambda: nn.ReLU(inplace=True))),
    Case("standardized by hand", net(apply(lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)))),
    Case("convolution", net(apply(lambda c, x: c(x[:, None]).flatten(1), lambda: nn.Conv1d(1, 1, 3, padding=1)))),
    Case("fused attention", transformer, data=(CODES, NEXT), whole=(CODES, NEXT)),
    Case("tied weights", lambda: transformer(tied=True), data=cut(CODES, NEXT, (3, 2, 1)), whole=(CODES, NEXT)),
    Case("fused attention, default kernel", net(apply(mix))),
    Case("masked attention", net(apply(lambda x: mix(x, attn_mask=torch.tensor([[True, True, False]] * 3))))),
    Case("causal attention", net(apply(lambda x: mix(x, is_causal=True)))),
    Case("multi-head attention", net(apply(attend, lambda: nn.MultiheadAttention(2, 1, batch_first=True)))),
    Case("padded attention", net(apply(attend_masked, lambda: nn.MultiheadAttention(2, 1, batch_first=True)))),
    Case(
        "encoder layer, eval mode",
        net(apply(encode, lambda: nn.TransformerEncoderLayer(2, 1, dim_feedforward=3, batch_first=True))),
    ),
    Case("lstm", net(sequence(lambda: nn.LSTM(2, 2, batch_first=True)))),
    Case("gru", net(sequence(lambda: nn.GRU(2, 2, batch_first=True)))),
    Case("rnn", net(sequence(lambda: nn.RNN(2, 2, batch_first=True)))),
    Case(
        "embedding", built(lambda: Bag(fused=False)), data=cut(CODES, NEXT[:, 0], (3, 2, 1)), whole=(CODES, NEXT[:, 0])
    ),
    Case(
        "embedding bag",
        built(lambda: Bag(fused=True)),
        **both(either("EmbeddingBag")),
        data=cut(CODES, NEXT[:, 0], (3, 2, 1)),
        whole=(CODES, NEXT[:, 0]),
        reference=built(lambda: Bag(fused=False)),
    ),
    Case(
        "sparse embedding",
        built(lambda: Bag(fused=False, sparse=True)),
        data=cut(CODES, NEXT[:, 0], (3, 2, 1)),
        whole=(CODES, NEXT[:, 0]),
        reference=built(lambda: Bag(fused=False)),
    ),
    Case(
        "embedding with max_norm",
        built(lambda: nn.Sequential(nn.Embedding(4, 6, max_norm=0.5), nn.Flatten(), nn.Linear(30, 4))),
        **both(Refused(TaskError, "max_norm")),
        data=(CODES, NEXT[:, 0]),
    ),
    Case(
        "distances",
        net(lambda: Distances(torch.cdist), features=6),
        **both(either("cdist")),
        reference=net(lambda: Distances(by_hand)),
    ),
    Case(
        "weight norm",
        net(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))),
        **both(either("weight_norm on 2")),
        reference=net(WeightNormReference),
    ),
    Case(
        "weight norm, old hook",
        net(lambda: old_weight_norm(nn.Linear(6, 6))),
        **both(either("weight_norm on 2")),
        reference=net(WeightNormReference),
    ),
    Case("orthogonal weights", net(lambda: nn.utils.parametrizations.orthogonal(nn.Linear(6, 6)))),
    Case("spectral norm, eval mode", net(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)))),
    Case(
        "spectral norm, train mode",
        training(net(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)))),
        hessian=FROZEN_ITERATION,
        gauss_newton=Right(CONVERGED, otherwise=FROZEN_ITERATION),
        reference=net(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))),
    ),
    Case(
        "checkpointing",
        net(checkpointed(reentrant=False)),
        reference=net(checkpointed(reentrant=False, wrapped=False)),
    ),
    Case(
        "reentrant checkpointing",
        net(checkpointed(reentrant=True)),
        **both(Refused(DerivativeError, "use_reentrant=False")),
    ),
    Case("branch on a number", net(apply(branch)), reference=net(apply(torch.square))),
    Case("buffer filled slice by slice", net(apply(fill))),
    Case("custom function", net(apply(Cube.apply)), reference=net(apply(cube))),
    Case("custom function of the old style", net(apply(OldCube.apply)), reference=net(apply(cube))),
    Case(
        "once differentiable function",
        net(apply(OnceCube.apply)),
        hessian=wrong_derivative("OnceCube|once_differentiable"),
        gauss_newton=either("OnceCube|once_differentiable"),
        reference=net(apply(cube)),
    ),
    Case("gradient stopped by no_grad", net(apply(gate)), **both(Refused(DerivativeError, r"torch\.no_grad\(\)"))),
    Case("gradient stopped on purpose", net(apply(gate)), options={"check": False}),
    Case(
        "gradient stopped by detach",
        net(apply(lambda x: x * x.detach())),
        **both(Refused(DerivativeError, r"detach\(\).*check=False")),
    ),
    Case("unused parameter", built(Unused), warns="does not depend on 2 of 4 parameters: spare.weight, spare.bias"),
    Case(
        "outputs in a mapping",
        built(lambda: Call(lambda inner, x: {"logits": inner(x), "hidden": x}, nn.Linear(5, 3))),
        reference=built(lambda: Call(lambda inner, x: inner(x), nn.Linear(5, 3))),
    ),
    Case(
        "outputs in a tuple",
        built(lambda: Call(lambda inner, x: (x, torch.tanh(inner(x))), nn.Linear(5, 3))),
        output=lambda result: result[1],
    ),
    Case("two inputs", pair_inputs(two_inputs), data=parts(lambda x, z: (x, z)), whole=((X, Z), Y)),
    Case(
        "inputs by keyword",
        pair_inputs(keywords),
        data=parts(lambda x, z: {"x": x, "z": z}),
        whole=((X, Z), Y),
        reference=pair_inputs(two_inputs),
    ),
    Case(
        "inputs in one mapping",
        built(OneMapping),
        data=parts(lambda x, z: Encoding(x=x, z=z)),
        whole=((X, Z), Y),
        reference=pair_inputs(two_inputs),
    ),
    Case(
        "batches that are mappings",
        pair_inputs(keywords),
        data=[collections.UserDict(x=x, z=z, labels=y) for (x, z), y in parts(lambda x, z: (x, z))],
        whole=((X, Z), Y),
        reference=pair_inputs(two_inputs),
    ),
    Case(
        "batches that are dataclasses",
        pair_inputs(keywords),
        data=[Record(x, z, y) for (x, z), y in parts(lambda x, z: (x, z))],
        whole=((X, Z), Y),
        reference=pair_inputs(two_inputs),
    ),
    Case("loader with a ragged last batch", net(), data=DataLoader(TensorDataset(X, Y), batch_size=5)),
    Case(
        "shuffling loader",
        net(),
        **both(Refused(NonDeterministicError, "shuffle=True")),
        data=DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True),
    ),
    Case("nan in the data", net(), **both(Refused(NonFiniteError, "inputs contain 1 values")), data=broken()),
    Case("sum over several batches", net(), loss=nn.CrossEntropyLoss(reduction="sum")),
    Case(
        "ignored and weighted targets",
        net(),
        data=cut(X, PARTLY, SIZES),
        whole=(X, PARTLY),
        loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]).double(), label_smoothing=0.1),
    ),
    *(
        Case(f"{type(loss).__name__}", net(), data=cut(X, Z, SIZES), whole=(X, Z), loss=loss)
        for loss in (nn.MSELoss(), nn.HuberLoss(delta=0.7), nn.SmoothL1Loss(beta=0.7))
    ),
    Case(
        "BCEWithLogitsLoss",
        net(),
        data=cut(X, (Z > 0).double(), SIZES),
        whole=(X, (Z > 0).double()),
        loss=nn.BCEWithLogitsLoss(),
    ),
    Case(
        "transcription loss",
        built(lambda: Call(lambda inner, x: spoken(inner(x)), nn.Linear(5, 6))),
        **both(Refused(DerivativeError, "CTC loss has no second derivative")),
        data=(X, torch.ones(12, 1, dtype=torch.int64)),
        loss=transcribed,
    ),
    Case(
        "multi-class margin loss",
        net(),
        **both(Refused(DerivativeError, "multi_margin_loss has no second derivative")),
        loss=nn.MultiMarginLoss(p=2),
    ),
    Case(
        "dropout, train mode",
        training(net(lambda: nn.Dropout(0.5))),
        **both(Refused(NonDeterministicError, r"dropout.*model\.eval\(\).*dropout_seed=")),
    ),
    Case(
        "dropout inside attention, train mode",
        training(net(apply(attend, lambda: nn.MultiheadAttention(2, 1, dropout=0.5, batch_first=True)))),
        **both(Refused(NonDeterministicError, r"dropout.*MultiheadAttention in train mode")),
    ),
    Case(
        "dropout inside a recurrent layer, train mode",
        training(net(sequence(lambda: nn.GRU(2, 2, num_layers=2, dropout=0.5, batch_first=True)))),
        **both(Refused(NonDeterministicError, r"dropout.*GRU in train mode")),
    ),
    Case(
        "random slopes, train mode",
        training(net(nn.RReLU)),
        **both(Refused(NonDeterministicError, "RReLU in train mode")),
    ),
    Case(
        "dropout with a seed",
        training(net(lambda: nn.Dropout(0.5))),
        data=(X, Y),
        reference=net(masked(7, [12])),
        options={"dropout_seed": 7},
    ),
    Case(
        "dropout with a seed, several batches",
        training(net(lambda: nn.Dropout(0.5))),
        reference=net(masked(7, SIZES)),
        options={"dropout_seed": 7},
    ),
    Case(
        "noise of the model's own",
        net(apply(lambda x: x + 0.1 * torch.randn_like(x))),
        **both(Refused(NonDeterministicError, "draws random numbers")),
    ),
    Case(
        "autocast inside the model",
        lambda: net(apply(mixed, lambda: nn.Linear(6, 6)))().float(),
        **both(Right(SINGLE)),
        data=[(x.float(), y) for x, y in BATCHES],
        whole=(X.float().double(), Y),
        reference=lambda: net(apply(lambda inner, x: inner(x), lambda: nn.Linear(6, 6)))().float().double(),
    ),
    Case(
        "parameters in bfloat16",
        lambda: net(nn.ReLU)().bfloat16(),
        **both(Right(SINGLE)),
        data=[(x.bfloat16(), y) for x, y in BATCHES],
        whole=(X.bfloat16().double(), Y),
        reference=lambda: net(nn.ReLU)().bfloat16().double(),
    ),
    Case(
        "float64 products of a float32 model",
        lambda: net(nn.Tanh)().float(),
        data=[(x.float(), y) for x, y in BATCHES],
        whole=(X.float().double(), Y),
        reference=lambda: net(nn.Tanh)().float().double(),
        options={"dtype": torch.float64},
    ),
    Case("compiled", lambda: torch.compile(net()(), backend="eager"), reference=net()),
    Case("partly compiled", partly_compiled, reference=net(lambda: nn.Linear(6, 6))),
    Case("data parallel", lambda: nn.DataParallel(net()()), reference=net()),
    Case("scripted", scripted, **both(Refused(TaskError, "TorchScript"))),
    Case("without values", lambda: net()().to("meta"), **both(Refused(TaskError, "no values"))),
    Case(
        "lazy",
        lambda: nn.Sequential(nn.LazyLinear(3).double()),
        **both(Refused(TaskError, "lazy")),
    ),
    Case(
        "physics-informed loss",
        field,
        gauss_newton=NO_OUTPUTS,
        data=POINTS,
        whole=(POINTS, torch.ones(9, 1).double()),
        loss=ModelLoss(residual),
        reference=Residual,
        reference_loss=nn.MSELoss(),
    ),
    Case(
        "physics-informed loss, several batches, read by its first parameter",
        field,
        gauss_newton=NO_OUTPUTS,
        data=list(POINTS.split([4, 3, 2])),
        whole=(POINTS, torch.ones(9, 1).double()),
        loss=residual,
        reference=Residual,
        reference_loss=nn.MSELoss(),
    ),
    Case(
        "physics-informed loss without a third derivative",
        field,
        **both(Refused(DerivativeError, "could not be differentiated.*no second derivative in PyTorch")),
        data=POINTS,
        loss=ModelLoss(unfinished),
    ),
    Case(
        "contrastive loss",
        net(),
        gauss_newton=NO_OUTPUTS,
        data=(X, X + 0.1),
        whole=(X, torch.arange(12)),
        loss=ModelLoss(contrast),
        reference=Contrast,
        reference_loss=LOSS,
    ),
    Case(
        "model that returns its loss",
        Owner,
        gauss_newton=NO_OUTPUTS,
        data=[{"inputs": x, "labels": y} for x, y in cut(X, PARTLY, SIZES)],
        whole=(X, PARTLY),
        loss=OWN_LOSS,
        reference=Owner,
        reference_loss=LOSS,
        output=None,
    ),
]


@contextlib.contextmanager
def left_alone(model):
    """Assert that the model, its gradients and the random states are as before, whatever happens inside."""
    for p in model.parameters():
        if p.requires_grad and not p.is_meta and not nn.parameter.is_lazy(p):
            p.grad = torch.full_like(p, 3.0)

    def state():
        tensors = [*model.named_parameters(), *model.named_buffers()]
        return {
            "identities": [(name, id(tensor)) for name, tensor in tensors],
            "flags": [module.training for module in model.modules()],
            "trainable": [(name, p.requires_grad, id(p.grad)) for name, p in model.named_parameters()],
            "numpy": repr(np.random.get_state()),  # noqa: NPY002
            "python": random.getstate(),
            "torch": torch.get_rng_state().tolist(),
            "modes": (torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled()),
            "values": [
                (tensor.detach().tolist(), None if tensor.grad is None else tensor.grad.tolist())
                for _, tensor in tensors
                if not tensor.is_meta and not nn.parameter.is_lazy(tensor)
            ],
        }

    before = state()
    try:
        yield
    finally:
        after = state()
        for key, value in before.items():
            assert after[key] == value, key


def products_of(case, kind, model, tolerance=EXACT):
    """Return random columns and their products, by blocks, after seeing that a single product agrees with them."""
    operator = kind(model, case.loss, BATCHES if case.data is None else case.data, output=case.output, **case.options)
    columns = normal(operator.shape[0], NUM_COLUMNS).to(operator.dtype)
    found = operator @ columns
    assert relative_error(operator @ columns[:, -1], found[:, -1]) <= tolerance
    return columns.double(), found.double()


def expected_matrix(case, kind):
    """Return the matrix of a reference network, densely and from all data in one batch."""
    model = (case.reference or case.build)()
    dense = dense_hessian if kind is HessianOperator else dense_gauss_newton
    read = case.output or (lambda result: getattr(result, "logits", result))
    return dense(model, case.reference_loss or case.loss, *case.whole, output=read)


@pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator], ids=lambda kind: kind.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_right_or_refused(case, kind):
    expectation = case.hessian if kind is HessianOperator else case.gauss_newton
    tolerance = EXACT if isinstance(expectation, Refused) else expectation.tolerance
    refusal = expectation if isinstance(expectation, Refused) else expectation.otherwise
    model = case.build()
    try:
        with left_alone(model), pytest.warns(UserWarning, match=case.warns) if case.warns else contextlib.nullcontext():
            columns, found = products_of(case, kind, model, tolerance)
    except SpectraError as error:
        if refusal is None:
            raise
        with pytest.raises(refusal.errors, match=refusal.match):
            raise error
    else:
        assert not isinstance(expectation, Refused), "nothing was raised"
        assert relative_error(found, expected_matrix(case, kind) @ columns) <= tolerance


def test_loss_and_gradient_have_the_masks_of_the_products():
    operator = HessianOperator(training(net(lambda: nn.Dropout(0.5)))(), LOSS, BATCHES, dropout_seed=7)
    model = net(masked(7, SIZES))()
    value = LOSS(model(X), Y)
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, list(model.parameters()))])
    assert float(operator.loss()) == pytest.approx(float(value.detach()), rel=1e-12)
    assert relative_error(operator.gradient(), gradient) <= EXACT


@pytest.fixture
def process_group():
    """Provide a group of this process alone."""
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("PyTorch was built without gloo")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield distributed
    distributed.destroy_process_group()


@pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator], ids=lambda kind: kind.name)
def test_distributed_data_parallel(kind, process_group):
    model = nn.parallel.DistributedDataParallel(net()())
    case = Case("distributed data parallel", net())
    with left_alone(model):
        columns, found = products_of(case, kind, model)
    assert relative_error(found, expected_matrix(case, kind) @ columns) <= EXACT


@pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator], ids=lambda kind: kind.name)
def test_fully_sharded(kind, process_group):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        model = fully_shard(net()(), mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(TaskError, match=r"under FSDP.*full_tensor\(\)"):
        kind(model, LOSS, BATCHES)
