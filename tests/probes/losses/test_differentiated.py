"""Losses that are not known by name: products, samples and factors by differentiation alone."""

import collections

import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional

from probes.losses import DifferentiatedLoss, read_loss, smallest_output_curvature
from spectra.errors import NonFiniteError, ShapeError, TaskError
from tests.probes.losses.cases import CASES, Case, dense, dense_hessian
from tests.probes.networks import labels, normal

pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")


def cubic(output, target):
    return (output - target).abs().pow(3).mean()


def swallowed(output, target):
    """Not convex: a squared error behind a sigmoid."""
    return (torch.sigmoid(output) - target).square().mean()


def contrastive(output, target):
    return functional.cross_entropy(output @ output.T, torch.arange(len(output)))


def plain(case):
    return DifferentiatedLoss(case.loss, name="loss", reduction="sum" if case.loss.reduction == "sum" else "mean")


def test_any_callable():
    read = read_loss(cubic)
    output, target, vector = normal(5, 2), normal(5, 2, seed=1), normal(5, 2, seed=2)
    expected = 6 * (output - target).abs() * vector / 10
    torch.testing.assert_close(read.hessian_product(output, target, vector), expected)
    assert read.weight(output, target, 5) == 5
    assert not any((read.is_convex, read.has_closed_form, read.is_likelihood))


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_agrees_with_the_closed_forms(case):
    vectors = normal(2, 3, *case.output.shape, seed=8)
    found = plain(case).hessian_product(case.output, case.target, vectors)
    expected = read_loss(case.loss).hessian_product(case.output, case.target, vectors)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("function", [cubic, swallowed, contrastive])
def test_leading_axes(function):
    read, output, target = read_loss(function), normal(5, 3), normal(5, 3, seed=1)
    vectors = normal(2, 4, 5, 3, seed=2)
    together = read.hessian_product(output, target, vectors)
    single = [read.hessian_product(output, target, u) for u in vectors.flatten(0, 1)]
    torch.testing.assert_close(together.flatten(0, 1), torch.stack(single), rtol=1e-14, atol=1e-16)
    mapped = vmap(lambda u: read.hessian_product(output, target, u))(vectors)
    torch.testing.assert_close(mapped, together, rtol=1e-13, atol=1e-16)
    assert read.hessian_product(output, target, vectors[:0]).shape == (0, 4, 5, 3)
    with pytest.raises(ShapeError, match="outputs' shape"):
        read.hessian_product(output, target, normal(3, 5))


def test_losses_without_curvature():
    vector = normal(2, 5, 3)
    for function in (
        lambda output, target: output.mean(),
        lambda output, target: output.detach().square().mean(),
        lambda output, target: target.mean(),
    ):
        read = read_loss(function)
        found = read.hessian_product(normal(5, 3), normal(5, 3), vector)
        assert found.shape == vector.shape
        assert not found.any()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_samples_of_an_unknown_loss(reduction):
    class Cubic(nn.Module):
        def __init__(self):
            super().__init__()
            self.reduction = reduction

        def forward(self, output, target):
            terms = (output - target["value"]).abs().pow(3).mean(1)
            return terms.sum() if reduction == "sum" else terms.mean()

    read, output = read_loss(Cubic()), normal(5, 2).requires_grad_()
    target = {"value": normal(5, 2, seed=1)}
    samples = read.sample_values(output, target)
    expected = (output - target["value"]).abs().pow(3).mean(1)
    torch.testing.assert_close(samples, expected, rtol=1e-14, atol=0)
    (found,) = torch.autograd.grad(samples[3], output)
    (gradient,) = torch.autograd.grad(expected[3], output)
    torch.testing.assert_close(found, gradient, rtol=1e-14, atol=0)


def test_samples_of_tuples_and_of_float32():
    pair = collections.namedtuple("Pair", ["value", "scale"])
    target = pair(normal(50, 2, seed=1).float(), normal(50, seed=3).float().exp())
    read = read_loss(lambda z, t: ((z - t.value).square().mean(1) * t.scale).mean())
    output = normal(50, 2).float()
    samples = read.sample_values(output, target)
    torch.testing.assert_close(samples.mean(), read.value(output, target))
    assert samples.dtype == torch.float32


def test_losses_that_couple_samples():
    output, target = normal(6, 4), labels(6)
    with pytest.raises(TaskError, match="couples samples"):
        read_loss(contrastive).sample_values(output, target)
    with pytest.raises(TaskError, match="couples samples"):
        read_loss(contrastive).root_product(output, target, output)
    target[2:4] = -100
    masked = read_loss(lambda z, t: functional.cross_entropy(z, t))
    with pytest.raises(TaskError, match="ignore_index"):
        masked.sample_values(normal(6, 4, 3), torch.stack([target, target, labels(6)], 1))
    with pytest.raises(TaskError, match="counts the 6 rows"):
        read_loss(lambda z, t: (z - t).square().mean()).sample_values(output, normal(4))
    with pytest.raises(TaskError, match="axis of samples"):
        read_loss(lambda z, t: z).sample_values(torch.tensor(1.0), None)


