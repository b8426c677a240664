"""Quadratic models of networks: least squares where the network is linear, derivatives where it is not."""

import dataclasses

import numpy as np
import pytest
import torch

from probes import Task
from probes.linearized import linearize
from spectra.dynamics import from_data, kernel_norm, sgd_curve, stability
from spectra.errors import ArgumentError, NonDeterministicError, NonFiniteError, TaskError
from tests.probes.small_tasks import classifier, data, network, sum_loss, with_batchnorm, with_dropout


def regression(outputs, *, num_samples=40, dimension=6, scale=1.0, dtype=torch.float64):
    """Return linear regression as a task, and its data matrix, targets and start."""
    rng = np.random.default_rng(0)
    A = scale * rng.standard_normal((num_samples, dimension)) * np.linspace(0.5, 2, dimension)
    B = A @ rng.standard_normal((dimension, outputs)) / scale + rng.standard_normal((num_samples, outputs))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = torch.nn.Linear(dimension, outputs, bias=False).to(dtype)
    start = model.weight.detach().double().numpy().T
    task = Task(model, torch.nn.MSELoss(), [(torch.tensor(A, dtype=dtype), torch.tensor(B, dtype=dtype))])
    return task, A, B, start


def exact(task, rank=None):
    """Linearize with every eigenvalue but one deflated and all gradient steps, so that no quadrature is left."""
    rank = rank or sum(p.numel() for p in task.model.parameters())
    return linearize(task, num_deflated=rank - 1, num_gradient_steps=rank)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_linear_network_is_least_squares_in_the_unit_of_torch(outputs):
    """MSELoss averages over samples and C outputs without a half: 2/C times the mean of half squares."""
    task, A, B, start = regression(outputs)
    found, expected = exact(task), from_data(A, B, start).scaled(2 / outputs)
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    assert found.loss == pytest.approx(task.loss(task.model(task.data[0][0]), task.data[0][1]).item(), rel=1e-12)
    assert found.floor == pytest.approx(expected.floor, rel=1e-10)
    assert (found.offset, found.num_samples, found.rows_per_sample) == (0.0, 40, outputs)
    assert found.largest == pytest.approx(expected.largest, rel=1e-10)
    assert found.trace == pytest.approx(outputs * expected.trace, rel=1e-10)
    assert found.largest_row == pytest.approx(expected.largest_row, rel=1e-10)
    for momentum, nesterov in ((0.0, False), (0.6, False), (0.6, True)):
        settings = {"closure": "limit", "learning_rate": 0.04, "num_steps": 200, "batch_size": 4}
        settings |= {"momentum": momentum, "nesterov": nesterov}
        ours, theirs = sgd_curve(found, **settings), sgd_curve(expected, **settings)
        np.testing.assert_allclose(ours.noise_free_loss, theirs.noise_free_loss, rtol=1e-9)
        # Krylov methods see one of the equal eigenvalues of several outputs; the others are sampled.
        np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-9 if outputs == 1 else 0.01)
    limits = [stability(p, closure="limit", batch_size=40) for p in (found, expected)]
    assert limits[0].closure_learning_rate == pytest.approx(limits[1].closure_learning_rate, rel=1e-9)
    assert limits[0].row_safe_learning_rate == pytest.approx(limits[1].row_safe_learning_rate, rel=1e-9)


class Shared(torch.nn.Module):
    """Outputs of one sample that share their parameters: inputs (N, C, d), outputs (N, C)."""

    def __init__(self, dimension):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(dimension, dtype=torch.float64))

    def forward(self, inputs):
        return inputs @ self.weight


