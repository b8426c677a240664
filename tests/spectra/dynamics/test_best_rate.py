import numpy as np
import pytest

from spectra.dynamics import Quadratic, best_learning_rate, from_data, sgd_curve
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_data, gaussian_problem


@pytest.mark.parametrize("settings", [{}, {"batch_size": 16}, {"momentum": 0.7, "batch_size": 8}])
@pytest.mark.parametrize("count", [5, 500])
def test_no_rate_of_a_fine_grid_is_better(settings, count):
    problem = gaussian_problem()
    found = best_learning_rate(problem, closure="limit", num_steps=count, **settings)
    cap = 0.8 * found.stability.usable
    losses = [
        float(sgd_curve(problem, closure="limit", learning_rate=r, num_steps=count, **settings).loss[-1])
        for r in cap * np.geomspace(0.01, 1, 60)
    ]
    assert found.loss <= min(losses) * (1 + 1e-6)
    assert found.value <= cap * (1 + 1e-9)
    assert found.low <= found.value <= found.high


def test_the_flat_region_is_flat_and_ends():
    problem = gaussian_problem()
    found = best_learning_rate(problem, closure="limit", num_steps=300)
    for rate in (found.low, found.high):
        loss = float(sgd_curve(problem, closure="limit", learning_rate=rate, num_steps=300).loss[-1])
        assert loss <= found.loss + 0.02 * (problem.loss - found.loss) + 1e-12
    outside = float(sgd_curve(problem, closure="limit", learning_rate=found.low / 2, num_steps=300).loss[-1])
    assert outside > found.loss + 0.02 * (problem.loss - found.loss)


def test_a_cap_that_decides_is_named():
    """Full batches are fastest in the long run at nearly the critical rate, 2 / (largest + smallest eigenvalue)."""
    found = best_learning_rate(gaussian_problem(), closure="limit", num_steps=300, batch_size=60)
    assert found.is_capped
    assert found.value == pytest.approx(0.8 * found.stability.usable, rel=3e-3)


def test_a_refused_critical_rate_is_replaced_by_the_row_safe_one():
    A, b = gaussian_data(400, 6)
    A = np.column_stack([A, np.zeros(400)])
    A[0, 6] = 30.0
    found = best_learning_rate(from_data(A, b), closure="limit", num_steps=50)
    assert found.stability.learning_rate is None
    assert found.value <= found.stability.row_safe_learning_rate


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_a_budget_is_needed(count):
    with pytest.raises(ArgumentError, match="num_steps"):
        best_learning_rate(gaussian_problem(), closure="limit", num_steps=count)


@pytest.mark.parametrize("count", [10, 300])
def test_the_flat_region_reaches_to_its_ends(count):
    """A fine grid says where the loss leaves 2 % of the gain; the cap may come before."""
    problem = gaussian_problem()
    found = best_learning_rate(problem, closure="limit", num_steps=count)
    cap = 0.8 * found.stability.usable
    rates = cap * np.geomspace(0.01, 1, 400)
    losses = np.array(
        [float(sgd_curve(problem, closure="limit", learning_rate=r, num_steps=count).loss[-1]) for r in rates]
    )
    flat = rates[losses <= found.loss + 0.02 * (problem.loss - found.loss)]
    assert found.low == pytest.approx(flat.min(), rel=0.04)
    assert found.high == pytest.approx(flat.max(), rel=0.04)


def test_long_budgets_want_small_rates():
    """The floor falls with the rate, so that the best rate goes on falling with the budget."""
    problem = Quadratic(
        eigenvalue=np.ones(20), multiplicity=np.ones(20), initial_loss=np.full(20, 0.05), floor=1.0, num_samples=10**6
    )
    found = best_learning_rate(problem, closure="limit", num_steps=10**8)
    assert found.value < 1e-6
    excess = found.loss - 1.0
    for factor in (0.5, 2.0):
        other = sgd_curve(problem, closure="limit", learning_rate=factor * found.value, num_steps=10**8)
        assert float(other.loss[-1]) - 1.0 >= excess
