import numpy as np
import pytest

from spectra.dynamics import Quadratic, from_data, sgd_curve, stability
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_data, gaussian_problem, one_mode

CLOSURES = ["limit", "gaussian", "kurtosis", "row_resolved", "exact"]


@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize("size", [1, 4, 20])
def test_losses_stay_bounded_just_below_and_grow_just_above(closure, size):
    problem = gaussian_problem(20, 4)
    critical = stability(problem, closure=closure, batch_size=size).closure_learning_rate
    ends = []
    for share in (0.99, 1.01):
        curve = sgd_curve(
            problem,
            closure=closure,
            learning_rate=share * critical,
            batch_size=size,
            num_steps=8000,
            record=[4000, 8000],
        )
        ends.append(curve.loss.values)
        assert curve.attrs["is_stable"] is (share < 1)
    assert ends[0][1] == pytest.approx(ends[0][0], rel=1e-3)
    assert ends[1][1] > 2 * ends[1][0] or np.isinf(ends[1][1])


@pytest.mark.parametrize("size", [1, 3, 10])
def test_the_row_safe_rate_never_exceeds_the_exact_one(size):
    rng = np.random.default_rng(1)
    for scale in (1.0, 10.0, 100.0):
        A = rng.standard_normal((40, 6))
        A[:3] *= scale
        problem = from_data(A, rng.standard_normal(40))
        found = stability(problem, closure="exact", batch_size=size)
        assert found.row_safe_learning_rate <= found.closure_learning_rate * (1 + 1e-9)
        from dataclasses import replace

        blind = stability(replace(problem, rows=None), closure="limit", batch_size=size)
        assert blind.row_safe_learning_rate <= found.row_safe_learning_rate * (1 + 1e-9)


def test_very_unequal_rows_are_refused():
    """One sample in 400 has a feature of its own that is large: modes alone do not see that it comes rarely."""
    A, b = gaussian_data(400, 6)
    A = np.column_stack([A, np.zeros(400)])
    A[0, 6] = 30.0
    problem = from_data(A, b)
    refused = stability(problem, closure="limit")
    assert refused.learning_rate is None
    assert refused.disagreement > 5
    assert "refused" in refused.reason
    assert refused.usable == refused.row_safe_learning_rate
    exact = stability(problem, closure="exact").learning_rate
    assert refused.closure_learning_rate > 5 * exact
    assert refused.usable <= exact


def test_without_samples_nothing_checks_the_closure():
    assert "not known" in stability(one_mode(num_samples=9), closure="limit").reason


@pytest.mark.parametrize("closure", ["row_resolved", "exact", "continuous"])
def test_momentum_is_refused_where_it_is_not_known(closure):
    with pytest.raises(ArgumentError, match="plain SGD"):
        stability(gaussian_problem(), closure=closure, momentum=0.9)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, np.nan, [0.1, 0.2], "a", None])
def test_momentum_lies_between_zero_and_one(momentum):
    with pytest.raises(ArgumentError, match=r"momentum must (lie in \[0, 1\)|be one number|be a number)"):
        stability(gaussian_problem(), closure="limit", momentum=momentum)


def sparse_data(seed=0):
    """Rare features, each divided by its standard deviation, and a common column: samples of very unequal size."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((300, 30)) * (rng.random((300, 30)) < 0.02)
    A = A / A.std(axis=0)
    return A + 0.3 * rng.standard_normal((300, 1)), rng.standard_normal(300)


@pytest.mark.parametrize("closure", ["limit", "gaussian", "row_resolved"])
@pytest.mark.parametrize("size", [1, 32])
def test_rates_that_are_far_too_large_are_refused(closure, size):
    """Also with the closure that follows every sample but not the correlations of modes."""
    problem = from_data(*sparse_data())
    found = stability(problem, closure=closure, batch_size=size)
    exact = stability(problem, closure="exact", batch_size=size).learning_rate
    assert found.usable <= exact * (1 + 1e-9)
    if found.closure_learning_rate > 2 * exact:
        assert found.learning_rate is None
    curve = sgd_curve(
        problem, closure=closure, learning_rate=0.9 * found.closure_learning_rate, batch_size=size, num_steps=3
    )
    assert ("row-safe" in curve.attrs["caution"]) is (found.learning_rate is None)


def test_momentum_does_not_hide_unequal_samples():
    A, b = gaussian_data(300, 6)
    A[:, 5] = 0
    A[:3, 5] = 20.0
    problem = from_data(A, b)
    exact = stability(problem, closure="exact").learning_rate
    found = stability(problem, closure="limit", momentum=0.5)
    assert found.learning_rate is None
    assert found.usable <= 0.5 * exact


@pytest.mark.parametrize(("n", "d"), [(60, 30), (400, 20), (30, 60)])
def test_equal_samples_are_accepted(n, d):
    problem = gaussian_problem(n, d)
    for closure in ("limit", "gaussian", "kurtosis", "row_resolved"):
        for size in (1, n // 3):
            found = stability(problem, closure=closure, batch_size=size)
            assert found.learning_rate is not None
            assert 0.9 < found.disagreement < 1.7


def test_continuous_time_knows_the_largest_eigenvalue():
    problem = gaussian_problem(30, 5)
    found = stability(problem, closure="continuous", batch_size=30)
    assert found.learning_rate == pytest.approx(2 / problem.largest)


def test_a_saved_problem_is_judged_alike():
    problem = from_data(*sparse_data())
    again = Quadratic.from_dataset(problem.to_dataset())
    for closure in ("limit", "kurtosis"):
        first, second = (stability(p, closure=closure) for p in (problem, again))
        assert first.row_safe_learning_rate == second.row_safe_learning_rate
        assert first.learning_rate == second.learning_rate


@pytest.mark.parametrize("scale", [1e-280, 1e-100, 1e100, 1e280])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_extreme_units_change_units_only(scale, momentum):
    problem = gaussian_problem()
    one, other = (
        stability(p, closure="limit", batch_size=4, momentum=momentum) for p in (problem, problem.scaled(scale))
    )
    assert other.closure_learning_rate * scale == pytest.approx(one.closure_learning_rate, rel=1e-9)
    rate = 0.5 * one.closure_learning_rate
    first, second = (
        sgd_curve(p, closure="limit", learning_rate=rate / f, batch_size=4, momentum=momentum, num_steps=200)
        for p, f in ((problem, 1.0), (problem.scaled(scale), scale))
    )
    np.testing.assert_allclose(second.loss / scale, first.loss, rtol=1e-9)


def test_momentum_that_leaves_nothing_is_refused():
    with pytest.raises(ArgumentError, match="momentum"):
        stability(gaussian_problem(), closure="limit", momentum=1 - 1e-15)
