"""The picture of a recommendation: what it must show, for each kind of advice."""

import numpy as np
import pytest

from spectra.recommend import advise
from spectra.report import number
from tests.spectra.recommend.fabricated import fabricated_run

pytest.importorskip("matplotlib")

TRIED = ((0.1, 4.0, 0.9), (0.2, 4.0, 0.7), (0.4, 4.0, 0.5), (0.8, 4.0, float("nan")))


def texts(figure) -> str:
    """Return every label, title and legend entry of a figure."""
    found = [figure.get_suptitle()]
    for ax in figure.axes:
        found += [ax.get_title(), ax.get_xlabel(), ax.get_ylabel()]
        legend = ax.get_legend()
        found += [entry.get_text() for entry in legend.get_texts()] if legend else []
    return "\n".join(found)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_picture_names_the_rate_and_its_axes(optimizer, tmp_path):
    from spectra.advice_plot import plot_advice

    run = fabricated_run(optimizer=optimizer)
    figure = plot_advice(advise(run), run)
    words = texts(figure)
    for word in ("recommended: ", "batch size (samples)", "real optimizer steps", "fabricated:task"):
        assert word in words
    figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 0


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_candidates_are_drawn_with_q_loss_and_the_chosen_rate(schedule):
    from matplotlib.figure import Figure

    from spectra.advice_plot import plot_candidates

    advice = advise(fabricated_run(candidates=TRIED, steps=(0, 10)), schedule=schedule)
    ax = plot_candidates(advice, ax=Figure().subplots())
    right = next(other for other in ax.figure.axes if other is not ax)
    lines = {line.get_label(): line for line in (*ax.get_lines(), *right.get_lines())}
    q = lines["q = rate / its own stable limit"]
    np.testing.assert_allclose(q.get_xdata(), [row.learning_rate for row in advice.candidates])
    np.testing.assert_allclose(q.get_ydata()[:3], [row.consistency for row in advice.candidates[:3]])
    np.testing.assert_allclose(lines["loss after the steps (right)"].get_ydata(), [0.9, 0.7, 0.5])
    assert list(lines["diverged"].get_xdata()) == [0.8]
    # rates on this axis were held constant, so the constant rate is marked whatever the schedule
    constant = advice.constant_learning_rate
    assert lines[f"recommended: {number(constant)}"].get_xdata()[0] == pytest.approx(constant)


def test_the_curve_is_the_table():
    from matplotlib.figure import Figure

    from spectra.advice_plot import plot_limit_curve

    advice = advise(fabricated_run(candidates=TRIED, steps=(0, 10)))
    ax = plot_limit_curve(advice, ax=Figure().subplots())
    lines = {line.get_label(): line for line in ax.get_lines()}
    limits = [row.max_stable_learning_rate for row in advice.curve]
    np.testing.assert_allclose(lines["largest stable learning rate (95%)"].get_ydata(), limits)
    scaled = [row.learning_rate for row in advice.curve]
    np.testing.assert_allclose(lines["recommended, extrapolated"].get_ydata(), scaled)


def test_a_spectrum_adds_a_panel_and_a_withheld_rate_is_said():
    import xarray as xr

    import spectra
    from spectra.advice_plot import plot_advice

    run = fabricated_run(curvature=-4.0)
    measure = spectra.slq(np.diag(np.linspace(-1, 1, 40)), num_probes=3, num_steps=8)
    run["spectrum"] = xr.DataTree(measure)
    figure = plot_advice(advise(run), run)
    assert len(figure.axes) == 3
    assert "recommendation withheld" in texts(figure)


def test_the_svg_is_one_element_that_leaves_global_settings_alone():
    import matplotlib as mpl

    from spectra.advice_plot import advice_svg

    before = {name: value for name, value in mpl.rcParams.items() if name.startswith("svg.")}
    svg = advice_svg(advise(fabricated_run(candidates=TRIED, steps=(0, 10))))
    assert svg.startswith("<svg ")
    assert svg.endswith("</svg>")
    assert "http" not in svg
    assert {name: mpl.rcParams[name] for name in before} == before


@pytest.mark.parametrize("curvature", [-4.0, 0.0])
def test_without_a_stable_limit_the_panel_says_so(curvature, tmp_path):
    from spectra.advice_plot import plot_advice

    run = fabricated_run(curvature=curvature)
    figure = plot_advice(advise(run), run)
    assert [text.get_text() for text in figure.axes[-1].texts] == ["no stable limit to draw"]
    figure.savefig(tmp_path / "picture.png")


def test_losses_of_both_signs_are_all_drawn():
    from matplotlib.figure import Figure

    from spectra.advice_plot import plot_candidates

    tried = ((0.1, 4.0, 0.5), (0.2, 4.0, 0.1), (0.4, 4.0, -0.2))
    ax = plot_candidates(advise(fabricated_run(candidates=tried, steps=(0, 10))), ax=Figure().subplots())
    right = next(other for other in ax.figure.axes if other is not ax)
    assert right.get_yscale() == "linear"
    ax = plot_candidates(advise(fabricated_run(candidates=TRIED, steps=(0, 10))), ax=Figure().subplots())
    right = next(other for other in ax.figure.axes if other is not ax)
    assert right.get_yscale() == "log"


@pytest.mark.parametrize("name", ["b/$x_{$/t.py:task", f"{'long/' * 40}t.py:task"])
def test_no_name_of_a_task_breaks_the_picture_or_widens_it(name, tmp_path):
    from spectra.advice_plot import advice_svg, plot_advice

    advice = advise(fabricated_run(task=name))
    figure = plot_advice(advice)
    figure.savefig(tmp_path / "picture.png", bbox_inches="tight")
    title = figure.get_suptitle()
    assert "t.py:task: SGD" in title
    assert len(title) < 120
    assert "t.py:task" in advice_svg(advice)


def test_the_mark_of_q_and_the_first_loss_are_told_apart():
    from matplotlib.figure import Figure

    from spectra.advice_plot import plot_candidates

    tried = ((0.1, 4.0, 0.9), (0.2, 4.0, 0.7), (0.4, 2.5, 0.5))  # both marks are the highest on their axes
    figure = Figure()
    ax = plot_candidates(advise(fabricated_run(candidates=tried, steps=(0, 10))), ax=figure.subplots())
    right = next(other for other in figure.axes if other is not ax)
    lines = {line.get_label(): (line, part) for part in (ax, right) for line in part.get_lines()}
    heights = [
        part.transData.transform((0.2, line.get_ydata()[0]))[1]
        for line, part in (lines["q = 1: the limit itself"], lines["loss at the start (right)"])
    ]
    assert abs(heights[0] - heights[1]) > 10  # pixels
