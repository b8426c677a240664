"""Draws of each law have its moments, its zeros and its distribution function."""

import numpy as np
import pytest

from spectra.laws import FRatio, Jacobi, MarchenkoPastur, Semicircle
from spectra.laws_draws import DRAWN
from spectra.laws_fit import law_distance

CASES = [
    ("marchenko_pastur", MarchenkoPastur(aspect_ratio=0.5, variance=2.0)),
    ("marchenko_pastur", MarchenkoPastur(aspect_ratio=2.0, variance=3.0)),
    ("semicircle", Semicircle(variance=3.0)),
    ("jacobi", Jacobi(first_ratio=0.5, second_ratio=0.4)),
    ("jacobi", Jacobi(first_ratio=2.0, second_ratio=0.5)),
    ("f", FRatio(first_ratio=0.5, second_ratio=0.25)),
    ("f", FRatio(first_ratio=2.0, second_ratio=0.25)),
]


@pytest.mark.parametrize(("name", "law"), CASES)
def test_draws_follow_the_law(name, law):
    generator, order, num = np.random.default_rng(0), 60, 40
    draws = [DRAWN[name](law, order, generator) for _ in range(num)]
    assert {values.shape for values in draws} == {(order,)}
    # One matrix of order N is 1 / N off in its mean, up to the spread of the law; the mean of all of them far less.
    means = [np.mean(values) for values in draws]
    spread = np.std(means) / np.sqrt(num)
    bias = np.sqrt(law.expectation(lambda x: x**2)) / order
    assert abs(np.mean(means) - law.moment(1)) < 4.0 * spread + bias
    # A law without size beside all draws of order 60: 1 / N of bias of the distribution function.
    assert law_distance(_with_exact_zeros(np.concatenate(draws), law), law) < 2.0 / order


def _with_exact_zeros(values, law):
    return np.where(values < 1e-10, 0.0, values) if law.atoms else values


@pytest.mark.parametrize(("name", "law"), CASES)
def test_a_seed_is_a_draw(name, law):
    one, other = (DRAWN[name](law, 20, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(("name", "law"), [case for case in CASES if case[1].atoms])
def test_more_variables_than_samples_have_zeros(name, law):
    values = DRAWN[name](law, 60, np.random.default_rng(0))
    assert np.count_nonzero(values < 1e-10) == round(60 * law.atoms[0][1])


def test_a_law_of_a_point_is_a_draw_of_many_samples():
    values = DRAWN["marchenko_pastur"](MarchenkoPastur(aspect_ratio=1e-9), 10, np.random.default_rng(0))
    assert np.all(np.abs(values - 1.0) < 0.02)
