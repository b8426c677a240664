import numpy as np
import pytest

from spectra.dynamics import from_data, from_eigenvalues, from_kernel, sgd_curve, streaming
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from tests.spectra.dynamics.least_squares import gaussian_data, loss_of


@pytest.mark.parametrize("shape", [(30, 10), (10, 30), (12, 12), (1, 5), (5, 1)])
def test_data_of_any_shape_holds_its_loss(shape):
    A, b = gaussian_data(*shape)
    start = np.arange(shape[1]) / shape[1]
    problem = from_data(A, b, start)
    assert problem.loss == pytest.approx(loss_of(A, b, start))
    assert problem.floor == pytest.approx(loss_of(A, b, np.linalg.lstsq(A, b, rcond=None)[0]), abs=1e-12)
    assert problem.trace == pytest.approx(np.sum(A**2) / shape[0])
    assert problem.largest_row == pytest.approx(np.max(np.sum(A**2, axis=1)))
    where = problem.coordinates
    np.testing.assert_allclose(where.basis @ where.start + where.rest, start, atol=1e-12)
    np.testing.assert_allclose(
        problem.rows.features @ problem.rows.error - problem.rows.residual, A @ start - b, atol=1e-11
    )


def test_data_is_its_eigenvalues_and_gradient():
    A, b = gaussian_data(30, 10)
    lam, V = np.linalg.eigh(A.T @ A / 30)
    gradient = V.T @ (A.T @ (-b)) / 30
    first = from_eigenvalues(lam, gradient, loss=loss_of(A, b, np.zeros(10)), num_samples=30)
    second = from_data(A, b)
    curves = [sgd_curve(p, closure="limit", learning_rate=0.01, num_steps=50).loss for p in (first, second)]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-11)


def test_rank_deficient_data_and_repeated_rows():
    A, b = gaussian_data(20, 4)
    wide = np.column_stack([A, A])
    problem = from_data(wide, b)
    assert problem.eigenvalue.size == 4
    assert problem.loss == pytest.approx(loss_of(A, b, np.zeros(4)))


def test_several_outputs_are_the_sum_of_single_ones():
    """L of all outputs obeys the equation of one, because it is linear in the loss."""
    A, b = gaussian_data(30, 10)
    targets = np.column_stack([b, b**2, np.ones(30)])
    together = sgd_curve(from_data(A, targets), closure="limit", learning_rate=0.02, num_steps=60)
    single = [sgd_curve(from_data(A, y), closure="limit", learning_rate=0.02, num_steps=60).loss for y in targets.T]
    np.testing.assert_allclose(together.loss, sum(single), rtol=1e-11)


def test_lists_and_float32_will_do():
    A, b = gaussian_data(10, 3)
    assert from_data(A.tolist(), b.tolist()).loss == from_data(A, b).loss
    assert from_data(A.astype(np.float32), b.astype(np.float32)).loss == pytest.approx(from_data(A, b).loss, rel=1e-6)


@pytest.mark.parametrize(
    ("A", "b", "start", "error"),
    [
        (np.ones(3), np.ones(3), None, ShapeError),
        (np.ones((3, 2)), np.ones(2), None, ShapeError),
        (np.ones((0, 2)), np.ones(0), None, ShapeError),
        (np.ones((3, 2)), np.ones(3), np.ones(3), ShapeError),
        (np.full((3, 2), np.nan), np.ones(3), None, NonFiniteError),
        (np.ones((3, 2)), np.array([1.0, np.inf, 0.0]), None, NonFiniteError),
        (np.zeros((3, 2)), np.ones(3), None, ArgumentError),
    ],
)
def test_data_that_cannot_be(A, b, start, error):
    with pytest.raises(error):
        from_data(A, b, start)


