"""Pages and pictures into files: what stands in the way is found before, and nothing of an earlier run misleads."""

import os
from pathlib import Path

import pytest
import typer

from probes.cli.pages import Destinations
from probes.cli.recommend import _deliver
from spectra.errors import ArgumentError, SpectraError
from spectra.recommend import advise
from tests.spectra.recommend.fabricated import fabricated_run

pytest.importorskip("matplotlib")

PAGES = ["recommendation.png", "report.html", "report.md"]


def destinations(**given: object) -> Destinations:
    nothing = {"output": None, "markdown": None, "html": None, "plot": None}
    return Destinations(**{**nothing, "as_json": False, "verbose": False, "quiet": True, **given})


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("curvature", [-4.0, 0.0])
def test_a_withheld_rate_has_all_its_pages(tmp_path, curvature):
    run = fabricated_run(curvature=curvature)
    advice = advise(run)
    assert advice.verdict == "WITHHELD"
    destinations(output=tmp_path, html=tmp_path / "page.html").write(advice, run)
    assert written(tmp_path) == sorted(["page.html", *PAGES])


def test_a_picture_that_fails_costs_no_page(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise ValueError("no such color")

    monkeypatch.setattr("spectra.advice_plot.plot_advice", fail)
    monkeypatch.setattr("spectra.advice_plot.advice_svg", fail)
    run = fabricated_run()
    destinations(output=tmp_path, plot=tmp_path / "own.svg").write(advise(run), run)
    assert written(tmp_path) == ["report.html", "report.md"]
    assert "recommendation.png" not in (tmp_path / "report.md").read_text()
    assert "ValueError: no such color" in capsys.readouterr().err


def test_of_an_earlier_run_no_picture_stays_and_the_measurement_is_named(tmp_path, capsys):
    (tmp_path / "run.nc").write_text("measured")
    (tmp_path / "recommendation.png").write_text("drawn")
    destinations(output=tmp_path).write(advise(fabricated_run(steps=(), planned=2)), None)
    assert written(tmp_path) == ["report.html", "report.md", "run.nc"]
    assert (tmp_path / "run.nc").read_text() == "measured"
    assert f"{tmp_path / 'run.nc'} is of an earlier measurement" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*PAGES, "run.nc"])
def test_every_file_of_the_folder_is_tried_before_measuring(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(SpectraError, match=f"{name}' is a folder"):
        destinations(output=tmp_path).check()


@pytest.mark.parametrize("option", ["markdown", "html", "plot"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_found_before_measuring_and_kept(tmp_path, option, make):
    path = tmp_path / "out.png"
    make(path)
    with pytest.raises(SpectraError, match=r"out.png' is a (folder|device or a pipe)"):
        destinations(**{option: path}).check()
    assert not path.is_file()


def test_the_case_of_a_suffix_does_not_matter(tmp_path):
    asked = destinations(plot=tmp_path / "out.PNG")
    asked.check()
    run = fabricated_run()
    asked.write(advise(run), run)
    assert (tmp_path / "out.PNG").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ArgumentError, match=r"--plot takes a file ending in .png"):
        destinations(plot=tmp_path / "out.jpeg").check()


@pytest.mark.parametrize("saved", [True, False])
def test_ctrl_c_while_pages_are_written_says_where_the_run_is(tmp_path, capsys, saved):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as end:
        _deliver(destinations(output=tmp_path if saved else None), interrupt, fabricated_run())
    assert end.value.exit_code == 130
    said = capsys.readouterr().err
    assert (f"spectra recommend {tmp_path / 'run.nc'}" if saved else "nothing was saved") in said
