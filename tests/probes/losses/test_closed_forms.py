"""Closed forms against automatic differentiation of the torch losses, and denominators against torch's own means."""

import pytest
import torch
from torch import nn
from torch.func import vmap

from probes.losses import read_loss
from spectra.errors import ShapeError, TaskError
from tests.probes.losses.cases import CASES, SHAPES, WEIGHT, dense, dense_hessian
from tests.probes.networks import labels, normal

# torch advises against the mean of Kullback-Leibler divergences; here it is tested because it exists.
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def relative(found, expected):
    """Return the largest difference over the largest entry expected; the difference itself where that is 0."""
    return float((found - expected).abs().max() / (expected.abs().max() or 1.0))


@every_case
def test_output_hessian(case):
    read, output = read_loss(case.loss), case.output
    assert read.has_closed_form
    expected = dense_hessian(case)
    found = dense(lambda u: read.hessian_product(output, case.target, u), output.numel(), output.shape)
    assert relative(found, expected) < 1e-12
    assert read.is_convex
    assert torch.linalg.eigvalsh(expected)[0] >= -1e-14 * expected.abs().max()


@every_case
def test_vectors_with_leading_axes(case):
    read, output = read_loss(case.loss), case.output
    vectors = normal(2, 3, *output.shape, seed=8)
    for product in (read.hessian_product, read.root_product, read.root_transposed_product):
        together = product(output, case.target, vectors)
        assert together.shape == vectors.shape
        single = torch.stack([product(output, case.target, u) for u in vectors.flatten(0, 1)])
        assert relative(together.flatten(0, 1), single) < 1e-15
        mapped = vmap(lambda u, product=product: product(output, case.target, u))(vectors)
        assert relative(mapped, together) < 1e-15


@every_case
def test_roots_compose_to_the_hessian(case):
    read, output = read_loss(case.loss), case.output
    count = output.numel()
    root = dense(lambda u: read.root_transposed_product(output, case.target, u), count, output.shape)
    transposed = dense(lambda u: read.root_product(output, case.target, u), count, output.shape)
    assert relative(transposed, root.T) < 1e-15
    assert relative(root @ root.T, dense_hessian(case)) < 1e-12


@every_case
def test_samples_make_up_the_loss(case):
    read, output = read_loss(case.loss), case.output.clone().requires_grad_()
    samples = read.sample_values(output, case.target)
    rows = 1 if isinstance(case.loss, nn.CrossEntropyLoss) and output.ndim == 1 else output.shape[0]
    assert samples.shape == (rows,)
    weight = read.weight(output, case.target, rows)
    torch.testing.assert_close(samples.sum() / weight, case.loss(output, case.target), rtol=1e-13, atol=0)
    if rows == 1:
        return
    # The contribution of a sample depends on its own row alone.
    (third,) = torch.autograd.grad(samples[2], output, retain_graph=True)
    assert third[2].any()
    assert not third[:2].any()
    assert not third[3:].any()
    (gradient,) = torch.autograd.grad(samples.sum() / weight, output)
    (expected,) = torch.autograd.grad(case.loss(output, case.target), output)
    assert relative(gradient, expected) < 1e-12


