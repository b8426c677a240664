"""Reports and pictures of weight matrices, from datasets made by hand."""

import csv
import io
import json
import math

import numpy as np
import pytest
import xarray as xr

from spectra.errors import ArgumentError
from spectra.weights_csv import weights_csv
from spectra.weights_report import render_weights
from spectra.weights_summary import sort_weights, summarize_weights

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
    "num_rows": 12,
    "rank": 12,
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
    absent = {"unequal sizes", "orthogonal", "low rank", "rounding", "unchanged"}
    assert {look: n for look, n in summary["answer"].items() if n != 1} == dict.fromkeys(absent, 0)
    assert summary["layers"][1]["spike_margin"] == [31.0]
    assert summary["layers"][0]["spike_margin"] == []


def test_few_values_above_rounding_and_none_and_heavy_entries_with_a_tail():
    low, none = ({"num_rows": 60, "rank": rank, "condition_number": math.inf} for rank in (4, 0))
    weights = dataset(SMALL | low, SMALL | none, POWER | {"heavy_tailed": True}, POWER)
    weights["unequal_sizes"] = ("layer", [False, False, False, True])
    looks = [row["looks_like"] for row in summarize_weights(weights)["layers"]]
    assert looks == ["low rank", "rounding", "heavy-tailed entries", "unequal sizes"]


def test_the_first_line_is_the_answer():
    text = render_weights(dataset({}, SPIKED, SPIKED))
    assert text.splitlines()[0] == "WEIGHTS 3 matrices: 1 noise, 2 noise with spikes"
    assert "No exponent is given" in text
    assert "noise: cannot be told from random numbers" in text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert render_weights(dataset({})).startswith("WEIGHTS 1 matrix: 1 noise\n")


def test_exponents_have_errors_and_tail_sizes_and_absent_ones_the_test_that_failed():
    few = {"tail_why": "only 30 positive eigenvalues, and a tail takes 50"}
    better = {"tail_why": "an exponential tail fits better: likelihood ratio 2.0 standard errors in favor of it"}
    text = render_weights(dataset(POWER, UNDECIDED, {}, STRUCTURE, few, better))
    assert "Exponents of eigenvalue tails: layer0.weight 2.50 +- 0.20 (50)" in text
    lines = text.partition("SPECTRA")[2].splitlines()[3:9]
    ends = ["2.50+-0.20 (50)", "2.50+-0.20 (50)", "no: as noise", "no: misfit", "no: too few", "no: exponential"]
    assert [line.endswith(end) for line, end in zip(lines, ends, strict=True)] == [True] * 6
    for key in ("as noise: 100 Gaussian matrices", "misfit: samples", "too few: fewer", "exponential: an exponential"):
        assert text.count(f"no: {key}") == 1
    # A test that was not failed is not explained.
    assert "no: misfit" not in render_weights(dataset({}))


def test_spikes_are_those_of_the_split_that_fits():
    many = {"marchenko_pastur_num_spikes": 40, "ladder_num_spikes": 3, "spike": 31.0}
    for change, cell in (
        (STRUCTURE | many, "3"),
        (STRUCTURE | many | {"ladder_is_trustworthy": False}, "(3)"),
        (STRUCTURE | many | {"ladder_num_spikes": -1}, None),
        (many, "40"),
    ):
        lines = render_weights(dataset(change)).partition("SPECTRA")[2].splitlines()
        assert ("spikes" in lines[1]) == (cell is not None)
        assert ("31" in lines[3]) == (cell == "40")
        if cell is not None:
            assert lines[3][lines[1].index("spikes") :].split()[0] == cell


def test_rules_and_what_is_left_out_are_said():
    weights = dataset({}, {}, {})
    weights["rule"] = ("layer", ["as it is", "slice of a stack, a guess by its last sizes, 80", "as it is"])
    why = "integers (int8), as of positions and quantized weights"
    entries = [{"name": f"q{i}", "shape": [3, 3], "why": why} for i in range(6)]
    weights.attrs["left_out"] = json.dumps([*entries, {"name": "b", "shape": [3], "why": "vectors and so on"}])
    text = render_weights(weights)
    assert "  slice of a stack, a guess by its last sizes, 80: 1 (layer1.weight)\n" in text
    assert "--stack NAME or --kernel NAME" in text
    assert "LEFT OUT 7 tensors\n" in text
    assert f"  {why}: 6 (q0, q1, q2, q3 and 2 more)\n" in text
    assert "  vectors and so on: 1\n" in text
    summary = json.loads(render_weights(weights, format="json"))
    assert summary["left_out"][0] == entries[0]
    assert summary["layers"][1]["rule"].startswith("slice")
    assert "left_out" not in summary["attributes"]


def test_differences_and_interrupted_runs_say_so():
    weights = dataset({}, UNUSABLE | {"why": "unchanged", "remarks": '["scales beside it are not applied"]'})
    weights["relative_change"] = ("layer", [0.25, 0.0])
    missed = {"name": "c", "shape": [3, 3], "why": "matrices that were not reached before the run was interrupted"}
    weights.attrs |= {"against": "before.pt", "left_out": json.dumps([missed])}
    text = render_weights(weights)
    assert text.startswith("CHANGES OF WEIGHTS 2 matrices: 1 noise, 1 unchanged\n")
    assert "interrupted: 1 more matrices were not reached" in text
    assert "0.25" in text.partition("SPECTRA")[2].splitlines()[3]
    assert "model.pt, less before.pt" in text
    assert "[1] Scales beside it are not applied." in text


