import pytest
import torch
from torch import nn

from probes.operators import EmpiricalFisherOperator
from probes.operators.inverse_fisher import InverseEmpiricalFisher
from probes.operators.preconditioned import preconditioned
from spectra import as_operator
from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.testing import check_operator
from tests.probes.networks import cut, labels, mlp, normal


def dense(gradients: torch.Tensor, damping: float) -> torch.Tensor:
    n = gradients.shape[1]
    return damping * torch.eye(n, dtype=torch.float64) + gradients.T.double() @ gradients.double() / len(gradients)


@pytest.mark.parametrize(("m", "n"), [(1, 7), (5, 7), (7, 7), (20, 7), (30, 200)])
@pytest.mark.parametrize("damping", [1e-3, 1.0, 1e3])
def test_inverse_against_dense(m, n, damping):
    G, V = normal(m, n), normal(n, 3, seed=1)
    inverse = InverseEmpiricalFisher(G, damping=damping)
    expected = torch.linalg.solve(dense(G, damping), V)
    # Rounding relative to |V| / damping, see the docstring: the condition number of P is up to about 3e4 here.
    torch.testing.assert_close(inverse @ V, expected, rtol=1e-9, atol=1e-12 / damping)
    torch.testing.assert_close(inverse @ V[:, 0], expected[:, 0], rtol=1e-9, atol=1e-12 / damping)


def test_sherman_and_morrison():
    g, v, damping = normal(9), normal(9, seed=1), 0.3
    expected = v / damping - g * (g @ v) / (damping * (damping + g @ g))
    torch.testing.assert_close(InverseEmpiricalFisher(g[None], damping=damping) @ v, expected)


def test_conforms():
    inverse = InverseEmpiricalFisher(normal(5, 12), damping=0.1)
    check_operator(inverse)
    check_operator(as_operator(InverseEmpiricalFisher(normal(5, 12).float(), damping=0.1)))
    assert as_operator(inverse).name == "empirical_fisher"


@pytest.mark.parametrize("exponent", [1.0, 0.5, -0.5, -1.0, 2.0])
@pytest.mark.parametrize("m", [1, 5, 15])
def test_every_power_against_dense(m, exponent):
    G = normal(m, 10)
    values, vectors = torch.linalg.eigh(dense(G, 0.2))
    expected = vectors @ torch.diag(values**exponent) @ vectors.T
    found = InverseEmpiricalFisher(G, damping=0.2).power(torch.eye(10, dtype=torch.float64), exponent)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_powers_multiply_and_both_ways_to_the_inverse_agree():
    inverse, v = InverseEmpiricalFisher(normal(6, 10), damping=1e-2), normal(10, 2, seed=1)
    torch.testing.assert_close(inverse.multiply(inverse @ v), v)
    torch.testing.assert_close(inverse.power(v, -1.0), inverse @ v)
    torch.testing.assert_close(inverse.inverse_sqrt(inverse.inverse_sqrt(v)), inverse @ v)


def test_dependent_and_zero_gradients():
    g = normal(1, 8)
    G = torch.cat([g, 2 * g, -g, torch.zeros(2, 8, dtype=torch.float64)])
    inverse, v = InverseEmpiricalFisher(G, damping=0.1), normal(8, seed=1)
    expected = torch.linalg.solve(dense(G, 0.1), v)
    torch.testing.assert_close(inverse @ v, expected)
    torch.testing.assert_close(inverse.power(v, -1.0), expected)


def test_large_damping_is_a_multiple_of_the_identity():
    v = normal(8)
    torch.testing.assert_close(InverseEmpiricalFisher(normal(4, 8), damping=1e12) @ v, v / 1e12, rtol=1e-10, atol=0.0)


def test_window_keeps_the_latest_gradients():
    G, v = normal(11, 8), normal(8, 2, seed=1)
    inverse = InverseEmpiricalFisher(torch.empty(0, 8, dtype=torch.float64), damping=0.3, window=4)
    torch.testing.assert_close(inverse @ v, v / 0.3)
    torch.testing.assert_close(inverse.sqrt(v), v * 0.3**0.5)
    for i, g in enumerate(G):
        inverse.push(g)
        kept = G[max(0, i - 3) : i + 1]
        assert inverse.num_gradients == len(kept)
        torch.testing.assert_close(inverse @ v, torch.linalg.solve(dense(kept, 0.3), v))
        torch.testing.assert_close(inverse.sqrt(inverse.sqrt(v)), dense(kept, 0.3) @ v)
    given = InverseEmpiricalFisher(G, damping=0.3, window=4)
    torch.testing.assert_close(given @ v, inverse @ v)


