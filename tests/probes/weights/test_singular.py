"""Singular values against planted ones."""

import numpy as np

from probes.weights.singular import singular_values
from tests.probes.weights.planted_matrices import with_spectrum


def test_singular_values_of_a_known_matrix():
    values = np.geomspace(1, 1e-12, 30)
    for shape in ((30, 30), (30, 200), (200, 30)):
        np.testing.assert_allclose(singular_values(with_spectrum(values**2, shape)), values, rtol=1e-3)
    assert singular_values(np.zeros((3, 4))).tolist() == [0, 0, 0]
