"""Tables of laws: what they hold is what the laws say, and what a reader sees of them."""

import json
import math

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.law_report import render_law, render_list
from spectra.law_table import LAW_PARAMETERS, make_law, tabulate_law
from spectra.laws import TracyWidom
from spectra.laws_fit import LAWS
from spectra.laws_plot import plot_law

GIVEN = {
    "marchenko_pastur": {"aspect_ratio": 2.0, "variance": 3.0},
    "semicircle": {"variance": 2.0},
    "jacobi": {"first_ratio": 0.5, "second_ratio": 0.25},
    "f": {"first_ratio": 0.5, "second_ratio": 0.25},
    "generalized": {"aspect_ratio": 0.1, "values": [1.0, 10.0], "weights": [3.0, 1.0]},
    "tracy_widom": {"beta": 2},
}


def test_every_law_has_a_name():
    assert set(LAW_PARAMETERS) == set(GIVEN) == {*LAWS, "tracy_widom"}


@pytest.mark.parametrize("name", GIVEN)
def test_tables_agree_with_themselves(name):
    law = make_law(name, GIVEN[name])
    table = tabulate_law(law, at=[0.5, 1e9])
    assert table["sf_at"].values[1] == pytest.approx(0.0, abs=1e-14)
    np.testing.assert_allclose(table["cdf_at"] + table["sf_at"], 1.0, atol=1e-12)
    assert np.all(np.diff(table["cdf"]) >= -1e-12)
    assert table.attrs["mean"] == pytest.approx(law.moment(1), rel=1e-9, abs=1e-12)
    assert table.attrs["variance"] == pytest.approx(law.moment(2) - law.moment(1) ** 2, rel=1e-6)
    # The mass between points of the grid, by the trapezoid rule, is that of the distribution function.
    for i in np.unique(table["interval"]):
        part = table.isel(x=np.flatnonzero(table["interval"].values == i))
        mass = float(part["cdf"][-1] - part["cdf"][0])
        assert float(part["pdf"].integrate("x")) == pytest.approx(mass, rel=5e-3)
    text = render_law(table)
    assert text.startswith(f"LAW {type(law).__name__}")
    assert max(map(len, text.splitlines())) <= 100
    found = json.loads(render_law(table, format="json"), parse_constant=pytest.fail)
    assert (found["schema"], found["schema_version"]) == ("spectra/law-report", 1)
    assert found["at"][0]["x"] == 0.5
    figure = plot_law(table)
    assert len(figure.axes) == 2


def test_p_values_of_tracy_widom_do_not_cancel():
    table = tabulate_law(TracyWidom(beta=1), at=[10.0])
    assert float(table["sf_at"][0]) == pytest.approx(1.70822e-11, rel=1e-5)
    assert "1.70822e-11" in render_law(table)
    assert json.loads(table.attrs["support"]) == [[None, None]]


def test_zeros_of_rounding_are_zeros():
    assert "median 0." in render_law(tabulate_law(make_law("semicircle", {})))


def test_the_list_names_all_and_fits_a_terminal():
    text = render_list()
    assert all(name in text for name in LAW_PARAMETERS)
    assert max(map(len, text.splitlines())) <= 100


def test_wrong_parameters_are_named():
    with pytest.raises(ArgumentError, match="lacks second_ratio"):
        make_law("f", {"first_ratio": 0.5})
    with pytest.raises(ArgumentError, match="has no width"):
        make_law("semicircle", {"width": 0.5})
    with pytest.raises(ArgumentError, match="law must be one of"):
        make_law("cauchy", {})
    with pytest.raises(ArgumentError, match="positive"):
        make_law("semicircle", {"variance": -1.0})
    table = tabulate_law(make_law("semicircle", {}), at=[])
    assert table.sizes["at"] == 0
    with pytest.raises(ArgumentError, match="'text' or 'json'"):
        render_law(table, format="html")
    for function in (render_law, plot_law):
        with pytest.raises(ArgumentError, match="tabulate_law is required"):
            function(table.assign_attrs(schema="spectra/curve"))
    assert math.isnan(LAW_PARAMETERS["generalized"]["weights"])
