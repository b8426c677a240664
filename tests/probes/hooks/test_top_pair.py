"""The warm-started search for the largest eigenvalue."""

import numpy as np
import pytest
import torch

from probes.hooks.top_pair import top_pair
from spectra.errors import ArgumentError, NonFiniteError
from spectra.testing import matrix_with_spectrum, spectrum

N = 60


def dense(name="spiked", rng=0):
    return torch.tensor(matrix_with_spectrum(spectrum(name, N), rng))


@pytest.mark.parametrize("name", ["spiked", "inverse", "indefinite"])
def test_it_converges_through_restarts_with_a_true_residual(name):
    A = dense(name)
    pair = top_pair(lambda v: A @ v, torch.ones(N).double(), tolerance=1e-8, max_products=500)
    exact = torch.linalg.eigvalsh(A)[-1]
    assert pair.value == pytest.approx(float(exact), rel=1e-10)
    residual = float(torch.linalg.vector_norm(A @ pair.vector - pair.value * pair.vector))
    assert residual == pytest.approx(pair.residual, rel=1e-3, abs=1e-13)
    assert pair.residual <= 1e-8 * abs(pair.value)
    assert float(torch.linalg.vector_norm(pair.vector)) == pytest.approx(1.0)


def test_stopped_early_the_value_is_a_lower_bound_and_the_residual_covers_an_eigenvalue():
    A = dense("inverse")
    values = torch.linalg.eigvalsh(A).numpy()
    for count in (2, 3, 5, 9):
        pair = top_pair(lambda v: A @ v, torch.ones(N).double(), tolerance=1e-12, max_products=count)
        assert pair.num_products == count
        assert pair.value <= values[-1] * (1 + 1e-12)
        assert np.min(np.abs(values - pair.value)) <= pair.residual * (1 + 1e-9)


def test_a_warm_start_takes_two_products_and_sees_a_new_direction():
    A = dense("spiked")
    values, vectors = torch.linalg.eigh(A)
    generator = torch.Generator().manual_seed(0)
    warm = top_pair(lambda v: A @ v, vectors[:, -1], tolerance=0.1, generator=generator)
    assert warm.num_products == 2
    assert warm.value == pytest.approx(float(values[-1]), rel=0.02)
    grown = A + 10 * float(values[-1]) * torch.outer(vectors[:, 0], vectors[:, 0])
    seen = top_pair(lambda v: grown @ v, vectors[:, -1], tolerance=0.1, generator=generator)
    assert seen.value == pytest.approx(float(torch.linalg.eigvalsh(grown)[-1]), rel=0.1)


@pytest.mark.parametrize("size", [1.2, 2.0])
def test_a_new_largest_direction_is_found_within_a_few_searches(size):
    """Beside the old one, in none of the vectors kept but by chance: a part of 1e-4 among so many coordinates."""
    generator = torch.Generator().manual_seed(0)
    diagonal = 0.5 * torch.rand(100_000, generator=generator)
    diagonal[0] = 10.0
    start = torch.randn(diagonal.shape, generator=generator)
    for i in range(12):
        if i == 4:
            diagonal[1] = 10.0 * size
        pair = top_pair(lambda v: diagonal * v, start, max_products=10, generator=generator if i else None)
        start = pair.successor
    assert pair.value == pytest.approx(10.0 * size, rel=0.02)


def test_the_successor_is_the_vector_and_a_part_of_the_product_with_the_second():
    A = dense()
    start = torch.ones(N).double()
    pair = top_pair(lambda v: A @ v, start, max_products=3, tolerance=1e-12)
    krylov, _ = torch.linalg.qr(torch.stack([start, A @ start, A @ A @ start], dim=1))
    _, vectors = torch.linalg.eigh(krylov.T @ A @ krylov)
    product = A @ krylov @ vectors[:, -2]
    beside = pair.successor - pair.vector
    assert abs(float(beside @ product)) == pytest.approx(0.1 * float(torch.linalg.vector_norm(product)))
    assert float(torch.linalg.vector_norm(beside)) == pytest.approx(0.1)


def test_tiny_and_zero_operators():
    assert top_pair(lambda v: -3 * v, torch.ones(1)).value == pytest.approx(-3.0)
    zero = top_pair(lambda v: 0 * v, torch.ones(5))
    assert (zero.value, zero.residual) == (0.0, 0.0)


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="positive finite norm"):
        top_pair(lambda v: v, torch.zeros(3))
    with pytest.raises(ArgumentError, match="at least 2 products"):
        top_pair(lambda v: v, torch.ones(3), max_products=1)
    with pytest.raises(NonFiniteError, match="product 1 "):
        top_pair(lambda v: v * float("nan"), torch.ones(3))
