"""The tangent kernel as a matrix: three ways to it, against the dense Jacobian, closed forms and the wide limit."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev
from torch.nn import functional
from torch.nn.utils import parametrizations

import probes
from probes.operators import GaussNewtonOperator
from probes.operators.tangent import choice, routes
from probes.operators.tangent.contraction import JacobianRows
from probes.state import differentiable
from probes.tangent_kernel import EmpiricalNTK, empirical_ntk
from spectra.errors import ArgumentError, NonDeterministicError, NonFiniteError, ShapeError, TaskError
from spectra.kernels.dot_product import NeuralTangent
from spectra.kernels.gram import gram_spectrum
from spectra.kernels.gram_input import as_gram
from tests.probes.networks import cnn, labels, mlp, normal, relative_error, seeded, transformer

METHODS = ("structured", "contraction", "matrix_free")
OUTPUTS = ("trace", "sum", "full")
#: All ways agree to rounding; measured 2e-15 at most.
AGREEMENT = 1e-12


class Positions(nn.Module):
    """A network on tokens whose outputs have a class and a position."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).transpose(1, 2)


class Residual(nn.Module):
    """In-place activation and in-place sum around a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu_(self.first(x))
        y = self.second(x.clone())
        y += x
        return self.last(torch.tanh(y))


class Folded(nn.Module):
    """A layer that sees samples and tokens on one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5, 4), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(x.reshape(-1, 5))).reshape(len(x), -1))


def sequential(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).double()


def randomized_norms(model: nn.Module) -> nn.Module:
    """Give affine norms and running statistics values that are not 0 and 1."""
    for module in model.modules():
        if hasattr(module, "running_mean") and module.running_mean is not None:
            module.running_mean.copy_(normal(*module.running_mean.shape, seed=5))
            module.running_var.copy_(normal(*module.running_var.shape, seed=6).exp())
        if "Norm" in type(module).__name__:
            for p in module.parameters():
                nn.init.normal_(p)
    return model.eval()


def conv(axes: int, **options: object) -> nn.Module:
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    return sequential(kind(4, 6, 3, **options), nn.Tanh(), nn.Flatten(), nn.LazyLinear(2))


IMAGES = normal(6, 4, 7, 6)
CASES = {
    "mlp": (lambda: mlp(nn.Tanh), normal(9, 6)),
    "linear without bias": (lambda: sequential(nn.Linear(6, 3, bias=False)), normal(9, 6)),
    "one output": (lambda: sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1)), normal(9, 6)),
    "flat output": (lambda: sequential(nn.Linear(6, 1), nn.Flatten(0)), normal(9, 6)),
    "cnn": (cnn, normal(8, 1, 4, 4)),
    "transformer": (transformer, labels(8, 5)),
    "many tokens, narrow": (lambda: Positions(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)).double(), normal(5, 20, 2)),
    "few tokens, wide": (lambda: Positions(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 2)).double(), normal(5, 2, 12)),
    "padded embedding": (
        lambda: sequential(nn.Embedding(5, 3, padding_idx=2), nn.Flatten(), nn.Linear(12, 2)),
        labels(9, 4, num_classes=5),
    ),
    "embedding of many tokens": (
        lambda: sequential(nn.Embedding(3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(40, 2)),
        labels(7, 20, num_classes=3),
    ),
    "sparse embedding": (
        lambda: sequential(nn.Embedding(9, 3, sparse=True), nn.Flatten(), nn.Linear(12, 2)),
        labels(6, 4, num_classes=9),
    ),
    "layer norm": (lambda: randomized_norms(sequential(nn.LayerNorm(6), nn.Linear(6, 3))), normal(9, 6)),
    "layer norm over two axes": (
        lambda: randomized_norms(sequential(nn.LayerNorm((3, 6)), nn.Tanh(), nn.Flatten(), nn.Linear(18, 2))),
        normal(6, 3, 6),
    ),
    "rms norm": (lambda: randomized_norms(sequential(nn.RMSNorm(6), nn.Linear(6, 3))), normal(9, 6)),
    "batch norm": (
        lambda: randomized_norms(sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))),
        normal(9, 6),
    ),
    "batch norm of images": (
        lambda: randomized_norms(
            sequential(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(60, 2))
        ),
        IMAGES,
    ),
    "group norm": (
        lambda: randomized_norms(sequential(nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(168, 2))),
        IMAGES,
    ),
    "instance norm": (
        lambda: randomized_norms(
            sequential(nn.InstanceNorm2d(4, affine=True), nn.Tanh(), nn.Flatten(), nn.Linear(168, 2))
        ),
        IMAGES,
    ),
    "bias only norm": (
        lambda: randomized_norms(sequential(nn.Linear(6, 4), nn.LayerNorm(4, bias=False), nn.Linear(4, 2))),
        normal(7, 6),
    ),
    "convolution in 1 d": (lambda: conv(1, padding=1), normal(6, 4, 9)),
    "convolution in 3 d": (lambda: conv(3, stride=(1, 2, 1), padding=1), normal(4, 4, 3, 4, 3)),
    "strided": (lambda: conv(2, stride=(2, 1), padding=(1, 0)), IMAGES),
    "dilated": (lambda: conv(2, dilation=(2, 1), bias=False), IMAGES),
    "grouped": (lambda: conv(2, groups=2), IMAGES),
    "depthwise": (lambda: sequential(nn.Conv2d(4, 8, 3, groups=4), nn.ReLU(), nn.Flatten(), nn.Linear(160, 2)), IMAGES),
    "padded same": (lambda: conv(2, padding="same", dilation=2), IMAGES),
    "padded circularly": (lambda: conv(2, padding=(1, 2), padding_mode="circular", groups=2), IMAGES),
    "padded by reflection": (lambda: conv(2, padding=2, padding_mode="reflect", stride=2), IMAGES),
    "padded by replication": (lambda: conv(2, padding=1, padding_mode="replicate"), IMAGES),
    "in place": (lambda: Residual().double(), normal(8, 6)),
    "samples and tokens on one axis": (lambda: Folded().double(), normal(8, 3, 5)),
}


