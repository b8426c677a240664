"""The picture of a recommendation: what it must show, for each kind of advice."""

import pytest

from spectra.recommend import advise
from tests.spectra.recommend.fabricated import fabricated_run

pytest.importorskip("matplotlib")


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


def test_a_spectrum_adds_a_panel_and_a_withheld_rate_is_said():
    import numpy as np
    import xarray as xr

    import spectra
    from spectra.advice_plot import plot_advice

    run = fabricated_run(curvature=-4.0)
    measure = spectra.slq(np.diag(np.linspace(-1, 1, 40)), num_probes=3, num_steps=8)
    run["spectrum"] = xr.DataTree(measure)
    figure = plot_advice(advise(run), run)
    assert len(figure.axes) == 3
    assert "recommendation withheld" in texts(figure)
