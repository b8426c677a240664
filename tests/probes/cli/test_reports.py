import json
from importlib import import_module

import numpy as np
import pytest

from probes.cli.reports import REPORTS, deliver
from spectra.law_table import make_law, tabulate_law
from spectra.storage_schemas import SCHEMAS


@pytest.mark.parametrize("schema", REPORTS)
def test_functions_exist(schema):
    for path in REPORTS[schema]:
        module, _, name = path.partition(":")
        assert callable(getattr(import_module(f"spectra.{module}"), name))


def test_schemas_are_those_of_files():
    assert set(REPORTS) <= set(SCHEMAS)


def test_text_json_and_picture(capsys, tmp_path):
    table = tabulate_law(make_law("semicircle", {}))
    deliver(table, plot=tmp_path / "law.png", as_json=False)
    assert capsys.readouterr().out.startswith("LAW")
    assert (tmp_path / "law.png").stat().st_size > 1000
    deliver(table, plot=None, as_json=True)
    assert np.isclose(json.loads(capsys.readouterr().out)["mean"], 0.0)