def case(name: str) -> tuple[nn.Module, torch.Tensor]:
    build, inputs = CASES[name]

    def built() -> nn.Module:
        model = build()
        with torch.no_grad():
            model(inputs[:1])
        return model.eval()

    return seeded(built), inputs


def dense_jacobian(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return the Jacobian, (n, o, P), of the trainable parameters by PyTorch's own means."""
    named = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    with differentiable(model), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")
        found = jacrev(lambda p: functional_call(model, p, (inputs,)))(named)
    return torch.cat([found[name].reshape(len(inputs), -1, p.numel()) for name, p in named.items()], dim=2)


def reduced(left: torch.Tensor, right: torch.Tensor, outputs: str) -> torch.Tensor:
    full = torch.einsum("ikp,jlp->ikjl", left, right)
    o = full.shape[1]
    if outputs == "full":
        return full.reshape(len(left) * o, -1)
    return torch.einsum("ikjk->ij", full) / o if outputs == "trace" else full.sum((1, 3)) / o


@pytest.mark.parametrize("name", CASES)
def test_ways_agree(name):
    model, inputs = case(name)
    jacobian = dense_jacobian(model, inputs)
    for method, outputs in itertools.product(METHODS, OUTPUTS):
        found = empirical_ntk(model, inputs, method=method, outputs=outputs)
        assert relative_error(found.kernel, reduced(jacobian, jacobian, outputs)) <= AGREEMENT
        assert found.method == method
        assert (found.num_samples, found.num_outputs) == jacobian.shape[:2]
        assert found.num_parameters == jacobian.shape[2]
        assert torch.equal(found.kernel, found.kernel.T)
        as_gram(found.kernel)
    auto = empirical_ntk(model, inputs)
    assert auto.method in ("structured", "contraction")
    assert relative_error(auto.kernel, reduced(jacobian, jacobian, "trace")) <= AGREEMENT


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "embedding of many tokens", "batch norm"])
def test_other_data(name):
    model, inputs = case(name)
    left, right = dense_jacobian(model, inputs), dense_jacobian(model, inputs[:3])
    for method, outputs in itertools.product(METHODS, OUTPUTS):
        found = empirical_ntk(model, inputs, other=inputs[:3], method=method, outputs=outputs)
        assert relative_error(found.kernel, reduced(left, right, outputs)) <= AGREEMENT
        assert found.num_others == 3


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "many tokens, narrow", "few tokens, wide", "grouped"])
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_small_blocks_give_the_same(name, outputs):
    model, inputs = case(name)
    jacobian = dense_jacobian(model, inputs)
    expected = reduced(jacobian, jacobian, outputs)
    for budget, micro_batch in ((1 << 30, 2), (30_000, None), (3_000, 3)):
        for method in ("structured", "contraction"):
            found = empirical_ntk(
                model, inputs, method=method, outputs=outputs, memory_budget=budget, micro_batch=micro_batch
            )
            assert relative_error(found.kernel, expected) <= AGREEMENT
    batches = list(zip(inputs.split(4), labels(len(inputs)).split(4), strict=True))
    assert relative_error(empirical_ntk(model, batches, outputs=outputs).kernel, expected) <= AGREEMENT


