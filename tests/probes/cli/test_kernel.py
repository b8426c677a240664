"""``spectra kernel`` as a user runs it: exit codes, stdout, stderr and files."""

import json
import subprocess
import sys

import numpy as np
import pytest

import spectra
from spectra.kernels import RBF, Laplace, Matern, leave_one_out, median_distance
from tests.probes.cli.test_main import TASKS, environment
from tests.spectra.kernels.ridge_problems import noisy_plane

torch = pytest.importorskip("torch")

from probes.cli.main import main  # noqa: E402

X, Y = noisy_plane(160, np.random.default_rng(5))
Y = Y[:, 0] + 3


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("plane.npz", X=X, y=Y)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def run(capsys, *arguments):
    """Run the command in this process and return its exit code and what it printed."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_answer_file_and_picture(capsys, folder):
    arguments = ["-k", "laplace", "--length-scale", "1.5", "-o", "k.nc", "--plot", "k.png"]
    code, out, err = run(capsys, "kernel", "plane.npz", *arguments)
    assert code == 0, err
    assert out.startswith("RIDGE ")
    assert "SUPPORTED" in out
    assert "The mean of the targets was subtracted." in out
    assert err == "plane.npz: 160 samples, kernel Laplace(length_scale=1.5)\nwrote k.nc\n"
    assert (folder / "k.png").read_bytes().startswith(b"\x89PNG")
    tree = spectra.load("k.nc")
    best = tree["best"].attrs["ridge"]
    own = leave_one_out(Laplace(1.5)(X), Y - Y.mean(), ridge=best)
    assert tree["risk"].attrs["risk"] == pytest.approx(own.risk, rel=1e-12)
    assert f"predicted test error {own.risk:.3f}" in out


def test_show_and_kernel_both_show_a_file(capsys, folder):
    run(capsys, "kernel", "plane.npz", "-o", "k.nc", "-q")
    for command in ("show", "kernel"):
        code, out, _ = run(capsys, command, "k.nc", "--plot", f"{command}.svg")
        assert code == 0
        assert out.startswith("RIDGE ")
        assert (folder / f"{command}.svg").exists()
    code, out, _ = run(capsys, "show", "k.nc", "--json")
    assert json.loads(out)["schema"] == "spectra/kernel-report"
    code, _, err = run(capsys, "kernel", "k.nc", "--kernel", "rbf", "--one-hot")
    assert code == 1
    assert "--kernel, --one-hot need the data" in err


def test_json_is_all_that_is_printed(capsys):
    code, out, err = run(capsys, "kernel", "plane.npz", "--json", "-q", "--ridge", "0.5", "--ridge", "2")
    assert (code, err) == (0, "")
    found = json.loads(out, parse_constant=pytest.fail)
    assert [row["ridge"] for row in found["dimension"]] == pytest.approx([0.5, 2.0])


def test_the_length_scale_is_the_median_distance_and_parameters_are_named(capsys):
    _, out, _ = run(capsys, "kernel", "plane.npz", "--json", "-q")
    assert json.loads(out)["attributes"]["kernel"] == str(RBF(median_distance(X)))
    _, out, _ = run(
        capsys, "kernel", "plane.npz", "--json", "-q", "-k", "matern", "-p", "nu=2.5", "--length-scale", "2"
    )
    assert json.loads(out)["attributes"]["kernel"] == str(Matern(2.0, nu=2.5))


def test_gram_matrices(capsys):
    K = Laplace(1.5)(X)
    np.savez("k.npz", K=K, y=Y)
    np.save("k.npy", K)
    code, out, _ = run(capsys, "kernel", "k.npz", "-q")
    assert code == 0
    assert "kernel precomputed" in out
    code, out, _ = run(capsys, "kernel", "k.npy", "-k", "precomputed", "-q")
    assert code == 0
    assert out.startswith("LAW polynomial")
    assert run(capsys, "kernel", "k.npz", "-k", "rbf")[0] == 1


def test_features_beside_a_gram_matrix(capsys):
    """The features count unless the matrix was asked for."""
    np.savez("both.npz", X=X, K=Laplace(1.5)(X), y=Y)
    code, out, _ = run(capsys, "kernel", "both.npz", "-q", "-k", "laplace", "--length-scale", "1.5")
    assert code == 0
    assert "The features were taken" in out
    asked = run(capsys, "kernel", "both.npz", "-q", "-k", "precomputed")[1]
    assert "kernel precomputed" in asked
    assert asked.splitlines()[0] == out.splitlines()[0]


def test_targets_that_are_missing_are_said_on_stderr_and_on_the_page(capsys):
    np.savez("lone.npz", X=X, price=Y)
    code, out, err = run(capsys, "kernel", "lone.npz")
    assert code == 0
    assert out.startswith("LAW ")
    assert err.endswith(", no targets\n")
    assert "X, price with --target" in " ".join(out.split())
    assert run(capsys, "kernel", "lone.npz", "-q", "--target", "price")[1].startswith("RIDGE ")


def test_the_ridge_of_drawn_rows_is_given_for_all_samples(capsys):
    code, out, _ = run(capsys, "kernel", "plane.npz", "-q", "--max-dense", "80")
    found = " ".join(out.split())
    assert code == 0
    assert "The ridge is that of 80 rows; for all 160 samples take" in found
    assert "Measured on 80 samples that were not drawn" in found


def test_outputs_that_are_too_many_for_a_trace_are_refused_at_once(capsys, monkeypatch):
    import probes.cli.kernel_task as home

    monkeypatch.setattr(home, "MAX_PASSES", 100)
    code, out, err = run(capsys, "kernel", f"{TASKS}:classifier")
    assert (code, out) == (1, "")
    assert "use --outputs sum" in err
    code, _, err = run(capsys, "kernel", f"{TASKS}:classifier", "--outputs", "sum")
    assert code in (0, 3)
    assert err.startswith("forming the tangent kernel of")


def test_standardized_features_and_classes(capsys):
    wide = X * [1.0, 1e4]
    np.savez("wide.npz", X=wide, y=np.where(Y > 3, "yes", "no"))
    code, out, _ = run(capsys, "kernel", "wide.npz", "-q", "--standardize")
    assert code == 0
    assert "Features were scaled to mean 0 and variance 1." in out
    assert "Targets encoded as 2 columns" in out
    assert "differ by a factor" not in out
    assert "differ by a factor" in run(capsys, "kernel", "wide.npz", "-q")[1].replace("\n  ", " ")


def test_withheld_is_exit_code_3(capsys):
    np.savez("noise.npz", X=X, y=np.random.default_rng(1).standard_normal(160))
    code, out, _ = run(capsys, "kernel", "noise.npz", "-q", "-k", "polynomial", "-p", "degree=9", "-p", "gamma=1")
    assert code == 3
    assert out.startswith("WITHHELD")


@pytest.mark.parametrize("task", ["classifier", "least_squares"])
def test_the_tangent_kernel_of_a_task(capsys, task):
    code, out, err = run(capsys, "kernel", f"{TASKS}:{task}", "--threads", "1")
    assert code in (0, 3), err
    assert "tangent kernel of" in out.lower()
    assert "`spectra dynamics` checks" in out.replace("\n  ", " ")
    if task == "least_squares":
        # Six features and no bias: the kernel is that of the inputs.
        assert "LAW finite rank: eigenvalues fall to a finite rank, 6" in out


def test_the_tangent_kernel_of_a_linear_model_predicts_what_ridge_regression_does(capsys):
    """Noise of variance 1/4 and six features: the error is close to 1/4 (1 + 6/n)."""
    _, out, _ = run(capsys, "kernel", f"{TASKS}:least_squares", "--json", "-q")
    found = json.loads(out)["answer"]
    assert found["test_error_low"] < 0.25 * (1 + 6 / 256) < found["test_error_high"]


def test_options_that_do_not_fit_are_refused(capsys):
    for arguments, message in (
        (("plane.npz", "--checkpoint", "a.pt"), "--checkpoint needs a task"),
        ((f"{TASKS}:classifier", "-k", "rbf"), "a task has a kernel"),
        (("plane.npz", "-p", "nu"), "name=value"),
        (("plane.npz", "--ridge", "-2"), "--ridge must be finite and at least 0; got -2"),
        (("plane.npz", "--ridge", "nan"), "--ridge must be finite"),
        (("plane.npz", "-p", "nu=two"), "takes a number"),
        (("plane.npz", "-k", "gaussian"), "must be one of rbf, laplace"),
        (("plane.npz", "-k", "rbf", "-p", "nu=2"), "no parameter 'nu'"),
        (("plane.npz", "--plot", "a.jpg"), "--plot takes"),
        (("plane.npz", "-o", "a.txt"), "ends in .nc"),
        (("absent.npz",), "No such file"),
        (("math:pi",), "must be a data set or a function"),
        (("sklearn.datasets:get_data_home",), "must return (X, y)"),
    ):
        code, out, err = run(capsys, "kernel", *arguments)
        assert (code, out) == (1, ""), arguments
        assert message in err, err
        assert "Traceback" not in err


def test_bad_data_are_one_clear_sentence(capsys):
    for name, arrays, message in (
        ("nan", {"X": np.where(X[0, 0] == X, np.nan, X), "y": Y}, "finite"),
        ("short", {"X": X, "y": Y[:-1]}, "160 samples and 159 targets"),
        ("absent", {"X": X, "y": np.where(Y[2] == Y, np.inf, Y)}, "row 2 holds NaN or infinity"),
        ("huge", {"X": X, "y": Y * 1e160}, "choose another unit"),
        ("small", {"X": X, "y": Y * 1e-160}, "choose another unit"),
        ("none", {"X": X[:0], "y": Y[:0]}, "no samples"),
        ("skew", {"K": np.triu(np.ones((5, 5))), "y": np.arange(5.0)}, "must be symmetric"),
        ("indefinite", {"K": np.array([[1.0, 2.0], [2.0, 1.0]])}, "must be positive semidefinite"),
        ("wide", {"K": np.ones((3, 2))}, "must be square"),
        ("complex", {"X": X + 1j, "y": Y}, "real"),
    ):
        np.savez(f"{name}.npz", **arrays)
        code, out, err = run(capsys, "kernel", f"{name}.npz", "-q")
        assert (code, out) == (1, ""), name
        assert message in err, err


def test_an_interrupt_keeps_what_was_found(capsys, monkeypatch):
    import spectra.kernels.analysis as home

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(home, "learning_curve", interrupted)
    code, out, err = run(capsys, "kernel", "plane.npz", "-o", "k.nc", "-q")
    assert (code, out) == (130, "")
    assert "what was found is in k.nc" in err
    code, out, _ = run(capsys, "show", "k.nc")
    assert code == 0
    assert out.startswith("RIDGE ")
    assert "INTERRUPTED" in out


def test_data_need_no_torch(folder):
    program = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Absent())
from probes.cli.main import main
sys.exit(main(["kernel", "plane.npz", "-q", "--threads", "1"]))
"""
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, env=environment(), check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("RIDGE ")