def test_outputs_are_rows_that_come_together():
    """With replacement, B samples of C outputs are a batch of B C rows of the stacked problem."""
    rng = np.random.default_rng(4)
    A, b = rng.standard_normal((30, 4, 7)), rng.standard_normal((30, 4))
    found = exact(Task(Shared(7), torch.nn.MSELoss(), [(torch.tensor(A), torch.tensor(b))]))
    expected = from_data(A.reshape(120, 7), b.ravel()).scaled(2.0)
    largest = max(float(np.linalg.norm(block, 2) ** 2) for block in A)
    assert found.rows_per_sample == 4.0
    assert found.largest_row == pytest.approx(2 / 4 * largest, rel=1e-10)
    settings = {"closure": "limit", "learning_rate": 0.05, "num_steps": 100, "sampling": "with_replacement"}
    ours = sgd_curve(found, batch_size=3, **settings)
    theirs = sgd_curve(expected, batch_size=12, **settings)
    assert float(ours.loss[-1] / ours.noise_free_loss[-1]) > 1.01
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-9)
    np.testing.assert_allclose(ours.noise_free_loss, theirs.noise_free_loss, rtol=1e-9)


def test_the_first_step_of_softmax_regression_is_its_taylor_polynomial():
    """For a linear network the Gauss-Newton matrix is the Hessian, here by automatic differentiation."""
    inputs, labels = data(50)
    model = torch.nn.Linear(6, 3).double()
    task = Task(model, torch.nn.CrossEntropyLoss(), [(inputs, labels)])
    problem = exact(task, rank=2 * 7)

    def loss(flat):
        return torch.nn.functional.cross_entropy(inputs @ flat[:18].reshape(3, 6).T + flat[18:], labels)

    point = torch.cat([p.detach().flatten() for p in model.parameters()])
    gradient = torch.autograd.functional.jacobian(loss, point)
    hessian = torch.autograd.functional.hessian(loss, point)
    rate = 0.3
    curve = sgd_curve(problem, closure="limit", learning_rate=rate, num_steps=1, batch_size=50)
    expected = loss(point) - rate * gradient @ gradient + rate**2 / 2 * gradient @ hessian @ gradient
    np.testing.assert_allclose(curve.loss.values, [float(loss(point)), float(expected)], rtol=1e-10)
    assert problem.trace == pytest.approx(float(hessian.trace()), rel=1e-10)
    assert problem.rows_per_sample == 2.0
    # noise: tr G times the mean of 1/p - 1 over the classes less one, all in the unit of the loss
    p = torch.softmax(model(inputs).detach(), 1)[torch.arange(50), labels]
    norm = kernel_norm(problem, closure="continuous", learning_rate=rate, noise=1.0 / problem.rows_per_sample)
    assert norm == pytest.approx(rate * float(hessian.trace()) / 4, rel=1e-10)
    held = problem.floor + problem.initial_loss.sum()
    assert held == pytest.approx(float((1 / p - 1).mean()) / 2, rel=1e-10)
    assert problem.offset == pytest.approx(float(loss(point)) - held, rel=1e-9)


def test_noise_of_the_first_step_is_that_of_the_gradients_on_average():
    """Exactly, a batch of one adds rate^2/2 tr(G Cov g); closures replace it, here by 0.8 to 1.25 of it."""
    task, A, B, start = regression(3, num_samples=400)
    problem, rate = exact(task), 0.02
    curve = sgd_curve(problem, closure="limit", learning_rate=rate, num_steps=1, batch_size=1)
    residual = A @ start - B
    gradients = (2 / 3) * np.einsum("nc,nd->ncd", residual, A).reshape(400, -1)
    centered = gradients - gradients.mean(0)
    curvature = np.kron(np.eye(3), (2 / 3) * A.T @ A / 400)
    added = rate**2 / 2 * np.mean(np.einsum("ni,ij,nj->n", centered, curvature, centered))
    assert 0.8 < float(curve.loss[1] - curve.noise_free_loss[1]) / added < 1.25


def test_how_the_data_are_cut_does_not_matter():
    inputs, labels = data(60)
    whole = linearize(Task(network(), torch.nn.CrossEntropyLoss(), [(inputs, labels)]), strategy="kept_graph")
    parts = [(inputs[:7], labels[:7]), (inputs[7:40], labels[7:40]), (inputs[40:], labels[40:])]
    cut = linearize(Task(network(), torch.nn.CrossEntropyLoss(), parts), strategy="kept_graph")
    for name in ("loss", "trace", "largest", "floor", "largest_row", "offset"):
        assert getattr(cut, name) == pytest.approx(getattr(whole, name), rel=1e-7), name