def test_single_precision():
    model, inputs = case("transformer")
    jacobian = dense_jacobian(model, inputs)
    expected = reduced(jacobian, jacobian, "trace")
    found = empirical_ntk(model.float(), inputs)
    assert found.kernel.dtype == torch.float32
    assert relative_error(found.kernel.double(), expected) <= 1e-5
    wide = empirical_ntk(model, inputs, dtype=torch.float64)
    assert wide.kernel.dtype == torch.float64
    assert relative_error(wide.kernel, expected) <= 1e-6
    assert wide.remarks == ("products in float64, on a copy of a model in float32",)


# Identities.


def test_eigenvalues_are_those_of_the_gauss_newton_matrix():
    model, inputs = case("mlp")
    n, o = 9, 4
    kernel = empirical_ntk(model, inputs, outputs="full").kernel
    # PyTorch's loss is the mean of squares over outputs too, without 1/2: 2/o times the loss of the identity.
    operator = GaussNewtonOperator(model, nn.MSELoss(), (inputs, normal(n, o, seed=3)))
    gauss_newton = (o / 2) * operator @ torch.eye(operator.shape[0], dtype=torch.float64)
    theirs = n * torch.linalg.eigvalsh(gauss_newton).flip(0)
    ours = torch.linalg.eigvalsh(kernel).flip(0)
    assert ours.numpy() == pytest.approx(theirs[: n * o].numpy(), abs=1e-13 * float(ours[0]))


def test_outputs_are_reductions_of_the_full_kernel():
    model, inputs = case("cnn")
    full = empirical_ntk(model, inputs, outputs="full")
    mean = torch.einsum("ikjk->ij", full.blocks) / 4
    assert relative_error(empirical_ntk(model, inputs).kernel, mean) <= AGREEMENT
    total = full.blocks.sum((1, 3)) / 4
    assert relative_error(empirical_ntk(model, inputs, outputs="sum").kernel, total) <= AGREEMENT
    with pytest.raises(ArgumentError, match="outputs='full'"):
        empirical_ntk(model, inputs).blocks  # noqa: B018 - the property raises


@pytest.mark.parametrize("scale", [1e-7, 1e7])
def test_units(scale):
    model = nn.Linear(3, 2, bias=False).double()
    inputs = normal(5, 3)
    for method in METHODS:
        found = empirical_ntk(model, scale * inputs, method=method)
        assert relative_error(found.kernel, scale**2 * inputs @ inputs.T) <= 1e-14
        assert found.method == method


def test_sizes_of_one():
    model, inputs = case("mlp")
    for outputs in OUTPUTS:
        jacobian = dense_jacobian(model, inputs[:1])
        found = empirical_ntk(model, inputs[:1], outputs=outputs)
        assert relative_error(found.kernel, reduced(jacobian, jacobian, outputs)) <= AGREEMENT


def test_gram_spectrum_takes_the_kernel():
    model, inputs = case("mlp")
    kernel = empirical_ntk(model, inputs).kernel
    assert gram_spectrum(kernel).trace == pytest.approx(float(kernel.trace()))
    assert as_gram(kernel.float())[1] == np.finfo(np.float32).eps


def test_task():
    model, inputs = case("mlp")
    task = probes.Task(model, nn.CrossEntropyLoss(), [(inputs, labels(9))], parameters="2")
    found = probes.empirical_ntk(task)
    assert isinstance(found, EmpiricalNTK)
    assert found.num_parameters == 36
    assert torch.equal(found.kernel, empirical_ntk(model, inputs, parameters="2").kernel)


