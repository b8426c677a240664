import numpy as np
import pytest

from spectra.dynamics import from_data, from_operator, sgd_curve, stability
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_data, loss_of


def power_law_data(n=300, d=120, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d)) * np.arange(1, d + 1) ** -0.7
    return A, A @ rng.standard_normal(d) + 0.1 * rng.standard_normal(n)


def by_products(A, b, **options):
    n, d = A.shape
    return from_operator(
        A.T @ A / n,
        -A.T @ b / n,
        loss=loss_of(A, b, np.zeros(d)),
        trace=float(np.sum(A**2) / n),
        num_samples=n,
        **options,
    )


def test_as_many_steps_as_dimensions_give_the_problem_itself():
    A, b = gaussian_data(40, 12)
    ours = by_products(A, b, num_deflated=0, num_probes=200, num_steps=12, num_gradient_steps=12)
    exact = from_data(A, b)
    assert ours.floor == pytest.approx(exact.floor)
    assert ours.trace == pytest.approx(exact.trace)
    curves = [sgd_curve(p, closure="limit", learning_rate=0.02, num_steps=100) for p in (ours, exact)]
    np.testing.assert_allclose(curves[0].noise_free_loss, curves[1].noise_free_loss, rtol=1e-9)


def test_all_eigenvalues_deflated_need_no_probes():
    A, b = gaussian_data(40, 12)
    ours = by_products(A, b, num_deflated=11, num_gradient_steps=12)
    exact = from_data(A, b)
    for closure in ("limit", "gaussian"):
        curves = [sgd_curve(p, closure=closure, learning_rate=0.02, num_steps=100).loss for p in (ours, exact)]
        np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_critical_rate_is_within_one_percent(seed):
    A, b = power_law_data(seed=seed)
    exact = stability(from_data(A, b), closure="limit").closure_learning_rate
    found = stability(by_products(A, b, rng=seed), closure="limit").closure_learning_rate
    assert found == pytest.approx(exact, rel=0.01)


def test_the_loss_without_noise_is_exact_for_as_many_steps_of_gradient_descent():
    """m Lanczos steps from the gradient integrate polynomials of degree 2m - 1 against it."""
    A, b = power_law_data()
    problem, exact = by_products(A, b, num_gradient_steps=8), from_data(A, b)
    settings = {"closure": "limit", "learning_rate": 0.5 / exact.largest, "num_steps": 8, "batch_size": 300}
    first, second = (sgd_curve(p, **settings).noise_free_loss.values for p in (problem, exact))
    np.testing.assert_allclose(np.diff(first), np.diff(second), rtol=1e-9)


def from_residual(A, b, **options):
    n, d = A.shape
    return from_operator(
        A.T @ A / n,
        residual=-b,
        sample_gram=A @ A.T / n,
        loss=loss_of(A, b, np.zeros(d)),
        trace=float(np.sum(A**2) / n),
        num_samples=n,
        **options,
    )


def test_residual_and_gradient_tell_the_same_loss():
    """Two Krylov spaces of one problem: exact with all steps, and with few as far as gradient descent goes."""
    A, b = power_law_data()
    exact = from_data(A, b)
    for steps, count in ((8, 8), (120, 3000)):
        settings = {"closure": "limit", "learning_rate": 1 / exact.largest, "num_steps": count, "batch_size": 300}
        expected = sgd_curve(exact, **settings).noise_free_loss.values
        for problem in (from_residual(A, b, num_gradient_steps=steps), by_products(A, b, num_gradient_steps=steps)):
            found = sgd_curve(problem, **settings).noise_free_loss.values
            np.testing.assert_allclose(found - found[0], expected - expected[0], rtol=1e-6, atol=1e-9)
    assert from_residual(A, b, num_gradient_steps=121).floor == pytest.approx(exact.floor, rel=1e-6)


@pytest.mark.parametrize("given", [{}, {"residual": np.ones(40)}, {"sample_gram": np.eye(40)}])
def test_gradient_or_residual_is_needed(given):
    with pytest.raises(ArgumentError, match="either gradient"):
        from_operator(np.eye(3), loss=1.0, trace=3.0, num_samples=40, **given)


def test_evidence_says_how_well_it_is_known():
    A, b = power_law_data()
    few = by_products(A, b, num_gradient_steps=4)
    many = by_products(A, b, num_gradient_steps=60)
    assert many.evidence["forcing_change"] < 0.1 * few.evidence["forcing_change"]
    assert many.evidence["num_matvecs"] > few.evidence["num_matvecs"]
    assert 0.5 < many.evidence["trace_correction"] < 2
    assert many.evidence["unconverged"] == 0


