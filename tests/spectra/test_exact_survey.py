"""Surveys of known eigenvalues against those of the same matrix by products."""

import numpy as np
import pytest

import spectra
from spectra.exact_survey import exact_survey
from spectra.spectrum_report import render_spectrum

VALUES = np.array([-1.0, 0.5, 0.5, 2.0, 4.0])


def numbers(tree):
    return tree["quantities"].to_dataset()


def test_everything_that_a_survey_says():
    tree = exact_survey(VALUES, num_zeros=4, num_extremal=3, operator="matrix", num_matvecs=5)
    found = numbers(tree)["value"]
    assert tree.attrs["dimension"] == 9
    for name, expected in {
        "trace": 6.0,
        "squared_frobenius_norm": 21.5,
        "nuclear_norm": 8.0,
        "negative_mass": 1 / 9,
        "smallest_eigenvalue": -1.0,
        "largest_eigenvalue": 4.0,
        "condition_number": np.inf,
        "pseudo_condition_number": 8.0,
    }.items():
        assert float(found.sel(quantity=name)) == pytest.approx(expected, rel=1e-14), name
    pairs = tree["eigenpairs"].to_dataset()
    assert pairs["eigenvalue"].values.tolist() == [4.0, 2.0, 0.5, -1.0, 0.0, 0.0]
    assert pairs["multiplicity"].values.tolist() == [1, 1, 2, 1, 4, 4]
    assert pairs["end"].values.tolist() == ["largest"] * 3 + ["smallest"] * 3


def test_the_same_tree_as_a_survey_by_products():
    matrix = np.diag(np.arange(1.0, 41.0))
    by_products, exact = spectra.survey(matrix, num_extremal=2), exact_survey(np.arange(1.0, 41.0), num_extremal=2)
    assert set(by_products.attrs) - set(exact.attrs) <= {
        "repeat_defect",
        "symmetry_defect",
        "tolerance",
        "trace_rtol",
        "max_matvecs",
    }
    for child in ("quantities", "measure", "eigenpairs"):
        ours, theirs = exact[child].to_dataset(), by_products[child].to_dataset()
        assert set(theirs.data_vars) - set(ours.data_vars) <= {"resolved_overlap"}, child
    ours, theirs = numbers(exact), numbers(by_products)
    assert ours["quantity"].values.tolist() == theirs["quantity"].values.tolist()
    np.testing.assert_allclose(ours["value"], theirs["value"], rtol=1e-9)
    assert set(ours["status"].values) == {"exact"}


def test_report_and_file(tmp_path):
    tree = exact_survey(VALUES, num_zeros=4, tolerance=1e-4, trace_rtol=0.01, max_matvecs=80)
    spectra.save(tree, tmp_path / "survey.nc")
    text = render_spectrum(spectra.load(tmp_path / "survey.nc"))
    assert "all eigenvalues, exactly" in text
    assert "unbounded" in text  # the condition number of a singular matrix
    assert "100%" not in text