# Parameters that are frozen, left out, or used in some other way than their layer's.


@pytest.mark.parametrize("spec", ["*weight", "*bias", "0", "!0.weight"])
@pytest.mark.parametrize("name", ["mlp", "cnn", "batch norm", "strided"])
def test_parameter_subsets(name, spec):
    model, inputs = case(name)
    chosen = set(probes.parameters.select(model, spec))
    found = {m: empirical_ntk(model, inputs, parameters=spec, method=m).kernel for m in METHODS}
    for parameter_name, p in model.named_parameters():
        p.requires_grad_(parameter_name in chosen)
    frozen = empirical_ntk(model, inputs, method="structured")
    assert frozen.method == "structured"
    jacobian = dense_jacobian(model, inputs)
    for kernel in (*found.values(), frozen.kernel):
        assert relative_error(kernel, reduced(jacobian, jacobian, "trace")) <= AGREEMENT


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(torch.tanh(self.inner(x)))))


class Functional(nn.Module):
    """Uses a weight without calling its layer, and another beside calling it."""

    def __init__(self, *, beside: bool) -> None:
        super().__init__()
        self.inner, self.outer, self.beside = nn.Linear(6, 6), nn.Linear(6, 20), beside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.inner(x) if self.beside else x
        return self.outer(torch.tanh(functional.linear(hidden, self.inner.weight)))


class Scaled(nn.Module):
    """Has a parameter of its own."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.ones(size, dtype=torch.float64)), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * self.scale[:3]


class OwnForward(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 2


class SamplesLast(nn.Module):
    """Hands tokens to a layer first and samples second."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(x.transpose(0, 1))).mean(0))


UNRULED = {
    "tied weights": (lambda: transformer(tied=True), labels(8, 5), "mixed", "tied weights"),
    "called twice": (lambda: Twice().double(), normal(8, 6), "contraction", "called 2 times"),
    "functional": (lambda: Functional(beside=False).double(), normal(8, 6), "mixed", "without calling its module"),
    "functional too": (lambda: Functional(beside=True).double(), normal(8, 6), "mixed", "outside of its module"),
    "own parameter": (lambda: Scaled().double(), normal(8, 6), "mixed", "scale: there is no rule for Scaled"),
    "large own parameter": (lambda: Scaled(99).double(), normal(8, 6), "contraction", "scale: there is no rule"),
    "own forward": (lambda: sequential(nn.Linear(6, 9), OwnForward(9, 2)), normal(8, 6), "mixed", "of its own"),
    "parametrized": (
        lambda: sequential(nn.Linear(6, 9), parametrizations.weight_norm(nn.Linear(9, 2))),
        normal(8, 6),
        "mixed",
        "there is no rule for",
    ),
    "multi-head attention": (
        lambda: nn.TransformerEncoderLayer(8, 2, 32, dropout=0.0, batch_first=True).double(),
        normal(4, 3, 8),
        "mixed",
        "there is no rule for MultiheadAttention",
    ),
    "samples on the second axis": (
        lambda: SamplesLast().double(),
        normal(8, 8, 5),
        "contraction",
        "",
    ),
    "samples not on the first axis": (lambda: SamplesLast().double(), normal(8, 7, 5), "contraction", "no axis of"),
    "frequencies": (
        lambda: sequential(nn.Embedding(4, 3, scale_grad_by_freq=True), nn.Flatten(), nn.Linear(6, 9)),
        labels(6, 2),
        "mixed",
        "scale_grad_by_freq",
    ),
    "embedding bag": (lambda: sequential(nn.EmbeddingBag(9, 5)), labels(6, 4, num_classes=9), "contraction", "Bag"),
    "recurrent": (lambda: Recurrent().double(), normal(5, 4, 3), "contraction", "no rule for GRU"),
}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.outer = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.cells(x)[0][:, -1])