def test_given_gradients_are_copied():
    G, v = normal(3, 8), normal(8, seed=1)
    inverse = InverseEmpiricalFisher(G, damping=0.3)
    before = inverse @ v
    G.zero_()
    inverse._factor = None
    assert bool((inverse @ v == before).all())


def test_gradients_of_samples_of_an_operator():
    """With one sample in a batch it is the inverse of the operator's own empirical Fisher matrix, damped."""
    model, loss = mlp(nn.Tanh), nn.CrossEntropyLoss()
    E = EmpiricalFisherOperator(model, loss, cut(normal(14, 6), labels(14)), micro_batch=1, check=False)
    for window in (None, 14):
        inverse = InverseEmpiricalFisher(E.batch_gradients(), damping=1e-2, window=window)
        assert inverse.num_gradients == 14
        v = normal(E.shape[0], 3)
        torch.testing.assert_close(inverse @ (as_operator(E).shift(1e-2) @ v), v)
    # Its eigenvalues, seen by the matrix itself, are below one.
    whitened = preconditioned(E, inverse) @ torch.eye(E.shape[0], dtype=torch.float64)
    values = torch.linalg.eigvalsh(E @ torch.eye(E.shape[0], dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.eigvalsh(whitened), values / (values + 1e-2), rtol=1e-7, atol=1e-9)


def test_single_precision_is_rounded_once(monkeypatch):
    """Condition number 4000, long sums, several pieces: still right to the rounding of the result."""
    monkeypatch.setattr("probes.operators.inverse_fisher.PIECE", 2**16)
    n, damping = 100_000, 1e-4
    scales = 1 / torch.arange(1, n + 1, dtype=torch.float64)
    G, v = (normal(4, n) * scales).float(), (normal(n, seed=1) * scales).float()
    wide = InverseEmpiricalFisher(G.double(), damping=damping)
    single = InverseEmpiricalFisher(G, damping=damping)
    for exponent in (-1.0, -0.5, 0.5):
        found = single.power(v, exponent)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wide.power(v.double(), exponent).float(), rtol=3e-7, atol=0.0)
    torch.testing.assert_close(single @ v, (wide @ v.double()).float(), rtol=3e-7, atol=0.0)


@pytest.mark.parametrize(
    ("gradients", "options", "error"),
    [
        (torch.ones(2, 3), {"damping": 0.0}, ArgumentError),
        (torch.ones(2, 3), {"damping": float("nan")}, ArgumentError),
        (torch.ones(2, 3), {"damping": 1.0, "window": 0}, ArgumentError),
        (torch.ones(0, 3), {"damping": 1.0}, ArgumentError),
        (torch.ones(2, 0), {"damping": 1.0}, ArgumentError),
        ([], {"damping": 1.0}, ArgumentError),
        (iter([]), {"damping": 1.0, "window": 3}, ArgumentError),
        (torch.ones(3), {"damping": 1.0}, ShapeError),
        ([torch.ones(3), torch.ones(4)], {"damping": 1.0}, ShapeError),
        ([torch.ones(3), torch.ones(3, 1)], {"damping": 1.0}, ShapeError),
        ([torch.ones(3), torch.ones(3).double()], {"damping": 1.0}, BackendError),
        (torch.ones(2, 3, dtype=torch.int64), {"damping": 1.0}, BackendError),
        (torch.tensor([[1.0, float("inf")]]), {"damping": 1.0}, NonFiniteError),
    ],
)
def test_wrong_gradients(gradients, options, error):
    with pytest.raises(error):
        InverseEmpiricalFisher(gradients, **options)


def test_gradient_that_is_not_finite_changes_nothing():
    inverse, v = InverseEmpiricalFisher(normal(3, 8), damping=0.3), normal(8, seed=1)
    before = inverse @ v
    with pytest.raises(NonFiniteError, match="8 entries"):
        inverse.push(torch.full((8,), torch.nan, dtype=torch.float64))
    assert bool((inverse @ v == before).all())
    with pytest.raises(ShapeError):
        inverse @ normal(7)
    with pytest.raises(BackendError):
        inverse @ v.float()
