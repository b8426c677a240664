"""Pictures of analyses: what is drawn is what was found."""

import numpy as np
import pytest
import xarray as xr

from spectra.errors import ArgumentError
from spectra.kernel_plot import plot_decay, plot_kernel, plot_learning_curve, plot_ridges
from spectra.kernels import RBF, Laplace, analyze
from spectra.plot import figure
from tests.cases import optional
from tests.spectra.kernels.ridge_problems import noisy_plane

optional("matplotlib")

X, Y = noisy_plane(160, np.random.default_rng(5))


@pytest.fixture(scope="module")
def tree():
    return analyze(X, Y, kernel=Laplace(1.5), name="plane_$x$")


def axes():
    return figure()[1][0]


def test_four_parts_with_targets_two_without(tree, tmp_path):
    whole = plot_kernel(tree)
    assert len(whole.axes) == 4
    assert "Supported" in whole.get_suptitle()
    whole.savefig(tmp_path / "k.png")
    assert len(plot_kernel(analyze(X, kernel=RBF(1.0))).axes) == 2


def test_the_line_of_the_law_has_its_exponent(tree):
    ax = plot_decay(tree, ax=axes())
    points, line = ax.get_lines()[:2]
    np.testing.assert_array_equal(points.get_ydata(), tree["decay"]["eigenvalue"].values)
    x, y = line.get_data()
    slope = np.diff(np.log(y)) / np.diff(np.log(x))
    np.testing.assert_allclose(slope, -tree["decay"].attrs["decay_exponent"], rtol=1e-10)


def test_the_best_ridge_is_marked(tree):
    ax = plot_ridges(tree, ax=axes())
    marked = [line for line in ax.get_lines() if len(set(line.get_xdata())) == 1]
    assert marked[0].get_xdata()[0] == tree["best"].attrs["ridge"]
    low, high = ax.get_ylim()
    assert low < tree["risk"].attrs["risk"] < high


def test_the_learning_curve_goes_through_the_error_at_hand(tree):
    ax = plot_learning_curve(tree, ax=axes())
    assert ax.get_xscale() == ax.get_yscale() == "log"
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["10", "20", "40", "160", "320", "640"]
    assert {"theory", "power fit", "eigenvalue tail", "leave-one-out"} <= set(shown)


def test_kernels_of_finite_rank_and_interrupted_results_are_drawn():
    rank = analyze(X @ X.T + 1, Y)
    assert len(plot_kernel(rank).axes) == 4
    seen = []
    analyze(X, Y, kernel=Laplace(1.5), on_stage=lambda part: seen.append(part.copy()))
    assert len(plot_kernel(seen[0]).axes) == 2


def test_targets_that_are_equal_are_drawn_without_a_warning(tmp_path):
    plot_kernel(analyze(X, np.zeros(160), kernel=Laplace(1.5))).savefig(tmp_path / "k.png")


def test_wrong_trees():
    with pytest.raises(ArgumentError, match="analyze"):
        plot_kernel(xr.DataTree(xr.Dataset(attrs={"schema": "spectra/run"})))
    with pytest.raises(ArgumentError, match="nothing yet"):
        plot_kernel(xr.DataTree(xr.Dataset(attrs={"schema": "spectra/kernel"})))
