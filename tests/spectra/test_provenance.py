import json
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np

import spectra
from spectra.provenance import provenance


def test_time_is_utc_now() -> None:
    created = datetime.fromisoformat(str(provenance()["created"]))
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)


def test_versions_are_those_in_use() -> None:
    versions = json.loads(str(provenance()["software"]))
    assert versions["numpy"] == np.__version__
    assert versions["spectra"] == spectra.__version__
    assert {"python", "scipy", "xarray"} <= set(versions)


def test_torch_is_named_only_if_imported(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="9.9"))
    assert json.loads(str(provenance()["software"]))["torch"] == "9.9"
    monkeypatch.delitem(sys.modules, "torch")
    assert "torch" not in json.loads(str(provenance()["software"]))


def test_further_attributes_are_kept() -> None:
    assert provenance(seed=7)["seed"] == 7
