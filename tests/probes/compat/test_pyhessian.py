"""The drop-in class against dense Hessians, and its manners: types, seeds, warnings, an untouched model."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import spectra
from probes.compat.pyhessian import hessian
from spectra.errors import ArgumentError, NonFiniteError, ShapeError, TaskError
from tests.probes.networks import (
    SIZES,
    cut,
    dense_hessian,
    labels,
    mlp,
    normal,
    relative_error,
    seeded,
    transformer,
)

#: Required of products in float64, and of eigenvalues whose residuals are asked to be that small.
ACCURACY = 1e-10
N = sum(SIZES)


def concave(output, target):
    return -((output - target) ** 2).mean()


VECTORS, CODES = normal(N, 6), labels(N, 5, seed=3)
CASES = {
    "mean, indefinite": (mlp, VECTORS, labels(N), nn.CrossEntropyLoss()),
    "sum": (lambda: mlp(nn.Tanh), VECTORS, labels(N), nn.CrossEntropyLoss(reduction="sum")),
    "negative": (lambda: mlp(nn.Tanh), VECTORS, normal(N, 4, seed=4), concave),
    "LayerNorm": (transformer, CODES, labels(N, 5), nn.CrossEntropyLoss()),
}


@pytest.fixture(params=CASES)
def case(request):
    """Return the drop-in on batches of unequal sizes, and the dense Hessian of all samples."""
    build, inputs, target, loss = CASES[request.param]
    model = build()
    dense = dense_hessian(model, loss, inputs, target)
    return hessian(model, loss, dataloader=cut(inputs, target), cuda=False), dense


@pytest.fixture
def module():
    """Return the drop-in on one batch."""
    build, inputs, target, loss = CASES["mean, indefinite"]
    return hessian(build(), loss, data=(inputs, target), cuda=False)


def flat(tensors):
    return torch.cat([x.reshape(-1) for x in tensors])


def vector(module, seed=0):
    return [normal(*p.shape, seed=seed + i) for i, p in enumerate(module.params)]


# ------------------------------------------------------------------------------------------------------- right answers


def test_products_equal_the_dense_hessian(case):
    module, dense = case
    v = vector(module)
    value, product = module.dataloader_hv_product(v)
    assert relative_error(flat(product), dense @ flat(v)) < ACCURACY
    assert value == pytest.approx(float(flat(v) @ dense @ flat(v)), rel=1e-9)


def test_eigenvalues_are_those_of_largest_modulus_in_order(case):
    module, dense = case
    values, vectors = module.eigenvalues(tol=1e-11, top_n=4)
    exact = torch.linalg.eigvalsh(dense)
    exact = exact[torch.argsort(-exact.abs())][:4].numpy()
    np.testing.assert_allclose(values, exact, atol=ACCURACY * abs(exact[0]), rtol=0)
    for value, tensors in zip(values, vectors, strict=True):
        assert float(torch.linalg.norm(dense @ flat(tensors) - value * flat(tensors))) < ACCURACY * abs(exact[0])
        assert float(torch.linalg.norm(flat(tensors))) == pytest.approx(1)


def test_default_tolerance_bounds_the_error(case):
    module, dense = case
    values, _ = module.eigenvalues(top_n=3)
    exact = torch.linalg.eigvalsh(dense)
    norm = float(exact.abs().max())
    for value, bound in zip(values, module.pairs["error_bound"].values, strict=True):
        assert float((exact - value).abs().min()) <= bound <= 1.001e-3 * norm


def test_copies_of_a_multiple_eigenvalue_are_listed():
    """Four outputs of a linear layer share one matrix of inputs: every eigenvalue occurs four times."""
    model = seeded(lambda: nn.Linear(6, 4, bias=False)).double()
    exact = np.repeat(np.linalg.eigvalsh(2 * VECTORS.numpy().T @ VECTORS.numpy() / (4 * N))[::-1], 4)
    values, _ = hessian(model, nn.MSELoss(), data=(VECTORS, normal(N, 4)), cuda=False).eigenvalues(tol=1e-9, top_n=6)
    np.testing.assert_allclose(values, exact[:6], rtol=1e-9)


def test_a_multiple_of_the_identity_gives_as_many_pairs_as_asked():
    model = seeded(lambda: nn.Linear(1, 5, bias=False)).double()
    data = torch.ones(3, 1).double(), torch.zeros(3, 5).double()
    values, vectors = hessian(model, nn.MSELoss(), data=data, cuda=False).eigenvalues(top_n=3)
    assert values == pytest.approx([0.4] * 3)
    basis = torch.stack([flat(v) for v in vectors])
    torch.testing.assert_close(basis @ basis.T, torch.eye(3).double())


def test_the_trace_lies_within_its_interval(case):
    """A z-test of our own error bar: sixty samples, three standard errors."""
    module, dense = case
    samples = module.trace(maxIter=60, tol=1e-9)
    estimate = module.trace_estimate()
    assert len(samples) == estimate.num_matvecs == 60
    assert np.mean(samples) == pytest.approx(estimate.value)
    assert np.std(samples, ddof=1) / np.sqrt(60) == pytest.approx(estimate.stderr)
    assert estimate.low < estimate.value < estimate.high
    assert abs(estimate.value - float(torch.trace(dense))) < 3 * estimate.stderr


def test_a_negative_trace_stops_on_its_standard_error_like_its_mirror_image():
    build, inputs, target, loss = CASES["negative"]
    model = build()

    def convex(output, target):
        return -loss(output, target)

    negative, positive = (hessian(model, f, data=(inputs, target), cuda=False) for f in (loss, convex))
    down, up = negative.trace(maxIter=500, tol=0.03), positive.trace(maxIter=500, tol=0.03)
    assert 10 < len(down) < 500
    np.testing.assert_allclose(down, -np.array(up), rtol=1e-9)
    estimate = negative.trace_estimate()
    assert estimate.stderr <= 0.03 * abs(estimate.value)
    assert abs(estimate.value - float(torch.trace(dense_hessian(model, loss, inputs, target)))) < 3 * estimate.stderr


def test_density_has_the_moments_of_each_probe(case):
    """Of degree up to ``2 iter - 1`` a Gauss rule is exact: ``v'v = 1``, and the ends lie inside the spectrum."""
    module, dense = case
    nodes, weights = module.density(iter=12, n_v=3)
    exact = torch.linalg.eigvalsh(dense).numpy()
    tolerance = ACCURACY * np.abs(exact).max()
    for probe, masses in zip(nodes, weights, strict=True):
        assert len(probe) == len(masses) == 12
        assert sum(masses) == pytest.approx(1)
        assert probe == sorted(probe)
        assert exact[0] - tolerance <= probe[0] <= probe[-1] <= exact[-1] + tolerance
    second = spectra.moment(module.measure, 2)
    assert abs(second.value - float(np.mean(exact**2))) < 4 * second.stderr


