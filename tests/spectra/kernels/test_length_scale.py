import math

import numpy as np
import pytest

from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.kernels.length_scale import median_distance
from tests.spectra.kernels.kernel_cases import of, points


def test_all_pairs_of_few_points():
    X = points(30)
    distance = np.linalg.norm(X[:, None] - X[None, :], axis=-1)[np.triu_indices(30, k=1)]
    assert median_distance(X) == pytest.approx(np.median(distance[distance > 0]))


def test_pairs_that_are_drawn_estimate_the_median():
    """The standard error of a median is sqrt(pi/2) that of a mean, for about normal distances; four of them."""
    X = np.random.default_rng(0).standard_normal((400, 3))
    distance = np.linalg.norm(X[:, None] - X[None, :], axis=-1)[np.triu_indices(400, k=1)]
    error = math.sqrt(math.pi / 2) * np.std(distance) / math.sqrt(2000)
    found = [median_distance(X, num_pairs=2000, rng=seed) for seed in range(10)]
    assert len(set(found)) == 10
    assert max(abs(value - np.median(distance)) for value in found) < 4 * error


def test_it_is_reproducible_and_equal_for_all_libraries(xp):
    X = points(300)
    expected = median_distance(X, num_pairs=500, rng=3)
    assert median_distance(of(xp, X), num_pairs=500, rng=3) == pytest.approx(expected, rel=1e-15)
    assert median_distance(X, num_pairs=500, rng=3) == expected


@pytest.mark.parametrize("factor", [1e-14, 1e14])
def test_units(factor):
    X = points(300)
    assert median_distance(factor * X) == pytest.approx(factor * median_distance(X))


def test_copies_do_not_count():
    assert median_distance(np.array([[0.0], [0.0], [0.0], [5.0]])) == 5.0


def test_lists_will_do():
    assert median_distance([[0.0], [2.0]]) == 2.0


@pytest.mark.parametrize("n", [2, 5, 300])
def test_equal_points_are_refused(n):
    with pytest.raises(ArgumentError, match="equal"):
        median_distance(np.full((n, 3), 0.1))


@pytest.mark.parametrize(
    ("X", "settings", "error"),
    [
        (np.ones((1, 3)), {}, ArgumentError),
        (np.ones(3), {}, ShapeError),
        (np.full((3, 3), np.nan), {}, NonFiniteError),
        (points(), {"num_pairs": 0}, ArgumentError),
        (points(), {"rng": -1}, ArgumentError),
    ],
)
def test_arguments_that_cannot_be(X, settings, error):
    with pytest.raises(error):
        median_distance(X, **settings)


def test_masks_are_not_ignored():
    with pytest.raises(BackendError, match="mask"):
        median_distance(np.ma.masked_array(np.eye(3), mask=np.eye(3)))