def test_eigenvalues_and_losses_must_belong_together():
    with pytest.raises(ArgumentError, match="units differ"):
        from_eigenvalues([1.0], [2.0], loss=1.0)
    with pytest.raises(ArgumentError, match="negative curvature"):
        from_eigenvalues([1.0, -0.5], [1.0, 1.0], loss=9.0)
    with pytest.raises(ArgumentError, match="loss"):
        from_eigenvalues([1.0], [1.0], loss=np.nan)
    with pytest.raises(ShapeError):
        from_eigenvalues([1.0, 2.0], [1.0], loss=1.0)


def test_a_stream_of_one_feature_is_exact():
    """One Gaussian feature, batch 1: E e^2 <- E (1 - g a^2)^2 e^2 + g^2 s^2 E a^2, with E a^4 = 3 lam^2."""
    lam, s, g = 0.7, 0.3, 0.2
    moment, losses = 4.0, []
    for _ in range(20):
        losses.append(0.5 * lam * moment + 0.5 * s**2)
        moment = (1 - 2 * g * lam + 3 * g**2 * lam**2) * moment + g**2 * s**2 * lam
    curve = sgd_curve(streaming([lam], [2.0], noise=s), closure="gaussian", learning_rate=g, num_steps=19)
    np.testing.assert_allclose(curve.loss, losses, rtol=1e-12)
    assert "samples" in curve.coords
    assert "epoch" not in curve.coords


@pytest.mark.parametrize("noise", [-1.0, np.nan])
def test_noise_of_a_stream(noise):
    with pytest.raises(ArgumentError, match="noise"):
        streaming([1.0], [1.0], noise=noise)


@pytest.mark.parametrize(
    ("A", "b", "words"),
    [
        (np.ones((3, 2)) * 1j, np.ones(3), "real"),
        (np.ma.masked_array(np.ones((3, 2)), mask=np.eye(3, 2)), np.ones(3), "mask"),
        (np.full((3, 2), 1e160), np.ones(3), "over- or"),
        (np.full((3, 2), 1e-300), np.ones(3), "underflow"),
        (np.ones((3, 2)), np.full(3, 1e200), "squares of b overflow"),
        ("abc", np.ones(3), "real"),
    ],
)
def test_data_that_would_be_misread(A, b, words):
    with pytest.raises(ArgumentError, match=words):
        from_data(A, b)


def test_starts_too_far_away_to_square():
    with pytest.raises(ArgumentError, match="squares of start overflow"):
        from_data(np.eye(2), np.ones(2), np.full(2, 1e200))
    with pytest.raises(ArgumentError, match="squares of A @ start - b overflow"):
        from_data(1e100 * np.eye(2), np.ones(2), np.full(2, 1e100))


def test_the_row_bound_is_the_largest_relative_eigenvalue():
    """Dense oracle: E |a|^2 a a' relative to H, and never more than the largest row."""
    from scipy.linalg import eigh

    for n, d in ((40, 6), (300, 100)):
        A, b = gaussian_data(n, d)
        A[0] *= 5
        problem = from_data(A, b)
        H = A.T @ A / n
        S = (A.T * np.sum(A**2, axis=1)) @ A / n
        assert problem.row_bound == pytest.approx(eigh(S, H, eigvals_only=True)[-1], rel=1e-9)
        assert problem.row_bound <= problem.largest_row
    K = A @ A.T
    assert from_kernel(K, b).row_bound == pytest.approx(problem.row_bound, rel=1e-6)


def test_columns_without_outputs():
    with pytest.raises(ShapeError, match="output"):
        from_data(np.ones((3, 2)), np.ones((3, 0)))


def test_nothing_to_lose_is_no_divergence():
    A, _ = gaussian_data(8, 3)
    x = np.ones(3)
    for closure in ("limit", "row_resolved", "exact"):
        curve = sgd_curve(from_data(A, A @ x, x), closure=closure, learning_rate=0.1, num_steps=3)
        np.testing.assert_allclose(curve.loss, 0.0, atol=1e-25)
