"""Laws are told apart by their distances, and errors of parameters are those of matrices."""

import math

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.laws import FRatio, GeneralizedMarchenkoPastur, Jacobi, MarchenkoPastur, Semicircle
from spectra.laws_draws import DRAWN
from spectra.laws_fit import distance_limit, fit_law, fit_population, law_distance

CASES = [
    ("marchenko_pastur", MarchenkoPastur(aspect_ratio=0.5, variance=2.0)),
    ("marchenko_pastur", MarchenkoPastur(aspect_ratio=2.0)),
    ("semicircle", Semicircle(variance=3.0)),
    ("jacobi", Jacobi(first_ratio=0.5, second_ratio=1 / 3)),
    ("f", FRatio(first_ratio=0.5, second_ratio=1 / 3)),
]


def ladder(law, num):
    return np.asarray(law.quantile((np.arange(num) + 0.5) / num))


@pytest.mark.parametrize(("name", "law"), CASES)
def test_quantiles_of_a_law_are_half_a_step_from_it(name, law):
    assert law_distance(ladder(law, 400), law) == pytest.approx(0.5 / 400, rel=1e-6)


def test_a_wrong_atom_is_the_distance():
    law = MarchenkoPastur(aspect_ratio=2.0)
    positive = law.quantile(0.5 + (np.arange(100) + 0.5) / 200)
    # Just below the first value the law has its atom and half a step.
    assert law_distance(positive, law) == pytest.approx(0.5025)
    assert law_distance(np.append(np.zeros(100), positive), law) == pytest.approx(0.5 / 200)


@pytest.mark.parametrize(("name", "law"), CASES)
def test_errors_cover_the_truth_over_draws(name, law):
    generator, size, num = np.random.default_rng(5), 120, 30
    scores = []
    for _ in range(num):
        found = fit_law(name, DRAWN[name](law, size, generator), rng=generator)
        if found.fits:
            scores.append([(found.parameters[key] - getattr(law, key)) / found.stderr[key] for key in found.stderr])
    assert len(scores) >= num - 1
    # A root mean square of 30 numbers of variance 1 is within 0.61 and 1.39 in 99.8 % of draws.
    assert np.all(np.abs(np.sqrt(np.mean(np.square(scores), axis=0)) - 1.0) < 0.45)


@pytest.mark.parametrize(("name", "law"), CASES)
def test_another_law_does_not_fit(name, law):
    values = ladder(law, 300)
    for other in {case for case, _ in CASES} - {name}:
        found = fit_law(other, values)
        assert not found.fits
        assert found.law is None or found.distance > 2 * distance_limit(300)
        assert all(math.isnan(error) for error in found.stderr.values())


@pytest.mark.parametrize("scale", [1e-14, 1e14])
def test_units_change_nothing_but_units(scale):
    for name, law in CASES[:3]:
        values = ladder(law, 200)
        one, other = fit_law(name, values), fit_law(name, values * scale)
        assert other.distance == pytest.approx(one.distance, rel=1e-6)
        power = 2 if name == "semicircle" else 1
        assert other.parameters["variance"] == pytest.approx(one.parameters["variance"] * scale**power, rel=1e-9)


def test_a_population_fits_a_bulk_of_two_variances_and_no_wrong_ratio():
    law = GeneralizedMarchenkoPastur(population=[1.0, 4.0], aspect_ratio=0.25)
    values = ladder(law, 300)
    found = fit_population(values, aspect_ratio=0.25)
    assert found.fits
    assert found.law.moment(1) == pytest.approx(2.5, rel=0.01)
    assert not fit_population(values, aspect_ratio=4.0).fits


def test_what_has_no_moments_of_a_law_says_so():
    found = fit_law("f", np.linspace(0.1, 0.9, 50))
    assert found.law is None
    assert math.isnan(found.distance)
    assert "mean above 1" in found.remark
    with pytest.raises(ArgumentError, match="must be one of"):
        fit_law("generalized", np.ones(3))
