import itertools
import sys

import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError, MissingExtraError, SchemaError
from spectra.plot import figure, plot_cdf, plot_density

matplotlib = pytest.importorskip("matplotlib")

OUTLIERS = np.array([-2.0, 5.0, 9.0])


@pytest.fixture(scope="module")
def eigenvalues() -> np.ndarray:
    bulk = np.random.default_rng(0).uniform(0.0, 1.0, 400)
    return np.concatenate([bulk, OUTLIERS])


@pytest.fixture(scope="module")
def measure(eigenvalues):
    return spectra.slq(np.diag(eigenvalues), num_probes=5, num_steps=30)


@pytest.fixture
def ax():
    return figure()[1][0]


def labels(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("plot", [plot_density, plot_cdf])
def test_axes_in_axes_out(measure, ax, plot) -> None:
    assert plot(measure, ax=ax) is ax
    assert ax.get_xlabel().startswith("eigenvalue")
    assert ax.get_ylabel()
    assert "5 probes, 30 Lanczos steps" in labels(ax)
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize("plot", [plot_density, plot_cdf])
def test_nothing_global_changes(measure, ax, plot, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    before = dict(matplotlib.rcParams)
    plot(measure, ax=ax)
    assert dict(matplotlib.rcParams) == before
    assert list(tmp_path.iterdir()) == []


def test_argument_is_not_changed(measure, ax) -> None:
    before = measure.copy(deep=True)
    plot_density(measure, ax=ax)
    plot_cdf(measure, ax=ax)
    assert measure.identical(before)


def test_without_axes_pyplot_gets_a_new_figure(measure) -> None:
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    first, second = plot_density(measure), plot_cdf(measure)
    try:
        assert first.figure is not second.figure
        assert first.figure.number in pyplot.get_fignums()
    finally:
        pyplot.close(first.figure)
        pyplot.close(second.figure)


def test_figure_is_unknown_to_pyplot() -> None:
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    result, axes = figure(ncols=3, width=2.0, height=1.0)
    assert pyplot.get_fignums() == before
    assert len(axes) == 3
    assert tuple(result.get_size_inches()) == (6.0, 1.0)


def test_curve_is_the_density_of_the_stated_width(measure, ax) -> None:
    plot_density(measure, ax=ax, width=0.05)
    x, y = ax.get_lines()[0].get_data()
    floor = ax.get_ylim()[0]
    expected = np.maximum(spectra.density(measure, x, width=0.05).values, floor)
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    assert "width 0.05" in ax.get_ylabel()
    assert ax.get_yscale() == "log"


def test_line_of_one_eigenvalue(measure, ax) -> None:
    """The dotted line has the height of a single eigenvalue: its Gaussian, divided by the dimension."""
    plot_density(measure, ax=ax, width=0.05)
    line = next(line for line in ax.get_lines() if line.get_label() == "height of one eigenvalue")
    one = spectra.slq(np.diag([3.0]), num_probes=1, num_steps=1)
    peak = float(spectra.density(one, [3.0], width=0.05)[0])
    assert line.get_ydata()[0] == pytest.approx(peak / measure.attrs["dimension"])


@pytest.mark.parametrize("x_scale", ["linear", "asinh"])
def test_outliers_are_marked_at_their_values_and_visible(measure, ax, x_scale) -> None:
    plot_density(measure, ax=ax, x_scale=x_scale)
    marks = next(line for line in ax.get_lines() if "outlier" in str(line.get_label()))
    np.testing.assert_allclose(marks.get_xdata(), OUTLIERS, rtol=1e-9)
    assert [text.get_text() for text in ax.texts] == ["-2", "5", "9"]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < OUTLIERS.min() < OUTLIERS.max() < right
    assert np.all((bottom < marks.get_ydata()) & (marks.get_ydata() < top))
    assert ax.get_xscale() == x_scale
    assert "3 outliers (isolated eigenvalues)" in labels(ax)


def test_scale_follows_the_reach_of_the_outliers(eigenvalues) -> None:
    chosen = {}
    for outlier in (5.0, 50.0):
        measure = spectra.slq(np.diag(np.append(eigenvalues[:400], outlier)), num_probes=3, num_steps=30)
        chosen[outlier] = plot_density(measure, ax=figure()[1][0]).get_xscale()
    assert chosen == {5.0: "linear", 50.0: "asinh"}


@pytest.mark.parametrize("scale", [1e-14, 1e-3, 1.0, 1e14])
def test_ticks_of_the_asinh_axis_do_not_run_together(eigenvalues, scale) -> None:
    measure = spectra.slq(scale * np.diag(np.append(eigenvalues[:400], 500.0)), num_probes=3, num_steps=30)
    ax = plot_density(measure, ax=figure()[1][0], x_scale="asinh")
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    low, high = ax.get_window_extent().x0, ax.get_window_extent().x1
    shown = sorted((box.x0, box.x1) for box in boxes if low <= (box.x0 + box.x1) / 2 <= high)
    assert len(shown) >= 3
    assert all(a[1] < b[0] for a, b in itertools.pairwise(shown))


def test_labels_of_neighbors_do_not_overlap(eigenvalues, ax) -> None:
    outliers = [9.0, 9.05, 9.1, 20.0]
    measure = spectra.slq(np.diag(np.append(eigenvalues[:400], outliers)), num_probes=3, num_steps=60)
    plot_density(measure, ax=ax)
    ax.figure.draw_without_rendering()
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.x0)
    assert len(boxes) == 4
    assert all(a.x1 <= b.x0 for a, b in itertools.pairwise(boxes))


def test_known_eigenvalues_are_drawn(measure, eigenvalues, ax) -> None:
    plot_density(measure, ax=ax, eigenvalues=eigenvalues)
    ticks = next(line for line in ax.get_lines() if "known" in str(line.get_label()))
    np.testing.assert_array_equal(ticks.get_xdata(), eigenvalues)


def test_one_probe_has_no_error_band(eigenvalues) -> None:
    bands = []
    for num_probes in (1, 5):
        measure = spectra.slq(np.diag(eigenvalues), num_probes=num_probes, num_steps=20)
        ax = plot_density(measure, ax=figure()[1][0])
        bands.append(len(ax.collections))
    assert bands[1] == bands[0] + 1


def test_curve_of_the_cdf_lies_within_its_band(measure, ax) -> None:
    plot_cdf(measure, ax=ax)
    x, y = ax.get_lines()[0].get_data()
    bounds = spectra.cdf_bounds(measure, x)
    assert np.all(bounds.low <= y + 1e-12)
    assert np.all(y <= bounds.high + 1e-12)
    assert y[0] == 0.0
    assert y[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("plot", [plot_density, plot_cdf])
@pytest.mark.parametrize("diagonal", [[0.0] * 5, [2.0] * 5, [-1e-9], [1.0, 2.0]])
def test_degenerate_measures_can_be_drawn(plot, diagonal, ax) -> None:
    measure = spectra.slq(np.diag(diagonal), num_probes=2, num_steps=4)
    plot(measure, ax=ax)
    ax.figure.draw_without_rendering()
    low, high = ax.get_xlim()
    assert low < min(diagonal) <= max(diagonal) < high


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan, np.inf])
def test_width_must_be_positive(measure, ax, width) -> None:
    with pytest.raises(ArgumentError, match="width must be positive and finite"):
        plot_density(measure, ax=ax, width=width)


@pytest.mark.parametrize("plot", [plot_density, plot_cdf])
def test_other_arguments_are_refused(plot, measure, ax) -> None:
    with pytest.raises(SchemaError):
        plot(measure[["weight"]], ax=ax)
    with pytest.raises(ArgumentError, match="x_scale must be"):
        plot(measure, ax=ax, x_scale="log")


def test_missing_matplotlib_names_the_extra(measure, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for attempt in (figure, lambda: plot_density(measure), lambda: plot_cdf(measure)):
        with pytest.raises(MissingExtraError, match=r"spectra-probes\[plot\]"):
            attempt()
