import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.kernels.dot_product import Linear, NeuralTangent
from spectra.kernels.leave_one_out import leave_one_out
from spectra.kernels.overfitting_regime import overfitting_regime
from spectra.kernels.stationary import RBF, Laplace, Matern


def gaussian_design(values, n, *, tail=0.0, seed=0):
    """Return the Gram matrix of independent Gaussian features; a tail of eigenvalues acts as a ridge."""
    Z = np.random.default_rng(seed).standard_normal((n, values.size)) * np.sqrt(values)
    return Z @ Z.T + tail * np.eye(n)


def power(alpha, n):
    last = 12 * n
    return np.arange(1, last + 1.0) ** -alpha, (last + 0.5) ** (1 - alpha) / (alpha - 1)


def exponential(lengths, n):
    rate = lengths / n
    return np.exp(-rate * np.arange(1, int(45 / rate) + 1)), 0.0


@pytest.mark.parametrize("alpha", [1.1, 1.5, 2.0, 3.0])
def test_power_laws_are_tempered_with_their_exponent(alpha):
    values, tail = power(alpha, 200)
    found = overfitting_regime(gaussian_design(values, 200, tail=tail))
    assert found.verdict == "tempered"
    assert found.local_exponent == pytest.approx(alpha, rel=0.05)
    assert found.noise_amplification == pytest.approx(alpha, rel=0.1)


@pytest.mark.parametrize("lengths", [2, 4, 16])
def test_exponential_decay_is_catastrophic(lengths):
    values, tail = exponential(lengths, 200)
    found = overfitting_regime(gaussian_design(values, 200, tail=tail))
    assert found.verdict == "catastrophic"
    # With c n / 2 decay lengths at half of the samples the exponent is that over 1 - exp(-c n / 2).
    half = lengths / 2
    assert found.local_exponent == pytest.approx(half / -np.expm1(-half), rel=0.1)


def test_a_plateau_is_benign():
    found = overfitting_regime(gaussian_design(np.array([1.0, 0.5, 0.3]), 200, tail=1.0))
    assert found.verdict == "benign"
    assert found.noise_amplification == pytest.approx(1.0, abs=0.05)


def test_slowest_decay_with_a_sum_is_called_tempered():
    index = np.arange(1, 2401.0)
    found = overfitting_regime(gaussian_design(1 / (index * np.log(index + 1) ** 2), 200, tail=1 / np.log(2401)))
    assert found.verdict == "tempered"
    assert found.slope < 0


@pytest.mark.slow
def test_confusion_under_gaussian_design():
    """Fresh seeds: no power law is called catastrophic, and no exponential decay that has begun tempered."""
    for seed in range(20, 30):
        for alpha in (1.1, 1.5, 2, 3, 4):
            values, tail = power(alpha, 128)
            assert overfitting_regime(gaussian_design(values, 128, tail=tail, seed=seed), rng=seed).verdict in (
                "tempered",
                "undecided",
            )
        for lengths in (1, 2, 4, 8, 16, 32):
            values, tail = exponential(lengths, 128)
            assert overfitting_regime(gaussian_design(values, 128, tail=tail, seed=seed), rng=seed).verdict in (
                "catastrophic",
                "undecided",
            )


@pytest.mark.parametrize(
    ("kernel", "dimension", "verdict"),
    [
        (Laplace(0.5), 1, "tempered"),
        (Laplace(0.5), 3, "tempered"),
        (Matern(1.0, nu=1.5), 4, "tempered"),
        (NeuralTangent(3), 3, "tempered"),
        (RBF(0.4), 3, "catastrophic"),
        (RBF(0.6), 4, "catastrophic"),
    ],
)
def test_kernels_on_points(kernel, dimension, verdict):
    X = np.random.default_rng(2).random((256, dimension))
    if isinstance(kernel, NeuralTangent):
        X = X - 0.5
        X /= np.linalg.norm(X, axis=1, keepdims=True)
    assert overfitting_regime(X, kernel=kernel).verdict == verdict


@pytest.mark.parametrize(("dimension", "scale"), [(2, 0.45), (3, 0.6)])
def test_power_laws_that_have_not_begun_are_not_catastrophic(dimension, scale):
    """The exponent still rises to that of the law, like that of a Gaussian kernel in more dimensions."""
    X = np.random.default_rng(1).standard_normal((200, dimension))
    found = overfitting_regime(X, kernel=Matern(scale, nu=2.5))
    assert found.slope - 2 * found.slope_stderr > 0.12
    assert found.verdict == "undecided"
    assert "power laws that have not begun" in found.why


def test_growth_that_slows_down_is_not_catastrophic():
    """Exponents above 5 that are on the way to the one of the law, 6."""
    X = np.random.default_rng(0).standard_normal((200, 1))
    found = overfitting_regime(X, kernel=Matern(0.1, nu=2.5))
    assert found.local_exponent > 5
    assert found.slope - 2 * found.slope_stderr > 0.12
    assert found.verdict == "undecided"


def test_eigenvalues_in_steps_are_not_constant():
    """Two doublings that cancel: a Gaussian kernel of long scale, whose eigenvalues fall degree by degree."""
    X = np.random.default_rng(0).random((400, 8))
    found = overfitting_regime(X, kernel=RBF(3.3))
    assert abs(found.slope) + 2 * found.slope_stderr < 0.12
    assert found.verdict == "undecided"
    assert "in steps" in found.why