def test_reported_losses_move_the_curve_alone():
    A, b = gaussian_data(40, 12)
    plain, moved = by_products(A, b), by_products(A, b, reported_loss=0.25)
    curves = [sgd_curve(p, closure="limit", learning_rate=0.02, num_steps=30).loss for p in (plain, moved)]
    np.testing.assert_allclose(curves[1] - curves[0], 0.25 - loss_of(A, b, np.zeros(12)), atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_fewer_eigenvalues_than_are_deflated(seed):
    """Eigenvalues that are rounding of zero, some of them negative, are no modes."""
    A, b = gaussian_data(3, 12, seed=seed)
    problem = by_products(A, b, num_deflated=8, rng=seed)
    exact = from_data(A, b)
    curves = [sgd_curve(p, closure="limit", learning_rate=0.01, num_steps=50).loss for p in (problem, exact)]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_scale_changes_units_only(scale):
    A, b = power_law_data()
    one, other = by_products(A, b), by_products(A * scale, b)
    first, second = (stability(p, closure="limit").closure_learning_rate for p in (one, other))
    assert second * scale**2 == pytest.approx(first, rel=1e-6)


def test_traces_that_cannot_be():
    A, b = gaussian_data(40, 12)
    settings = {"loss": loss_of(A, b, np.zeros(12)), "num_samples": 40}
    H, g = A.T @ A / 40, -A.T @ b / 40
    with pytest.raises(ArgumentError, match="units differ"):
        from_operator(H, g, trace=0.1 * np.trace(H), **settings)
    for trace in (0.0, -1.0, np.nan):
        with pytest.raises(ArgumentError, match="positive"):
            from_operator(H, g, trace=trace, **settings)


def test_torch_tensors_in_float32():
    torch = pytest.importorskip("torch")
    A, b = power_law_data()
    H = torch.tensor(A.T @ A / 300, dtype=torch.float32)
    g = torch.tensor(-A.T @ b / 300, dtype=torch.float32)
    single = from_operator(H, g, loss=loss_of(A, b, np.zeros(120)), trace=float(torch.trace(H)), num_samples=300)
    double = by_products(A, b)
    first, second = (
        sgd_curve(p, closure="limit", learning_rate=0.05 / double.trace, num_steps=300) for p in (single, double)
    )
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-3)


def uncentered_data(n=300, d=60):
    """A mean that is much larger than the spread, as of images: its mode is the same in every sample."""
    rng = np.random.default_rng(5)
    A = 1.0 + 0.3 * rng.standard_normal((n, d))
    return A, A @ rng.standard_normal(d) / 8 + 0.3 * rng.standard_normal(n)


def test_fourth_moments_of_the_largest_modes():
    A, b = uncentered_data()
    ours = by_products(A, b, sample_squares=lambda V: (A @ V) ** 2)
    exact = from_data(A, b)
    # eigenvectors of the bulk are known to 1e-4 of the norm only, neighbors mix
    np.testing.assert_allclose(ours.kurtosis[:8], exact.kurtosis[:8], rtol=0.1)
    np.testing.assert_allclose(ours.kurtosis[:4], exact.kurtosis[:4], rtol=1e-3)
    assert ours.kurtosis[0] < 1.1
    settings = {"batch_size": 4}
    rates = {
        closure: stability(exact, closure=closure, **settings).closure_learning_rate for closure in ("limit", "exact")
    }
    found = stability(ours, closure="kurtosis", **settings).closure_learning_rate
    assert abs(found / rates["exact"] - 1) < 0.25 * abs(rates["limit"] / rates["exact"] - 1)
    curves = [
        sgd_curve(p, closure="kurtosis", learning_rate=0.3 * found, num_steps=300, **settings).loss
        for p in (ours, exact)
    ]
    np.testing.assert_allclose(curves[0], curves[1], rtol=0.02)


def test_samples_with_several_rows():
    """Features of their own for each output: the first step by enumeration, from a start in the top mode."""
    rng = np.random.default_rng(6)
    n, C, d = 40, 3, 5
    A = 1.0 + 0.2 * rng.standard_normal((n, C, d))
    H = np.einsum("ncd,nce->de", A, A) / n
    lam, V = np.linalg.eigh(H)
    top = V[:, -1]
    target = np.zeros((n, C))
    x0 = top
    residual = A @ x0 - target
    gradient = np.einsum("ncd,nc->d", A, residual) / n
    problem = from_operator(
        H,
        gradient,
        loss=0.5 * np.sum(residual**2) / n,
        trace=float(np.trace(H)),
        num_samples=n,
        rows_per_sample=C,
        num_deflated=4,
        num_gradient_steps=5,
        sample_squares=lambda W: np.sum((A @ W) ** 2, axis=1),
    )
    rate = 0.5 / lam[-1]
    gradients = np.einsum("ncd,nc->nd", A, residual)
    after = x0 - rate * gradients
    own = np.mean([0.5 * lam[-1] * (top @ x) ** 2 for x in after])  # loss in the top mode after one sample
    curve = sgd_curve(problem, closure="kurtosis", learning_rate=rate, num_steps=1)
    others = np.sum(problem.multiplicity * problem.eigenvalue**2) - lam[-1] ** 2
    expected = own + rate**2 / C * others * problem.loss
    assert float(curve.loss[1]) == pytest.approx(expected, rel=1e-4)