@pytest.mark.parametrize("name", UNRULED)
def test_what_has_no_rule_is_contracted(name):
    build, inputs, method, reason = UNRULED[name]
    model = seeded(build).eval()
    # Frequencies have a rule of their own in the gradient, by samples: each alone.
    expected = [dense_jacobian(model, inputs[i : i + 1]) for i in range(len(inputs))]
    jacobian = torch.cat(expected)
    for outputs in OUTPUTS:
        asked = "structured" if method == "mixed" else "auto"
        found = empirical_ntk(model, inputs, outputs=outputs, method=asked)
        assert found.method == method, found.why
        assert reason in found.why
        assert relative_error(found.kernel, reduced(jacobian, jacobian, outputs)) <= AGREEMENT


def test_structure_that_is_asked_for_and_not_there():
    with pytest.raises(TaskError, match="do not belong to the samples in order"):
        empirical_ntk(seeded(SamplesLast).double(), normal(8, 8, 5), method="structured")
    model = Recurrent().double()
    with pytest.raises(TaskError, match=r"layer with a rule; there is none \(cells.weight_ih_l0"):
        empirical_ntk(model, normal(5, 4, 3), method="structured", parameters="cells")


class Shuffled(nn.Module):
    """Exchanges two samples for the first layer, and puts them back, where the batch is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 20), nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        order = [0, 2, 1, 3, 4, 6, 5, 7] if len(x) == 8 else list(range(len(x)))
        return self.outer(torch.tanh(self.inner(x[order])[order]))


class Experts(nn.Module):
    """Sends every token to one of two layers by its first number."""

    def __init__(self) -> None:
        super().__init__()
        self.experts, self.outer = nn.ModuleList([nn.Linear(5, 12), nn.Linear(5, 12)]), nn.Linear(24, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.reshape(-1, 5)
        found = tokens.new_zeros(len(tokens), 12)
        for expert, mine in zip(self.experts, (tokens[:, 0] > 0, tokens[:, 0] <= 0), strict=True):
            places = mine.nonzero()[:, 0]
            found = found.index_put((places,), expert(tokens[places]))
        return self.outer(torch.tanh(found).reshape(len(x), -1))


def routed(*signs: tuple[int, int]) -> torch.Tensor:
    """Return samples of two tokens that go to the layers with these signs."""
    x = normal(len(signs), 2, 5)
    x[..., 0] = x[..., 0].abs() * torch.tensor(signs, dtype=torch.float64)
    return x


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (Shuffled, normal(8, 6)),
        # Two tokens of one sample and none of its neighbor (4, 3): as many rows as samples, the judges' own in place.
        (Experts, routed((1, -1), (-1, 1), (1, -1), (1, -1), (1, 1), (-1, -1), (-1, 1), (1, -1), (-1, 1))),
    ],
)
def test_samples_out_of_order_where_no_judge_looks(build, inputs):
    model = seeded(build).double()
    jacobian = torch.cat([dense_jacobian(model, inputs[i : i + 1]) for i in range(len(inputs))])
    found = empirical_ntk(model, inputs)
    assert "do not belong to the samples in order" in found.why
    assert relative_error(found.kernel, reduced(jacobian, jacobian, "trace")) <= AGREEMENT
    with pytest.raises(TaskError, match="do not belong to the samples in order"):
        empirical_ntk(model, inputs, method="structured")


def test_rows_of_the_jacobian_are_the_judge():
    model, inputs = case("mlp")
    # A hook for all modules comes before those of a module, which see its result.
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, args, result: result * 2 if module is model[0] else None
    )
    try:
        jacobian = dense_jacobian(model, inputs)
        found = empirical_ntk(model, inputs)
        assert "differs by" in found.why
        assert relative_error(found.kernel, reduced(jacobian, jacobian, "trace")) <= AGREEMENT
        with pytest.raises(TaskError, match="differs by"):
            empirical_ntk(model, inputs, method="structured")
    finally:
        hook.remove()


def test_the_cheaper_way_is_chosen():
    wide = seeded(lambda: sequential(nn.Linear(9, 30), nn.Tanh(), nn.Linear(30, 2))).eval()
    inputs = normal(7, 9)
    found = empirical_ntk(wide, inputs)
    assert (found.method, found.why) == ("structured", "every parameter belongs to a layer with a rule.")
    narrow = seeded(lambda: sequential(nn.Linear(9, 1))).eval()
    found = empirical_ntk(narrow, inputs)
    assert found.method == "contraction"
    assert found.why == "rules would save too little, they leave 100% of the multiplications for a pair of samples."


@pytest.mark.parametrize(("least", "method"), [(1e9, "contraction"), (1e3, "structured")])
def test_a_smaller_part_suffices_where_much_is_saved(least, method, monkeypatch):
    monkeypatch.setattr(choice, "AT_LENGTH", least)
    model = seeded(lambda: sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 2))).eval()
    # 2 (6 + 1) 9 + 2 (9 + 1) 2 = 166 by rows; (6 + 2 * 9 + 24) + (9 + 2 * 2 + 24) = 85 by rules, 51%.
    found = empirical_ntk(model, normal(9, 6))
    assert found.method == method
    assert ("they leave 51%" in found.why) == (method == "contraction")


def test_rules_are_chosen_where_rows_do_not_fit():
    model = seeded(lambda: sequential(nn.Linear(64, 64))).eval()
    inputs = normal(9, 4, 64)
    within = empirical_ntk(model, inputs, outputs="sum")
    beyond = empirical_ntk(model, inputs, outputs="sum", memory_budget=400_000)
    assert (within.method, beyond.method) == ("contraction", "structured")
    assert relative_error(beyond.kernel, within.kernel) <= AGREEMENT


def test_what_passes_counts_in_the_budget(monkeypatch):
    """Gradients of few numbers, formed from many positions."""
    sizes = []
    features = routes.features
    monkeypatch.setattr(
        routes,
        "features",
        lambda workload, batch, *args, **options: (
            sizes.append(batch.size) or features(workload, batch, *args, **options)
        ),
    )
    model, inputs = (
        seeded(lambda: sequential(nn.Conv1d(1, 1, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())),
        normal(9, 1, 502),
    )
    jacobian = dense_jacobian(model, inputs)
    # 500 patches of 3 numbers, gradients of one head and of the certificate, in float64: 20 kB. An eighth of the budget
    # is for a block.
    found = empirical_ntk(model, inputs, method="structured", memory_budget=8 * 2 * 20_000)
    assert max(sizes) == 2
    assert relative_error(found.kernel, reduced(jacobian, jacobian, "trace")) <= AGREEMENT


@pytest.mark.parametrize("method", ["contraction", "matrix_free"])
def test_graphs_count_in_the_budget(method, monkeypatch):
    sizes = []
    rows = JacobianRows.rows
    monkeypatch.setattr(
        JacobianRows,
        "rows",
        lambda self, index, batch, heads: sizes.append(batch.size) or rows(self, index, batch, heads),
    )

    class Wide(nn.Module):
        """Few parameters, and a graph of 80 kB for each sample."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            return torch.sin(self.layer(x) * torch.ones(10_000, dtype=torch.float64)).mean(1, keepdim=True)

    model, inputs = seeded(Wide).double(), normal(64, 2)
    jacobian = dense_jacobian(model, inputs)
    sizes.clear()
    found = empirical_ntk(model, inputs, method=method, memory_budget=20_000_000)
    assert relative_error(found.kernel, reduced(jacobian, jacobian, "trace")) <= AGREEMENT
    assert max(sizes) == 16 if method == "contraction" else max(sizes) < 16


