"""``spectra spectrum`` as a user runs it: in a subprocess, with exit codes, stdout and stderr."""

import json
import signal
import subprocess
import time

import pytest

from tests.probes.cli.test_main import TASKS, command, environment, spectra

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def result_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spectrum")
    arguments = ["--matrix", "hessian", "--matrix", "gauss_newton", "--per-layer", "-o", "s.nc", "--plot", "s.png"]
    result = spectra("spectrum", f"{TASKS}:classifier", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "s.nc", result


def test_answer_on_stdout_file_and_picture(result_file):
    path, result = result_file
    for word in (
        "HESSIAN (83 x 83)",
        "GAUSS_NEWTON",
        "largest 5",
        "trace",
        "LAYERS OF HESSIAN",
        "products",
        "strategy",
    ):
        assert word in result.stdout
    assert result.stderr == f"wrote {path.name}\n"
    assert sorted(p.name for p in path.parent.iterdir()) == ["s.nc", "s.png"]
    assert (path.parent / "s.png").read_bytes().startswith(b"\x89PNG")


def test_show_prints_the_same(result_file, tmp_path):
    path, result = result_file
    shown = spectra("show", path, "--plot", "again.svg", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == result.stdout
    assert "<svg" in (tmp_path / "again.svg").read_text()
    data = json.loads(spectra("show", path, "--json", cwd=tmp_path).stdout)
    assert set(data["matrices"]["hessian"]["layers"]) == {"0", "2"}


def test_recommend_refuses_it_with_one_clear_message(result_file, tmp_path):
    result = spectra("recommend", result_file[0], cwd=tmp_path)
    assert result.returncode == 1
    assert "spectra/run" in result.stderr
    assert "Traceback" not in result.stderr


def test_json_is_all_of_stdout_and_targets_can_be_missed(tmp_path):
    result = spectra("spectrum", f"{TASKS}:classifier", "--json", "--max-matvecs", "20", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout, parse_constant=pytest.fail)
    attributes = data["matrices"]["hessian"]["attributes"]
    assert attributes["num_matvecs"] <= 20
    assert attributes["extremes_reached"] == 0
    assert attributes["ended"] == "budget"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([f"{TASKS}:frozen"], 1, "no trainable parameter"),
        ([f"{TASKS}:classifier", "--matrix", "hesian"], 1, "gauss_newton"),
        ([f"{TASKS}:classifier", "-o", "spectrum.txt"], 1, ".nc"),
        ([f"{TASKS}:classifier", "-o", "missing/spectrum.nc"], 1, "missing"),
        ([f"{TASKS}:classifier", "--max-matvecs", "2"], 1, "max_matvecs"),
        ([f"{TASKS}:classifier", "--max-matvecs", "0"], 2, "max-matvecs"),
        ([], 2, "TASK"),
    ],
)
def test_bad_input_ends_with_one_clear_message(arguments, code, words, tmp_path):
    result = spectra("spectrum", *arguments, cwd=tmp_path)
    assert result.returncode == code, (result.stdout, result.stderr)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_what_was_measured(tmp_path):
    matrices = [word for name in ("hessian", "gauss_newton", "fisher") for word in ("--matrix", name)]
    process = subprocess.Popen(
        command("spectrum", f"{TASKS}:slow", "-o", "s.nc", "--per-layer", *matrices),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell without job control ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 200
    while not (tmp_path / "s.nc").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert "what was measured is in s.nc" in stderr
    assert "Traceback" not in stderr
    shown = spectra("show", "s.nc", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "INTERRUPTED" in shown.stdout
    assert "HESSIAN" in shown.stdout


def test_checkpoint(tmp_path):
    """Parameters from a file are what is measured; a file that does not fit ends with the names."""
    import torch

    from tests.probes import small_tasks

    task = small_tasks.classifier()
    state = {name: 2 * value for name, value in task.model.state_dict().items()}
    torch.save(state, tmp_path / "good.pt")
    torch.save({"0.weight": state["0.weight"]}, tmp_path / "bad.pt")
    arguments = ["spectrum", f"{TASKS}:classifier", "--json", "--checkpoint"]
    good = spectra(*arguments, str(tmp_path / "good.pt"), cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    task.model.load_state_dict(state)
    with torch.no_grad():
        loss = float(task.loss(task.model(task.data[0][0]), task.data[0][1]))
    attributes = json.loads(good.stdout)["attributes"]
    assert attributes["loss"] == pytest.approx(loss, rel=1e-6)
    assert attributes["is_trained"] == 1
    bad = spectra(*arguments, str(tmp_path / "bad.pt"), cwd=tmp_path)
    assert bad.returncode == 1
    assert "0.bias" in bad.stderr
    assert bad.stdout == ""
