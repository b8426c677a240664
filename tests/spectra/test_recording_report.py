"""A recording in words and numbers."""

import json

import numpy as np

from spectra.recording_report import render_recording, summarize_recording
from spectra.report import finite_or_null
from tests.spectra.recordings import recording


def test_the_table_lists_what_was_recorded_over_time():
    text = render_recording(recording())
    assert "SGD with momentum 0.9, batch size 32, 500 steps" in text
    assert "overhead 2.10% of training time (budget 3.0%)" in text
    line = next(line for line in text.splitlines() if line.strip().startswith("sharpness"))
    assert line.split()[1:] == ["1.00", "4.00", "16.0", "1.00", "16.0", "5"]
    noise = next(line for line in text.splitlines() if line.strip().startswith("noise scale"))
    assert noise.endswith("4, 1 not resolved")
    assert "500" not in noise
    assert "preconditioned" not in text
    assert "FAILURES" not in text


def test_failures_are_counted_and_the_latest_shown():
    found = recording(
        failures=tuple({"step": step, "quantity": "sharpness", "reason": f"reason {step}"} for step in range(9))
    )
    found["sharpness"][1] = np.nan
    found["sharpness_status"][1] = 2
    text = render_recording(found)
    assert "4, 1 failed" in text
    assert "step 8, sharpness: reason 8" in text
    assert "reason 3" not in text


def test_the_summary_is_json_without_nan():
    found = recording()
    found["noise_scale"][:] = np.nan
    found["noise_scale_status"][:] = 2
    summary = json.loads(json.dumps(finite_or_null(summarize_recording(found)), allow_nan=False))
    assert summary["schema"] == "spectra/recording"
    assert summary["steps"] == {"first": 100, "last": 500, "num_measured": 5, "num_noted": 10}
    assert summary["quantities"]["sharpness"]["last"] == 16.0
    assert summary["quantities"]["noise_scale"]["first"] is None
    assert summary["quantities"]["noise_scale"]["num_failed"] == 5


def test_an_empty_recording_says_so():
    text = render_recording(recording(0).isel(training_step=slice(0, 0)))
    assert "nothing has been recorded yet" in text
