import numpy as np
import pytest

from spectra import as_operator, eigenpairs
from spectra.arrays import to_host
from spectra.errors import ArgumentError, SchemaError, ShapeError
from spectra.testing import matrix_with_spectrum, spectrum
from spectra.warm_start import start_rows
from tests.cases import N, matrix


def test_without_a_start_the_rows_are_random():
    operator = as_operator(np.eye(N))
    rows, seed = start_rows(operator, None, num_starts=None, rng=7)
    assert (rows.shape, seed) == ((1, N), 7)
    more, _ = start_rows(operator, None, num_starts=3, rng=7)
    np.testing.assert_array_equal(more[:1], rows)


def test_an_array_alone_is_taken_as_it_is(xp):
    given = np.random.default_rng(0).standard_normal((N, 2))
    rows, seed = start_rows(as_operator(xp.eye(N, dtype=xp.float64)), xp.asarray(given), num_starts=None, rng=0)
    assert seed == -1
    np.testing.assert_allclose(to_host(rows), (given / np.linalg.norm(given, axis=0)).T, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("num_starts", [1, 2, 5])
def test_mixtures_hold_all_vectors_and_a_random_part(xp, num_starts, dtype):
    operator = as_operator(xp.asarray(np.eye(N, dtype=dtype)))
    given = xp.asarray(np.eye(N, dtype=dtype)[:, :3])
    rows = to_host(start_rows(operator, given, num_starts=num_starts, rng=0)[0])
    assert rows.shape == (num_starts, N)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-6)
    outside = np.linalg.norm(rows[:, 3:], axis=1)
    assert np.all((outside > 0.05) & (outside < 0.2))
    assert np.linalg.matrix_rank(rows[:, :3], tol=0.02) == min(num_starts, 3)


def test_earlier_pairs_set_the_block_by_their_multiplicity():
    a = matrix_with_spectrum(np.concatenate([np.linspace(0.0, 1.0, N - 3), [5.0] * 3]))
    earlier = eigenpairs(a, num=3, num_starts=4)
    assert earlier["multiplicity"].values.tolist() == [3, 3, 3]
    assert start_rows(as_operator(a), earlier, num_starts=None, rng=0)[0].shape == (3, N)
    assert start_rows(as_operator(a), earlier, num_starts=2, rng=0)[0].shape == (2, N)


def test_a_pair_listed_at_both_ends_counts_once():
    earlier = eigenpairs(np.diag([1.0, 2.0]), num=2, which="both")
    rows, _ = start_rows(as_operator(np.eye(2)), earlier, num_starts=1, rng=0)
    assert rows.shape == (1, 2)


def test_wrong_calls():
    operator = as_operator(matrix("spiked"))
    without = eigenpairs(operator, keep_vectors=False)
    with pytest.raises(SchemaError, match="keep_vectors"):
        start_rows(operator, without, num_starts=None, rng=0)
    pairs = eigenpairs(operator)
    with pytest.raises(ShapeError):
        start_rows(as_operator(np.eye(N + 1)), pairs, num_starts=None, rng=0)
    with pytest.raises(ArgumentError):
        start_rows(operator, pairs.assign(eigenvector=np.nan * pairs["eigenvector"]), num_starts=None, rng=0)
    with pytest.raises(ArgumentError):
        start_rows(operator, pairs, num_starts=0, rng=0)
    with pytest.raises(ArgumentError):
        start_rows(operator, pairs, num_starts=1, rng=-1)


def test_same_seed_same_rows():
    operator = as_operator(np.diag(spectrum("uniform", N)))
    pairs = eigenpairs(operator, num=3)
    one, two = (start_rows(operator, pairs, num_starts=2, rng=4)[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)