@pytest.mark.parametrize("num_samples", [1, 2, 3])
def test_fewer_samples_than_eigenvalues_asked_for(num_samples):
    for seed in range(5):
        inputs, target = data(num_samples)[0], torch.tensor([[1.0], [2.0], [-1.0]]).double()[:num_samples]
        model = torch.nn.Linear(6, 1).double()
        problem = linearize(Task(model, torch.nn.MSELoss(), [(inputs, target)]), rng=seed)
        features = torch.cat([inputs, torch.ones(num_samples, 1)], 1)
        top = 2 * torch.linalg.matrix_norm(features, 2) ** 2 / num_samples
        assert problem.largest == pytest.approx(float(top), rel=1e-9)
        assert problem.floor < 1e-9 * problem.loss


def test_single_precision_and_units():
    reference = linearize(regression(2)[0])
    single = linearize(regression(2, dtype=torch.float32)[0])
    tiny = linearize(regression(2, scale=1e-6)[0])
    assert single.trace == pytest.approx(reference.trace, rel=1e-5)
    assert single.loss == pytest.approx(reference.loss, rel=1e-5)
    assert tiny.trace == pytest.approx(1e-12 * reference.trace, rel=1e-9)
    assert tiny.largest == pytest.approx(1e-12 * reference.largest, rel=1e-9)


def test_some_of_the_parameters():
    task = classifier()
    task.parameters = "2"
    last = task.model[:2]
    inputs, labels = task.data[0]
    head = Task(task.model[2], task.loss, [(last(inputs).detach(), labels)])
    assert linearize(task).trace == pytest.approx(linearize(head).trace, rel=1e-10)


def test_a_trace_that_costs_too_much_is_estimated():
    task = regression(30, num_samples=60)[0]
    exact_trace, estimated = linearize(task), linearize(task, max_trace_products=14)
    stderr = estimated.evidence["trace_stderr"]
    assert exact_trace.evidence["trace_stderr"] == 0
    assert exact_trace.evidence["num_rows"] == 60 * 30
    assert 0 < stderr < 0.2 * exact_trace.trace
    assert abs(estimated.trace - exact_trace.trace) < 4 * stderr
    assert estimated.largest_row is None
    assert estimated.evidence["num_rows"] == 0
    assert "not known" in stability(estimated, closure="limit", batch_size=1).reason


def test_nothing_of_the_task_is_touched():
    task = classifier()
    task.model.train()
    task.model[0].eval()
    marker = torch.ones_like(task.model[0].weight)
    task.model[0].weight.grad = marker
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    states = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002
    linearize(task)
    assert [module.training for module in task.model.modules()] == [True, False, True, True]
    assert task.model[0].weight.grad is marker
    assert task.model[2].weight.grad is None
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1][1])  # noqa: NPY002
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())


def test_seeds_repeat_and_progress_is_told():
    task, seen = classifier(), []
    first = linearize(task, strategy="kept_graph", rng=5, progress=lambda *step: seen.append(step))
    again = linearize(task, strategy="kept_graph", rng=np.random.default_rng(5), max_trace_products=100)
    assert np.array_equal(first.eigenvalue, linearize(task, strategy="kept_graph", rng=5).eigenvalue)
    assert again.trace == pytest.approx(first.trace, rel=1e-9)
    assert seen[0] == ("checking the operator", 0, 1)
    assert ("rows of the samples", 256, 256) in seen
    assert seen[-1] == ("spectrum", 1, 1)


def weighted():
    return Task(network(), torch.nn.CrossEntropyLoss(weight=torch.ones(3).double()), [data()])


def ignoring():
    inputs, labels = data(20)
    labels[3] = -100
    return Task(network(), torch.nn.CrossEntropyLoss(), [(inputs, labels)])


def of_unequal_length():
    model = torch.nn.Conv1d(2, 3, 1).double()
    batches = [(torch.ones(2, 2, k).double(), torch.zeros(2, k).long()) for k in (3, 5)]
    return Task(model, torch.nn.CrossEntropyLoss(), batches)


