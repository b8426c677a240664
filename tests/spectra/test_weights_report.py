"""Reports and pictures of weight matrices, from datasets made by hand."""

import json
import math

import numpy as np
import pytest
import xarray as xr

from spectra.errors import ArgumentError
from spectra.weights_report import render_weights
from spectra.weights_summary import summarize_weights

PLAIN = {
    "kind": "linear",
    "stored_shape": "60x120",
    "num_rows": 60,
    "num_columns": 120,
    "aspect_ratio": 0.5,
    "spectral_norm": 18.0,
    "frobenius_norm": 85.0,
    "log_spectral_norm": 2.5,
    "log_norm": 3.8,
    "stable_rank": 22.0,
    "participation_ratio": 40.0,
    "rank": 60,
    "condition_number": 5.9,
    "mean_entry": 0.0,
    "marchenko_pastur_num_spikes": 0,
    "marchenko_pastur_lower": 3.2,
    "marchenko_pastur_upper": 18.7,
    "marchenko_pastur_is_trustworthy": True,
    "marchenko_pastur_why": "",
    "ladder_num_spikes": 0,
    "ladder_lower": 3.2,
    "ladder_upper": 18.7,
    "ladder_is_trustworthy": True,
    "ladder_why": "",
    "permuted_num_spikes": 0,
    "sigma": 1.0,
    "bulk_distance": 0.01,
    "heavy_tailed": False,
    "why": "",
    "remarks": "[]",
    "exponent": math.nan,
    "exponent_stderr": math.nan,
    "fitted_exponent": 4.0,
    "tail_smallest": 100.0,
    "num_tail": 50,
    "tail_distance": 0.1,
    "p_value": 0.02,
    "noise_ratio": 0.4,
    "exponential_ratio": -1.0,
    "tail_why": "the tail is that of a Gaussian matrix of the same shape",
    "tail_remarks": "[]",
}


def dataset(*changes):
    """Return a dataset with a matrix for each set of changes; the spikes of ``spike`` have margin and signal."""
    rows = [PLAIN | {key: value for key, value in change.items() if key != "spike"} for change in changes]
    variables = {name: ("layer", np.array([row[name] for row in rows])) for name in PLAIN}
    values = np.linspace(18, 3.3, 60)
    variables["singular_value"] = (("layer", "index"), np.tile(values, (len(rows), 1)))
    for name in ("value", "signal", "overlap", "margin"):
        variables[f"spike_{name}"] = (("layer", "spike"), [[change.get("spike", math.nan)] for change in changes])
    return xr.Dataset(
        variables,
        coords={"layer": [f"layer{i}.weight" for i in range(len(rows))]},
        attrs={"schema": "spectra/weights", "schema_version": 1, "source": "model.pt", "num_parameters": 7200},
    )


SPIKED = {"marchenko_pastur_num_spikes": 1, "ladder_num_spikes": 1, "spike": 31.0}
POWER = {
    "marchenko_pastur_is_trustworthy": False,
    "exponent": 2.5,
    "exponent_stderr": 0.2,
    "exponential_ratio": 4.0,
    "tail_why": "",
}
UNDECIDED = POWER | {"exponential_ratio": 0.5, "tail_remarks": '["an exponential tail fits about as well"]'}
STRUCTURE = {"marchenko_pastur_is_trustworthy": False, "tail_why": "the tail does not follow a power law: p-value 0.01"}
HEAVY = {"heavy_tailed": True, "permuted_num_spikes": 4, "marchenko_pastur_num_spikes": 4}
SMALL = {
    "marchenko_pastur_num_spikes": -1,
    "ladder_num_spikes": -1,
    "sigma": math.nan,
    "marchenko_pastur_upper": math.nan,
}
UNUSABLE = SMALL | {"why": "the matrix is 0", "tail_why": "the matrix is 0"}


def test_what_a_matrix_looks_like():
    summary = summarize_weights(dataset({}, SPIKED, POWER, UNDECIDED, STRUCTURE, HEAVY, SMALL, UNUSABLE))
    assert [row["looks_like"] for row in summary["layers"]] == [
        "noise",
        "noise with spikes",
        "power law",
        "undecided tail",
        "structure",
        "heavy-tailed entries",
        "too small",
        "unusable",
    ]
    assert all(count == 1 for count in summary["answer"].values())
    assert summary["layers"][1]["spike_margin"] == [31.0]
    assert summary["layers"][0]["spike_margin"] == []


