import numpy as np
import pytest

from spectra.dynamics import Quadratic, from_data, kernel_norm, stability
from spectra.dynamics.critical import _largest_of_sum
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_data, gaussian_problem


@pytest.mark.parametrize("closure", ["limit", "gaussian", "kurtosis"])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True), (0.3, True)])
@pytest.mark.parametrize("size", [1, 16, 60])
def test_the_kernel_norm_is_one_at_the_critical_rate_or_a_mode_grows(closure, momentum, nesterov, size):
    problem = gaussian_problem()
    options = {"momentum": momentum, "nesterov": nesterov}
    critical = stability(problem, closure=closure, batch_size=size, **options).closure_learning_rate
    noise = (60 - size) / (size * 59)
    below = kernel_norm(problem, closure=closure, learning_rate=critical * (1 - 1e-9), noise=noise, **options)
    above = kernel_norm(problem, closure=closure, learning_rate=critical * (1 + 1e-9), noise=noise, **options)
    if noise:
        assert below == pytest.approx(1, rel=1e-6)
    else:
        assert below == 0
    assert above > 1 or np.isinf(above)


def test_heavy_ball_kernel_norm_has_its_known_form():
    problem = gaussian_problem()
    rate, beta, noise = 0.003, 0.9, 0.1
    x = rate * problem.eigenvalue
    known = noise * np.sum(x * (1 + beta) / ((1 - beta) * (2 * (1 + beta) - x)))
    found = kernel_norm(problem, closure="limit", learning_rate=rate, noise=noise, momentum=beta)
    assert found == pytest.approx(known, rel=1e-12)


def test_small_rates_add_up_to_the_trace():
    problem = gaussian_problem()
    norm = kernel_norm(problem, closure="limit", learning_rate=1e-9, noise=0.5)
    assert norm == pytest.approx(0.5 * 1e-9 * problem.trace / 2, rel=1e-6)
    assert kernel_norm(problem, closure="continuous", learning_rate=0.1, noise=0.5) == pytest.approx(
        0.025 * problem.trace
    )


def test_exact_is_the_largest_eigenvalue_of_the_map_of_second_moments():
    A, b = gaussian_data(9, 3)
    problem = from_data(A, b)
    rate = stability(problem, closure="exact").closure_learning_rate
    H = A.T @ A / 9
    left = np.eye(3) - rate * H
    second = np.mean([np.kron(np.outer(a, a), np.outer(a, a)) for a in A], axis=0)
    noise = 1.0
    full = np.kron(left, left) + noise * rate**2 * (second - np.kron(H, H))
    assert np.max(np.abs(np.linalg.eigvals(full))) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.5, False), (0.9, False), (0.9, True)])
def test_momentum_is_stable_iff_the_spectral_radius_of_all_moments_is_below_one(momentum, nesterov):
    """Independent oracle: the matrix that moves all (P, C, Y) together, built column by column from one step."""
    problem = gaussian_problem(30, 6)
    size, m = 4, 6
    noise = (30 - size) / (size * 29)
    critical = stability(
        problem, closure="gaussian", batch_size=size, momentum=momentum, nesterov=nesterov
    ).closure_learning_rate
    lam = problem.eigenvalue
    for share, is_stable in ((0.999, True), (1.001, False)):
        rate = share * critical
        entering = rate * (1 + momentum) if nesterov else rate
        back = rate * momentum**2 if nesterov else rate * momentum
        columns = []
        for j in range(m):
            for kind in range(3):
                moment = np.zeros((m, 2, 2))
                moment[j] += [[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]][kind]
                errors = moment[:, 0, 0]
                variance = noise * (2 * lam * np.sum(lam * errors / 2) + lam**2 * errors)
                new = []
                for i in range(m):
                    T = np.array([[1 - entering * lam[i], -back], [lam[i], momentum]])
                    s = np.array([-entering, 1.0])
                    after = T @ moment[i] @ T.T + variance[i] * np.outer(s, s)
                    new += [after[0, 0], after[0, 1], after[1, 1]]
                columns.append(new)
        radius = np.max(np.abs(np.linalg.eigvals(np.array(columns).T)))
        assert bool(radius < 1) is is_stable
        assert radius == pytest.approx(1, abs=5e-3)


def test_rows_have_no_kernel():
    with pytest.raises(ArgumentError, match="no kernel"):
        kernel_norm(gaussian_problem(), closure="exact", learning_rate=0.1, noise=1.0)


@pytest.mark.parametrize("zero_at", [None, 0, 2])
def test_the_secular_root_is_the_largest_eigenvalue(zero_at):
    rng = np.random.default_rng(0)
    for scale in (1e-12, 1.0, 1e12):
        d, s = scale * rng.random(5), np.sqrt(scale) * rng.random(5)
        d = np.sort(d)[::-1].copy()
        if zero_at is not None:
            s[zero_at] = 0.0
        expected = np.linalg.eigvalsh(np.diag(d) + np.outer(s, s))[-1]
        assert _largest_of_sum(d, s**2) == pytest.approx(expected, rel=1e-12)


def test_a_large_eigenvalue_without_noise_limits_by_itself():
    problem = Quadratic(
        eigenvalue=np.array([1.0, 10.0]),
        multiplicity=np.array([1e-6, 0.0]),
        initial_loss=np.array([0.0, 1.0]),
        num_samples=100,
    )
    assert stability(problem, closure="limit").closure_learning_rate == pytest.approx(0.2)
