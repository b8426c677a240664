"""Damping against the exact smallest one of sampled Hessians, and refusals."""

import numpy as np
import pytest

from spectra.errors import ArgumentError, ShapeError
from spectra.recommend import PairStatistic, Verdict, noise_damping, smallest_damping

TOLERANCE, DIMENSION, OUTLIERS = 0.5, 100, (20.0, 8.0, 3.0)


def resolved(value, error=0.05):
    return PairStatistic(value=value, leave_one_out=np.full(24, value), stderr=error * abs(value))


def exact_damping(hessian, noise):
    """Return the smallest delta with ``||(H + d)^-1/2 E (H + d)^-1/2|| <= TOLERANCE``, by bisection."""
    values, vectors = np.linalg.eigh(hessian)
    rotated = vectors.T @ noise @ vectors
    low, high = 1e-9, 1e5
    for _ in range(70):
        middle = np.sqrt(low * high)
        good = values[0] + middle > 0
        if good:
            scale = 1 / np.sqrt(values + middle)
            good = np.abs(np.linalg.eigvalsh(scale[:, None] * rotated * scale)).max() <= TOLERANCE
        low, high = (low, middle) if good else (middle, high)
    return high


def test_closed_form_of_one_direction():
    for lam, s2 in ((3.0, 1.0), (1e8, 1.0), (0.0, 4.0)):
        found = noise_damping([lam], [s2], noise_fraction=0.25, tolerance=TOLERANCE)
        np.testing.assert_allclose(found * (lam + found), 0.25 * s2 / TOLERANCE**2, rtol=1e-9)
    assert noise_damping([1.0], [0.0], noise_fraction=1.0) == 0.0
    assert noise_damping([10.0], [1.0], noise_fraction=1.0, other_curvature=10.0) == 0.0


def test_solution_fulfills_its_equation_and_scales_with_the_units():
    lam, noise = np.array([5.0, 2.0, -1.0]), np.array([3.0, 8.0, 1.0])
    delta = noise_damping(lam, noise, noise_fraction=0.1, other_curvature=0.05)
    total = np.sum(0.1 * noise / ((np.maximum(lam, 0) + delta) * (0.05 + delta)))
    np.testing.assert_allclose(total, TOLERANCE**2, rtol=1e-9)
    unit = 1e-14
    scaled = noise_damping(unit * lam, unit**2 * noise, noise_fraction=0.1, other_curvature=unit * 0.05)
    np.testing.assert_allclose(scaled, unit * delta, rtol=1e-9)


@pytest.mark.parametrize("batch", [16, 64, 256])
def test_bulk_term_is_exact_for_a_random_symmetric_matrix(batch):
    """White noise on outliers and a flat bulk: the semicircle term decides, and is right within fluctuations."""
    rng = np.random.default_rng(0)
    hessian = np.diag(np.r_[OUTLIERS, np.zeros(DIMENSION - 3)])
    exact = []
    for _ in range(8):
        draw = rng.standard_normal((DIMENSION, DIMENSION))
        exact.append(exact_damping(hessian, 0.3 * (draw + draw.T) / np.sqrt(2 * batch)))
    advice = smallest_damping(
        curvature=OUTLIERS,
        residual=np.zeros(3),
        curvature_noise=[resolved(DIMENSION * 0.09)] * 3,
        within_noise=[[resolved(0.09)] * 3] * 3,
        bulk_noise=resolved((DIMENSION - 3) * 0.09),
        smallest_curvature=0.0,
        batch_size=batch,
    )
    assert advice.evidence["limiting_term"] == "noise of the bulk"
    # the edge of a 100 x 100 matrix lies within a few times 100^(-2/3) = 5 % of its limit
    np.testing.assert_allclose(advice.value, np.median(exact), rtol=0.1)


