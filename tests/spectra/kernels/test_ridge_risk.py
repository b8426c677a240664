import builtins
import pickle
import warnings

import numpy as np
import pytest

from spectra.errors import ArgumentError, BackendError, ShapeError
from spectra.kernels.best_ridge import best_ridge
from spectra.kernels.eigendecay import eigendecay
from spectra.kernels.leave_one_out import leave_one_out
from spectra.kernels.overfitting_regime import overfitting_regime
from spectra.kernels.ridge_risk import KernelRidgeRisk, UntrustworthyRiskWarning
from spectra.kernels.stationary import RBF, Laplace

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone, is_regressor  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.kernel_ridge import KernelRidge  # noqa: E402
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402

# Of 80 samples a few often decide; the tests of the warning turn it back on.
pytestmark = pytest.mark.filterwarnings("ignore::spectra.kernels.ridge_risk.UntrustworthyRiskWarning")

RNG = np.random.default_rng(4)
X = RNG.standard_normal((80, 3))
Y = np.sin(X[:, 0]) + 0.5 * X[:, 1] ** 2 + 0.2 * RNG.standard_normal(80)
NEW = RNG.standard_normal((30, 3))

#: scikit-learn feeds matrices to these that are no Gram matrices: random ones, and products of float32 numbers that
#: are indefinite beyond rounding. Other estimators take them without a look.
PRECOMPUTED = ("check_positive_only_tag_during_fit", "check_estimators_dtypes", "check_regressors_train")


def checks_of_scikit_learn():
    estimators = [
        KernelRidgeRisk(),
        KernelRidgeRisk("laplace", alpha=1.0),
        KernelRidgeRisk("linear", alpha=0.5),
        KernelRidgeRisk("laplacian"),
        KernelRidgeRisk("precomputed", alpha=1.0),
    ]
    with warnings.catch_warnings():
        # scikit-learn notes that the estimator does not inherit from its base class.
        warnings.simplefilter("ignore")
        for estimator in estimators:
            for one, check in estimator_checks_generator(estimator):
                name = check.func.__name__
                # Would need an environment variable of SciPy, and claims nothing of this estimator.
                if name != "check_array_api_input" and not (estimator.kernel == "precomputed" and name in PRECOMPUTED):
                    yield pytest.param(one, check, id=f"{estimator.kernel}-{name}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(checks_of_scikit_learn()))
def test_conventions_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": "rbf", "gamma": 0.3},
        {"kernel": "laplacian", "gamma": 0.3},
        {"kernel": "polynomial", "degree": 2, "coef0": 0.7, "gamma": 0.2},
        {"kernel": "polynomial"},
        {"kernel": "linear"},
        {"kernel": "cosine"},
    ],
)
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("outputs", [1, 3])
def test_predictions_are_those_of_kernel_ridge(settings, alpha, outputs):
    y = Y if outputs == 1 else np.column_stack([Y, Y**2, np.ones(80)])
    found = KernelRidgeRisk(alpha=alpha, **settings).fit(X, y)
    expected = KernelRidge(alpha=alpha, **settings).fit(X, y)
    assert found.predict(NEW).shape == expected.predict(NEW).shape
    np.testing.assert_allclose(found.predict(NEW), expected.predict(NEW), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.dual_coef_, expected.dual_coef_, rtol=1e-8, atol=1e-8)
    fresh = RNG.standard_normal(y[:30].shape)
    assert found.score(NEW, fresh) == pytest.approx(expected.score(NEW, fresh), rel=1e-8)


def test_precomputed_is_the_same_fit():
    kernel = Laplace(1.5)
    direct = KernelRidgeRisk(kernel, alpha=0.1).fit(X, Y)
    given = KernelRidgeRisk("precomputed", alpha=0.1).fit(kernel(X), Y)
    np.testing.assert_allclose(given.predict(kernel(NEW, X)), direct.predict(NEW), rtol=1e-10)
    assert given.risk_.risk == pytest.approx(direct.risk_.risk)
    assert given.regime_.verdict == direct.regime_.verdict


def test_a_float32_matrix_has_the_rounding_of_float32():
    K = Laplace(1.5)(X)
    single = KernelRidgeRisk("precomputed", alpha=0.0).fit(K.astype(np.float32), Y)
    assert (
        single.risk_.effective_ridge > 1e7 * KernelRidgeRisk("precomputed", alpha=0.0).fit(K, Y).risk_.effective_ridge
    )


def test_ridge_is_the_best_of_leave_one_out():
    K = Laplace(1.5)(X)
    found = KernelRidgeRisk(Laplace(1.5)).fit(X, Y)
    best = best_ridge(K, Y)
    assert found.alpha_ == pytest.approx(best.ridge)
    assert found.predicted_test_error_ == found.risk_.risk == pytest.approx(best.risk.risk)
    assert found.is_trustworthy_ == best.risk.is_trustworthy


