"""The square in a loss, against pseudo-inverses of output Hessians that automatic differentiation gives."""

import pytest
import torch

from probes.losses import read_loss
from probes.losses.cross_entropy import CrossEntropy
from probes.losses.elementwise import ElementwiseLoss
from probes.output_squares import MAX_OUTPUTS, output_squares
from spectra.errors import NonFiniteError, TaskError

F = torch.nn.functional


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def explicit(loss, output, target):
    """Return the energy and the rank from the whole Hessian of the mean loss of a batch."""
    flat = output.flatten()

    def of(z):
        return loss(z.reshape(output.shape), target)

    gradient, hessian = torch.autograd.functional.jacobian(of, flat), torch.autograd.functional.hessian(of, flat)
    inverse = torch.linalg.pinv(hessian, hermitian=True, rtol=1e-10)
    return float(gradient @ inverse @ gradient) / 2, int(torch.linalg.matrix_rank(hessian, hermitian=True, rtol=1e-10))


def probabilities(*shape):
    return torch.softmax(normal(*shape, seed=5), 1)


CASES = {
    "squares": (torch.nn.MSELoss(), normal(4, 3), normal(4, 3, seed=1)),
    "squares of images": (torch.nn.MSELoss(), normal(3, 2, 2, 2), normal(3, 2, 2, 2, seed=1)),
    "labels": (torch.nn.CrossEntropyLoss(), 3 * normal(5, 4), torch.tensor([0, 3, 1, 1, 2])),
    "labels at positions": (
        torch.nn.CrossEntropyLoss(),
        normal(2, 3, 2, 2),
        torch.tensor([[[0, 1], [2, 2]], [[1, 1], [0, 2]]]),
    ),
    "smoothed labels": (torch.nn.CrossEntropyLoss(label_smoothing=0.2), normal(5, 4), torch.tensor([0, 3, 1, 1, 2])),
    "probabilities": (torch.nn.CrossEntropyLoss(), normal(5, 4), probabilities(5, 4)),
    "probabilities that sum to 2": (torch.nn.CrossEntropyLoss(), normal(5, 4), 2 * probabilities(5, 4)),
    "yes or no": (torch.nn.BCEWithLogitsLoss(), normal(4, 3), (normal(4, 3, seed=1) > 0).double()),
    "weighted yes": (
        torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)),
        normal(4, 3),
        (normal(4, 3, seed=1) > 0).double(),
    ),
    "counts": (torch.nn.PoissonNLLLoss(), normal(4, 2), torch.tensor([[0.0, 1], [3, 0], [1, 1], [2, 5]]).double()),
    "wide Huber": (torch.nn.HuberLoss(delta=50.0), normal(4, 3), normal(4, 3, seed=1)),
    "unknown squares": (lambda z, y: ((z - y) ** 2).sum() / len(z), normal(4, 3), normal(4, 3, seed=1)),
    "unknown softmax": (lambda z, y: F.cross_entropy(z, y), normal(5, 4), torch.tensor([0, 3, 1, 1, 2])),
}


@pytest.mark.parametrize("case", CASES)
def test_energy_and_rank_are_those_of_the_pseudo_inverse(case):
    function, output, target = CASES[case]
    found = output_squares(read_loss(function), output, target)
    energy, rank = explicit(function, output, target)
    assert found.energy == pytest.approx(energy, rel=1e-9)
    assert found.num_squares == rank


def test_cases_reach_all_three_ways():
    kinds = [read_loss(function) for function, _, _ in CASES.values()]
    ways = [
        "softmax" if isinstance(k, CrossEntropy) else "elements" if isinstance(k, ElementwiseLoss) else ""
        for k in kinds
    ]
    assert set(ways) == {"softmax", "elements", ""}


def test_squared_errors_are_their_own_square():
    output, target = normal(6, 3), normal(6, 3, seed=1)
    loss = torch.nn.MSELoss()
    assert output_squares(read_loss(loss), output, target).energy == pytest.approx(
        float(loss(output, target)), rel=1e-14
    )


