"""``spectra weights`` as a user runs it: exit codes, stdout, stderr and files."""

import csv
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


def test_options_for_keys_stacks_comparison_and_tables(capsys, folder):
    torch.save({"generator": {"w": torch.randn(4, 30, 40)}, "average": {"w": torch.randn(4, 30, 40)}}, "two.pt")
    code, _, err = run(capsys, "weights", "two.pt")
    assert (code, "(spectra weights: --key generator)" in err) == (1, True)
    code, out, err = run(
        capsys, "weights", "two.pt", "--key", "average", "--stack", "w", "--sort", "stable_rank", "--csv", "w.csv", "-q"
    )
    assert (code, err) == (0, "")
    assert out.startswith("WEIGHTS 4 matrices")
    assert "slice of a stack, as asked: 4 (" in out
    with (folder / "w.csv").open(newline="") as file:
        ranks = [float(row["stable_rank"]) for row in csv.DictReader(file)]
    assert ranks == sorted(ranks, reverse=True)
    code, out, err = run(capsys, "weights", "model.pt", "--against", "model.pt", "-o", "change.nc")
    assert code == 0, err
    assert out.startswith("CHANGES OF WEIGHTS 2 matrices: 2 unchanged\n")
    assert run(capsys, "weights", "change.nc", "--sort", "layer", "--csv", "c.csv")[0] == 0
    code, _, err = run(capsys, "weights", "model.pt", "--csv", "absent/w.csv")
    assert (code, "--csv takes a file" in err) == (1, True)
    # What cannot be sorted by is said, and the result is there all the same.
    code, out, err = run(capsys, "weights", "model.pt", "--sort", "size", "-o", "kept.nc")
    assert (code, "matrices are sorted by one of" in err) == (1, True)
    assert out.startswith("WEIGHTS 2 matrices")
    assert (folder / "kept.nc").exists()


def test_code_in_a_file_runs_only_when_it_is_trusted(capsys, folder):
    model = nn.Linear(30, 40)
    torch.save(model, "whole.pt")
    code, _, err = run(capsys, "weights", "whole.pt")
    assert (code, "--allow-pickle-from-trusted-source" in err) == (1, True)
    code, out, err = run(capsys, "weights", "whole.pt", "--allow-pickle-from-trusted-source")
    assert code == 0, err
    assert out.startswith("WEIGHTS 1 matrix")


def test_ctrl_c_saves_and_shows_what_was_done(capsys, folder, monkeypatch):
    from probes.weights import measure

    analyze, calls = measure.analyze_matrix, []

    def analyze_one(*arguments, **options):
        calls.append(1)
        if len(calls) > stop:
            raise KeyboardInterrupt
        return analyze(*arguments, **options)

    monkeypatch.setattr(measure, "analyze_matrix", analyze_one)
    stop = 1
    code, out, err = run(capsys, "weights", "model.pt", "-o", "part.nc")
    assert code == 130
    assert out.startswith("WEIGHTS 1 matrix")
    assert "interrupted: 1 more matrices were not reached" in out
    assert err == "interrupted; the 1 matrices that were done are in part.nc\n"
    assert spectra.load("part.nc")["layer"].values.tolist() == ["0.weight"]
    code, _, err = run(capsys, "weights", "model.pt")
    assert (code, err) == (130, "interrupted before the first matrix was done; nothing was saved\n")


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
