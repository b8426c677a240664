import numpy as np
import pytest
import torch

from probes.operators.preconditioned import DiagonalPreconditioner, preconditioned
from spectra import as_operator, slq
from spectra.errors import ArgumentError, BackendError, ShapeError
from spectra.testing import check_operator
from tests.cases import matrix
from tests.probes.networks import normal


def diagonal(n: int = 12) -> torch.Tensor:
    return torch.logspace(-3, 1, n, dtype=torch.float64)


def test_powers_of_a_diagonal():
    d, v = diagonal(), normal(12, 3)
    P = DiagonalPreconditioner(d)
    check_operator(as_operator(torch.diag(d)))
    torch.testing.assert_close(P.multiply(v), d[:, None] * v)
    torch.testing.assert_close(P.solve(P.multiply(v)), v)
    torch.testing.assert_close(P.sqrt(P.sqrt(v)), P.multiply(v))
    torch.testing.assert_close(P.inverse_sqrt(P.inverse_sqrt(v)), P.solve(v))
    torch.testing.assert_close(P.solve(v[:, 0]), v[:, 0] / d)


def test_diagonal_is_copied():
    d = diagonal()
    P = DiagonalPreconditioner(d)
    d.zero_()
    assert bool((P.diagonal > 0).all())


def test_eigenvalues_are_those_of_the_quotient():
    a, d = matrix("indefinite", 12), diagonal()
    operator = preconditioned(torch.tensor(a), DiagonalPreconditioner(d))
    check_operator(operator)
    dense = (operator @ torch.eye(12, dtype=torch.float64)).numpy()
    expected = np.sort(np.linalg.eigvals(np.diag(1 / d.numpy()) @ a).real)
    np.testing.assert_allclose(np.linalg.eigvalsh(dense), expected, rtol=1e-9, atol=1e-9)


def test_identity_changes_nothing_and_the_matrix_itself_gives_the_identity():
    a = matrix("spiked", 12)
    eye = torch.eye(12, dtype=torch.float64)
    identity = DiagonalPreconditioner(torch.ones(12, dtype=torch.float64))
    np.testing.assert_array_equal((preconditioned(torch.tensor(a), identity) @ eye).numpy(), a)
    itself = preconditioned(torch.diag(diagonal()), DiagonalPreconditioner(diagonal()))
    torch.testing.assert_close(itself @ eye, eye)


def test_one_product_costs_one_and_arguments_stay():
    A = as_operator(torch.tensor(matrix("spiked", 12)), name="A")
    operator = preconditioned(A, DiagonalPreconditioner(diagonal(), name="P"))
    v = normal(12, 2)
    before = v.clone()
    operator @ v
    assert A.num_matvecs == 2
    assert operator.name == "A preconditioned by P"
    assert bool((v == before).all())
    assert preconditioned(A, DiagonalPreconditioner(diagonal()), name="other").name == "other"


def test_scaling_p_divides_the_spectrum():
    A = torch.tensor(matrix("spiked", 12))
    means = [
        float(
            slq(preconditioned(A, DiagonalPreconditioner(c * diagonal())), num_probes=2, num_steps=12).ritz_value.max()
        )
        for c in (1.0, 4.0)
    ]
    assert means[0] == pytest.approx(4 * means[1], rel=1e-10)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (torch.ones(3, dtype=torch.int64), BackendError),
        (np.ones(3), BackendError),
        (torch.ones(3, 1), ShapeError),
        (torch.ones(0), ShapeError),
        (torch.tensor([1.0, 0.0]), ArgumentError),
        (torch.tensor([1.0, -1.0]), ArgumentError),
        (torch.tensor([1.0, float("nan")]), ArgumentError),
    ],
)
def test_what_is_no_diagonal(bad, error):
    with pytest.raises(error):
        DiagonalPreconditioner(bad)


def test_what_does_not_fit():
    P = DiagonalPreconditioner(torch.ones(3, dtype=torch.float64))
    with pytest.raises(ShapeError, match="same parameters"):
        preconditioned(torch.eye(4, dtype=torch.float64), P)
    with pytest.raises(BackendError, match="convert it first"):
        preconditioned(torch.eye(3), P)
    with pytest.raises(BackendError, match="DiagonalPreconditioner"):
        preconditioned(torch.eye(3), torch.ones(3))
    for bad in (torch.ones(4, dtype=torch.float64), torch.ones(3, 0, dtype=torch.float64)):
        with pytest.raises(ShapeError):
            P.solve(bad)
    for bad in (torch.ones(3), np.ones(3)):
        with pytest.raises(BackendError):
            P.solve(bad)
