from dataclasses import dataclass

import numpy as np
import pytest

from spectra.laws.base import Law
from spectra.laws.f_ratio import FRatio
from spectra.laws.jacobi import Jacobi
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.root_over_poles import RootOverPoles
from spectra.testing import check_law

LAWS = {
    "pole below": MarchenkoPastur(aspect_ratio=0.3, variance=2.0),
    "pole on the edge": MarchenkoPastur(aspect_ratio=1.0),
    "poles on both sides": Jacobi(first_ratio=0.4, second_ratio=0.7),
    "two poles below": FRatio(first_ratio=0.5, second_ratio=0.25),
    "narrow": MarchenkoPastur(aspect_ratio=1e-6),
}


@dataclass(frozen=True, kw_only=True)
class Above(RootOverPoles):
    """Marchenko-Pastur mirrored at 0, and so with its pole above."""

    @property
    def support(self):
        return ((-2.25, -0.25),)

    @property
    def atoms(self):
        return ()

    @property
    def _poles(self):
        return ((0.0, -2.0),)

    @property
    def _edge_distances(self):
        return ((2.25, 0.25),)


@pytest.mark.parametrize("name", LAWS)
def test_closed_forms_equal_the_quadrature_that_they_replace(name):
    law = LAWS[name]
    low, high = law.support[0]
    x = low + (high - low) * np.linspace(0.01, 0.99, 23)
    np.testing.assert_allclose(law._continuous_cdf(x), Law._continuous_cdf(law, x), atol=1e-10)
    z = np.concatenate([x + 1j * (high - low), x + 1e-3j * (high - low), x + 0j, low - x])
    expected = Law._continuous_stieltjes(law, z)
    np.testing.assert_allclose(law._continuous_stieltjes(z), expected, rtol=1e-8, atol=1e-8 * np.max(np.abs(expected)))


def test_a_pole_above_is_the_mirror_of_one_below():
    law, mirrored = MarchenkoPastur(aspect_ratio=0.25), Above()
    check_law(mirrored)
    x = np.linspace(0.25, 2.25, 11)
    np.testing.assert_allclose(mirrored.pdf(-x), law.pdf(x), rtol=1e-13)
    np.testing.assert_allclose(mirrored.cdf(-x), law.sf(x), atol=1e-14)