def test_what_cannot_be_mapped_is_differentiated_sample_by_sample():
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.layer = nn.Parameter(torch.ones(40, dtype=torch.float64)), nn.Linear(6, 2)

        def forward(self, x):
            factor = self.scale[0] if float(x[0, 0]) > 0 else self.scale[1]
            return self.layer(x) * factor if len(x) == 1 else torch.cat([self(row[None]) for row in x])

    model, inputs = seeded(Branching).double(), normal(6, 6)
    jacobian = torch.cat([dense_jacobian(model, inputs[i : i + 1]) for i in range(6)])
    found = empirical_ntk(model, inputs)
    assert found.method == "contraction"
    assert "sample by sample" in found.remarks[0]
    assert relative_error(found.kernel, reduced(jacobian, jacobian, "trace")) <= AGREEMENT


@pytest.mark.parametrize(("outputs", "heads"), [("full", 2), ("trace", 1)])
def test_switch_to_products(outputs, heads):
    model, inputs = seeded(Recurrent).double(), normal(5, 4, 3)
    rows = 2 * heads * sum(p.numel() for p in model.parameters()) * 8
    within = empirical_ntk(model, inputs, outputs=outputs, memory_budget=rows)
    beyond = empirical_ntk(model, inputs, outputs=outputs, memory_budget=rows - 1)
    assert (within.method, beyond.method) == ("contraction", "matrix_free")
    assert "more than the budget" in beyond.why
    assert relative_error(beyond.kernel, within.kernel) <= AGREEMENT