@pytest.mark.parametrize(
    "case",
    [
        Case(nn.CrossEntropyLoss(), normal(5, 4), labels(5)),
        Case(nn.CrossEntropyLoss(reduction="sum"), normal(3, 4, 2), labels(3, 2)),
        Case(nn.MSELoss(), normal(6), normal(6, seed=1)),
        Case(nn.GaussianNLLLoss(), normal(5, 2), normal(5, 2, seed=1)),
    ],
    ids=str,
)
def test_roots_by_eigendecomposition(case):
    if isinstance(case.loss, nn.GaussianNLLLoss):
        gaussian = nn.GaussianNLLLoss()
        loss = lambda z, t: gaussian(z, t, torch.full_like(z, 0.3))  # noqa: E731
        loss.reduction = "mean"
        case = Case(loss, case.output, case.target)
    read, output = plain(case), case.output
    count = output.numel()
    root = dense(lambda u: read.root_transposed_product(output, case.target, u), count, output.shape)
    transposed = dense(lambda u: read.root_product(output, case.target, u), count, output.shape)
    torch.testing.assert_close(transposed, root.T, rtol=1e-13, atol=1e-16)
    torch.testing.assert_close(root @ root.T, dense_hessian(case), rtol=1e-12, atol=1e-15)
    narrow = read.root_product(output.float(), case.target, output.float())
    assert narrow.dtype == torch.float32


def test_what_is_not_positive_semidefinite_has_no_root():
    output = torch.full((3, 2), 3.0)
    with pytest.raises(TaskError, match=r"not positive semidefinite: it has the eigenvalue -0\.0"):
        read_loss(swallowed).root_product(output, torch.zeros(3, 2), output)


def test_smallest_output_curvature_is_an_eigenvalue():
    output, target = normal(20, 3, seed=5) * 2, torch.zeros(20, 3, dtype=torch.float64)
    read = read_loss(swallowed)
    eigenvalues = torch.linalg.eigvalsh(dense_hessian(Case(swallowed, output[:8], target[:8])))
    expected = float(eigenvalues[0] / eigenvalues.abs().max())
    assert expected < 0
    assert smallest_output_curvature(read, output, target) == pytest.approx(expected, rel=1e-12)
    # float32 outputs are differentiated in float64
    rounded = smallest_output_curvature(read, output.float(), target.float())
    assert rounded == pytest.approx(expected, rel=1e-5)
    # A restricted matrix: between the extremes of the whole one (Cauchy), and of one row when rows are large.
    eigenvalues = torch.linalg.eigvalsh(dense_hessian(Case(swallowed, output[:1], target[:1]))[::2, ::2])
    expected = float(eigenvalues[0] / eigenvalues.abs().max())
    assert smallest_output_curvature(read, output, target, max_size=2) == pytest.approx(expected, rel=1e-12)


def test_smallest_output_curvature_of_convex_losses():
    output, target = normal(20, 4), labels(20)
    as_callable = read_loss(lambda z, t: functional.cross_entropy(z, t))
    assert abs(smallest_output_curvature(as_callable, output.float(), target)) < 1e-14
    assert smallest_output_curvature(read_loss(nn.MSELoss()), output, output) == pytest.approx(1.0)
    assert smallest_output_curvature(read_loss(nn.L1Loss()), output, output + 1) == 0.0
    shared = read_loss(lambda z, t: (z - t).square().mean())
    with pytest.raises(TaskError, match="counts the 20 rows"):
        smallest_output_curvature(shared, output, normal(4))


def test_second_derivatives_that_do_not_exist():
    read = read_loss(lambda z, t: z.pow(1.5).mean())
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        smallest_output_curvature(read, torch.zeros(3, 2), None)
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        read.root_product(torch.zeros(3, 2), None, torch.ones(3, 2))


def test_a_loss_that_works_in_single_precision_only():
    """Where float64 is refused, the outputs' own dtype is used."""
    matrix = normal(3, 3).float()
    read = read_loss(lambda z, t: (z @ matrix).square().mean())
    output = normal(5, 3).float()
    found = smallest_output_curvature(read, output, None)
    eigenvalues = torch.linalg.eigvalsh(matrix @ matrix.T)
    assert found == pytest.approx(float(eigenvalues[0] / eigenvalues[-1]), abs=1e-5)
    once = read.root_transposed_product(output, None, read.root_product(output, None, output))
    torch.testing.assert_close(once, read.hessian_product(output, None, output), rtol=1e-4, atol=1e-6)
