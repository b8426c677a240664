import dataclasses

import numpy as np
import pytest

from spectra.kernels.decay_result import EIGENDECAY_SCHEMA_VERSION, EigenDecay
from spectra.kernels.dimension_curve import dimension_curve
from spectra.kernels.gram import GramSpectrum

VALUES = np.array([2.0, 1.0])
RESULT = EigenDecay(
    law="polynomial",
    decay_exponent=2.0,
    low=1.5,
    high=2.5,
    curve=dimension_curve(GramSpectrum.of_eigenvalues(VALUES), [0.1, 1.0]),
    eigenvalue=VALUES,
    subsample_exponent=np.array([1.9, 2.1]),
    num_samples=2,
    is_trustworthy=True,
    why="because",
    remarks=("one", "two"),
)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "polynomial, exponent 2 [1.5, 2.5] (2 samples)"),
        ({"law": "exponential", "rate": 0.5, "shape": 1.0}, "exponential, rate 0.5, shape 1 (2 samples)"),
        ({"law": "finite_rank", "rank": 1}, "finite_rank, rank 1 (2 samples)"),
        ({"law": "plateau", "rank": 1, "plateau": 0.25}, "plateau, 1 eigenvalues above 0.25 (2 samples)"),
        ({"law": "ambiguous"}, "ambiguous (2 samples)"),
    ],
)
def test_one_line_for_each_law(changes, text):
    assert str(dataclasses.replace(RESULT, **changes)) == text


def test_the_dataset_has_a_schema_and_every_field():
    table = RESULT.to_dataset()
    assert (table.attrs["schema"], table.attrs["schema_version"]) == ("spectra/eigendecay", EIGENDECAY_SCHEMA_VERSION)
    assert table.attrs["remarks"] == "one\ntwo"
    names = {field.name for field in dataclasses.fields(RESULT)} - {"curve"}
    assert names <= set(table.attrs) | set(table.data_vars)
    np.testing.assert_array_equal(table["df1"].values, RESULT.curve.df1)
    assert "no guarantee" in table.attrs["covers"]


def test_arrays_are_read_only_copies():
    VALUES[0] = 7.0
    assert RESULT.eigenvalue[0] == 2.0
    with pytest.raises(ValueError, match="read-only"):
        RESULT.eigenvalue[0] = 1.0
