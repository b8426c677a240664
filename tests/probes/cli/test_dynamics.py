"""``spectra dynamics`` as a user runs it: exit codes, stdout, stderr and files."""

import json
import signal
import subprocess
import time

import pytest
import xarray as xr

import spectra
from spectra.dynamics import CLOSURES, best_learning_rate, sgd_curve, sgd_curves
from spectra.dynamics_tree import problem_of
from tests.probes.cli.test_main import TASKS, command, environment
from tests.spectra.dynamics_problems import gaussian, prediction

torch = pytest.importorskip("torch")

from probes.cli.dynamics import ClosureName  # noqa: E402
from probes.cli.main import main  # noqa: E402

REGRESSION = f"{TASKS}:least_squares"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def run(capsys, *arguments):
    """Run the command in this process and return its exit code and what it printed."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(scope="module")
def result_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("dynamics") / "d.nc"
    arguments = ["--steps", "30", "-b", "200", "--threads", "1", "-q", "-o", str(path)]
    assert main(["dynamics", REGRESSION, *arguments]) == 0
    return path


def test_answer_file_and_picture(capsys, folder):
    arguments = ["--steps", "30", "-b", "200", "-b", "8", "-o", "d.nc", "--plot", "d.png", "--threads", "1"]
    code, out, err = run(capsys, "dynamics", REGRESSION, *arguments)
    assert code == 0, err
    assert out.startswith("LEARNING RATE ")
    assert "for 30 steps (23.4 epochs) at batch size 200" in out.splitlines()[0]
    for word in (
        "CONFIRMED",
        "30 of 30",
        "training steps",
        "HOW LONG REAL TRAINING FOLLOWS THE PREDICTION: 8 runs",
        "trace",
    ):
        assert word in out
    assert err == "wrote d.nc\n"
    assert sorted(path.name for path in folder.iterdir()) == ["d.nc", "d.png"]
    assert (folder / "d.png").read_bytes().startswith(b"\x89PNG")


def test_the_model_that_is_linear_is_predicted(result_file):
    """Linear regression is its own linearization: the runs agree with the prediction within their scatter."""
    tree = spectra.load(result_file)
    problem = problem_of(tree)
    best = best_learning_rate(problem, closure="kurtosis", num_steps=30, batch_size=200)
    assert float(tree["best"]["learning_rate"].values[0]) == best.value
    check = tree["check"].to_dataset()
    assert check["is_trusted_throughout"].values.all()
    assert check.attrs["num_runs"] == 8
    assert check.sizes["learning_rate"] == 3
    assert tree.attrs["status"] == "complete"
    curve = sgd_curve(problem, closure="kurtosis", learning_rate=best.value, batch_size=200, num_steps=30)
    row = check.sel(learning_rate=best.value)
    assert row["predicted_loss"].values[-1] == pytest.approx(curve["loss"].values[-1])


def test_show_prints_the_same_and_a_file_predicts_the_same(capsys, result_file):
    shown = run(capsys, "show", result_file, "--plot", "again.svg")
    assert shown[0] == 0
    again = run(capsys, "dynamics", result_file)
    assert again[0] == 0

    def without_cost(text):
        return [line for line in text.splitlines() if "cost:" not in line]

    assert without_cost(again[1]) == without_cost(shown[1])
    assert spectra.load(result_file)["check"].attrs["batch_size"] == 200
    data = json.loads(run(capsys, "show", result_file, "--json")[1], parse_constant=pytest.fail)
    assert data["answer"]["verdict"] == "confirmed"


@pytest.mark.parametrize("closure", ["exact", "row_resolved"])
def test_files_without_samples_refuse_closures_that_follow_them(capsys, result_file, closure):
    code, _, err = run(capsys, "dynamics", result_file, "--closure", closure)
    assert code == 1
    assert f"--closure {closure} follows the samples" in err
    assert "use kurtosis, limit" in err


def test_a_file_is_predicted_anew_without_the_model(capsys, result_file):
    arguments = ["--momentum", "0.5", "--nesterov", "-b", "16", "--steps", "12", "--learning-rate", "0.01", "--json"]
    code, out, err = run(capsys, "dynamics", result_file, *arguments, "-o", "e.zarr")
    assert code == 0, err
    data = json.loads(out, parse_constant=pytest.fail)
    assert data["attributes"]["momentum"] == 0.5
    assert data["attributes"]["nesterov"] == 1
    assert data["attributes"]["task"] == REGRESSION
    assert data["answer"]["verdict"] == "tentative"
    problem = problem_of(spectra.load(result_file))
    curve = sgd_curve(
        problem, closure="kurtosis", learning_rate=0.01, batch_size=16, num_steps=12, momentum=0.5, nesterov=True
    )
    assert data["curves"][0]["loss"] == curve["loss"].values.tolist()
    # What was set stays set, and momentum can be taken away again.
    kept = json.loads(run(capsys, "dynamics", "e.zarr", "--steps", "3", "--json")[1])["attributes"]
    assert (kept["momentum"], kept["nesterov"], kept["closure"], kept["num_steps"]) == (0.5, 1, "kurtosis", 3)
    third = run(capsys, "dynamics", "e.zarr", "--momentum", "0", "--closure", "gaussian", "--json")
    data = json.loads(third[1])
    assert (data["attributes"]["momentum"], data["attributes"]["closure"]) == (0.0, "gaussian")
    assert data["answer"]["batch_size"] == 16
    assert data["answer"]["num_steps"] == 12


def test_a_quadratic_alone_is_a_file_too(capsys):
    spectra.save(gaussian().to_dataset(), "q.nc")
    code, out, _ = run(capsys, "dynamics", "q.nc")
    assert code == 0
    assert "for 20 steps (6.40 epochs) at batch size 64" in out.splitlines()[0]
    code, out, _ = run(capsys, "show", "q.nc")
    assert code == 0
    assert out.startswith("NOT PREDICTED")


def test_show_lists_curves_grids_and_simulations(capsys):
    problem = gaussian()
    spectra.save(sgd_curve(problem, closure="limit", learning_rate=0.1, num_steps=50), "curve.nc")
    grid = sgd_curves(problem, closure="limit", learning_rates=[0.1, 0.2], batch_sizes=[1, 2], num_steps=9)
    spectra.save(grid, "grid.nc")
    check = prediction(num_steps=5)["curves"].to_dataset().isel(learning_rate=0, batch_size=0)
    simulation = check.assign(stderr=0.1 * check["loss"]).assign_attrs(schema="spectra/simulation", schema_version=1)
    spectra.save(simulation, "simulation.nc")
    for name, words in (("curve", "noise free loss"), ("grid", "batch size"), ("simulation", "stderr")):
        code, out, err = run(capsys, "show", f"{name}.nc")
        assert code == 0, err
        assert words in out
        assert "LOSS" in out
        assert json.loads(run(capsys, "show", f"{name}.nc", "--json")[1], parse_constant=pytest.fail)["curve"]


def test_withheld_ends_with_3_and_the_numbers(capsys):
    """At initialization a classifier learns features long before the linearized model has fitted the data."""
    code, out, err = run(capsys, "dynamics", f"{TASKS}:classifier", "--steps", "300", "--threads", "1")
    assert code == 3, (out, err)
    assert out.startswith("WITHHELD: no learning rate for 300 steps")
    assert "stays within 10% of the measured loss up to step" in " ".join(out.split())
    assert "BEST LEARNING RATE" in out


def test_no_real_training_is_tentative(capsys):
    arguments = ["--check-runs", "0", "--steps", "10", "--json", "--threads", "1"]
    code, out, _ = run(capsys, "dynamics", f"{TASKS}:classifier", *arguments)
    assert code == 0
    data = json.loads(out)
    assert data["answer"]["verdict"] == "tentative"
    assert data["check"] is None
    assert data["curves"][0]["batch_size"] == 64


def test_checkpoint_is_what_is_linearized(capsys):
    from tests.probes import small_tasks

    task = small_tasks.least_squares()
    torch.save({"weight": torch.arange(1.0, 7.0, dtype=torch.float64)[None]}, "w.pt")
    arguments = ["--checkpoint", "w.pt", "--check-runs", "0", "--steps", "5", "--json", "-q", "--threads", "1"]
    code, out, err = run(capsys, "dynamics", REGRESSION, *arguments)
    assert code == 0, err
    problem = json.loads(out)["problem"]
    task.model.load_state_dict(torch.load("w.pt"))
    with torch.no_grad():
        loss = float(task.loss(task.model(task.data[0][0]), task.data[0][1]))
    assert problem["loss"] == pytest.approx(loss, rel=1e-6)


def test_closures_are_those_of_the_library():
    assert tuple(name.value for name in ClosureName) == CLOSURES


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([REGRESSION, "--closure", "best"], 2, "closure"),
        ([REGRESSION, "--closure", "exact"], 1, "limit, gaussian or continuous"),
        ([REGRESSION, "--learning-rate", "-0.1"], 1, "must be positive"),
        ([REGRESSION, "--learning-rate", "nan"], 1, "must be positive and finite"),
        ([REGRESSION, "-b", "257"], 1, "257 does not fit into 256"),
        ([REGRESSION, "-b", "0"], 2, "batch-size"),
        ([REGRESSION, "--steps", "0"], 2, "steps"),
        ([REGRESSION, "--momentum", "1"], 1, "momentum"),
        ([REGRESSION, "--nesterov"], 1, "momentum"),
        ([REGRESSION, "--check-runs", "1"], 1, "at least 2 runs"),
        ([REGRESSION, "-o", "out.txt"], 1, ".nc"),
        ([REGRESSION, "-o", "missing/out.nc"], 1, "missing"),
        ([f"{TASKS}:frozen"], 1, "no trainable parameter"),
        ([f"{TASKS}:sum_loss"], 1, "reduction='mean'"),
        ([f"{TASKS}:nan_loss"], 1, "NaN"),
        ([f"{TASKS}:nothing"], 1, "nothing"),
        (["missing.nc"], 1, "no file"),
        (["pairs.nc"], 1, "spectra dynamics TASK -o"),
        (["run.nc"], 1, "spectra dynamics TASK -o"),
        (["damaged.nc"], 1, "damaged"),
        (["q.nc", "--check-runs", "4"], 1, "--check-runs needs the task"),
        (["q.nc", "--check-runs", "0"], 1, "--check-runs needs the task"),
        (["q.nc", "--checkpoint", "a.pt"], 1, "--checkpoint needs the task"),
        (["q.nc", "--seed", "0", "--threads", "1"], 1, "--seed, --threads need the task"),
        (["q.nc", "--max-trace-products", "9"], 1, "--max-trace-products needs the task"),
        (["q.nc", "--plot", "missing/a.png"], 1, "missing"),
        ([REGRESSION, "--plot", "missing/a.png"], 1, "missing"),
        ([REGRESSION, "--plot", "a.jpg"], 1, ".png, .svg, .pdf"),
        ([f"{TASKS}:with_dropout"], 1, "Call model.eval() first."),
        (["q.nc", "--closure", "exact"], 1, "exact"),
        (["q.nc", "-b", "201"], 1, "201 does not fit into 200"),
        ([], 2, "TASK_OR_FILE"),
    ],
)
def test_bad_input_ends_with_one_clear_message(capsys, folder, arguments, code, words):
    pairs = xr.Dataset({"eigenvalue": ("pair", [2.0]), "residual": ("pair", [1e-9])})
    spectra.save(pairs.assign_attrs(schema="spectra/eigenpairs", schema_version=1), "pairs.nc")
    run_attrs = {"schema": "spectra/run", "schema_version": 2}
    spectra.save(xr.DataTree.from_dict({"/": xr.Dataset(attrs=run_attrs), "/stages": xr.Dataset()}), "run.nc")
    spectra.save(gaussian().to_dataset(), "q.nc")
    (folder / "damaged.nc").write_bytes(b"\x89HDF\r\n\x1a\n")
    before = sorted(folder.iterdir())
    found = run(capsys, "dynamics", *arguments)
    assert found[0] == code, found
    assert words in " ".join(found[2].replace("│", " ").split())
    assert "Traceback" not in found[2]
    assert "unexpected" not in found[2]
    assert "dropout_seed" not in found[2]
    assert found[1] == ""
    assert sorted(folder.iterdir()) == before


def test_a_tree_without_its_prediction_is_predicted_from(capsys):
    """What an interrupted command leaves."""
    from spectra.dynamics_tree import problem_tree

    spectra.save(problem_tree(gaussian()), "i.nc")
    code, out, _ = run(capsys, "dynamics", "i.nc", "--steps", "7")
    assert code == 0
    assert "for 7 steps" in out.splitlines()[0]


def test_ctrl_c_keeps_what_was_measured(folder):
    process = subprocess.Popen(
        command("dynamics", f"{TASKS}:slow", "-o", "d.nc", "--steps", "2000", "--threads", "1"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell without job control ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 200
    while not (folder / "d.nc").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert "what was measured is in d.nc" in stderr
    assert "Traceback" not in stderr
    assert problem_of(spectra.load(folder / "d.nc")).num_samples == 256


def test_a_picture_is_refused_before_anything_is_measured(capsys, monkeypatch):
    import probes.linearized

    monkeypatch.setattr(probes.linearized, "linearize", lambda *_, **__: pytest.fail("measured first"))
    for name in ("a.jpg", "missing/a.png"):
        assert run(capsys, "dynamics", REGRESSION, "--plot", name)[0] == 1


def test_rows_that_were_finished_are_kept_when_the_check_is_interrupted(capsys, monkeypatch):
    import probes.linearization_check

    whole, calls = probes.linearization_check.check_linearization, []

    def interrupted(*arguments, **options):
        calls.append(options["learning_rate"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(probes.linearization_check, "check_linearization", interrupted)
    code, out, err = run(capsys, "dynamics", REGRESSION, "--steps", "5", "-o", "d.nc", "--threads", "1")
    assert (code, out) == (130, "")
    assert "what was measured is in d.nc" in err
    tree = spectra.load("d.nc")
    assert tree.attrs["status"] == "interrupted"
    assert sorted(calls[:2]) == tree["check"]["learning_rate"].values.tolist()


def test_a_check_under_other_settings_does_not_confirm(capsys, result_file):
    """Confirmed at 30 steps of plain SGD at batch size 200: what is asked for differs in one setting each time."""
    same = json.loads(run(capsys, "dynamics", result_file, "--json")[1])
    assert same["answer"]["verdict"] == "confirmed"
    for other in (["--closure", "gaussian"], ["--momentum", "0.01"], ["-b", "199", "--steps", "30"]):
        data = json.loads(run(capsys, "dynamics", result_file, *other, "--json")[1])
        assert data["answer"]["verdict"] == "tentative"
        assert "not compared with training at this setting; with batch size 200" in data["answer"]["why"]


def test_what_was_typed_is_trained_else_three_rates(capsys):
    for options, count in ((["--learning-rate", "0.001", "--learning-rate", "0.002"], 3), ([], 3)):
        arguments = ["--steps", "5", "--check-runs", "2", "--json", "-q", "--threads", "1", *options]
        rows = json.loads(run(capsys, "dynamics", REGRESSION, *arguments)[1])["check"]["rows"]
        assert len(rows) == count
    rates = [row["learning_rate"] / rows[-1]["learning_rate"] for row in rows]
    assert rates == pytest.approx([0.1, 0.3, 1.0], rel=0.01)


def test_trained_to_the_minimum_there_is_nothing_to_gain(capsys, folder):
    weight = torch.linalg.lstsq(*regression_data()).solution.T
    torch.save({"weight": weight}, "w.pt")
    code, out, _ = run(capsys, "dynamics", REGRESSION, "--checkpoint", "w.pt", "-q", "--threads", "1")
    assert code == 3
    assert "nothing to gain at this state, as no learning rate is predicted" in out.splitlines()[0]
    assert "CONFIRMED" not in out


def regression_data():
    from tests.probes.small_tasks import least_squares

    return least_squares().data[0]


@pytest.mark.parametrize(("options", "products"), [([], 240), (["--max-trace-products", "7"], 7)])
def test_the_products_of_the_trace_can_be_set(capsys, monkeypatch, options, products):
    import probes.linearized

    whole, seen = probes.linearized.linearize, []

    def linearize(*arguments, **settings):
        seen.append(settings["max_trace_products"])
        return whole(*arguments, **settings)

    monkeypatch.setattr(probes.linearized, "linearize", linearize)
    assert run(capsys, "dynamics", REGRESSION, "--steps", "5", "--check-runs", "0", "--threads", "1", *options)[0] == 0
    assert seen == [products]


def test_a_measured_run_may_hold_the_linearized_problem(capsys):
    """One file for a recommendation and for predicted curves; without the flag one message says what to do."""
    options = ["--optimizer", "sgd", "--candidate-steps", "0", "--num-probes", "0", "-q"]
    assert run(capsys, "measure", REGRESSION, "-o", "run.nc", "--batch-size", "8", *options, "--linearize")[0] == 0
    code, out, err = run(capsys, "dynamics", "run.nc", "--steps", "10", "--json")
    assert code == 0, err
    data = json.loads(out, parse_constant=pytest.fail)
    assert data["attributes"]["num_steps"] == 10
    assert run(capsys, "recommend", "run.nc")[0] in (0, 3)
    assert run(capsys, "measure", REGRESSION, "-o", "bare.nc", "--batch-size", "8", *options)[0] == 0
    code, _, err = run(capsys, "dynamics", "bare.nc")
    assert code == 1
    assert "--linearize" in err
