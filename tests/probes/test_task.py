"""Tasks and how they are loaded."""

import sys

import pytest
import torch
from torch import nn

from probes import Task, load_task
from spectra.errors import CheckpointError, SpectraError, TaskError
from tests.probes.networks import labels, mlp, normal

HEADER = """
import torch
from probes import Task

DATA = [(torch.zeros(3, 2), torch.zeros(3, 1))]

def task():
    return Task(torch.nn.Linear(2, 1), torch.nn.MSELoss(), DATA, name="mine")

READY = task()
def wrong(): return 3
def failing(): raise KeyError("weights")
def needs(path): return task()
number = 3
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    (tmp_path / "my_task.py").write_text(HEADER)
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "my_task.py"
    for name in [name for name in sys.modules if "my_task" in name]:
        del sys.modules[name]


@pytest.mark.parametrize("form", ["my_task:task", "my_task:READY", "my_task.py:task", "./my_task.py:READY"])
def test_load(source, form):
    before = list(sys.path)
    task = load_task(form)
    assert task.name == "mine"
    assert sys.path == before
    assert load_task(f"{source}:task").name == "mine"


def test_a_shipped_example():
    assert load_task("probes.examples:digits_mlp").name == "digits_mlp"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("my_task", "package.module:function"),
        ("my_task:", "package.module:function"),
        (":task", "package.module:function"),
        ("no_such_module:task", "no module 'no_such_module'"),
        ("my_task.sub:task", "no module"),
        ("no_such_file.py:task", "no file no_such_file.py"),
        ("my_task:tsk", "Did you mean task"),
        ("my_task:wrong", "must return a probes.Task; it returned int 3"),
        ("my_task:number", "it is int 3"),
        ("my_task:failing", "failed while building the task: KeyError: 'weights'"),
        ("my_task:needs", "missing 1 required positional argument"),
    ],
)
def test_messages(source, form, message):
    before = list(sys.path)
    with pytest.raises(TaskError, match=message):
        load_task(form)
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def task(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize("form", ["broken.py:task", "broken:task"])
def test_errors_while_importing_are_chained(source, text, message, form):
    source.with_name("broken.py").write_text(text)
    with pytest.raises(TaskError, match=message) as caught:
        load_task(form)
    assert caught.value.__cause__ is not None
    assert not [name for name in sys.modules if name.startswith("_probes_task_broken")]


def test_a_file_may_import_its_neighbor(source):
    source.with_name("neighbor_of_my_task.py").write_text("SIZE = 2")
    source.with_name("main.py").write_text("from neighbor_of_my_task import SIZE\n" + HEADER)
    assert load_task(f"{source.with_name('main.py')}:task").name == "mine"


class _Unsafe:
    def __reduce__(self):
        return (print, ("code in a checkpoint has run",))


def test_an_unsafe_checkpoint_is_refused(source, capsys):
    torch.save(_Unsafe(), source.with_name("model.pt"))
    source.write_text("import torch\ndef task(): return torch.load('model.pt')")
    with pytest.raises(CheckpointError, match="could not be read safely"):
        load_task("my_task.py:task")
    assert "has run" not in capsys.readouterr().out


def test_fields():
    model, data = mlp(), [(normal(5, 6), labels(5))]
    task = Task(model, nn.CrossEntropyLoss(), data, parameters=("0",), description="a test")
    assert task.name == "Sequential"
    assert not task.pretrained
    assert task.batches is task.batches
    assert task.samples().num_samples == 5
    assert task.operator_options() == {"parameters": ["0"], "output": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": nn.Linear}, r"class Linear. Pass an instance"),
        ({"model": 3}, "got int 3"),
        ({"loss": nn.MSELoss}, r"class MSELoss: add \(\)"),
        ({"loss": "mse"}, "callable"),
        ({"loss": nn.MSELoss(reduction="none")}, "reduction='none'"),
        ({"data": None}, "got None"),
        ({"output": 3}, "Task.output"),
        ({"parameters": "no_such"}, "matches 'no_such'"),
        ({"model": nn.ReLU()}, "no trainable parameter"),
    ],
)
def test_wrong_fields(change, message):
    fields = {"model": mlp(), "loss": nn.CrossEntropyLoss(), "data": [(normal(5, 6), labels(5))], **change}
    with pytest.raises(SpectraError, match=message):
        Task(**fields)
