import numpy as np
import pytest

from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.kernels.resolvent_traces import resolvent_traces
from spectra.kernels.ridge_solver import gcv_of_solution, solve_ridge
from spectra.kernels.rp_cholesky import rp_cholesky
from spectra.kernels.stationary import RBF, Laplace


def problem(n=300, outputs=3, kernel=None, dtype=np.float64):
    generator = np.random.default_rng(0)
    X = generator.standard_normal((n, 3)).astype(dtype)
    K = (kernel or RBF(1.5))(X)
    return X, K, generator.standard_normal((n, outputs)).astype(dtype)


@pytest.mark.parametrize("kernel", [RBF(1.5), Laplace(1.5)])
@pytest.mark.parametrize("ridge", [1e-2, 1.0, 100.0])
def test_is_the_direct_solution(kernel, ridge):
    X, K, y = problem(kernel=kernel)
    exact = np.linalg.solve(K + ridge * np.eye(300), y)
    found = solve_ridge(K, y, ridge, preconditioner=rp_cholesky(kernel, X, num_columns=100))
    assert found.is_trustworthy
    assert np.all(found.residual <= 1e-6)
    off = np.linalg.norm(found.coefficients - exact, axis=0)
    assert np.all(off <= found.residual * np.linalg.norm(y, axis=0) / ridge * 1.001)
    forms = np.sum(y * exact, axis=0), np.sum(exact**2, axis=0)
    low = forms[0] - found.inverse_form
    assert np.all(low >= -1e-12 * forms[0])
    assert np.all(low <= found.inverse_form_error + 1e-12 * forms[0])
    assert np.all(np.abs(found.squared_form - forms[1]) <= found.squared_form_error + 1e-12 * forms[1])
    assert found.num_products == 3 * found.num_blocks == 3 * (found.num_steps + 1)
    residual = y - K @ exact
    assert found.train_error == pytest.approx(np.sum(residual**2) / 300, rel=1e-4)


def test_preconditioner_saves_steps():
    X, K, y = problem()
    plain = solve_ridge(K, y, 0.01, max_steps=1000)
    helped = solve_ridge(K, y, 0.01, preconditioner=rp_cholesky(RBF(1.5), X, num_columns=100))
    assert helped.num_steps < 0.3 * plain.num_steps
    np.testing.assert_allclose(helped.squared_form, plain.squared_form, rtol=1e-3)


def test_exact_preconditioner_needs_a_step():
    X, K, y = problem(n=50)
    found = solve_ridge(K, y, 0.1, preconditioner=rp_cholesky(RBF(1.5), X, num_columns=50))
    assert found.num_steps <= 2


def test_too_few_steps_are_said():
    _, K, y = problem()
    found = solve_ridge(K, y, 1e-3, max_steps=2)
    assert not found.is_trustworthy
    assert "more steps" in found.why
    assert np.all(found.inverse_form_error > 0)


def test_single_precision_and_its_limit():
    _, K, y = problem(dtype=np.float32)
    found = solve_ridge(K, y, 1.0, tolerance=1e-12)
    assert found.is_trustworthy
    assert found.coefficients.dtype == np.float32
    exact = np.linalg.solve(K.astype(float) + np.eye(300), y)
    np.testing.assert_allclose(found.coefficients, exact, atol=1e-3 * np.max(np.abs(exact)))


@pytest.mark.parametrize("scale", [2.0**-47, 2.0**47])
def test_units_of_kernel_and_targets(scale):
    """About 1e-14 and 1e14; a power of two changes no digit."""
    _, K, y = problem()
    one, kernel, target = solve_ridge(K, y, 1.0), solve_ridge(scale * K, y, scale), solve_ridge(K, scale * y, 1.0)
    assert one.num_steps == kernel.num_steps == target.num_steps
    np.testing.assert_array_equal(kernel.coefficients * scale, one.coefficients)
    np.testing.assert_array_equal(target.inverse_form / scale**2, one.inverse_form)


def test_zero_targets_and_tiny():
    found = solve_ridge(np.eye(4), np.zeros(4), 1.0)
    assert found.is_trustworthy
    assert found.num_steps == 0
    assert not np.any(found.coefficients)
    mixed = solve_ridge(np.diag([1.0, 2.0, 3.0]), np.column_stack([np.zeros(3), np.ones(3)]), 1.0)
    np.testing.assert_allclose(mixed.coefficients[:, 1], [1 / 2, 1 / 3, 1 / 4], rtol=1e-9)
    assert solve_ridge([[3.0]] * np.ones((1, 1)), [4.0], 1.0).coefficients.item() == pytest.approx(1.0)


def test_gcv_agrees_with_the_formula():
    n = 400
    X, K, y = problem(n=n)
    ridge = 1.0
    inverse = np.linalg.inv(K + ridge * np.eye(n))
    exact = n * np.sum((inverse @ y) ** 2) / np.trace(inverse) ** 2
    solution = solve_ridge(K, y, ridge, preconditioner=rp_cholesky(RBF(1.5), X, num_columns=100))
    found = gcv_of_solution(solution, resolvent_traces(K, [0.1, ridge]))
    assert found.is_trustworthy
    assert found.low <= exact <= found.high
    assert found.test_error == pytest.approx(exact, rel=1e-2)
    with pytest.raises(ArgumentError, match="ridge"):
        gcv_of_solution(solution, resolvent_traces(K, 0.1))
    with pytest.raises(ArgumentError, match="samples"):
        gcv_of_solution(solution, resolvent_traces(np.eye(3), 1.0))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"ridge": 0.0}, ArgumentError),
        ({"ridge": -1.0}, ArgumentError),
        ({"y": np.ones(4)}, ShapeError),
        ({"y": np.ones((5, 0))}, ShapeError),
        ({"y": np.full(5, np.nan)}, NonFiniteError),
        ({"y": ["a"] * 5}, ArgumentError),
        ({"tolerance": 0.0}, ArgumentError),
        ({"max_steps": 0}, ArgumentError),
        ({"operator": np.ones((2, 3))}, ShapeError),
        ({"operator": np.full((5, 5), np.nan)}, NonFiniteError),
        ({"preconditioner": rp_cholesky(RBF(1.0), np.ones((3, 1)), num_columns=1)}, ShapeError),
        ({"operator": np.eye(5) * 1j}, BackendError),
    ],
)
def test_bad_input(change, error):
    given = {"operator": np.eye(5), "y": np.ones(5), "ridge": 1.0} | change
    with pytest.raises(error):
        solve_ridge(given.pop("operator"), given.pop("y"), given.pop("ridge"), **given)


@pytest.mark.parametrize(("dtype", "unit"), [(np.float64, 1e-170), (np.float32, 1e-30), (np.float32, 1e30)])
def test_targets_whose_squares_leave_the_range(dtype, unit):
    K = np.diag([3.0, 1.0]).astype(dtype)
    found = solve_ridge(K, np.array([4.0, 2.0], dtype=dtype) * dtype(unit), 1.0)
    assert found.is_trustworthy
    np.testing.assert_allclose(found.coefficients[:, 0] / dtype(unit), 1.0, rtol=1e-5)


def test_matrices_whose_inverse_squares_leave_the_range():
    K, unit = np.diag([3.0, 1.0]).astype(np.float32), np.float32(1e-30)
    found = solve_ridge(K * unit, np.array([4.0, 2.0], dtype=np.float32), float(unit))
    np.testing.assert_allclose(found.squared_form * float(unit) ** 2, 2.0, rtol=1e-5)
