"""Measures of known eigenvalues: no sampling error, whatever is asked of them."""

import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError
from spectra.exact import exact_measure

VALUES = np.array([0.0] * 50 + [0.5, 0.5, 1.0, 2.0, 4.0])


def test_integrals_are_exact_and_say_so():
    measure = exact_measure(VALUES[::-1], num_matvecs=7)
    for function in (np.exp, np.sqrt, np.square):
        estimate = spectra.expectation(measure, function)
        assert float(estimate.value) == pytest.approx(float(np.mean(function(VALUES))), rel=1e-14)
        assert estimate.status == "exact"
        assert estimate.num_matvecs == 7
    assert measure["multiplicity"].values.tolist() == [50, 2, 1, 1, 1]


def test_distribution_function_and_counts():
    measure = exact_measure(VALUES)
    points = np.array([-1.0, 0.25, 0.75, 1.5, 5.0])
    found = np.asarray(spectra.cdf(measure, points))
    np.testing.assert_allclose(found, [np.mean(x >= VALUES) for x in points], atol=1e-14)


def test_round_trip(tmp_path):
    measure = exact_measure(VALUES)
    spectra.save(measure, tmp_path / "measure.nc")
    read = spectra.load(tmp_path / "measure.nc")
    assert float(spectra.moment(read, 2).value) == pytest.approx(float(np.mean(VALUES**2)), rel=1e-14)


def test_values_that_agree_within_the_error_are_one_node():
    measure = exact_measure([1.0, 1.0 + 1e-9, 2.0], error=1e-8)
    assert measure["num_nodes"].values.tolist() == [2]
    assert measure["multiplicity"].values.tolist() == [2, 1]
    with pytest.raises(ArgumentError, match="finite"):
        exact_measure([1.0, np.nan])
    with pytest.raises(ArgumentError, match="at least one"):
        exact_measure([])
