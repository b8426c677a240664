import math

import numpy as np
import pytest
from scipy import stats

from spectra.errors import ArgumentError, ShapeError
from spectra.laws.gaussian_spectra import compare_with_noise, gaussian_spectra


def test_gaussian_spectra_have_the_moments_and_the_edge_of_dense_matrices():
    spectra = gaussian_spectra((60, 90), num=400)
    # E tr S = p and E tr S^2 = p (1 + (p + 1) / n), exactly.
    first, second = spectra.sum(axis=1), (spectra**2).sum(axis=1)
    for drawn, exact in ((first, 60.0), (second, 60 * (1 + 61 / 90))):
        assert abs(drawn.mean() - exact) < 4 * drawn.std() / math.sqrt(400)
    dense = [
        np.linalg.svd(np.random.default_rng(seed).normal(size=(60, 90)), compute_uv=False)[0] for seed in range(400)
    ]
    assert stats.ks_2samp(spectra[:, 0], np.square(dense) / 90).pvalue > 0.01


def test_few_largest_eigenvalues_are_those_of_all():
    every = gaussian_spectra((200, 300), num=3, rng=4)
    few = gaussian_spectra((200, 300), num=3, num_largest=5, rng=4)
    np.testing.assert_allclose(few, every[:, :5], rtol=1e-12)


def test_a_wide_matrix_is_compared_with_narrower_noise():
    values = np.sort(gaussian_spectra((900, 1800), num=1, rng=3)[0])[::-1]
    assert compare_with_noise(values, num_tail=60, shape=(900, 1800), num_draws=30).is_noise
    values[:60] = values[59] * np.sort(np.random.default_rng(0).pareto(1.5, size=60) + 1)[::-1]
    assert not compare_with_noise(values, num_tail=60, shape=(900, 1800), num_draws=30).is_noise


def test_shapes_in_either_order_and_of_one_row():
    np.testing.assert_array_equal(gaussian_spectra((4, 3), num=2), gaussian_spectra((3, 4), num=2))
    assert gaussian_spectra((1, 5), num=3).shape == (3, 1)


def test_wrong_calls():
    for wrong in (0, -1):
        with pytest.raises(ArgumentError, match="num must be"):
            gaussian_spectra((3, 4), num=wrong)
    for shape in (3, (3, 4, 5)):
        with pytest.raises(ShapeError, match="pair"):
            gaussian_spectra(shape, num=1)