def test_the_rank_is_given_where_it_is_not_full():
    text = render_weights(dataset({}, {"condition_number": math.inf, "rank": 4}))
    lines = text.partition("SPECTRA")[2].splitlines()
    place = lines[1].index("  rank") + 2
    assert [line[place:].split()[0] for line in lines[3:5]] == ["-", "4"]
    assert "  rank: singular values that are not 0" in text
    assert "  rank" not in render_weights(dataset({})).partition("SPECTRA")[2].splitlines()[1]


def test_equal_singular_values_look_orthogonal():
    text = render_weights(dataset(SMALL | {"condition_number": 1 + 1e-6, "tail_why": "all singular values are equal"}))
    assert text.startswith("WEIGHTS 1 matrix: 1 orthogonal\n")


def test_matrices_are_sorted_with_what_is_no_number_last():
    weights = dataset({"spectral_norm": 1.0}, {"spectral_norm": math.nan}, {"spectral_norm": 3.0})
    ordered = sort_weights(weights, "spectral_norm")["layer"].values.tolist()
    assert ordered == ["layer2.weight", "layer0.weight", "layer1.weight"]
    assert sort_weights(weights, "layer")["layer"].values.tolist() == [f"layer{i}.weight" for i in range(3)]
    looks = sort_weights(dataset(UNUSABLE, {}, SPIKED), "looks like")["layer"].values.tolist()
    assert looks == ["layer1.weight", "layer2.weight", "layer0.weight"]
    for by in ("spikes", "margin", "spike_margin", "num_spikes"):
        assert sort_weights(dataset({}, SPIKED, UNUSABLE), by)["layer"].values[0] == "layer1.weight"
    # Whatever is in the table that can be kept in a file, it can be ordered by.
    for by in next(csv.reader(io.StringIO(weights_csv(weights)))):
        assert sort_weights(weights, by).sizes["layer"] == 3
    with pytest.raises(ArgumentError, match=r"'stable_rnk', near stable_rank"):
        sort_weights(weights, "stable_rnk")
    with pytest.raises(ArgumentError, match="sorted by one of"):
        sort_weights(weights, "singular_value")


def test_csv_has_a_row_for_each_matrix_and_nothing_where_there_is_no_number():
    weights = dataset(SPIKED, UNUSABLE).assign_coords(layer=["a,b", "c"])
    rows = list(csv.DictReader(io.StringIO(weights_csv(weights))))
    assert [row["layer"] for row in rows] == ["a,b", "c"]
    assert [row["exponent"] for row in rows] == ["", ""]
    assert [json.loads(row["spike_margin"]) for row in rows] == [[31.0], []]
    assert float(rows[0]["stable_rank"]) == 22.0
    assert rows[1]["looks_like"] == "unusable"


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
    from spectra.weights_plot import plot_layer, plot_layers, plot_weights

    assert len(plot_weights(dataset({}, SPIKED, UNUSABLE)).axes) == 3
    assert len(plot_weights(dataset(UNUSABLE)).axes) == 1
    # The largest value of a bulk is beyond its end and no spike.
    beyond = {"marchenko_pastur_upper": 17.9}
    _, (ax,) = figure()
    plot_layers(dataset(beyond, SPIKED | beyond), ax=ax)
    spikes = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert spikes == [[], [1], []]
    assert ax.get_xlim() == (-0.5, 1.5)
    assert ax.get_xticks().tolist() == [0, 1]
    heights = []
    for count in (0, 15):
        _, (ax,) = figure()
        plot_layer(dataset(STRUCTURE | {"marchenko_pastur_num_spikes": count}), 0, ax=ax)
        heights.append(max(ax.lines[0].get_ydata()))
    # 15 of 60 values are beside the curve.
    assert heights[1] / heights[0] == pytest.approx(0.75)
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
    assert max(len(line) for line in text.splitlines()) <= 100
    lines = text.partition("SPECTRA")[2].splitlines()[3:7]
    assert len({line.split()[0] for line in lines}) == 4
    assert all(f".{i}." in line.split()[0] for i, line in enumerate(lines[:3]))


def test_names_that_only_differ_where_they_are_cut_have_the_number_of_their_row():
    weights = dataset({}, {}).assign_coords(layer=[f"{'1' * 40}{i}{'2' * 40}" for i in range(2)])
    lines = render_weights(weights).partition("SPECTRA")[2].splitlines()[3:5]
    assert ["#1" in lines[0], "#2" in lines[1]] == [True, True]


def test_without_a_fit_no_sentence_is_about_exponents():
    few = {"fitted_exponent": math.nan, "tail_why": "only 30 positive eigenvalues, and a tail takes 50"}
    assert "exponent is given" not in render_weights(dataset(few)).splitlines()[1]


def test_footnotes_of_a_row_are_in_order():
    first, second = '["the first"]', '["the second", "the first"]'
    assert " 1,2\n" in render_weights(dataset({"remarks": first}, {"remarks": second}))


def test_names_keep_to_one_line_and_do_not_command_the_terminal():
    weights = dataset({}, {}).assign_coords(layer=["a\nb\x1b[31m.weight", "c"])
    lines = render_weights(weights).partition("SPECTRA")[2].splitlines()[3:5]
    assert lines[0].startswith("  a?b?[31m")
    assert lines[1].startswith("  c ")


def test_unusable_matrices_have_no_condition_and_small_ones_are_explained_once():
    few = [f'["{i} singular values are too few to tell spikes from a bulk"]' for i in (2, 4)]
    why = [f"only {i} positive eigenvalues, and a tail takes 50" for i in (2, 4)]
    text = render_weights(
        dataset(UNUSABLE | {"rank": 0}, *(SMALL | {"remarks": r, "tail_why": w} for r, w in zip(few, why, strict=True)))
    )
    assert "rank 0" not in text
    assert text.count("oo few to tell spikes") == 1
    assert text.count("fewer than 50 eigenvalues") == 1
