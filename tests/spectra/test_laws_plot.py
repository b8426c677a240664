"""What the pictures of laws show: steps of atoms, outliers near the bulk, and everything where there is no bulk."""

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.law_table import make_law, tabulate_law
from spectra.laws_analysis import analyze_spectrum
from spectra.laws_plot import plot_law, plot_laws

LAWS = {
    "with an atom": ("marchenko_pastur", {"aspect_ratio": 2.0}),
    "semicircle": ("semicircle", {}),
    "jacobi with an atom": ("jacobi", {"first_ratio": 2.0, "second_ratio": 0.5}),
    "f": ("f", {"first_ratio": 0.5, "second_ratio": 0.3}),
    "two intervals": ("generalized", {"values": [1.0, 10.0], "weights": [0.3, 0.7], "aspect_ratio": 0.1}),
    "zeros of the population": ("generalized", {"values": [0.0, 1.0], "weights": [0.3, 0.7], "aspect_ratio": 1.5}),
    "whole line": ("tracy_widom", {"beta": 1}),
}


def curve(ax, index=0):
    return ax.get_lines()[index].get_xydata().T


@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_drawn_from_0_to_1(name):
    law = make_law(*LAWS[name])
    density, distribution = plot_law(tabulate_law(law, at=[0.5])).axes
    x, y = curve(distribution)
    assert np.all(np.diff(x) >= 0.0)
    assert np.all(np.diff(y) >= -1e-12)
    assert (y[0], y[-1]) == pytest.approx((0.0, 1.0), abs=1e-3)
    for place, mass in law.atoms:
        assert np.ptp(y[x == place]) == pytest.approx(mass)
        assert f"mass {mass:.3f} at" in density.get_legend_handles_labels()[1][0]
    assert len([line for line in density.get_lines() if line.get_linestyle() == "-"]) == len(law.support)


def test_zeros_that_samples_force_are_a_step_of_eigenvalues_and_law():
    X = np.random.default_rng(0).standard_normal((100, 300))
    ax = plot_laws(analyze_spectrum(X)).axes[1]
    x, y = curve(ax, 1)
    assert y[x < 0.0].max(initial=0.0) == 0.0
    np.testing.assert_allclose(y[(x >= 0.0) & (x < 0.2)], 2 / 3, atol=0.01)
    x, y = curve(ax, 0)
    assert (x[0], y[0]) == pytest.approx((0.0, 1 - 99 / 300))


def test_what_is_drawn_ends_at_the_last_outlier_near_the_bulk():
    X = np.random.default_rng(0).standard_normal((400, 200))
    X[:, :2] *= [2.0, 20.0]
    found = analyze_spectrum(X)
    ax = plot_laws(found).axes[0]
    near, far = float(found["value"][1]), float(found["value"][0])
    assert near < ax.get_xlim()[1] < 1.1 * near
    assert ax.get_title().endswith(f": 1 farther out, up to {far:.0f}")


def test_where_most_eigenvalues_are_far_from_the_bulk_all_are_drawn():
    found = analyze_spectrum(np.random.default_rng(0).standard_normal((400, 20)) * np.geomspace(1.0, 1e3, 20))
    left, right = plot_laws(found).axes[0].get_xlim()
    assert left < float(found["eigenvalue"][0]) < float(found["eigenvalue"][-1]) < right


def test_zeros_are_named_and_not_drawn():
    X = np.random.default_rng(0).standard_normal((100, 200))
    ax = plot_laws(analyze_spectrum(X.T @ X / 100)).axes[0]
    assert "100 at 0 not drawn" in ax.get_title()


def test_other_datasets_are_refused():
    with pytest.raises(ArgumentError, match="tabulate_law is required"):
        plot_law(analyze_spectrum(np.ones(3)))
