"""Every law of ``LAWS`` keeps its promises, and `check_law` finds laws that do not."""

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.points import as_points, like_given
from spectra.laws.semicircle import Semicircle
from spectra.testing import check_law
from tests.cases import LAWS


@pytest.mark.parametrize("name", LAWS)
def test_law_keeps_its_promises(name):
    check_law(LAWS[name]())


class WithoutAtom(MarchenkoPastur):
    @property
    def atoms(self):
        return ()


class Decreasing(Semicircle):
    def cdf(self, x):
        return 1.0 - super().cdf(x)


class Shifted(Semicircle):
    def quantile(self, q):
        return super().quantile(q) + 1e-3


class WrongMoment(Semicircle):
    def moment(self, order):
        return super().moment(order) * (1.0 + 1e-6 * order)


class Cauchy(Semicircle):
    def stieltjes(self, z):
        return -super().stieltjes(z)


class WrongBranch(Semicircle):
    def stieltjes(self, z):
        return np.conj(super().stieltjes(np.conj(z)))


class Constant(Semicircle):
    def sample(self, num, *, rng=0):
        return np.full(num, 0.1)


class Flat(Semicircle):
    def pdf(self, x):
        return np.ravel(super().pdf(x))


class Backwards(Semicircle):
    @property
    def support(self):
        return ((2.0, -2.0),)


class Heavy(Semicircle):
    def pdf(self, x):
        return like_given(1.01 * np.asarray(super().pdf(as_points(x))), x)


BROKEN = {
    "mass": (WithoutAtom(aspect_ratio=2.0), "cdf|mass"),
    "decreasing": (Decreasing(), "grow"),
    "quantile": (Shifted(), "quantile"),
    "moment": (WrongMoment(), "moment"),
    "sign of the transform": (Cauchy(), "stieltjes"),
    "side of the axis": (WrongBranch(), "stieltjes"),
    "draws": (Constant(), "draws"),
    "shape": (Flat(), "shape"),
    "support": (Backwards(), "support|ascending"),
    "density": (Heavy(), "mass 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_defect_is_found(name):
    law, message = BROKEN[name]
    with pytest.raises(ArgumentError, match=message):
        check_law(law)
