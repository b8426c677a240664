import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError
from spectra.gauss_rules import GaussRule, gauss_rules


def rule(values, weights):
    nothing = np.zeros(len(values))
    return GaussRule(values=values, weights=weights, residuals=nothing, diagonal=nothing, off_diagonal=nothing)


def chain(n, diagonal, off_diagonal):
    values, vectors = np.linalg.eigh(
        np.diag(np.full(n, diagonal))
        + np.diag(np.full(n - 1, off_diagonal), 1)
        + np.diag(np.full(n - 1, off_diagonal), -1)
    )
    return values, vectors[0] ** 2


def test_taking_no_node_out_returns_the_coefficients():
    values, weights = chain(30, 2.0, 1.0)
    diagonal, off_diagonal = rule(values, weights).without(np.zeros(30, dtype=bool))
    assert len(diagonal) == 28
    np.testing.assert_allclose(diagonal, 2.0, atol=1e-10)
    np.testing.assert_allclose(off_diagonal, 1.0, atol=1e-10)


def test_taking_an_outlier_out_returns_the_coefficients_without_it():
    # the semicircle on [-1, 1] with a tenth of the mass at 3
    values, weights = chain(60, 0.0, 0.5)
    own = rule(np.append(values, 3.0), np.append(0.9 * weights, 0.1))
    diagonal, off_diagonal = own.without(np.arange(61) == 60)
    np.testing.assert_allclose(diagonal, 0.0, atol=1e-10)
    np.testing.assert_allclose(off_diagonal, 0.5, atol=1e-10)


@pytest.mark.parametrize("unit", [1.0, 1e-14, 1e14])
def test_shortened_rules_are_those_of_shorter_runs(unit):
    A = unit * np.diag(np.random.default_rng(0).standard_normal(200))
    long, short = (gauss_rules(spectra.slq(A, num_probes=2, num_steps=m)) for m in (40, 15))
    for one, other in zip(long, short, strict=True):
        cut = one.shortened(15)
        np.testing.assert_allclose(cut.values, other.values, rtol=1e-9, atol=1e-12 * unit)
        np.testing.assert_allclose(cut.weights, other.weights, atol=1e-9)
        np.testing.assert_allclose(cut.residuals, other.residuals, rtol=1e-6, atol=1e-9 * unit)


def test_measures_without_coefficients_or_steps_are_refused():
    A = np.diag(np.arange(60.0))
    with pytest.raises(ArgumentError, match="raise num_steps"):
        gauss_rules(spectra.slq(A, num_steps=5))
    with pytest.raises(ArgumentError, match="no coefficients"):
        gauss_rules(spectra.kernel_polynomial(A, num_probes=2))
