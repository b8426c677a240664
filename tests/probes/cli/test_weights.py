"""``spectra weights`` as a user runs it: exit codes, stdout, stderr and files."""

import json

import pytest

import spectra

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from probes.cli.main import main  # noqa: E402

TASK = """
import torch
from torch import nn
from probes import Task

def task():
    torch.manual_seed(0)
    return Task(nn.Linear(30, 40), nn.MSELoss(), (torch.randn(8, 30), torch.randn(8, 40)))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Linear(80, 60), nn.ReLU(), nn.Linear(60, 64)).state_dict(), "model.pt")
    (tmp_path / "tasks.py").write_text(TASK)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def run(capsys, *arguments):
    """Run the command in this process and return its exit code and what it printed."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_answer_file_and_picture(capsys, folder):
    code, out, err = run(capsys, "weights", "model.pt", "-o", "w.nc", "--plot", "w.png", "--threads", "1")
    assert code == 0, err
    assert out.startswith("WEIGHTS 2 matrices: 2 noise\n")
    assert "No exponent is given" in out
    assert err == "wrote w.nc\n"
    assert (folder / "w.png").read_bytes().startswith(b"\x89PNG")
    found = spectra.load("w.nc")
    assert found.attrs["source"] == "model.pt"
    assert found["layer"].values.tolist() == ["0.weight", "2.weight"]


def test_show_and_weights_both_show_a_file(capsys, folder):
    run(capsys, "weights", "model.pt", "-o", "w.nc", "-q")
    for command in ("show", "weights"):
        code, out, _ = run(capsys, command, "w.nc", "--plot", f"{command}.svg")
        assert code == 0
        assert out.startswith("WEIGHTS 2 matrices")
        assert (folder / f"{command}.svg").exists()
    code, _, err = run(capsys, "weights", "w.nc", "--layer", "0", "--num-bootstrap", "50")
    assert code == 1
    assert "--layer, --num-bootstrap need the weights" in err


def test_json_and_one_layer(capsys):
    code, out, err = run(capsys, "weights", "model.pt", "--json", "-q", "--layer", "2.")
    assert (code, err) == (0, "")
    found = json.loads(out, parse_constant=pytest.fail)
    assert found["schema"] == "spectra/weights-report"
    assert [row["layer"] for row in found["layers"]] == ["2.weight"]


def test_a_task_gives_its_model(capsys):
    code, out, err = run(capsys, "weights", "tasks.py:task", "-q")
    assert code == 0, err
    assert out.startswith("WEIGHTS 1 matrix: 1 noise")


def test_what_cannot_be_read_is_one_message(capsys):
    code, out, err = run(capsys, "weights", "absent.safetensors")
    assert (code, out) == (1, "")
    assert err.startswith("error: there is no file or directory absent.safetensors")
    code, _, err = run(capsys, "weights", "model.pt", "--layer", "decoder")
    assert code == 1
    assert "no weight matrix matching decoder" in err
    code, _, err = run(capsys, "weights", "model.pt", "--plot", "w.txt")
    assert code == 1
    assert "--plot takes a file ending in" in err


def test_names_in_any_script_give_a_picture_without_warnings(capsys, folder):
    pytest.importorskip("matplotlib")
    torch.save({"\u5c42.weight": torch.randn(30, 40), "$x^{": torch.randn(30, 40)}, "names.pt")
    code, _, err = run(capsys, "weights", "names.pt", "--plot", "w.png")
    assert (code, err) == (0, "")
    assert (folder / "w.png").exists()


def test_objects_are_refused_without_running_their_code(capsys, folder):
    class Object:
        def __reduce__(self):
            return (open, (str(folder / "ran"), "w"))

    torch.save({"weight": torch.randn(30, 40), "other": Object()}, "objects.pt")
    code, out, err = run(capsys, "weights", "objects.pt")
    assert (code, out) == (1, "")
    assert "cannot be read safely" in err
    assert not (folder / "ran").exists()