def test_the_first_line_is_the_answer():
    text = render_weights(dataset({}, SPIKED, SPIKED))
    assert text.splitlines()[0] == "WEIGHTS 3 matrices: 1 noise, 2 noise with spikes"
    assert "No exponent is given" in text
    assert "cannot be told from random numbers" in text
    assert max(len(line) for line in text.splitlines()) <= 130
    assert render_weights(dataset({})).startswith("WEIGHTS 1 matrix: 1 noise\n")


def test_exponents_have_errors_and_tail_sizes_and_reasons_are_footnotes_once():
    text = render_weights(dataset(POWER, UNDECIDED, {}, {}))
    assert "Exponents of eigenvalue tails: layer0.weight 2.50 +- 0.20 (50)" in text
    assert text.count("No power law: the tail is that of a Gaussian matrix") == 1
    assert text.count("An exponential tail fits about as well.") == 1
    assert "4" not in {line.split()[-2] for line in text.splitlines() if "layer2" in line}


def test_splits_that_do_not_trust_themselves_stand_in_parentheses_without_margin():
    text = render_weights(
        dataset(STRUCTURE | {"marchenko_pastur_num_spikes": 40, "ladder_num_spikes": 3, "spike": 31.0})
    )
    assert "(40) | 3" in text
    assert "31" not in text.partition("SPECTRA")[2].partition("Spikes")[0]


def test_json_has_no_nan():
    summary = json.loads(render_weights(dataset({}, UNUSABLE), format="json"), parse_constant=pytest.fail)
    assert summary["schema"] == "spectra/weights-report"
    assert summary["layers"][0]["exponent"] is None
    assert summary["answer"]["noise"] == 1


def test_wrong_calls():
    with pytest.raises(ArgumentError, match="format"):
        render_weights(dataset({}), format="html")
    with pytest.raises(ArgumentError, match="weight_spectra"):
        render_weights(xr.Dataset())


def test_pictures():
    pytest.importorskip("matplotlib")
    from spectra.plot import figure
    from spectra.weights_plot import plot_layer, plot_weights

    assert len(plot_weights(dataset({}, SPIKED, UNUSABLE)).axes) == 3
    assert len(plot_weights(dataset(UNUSABLE)).axes) == 1
    _, (ax,) = figure()
    plot_layer(dataset({}, SPIKED), "layer1.weight", ax=ax)
    assert "layer1.weight" in ax.get_title()
    with pytest.raises(ArgumentError, match="layer must be"):
        plot_layer(dataset({}), "absent", ax=ax)


def test_lines_fit_and_long_names_stay_different():
    changes = [UNDECIDED | {"condition_number": math.inf}, HEAVY | SPIKED, SMALL, POWER]
    weights = dataset(*changes)
    names = [f"model.language_model.decoder.layers.{i}.self_attn.attention.query_projection.weight" for i in range(3)]
    weights = weights.assign_coords(layer=[*names, "bert.encoder.embeddings.word_embeddings.weight"])
    text = render_weights(weights)
    assert max(len(line) for line in text.splitlines()) <= 123
    lines = text.partition("SPECTRA")[2].splitlines()[3:7]
    assert len({line.split()[0] for line in lines}) == 4
    assert all(f".{i}." in line.split()[0] for i, line in enumerate(lines[:3]))


def test_names_that_only_differ_where_they_are_cut_have_the_number_of_their_row():
    weights = dataset({}, {}).assign_coords(layer=[f"{'1' * 40}{i}{'2' * 40}" for i in range(2)])
    lines = render_weights(weights).partition("SPECTRA")[2].splitlines()[3:5]
    assert ["#1" in lines[0], "#2" in lines[1]] == [True, True]


def test_names_keep_to_one_line_and_do_not_command_the_terminal():
    weights = dataset({}, {}).assign_coords(layer=["a\nb\x1b[31m.weight", "c"])
    lines = render_weights(weights).partition("SPECTRA")[2].splitlines()[3:5]
    assert lines[0].startswith("  a?b?[31m")
    assert lines[1].startswith("  c ")


def test_unusable_matrices_have_no_condition_and_small_ones_share_footnotes():
    few = [f'["{i} singular values are too few to tell spikes from a bulk"]' for i in (2, 4)]
    why = [f"only {i} positive eigenvalues, and a tail takes 50" for i in (2, 4)]
    text = render_weights(
        dataset(UNUSABLE | {"rank": 0}, *(SMALL | {"remarks": r, "tail_why": w} for r, w in zip(few, why, strict=True)))
    )
    assert "rank 0" not in text
    assert text.count("oo few to tell spikes") == 1
    assert text.count("too few positive eigenvalues") == 1
