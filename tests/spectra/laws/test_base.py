from dataclasses import dataclass

import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError
from spectra.laws.base import Law
from spectra.laws.points import as_points, like_given
from spectra.testing import check_law


@dataclass(frozen=True, kw_only=True)
class Blocks(Law):
    """Two uniform pieces and atoms below, between, inside and above them: nothing but the minimum."""

    unit: float = 1.0
    with_atoms: bool = True

    @property
    def support(self):
        return ((-1.0 * self.unit, 0.0), (1.0 * self.unit, 2.0 * self.unit))

    @property
    def atoms(self):
        return tuple((self.unit * place, 0.1) for place in (-3.0, 0.5, 1.5, 4.0)) if self.with_atoms else ()

    def pdf(self, x):
        u = as_points(x) / self.unit
        inside = ((u >= -1) & (u <= 0)) | ((u >= 1) & (u <= 2))
        return like_given(np.where(inside, (0.3 if self.with_atoms else 0.5) / self.unit, 0.0), x)


@dataclass(frozen=True, kw_only=True)
class Coin(Law):
    """Atoms alone."""

    @property
    def support(self):
        return ()

    @property
    def atoms(self):
        return ((-1.0, 0.5), (1.0, 0.5))

    def pdf(self, x):
        return like_given(np.zeros(as_points(x).shape), x)


def test_distribution_function_is_closed_form():
    law = Blocks()
    x = np.array([-4.0, -3.0, -1.0, -0.5, 0.0, 0.4, 0.5, 1.0, 1.5, 2.0, 3.9, 4.0])
    expected = [0.0, 0.1, 0.1, 0.25, 0.4, 0.4, 0.5, 0.5, 0.75, 0.9, 0.9, 1.0]
    np.testing.assert_allclose(law.cdf(x), expected, atol=1e-12)


def test_quantile_is_the_smallest_point_that_reaches_the_share():
    law = Blocks()
    q = np.array([0.0, 0.05, 0.1, 0.25, 0.4 - 1e-10, 0.45, 0.5 - 1e-10, 0.6, 0.7, 0.75, 0.85, 0.95, 1.0])
    expected = np.array([-3.0, -3.0, -3.0, -0.5, 0.0, 0.5, 0.5, 4 / 3, 1.5, 1.5, 11 / 6, 4.0, 4.0])
    np.testing.assert_allclose(law.quantile(q), expected, atol=1e-9)


def test_only_atoms():
    law = Coin()
    np.testing.assert_array_equal(law.quantile([0.0, 0.5, 0.500001, 1.0]), [-1.0, -1.0, 1.0, 1.0])
    assert law.moment(2) == 1.0
    assert law.stieltjes(1.0).imag == np.inf
    assert law.stieltjes(2j) == pytest.approx(0.5 / (-1 - 2j) + 0.5 / (1 - 2j))


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
@pytest.mark.parametrize("with_atoms", [True, False])
def test_a_law_needs_only_support_atoms_and_density(unit, with_atoms):
    check_law(Blocks(unit=unit, with_atoms=with_atoms), tolerance=1e-7)


def test_shapes_follow_the_points():
    law = Blocks()
    assert isinstance(law.cdf(0.3), float)
    assert isinstance(law.pdf(np.float64(0.3)), float)
    assert isinstance(law.stieltjes(1j), complex)
    assert law.stieltjes([[1j, 2j]]).shape == (1, 2)
    assert law.quantile(np.empty((0, 3))).shape == (0, 3)
    assert law.cdf([]).shape == (0,)


def test_draws_depend_on_the_seed_alone():
    law = Blocks()
    np.testing.assert_array_equal(law.sample(5, rng=3), law.sample(5, rng=3))
    assert not np.array_equal(law.sample(5, rng=3), law.sample(5, rng=4))
    np.testing.assert_array_equal(
        law.sample(5, rng=np.random.default_rng(0)), law.sample(5, rng=np.random.default_rng(0))
    )


def test_wrong_calls():
    law = Blocks()
    for q in (-0.1, 1.1, [0.5, 2.0]):
        with pytest.raises(ArgumentError, match=r"\[0, 1\]"):
            law.quantile(q)
    for call in (law.cdf, law.quantile, law.stieltjes):
        with pytest.raises(NonFiniteError):
            call(np.nan)
        with pytest.raises(ArgumentError, match="numbers"):
            call("x")
    with pytest.raises(NonFiniteError):
        law.stieltjes(np.inf)
    with pytest.raises(ArgumentError, match="order"):
        law.moment(-1)
    with pytest.raises(ArgumentError, match="num"):
        law.sample(0)


def test_habits_of_scipy():
    """Uniform on (-1, 0) and (1, 2), each of mass one half: mean 1/2, variance 1 + 1/12."""
    law = Blocks(with_atoms=False)
    assert law.mean() == pytest.approx(0.5, abs=1e-12)
    assert law.var() == pytest.approx(1.0 + 1.0 / 12.0, rel=1e-12)
    assert law.std() == pytest.approx(np.sqrt(13.0 / 12.0), rel=1e-12)
    np.testing.assert_allclose(law.interval(0.5), [-0.5, 1.5], atol=1e-9)
    np.testing.assert_allclose(law.sf([[-2.0, -0.5, 1.5, 3.0]]), [[1.0, 0.75, 0.25, 0.0]], atol=1e-12)
    np.testing.assert_allclose(law.isf([0.75, 0.25]), [-0.5, 1.5], atol=1e-9)
    assert isinstance(law.isf(0.3), float)
    assert isinstance(law.sf(0.3), float)
    for call in (law.isf, law.interval):
        with pytest.raises(ArgumentError, match=r"\[0, 1\]"):
            call(1.5)
        with pytest.raises(NonFiniteError):
            call(np.nan)


def test_atoms_count_in_moments_and_tails():
    law = Coin()
    assert (law.mean(), law.var(), law.median()) == (0.0, 1.0, -1.0)
    assert law.sf(-1.0) == 0.5
    assert law.isf(0.5) == -1.0


def test_an_interval_has_one_confidence():
    for confidence in ([0.5, 0.9], [], [0.5]):
        with pytest.raises(ArgumentError, match="one number"):
            Blocks().interval(confidence)


def test_moments_beyond_float64_are_infinite():
    assert Blocks(unit=1e200).moment(2) == np.inf