def test_diagnostics_are_those_of_the_functions():
    K = Laplace(1.5)(X)
    found = KernelRidgeRisk(Laplace(1.5), alpha=0.2).fit(X, Y)
    assert found.risk_.risk == pytest.approx(leave_one_out(K, Y, ridge=0.2).risk)
    regime = overfitting_regime(K, ridge=0.2)
    assert found.regime_.slope == pytest.approx(regime.slope)
    assert found.regime_.noise_amplification == pytest.approx(regime.noise_amplification)
    assert found.decay_.law == eigendecay(K).law


def test_effective_dimension_at_the_ridge():
    pytest.importorskip("spectra.kernels.effective_dimension")
    found = KernelRidgeRisk(Laplace(1.5), alpha=0.2).fit(X, Y)
    values = np.linalg.eigvalsh(Laplace(1.5)(X))
    assert float(found.effective_dimension_.df1) == pytest.approx(np.sum(values / (values + 0.2)))


def test_diagnostics_are_forgotten_by_the_next_fit():
    found = KernelRidgeRisk(Laplace(1.5), alpha=0.2).fit(X, Y)
    first = found.regime_
    assert found.regime_ is first
    found.fit(X[:70], Y[:70])
    assert found.regime_.num_samples == 70


def test_predicted_error_is_that_of_new_samples():
    """z-test over data sets: leave-one-out is unbiased for n - 1 samples."""
    differences = []
    for seed in range(40):
        rng = np.random.default_rng([3, seed])
        points = rng.standard_normal((200, 2))
        targets = np.sin(2 * points[:, 0]) + 0.3 * rng.standard_normal(200)
        found = KernelRidgeRisk(Laplace(1.0), alpha=0.5).fit(points[:50], targets[:50])
        actual = np.mean((targets[50:] - found.predict(points[50:])) ** 2)
        differences.append(found.predicted_test_error_ - actual)
    assert abs(np.mean(differences)) < 3.5 * np.std(differences, ddof=1) / np.sqrt(40)


def test_untrustworthy_fits_warn_and_say_why():
    noise = np.random.default_rng(0).standard_normal(80)
    with pytest.warns(UntrustworthyRiskWarning, match="exceeds the variance"):
        found = KernelRidgeRisk(RBF(1.0), alpha=0.0).fit(X, noise)
    assert not found.is_trustworthy_
    points = np.random.default_rng(1).uniform(-2, 2, (300, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calm = KernelRidgeRisk("laplace").fit(
            points, np.sin(points[:, 0]) + 0.2 * np.random.default_rng(2).standard_normal(300)
        )
    assert calm.is_trustworthy_


def test_pipelines_searches_and_cross_validation():
    pipeline = make_pipeline(StandardScaler(), KernelRidgeRisk("laplace"))
    assert np.mean(cross_val_score(pipeline, X, Y, cv=4)) > 0.2
    grid = {"kernelridgerisk__kernel": ["laplace", "rbf", Laplace(3.0)], "kernelridgerisk__alpha": ["loo", 1.0]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, Y)
    assert np.isfinite(search.best_estimator_[-1].predicted_test_error_)
    assert is_regressor(KernelRidgeRisk())


def test_cross_validation_of_a_precomputed_matrix_takes_rows_and_columns():
    kernel, folds = Laplace(1.5), KFold(4)
    direct = cross_val_predict(KernelRidgeRisk(kernel, alpha=0.3), X, Y, cv=folds)
    given = cross_val_predict(KernelRidgeRisk("precomputed", alpha=0.3), kernel(X), Y, cv=folds)
    np.testing.assert_allclose(given, direct, rtol=1e-9)


def test_leave_one_out_by_scikit_learn_is_the_same():
    found = KernelRidgeRisk(Laplace(1.5), alpha=0.3).fit(X[:40], Y[:40])
    refits = cross_val_predict(KernelRidge(kernel="precomputed", alpha=0.3), Laplace(1.5)(X[:40]), Y[:40], cv=KFold(40))
    assert found.predicted_test_error_ == pytest.approx(np.mean((refits - Y[:40]) ** 2), rel=1e-9)


def test_clones_and_pickles():
    model = KernelRidgeRisk(RBF(2.0), alpha=0.1, level=0.9)
    again = clone(model)
    assert again is not model
    assert again.get_params() == model.get_params()
    model.fit(X, Y)
    assert model.regime_.num_samples == 80
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict(NEW), model.predict(NEW))


def test_data_frames_are_held_to_their_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = KernelRidgeRisk("laplace", alpha=0.1).fit(frame, pandas.Series(Y))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(model.predict(frame), model.predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["b", "a", "c"]])
    model.fit(X, Y)
    assert not hasattr(model, "feature_names_in_")


