import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.laws.shrinkage import hard_threshold, noise_from_median, shrink_singular_values
from spectra.laws.spiked import SpikedRectangular

SHAPE = (200, 400)


def shrunk(values, loss, **given):
    return shrink_singular_values(values, SHAPE, **({"noise": 1.0} | given), loss=loss).values


def test_operator_shrinkage_inverts_the_bias():
    model, unit = SpikedRectangular(aspect_ratio=0.5), np.sqrt(400)
    x = np.array([1.0, 2.0, 5.0])
    np.testing.assert_allclose(shrunk(model.outlier(x) * unit, "operator"), x * unit, rtol=1e-12)


def test_frobenius_and_nuclear_follow_from_the_overlaps():
    model, unit, x = SpikedRectangular(aspect_ratio=0.5), np.sqrt(400), np.array([1.2, 2.0, 5.0])
    left, right = model.left_overlap(x), model.right_overlap(x)
    observed = model.outlier(x) * unit
    np.testing.assert_allclose(shrunk(observed, "frobenius"), unit * x * np.sqrt(left * right), rtol=1e-10)
    nuclear = unit * x * (np.sqrt(left * right) - np.sqrt((1 - left) * (1 - right)))
    np.testing.assert_allclose(shrunk(observed, "nuclear"), np.maximum(nuclear, 0), rtol=1e-9)


def test_frobenius_equals_the_published_form():
    s = np.array([1.8, 2.4, 7.0])
    published = np.sqrt((s**2 - 1.5) ** 2 - 2.0) / s
    np.testing.assert_allclose(shrunk(20 * s, "frobenius"), 20 * published, rtol=1e-12)


@pytest.mark.parametrize("loss", ["frobenius", "operator", "nuclear"])
def test_noise_gives_nothing_and_large_values_stay(loss):
    edge = 20 * (1 + np.sqrt(0.5))
    found = shrink_singular_values([1e9, edge, 0.5 * edge, 0.0], SHAPE, noise=1.0, loss=loss)
    assert found.rank == 1
    np.testing.assert_allclose(found.values, [1e9, 0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_change_nothing_else(unit):
    values = np.linalg.svd(np.random.default_rng(0).standard_normal(SHAPE), compute_uv=False)
    values[0] = 60.0
    plain = shrink_singular_values(values, SHAPE)
    scaled = shrink_singular_values(unit * values, SHAPE)
    np.testing.assert_allclose(scaled.values, unit * plain.values, rtol=1e-12)
    assert plain.noise_is_estimated
    assert scaled.noise == pytest.approx(unit * plain.noise)


@pytest.mark.parametrize(
    ("ratio", "known", "unknown"),
    [(0.1, 1.581648, 1.608772), (0.25, 1.758029, 1.836866), (0.5, 1.978599, 2.171185), (1.0, 2.309401, 2.858362)],
)
def test_hard_thresholds_are_the_published_ones(ratio, known, unknown):
    shape = (round(400 * ratio), 400)
    assert hard_threshold(shape, noise=1.0) / 20 == pytest.approx(known, abs=1e-6)
    ones = np.ones(shape[0])
    assert hard_threshold(shape, singular_values=ones) == pytest.approx(unknown, abs=1e-6)
    assert hard_threshold(shape[::-1], noise=1.0) == hard_threshold(shape, noise=1.0)


def test_shrinking_beats_cutting_beats_keeping():
    rng = np.random.default_rng(3)
    left, right = np.linalg.qr(rng.standard_normal((200, 5)))[0], np.linalg.qr(rng.standard_normal((400, 5)))[0]
    signal = left * np.array([22.0, 25.0, 30.0, 40.0, 80.0]) @ right.T
    U, s, V = np.linalg.svd(signal + rng.standard_normal(SHAPE), full_matrices=False)

    def error(values):
        return np.linalg.norm(U * values @ V - signal)

    cut = np.where(s > hard_threshold(SHAPE, singular_values=s), s, 0.0)
    assert error(shrink_singular_values(s, SHAPE).values) < error(cut) < error(s)


def test_estimated_noise_is_right():
    rng = np.random.default_rng(4)
    found = [
        noise_from_median(np.linalg.svd(3 * rng.standard_normal((100, 150)), compute_uv=False), (100, 150))
        for _ in range(20)
    ]
    assert abs(np.mean(found) - 3) < 3 * np.std(found) / np.sqrt(20) + 0.01


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: shrink_singular_values([-1.0], (2, 2), noise=1.0), ArgumentError, "negative"),
        (lambda: shrink_singular_values([1.0], (2, 2), noise=0.0), ArgumentError, "positive"),
        (lambda: shrink_singular_values([1.0], (2, 2), noise=1.0, loss="mse"), ArgumentError, "loss"),
        (lambda: shrink_singular_values([1.0], (2, 2)), ShapeError, "all 2"),
        (lambda: shrink_singular_values([1.0, 2.0], (1, 3), noise=1.0), ShapeError, "at most"),
        (lambda: shrink_singular_values([1.0], 3, noise=1.0), ShapeError, "pair of sizes"),
        (lambda: shrink_singular_values([1.0], (0, 3), noise=1.0), ArgumentError, "shape"),
        (lambda: shrink_singular_values([np.nan], (1, 3), noise=1.0), NonFiniteError, "finite"),
        (lambda: noise_from_median([0.0, 0.0], (2, 2)), ArgumentError, "median"),
        (lambda: hard_threshold((2, 2)), ArgumentError, "exactly one"),
        (lambda: hard_threshold((2, 2), noise=1.0, singular_values=[1, 1]), ArgumentError, "exactly one"),
    ],
)
def test_wrong_calls_are_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_one_singular_value_will_do():
    assert shrink_singular_values([5.0], (1, 1), noise=1.0, loss="operator").values[0] == pytest.approx(4.791288, 1e-6)


@pytest.mark.parametrize("loss", ["frobenius", "operator", "nuclear"])
def test_singular_values_far_above_the_noise_stay(loss):
    found = shrink_singular_values([1e200, 1e100], (50, 100), noise=1.0, loss=loss)
    np.testing.assert_allclose(found.values, [1e200, 1e100], rtol=1e-12)
