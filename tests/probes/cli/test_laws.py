"""``spectra laws`` as a user runs it: exit codes, stdout, stderr, files, and what is refused."""

import json

import numpy as np
import pytest

import spectra
from probes.cli.main import main

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X = np.random.default_rng(0).standard_normal((400, 200))
    X[:, :2] *= [2.0, 3.0]
    np.save("data.npy", X.astype(np.float32))
    np.save("matrix.npy", X[:200] + X[:200].T)
    np.savetxt("values.csv", np.linalg.eigvalsh(X.T @ X / 400))
    np.savez("several.npz", eigenvalues=np.linalg.eigvalsh(X.T @ X / 400), other=X)
    (tmp_path / "source.py").write_text("import numpy as np\n\ndef values():\n    return np.linspace(1, 2, 100)\n")
    return tmp_path


def run(capsys, *arguments):
    """Run the command in this process and return its exit code and what it printed."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_data_give_an_answer_a_file_and_a_picture(capsys, folder):
    code, out, err = run(capsys, "laws", "data.npy", "-o", "laws.nc", "--plot", "laws.png")
    assert code == 0, err
    assert out.startswith("LAW Marchenko-Pastur, bulk")
    assert ", 2 outliers above: SUPPORTED\n" in out
    assert err == "data.npy: array of shape (400, 200)\nwrote laws.nc\n"
    assert (folder / "laws.png").read_bytes().startswith(b"\x89PNG")
    assert spectra.load("laws.nc").attrs["source"] == "data.npy"
    again = run(capsys, "laws", "laws.nc", "--plot", "again.svg")
    assert (again[0], again[1]) == (0, out)
    code, out, err = run(capsys, "laws", "laws.nc", "--samples", "4", "--law", "f")
    assert (code, out) == (1, "")
    assert "--law, --samples need the spectrum, not a result file" in err


@pytest.mark.parametrize(
    ("arguments", "law"),
    [
        (("values.csv", "--samples", "400"), "marchenko_pastur"),
        (("values.csv", "--aspect-ratio", "0.5", "--method", "edge"), "marchenko_pastur"),
        (("several.npz", "--samples", "400"), "marchenko_pastur"),
        (("several.npz", "--array", "other", "--no-center", "--standardize"), "marchenko_pastur"),
        (("matrix.npy",), "semicircle"),
        (("matrix.npy", "--matrix", "data"), None),
        (("source.py:values", "--law", "semicircle"), None),
    ],
)
def test_every_source_as_json(capsys, arguments, law):
    code, out, err = run(capsys, "laws", *arguments, "--json", "-q")
    assert (code, err) == (0, "")
    found = json.loads(out, parse_constant=pytest.fail)
    assert found["schema"] == "spectra/laws-report"
    assert found["answer"]["law"] == law or (law is None and found["answer"]["law"] in (None, "generalized"))


def test_a_measured_run_and_a_weights_file_give_theirs(capsys):
    A = np.load("matrix.npy")
    spectra.save(spectra.slq(A, num_probes=3, num_steps=30), "measure.nc")
    code, out, err = run(capsys, "laws", "measure.nc")
    assert (code, err) == (0, "measure.nc: spectral measure of order 200\n")
    assert "ABOUT measure.nc: a spectral measure, 200 eigenvalues" in out
    tree = spectra.survey(A, num_probes=2, num_steps=20)
    spectra.save(tree, "survey.nc")
    assert run(capsys, "laws", "survey.nc", "-q")[0] in (0, 3)
    torch.manual_seed(0)
    torch.save({"first.weight": torch.randn(60, 80)}, "model.pt")
    run(capsys, "weights", "model.pt", "-o", "weights.nc", "-q")
    code, out, _ = run(capsys, "laws", "weights.nc", "--array", "first.weight", "--samples", "80", "-q")
    assert code == 0
    assert "divided by 80" in out
    assert "name one with --array" in run(capsys, "laws", "weights.nc")[2]


def test_what_cannot_be_relied_on_is_withheld(capsys):
    np.save("decay.npy", 1 / np.arange(1.0, 300.0) ** 2)
    np.save("one.npy", np.array([2.0]))
    for name in ("decay.npy", "one.npy"):
        code, out, _ = run(capsys, "laws", name, "--plot", "w.png")
        assert code == 3
        assert out.startswith("WITHHELD: ")


def test_the_list_and_the_laws(capsys, folder):
    code, out, err = run(capsys, "laws")
    assert (code, err) == (0, "")
    assert "tracy_widom" in out
    for name in ("marchenko_pastur", "Marchenko-Pastur", "MarchenkoPastur"):
        code, out, _ = run(capsys, "laws", name, "aspect_ratio=2", "variance=2")
        assert (code, out.partition("\n")[0]) == (0, "LAW MarchenkoPastur, aspect_ratio 2, variance 2")
    code, out, err = run(capsys, "laws", "tracy_widom", "beta=1", "--at", "2.5", "-o", "law.csv", "--plot", "law.png")
    assert (code, err) == (0, "wrote law.csv\n")
    assert "0.00434798" in out
    table = np.loadtxt("law.csv", delimiter=",", skiprows=1)
    assert (folder / "law.csv").read_text().startswith("x,pdf,cdf\n")
    assert table.shape == (201, 3)
    code, out, _ = run(capsys, "laws", "generalized", "values=1,10", "aspect_ratio=0.1", "-o", "law.nc", "-q")
    assert "Support [0.56090, 1.4273] and [6.0853, 15.027]." in out
    assert run(capsys, "laws", "law.nc")[:2] == (0, out)
    assert json.loads(run(capsys, "laws", "law.nc", "--json")[1])["schema"] == "spectra/law-report"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("semicircle", "--samples", "4"), 1, "--samples needs a file, not a law"),
        (("data.npy", "--at", "2"), 1, "--at needs the name of a law, not a file"),
        (("data.npy", "variance=2"), 1, "variance=2 needs the name of a law (marchenko_pastur, "),
        (("--samples", "4"), 1, "--samples needs a file"),
        (("jacobi",), 1, "lacks first_ratio, second_ratio"),
        (("semicircle", "variance=x"), 1, "variance takes a number"),
        (("semicircle", "2"), 1, "name=value"),
        (("tracy_widom", "beta=4"), 1, "beta must be 1"),
        (("semicircle", "-o", "law.txt"), 1, "law.txt"),
        (("absent.npy",), 1, "No such file"),
        (("absent",), 1, "there is no file or law 'absent'"),
        (("data.npy", "--law", "cauchy"), 2, "--law"),
        (("data.npy", "--level", "2"), 1, "level must lie"),
        (("data.npy", "--plot", "w.txt"), 1, "--plot takes a file ending in"),
        (("data.npy", "-o", "w.csv"), 1, "w.csv"),
        (("values.csv", "--method", "lanczos"), 1, "requires a spectral measure"),
        (("values.csv", "--law", "generalized"), 1, "requires the number of samples"),
    ],
)
def test_wrong_calls_are_one_message(capsys, arguments, code, said):
    found, out, err = run(capsys, "laws", *arguments, "-q")
    assert (found, out) == (code, "")
    assert said in err


def test_ctrl_c_ends_with_130(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("spectra.laws_analysis.analyze_spectrum", interrupted)
    code, out, err = run(capsys, "laws", "data.npy", "-q")
    assert (code, out, err) == (130, "", "interrupted; nothing was saved\n")