def test_density_with_more_steps_than_parameters_is_the_spectrum():
    model = seeded(lambda: nn.Linear(3, 2, bias=False)).double()
    x, y = normal(9, 3), labels(9, num_classes=2)
    nodes, weights = hessian(model, nn.CrossEntropyLoss(), data=(x, y), cuda=False).density(iter=100, n_v=2)
    exact = torch.linalg.eigvalsh(dense_hessian(model, nn.CrossEntropyLoss(), x, y)).numpy()
    for probe, masses in zip(nodes, weights, strict=True):
        seen = np.array(probe)[np.array(masses) > 1e-12]  # softmax is blind to a common shift: a triple zero, seen once
        assert np.abs(seen[:, None] - exact).min(axis=1).max() < ACCURACY * exact[-1]
        assert len({len(p) for p in nodes}) == 1


def test_the_operator_serves_every_function_of_spectra(case):
    module, dense = case
    estimate = spectra.trace(module.operator, num_matvecs=60)
    assert abs(estimate.value - float(torch.trace(dense))) < 3 * estimate.stderr
    ends = spectra.eigenpairs(module.operator, which="both", tolerance=1e-10)["eigenvalue"].values
    exact = torch.linalg.eigvalsh(dense).numpy()
    np.testing.assert_allclose(ends, [exact[-1], exact[0]], atol=1e-9 * np.abs(exact).max())


# ------------------------------------------------------------------------------------------------------ PyHessian's way


def test_types_are_those_of_pyhessian(module):
    values, vectors = module.eigenvalues(top_n=2)
    assert type(values) is list
    assert {type(value) for value in values} == {float}
    assert type(vectors) is list
    assert type(vectors[0]) is list
    for tensors in vectors:
        assert [(x.shape, x.dtype, x.requires_grad) for x in tensors] == [
            (p.shape, p.dtype, False) for p in module.params
        ]
    for samples in (module.trace(), *module.density(iter=5)[0], *module.density(iter=5)[1]):
        assert type(samples) is list
        assert {type(value) for value in samples} == {float}
    value, product = module.dataloader_hv_product(vectors[0])
    assert type(value) is float
    assert type(product) is list
    assert value == pytest.approx(values[0], rel=1e-5)