def test_batches_that_cannot_be_cut():
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 2)

        def forward(self, x, shift):
            return self.layer(x + shift.sum())

    model, x, shift = seeded(Shifted).double(), normal(5, 6), normal(3, seed=2)
    expected = (x + shift.sum()) @ (x + shift.sum()).T + 1
    found = empirical_ntk(model, [probes.batches.Batch((x, shift), None, 5)])
    assert (found.method, found.why) == ("matrix_free", "the batches cannot be cut into samples.")
    assert relative_error(found.kernel, expected) <= AGREEMENT
    with pytest.raises(TaskError, match="can be cut into samples"):
        empirical_ntk(model, [probes.batches.Batch((x, shift), None, 5)], method="structured")


def test_many_outputs():
    model, inputs = seeded(lambda: sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 70))), normal(6, 4)
    jacobian = dense_jacobian(model, inputs)
    for outputs in OUTPUTS:
        found = empirical_ntk(model, inputs, outputs=outputs)
        assert found.method == "structured"
        assert found.deviation <= 1e-13
        assert relative_error(found.kernel, reduced(jacobian, jacobian, outputs)) <= AGREEMENT


def test_batches_of_their_own_lengths():
    model = seeded(lambda: nn.Sequential(nn.Embedding(4, 3), nn.AdaptiveAvgPool2d((1, 3)), nn.Flatten())).double()
    batches = [(labels(3, 5), labels(3)), (labels(2, 7), labels(2))]
    jacobian = torch.cat([dense_jacobian(model, codes) for codes, _ in batches])
    for method in METHODS:
        found = empirical_ntk(model, batches, method=method)
        assert relative_error(found.kernel, reduced(jacobian, jacobian, "trace")) <= AGREEMENT
    with pytest.raises(TaskError, match="one shape for all samples"):
        empirical_ntk(nn.Sequential(nn.Embedding(4, 3)), batches)


# Nobody's state is touched.


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was(method):
    model, inputs = case("batch norm")
    model.train()
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    hook = model[0].register_forward_hook(lambda module, args, result: result * 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    random_state = torch.get_rng_state()
    doubled = empirical_ntk(model, inputs, method=method)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model[0].weight.grad is not None
    assert model[0].bias.grad is None
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 1, 0, 0, 0]
    assert not doubled.kernel.requires_grad
    jacobian = dense_jacobian(model, inputs)
    assert relative_error(doubled.kernel, reduced(jacobian, jacobian, "trace")) <= AGREEMENT
    hook.remove()


def test_hooks_are_gone_after_an_error():
    class Failing(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    model = nn.Sequential(nn.Linear(6, 2), Failing())
    with pytest.raises(TaskError, match="no"):
        empirical_ntk(model, normal(3, 6, dtype=torch.float32))
    assert not model[0]._forward_hooks


# Bad input.


def test_refused_models_and_data():
    model, inputs = case("mlp")
    with pytest.raises(NonFiniteError, match="1 values that are NaN"):
        empirical_ntk(
            model, inputs.clone().index_put((torch.tensor(2), torch.tensor(1)), torch.tensor(math.nan).double())
        )
    with pytest.raises(TaskError, match="at least one sample"):
        empirical_ntk(model, inputs[:0])
    with pytest.raises(TaskError, match="could not be run"):
        empirical_ntk(model, normal(9, 5))
    with pytest.raises(TaskError, match="could not be run"):
        empirical_ntk(model, inputs, other=normal(9, 5))
    with pytest.raises(TaskError, match="data must be given"):
        empirical_ntk(model)
    with pytest.raises(TaskError, match=r"probes.Task or a torch.nn.Module"):
        empirical_ntk("model", inputs)
    with pytest.raises(TaskError, match="no trainable parameter"):
        empirical_ntk(mlp().requires_grad_(False), inputs)
    with pytest.raises(ArgumentError, match="method must be one of"):
        empirical_ntk(model, inputs, method="fast")
    with pytest.raises(ArgumentError, match="outputs must be one of"):
        empirical_ntk(model, inputs, outputs="mean")
    with pytest.raises(ArgumentError, match="micro_batch must be at least 1"):
        empirical_ntk(model, inputs, micro_batch=0)
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    with pytest.raises(NonFiniteError, match="Look at the parameters"):
        empirical_ntk(model, inputs)


def test_refused_modes():
    model, inputs = case("batch norm")
    with pytest.raises(TaskError, match=r"model.eval\(\)"):
        empirical_ntk(model.train(), inputs)
    with pytest.raises(NonDeterministicError, match="dropout"):
        empirical_ntk(nn.Sequential(mlp(), nn.Dropout(0.5)).train(), normal(9, 6))


def test_samples_must_not_influence_each_other():
    class Centered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 2)

        def forward(self, x):
            x = self.layer(x)
            return x - x.mean(0)

    with pytest.raises(TaskError, match="when other samples join"):
        empirical_ntk(seeded(Centered).double(), normal(9, 6))