def test_one_label_leaves_one_over_its_probability():
    output, target = normal(7, 5), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    p = torch.softmax(output, 1)[torch.arange(7), target]
    found = output_squares(read_loss(torch.nn.CrossEntropyLoss()), output, target)
    assert found.energy == pytest.approx(float((1 / p - 1).mean()) / 2, rel=1e-13)


def test_digits_are_kept_where_the_model_is_sure():
    """1/p - 1 is exp(-20) + exp(-30) here, far below eps of p itself in float32."""
    output = torch.tensor([[30.0, 10.0, 0.0]])
    found = output_squares(read_loss(torch.nn.CrossEntropyLoss()), output, torch.tensor([0]))
    exact = (torch.tensor([-20.0, -30.0], dtype=torch.float64).exp().sum()) / 2
    assert found.energy == pytest.approx(float(exact), rel=1e-12)
    one = output_squares(read_loss(torch.nn.BCEWithLogitsLoss()), torch.tensor([[20.0]]), torch.tensor([[1.0]]))
    assert one.energy == pytest.approx(float(torch.tensor(-20.0, dtype=torch.float64).exp()) / 2, rel=1e-6)


def test_losses_of_single_precision_alone():
    def single(z, y):
        return ((z - y) @ torch.eye(3)).square().mean()

    output, target = normal(4, 3).float(), normal(4, 3, seed=1).float()
    assert output_squares(read_loss(single), output, target).energy == pytest.approx(
        float(single(output, target)), rel=1e-5
    )


@pytest.mark.parametrize(
    ("function", "target"),
    [
        (torch.nn.L1Loss(), normal(4, 3, seed=1)),
        (torch.nn.HuberLoss(delta=0.1), normal(4, 3, seed=1)),
        (torch.nn.KLDivLoss(reduction="batchmean"), probabilities(4, 3)),
        (torch.nn.NLLLoss(), torch.tensor([0, 1, 2, 0])),
        (lambda z, y: (z - y).abs().mean(), normal(4, 3, seed=1)),
    ],
)
def test_slopes_without_curvature_are_refused(function, target):
    with pytest.raises(TaskError, match="a slope but no curvature"):
        output_squares(read_loss(function), normal(4, 3), target)


def test_what_is_not_convex_is_refused():
    def bent(z, y):
        return ((torch.sigmoid(z) - y) ** 2).mean()

    with pytest.raises(TaskError, match="not convex"):
        output_squares(read_loss(bent), torch.tensor([[3.0], [-3.0]]).double(), torch.zeros(2, 1).double())
    with pytest.raises(TaskError, match="not convex"):
        output_squares(
            read_loss(torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(-1.0))),
            torch.zeros(2, 1),
            torch.ones(2, 1),
        )
    with pytest.raises(TaskError, match="negative target probabilities"):
        output_squares(read_loss(torch.nn.CrossEntropyLoss()), torch.zeros(1, 2), torch.tensor([[1.5, -0.5]]))


def test_samples_that_influence_each_other_are_refused():
    def contrastive(z, y):
        return ((z - z.mean(0) - y) ** 2).mean()

    with pytest.raises(TaskError, match="couples samples"):
        output_squares(read_loss(contrastive), normal(4, 3), normal(4, 3, seed=1))


def test_too_many_outputs_for_matrices_are_refused():
    with pytest.raises(TaskError, match="no formula"):
        output_squares(
            read_loss(lambda z, y: ((z - y) ** 2).mean()), normal(1, MAX_OUTPUTS + 1), normal(1, MAX_OUTPUTS + 1)
        )


def test_impossible_targets_are_not_finite():
    with pytest.raises(NonFiniteError, match="no probability"):
        output_squares(read_loss(torch.nn.CrossEntropyLoss()), torch.tensor([[0.0, 5000.0]]), torch.tensor([0]))
    with pytest.raises(NonFiniteError):
        output_squares(read_loss(torch.nn.CrossEntropyLoss()), torch.tensor([[0.0, float("nan")]]), torch.tensor([0]))