def test_attributes_of_a_single_batch(module):
    _, inputs, target, loss = CASES["mean, indefinite"]
    assert module.criterion is loss
    assert module.data[0] is inputs
    assert module.device == "cpu"
    assert not module.full_dataset
    assert torch.equal(module.inputs, inputs)
    assert torch.equal(module.targets, target)
    assert [id(p) for p in module.params] == [id(p) for p in module.model.parameters()]


def test_the_gradient_of_a_loader_is_that_of_all_samples(case):
    module, _ = case
    loss = module.criterion
    inputs, target = (torch.cat(parts) for parts in zip(*module.data, strict=True))
    assert module.full_dataset
    exact = torch.autograd.grad(loss(module.model(inputs), target), module.params)
    assert relative_error(flat(module.gradsH), flat(exact)) < ACCURACY


def test_frozen_parameters_are_left_out():
    model = mlp()
    model[0].weight.requires_grad_(False)
    module = hessian(model, nn.CrossEntropyLoss(), data=(VECTORS, labels(N)), cuda=False)
    assert len(module.params) == 3
    assert [x.shape for x in module.eigenvalues()[1][0]] == [p.shape for p in module.params]


def test_parameters_are_read_when_a_product_is_made(module):
    before = module.eigenvalues()[0]
    with torch.no_grad():
        module.params[0].mul_(2)
    _, inputs, target, loss = CASES["mean, indefinite"]
    exact = torch.linalg.eigvalsh(dense_hessian(module.model, loss, inputs, target))
    after = module.eigenvalues(tol=1e-10)[0]
    assert after[0] == pytest.approx(float(exact[exact.abs().argmax()]), rel=1e-9)
    assert after[0] != pytest.approx(before[0], rel=1e-3)


def test_a_shuffling_loader_is_frozen_once():
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    loader = DataLoader(TensorDataset(VECTORS, labels(N)), batch_size=4, shuffle=True, generator=generator)
    model = mlp()
    module = hessian(model, nn.CrossEntropyLoss(), dataloader=loader, cuda=False)
    assert torch.equal(generator.get_state(), state)
    v = vector(module)
    expected = dense_hessian(model, nn.CrossEntropyLoss(), VECTORS, labels(N)) @ flat(v)
    for _ in range(2):
        assert relative_error(flat(module.dataloader_hv_product(v)[1]), expected) < ACCURACY


# -------------------------------------------------------------------------------------------------------------- manners


