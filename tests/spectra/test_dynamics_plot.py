"""The picture of a prediction."""

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
    assert labels(budget) == ["batch size 16", "batch size 4"]
    best = tree["best"].to_dataset()
    dots = [line for line in budget.lines if line.get_marker() == "o"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == best["learning_rate"].values.tolist()
    critical = [line.get_xdata()[0] for line in budget.lines if line.get_linestyle() == ":"]
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
    assert "measured" in labels(curves)
    assert "measured" in labels(budget)


@pytest.mark.parametrize("factor", [5.0, np.inf])
def test_what_diverged_is_marked_and_does_not_stretch_the_axis(factor):
    tree = prediction(learning_rates=[1e-3, 50.0], num_steps=300)
    tree = with_check(tree, rates=[1e-3], factor=factor)
    axes = plot_dynamics(tree).axes
    assert axes[0].get_ylim()[1] <= 2.2 * float(tree["curves"]["loss"].values[0, 0, 0])
    crosses = [line for line in axes[0].lines if line.get_marker() == "x"]
    assert len(crosses) == 1
    assert len(crosses[0].get_xdata()) == tree["check"].sizes["step"]
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
    picture = plot_dynamics(prediction(problem, **changes))
    picture.savefig(tmp_path / "a.png")
    assert len(picture.axes) == 3 - (changes.get("closure") == "exact")


def test_axes_in_axes_out():
    ax = figure()[1][0]
    assert plot_curves(prediction(num_steps=3), ax=ax) is ax


def test_refusals():
    with pytest.raises(ArgumentError, match="no prediction"):
        plot_dynamics(problem_tree(gaussian()))
    with pytest.raises(ArgumentError, match="schema"):
        plot_dynamics(prediction(num_steps=1)["problem"])