@every_case
def test_denominators_join_batches_exactly(case):
    read, output, target = read_loss(case.loss), case.output, case.target
    if output.ndim == 1 and isinstance(case.loss, nn.CrossEntropyLoss):
        assert read.weight(output, target, 1) == read.weight(output.unsqueeze(0), target.unsqueeze(0), 1)
        return
    parts = [(output[:2], target[:2]), (output[2:], target[2:])]
    values = [read.value(*part) for part in parts]
    weights = [read.weight(*part, len(part[0])) for part in parts]
    total = sum(w * v for w, v in zip(weights, values, strict=True) if w)
    total = total if read.reduction == "sum" else total / sum(weights)
    torch.testing.assert_close(total, case.loss(output, target), rtol=1e-13, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_saturated_softmax_keeps_its_digits(shape):
    """In float32, where one probability rounds to 1, the curvature left over is right to float32's precision."""
    target = labels(*(shape[:1] + shape[2:]))
    output = normal(*shape, seed=7).float()
    output.select(1, 2).add_(18.0)
    vector = normal(3, *shape, seed=8).float()
    read = read_loss(nn.CrossEntropyLoss())
    for product in (read.hessian_product, read.root_product, read.root_transposed_product, read.fisher_product):
        found = product(output, target, vector)
        expected = product(output.double(), target, vector.double())
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
    exact = dense(lambda u: read.hessian_product(output.double(), target, u), output.numel(), shape)
    assert 0 < exact.abs().max() < 1e-6


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), nn.SoftMarginLoss()])
def test_saturated_sigmoid_keeps_its_digits(loss):
    output, target = torch.tensor([-30.0, -18.0, 0.0, 18.0, 30.0]), torch.ones(5)
    vector, read = normal(5, seed=8).float(), read_loss(loss)
    for product in (read.hessian_product, read.root_product, read.fisher_product):
        found = product(output, target, vector).double()
        expected = product(output.double(), target, vector.double())
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(label_smoothing=0.1, weight=WEIGHT.float()),
        nn.BCEWithLogitsLoss(),
        nn.MSELoss(),
        nn.HuberLoss(),
        nn.SmoothL1Loss(),
        nn.L1Loss(),
        nn.SoftMarginLoss(),
        nn.PoissonNLLLoss(),
    ],
    ids=lambda loss: type(loss).__name__,
)
@pytest.mark.parametrize("size", [30.0, 1e4, 1e30])
def test_extreme_outputs_in_single_precision(loss, size):
    output = size * torch.tensor([[1.0, -1.0, 0.0, 0.5], [-1.0, -1.0, 1.0, 1.0], [0.0, 0.0, 0.0, -1.0]])
    if isinstance(loss, nn.PoissonNLLLoss):
        output = -output.abs()  # a rate that overflows has an infinite loss too
    target = torch.tensor([0, 1, 2]) if isinstance(loss, nn.CrossEntropyLoss) else torch.ones(3, 4)
    vector = normal(2, 3, 4).float()
    read = read_loss(loss)
    products = [read.hessian_product, read.root_product, read.root_transposed_product]
    products += [read.fisher_product] if read.is_likelihood else []
    for product in products:
        found = product(output, target, vector)
        assert torch.isfinite(found).all()
        assert found.dtype == torch.float32
    if read.is_likelihood:
        scores = read.draw_scores(output, target, 3, torch.Generator().manual_seed(0))
        assert scores.dtype == torch.float32
        assert torch.isfinite(scores).all()


def test_logits_of_minus_infinity():
    """A class that is masked out contributes nothing."""
    output, target = normal(5, 4), labels(5, num_classes=3)
    masked = torch.cat([output[:, :3], torch.full((5, 1), -torch.inf)], 1)
    read, vector = read_loss(nn.CrossEntropyLoss()), normal(5, 4, seed=2)
    found = read.hessian_product(masked, target, vector)
    expected = read.hessian_product(output[:, :3], target, vector[:, :3])
    torch.testing.assert_close(found[:, :3], expected, rtol=1e-14, atol=1e-16)
    assert not found[:, 3].any()


def test_kinks_take_the_outer_side():
    output, target, vector = torch.tensor([2.0]), torch.tensor([1.0]), torch.ones(1)
    assert not read_loss(nn.HuberLoss()).hessian_product(output, target, vector).any()
    assert not read_loss(nn.SmoothL1Loss()).hessian_product(output, target, vector).any()
    assert read_loss(nn.HuberLoss(delta=1.1)).hessian_product(output, target, vector) == 1


def test_convexity_is_that_of_the_weights():
    negative = torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    read = read_loss(nn.CrossEntropyLoss(weight=negative))
    assert not read.is_convex
    output, target = normal(5, 4), torch.tensor([0, 1, 2, 3, 0])
    with pytest.raises(TaskError, match="not known to be positive semidefinite"):
        read.root_product(output, target, output)
    read = read_loss(nn.BCEWithLogitsLoss(pos_weight=negative))
    assert not read.is_convex
    with pytest.raises(TaskError, match="not known to be positive semidefinite"):
        read.root_product(output, torch.ones(5, 4), output)


@every_case
def test_shapes_that_do_not_fit(case):
    read, output = read_loss(case.loss), case.output
    for product in (read.hessian_product, read.root_product, read.root_transposed_product):
        with pytest.raises(ShapeError, match="outputs' shape"):
            product(output, case.target, normal(*output.shape[:-1], output.shape[-1] + 1))


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.HuberLoss(), nn.L1Loss(), nn.PoissonNLLLoss(), nn.SoftMarginLoss()])
def test_targets_are_not_broadcast(loss):
    with pytest.raises(TaskError, match="broadcast to pairs of unrelated samples"):
        read_loss(loss).value(normal(5, 1), normal(5))
    with pytest.raises(TaskError, match="broadcast to pairs of unrelated samples"):
        read_loss(loss).sample_values(normal(5, 1), normal(5))


def test_log_likelihood_counts_class_weights():
    read = read_loss(nn.NLLLoss(weight=WEIGHT, ignore_index=1))
    assert read.weight(None, torch.tensor([0, 1, 2, 2]), 4) == pytest.approx(0.3 + 2 * 2.5, rel=1e-15)


def test_class_weights_follow_the_dtype():
    loss = nn.CrossEntropyLoss(weight=WEIGHT.float())
    copy = read_loss(loss).to(torch.float64)
    assert copy.function.weight.dtype == torch.float64
    assert loss.weight.dtype == torch.float32
