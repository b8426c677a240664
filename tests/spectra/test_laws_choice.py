"""Which laws are tried for what was given, what bulk they get, and which of them counts."""

import math
from dataclasses import replace

import numpy as np
import pytest

from spectra.laws import MarchenkoPastur
from spectra.laws_choice import best_law, fitted_laws
from spectra.laws_fit import LawFit
from spectra.laws_given import given_spectrum
from spectra.outliers import split_bulk


def fit(name, distance, limit=0.02):
    return LawFit(
        name=name,
        law=MarchenkoPastur(aspect_ratio=0.5),
        parameters={},
        stderr={},
        distance=distance,
        distance_limit=limit,
        fits=distance <= limit,
        remark="",
    )


def test_a_simpler_law_counts_unless_another_is_much_nearer():
    assert best_law([fit("marchenko_pastur", 0.012), fit("f", 0.01)], "auto").name == "marchenko_pastur"
    assert best_law([fit("marchenko_pastur", 0.018), fit("f", 0.01)], "auto").name == "f"
    assert best_law([fit("marchenko_pastur", 0.03), fit("f", 0.019)], "auto").name == "f"
    assert best_law([fit("marchenko_pastur", 0.03), fit("f", 0.03)], "auto") is None


def test_what_was_asked_for_counts_though_it_does_not_fit():
    assert best_law([fit("f", 0.5)], "f").name == "f"
    assert best_law([replace(fit("f", 0.5), law=None)], "f") is None
    assert best_law([], "semicircle") is None


def tried(values, law="auto", **sizes):
    given = given_spectrum(values, **sizes)
    return fitted_laws(given, split_bulk(given.values, method="edge"), law, 0)


def covariance_of(p, n, scale=1.0, seed=0):
    X = np.random.default_rng(seed).standard_normal((p, n))
    return scale * np.linalg.eigvalsh(X @ X.T / n)


@pytest.mark.parametrize(
    ("values", "options", "names"),
    [
        (covariance_of(100, 200), {}, ["marchenko_pastur", "f"]),
        (covariance_of(100, 200, 0.1), {}, ["marchenko_pastur", "jacobi", "f"]),
        (np.linspace(-1.0, 1.0, 100), {}, ["semicircle"]),
        (covariance_of(100, 200), {"num_samples": 200}, ["marchenko_pastur"]),
        (np.linspace(1.0, 5.0, 100), {"num_samples": 200}, ["marchenko_pastur", "generalized"]),
        (covariance_of(100, 200), {"num_samples": 200, "law": "generalized"}, ["generalized"]),
        (covariance_of(100, 200), {"num_samples": 200, "law": "f"}, ["f"]),
    ],
)
def test_laws_that_come_into_question(values, options, names):
    assert [one.name for one in tried(values, **options)] == names


def test_zeros_that_samples_force_are_in_the_bulk_whether_given_or_not():
    values = covariance_of(150, 50)
    whole, positive = tried(values, num_samples=50)[0], tried(values[-50:], num_samples=50, aspect_ratio=3.0)[0]
    assert whole.fits
    assert positive.fits
    assert whole.distance == pytest.approx(positive.distance, rel=1e-6)
    assert tried(values)[0].parameters["aspect_ratio"] == pytest.approx(3.0, rel=0.1)


def test_few_eigenvalues_of_known_sizes_fit_from_ten_on():
    assert tried(covariance_of(12, 60), num_samples=60)[0].fits
    assert not tried(covariance_of(9, 60), num_samples=60)[0].fits


def test_without_a_bulk_there_is_no_law():
    assert tried(np.array([2.0])) == []
    (none,) = tried(np.array([2.0]), law="semicircle")
    assert none.law is None
    assert math.isnan(none.distance)
    assert none.remark == "there is no bulk"
