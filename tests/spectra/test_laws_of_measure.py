"""Laws from the nodes of spectral measures: parameters, errors, atoms, and what does not fit."""

import math

import numpy as np
import pytest

import spectra
from spectra.laws_of_measure import fit_law_of_measure
from spectra.outliers import split_bulk


def measure_of(matrix, num_probes=6, num_steps=40, rng=1):
    return spectra.slq(matrix, num_probes=num_probes, num_steps=num_steps, rng=rng)


def covariance(samples, variables, spikes=(), seed=0):
    X = np.random.default_rng(seed).standard_normal((samples, variables))
    X[:, : len(spikes)] *= np.sqrt(spikes)
    return X.T @ X / samples


def wigner(size=400, seed=0):
    A = np.random.default_rng(seed).standard_normal((size, size))
    return (A + A.T) / math.sqrt(2 * size)


def fitted(name, matrix, ratio=math.nan, **options):
    measure = measure_of(matrix, **options)
    return fit_law_of_measure(name, measure, split_bulk(measure), aspect_ratio=ratio)


@pytest.mark.parametrize("spikes", [(), (9.0, 5.0)])
@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e14])
def test_a_covariance_has_its_variance_and_its_ratio(spikes, scale):
    found = fitted("marchenko_pastur", scale * covariance(800, 400, spikes))
    assert found.fits
    assert found.parameters["variance"] == pytest.approx(scale, rel=0.05)
    assert found.parameters["aspect_ratio"] == pytest.approx(0.5, rel=0.1)
    assert 0.0 < found.stderr["variance"] < 0.05 * scale


def test_errors_of_probes_cover_the_trace():
    A, scores = covariance(300, 150), []
    for seed in range(20):
        found = fitted("marchenko_pastur", A, rng=seed)
        scores.append((found.parameters["variance"] - np.trace(A) / 150) / found.stderr["variance"])
    # Six probes: a Student variable of 5 degrees of freedom has a root mean square of 1.29.
    assert abs(np.mean(scores)) < 4 * 1.29 / math.sqrt(20)
    assert 0.7 < np.sqrt(np.mean(np.square(scores))) < 2.0


@pytest.mark.parametrize("size", [200, 800])
@pytest.mark.parametrize("ratio", [math.nan, 2.0])
def test_more_variables_than_samples_have_an_atom_and_a_law(size, ratio):
    found = fitted("marchenko_pastur", covariance(size // 2, size), ratio)
    assert found.fits
    assert found.law.atoms[0][1] == pytest.approx(0.5, abs=0.05)
    assert not fitted("marchenko_pastur", covariance(size // 2, size), 4.0).fits


def test_a_wrong_ratio_and_another_bulk_do_not_fit():
    assert not fitted("marchenko_pastur", covariance(800, 400), 0.3).fits
    assert not fitted("marchenko_pastur", np.diag(np.linspace(0.0, 1.0, 400))).fits
    assert not fitted("semicircle", covariance(800, 400)).fits


def test_a_semicircle_lies_about_zero():
    found = fitted("semicircle", wigner())
    assert found.fits
    assert found.parameters["variance"] == pytest.approx(1.0, rel=0.1)
    shifted = fitted("semicircle", wigner() + 0.5 * np.eye(400))
    assert not shifted.fits
    assert "the bulk is centered at 0.49" in shifted.remark


def test_what_cannot_be_told_is_said():
    one = fitted("semicircle", wigner(), num_probes=1)
    assert math.isnan(one.stderr["variance"])
    assert "eigenvalues are required" in fitted("jacobi", wigner()).remark
    assert fitted("marchenko_pastur", -covariance(800, 400)).law is None
