"""The picture of a prediction."""

import itertools

import numpy as np
import pytest

from spectra.dynamics import Quadratic
from spectra.dynamics_plot import plot_curves, plot_dynamics
from spectra.dynamics_tree import problem_tree
from spectra.errors import ArgumentError
from spectra.plot import figure
from tests.spectra.dynamics_problems import gaussian, prediction, unequal, with_check

pytest.importorskip("matplotlib")

ONE = np.ones(1)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_three_axes_show_what_the_tree_holds():
    tree = prediction()
    curves, budget, sizes = plot_dynamics(tree).axes
    rates = tree["curves"]["learning_rate"].values
    np.testing.assert_array_equal(curves.lines[0].get_ydata(), tree["curves"]["loss"].values[0, 0])
    np.testing.assert_array_equal(curves.lines[1].get_ydata(), tree["curves"]["noise_free_loss"].values[0, 0])
    assert curves.lines[1].get_linestyle() == "--"
    assert len(labels(curves)) == len(rates) + 2
    assert labels(budget) == ["batch size 16", "batch size 4", "best", "critical"]
    best = tree["best"].to_dataset()
    dots = [line for line in budget.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [float(dot.get_xdata()[0]) for dot in dots] == best["learning_rate"].values.tolist()
    critical = [line.get_xdata()[0] for line in budget.lines if line.get_linestyle() == ":" and len(line.get_xdata())]
    assert critical == best["critical_learning_rate"].values.tolist()
    np.testing.assert_array_equal(sizes.lines[0].get_ydata(), tree["saturation"]["num_steps"].values)


def test_measured_losses_are_points_with_two_standard_errors():
    tree = with_check(prediction(), factor=1.05)
    curves, budget, _ = plot_dynamics(tree).axes
    check = tree["check"].to_dataset().isel(learning_rate=0)
    points = curves.containers[0]
    np.testing.assert_allclose(points[0].get_ydata(), check["loss"].values)
    low, high = np.array(points[2][0].get_segments()[-1])[:, 1]
    assert high - low == pytest.approx(4 * float(check["stderr"].values[-1]))
    assert "measured, 2 standard errors" in labels(curves)
    assert "measured, 2 standard errors" in labels(budget)
    low, high = np.array(budget.containers[0][2][0].get_segments()[0])[:, 1]
    assert high - low == pytest.approx(4 * float(check["stderr"].values[-1]))


@pytest.mark.parametrize("factor", [5.0, np.inf])
def test_what_diverged_is_marked_and_does_not_stretch_the_axis(factor):
    tree = prediction(learning_rates=[1e-3, 50.0], num_steps=300)
    tree = with_check(tree, rates=[1e-3], factor=factor)
    axes = plot_dynamics(tree).axes
    assert axes[0].get_ylim()[1] <= 2.2 * float(tree["curves"]["loss"].values[0, 0, 0])
    for ax, count in ((axes[0], tree["check"].sizes["step"]), (axes[1], 1)):
        arrows = [line for line in ax.lines if line.get_marker() == "^" and len(line.get_xdata())]
        assert [len(line.get_xdata()) for line in arrows] == [count]
        assert "measured, above the picture" in labels(ax)
    assert axes[1].get_ylim()[1] <= 2.2 * float(tree["curves"]["loss"].values[0, 0, 0])


@pytest.mark.parametrize(
    ("problem", "changes"),
    [
        (None, {"closure": "exact", "num_steps": 3}),
        (None, {"momentum": 0.9, "nesterov": True, "num_steps": 1}),
        (unequal(), {"batch_sizes": [1]}),
        (Quadratic(eigenvalue=ONE, multiplicity=ONE, initial_loss=0 * ONE, num_samples=9), {"batch_sizes": [3]}),
        (Quadratic(eigenvalue=ONE, multiplicity=ONE, initial_loss=ONE, offset=-2.0), {}),
        (gaussian().scaled(1e-14), {}),
        (Quadratic(eigenvalue=ONE, multiplicity=ONE, initial_loss=ONE, num_samples=64), {"batch_sizes": [64]}),
    ],
)
def test_odd_problems_can_be_drawn(problem, changes, tmp_path):
    """Without the full spectrum, below zero, at zero, in small units, without noise: no warning, and a file."""
    tree = prediction(problem, **changes)
    picture = plot_dynamics(tree)
    picture.savefig(tmp_path / "a.png")
    start, reached = tree["curves"]["loss"].values[0, 0, 0], tree["best"]["loss"].values[0]
    has_gain = start - reached > 1e-5 * abs(start)
    has_sizes = "saturation" in tree.children and has_gain and (start < 0 or tree["saturation"].attrs["target"] >= 0)
    assert len(picture.axes) == 2 + has_sizes


@pytest.mark.parametrize(
    ("tree", "verdict"),
    [
        (prediction(num_steps=5), "Tentative"),
        (with_check(prediction()), "Confirmed"),
        (with_check(prediction(), trusted=7), "Withheld"),
    ],
)
def test_the_title_ends_with_the_verdict(tree, verdict):
    assert plot_dynamics(tree).get_suptitle().endswith(f"closure limit. {verdict}.")


def test_the_row_safe_rate_is_called_that():
    assert "row-safe" in labels(plot_dynamics(prediction(unequal(), batch_sizes=[1])).axes[1])


def test_axes_over_many_decades_have_few_labels_that_do_not_overlap():
    steep = Quadratic(eigenvalue=ONE, multiplicity=ONE, initial_loss=ONE, num_samples=64)
    picture = plot_dynamics(prediction(steep, batch_sizes=[64], num_steps=40, learning_rates=[0.2, 0.9]))
    picture.draw_without_rendering()
    for ax in picture.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            shown = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            assert 1 <= len(shown) <= 9
            boxes = [label.get_window_extent() for label in shown]
            assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def test_targets_below_zero_have_no_panel():
    below = Quadratic(eigenvalue=ONE, multiplicity=ONE, initial_loss=ONE, offset=-0.9, num_samples=64)
    assert len(plot_dynamics(prediction(below)).axes) == 2


def test_axes_in_axes_out():
    ax = figure()[1][0]
    assert plot_curves(prediction(num_steps=3), ax=ax) is ax


def test_refusals():
    with pytest.raises(ArgumentError, match="no prediction"):
        plot_dynamics(problem_tree(gaussian()))
    with pytest.raises(ArgumentError, match="schema"):
        plot_dynamics(prediction(num_steps=1)["problem"])
