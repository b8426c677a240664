import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError
from spectra.laws.spiked import SpikedCovariance, SpikedRectangular, SpikedWigner
from spectra.laws.spiked_population import SpikedPopulation

MODELS = {
    "covariance": SpikedCovariance(aspect_ratio=0.5, variance=2.0),
    "tall covariance": SpikedCovariance(aspect_ratio=3.0, variance=0.3),
    "wigner": SpikedWigner(variance=4.0),
    "rectangular": SpikedRectangular(aspect_ratio=0.4, variance=3.0),
    "square": SpikedRectangular(aspect_ratio=1.0),
    "population": SpikedPopulation(population=[1.0, 1.0, 3.0], aspect_ratio=0.25),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_spike_inverts_outlier(model):
    spikes = model.threshold * np.array([1.001, 1.1, 2.0, 10.0, 1e6])
    np.testing.assert_allclose(model.spike(model.outlier(spikes)), spikes, rtol=1e-6)
    np.testing.assert_allclose(model.spike(model.outlier(spikes[1:])), spikes[1:], rtol=1e-11)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_what_is_not_visible_has_no_outlier_no_spike_and_no_overlap(model):
    hidden = np.array([0.1, 0.9, 0.999]) * model.threshold
    assert np.all(np.isnan(model.outlier(hidden)))
    assert np.isnan(model.spike(model.edge))
    assert np.isnan(model.spike(0.5 * model.edge))
    overlap = model.left_overlap if isinstance(model, SpikedRectangular) else model.overlap
    np.testing.assert_array_equal(overlap(hidden), 0.0)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_at_the_threshold_the_outlier_leaves_the_edge_without_overlap(model):
    just = model.threshold * (1 + 1e-6)
    assert model.outlier(just) == pytest.approx(model.edge, rel=1e-9)
    overlap = model.left_overlap if isinstance(model, SpikedRectangular) else model.overlap
    assert 0 < overlap(just) < 1e-5
    assert overlap(1e6 * model.threshold) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_change_nothing_else(unit):
    model, scaled = SpikedCovariance(aspect_ratio=0.5), SpikedCovariance(aspect_ratio=0.5, variance=unit)
    assert scaled.outlier(6 * unit) == pytest.approx(6.6 * unit)
    assert scaled.overlap(6 * unit) == pytest.approx(model.overlap(6.0))
    population = SpikedPopulation(population=[unit, 3 * unit], aspect_ratio=0.25)
    assert population.threshold == pytest.approx(
        unit * SpikedPopulation(population=[1, 3], aspect_ratio=0.25).threshold
    )


def test_wigner_is_odd():
    model = SpikedWigner()
    assert model.outlier(-3.0) == -model.outlier(3.0)
    assert model.spike(-3.0) == -model.spike(3.0)


def test_rectangular_squares_to_the_covariance():
    # Y Y' has the spike x^2 + 1 of a population, and the squared outlier of the noise
    beta, x = 0.5, 2.0
    assert SpikedRectangular(aspect_ratio=beta).outlier(x) ** 2 == pytest.approx(
        SpikedCovariance(aspect_ratio=beta).outlier(x**2 + 1)
    )


def z_score(values, truth):
    return (np.mean(values) - truth) / (np.std(values, ddof=1) / np.sqrt(len(values)))


def test_covariance_outliers_and_overlaps_against_draws():
    rng = np.random.default_rng(11)
    model, outliers, overlaps = SpikedCovariance(aspect_ratio=0.5), [], []
    for _ in range(12):
        X = rng.standard_normal((250, 500))
        X[0] *= np.sqrt(6.0)
        values, vectors = np.linalg.eigh(X @ X.T / 500)
        outliers.append(values[-1])
        overlaps.append(vectors[0, -1] ** 2)
    assert abs(z_score(outliers, model.outlier(6.0))) < 3
    assert abs(z_score(overlaps, model.overlap(6.0))) < 3


def test_rectangular_outliers_and_overlaps_against_draws():
    rng = np.random.default_rng(13)
    model, rows = SpikedRectangular(aspect_ratio=0.5), []
    for _ in range(40):
        Y = rng.standard_normal((100, 200)) / np.sqrt(200)
        Y[0, 0] += 2.0
        left, values, right = np.linalg.svd(Y)
        rows.append((values[0], left[0, 0] ** 2, right[0, 0] ** 2))
    truth = model.outlier(2.0), model.left_overlap(2.0), model.right_overlap(2.0)
    for values, expected in zip(np.array(rows).T, truth, strict=True):
        assert abs(z_score(values, expected)) < 3


def test_wigner_outliers_and_overlaps_against_draws():
    rng = np.random.default_rng(14)
    model, rows = SpikedWigner(), []
    for _ in range(12):
        W = rng.standard_normal((300, 300))
        W = (W + W.T) / np.sqrt(600)
        W[0, 0] += 2.0
        values, vectors = np.linalg.eigh(W)
        rows.append((values[-1], vectors[0, -1] ** 2))
    for values, expected in zip(np.array(rows).T, (model.outlier(2.0), model.overlap(2.0)), strict=True):
        assert abs(z_score(values, expected)) < 3


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SpikedCovariance(aspect_ratio=0.0), "must be positive"),
        (lambda: SpikedCovariance(aspect_ratio=0.5, variance=-1.0), "must be positive"),
        (lambda: SpikedRectangular(aspect_ratio=1.5), "transpose"),
        (lambda: SpikedWigner().outlier("x"), "real numbers"),
        (lambda: SpikedWigner().overlap(1j), "real numbers"),
    ],
)
def test_wrong_parameters_are_refused(make, match):
    with pytest.raises(ArgumentError, match=match):
        make()


def test_parameters_that_are_not_finite_are_refused():
    with pytest.raises((ArgumentError, NonFiniteError)):
        SpikedWigner(variance=float("nan"))


def test_numbers_give_numbers_and_arrays_arrays():
    model = SpikedCovariance(aspect_ratio=0.5)
    assert type(model.outlier(6)) is float
    assert model.outlier(np.full((2, 3), 6)).shape == (2, 3)
    assert np.isnan(model.outlier(np.array([np.nan, 6.0]))).tolist() == [True, False]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_huge_spikes_are_seen_as_they_are(model):
    far = np.array([1e100, 1e200, np.inf])
    np.testing.assert_allclose(model.outlier(far), far, rtol=1e-12)
    np.testing.assert_allclose(model.spike(far), far, rtol=1e-12)
    overlaps = [model.left_overlap, model.right_overlap] if hasattr(model, "left_overlap") else [model.overlap]
    for overlap in overlaps:
        np.testing.assert_array_equal(overlap(far), 1.0)


def test_ragged_lists_are_refused():
    with pytest.raises(ArgumentError, match="real numbers"):
        SpikedWigner().spike([[1.0], [1.0, 2.0]])