class Net(nn.Module):
    """Batch statistics and dropout, which differ between the modes, and a frozen flag."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.drop, self.head = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 4)

    def forward(self, x):
        torch.rand(2)  # forward passes of users advance generators
        return self.head(self.drop(torch.tanh(self.norm(self.first(x)))))


def network():
    model = seeded(Net).double().train()
    model.norm.running_mean += 0.3
    model.head.eval()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    return model


def snapshot(model):
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "identities": [id(x) for x in (*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters()))],
        "gradients": [p.grad.clone() for p in model.parameters()],
        "flags": [m.training for m in model.modules()],
        "random": (torch.get_rng_state(), repr(np.random.get_state()), random.getstate()),  # noqa: NPY002
    }


def assert_unchanged(model, before):
    after = snapshot(model)
    for name in ("identities", "flags"):
        assert after[name] == before[name]
    torch.testing.assert_close(after["state"], before["state"], rtol=0, atol=0)
    torch.testing.assert_close(after["gradients"], before["gradients"], rtol=0, atol=0)
    assert torch.equal(after["random"][0], before["random"][0])
    assert after["random"][1:] == before["random"][1:]


def test_the_model_is_measured_in_evaluation_mode_and_left_as_found():
    model, loss = network(), nn.CrossEntropyLoss()
    dense = dense_hessian(copy.deepcopy(model).eval(), loss, VECTORS, labels(N))
    before = snapshot(model)
    module = hessian(model, loss, dataloader=cut(VECTORS, labels(N)), cuda=False)
    v = vector(module)
    assert relative_error(flat(module.dataloader_hv_product(v)[1]), dense @ flat(v)) < ACCURACY
    module.eigenvalues()
    module.trace(maxIter=10)
    module.density(iter=5)
    assert relative_error(module.operator @ flat(v), dense @ flat(v)) < ACCURACY
    assert len(module.gradsH) == len(module.params)
    assert_unchanged(model, before)


def test_the_model_is_left_as_found_after_an_error():
    model = network()
    before = snapshot(model)
    inputs = VECTORS.clone()
    inputs[2] = torch.nan
    with pytest.raises(NonFiniteError):
        hessian(model, nn.CrossEntropyLoss(), data=(inputs, labels(N)), cuda=False)
    assert_unchanged(model, before)


def test_the_same_seed_gives_the_same_numbers_and_a_generator_new_ones():
    build, inputs, target, loss = CASES["mean, indefinite"]

    def run(rng):
        module = hessian(build(), loss, data=(inputs, target), cuda=False, rng=rng)
        return module.trace(maxIter=5), module.trace(maxIter=5), module.density(iter=4), module.eigenvalues()[0]

    first, again, other = run(0), run(0), run(1)
    assert first == again
    assert first[0] == first[1]
    assert first[0] != other[0]
    drawn = run(np.random.default_rng(0))
    assert drawn[0] != drawn[1]


def test_more_samples_never_change_earlier_ones(module):
    assert module.trace(maxIter=25, tol=1e-9)[:7] == module.trace(maxIter=7)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine on which the default cuda=True does not fit")
def test_cuda_without_a_device_is_named_and_the_model_measured_where_it_is():
    with pytest.warns(UserWarning, match=r"cuda=True, but the parameters of Sequential are on cpu.*cuda=False"):
        module = hessian(mlp(), nn.CrossEntropyLoss(), data=(VECTORS, labels(N)))
    assert module.device == "cpu"
    assert module.eigenvalues()[1][0][0].device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_go_to_a_model_on_a_cuda_device():
    model = mlp()
    dense = dense_hessian(model, nn.CrossEntropyLoss(), VECTORS, labels(N))
    module = hessian(model.cuda(), nn.CrossEntropyLoss(), dataloader=cut(VECTORS, labels(N)))
    exact = torch.linalg.eigvalsh(dense)
    values, vectors = module.eigenvalues(tol=1e-9, top_n=2)
    np.testing.assert_allclose(values, exact[exact.abs().argsort(descending=True)][:2], rtol=1e-8)
    assert {x.device for x in vectors[0]} == {p.device for p in module.params}
    assert len(module.trace(maxIter=12)) == 12
    assert sum(module.density(iter=6)[1][0]) == pytest.approx(1)
    with pytest.warns(UserWarning, match="cuda=False, but"):
        hessian(model, nn.CrossEntropyLoss(), data=(VECTORS, labels(N)), cuda=False)


def test_what_has_not_converged_is_said(module):
    with pytest.warns(UserWarning, match=r"of 3 eigenvalues have no residual within tol=1e-09 .* Raise maxIter or tol"):
        values, _ = module.eigenvalues(maxIter=1, tol=1e-9, top_n=3)
    assert len(values) == 3
    assert not module.pairs["converged"].values.all()


def test_exactly_one_source_of_data(module):
    with pytest.raises(ArgumentError, match="got neither"):
        hessian(mlp(), nn.CrossEntropyLoss())
    with pytest.raises(ArgumentError, match="got both"):
        hessian(mlp(), nn.CrossEntropyLoss(), data=module.data, dataloader=[module.data])
    with pytest.raises(TaskError, match="empty"):
        hessian(mlp(), nn.CrossEntropyLoss(), dataloader=[], cuda=False)
    with pytest.raises(TaskError, match="must be a torch"):
        hessian(None, nn.CrossEntropyLoss(), data=module.data, cuda=False)


def test_wrong_calls_are_refused_before_any_product(module):
    count = module.operator.num_matvecs
    with pytest.raises(ShapeError, match=r"one tensor for each parameter, of shapes \[\(8, 6\)"):
        module.dataloader_hv_product(vector(module)[::-1])
    with pytest.raises(ArgumentError, match="at most 92"):
        module.eigenvalues(top_n=93)
    for call in (
        lambda: module.eigenvalues(top_n=0),
        lambda: module.eigenvalues(maxIter=0),
        lambda: module.trace(tol=0),
        lambda: module.trace(maxIter=0),
        lambda: module.density(iter=0),
        lambda: module.density(n_v=0),
    ):
        with pytest.raises(ArgumentError):
            call()
    assert module.operator.num_matvecs == count


def test_results_are_there_once_measured(module):
    for read, call in ((lambda: module.pairs, "eigenvalues"), (lambda: module.measure, "density")):
        with pytest.raises(ArgumentError, match=f"call {call}"):
            read()
    with pytest.raises(ArgumentError, match="call trace"):
        module.trace_estimate()
    values, _ = module.eigenvalues(top_n=2)
    nodes, _ = module.density(iter=6, n_v=2)
    assert module.pairs["eigenvalue"].values.tolist() == values
    assert module.pairs.attrs["verified_level"] == 0.99
    assert module.measure["ritz_value"].values.tolist() == nodes
    assert module.measure.attrs["operator"] == "hessian"


def test_a_single_sample_has_no_interval(module):
    module.trace(maxIter=1)
    estimate = module.trace_estimate()
    assert estimate.stderr is None
    assert estimate.low is None
    assert estimate.covers.startswith("nothing")