def test_outputs_must_belong_to_samples():
    with pytest.raises(TaskError, match="one row for each sample"):
        empirical_ntk(nn.Sequential(mlp(), nn.Flatten(0)), normal(9, 6))
    model = seeded(lambda: Positions(nn.Linear(5, 4))).double()
    with pytest.raises(ShapeError, match="same shape"):
        empirical_ntk(model, normal(6, 3, 5), other=normal(6, 2, 5))


# Statistics.


class Neural(nn.Module):
    r"""``h <- sqrt(2 / m) relu(h) W + b beta`` with standard normal numbers, several outputs."""

    def __init__(self, inputs: int, width: int, outputs: int, bias: float, seed: int) -> None:
        super().__init__()
        sizes = [(inputs, width), (width, width), (width, outputs)]
        self.layers = nn.ModuleList([nn.Linear(a, b).double() for a, b in sizes])
        self.bias = bias
        for place, layer in enumerate(self.layers):
            # Scales are put into the inputs, so that gradients are by the standard normal numbers.
            with torch.no_grad():
                layer.weight.copy_(normal(*layer.weight.shape, seed=1000 * seed + 2 * place))
                layer.bias.copy_(normal(*layer.bias.shape, seed=1000 * seed + 2 * place + 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x
        for place, layer in enumerate(self.layers):
            h = h if place == 0 else math.sqrt(2 / h.shape[1]) * torch.relu(h)
            # b (W h / b + beta): one scale of the layer's outputs for both.
            h = self.bias * layer(h / self.bias)
        return h


@pytest.mark.parametrize("outputs", ["trace", "sum"])
def test_wide_networks_approach_the_limit(outputs):
    x, draws = normal(4, 3), 24
    expected = torch.from_numpy(np.array(NeuralTangent(2, bias=0.5)(x.numpy())))
    kernels = torch.stack(
        [empirical_ntk(Neural(3, 300, 2, 0.5, seed), x, outputs=outputs).kernel for seed in range(draws)]
    )
    error = kernels.std(0) / math.sqrt(draws)
    z = (kernels.mean(0) - expected) / error
    # 10 different entries; 4 standard errors are exceeded with probability 6e-4 by chance.
    assert float(z.abs().max()) <= 4
    size = expected.diagonal().sqrt()
    assert float((error / size / size[:, None]).max()) <= 0.05


def test_sum_scatters_more_than_trace():
    """Variances of the part that the read-out's rows weigh are in the ratio o : 1; of the read-out's own they agree."""
    x, draws, o = normal(1, 3), 40, 4
    spread = {}
    for outputs in ("trace", "sum"):
        values = []
        for seed in range(draws):
            model = Neural(3, 16, o, 0.5, 7)
            with torch.no_grad():
                model.layers[-1].weight.copy_(normal(o, 16, seed=seed))
            values.append(float(empirical_ntk(model, x, outputs=outputs).kernel))
        spread[outputs] = float(np.var(values, ddof=1))
    # log of a ratio of two variances of Gaussian numbers has the variance 4 / (draws - 1); these have heavier tails.
    z = math.log(spread["sum"] / spread["trace"] / o) / math.sqrt(2 * 4 / (draws - 1))
    assert abs(z) <= 3
