import numpy as np
import pytest

from spectra.arrays import to_host
from spectra.errors import ArgumentError, BackendError, ShapeError
from spectra.start_vectors import as_seed, start_vectors


@pytest.mark.parametrize("distribution", ["sphere", "rademacher", "gaussian"])
def test_equal_in_every_library(xp, distribution):
    ours = start_vectors(xp.zeros((7,), dtype=xp.float64), num=3, rng=5, distribution=distribution)
    reference = start_vectors(np.zeros(7), num=3, rng=5, distribution=distribution)
    np.testing.assert_array_equal(to_host(ours), reference)
    single = start_vectors(xp.zeros((7,), dtype=xp.float32), num=3, rng=5, distribution=distribution)
    assert single.dtype == xp.float32
    np.testing.assert_array_equal(to_host(single), reference.astype(np.float32))


def test_column_is_a_function_of_seed_and_index():
    five = start_vectors(np.zeros(9), num=5, rng=3)
    np.testing.assert_array_equal(start_vectors(np.zeros(9), num=2, rng=3, first=3), five[:, 3:])
    assert not np.allclose(start_vectors(np.zeros(9), num=5, rng=4), five)
    assert len({tuple(column) for column in five.T}) == 5


@pytest.mark.parametrize("distribution", ["sphere", "rademacher", "gaussian"])
def test_second_moment_is_the_identity(distribution):
    n, num = 4, 20_000
    v = start_vectors(np.zeros(n), num=num, distribution=distribution)
    products = v[:, None, :] * v[None, :, :]
    stderr = np.std(products, axis=2) / np.sqrt(num)
    assert np.all(np.abs(np.mean(products, axis=2) - np.eye(n)) <= 4.0 * stderr + 1e-12)


def test_sphere_and_signs():
    v = start_vectors(np.zeros(50), num=4)
    np.testing.assert_allclose(np.linalg.norm(v, axis=0), np.sqrt(50.0), rtol=1e-14)
    assert set(np.unique(start_vectors(np.zeros(50), num=4, distribution="rademacher"))) == {-1.0, 1.0}


def test_seed_of_a_generator_is_one_draw():
    first, second = np.random.default_rng(1), np.random.default_rng(1)
    assert as_seed(first) == as_seed(second)
    assert first.random() == second.random()
    assert as_seed(np.int64(4)) == 4


@pytest.mark.parametrize("bad", [-1, 2**63, 1.0, None, "1", True, np.random.RandomState(0)])
def test_bad_seeds(bad):
    with pytest.raises(ArgumentError, match="rng must be"):
        as_seed(bad)


def test_bad_arguments():
    for arguments in ({"num": 0}, {"num": 1.5}, {"num": 1, "first": -1}, {"num": 1, "distribution": "cube"}):
        with pytest.raises(ArgumentError):
            start_vectors(np.zeros(3), **arguments)
    for like in (np.zeros(0), np.zeros((3, 1))):
        with pytest.raises(ShapeError):
            start_vectors(like, num=1)
    for like in (np.zeros(3, dtype=complex), np.zeros(3, dtype=int), [0.0]):
        with pytest.raises(BackendError):
            start_vectors(like, num=1)