@pytest.fixture(scope="module")
def least_squares():
    """Return samples, Hessian and the split noise of a linear model with three strong features."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((2000, DIMENSION)) * np.sqrt(np.r_[OUTLIERS, np.full(DIMENSION - 3, 0.01)])
    hessian = rows.T @ rows / len(rows)
    values, vectors = np.linalg.eigh(hessian)
    top, rest = vectors[:, -3:], vectors[:, :-3]

    def noise_of(v):
        return (rows @ v)[:, None] * rows - hessian @ v

    total = [np.mean(np.sum(noise_of(v) ** 2, axis=1)) for v in top.T]
    within = [np.mean((noise_of(v) @ top) ** 2, axis=0) for v in top.T]
    bulk = np.mean([np.mean(np.sum((noise_of(v) @ rest) ** 2, axis=1)) for v in rest.T])
    return rows, hessian, values, total, within, bulk


@pytest.mark.parametrize("batch", [8, 32, 128, 512])
def test_split_noise_is_near_the_exact_damping_of_sampled_hessians(least_squares, batch):
    rows, hessian, values, total, within, bulk = least_squares
    rng = np.random.default_rng(2)
    exact = []
    for _ in range(12):
        chosen = rows[rng.integers(len(rows), size=batch)]
        exact.append(exact_damping(hessian, chosen.T @ chosen / batch - hessian))
    common = {
        "curvature": values[-3:],
        "residual": np.zeros(3),
        "curvature_noise": [resolved(value) for value in total],
        "smallest_curvature": 0.0,
        "batch_size": batch,
    }
    table = [[resolved(value) for value in row] for row in within]
    split = smallest_damping(**common, within_noise=table, bulk_noise=resolved(bulk))
    # Frobenius norms bound the blocks from above; bulk curvature counts as 0: at most a few times too much
    assert 0.8 < split.value / np.median(exact) < 4
    # counting all noise as leak is an upper bound
    assert smallest_damping(**common).value > max(split.value, np.median(exact))


def test_negative_curvature_asks_for_twice_its_size():
    advice = smallest_damping(
        curvature=[4.0], residual=[0.0], curvature_noise=[resolved(1e-6)], smallest_curvature=-1.5, batch_size=32
    )
    assert advice.value == 3.0
    assert advice.evidence["limiting_term"] == "negative curvature"


def test_all_data_leave_negative_curvature_only():
    advice = smallest_damping(
        curvature=[4.0],
        residual=[0.0],
        curvature_noise=[resolved(9.0)],
        smallest_curvature=-0.1,
        batch_size=64,
        num_samples=64,
    )
    np.testing.assert_allclose([advice.low, advice.value, advice.high], 0.2)


def test_interval_follows_the_noise():
    advice = smallest_damping(
        curvature=[4.0], residual=[0.0], curvature_noise=[resolved(9.0, 0.2)], smallest_curvature=0.0, batch_size=8
    )
    assert advice.low < advice.value < advice.high
    assert advice.verdict is Verdict.TENTATIVE


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"curvature": [-1.0]}, "largest is positive"),
        ({"curvature": [np.nan]}, "largest is positive"),
        ({"residual": [1.0]}, "converged"),
        ({"curvature_noise": [resolved(1.0, 2.0)]}, "noise is resolved"),
    ],
)
def test_unresolved_evidence_is_withheld(changes, claim):
    good = {"curvature": [4.0], "residual": [0.0], "curvature_noise": [resolved(1.0)]}
    advice = smallest_damping(**(good | changes), smallest_curvature=0.0, batch_size=8)
    assert advice.verdict is Verdict.WITHHELD
    assert advice.value is None
    assert claim in advice.reason


def test_bad_calls_are_refused():
    good = {"curvature": [4.0], "residual": [0.0], "smallest_curvature": 0.0}
    with pytest.raises(ShapeError, match="same directions"):
        smallest_damping(**good, curvature_noise=[], batch_size=8)
    with pytest.raises(ShapeError, match="within_noise"):
        smallest_damping(**good, curvature_noise=[resolved(1.0)], within_noise=[], batch_size=8)
    with pytest.raises(ArgumentError, match="tolerance"):
        smallest_damping(**good, curvature_noise=[resolved(1.0)], batch_size=8, tolerance=1.0)
    with pytest.raises(ArgumentError, match="batch_size"):
        smallest_damping(**good, curvature_noise=[resolved(1.0)], batch_size=0)
    with pytest.raises(ArgumentError, match="not negative"):
        noise_damping([1.0], [-1.0], noise_fraction=1.0)
    other = PairStatistic(value=0.5, leave_one_out=np.full(9, 0.5), stderr=0.1)
    with pytest.raises(ShapeError, match="same micro-batches"):
        smallest_damping(**good, curvature_noise=[resolved(1.0)], within_noise=[[other]], batch_size=8)
