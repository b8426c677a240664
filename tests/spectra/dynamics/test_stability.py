import numpy as np
import pytest

from spectra.dynamics import from_data, sgd_curve, stability
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
    assert "momentum" in stability(gaussian_problem(), closure="limit", momentum=0.5).reason


@pytest.mark.parametrize("closure", ["row_resolved", "exact", "continuous"])
def test_momentum_is_refused_where_it_is_not_known(closure):
    with pytest.raises(ArgumentError, match="plain SGD"):
        stability(gaussian_problem(), closure=closure, momentum=0.9)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, np.nan])
def test_momentum_lies_between_zero_and_one(momentum):
    with pytest.raises(ArgumentError, match=r"\[0, 1\)"):
        stability(gaussian_problem(), closure="limit", momentum=momentum)
