"""Surveys as text, Markdown and JSON, as a picture, and as a file."""

import json

import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError
from spectra.spectrum_plot import plot_spectrum
from spectra.spectrum_report import render_spectrum, summarize_spectrum


@pytest.fixture(scope="module")
def answer():
    return spectra.survey(np.diag(np.append(np.linspace(-0.1, 1.0, 199), 5.0)), num_extremal=2)


def test_text_has_values_bounds_cost_and_what_they_cover(answer):
    text = render_spectrum(answer)
    assert "DENSE MATRIX (200 x 200)" in text
    assert f"{answer.attrs['num_matvecs']} products of at most 120: 3 probes x" in text
    for word in ("largest 1", "smallest 2", "trace", "negative mass", "condition number", "Student t", "+-"):
        assert word in text
    assert max(map(len, text.splitlines()[:20])) < 160


def test_markdown_is_tables(answer):
    lines = render_spectrum(answer, format="markdown").splitlines()
    assert lines[0] == "## dense matrix (200 x 200)"
    assert any(line.startswith("| largest 1") for line in lines)


def test_json_is_an_object_without_nan(answer):
    data = json.loads(render_spectrum(answer, format="json"), parse_constant=pytest.fail)
    assert data["schema"] == "spectra/spectrum-report"
    found = data["matrices"]["dense matrix"]
    assert found["eigenpairs"][0]["eigenvalue"] == pytest.approx(5.0)
    assert found["quantities"]["largest_eigenvalue"]["stderr"] is None
    assert found["attributes"]["num_matvecs"] == answer.attrs["num_matvecs"]


def test_what_was_not_reached_and_what_is_unbounded_is_said():
    answer = spectra.survey(np.diag(np.linspace(-1.0, 2.0, 500)), max_matvecs=30, trace_rtol=1e-6)
    text = render_spectrum(answer)
    assert "the budget is spent" in text
    assert "NOT reached: largest and smallest eigenvalue to 0.0001 of the norm; trace" in text
    assert "unbounded)" in text
    assert ">= " in text


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_degenerate_matrices_can_be_told(scale):
    answer = spectra.survey(scale * np.eye(30))
    for format in ("text", "markdown", "json"):
        assert render_spectrum(answer, format=format)
    assert ("singular" in render_spectrum(answer)) == (scale == 0.0)


def test_refusals(answer):
    with pytest.raises(ArgumentError, match="format"):
        render_spectrum(answer, format="html")
    with pytest.raises(ArgumentError, match="schema"):
        summarize_spectrum(answer["measure"])


def test_picture(answer):
    axes = plot_spectrum(answer).axes
    assert len(axes) == 2
    assert axes[0].get_title() == f"dense matrix, 200 x 200, {answer.attrs['num_matvecs']} products"


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_files_keep_everything(answer, tmp_path, name):
    again = spectra.load(spectra.save(answer, tmp_path / name))
    for node in answer.subtree:
        loaded = again[node.path].to_dataset(inherit=False)
        assert loaded.equals(node.to_dataset(inherit=False))
        assert set(loaded.attrs) == set(node.attrs)
    assert render_spectrum(again) == render_spectrum(answer)