def test_repr_shows_what_was_changed():
    assert repr(KernelRidgeRisk()) == "KernelRidgeRisk()"
    assert repr(KernelRidgeRisk(RBF(2.0), alpha=1.0)) == "KernelRidgeRisk(alpha=1.0, kernel=RBF(length_scale=2.0))"


def test_functions_with_parameters():
    def power(A, B, q=1):
        return (1 + A @ B.T) ** q

    found = KernelRidgeRisk(power, alpha=1.0, kernel_params={"q": 2}).fit(X, Y)
    expected = KernelRidge(kernel="poly", degree=2, gamma=1.0, coef0=1.0, alpha=1.0).fit(X, Y)
    np.testing.assert_allclose(found.predict(NEW), expected.predict(NEW), rtol=1e-8)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_of_targets_and_kernel_do_not_matter(unit):
    kernel = Laplace(1.5)
    one = KernelRidgeRisk("precomputed").fit(kernel(X), Y)
    other = KernelRidgeRisk("precomputed").fit(unit * kernel(X), Y * unit)
    assert other.alpha_ == pytest.approx(unit * one.alpha_, rel=1e-3)
    assert other.predicted_test_error_ == pytest.approx(unit**2 * one.predicted_test_error_, rel=1e-5)


@pytest.mark.parametrize("n", [1, 2])
def test_few_samples(n):
    found = KernelRidgeRisk(RBF(1.0), alpha=1.0).fit(X[:n], Y[:n])
    assert found.predict(X[:n]).shape == (n,)
    assert np.isinf(found.risk_.high) == (n == 1)


def test_one_sample_has_no_best_ridge():
    with pytest.raises(ArgumentError, match="n_samples = 1"):
        KernelRidgeRisk(RBF(1.0)).fit(X[:1], Y[:1])
    with pytest.raises(ArgumentError, match="length_scale"):
        KernelRidgeRisk("rbf", alpha=1.0).fit(X[:1], Y[:1])


@pytest.mark.parametrize(
    ("settings", "data", "targets", "error"),
    [
        ({}, np.full((3, 2), np.nan), np.zeros(3), ArgumentError),
        ({}, X, np.full(80, np.inf), ArgumentError),
        ({}, X, Y[:79], ShapeError),
        ({}, X, None, ArgumentError),
        ({}, X[:, 0], Y, ShapeError),
        ({}, np.empty((0, 2)), np.empty(0), ShapeError),
        ({}, X.astype(complex), Y, ArgumentError),
        ({}, X, np.array(["a"] * 80), ArgumentError),
        ({"alpha": -1.0}, X, Y, ArgumentError),
        ({"alpha": "best"}, X, Y, ArgumentError),
        ({"alpha": None}, X, Y, ArgumentError),
        ({"kernel": "gaussian"}, X, Y, ArgumentError),
        ({"kernel": "laplace", "gamma": 1.0}, X, Y, ArgumentError),
        ({"kernel": RBF(1.0), "length_scale": 1.0}, X, Y, ArgumentError),
        ({"kernel": "precomputed"}, X, Y, ShapeError),
        ({"kernel": "precomputed", "gamma": 1.0}, np.eye(80), Y, ArgumentError),
        ({"kernel": "sigmoid", "gamma": 1.0, "alpha": 1.0}, X, Y, ArgumentError),
        ({"kernel": lambda A, B: A}, X, Y, ShapeError),
        ({"level": 1.5}, X, Y, ArgumentError),
    ],
)
def test_bad_input(settings, data, targets, error):
    with pytest.raises(error):
        KernelRidgeRisk(**settings).fit(data, targets)


def test_sparse_data_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(BackendError, match="toarray"):
        KernelRidgeRisk().fit(sparse.csr_matrix(X), Y)


@pytest.mark.parametrize("name", ["predict", "score"])
def test_not_fitted(name):
    with pytest.raises(NotFittedError, match="call fit first"):
        getattr(KernelRidgeRisk(), name)(*([X] if name == "predict" else [X, Y]))
    assert not hasattr(KernelRidgeRisk(), "regime_")


def test_works_without_scikit_learn(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    model = KernelRidgeRisk("laplace")
    with pytest.raises(ArgumentError, match="call fit first"):
        model.predict(X)
    assert model.fit(X, Y).score(X, Y) > 0.5


def test_wrong_number_of_features():
    model = KernelRidgeRisk("laplace", alpha=0.1).fit(X, Y)
    with pytest.raises(ShapeError, match="expecting 3 features"):
        model.predict(X[:, :2])


def test_unknown_parameter():
    with pytest.raises(ArgumentError, match="Valid parameters are"):
        KernelRidgeRisk().set_params(ridge=1.0)