def training_batchnorm():
    task = with_batchnorm()
    task.model.train()
    return task


def fitted():
    task = regression(1)[0]
    inputs = task.data[0][0]
    return Task(task.model, task.loss, [(inputs, task.model(inputs).detach())])


def of_model_and_batch():
    return Task(network(), lambda model, batch: model(batch[0]).square().mean(), [data()])


def divided():
    task = regression(1)[0]
    return Task(task.model, torch.nn.KLDivLoss(reduction="batchmean"), task.data)


def summing_squares():
    task = regression(1)[0]
    return Task(task.model, torch.nn.MSELoss(reduction="sum"), task.data)


def absolute():
    task = regression(1)[0]
    return Task(task.model, torch.nn.L1Loss(), task.data)


def constant():
    class Constant(torch.nn.Linear):
        def forward(self, x):
            return 0 * super().forward(x)

    return Task(Constant(6, 1).double(), torch.nn.MSELoss(), regression(1)[0].data)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (sum_loss, "reduction='mean'"),
        (summing_squares, "multiply learning rates by the batch size"),
        (divided, "sums over the batch"),
        (weighted, "class weights"),
        (ignoring, "1 targets of batch 0 are ignored"),
        (of_unequal_length, "between 3 and 5 positions"),
        (training_batchnorm, r"Call model.eval\(\)"),
        (fitted, "fits every target exactly"),
        (of_model_and_batch, "Gauss-Newton"),
        (absolute, "a slope but no curvature"),
        (constant, "Gauss-Newton matrix is zero"),
    ],
)
def test_what_has_no_quadratic_model_of_samples(build, message):
    with pytest.raises(TaskError, match=message):
        linearize(build(), check=False)


def test_advice_for_class_weights_works():
    def divided(z, y):
        weight = torch.tensor([1.0, 2.0, 3.0], dtype=z.dtype)
        return torch.nn.functional.cross_entropy(z, y, weight=weight, reduction="sum") / len(y)

    inputs, labels = data(30)
    problem = linearize(Task(network(), divided, [(inputs, labels)]))
    assert problem.rows_per_sample == 2.0
    assert problem.loss == pytest.approx(divided(network()(inputs), labels).item(), rel=1e-10)


def test_dropout_is_refused():
    task = with_dropout()
    task.model.train()
    with pytest.raises(NonDeterministicError, match="eval"):
        linearize(task)


def test_wrong_calls():
    task = regression(1)[0]
    for options in ({"max_trace_products": 0}, {"max_trace_products": 1.5}, {"num_steps": 0}, {"rng": "seed"}):
        with pytest.raises(ArgumentError):
            linearize(task, **options)
    task.data[0][1][3] = float("nan")
    with pytest.raises(NonFiniteError):
        linearize(Task(task.model, task.loss, task.data))


def test_the_products_of_an_estimated_trace_are_counted():
    task, seen = regression(100)[0], []
    problem = linearize(task, max_trace_products=45, progress=lambda *step: seen.append(step))
    assert problem.evidence["num_rows"] == 0
    steps = [step[1:] for step in seen if step[0] == "trace"]
    assert steps[:2] == [(0, 45), (30, 45)]
    assert steps[-1] == (45, 45)
    assert steps == sorted(steps)


def test_an_estimated_trace_that_is_too_small_names_the_option(monkeypatch):
    import probes.linearized

    whole = probes.linearized.trace

    def coarse(*arguments, **options):
        found = whole(*arguments, **options)
        return dataclasses.replace(found, value=0.01 * found.value)

    monkeypatch.setattr(probes.linearized, "trace", coarse)
    with pytest.raises(ArgumentError, match=r"Raise max_trace_products \(--max-trace-products\) above 14"):
        linearize(regression(30, num_samples=60)[0], max_trace_products=14)


def test_dropout_names_what_can_be_done_here():
    task = with_dropout()
    task.model.train()
    with pytest.raises(NonDeterministicError, match=r"Call model.eval\(\) first\.$") as caught:
        linearize(task)
    assert "dropout_seed" not in str(caught.value)
