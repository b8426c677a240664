"""``spectra recommend``: what is refused and how, what is written, and what goes on after an interruption."""

import json
import signal
import subprocess
import time

import pytest

from tests.probes.cli.test_main import TASKS, command, environment, spectra

torch = pytest.importorskip("torch")


def failed_claims(stdout: str) -> list[str]:
    """Return the claims that failed, from JSON."""
    data = json.loads(stdout)
    checks = data["recommendations"]["learning_rate"]["checks"]
    return [check["claim"] for check in checks if not check["passed"]]


@pytest.mark.parametrize(
    ("task", "arguments", "claim", "words"),
    [
        ("classifier", ["-o", "lion"], "the optimizer has a known stable limit", "signs"),
        ("classifier", ["-o", "Schedule-Free"], "the optimizer has a known stable limit", "schedulefree"),
        ("no_such_task", ["-o", "adma"], "the optimizer is known", "did you mean adam"),
        ("classifier", ["-b", "1000"], "the batch fits into the data", "256 samples"),
        ("nan_loss", ["-o", "sgd"], "the loss is finite, also after gentle steps", "NaN"),
        ("random_forward", ["-o", "sgd"], "the forward pass is deterministic", "random"),
    ],
)
def test_refusals_end_with_exit_code_3_and_name_the_check(task, arguments, claim, words, tmp_path):
    result = spectra("recommend", f"{TASKS}:{task}", *arguments, "--json", cwd=tmp_path)
    assert result.returncode == 3, result.stderr
    assert failed_claims(result.stdout) == [claim]
    assert words in result.stdout
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_refused_page_is_written_as_every_other(tmp_path):
    files = ["--markdown", "page.md", "--html", "page.html", "--output", "advice"]
    result = spectra("recommend", f"{TASKS}:nan_loss", "-o", "sgd", *files, cwd=tmp_path)
    assert result.returncode == 3, result.stderr
    assert "WITHHELD" in result.stdout
    for name in ("page.md", "page.html", "advice/report.md", "advice/report.html"):
        assert "the loss is finite" in (tmp_path / name).read_text()
    assert not (tmp_path / "advice" / "recommendation.png").exists()


def test_an_unsupported_optimizer_is_measured_and_its_run_says_the_same(tmp_path):
    arguments = ["-o", "muon", "--output", "advice", "--quiet"]
    first = spectra("recommend", f"{TASKS}:classifier", *arguments, cwd=tmp_path)
    again = spectra("recommend", "advice/run.nc", cwd=tmp_path)
    assert (first.returncode, again.returncode) == (3, 3)
    assert first.stdout == again.stdout
    assert "curvature" in first.stdout


def test_measure_refuses_with_exit_code_1(tmp_path):
    for arguments, words in (
        (["-b", "1000"], "256 samples"),
        (["--optimizer", "adma"], "did you mean adam"),
    ):
        result = spectra("measure", f"{TASKS}:classifier", "-o", "run.nc", *arguments, cwd=tmp_path)
        assert result.returncode == 1, result.stdout
        assert words in result.stderr
    result = spectra("measure", f"{TASKS}:nan_loss", "-o", "run.nc", cwd=tmp_path)
    assert result.returncode == 1
    assert "NaN" in result.stderr