def test_tempered_says_where_decay_has_hardly_begun():
    X = np.random.default_rng(0).standard_normal((200, 16))
    found = overfitting_regime(X, kernel=RBF(1.5))
    assert found.verdict == "tempered"
    assert "hardly begun" in found.why


def test_rounding_makes_it_undecided_and_not_benign():
    found = overfitting_regime(np.random.default_rng(0).random((128, 1)), kernel=RBF(1.0))
    assert found.verdict == "undecided"
    assert "rounding" in found.why
    # The fit itself does little harm, for rounding acts as a ridge.
    assert found.amplification.gaussian < 1.2


def test_sizes_below_rounding_step_in():
    values, _ = exponential(80, 256)
    found = overfitting_regime(gaussian_design(values, 256))
    assert found.verdict == "catastrophic"
    assert found.size.tolist() == [256, 128, 64, 32]
    assert found.is_resolved.tolist() == [False, True, True, True]
    assert np.isnan(found.exponent[0])
    assert "with more of them rounding" in found.why


def test_rounding_of_float32_is_that_of_float32():
    values, _ = exponential(30, 128)
    K = gaussian_design(values, 128)
    assert overfitting_regime(K).is_resolved[0]
    single = overfitting_regime(K.astype(np.float32))
    assert not single.is_resolved[0]
    assert single.amplification.effective_ridge > 1e5 * overfitting_regime(K).amplification.effective_ridge


def test_finite_rank_is_no_regime():
    found = overfitting_regime(np.random.default_rng(0).standard_normal((100, 7)), kernel=Linear())
    assert found.verdict == "undecided"
    assert "rank 7" in found.why


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_do_not_matter(unit):
    values, tail = power(1.5, 100)
    K = gaussian_design(values, 100, tail=tail)
    one, other = overfitting_regime(K, ridge=0.1), overfitting_regime(unit * K, ridge=0.1 * unit)
    assert (one.verdict, one.why) == (other.verdict, other.why)
    assert other.slope == pytest.approx(one.slope, rel=1e-6)
    assert other.noise_amplification == pytest.approx(one.noise_amplification, rel=1e-9)


def test_a_ridge_changes_the_amplification_and_not_the_verdict():
    values, tail = power(2.0, 128)
    K = gaussian_design(values, 128, tail=tail)
    free, held = overfitting_regime(K), overfitting_regime(K, ridge=10.0)
    assert free.verdict == held.verdict == "tempered"
    assert free.slope == held.slope
    assert held.noise_amplification < 1.2 < free.noise_amplification


def test_leave_one_out_error_beside_it():
    values, tail = power(2.0, 80)
    K = gaussian_design(values, 80, tail=tail)
    y = np.random.default_rng(1).standard_normal(80)
    found = overfitting_regime(K, y=y, ridge=0.2)
    assert found.risk.risk == leave_one_out(K, y, ridge=0.2).risk
    assert overfitting_regime(K).risk is None


def test_seeds_repeat_and_matter():
    values, tail = power(2.0, 80)
    K = gaussian_design(values, 80, tail=tail)
    assert overfitting_regime(K, rng=3).slope == overfitting_regime(K, rng=3).slope
    assert overfitting_regime(K, rng=3).slope != overfitting_regime(K, rng=4).slope
    assert overfitting_regime(K, rng=np.random.default_rng(0)).verdict == "tempered"


@pytest.mark.parametrize("n", [1, 2, 3, 16, 63])
def test_few_samples_are_undecided(n):
    found = overfitting_regime(gaussian_design(np.arange(1, 500.0) ** -1.5, n))
    assert found.verdict == "undecided"
    assert "too few" in found.why
    assert np.isnan(found.slope)


def test_standard_errors_cover_the_spread_of_slopes():
    """Conservative: the spread of slopes over populations is at most the mean standard error, and not far below."""
    values, tail = power(2.0, 100)
    found = [overfitting_regime(gaussian_design(values, 100, tail=tail, seed=seed), rng=seed) for seed in range(30)]
    ratio = np.std([one.slope for one in found]) / np.mean([one.slope_stderr for one in found])
    assert 0.3 < ratio < 1.3


@pytest.mark.parametrize(
    ("source", "settings", "error"),
    [
        ([3.0, 2.0, 1.0], {}, ArgumentError),
        (np.eye(4), {"num_draws": 1}, ArgumentError),
        (np.eye(4), {"ridge": -1.0}, ArgumentError),
        (np.eye(4), {"rng": -1}, ArgumentError),
        (np.eye(4), {"y": [1.0, 2.0]}, ShapeError),
        (np.eye(4), {"y": [1.0, 2.0, np.nan, 0.0]}, NonFiniteError),
        (np.full((3, 3), np.inf), {}, NonFiniteError),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), {}, NotSymmetricError),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), {}, ArgumentError),
        (np.empty((0, 0)), {}, ShapeError),
        (np.ones((3, 2)), {}, ShapeError),
    ],
)
def test_bad_input(source, settings, error):
    with pytest.raises(error):
        overfitting_regime(source, **settings)


def test_targets_of_subsampled_data_are_refused():
    with pytest.raises(ArgumentError, match="Gram matrix and its targets"):
        overfitting_regime(np.random.default_rng(0).random((4100, 1)), kernel=Laplace(1.0), y=np.zeros(4100))
