import numpy as np
import pytest

from spectra.dynamics import from_data, from_operator, implicit_conditioning_ratio, rate, sgd_curve, stability
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
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


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9])
@pytest.mark.parametrize("size", [1, 2])
def test_measured_kurtosis_is_bounded_up_to_the_critical_rate(share, size):
    """A mode that every sample shares, at batch size 1: its loss and its noise must be one node."""
    rng = np.random.default_rng(0)
    A = 0.15 * rng.standard_normal((200, 40))
    A[:, 0] += 2
    b = rng.standard_normal(200) + 3
    ours = by_products(A, b, num_deflated=4, sample_squares=lambda V: (A @ V) ** 2)
    exact = from_data(A, b)
    settings = {"closure": "kurtosis", "batch_size": size}
    settings["learning_rate"] = share * stability(ours, **settings).closure_learning_rate
    curves = [sgd_curve(p, num_steps=2000, **settings) for p in (ours, exact)]
    np.testing.assert_allclose(curves[0].loss, curves[1].loss, rtol=0.05)
    assert rate(ours, **settings) < 1


@pytest.mark.parametrize("given", ["gradient", "residual"])
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda v: 0 * v, ArgumentError, "is zero: nothing is left to lose"),
        (lambda v: np.nan * v, NonFiniteError, "must be finite; got nan"),
        (lambda v: v[:5], ShapeError, "must have shape"),
    ],
)
def test_where_the_loss_lies_is_named_in_errors(given, change, error, words):
    A, b = gaussian_data(40, 12)
    vectors = {"gradient": -A.T @ b / 40, "residual": -b}
    more = {"sample_gram": A @ A.T / 40} if given == "residual" else {}
    settings = {"loss": loss_of(A, b, np.zeros(12)), "trace": float(np.mean(np.sum(A**2, axis=1))), "num_samples": 40}
    with pytest.raises(error, match=f"{given} {words}"):
        from_operator(A.T @ A / 40, **{given: change(vectors[given])}, **more, **settings)


def test_losses_that_are_too_small_are_units_that_differ():
    A, b = gaussian_data(40, 12)
    H, g = A.T @ A / 40, -A.T @ b / 40
    with pytest.raises(ArgumentError, match="units differ"):
        from_operator(H, g, loss=0.25 * loss_of(A, b, np.zeros(12)), trace=float(np.trace(H)), num_samples=40)


@pytest.mark.parametrize("slip", [1e-4, 1e-2])
def test_a_low_rank_and_a_trace_that_is_slightly_off(slip):
    """What is left of the trace beyond all eigenvalues goes to no node: it is rounding, or another matrix."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((60, 5)) @ rng.standard_normal((5, 50))
    b = rng.standard_normal(60)
    H, g = A.T @ A / 60, -A.T @ b / 60
    settings = {"loss": loss_of(A, b, np.zeros(50)), "trace": float(np.trace(H)) * (1 + slip), "num_samples": 60}
    if slip > 1e-3:
        with pytest.raises(ArgumentError, match="trace"):
            from_operator(H, g, **settings)
        return
    problem = from_operator(H, g, **settings)
    exact = from_data(A, b)
    assert implicit_conditioning_ratio(problem) == pytest.approx(implicit_conditioning_ratio(exact), rel=1e-3)


def test_float32_says_what_it_resolved():
    A, b = power_law_data()
    A = A * np.arange(1, 121) ** -1.5  # eigenvalues over nine orders of magnitude
    H, g = (A.T @ A / 300).astype(np.float32), (-A.T @ b / 300).astype(np.float32)
    loss, trace = loss_of(A, b, np.zeros(120)), float(np.sum(A**2) / 300)
    single = from_operator(H, g, loss=loss, trace=trace, num_samples=300, num_gradient_steps=120)
    double = by_products(A, b, num_gradient_steps=120)
    assert single.evidence["smallest_resolved"] > 1e-5
    assert double.evidence["smallest_resolved"] < single.evidence["smallest_resolved"]
    assert single.floor >= double.floor * (1 - 1e-6)