def test_effective_batch_clipping_and_schedule_reach_the_lines_to_paste(tmp_path):
    arguments = ["-o", "nesterov", "--momentum", "0.8", "--micro-batch-size", "4", "--accumulation", "4"]
    arguments += ["--world-size", "2", "--clip-norm", "0.5", "--schedule", "linear", "--json"]
    result = spectra("recommend", f"{TASKS}:classifier", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["batch_size"] == 32
    assert data["optimizer"]["kind"] == "nesterov"
    assert "momentum=0.8, nesterov=True" in data["paste"]["torch"]
    assert "clip_grad_norm_(model.parameters(), 0.5)" in data["paste"]["torch"]
    assert "accumulate_grad_batches=4, devices=2, gradient_clip_val=0.5" in data["paste"]["lightning"]
    assert "per_device_train_batch_size=4" in data["paste"]["transformers"]
    for repeated in ("--micro-batch-size 4", "--accumulation 4", "--world-size 2", "--clip-norm 0.5", "--momentum 0.8"):
        assert repeated in data["next_command"]
    assert "--schedule linear" in data["next_command"]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """Return a folder with a model and an optimizer state of a few steps, in two parameter groups."""
    from tests.probes import small_tasks

    folder = tmp_path_factory.mktemp("resumed")
    task = small_tasks.classifier()
    names = list(task.model.named_parameters())
    groups = [{"params": names[:2]}, {"params": names[2:], "lr": 5e-4}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        task.loss(task.model(task.data[0][0]), task.data[0][1]).backward()
        optimizer.step()
    torch.save(task.model.state_dict(), folder / "model.pt")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    return folder


def test_a_checkpoint_and_an_optimizer_state_are_resumed(resumed):
    files = ["--checkpoint", "model.pt", "--optimizer-state", "optimizer.pt"]
    result = spectra("recommend", f"{TASKS}:classifier", *files, "-b", "32", "--json", cwd=resumed)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["optimizer"]["kind"] == "adamw"
    assert data["optimizer"]["weight_decay"] == 0.1
    assert data["run"]["is_trained"] == 1
    assert json.loads(data["run"]["group_ratios"]) == [1.0, 0.5]
    assert "in zip(optimizer.param_groups, (" in data["paste"]["torch"]
    assert "--checkpoint model.pt" in data["next_command"]
    assert "--optimizer-state optimizer.pt" in data["next_command"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "sgd"], "adamw, not of sgd"),
        (["--weight-decay", "0.1"], "leave --weight-decay out"),
    ],
)
def test_an_optimizer_state_does_not_go_with_everything(arguments, words, resumed):
    files = ["--optimizer-state", "optimizer.pt"]
    result = spectra("recommend", f"{TASKS}:classifier", *files, *arguments, cwd=resumed)
    assert result.returncode == 1
    assert words in result.stderr


def test_a_device_that_is_not_there_is_named(tmp_path):
    for name in (["recommend"], ["measure", "-o", "run.nc"], ["spectrum"]):
        result = spectra(*name, f"{TASKS}:classifier", "--device", "nonsense", cwd=tmp_path)
        assert result.returncode == 1
        assert "--device nonsense" in result.stderr


def test_a_run_file_takes_what_can_still_change_and_refuses_the_rest(tmp_path):
    arguments = ["-o", "run.nc", "--optimizer", "sgd", "-b", "32", "--num-probes", "0"]
    assert spectra("measure", f"{TASKS}:classifier", *arguments, cwd=tmp_path).returncode == 0
    result = spectra("recommend", "run.nc", "--accumulation", "4", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "accumulate_grad_batches=4" in json.loads(result.stdout)["paste"]["lightning"]
    result = spectra("recommend", "run.nc", "--weight-decay", "0.1", cwd=tmp_path)
    assert result.returncode == 1
    assert "--weight-decay cannot change it" in result.stderr
    result = spectra("recommend", "run.nc", "-b", "1000", "--json", cwd=tmp_path)
    assert result.returncode == 3
    assert failed_claims(result.stdout) == ["the batch fits into the data"]


def test_no_spectrum_is_measured_unless_asked_for(tmp_path):
    for arguments, expected in (([], False), (["--num-probes", "2", "--num-steps", "5"], True)):
        result = spectra(
            "recommend",
            f"{TASKS}:classifier",
            "-o",
            "sgd",
            "--candidate-steps",
            "0",
            "--output",
            "a",
            *arguments,
            cwd=tmp_path,
        )
        assert result.returncode in (0, 3), result.stderr
        import spectra as package

        assert ("spectrum" in package.load(tmp_path / "a" / "run.nc").children) == expected


def interrupted(arguments: list[object], *, once, folder) -> subprocess.CompletedProcess[str]:
    """Run a command and send Ctrl-C as soon as ``once()`` holds."""
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A background job of a shell without job control ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 200
    while not once() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=100)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.mark.parametrize("subcommand", ["measure", "recommend"])
def test_control_c_saves_what_was_measured_and_recommend_makes_of_it_what_it_can(subcommand, tmp_path):
    path = tmp_path / ("run.nc" if subcommand == "measure" else "advice/run.nc")
    target = ["-o", "run.nc", "--optimizer", "sgd"] if subcommand == "measure" else ["--output", "advice", "-o", "sgd"]
    result = interrupted([subcommand, f"{TASKS}:slow", *target], once=path.exists, folder=tmp_path)
    assert result.returncode == 130, result.stderr
    assert str(path.relative_to(tmp_path)) in result.stderr
    assert "Traceback" not in result.stderr
    shown = spectra("show", path, cwd=tmp_path)
    assert "status: interrupted" in shown.stdout
    again = spectra("recommend", path, "--json", cwd=tmp_path)
    assert again.returncode == 3, again.stderr
    assert "the measurement ran to its end" in failed_claims(again.stdout)
    assert json.loads(again.stdout)["stages"][0]["curvature"] > 0
