import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError
from spectra.laws import MarchenkoPastur

RATIOS = [0.05, 0.5, 0.9, 1.0, 1.5, 4.0]


@pytest.mark.parametrize("ratio", RATIOS)
def test_law_has_the_moments_of_marchenko_and_pastur(ratio):
    law = MarchenkoPastur(aspect_ratio=ratio, variance=3.0)
    x, weights = law.nodes(3), law.weights(3)
    r = ratio
    moments = [1, 1 + r, 1 + 3 * r + r**2, 1 + 6 * r + 6 * r**2 + r**3]
    found = [weights @ x**k / 3.0**k for k in range(1, 5)]
    np.testing.assert_allclose(found, moments, rtol=1e-13)
    assert np.all(np.diff(x) > 0)
    assert law.smallest < x[0] < x[-1] < law.largest


def test_law_without_a_gap_has_total_mass_one_apart_from_the_atom():
    # weights integrate functions that vanish at 0; 1 is the limit of one of them where the law keeps away from 0
    for ratio, mass in [(0.5, 1.0), (2.0, 0.5)]:
        np.testing.assert_allclose(MarchenkoPastur(aspect_ratio=ratio).weights(200).sum(), mass, rtol=1e-12)


@pytest.mark.parametrize("count", [0, -1, 2.0, True])
def test_numbers_of_nodes_that_are_none_are_refused(count):
    with pytest.raises(ArgumentError, match="num_nodes"):
        MarchenkoPastur(aspect_ratio=1.0).nodes(count)
    with pytest.raises(ArgumentError, match="num_nodes"):
        MarchenkoPastur(aspect_ratio=1.0).weights(count)


@pytest.mark.parametrize("changes", [{"aspect_ratio": 0.0}, {"aspect_ratio": -1.0}, {"variance": 0.0}])
def test_parameters_that_are_not_positive_are_refused(changes):
    with pytest.raises(ArgumentError, match="must be positive"):
        MarchenkoPastur(**({"aspect_ratio": 0.5} | changes))
    with pytest.raises((ArgumentError, NonFiniteError)):
        MarchenkoPastur(aspect_ratio=float("nan"))
