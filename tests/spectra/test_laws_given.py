"""What is known of a matrix from what was given: sizes, zeros, constant columns, and which entries may be permuted."""

import math

import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError, ShapeError
from spectra.laws_given import given_spectrum


def data(rows=60, columns=20, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns))


def symmetric(size=80, seed=0):
    A = data(size, size, seed)
    return (A + A.T) / math.sqrt(2 * size)


def test_a_mean_takes_a_sample():
    X = data()
    given = given_spectrum(X)
    assert (given.kind, given.p, given.n, given.ratio) == ("data", 20, 59, 20 / 59)
    np.testing.assert_allclose(given.values, np.linalg.eigvalsh(np.cov(X.T)), rtol=1e-10)
    plain = given_spectrum(X, center=False)
    assert plain.n == 60
    np.testing.assert_allclose(plain.values, np.linalg.eigvalsh(X.T @ X / 60), rtol=1e-10)


def test_more_variables_than_samples_have_as_many_eigenvalues_as_samples():
    X = data(20, 60)
    given = given_spectrum(X)
    assert (given.p, given.n, given.values.size) == (60, 19, 19)
    np.testing.assert_allclose(given.values, np.linalg.eigvalsh(np.cov(X.T))[-19:], rtol=1e-10)


def test_standardized_data_have_the_correlation_matrix():
    X = data() * np.geomspace(1e-3, 1e3, 20) + 5.0
    given = given_spectrum(X, standardize=True)
    np.testing.assert_allclose(given.values, np.linalg.eigvalsh(np.corrcoef(X.T)), rtol=1e-8)
    assert not given.has_unequal_columns
    assert given_spectrum(X).has_unequal_columns


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e14])
@pytest.mark.parametrize("constant", [0.0, 0.1, 7.0, -1e8])
@pytest.mark.parametrize("standardize", [False, True])
def test_a_constant_column_is_no_noise_of_rounding(scale, constant, standardize):
    X = np.column_stack([data(400), np.full(400, constant)]) * scale
    given = given_spectrum(X, standardize=standardize)
    assert np.count_nonzero(given.values <= 1e-25 * given.values[-1]) == 1
    assert "1 of 21 columns are constant, or 0" in given.remarks


@pytest.mark.parametrize("scale", [1e-14, 1e14])
def test_units_of_data_change_nothing_but_units(scale):
    one, other = given_spectrum(data()), given_spectrum(data() * scale)
    np.testing.assert_allclose(other.values / scale**2, one.values, rtol=1e-12)


@pytest.mark.parametrize("center", [False, True])
def test_means_of_variables_are_not_permuted(center):
    given = given_spectrum(data() + 10.0, center=center)
    assert given.matrix.shape == (20, 60)
    np.testing.assert_allclose(np.mean(given.matrix, axis=1), 0.0, atol=1e-12)


def test_a_symmetric_matrix_is_permuted_as_it_is():
    A = symmetric() + 3.0 - 4.0 * np.eye(80)
    given = given_spectrum(A)
    np.testing.assert_array_equal(given.matrix, A)
    np.testing.assert_allclose(given.values, np.linalg.eigvalsh(A), atol=1e-12)


def test_entries_of_a_covariance_are_not_permuted():
    S = np.cov(data().T)
    assert given_spectrum(S).matrix is None
    assert "whose entries are not permuted" in given_spectrum(S).remarks[0]
    assert given_spectrum(S, num_samples=59).matrix is None
    assert given_spectrum(symmetric()).matrix is not None


def test_a_shifted_diagonal_is_said():
    assert given_spectrum(symmetric()).remarks == ()
    assert given_spectrum(symmetric() - np.diag(np.diag(symmetric()))).remarks == ()
    shifted = given_spectrum(symmetric() + 0.5 * np.eye(80))
    assert shifted.diagonal_shift == pytest.approx(0.5, abs=0.05)
    assert "about which the bulk lies" in shifted.remarks[0]
    graph = np.triu(np.random.default_rng(0).random((300, 300)) < 0.5, 1).astype(float)
    found = given_spectrum(graph + graph.T)
    assert found.diagonal_shift == pytest.approx(-0.5, abs=0.01)
    bulk = found.values[:-1]
    assert abs(np.mean(bulk) - found.diagonal_shift) < 1e-2
    assert given_spectrum(np.array([[-2.0]])).diagonal_shift == 0.0


def test_zeros_are_those_of_the_type():
    X = data(20, 60)
    S = X.T @ X / 20
    for array in (S, S.astype(np.float32)):
        assert np.count_nonzero(given_spectrum(array, num_samples=20).values == 0.0) == 40


def test_sizes_of_a_covariance():
    values = np.linspace(1.0, 2.0, 30)
    assert (given_spectrum(values).p, given_spectrum(values).n) == (0, 0)
    assert math.isnan(given_spectrum(values).ratio)
    assert given_spectrum(values, num_samples=60).ratio == 0.5
    assert given_spectrum(values, aspect_ratio=0.5).n == 60
    wide = given_spectrum(values, num_samples=30, aspect_ratio=3.0)
    assert (wide.p, wide.n) == (90, 30)
    with pytest.raises(ShapeError, match="belong to aspect_ratio 2"):
        given_spectrum(values, num_samples=40, aspect_ratio=2.0)
    with pytest.raises(ArgumentError, match="no negative"):
        given_spectrum(values - 1.5, num_samples=60)


def test_a_measure_keeps_its_weights_and_may_have_a_ratio():
    measure = spectra.slq(np.cov(data().T), num_probes=2, num_steps=10)
    given = given_spectrum(measure, aspect_ratio=0.5)
    assert (given.kind, given.p, given.n) == ("measure", 20, 40)
    assert np.sum(given.weights) == pytest.approx(1.0)
    assert np.all(np.diff(given.values) >= 0.0)
    with pytest.raises(ArgumentError, match="no kind"):
        given_spectrum(measure, num_samples=40)
