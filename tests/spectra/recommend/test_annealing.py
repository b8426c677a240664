"""Areas of the annealing law: the recursion against its double sum."""

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.recommend import annealing_areas


def test_recursion_is_the_double_sum():
    rates, decay = np.random.default_rng(0).uniform(0.1, 1.0, 40), 0.8
    areas = annealing_areas(rates, decay=decay)
    for s in (1, 7, 39):
        double = sum((rates[k - 1] - rates[k]) * decay ** (i - k) for i in range(1, s + 1) for k in range(1, i + 1))
        np.testing.assert_allclose(areas.annealing[s], double, rtol=1e-12)
        np.testing.assert_allclose(areas.forward[s], rates[: s + 1].sum())


def test_bad_calls_are_refused():
    with pytest.raises(ArgumentError, match="first one positive"):
        annealing_areas([0.0, 1.0])
    with pytest.raises(ArgumentError, match="at least 2"):
        annealing_areas([1.0])
    with pytest.raises(ArgumentError, match="decay"):
        annealing_areas([1.0, 0.5], decay=1.0)
