import numpy as np
import pytest
from scipy.spatial.distance import cdist

from spectra.errors import ArgumentError, BackendError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.kernels.leave_one_out import leave_one_out, leave_one_out_of
from spectra.kernels.ridge_fit import ridge_fit
from tests.spectra.kernels.ridge_problems import laplace, noisy_plane


def refits(K, y, ridge):
    """Residuals of n fits, each without one sample."""
    rows = np.arange(len(K))
    return np.array(
        [
            y[i]
            - K[i, rows != i]
            @ np.linalg.solve(K[np.ix_(rows != i, rows != i)] + ridge * np.eye(len(K) - 1), y[rows != i])
            for i in rows
        ]
    )


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 3.0, 1e3])
@pytest.mark.parametrize("outputs", [1, 3])
def test_residuals_are_those_of_n_fits(ridge, outputs):
    K, y = laplace(60, outputs=outputs)
    found = leave_one_out(K, y, ridge=ridge)
    np.testing.assert_allclose(found.residuals, refits(K, y, ridge), atol=1e-12)
    assert found.risk == pytest.approx(np.mean(np.sum(refits(K, y, ridge) ** 2, axis=1)), rel=1e-12)
    assert found.num_outputs == outputs


def test_without_a_ridge():
    K, y = laplace(60)
    np.testing.assert_allclose(leave_one_out(K, y, ridge=0.0).residuals, refits(K, y, 0.0), atol=1e-10)


def test_it_agrees_with_scikit_learn():
    """KernelRidge fitted n times, RidgeCV on features of the same kernel."""
    pytest.importorskip("sklearn")
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    K, y = laplace(40, outputs=2)
    found = leave_one_out(K, y, ridge=0.2)
    predicted = cross_val_predict(KernelRidge(alpha=0.2, kernel="precomputed"), K, y, cv=LeaveOneOut())
    np.testing.assert_allclose(found.residuals, y - predicted, atol=1e-12)
    features = np.linalg.cholesky(K)
    model = RidgeCV(alphas=[0.2], fit_intercept=False, store_cv_results=True).fit(features, y)
    np.testing.assert_allclose(found.residuals**2, model.cv_results_[..., 0], atol=1e-12)


def test_the_jackknife_leaves_two_out():
    K, y = laplace(25, outputs=2)
    means = []
    for j in range(25):
        keep = np.arange(25) != j
        means.append(np.mean(np.sum(refits(K[np.ix_(keep, keep)], y[keep], 0.05) ** 2, axis=1)))
    expected = np.sqrt(24 / 25 * np.sum((means - np.mean(means)) ** 2))
    squares = np.sum(refits(K, y, 0.05) ** 2, axis=1)
    naive = np.std(squares, ddof=1) / 5
    assert leave_one_out(K, y, ridge=0.05).stderr == pytest.approx(max(expected, naive), rel=1e-9)


def test_outputs_add_up():
    K, y = laplace(30, outputs=3)
    together = leave_one_out(K, y, ridge=0.1)
    assert together.risk == pytest.approx(sum(leave_one_out(K, column, ridge=0.1).risk for column in y.T))
    assert together.label_variance == pytest.approx(np.sum(np.var(y, axis=0)))


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_are_units(unit):
    K, y = laplace(40)
    for ridge in (0.0, 0.1):
        plain = leave_one_out(K, y, ridge=ridge)
        for found, factor in (
            (leave_one_out(unit * K, y, ridge=unit * ridge), 1.0),
            (leave_one_out(K, unit * y, ridge=ridge), unit**2),
        ):
            assert found.risk == pytest.approx(plain.risk * factor, rel=1e-6)
            assert found.stderr == pytest.approx(plain.stderr * factor, rel=1e-5)
            assert found.condition_number == pytest.approx(plain.condition_number, rel=1e-6)
            assert found.is_trustworthy == plain.is_trustworthy


def test_float32_matrices_have_the_floor_of_their_dtype():
    K, y = laplace(60)
    single = leave_one_out(K.astype(np.float32), y, ridge=0.1)
    assert single.risk == pytest.approx(leave_one_out(K, y, ridge=0.1).risk, rel=1e-4)
    assert (
        leave_one_out(K.astype(np.float32), y, ridge=0.0).effective_ridge
        > 1e8 * leave_one_out(K, y, ridge=0.0).effective_ridge
    )


def test_copies_without_a_ridge_are_flagged():
    K, y = laplace(30)
    twice = np.concatenate([np.arange(30), np.arange(10)])
    found = leave_one_out(K[np.ix_(twice, twice)], y[twice], ridge=0.0)
    assert found.effective_ridge > 0
    assert not found.is_trustworthy
    assert "condition number" in found.why
    assert any("copies" in remark for remark in found.remarks)
    # A copy predicts its twin.
    np.testing.assert_allclose(found.residuals[:10], 0.0, atol=1e-3)


