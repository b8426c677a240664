"""Checks at several learning rates as one dataset that can be kept alone."""

import spectra
from spectra.dynamics.checks import VERDICT
from tests.spectra.dynamics_problems import check_of, prediction


def test_a_dataset_with_a_schema_of_its_own(tmp_path):
    found = check_of(prediction(num_steps=5), trusted=2)
    assert (found.attrs["schema"], found.attrs["schema_version"]) == ("spectra/linearization-checks", 1)
    assert not set(VERDICT) & set(found.attrs)
    assert found["ended"].values.tolist() == ["off"]
    assert found["off_step"].values.tolist() == [3]
    again = spectra.load(spectra.save(found, tmp_path / "checks.nc"))
    assert again.equals(found)
    assert again.attrs["momentum"] == 0.0
