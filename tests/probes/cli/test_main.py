"""The command line, as a user runs it: in a subprocess, with exit codes, stdout and stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

TASKS = Path(__file__).parents[1] / "small_tasks.py"
QUICK = ["--num-probes", "3", "--num-steps", "10"]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "probes.cli.main", *map(str, arguments)]


def environment() -> dict[str, str]:
    root = Path(__file__).parents[3]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "NO_COLOR": "1", "COLUMNS": "120"}


def spectra(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=cwd, env=environment(), timeout=300, check=False
    )


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    result = spectra("measure", f"{TASKS}:classifier", "-o", "run.nc", "--optimizer", "sgd", *QUICK, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    return folder / "run.nc"


def test_version_names_both_packages_and_where_they_are(tmp_path):
    result = spectra("--version", cwd=tmp_path)
    assert result.returncode == 0
    for word in ("spectra-probes", "spectra/__init__.py", "probes/__init__.py", "torch", "xarray"):
        assert word in result.stdout


@pytest.mark.parametrize(
    "subcommand", [(), ("recommend",), ("measure",), ("spectrum",), ("dynamics",), ("kernel",), ("show",)]
)
def test_help_has_examples_and_needs_no_torch(subcommand, tmp_path):
    result = spectra(*subcommand, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "spectra" in result.stdout
    if subcommand:
        assert "Examples" in result.stdout
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, probes.cli.main; print('torch' in sys.modules, 'xarray' in sys.modules)"],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    assert loaded.stdout.split() == ["False", "False"]


def test_recommend_answers_on_stdout_and_writes_its_files(tmp_path):
    result = spectra(
        "recommend",
        f"{TASKS}:classifier",
        "--optimizer",
        "adamw",
        "--batch-size",
        "32",
        "--output",
        "advice",
        *QUICK,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "learning rate" in result.stdout
    assert "AdamW" in result.stdout
    report = (tmp_path / "advice" / "report.md").read_text()
    assert "recommendation.png" in report
    assert (tmp_path / "advice" / "recommendation.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "advice" / "report.html").read_text()
    again = spectra("recommend", "advice/run.nc", "--json", cwd=tmp_path)
    assert again.returncode == 0
    value = json.loads(again.stdout)["recommendations"]["learning_rate"]["value"]
    assert value > 0
    shown = f"{value:.3g}"
    assert f"lr={float(shown)!r}" in report
    assert f"lr={float(shown)!r}" in result.stdout
    assert sorted(path.name for path in (tmp_path / "advice").iterdir()) == [
        "recommendation.png",
        "report.html",
        "report.md",
        "run.nc",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["advice"]


def test_a_run_file_gives_the_advice_without_the_task(run_file, tmp_path):
    result = spectra("recommend", run_file, "--json", "--batch-size", "16", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["batch_size"] == 16
    assert data["schema"] == "spectra/advice"
    assert len(data["curve"]) > 3


def test_show_prints_and_plots(run_file, tmp_path):
    result = spectra("show", run_file, "--plot", "picture.svg", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "trace" in result.stdout
    assert "STAGES" in result.stdout
    assert "<svg" in (tmp_path / "picture.svg").read_text()
    data = json.loads(spectra("show", run_file, "--json", cwd=tmp_path).stdout)
    assert data["schema"] == "spectra/run"


def test_same_seed_same_numbers(run_file, tmp_path):
    result = spectra("measure", f"{TASKS}:classifier", "-o", "b.nc", "--optimizer", "sgd", *QUICK, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    first, second = (
        json.loads(spectra("recommend", path, "--json", cwd=tmp_path).stdout) for path in (run_file, "b.nc")
    )
    assert first["recommendations"] == second["recommendations"]


def test_withheld_ends_with_exit_code_3_and_names_the_check(tmp_path):
    arguments = ["--probe-steps", "5", "--candidate-steps", "0"]
    result = spectra("recommend", f"{TASKS}:classifier", *arguments, cwd=tmp_path)
    assert result.returncode == 3, result.stderr
    assert "WITHHELD" in result.stdout
    assert "measured after real steps" in result.stdout


def test_spectrum_without_training_withholds_the_rate(tmp_path):
    result = spectra(
        "measure",
        f"{TASKS}:classifier",
        "-o",
        "h.zarr",
        "--optimizer",
        "none",
        "--matrix",
        "gauss_newton",
        *QUICK,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    shown = spectra("show", "h.zarr", cwd=tmp_path)
    assert "gauss_newton" in shown.stdout
    assert spectra("recommend", "h.zarr", cwd=tmp_path).returncode == 3


def test_dropout_is_measured_without_and_trained_with(tmp_path):
    result = spectra("recommend", f"{TASKS}:with_dropout", cwd=tmp_path)
    assert result.returncode in (0, 3), result.stderr


def test_a_parameter_without_gradient_is_a_warning_not_a_failure(tmp_path):
    result = spectra("recommend", f"{TASKS}:unused_parameter", cwd=tmp_path)
    assert result.returncode in (0, 3)
    assert "spare" in result.stderr


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("no_such_module:task", "no_such_module"),
        ("no_such_file.py:task", "no_such_file.py"),
        ("justaname", "package.module:function"),
        (f"{TASKS}:clasifier", "classifier"),
        (f"{TASKS}:returns_none", "must return a probes.Task"),
        (f"{TASKS}:shuffling", "shuffle"),
        (f"{TASKS}:frozen", "no trainable parameter"),
        (f"{TASKS}:sum_loss", "mean"),
        (f"{TASKS}:wrong_backward", "not the derivative of its loss"),
        (f"{TASKS}:once_differentiable", "_Once"),
        (f"{TASKS}:pickled_checkpoint", "weights_only"),
    ],
)
def test_bad_tasks_end_with_one_clear_message(task, words, tmp_path):
    result = spectra("recommend", task, cwd=tmp_path)
    assert result.returncode == 1, (result.stdout, result.stderr)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert "this code must not run" not in result.stdout
    assert result.stdout == ""


def test_debug_shows_the_traceback(tmp_path):
    result = spectra("recommend", "no_such_module:task", "--debug", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(
    "content",
    [b"", b"not a netCDF file at all", b"\x89HDF\r\n\x1a\n" + b"\x00" * 64],
    ids=["empty", "text", "damaged"],
)
def test_files_that_are_not_ours(content, tmp_path):
    (tmp_path / "x.nc").write_bytes(content)
    for subcommand in ("recommend", "show"):
        result = spectra(subcommand, "x.nc", cwd=tmp_path)
        assert result.returncode == 1
        assert "x.nc" in result.stderr
        assert "Traceback" not in result.stderr


def test_truncated_and_foreign_files(run_file, tmp_path):
    whole = run_file.read_bytes()
    (tmp_path / "half.nc").write_bytes(whole[: len(whole) // 2])
    import xarray as xr

    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    for name in ("half.nc", "foreign.nc", "missing.nc"):
        result = spectra("recommend", name, cwd=tmp_path)
        assert result.returncode == 1
        assert name in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("recommend",),
        ("recommend", "a:b", "--accumulation", "0"),
        ("recommend", "a:b", "--schedule", "cosine"),
        ("recommend", "a:b", "--batch-size", "0"),
        ("measure", "a:b"),
        ("frobnicate",),
    ],
)
def test_wrong_usage_ends_with_exit_code_2(arguments, tmp_path):
    assert spectra(*arguments, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--batch-size", "10", "--micro-batch-size", "3"), "nearest is 9 or 12"),
        (("--batch-size", "32", "--micro-batch-size", "8", "--accumulation", "3"), "product of all"),
        (("--optimizer", "sgd", "--beta2", "0.9"), "--beta2"),
        (("--clip-norm", "-1"), "--clip-norm"),
        (("--candidate-steps", "0", "--html", "no/such/folder/page.html"), "no/such/folder"),
        (("--optimizer-state", "missing.pt"), "missing.pt"),
        (("--checkpoint", "missing.pt"), "missing.pt"),
        (("--micro-batches", "3"), "at least 8"),
        (("--probe-steps", "20,10"), "increase"),
        (("--probe-steps", "ten"), "whole numbers"),
        (("--optimizer", "sgd", "--momentum", "0.9"), "momentum"),
        (("--plot", "picture.xyz"), "xyz"),
    ],
)
def test_values_that_cannot_be_used(arguments, words, tmp_path):
    result = spectra("recommend", f"{TASKS}:classifier", *QUICK, *arguments, cwd=tmp_path)
    assert result.returncode == 1, (result.stdout, result.stderr)
    assert words in result.stderr


def test_another_optimizer_than_that_of_the_run_is_refused(run_file, tmp_path):
    result = spectra("recommend", run_file, "--optimizer", "adamw", cwd=tmp_path)
    assert result.returncode == 1
    assert "measure again" in result.stderr


def test_no_room_to_write_is_noticed_before_measuring(tmp_path):
    result = spectra("measure", f"{TASKS}:classifier", "-o", "no/such/folder/run.nc", *QUICK, cwd=tmp_path)
    assert result.returncode == 1
    assert "no/such/folder" in result.stderr
    (tmp_path / "file").write_text("")
    result = spectra("recommend", f"{TASKS}:classifier", "--output", "file", *QUICK, cwd=tmp_path)
    assert result.returncode == 1
    assert "file" in result.stderr
