"""Rows of samples, against matrices of single samples that are formed by products."""

import pytest
import torch

from probes import GaussNewtonOperator
from probes.sample_rows import sample_rows, sample_squares
from tests.probes.small_tasks import classifier, data, network


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def positions():
    """Return a model whose outputs have two classes at each of four positions, with labels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv1d(3, 2, 1))
    return model.double(), torch.nn.CrossEntropyLoss(), normal(6, 2, 4), (normal(6, 4, seed=1) > 0).long()


def softmax_regression():
    inputs, labels = data(12)
    return network(), torch.nn.CrossEntropyLoss(), inputs, labels


def squares():
    return network(), torch.nn.MSELoss(), data(12)[0], normal(12, 3)


def unknown():
    return network(), lambda z, y: ((z - y) ** 4).mean(), data(12)[0], normal(12, 3)


@pytest.mark.parametrize("case", [positions, softmax_regression, squares, unknown])
@pytest.mark.parametrize("batch_size", [12, 5])
def test_trace_and_largest_sample_are_those_of_the_matrices(case, batch_size):
    model, loss, inputs, target = case()
    batches = list(zip(inputs.split(batch_size), target.split(batch_size), strict=True))
    operator = GaussNewtonOperator(model, loss, batches, check=False)
    found = sample_rows(operator)
    identity = torch.eye(operator.shape[0], dtype=torch.float64)
    assert found.trace == pytest.approx(float((operator @ identity).trace()), rel=1e-11)
    largest = max(
        float(torch.linalg.eigvalsh(GaussNewtonOperator(model, loss, (x[None], y[None]), check=False) @ identity)[-1])
        for x, y in zip(inputs, target, strict=True)
    )
    assert found.largest == pytest.approx(largest, rel=1e-10)
    assert not found.is_bound
    assert found.num_rows == model(inputs).numel()


def test_samples_with_too_many_rows_are_bounded():
    task = classifier()
    operator = GaussNewtonOperator(task.model, task.loss, task.data, check=False)
    exact, bounded = sample_rows(operator), sample_rows(operator, max_bytes=0)
    assert bounded.is_bound
    assert bounded.trace == pytest.approx(exact.trace, rel=1e-12)
    assert exact.largest < bounded.largest <= 2.0 * exact.largest  # rank 2: C - 1


def test_ways_to_a_product_agree():
    task = classifier()
    ways = ["auto", "kept_graph", "vmap_reverse", "rebuilt_graph"]
    found = [
        sample_rows(GaussNewtonOperator(task.model, task.loss, task.data, check=False, strategy=way)) for way in ways
    ]
    for other in found[1:]:
        assert other.trace == pytest.approx(found[0].trace, rel=1e-12)
        assert other.largest == pytest.approx(found[0].largest, rel=1e-12)


def test_a_layer_without_forward_mode_is_stepped_down_from():
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    class Layer(torch.nn.Module):
        def forward(self, x):
            return Doubled.apply(x)

    inputs, labels = data(8)
    plain, odd = network(), torch.nn.Sequential(*network(), Layer())
    loss = torch.nn.CrossEntropyLoss()
    operator = GaussNewtonOperator(odd, loss, (inputs, labels), check=False)
    expected = GaussNewtonOperator(plain, lambda z, y: loss(2 * z, y), (inputs, labels), check=False)
    assert sample_rows(operator).trace == pytest.approx(sample_rows(expected).trace, rel=1e-12)


def test_progress_counts_samples():
    task, seen = classifier(), []
    operator = GaussNewtonOperator(task.model, task.loss, task.data, check=False)
    sample_rows(operator, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (1, 256)
    assert seen[-1] == (256, 256)


@pytest.mark.parametrize("kind", ["squared", "cross_entropy"])
def test_squares_along_vectors_are_those_of_the_samples_alone(kind):
    """One operator for every sample is the oracle; batches of unequal size."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)).double()
    x = torch.randn(7, 3, dtype=torch.float64)
    target = torch.randn(7, 3, dtype=torch.float64) if kind == "squared" else torch.arange(7) % 3
    loss = torch.nn.MSELoss() if kind == "squared" else torch.nn.CrossEntropyLoss()
    batches = [(x[:3], target[:3]), (x[3:], target[3:])]
    operator = GaussNewtonOperator(model, loss, batches)
    vectors = torch.randn(operator.shape[0], 5, dtype=torch.float64)
    found = sample_squares(operator, vectors)
    for i in range(7):
        alone = GaussNewtonOperator(model, loss, [(x[i : i + 1], target[i : i + 1])], check=False)
        torch.testing.assert_close(found[i], torch.sum(vectors * (alone @ vectors), dim=0))
    torch.testing.assert_close(found.mean(dim=0), torch.sum(vectors * (operator @ vectors), dim=0))
