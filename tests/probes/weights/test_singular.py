"""Singular values against planted ones."""

import math

import numpy as np

from probes.weights.singular import GRAM_TOLERANCE, singular_values
from tests.probes.weights.planted_matrices import with_spectrum


def test_singular_values_of_a_known_matrix():
    values = np.geomspace(1, 1e-12, 30)
    for shape in ((30, 30), (30, 200), (200, 30)):
        np.testing.assert_allclose(singular_values(with_spectrum(values**2, shape)), values, rtol=1e-3)
    assert singular_values(np.zeros((3, 4))).tolist() == [0, 0, 0]
    assert np.all(np.isnan(singular_values(np.array([[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]]))))


def test_six_digits_where_the_gram_matrix_only_just_has_them():
    for seed in range(4):
        for others in (np.ones(59), np.geomspace(1, 1e-3, 59)):
            values = np.append(others, math.sqrt(1.01 * GRAM_TOLERANCE))
            for shape in ((60, 60), (60, 120)):
                np.testing.assert_allclose(
                    singular_values(with_spectrum(values**2, shape, seed=seed)), values, rtol=1e-6
                )
