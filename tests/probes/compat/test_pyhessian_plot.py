import numpy as np
import pytest

from probes.compat.pyhessian import get_esd_plot
from spectra.errors import ArgumentError, MissingExtraError, ShapeError
from spectra.plot import figure

matplotlib = pytest.importorskip("matplotlib")

NODES = [[-1.0, 0.0, 0.1, 5.0], [-0.9, 0.05, 0.12, 5.0]]
WEIGHTS = [[0.1, 0.5, 0.39, 0.01], [0.1, 0.5, 0.38, 0.02]]


@pytest.fixture
def ax():
    return figure()[1][0]


def curve(ax):
    return ax.get_lines()[0].get_xydata().T


def test_axes_in_axes_out_and_no_file(ax, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = dict(matplotlib.rcParams)
    assert get_esd_plot(NODES, WEIGHTS, ax=ax) is ax
    assert list(tmp_path.iterdir()) == []
    assert dict(matplotlib.rcParams) == before


def test_saves_where_it_is_told(ax, tmp_path):
    get_esd_plot(NODES, WEIGHTS, ax=ax, path=tmp_path / "density.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["density.png"]


def test_a_new_figure_by_default():
    from matplotlib import pyplot

    ax = get_esd_plot(NODES, WEIGHTS)
    assert ax.get_yscale() == "log"
    pyplot.close(ax.figure)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_mass_is_one_in_any_unit(ax, scale):
    get_esd_plot(scale * np.array(NODES), WEIGHTS, ax=ax)
    assert np.trapezoid(curve(ax)[1], curve(ax)[0]) == pytest.approx(1, abs=1e-3)


def test_the_curve_is_the_mean_of_gaussians(ax):
    get_esd_plot(NODES, WEIGHTS, ax=ax, width=0.3)
    x, y = curve(ax)
    z = (x[:, None, None] - np.array(NODES)) / 0.3
    expected = np.sum(np.array(WEIGHTS) * np.exp(-(z**2) / 2), axis=(1, 2)) / (2 * 0.3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(y, expected, rtol=1e-12)


def test_an_outlier_does_not_blur_the_bulk(ax):
    bulk = np.linspace(0, 1, 100).tolist()
    get_esd_plot([[*bulk, 1e6]], [[*[0.9999 / 100] * 100, 1e-4]], ax=ax)
    assert float(ax.get_ylabel().rstrip(")").split()[-1]) <= 0.01  # the spacing of the bulk's nodes


def test_a_single_eigenvalue(ax):
    get_esd_plot([[0.0]], [[1.0]], ax=ax)
    assert np.isfinite(curve(ax)).all()


@pytest.mark.parametrize(
    ("nodes", "weights", "error"),
    [
        ([], [], ShapeError),
        ([[]], [[]], ShapeError),
        ([[1.0, 2.0]], [[1.0]], ShapeError),
        ([1.0, 2.0], [0.5, 0.5], ShapeError),
        ([[1.0, np.nan]], [[0.5, 0.5]], ArgumentError),
        ([[1.0, 2.0]], [[-0.5, 1.5]], ArgumentError),
        ([[1.0, 2.0]], [[0.0, 0.0]], ArgumentError),
    ],
)
def test_what_is_no_density_is_refused(ax, nodes, weights, error):
    with pytest.raises(error):
        get_esd_plot(nodes, weights, ax=ax)


def test_a_width_must_be_positive(ax):
    with pytest.raises(ArgumentError, match="width"):
        get_esd_plot(NODES, WEIGHTS, ax=ax, width=0.0)


def test_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="spectra-probes"):
        get_esd_plot(NODES, WEIGHTS)