def test_noise_without_signal_is_flagged_with_a_smooth_kernel():
    rng = np.random.default_rng(3)
    X, y = rng.uniform(size=(80, 1)), rng.standard_normal(80)
    found = leave_one_out(np.exp(-((X - X.T) ** 2) / 0.02), y, ridge=1e-6)
    assert not found.is_trustworthy
    assert found.explained < 0
    assert "variance" in found.why


def test_a_large_mean_is_remarked_upon():
    K, y = laplace(40)
    assert not leave_one_out(K, y, ridge=1.0).remarks
    assert any("intercept" in remark for remark in leave_one_out(K, y + 10, ridge=1.0).remarks)
    assert not leave_one_out(K + 100, y + 10, ridge=1.0).remarks


def test_few_samples():
    one = leave_one_out([[2.0]], [3.0], ridge=0.5)
    assert (round(one.risk, 12), one.low, one.high, one.stderr) == (9.0, 0.0, np.inf, np.inf)
    two = leave_one_out([[2.0, 1.0], [1.0, 2.0]], [3.0, 1.0], ridge=1.0)
    np.testing.assert_allclose(two.residuals.ravel(), [3 - 1 / 3, 1 - 3 / 3], atol=1e-12)
    assert 0 <= two.low <= two.risk <= two.high


def test_zero_targets_have_no_error():
    found = leave_one_out(np.eye(5), np.zeros(5), ridge=0.1)
    assert (found.risk, found.low, found.high, found.is_trustworthy) == (0.0, 0.0, 0.0, True)


@pytest.mark.parametrize(("n", "ridge_per_sample", "length"), [(60, 0.0, 1.0), (120, 1e-2, 1.0), (120, 1e-3, 2.0)])
def test_the_estimate_has_no_bias_and_its_interval_holds_the_mean(n, ridge_per_sample, length):
    """40 draws of a training set: z-test of the mean difference, and at least the 1 % quantile of binomial coverage."""
    rng = np.random.default_rng(11)
    X, labels = noisy_plane(2000, rng)
    risks, errors = [], []
    for _ in range(40):
        A, y = noisy_plane(n, rng)
        K = np.exp(-cdist(A, A) / length)
        found = leave_one_out(K, y, ridge=n * ridge_per_sample)
        across = np.exp(-cdist(X, A) / length)
        coefficients = ridge_fit(K, y).coefficients(n * ridge_per_sample)
        errors.append(float(np.mean((labels - across @ coefficients) ** 2)))
        risks.append(found)
    mean = np.mean(errors)
    held = [found.low <= mean <= found.high for found in risks]
    estimates = np.array([found.risk for found in risks])
    assert abs(np.mean(estimates) - mean) < 3.5 * np.std(estimates) / np.sqrt(40)
    assert sum(held) >= 34


def test_a_decomposition_serves_many_ridges():
    K, y = laplace(30)
    fit = ridge_fit(K, y)
    assert leave_one_out_of(fit, ridge=0.3).risk == leave_one_out(K, y, ridge=0.3).risk


@pytest.mark.parametrize(
    ("K", "y", "options", "error"),
    [
        (np.ones((2, 3)), np.ones(2), {}, ShapeError),
        (np.zeros((0, 0)), np.ones(0), {}, ShapeError),
        (np.eye(3), np.ones(2), {}, ShapeError),
        (np.full((2, 2), np.nan), np.ones(2), {}, NonFiniteError),
        (np.eye(2), [1.0, np.inf], {}, NonFiniteError),
        (np.array([[1.0, 0.0], [1.0, 1.0]]), np.ones(2), {}, NotSymmetricError),
        (np.diag([1.0, -1.0]), np.ones(2), {}, ArgumentError),
        (np.zeros((2, 2)), np.ones(2), {}, ArgumentError),
        (np.eye(2, dtype=np.float16), np.ones(2), {}, BackendError),
        (np.eye(2), np.ones(2), {"ridge": -1.0}, ArgumentError),
        (np.eye(2), np.ones(2), {"ridge": np.nan}, ArgumentError),
        (np.eye(2), np.ones(2), {"level": 1.0}, ArgumentError),
        (np.eye(2), np.ones(2), {"level": "95 %"}, ArgumentError),
    ],
)
def test_what_cannot_be(K, y, options, error):
    with pytest.raises(error):
        leave_one_out(K, y, **({"ridge": 0.1} | options))
