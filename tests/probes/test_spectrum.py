"""Spectra of a task's matrices: closed forms, layers, one pass over the data, an untouched model, interruption."""

import json

import numpy as np
import pytest
import torch

import probes
import spectra
from probes import GaussNewtonOperator, HessianOperator, Task
from probes.operators import MATRICES
from probes.spectrum import SpectrumInterrupted
from spectra.errors import ArgumentError, NonFiniteError
from tests.probes import small_tasks


def dense(kind, task, **options) -> np.ndarray:
    operator = kind(task.model, task.loss, task.data, check=False, **options)
    return (operator @ torch.eye(operator.shape[0], dtype=operator.dtype)).numpy()


def quantity(node, name):
    return node["quantities"].to_dataset().sel(quantity=name)


@pytest.fixture(scope="module")
def two_matrices():
    return probes.measure(small_tasks.classifier(), matrices=("hessian", "gauss_newton"), per_layer=True)


def test_least_squares_has_the_spectrum_of_its_data():
    task = small_tasks.least_squares()
    inputs, _ = task.data[0]
    expected = np.linalg.eigvalsh((2 * inputs.T @ inputs / len(inputs)).numpy())
    found = probes.measure(task)["hessian"]
    pairs = found["eigenpairs"].to_dataset()
    np.testing.assert_allclose(pairs["eigenvalue"], np.concatenate([expected[::-1][:5], expected[:5]]), rtol=1e-9)
    assert float(quantity(found, "trace")["value"]) == pytest.approx(np.sum(expected))
    assert float(quantity(found, "condition_number")["value"]) == pytest.approx(expected[-1] / expected[0])
    assert quantity(found, "condition_number")["status"] == "exact"


@pytest.mark.parametrize(("name", "kind"), [("hessian", HessianOperator), ("gauss_newton", GaussNewtonOperator)])
def test_matrices_and_their_layers_have_the_eigenvalues_of_the_dense_ones(two_matrices, name, kind):
    task = small_tasks.classifier()
    blocks = {"": (two_matrices[name], None), "0": (two_matrices[f"{name}/layers/0"], "0")}
    blocks["2"] = (two_matrices[f"{name}/layers/2"], "2")
    for node, parameters in blocks.values():
        expected = np.linalg.eigvalsh(dense(kind, task, parameters=parameters))
        pairs = node["eigenpairs"].to_dataset()
        error = np.abs(pairs["eigenvalue"] - np.concatenate([expected[::-1][:5], expected[:5]]))
        asked = slice(0, 6)
        assert bool(np.all((error <= pairs["error_bound"])[asked]))
        assert bool(pairs["converged"][asked].all())
        trace = quantity(node, "trace")
        assert trace["low"] <= np.sum(expected) <= trace["high"]
        assert node.attrs["dimension"] == len(expected)


def test_the_tree_says_what_was_measured(two_matrices):
    attrs = two_matrices.attrs
    assert attrs["schema"] == "spectra/spectrum"
    assert attrs["task"] == "classifier"
    assert attrs["loss_function"] == "CrossEntropyLoss"
    assert attrs["num_samples"] == 256
    assert attrs["dimension"] == 83
    assert attrs["mode"] == "train"
    assert attrs["status"] == "complete"
    assert json.loads(attrs["matrices"]) == list(two_matrices.children) == ["hessian", "gauss_newton"]
    every = [node for node in two_matrices.subtree if "measure" in node.children]
    assert len(every) == 6
    assert attrs["num_matvecs"] == sum(node.attrs["num_matvecs"] for node in every)
    for node in every:
        assert node.attrs["product_strategy"]
        assert node.attrs["seconds"] > 0
        spectra.validate_measure(node["measure"].to_dataset())
    assert quantity(two_matrices["gauss_newton"], "negative_mass")["high"] == 0.0
    assert json.loads(two_matrices["hessian/layers/2"].attrs["parameters"]) == ["2.weight", "2.bias"]


@pytest.mark.parametrize("name", list(MATRICES))
def test_every_matrix_by_name(name):
    found = probes.measure(small_tasks.classifier(), matrices=name, max_matvecs=40, check=False)
    assert list(found.children) == [name]
    assert np.isfinite(quantity(found[name], "largest_eigenvalue")["value"])


def test_data_are_read_once():
    task = small_tasks.classifier()
    passes = 0

    class Counted:
        def __iter__(self):
            nonlocal passes
            passes += 1
            return iter(small_tasks.classifier().data)

    task.data = Counted()
    probes.measure(task, matrices=("hessian", "gauss_newton"), max_matvecs=30)
    once = passes
    passes = 0
    task = small_tasks.classifier()
    task.data = Counted()
    probes.measure(task, matrices="hessian", max_matvecs=30)
    assert once == passes


def test_the_model_is_left_as_it_was():
    task = small_tasks.classifier()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    random_state = torch.random.get_rng_state()
    probes.measure(task, per_layer=True, max_matvecs=30)
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert all(parameter.grad is None for parameter in task.model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())
    assert task.model.training


def test_budget_holds_for_each_matrix_and_layer():
    found = probes.measure(small_tasks.classifier(), per_layer=True, max_matvecs=12)
    for node in found.subtree:
        if "measure" in node.children:
            assert node.attrs["num_matvecs"] <= 12


@pytest.mark.parametrize("after", ["hessian", "gauss_newton", "hessian of 2"])
def test_what_was_measured_before_an_interrupt_is_kept(after):
    def interrupt(label, done, total):
        if label == after and done >= 10:
            raise KeyboardInterrupt

    kept = []
    with pytest.raises(SpectrumInterrupted) as caught:
        probes.measure(
            small_tasks.classifier(),
            matrices=("hessian", "gauss_newton"),
            per_layer=True,
            progress=interrupt,
            on_result=lambda tree: kept.append(len(tree.children)),
        )
    found = caught.value.spectrum
    assert found.attrs["status"] == "interrupted"
    path = {"hessian": "hessian", "gauss_newton": "gauss_newton", "hessian of 2": "hessian/layers/2"}[after]
    assert found[path].attrs["ended"] == "interrupted"
    assert "measure" in found[path].children
    assert len(kept) == {"hessian": 0, "hessian of 2": 2, "gauss_newton": 3}[after]


def test_progress_names_what_is_measured():
    seen = []
    probes.measure(small_tasks.classifier(), per_layer=True, progress=lambda *step: seen.append(step), max_matvecs=30)
    labels = list(dict.fromkeys(label for label, _, _ in seen))
    assert labels == ["hessian: checking the operator", "hessian", "hessian of 0", "hessian of 2"]
    assert all(done <= total for _, done, total in seen)


def test_same_seed_same_numbers():
    one, two = (probes.measure(small_tasks.classifier(), rng=3, max_matvecs=40) for _ in range(2))
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(one["hessian/quantities"][name], two["hessian/quantities"][name], rtol=1e-9)


def test_eigenvectors_are_kept_if_asked_for():
    task = small_tasks.classifier()
    pairs = probes.measure(task, keep_vectors=True)["hessian/eigenpairs"].to_dataset()
    matrix, y = dense(HessianOperator, task), pairs["eigenvector"].values
    residual = np.linalg.norm(matrix @ y.T - pairs["eigenvalue"].values * y.T, axis=0)
    np.testing.assert_allclose(residual, pairs["residual"], atol=1e-10)


def test_a_wrong_call_is_refused_before_anything_runs():
    task = small_tasks.classifier()
    with pytest.raises(ArgumentError, match=r"hessian, gauss_newton.*'hesian'"):
        probes.measure(task, matrices="hesian")
    with pytest.raises(ArgumentError, match="matrices"):
        probes.measure(task, matrices=())
    with pytest.raises(ArgumentError, match="max_matvecs"):
        probes.measure(task, max_matvecs=2)
    with pytest.raises(ArgumentError, match="rng"):
        probes.measure(task, rng=-1)


def test_what_cannot_be_measured_is_named():
    with pytest.raises(NonFiniteError):
        probes.measure(small_tasks.nan_loss())


def test_the_tree_survives_a_file(two_matrices, tmp_path):
    again = spectra.load(spectra.save(two_matrices, tmp_path / "spectrum.nc"))
    assert [node.path for node in again.subtree] == [node.path for node in two_matrices.subtree]
    for node in two_matrices.subtree:
        assert again[node.path].to_dataset(inherit=False).equals(node.to_dataset(inherit=False))
        assert again[node.path].attrs == node.attrs


def test_few_outputs_are_answered_exactly_and_many_are_sampled():
    """Both sides of the switch to the Gram matrix of the outputs."""
    generator = torch.Generator().manual_seed(0)
    inputs, target = torch.randn(20, 6, generator=generator).double(), torch.arange(20) % 4
    model = torch.nn.Sequential(torch.nn.Linear(6, 30), torch.nn.Tanh(), torch.nn.Linear(30, 4)).double()
    task = Task(model, torch.nn.CrossEntropyLoss(), [(inputs[:13], target[:13]), (inputs[13:], target[13:])])
    names = ["gauss_newton", "fisher", "empirical_fisher"]
    exact = probes.measure(task, matrices=names, max_matvecs=80)  # 20 x 4 outputs
    sampled = probes.measure(task, matrices=names[:1], max_matvecs=79)
    assert [exact[name].attrs["ended"] for name in names] == ["exact"] * 3
    assert [exact[name].attrs["num_matvecs"] for name in names] == [80, 80, 20]
    assert sampled["gauss_newton"].attrs["ended"] != "exact"
    dense = probes.GaussNewtonOperator(model, task.loss, task.data)
    values = np.linalg.eigvalsh((dense @ torch.eye(dense.shape[0], dtype=torch.float64)).numpy())
    numbers = exact["gauss_newton/quantities"].to_dataset()["value"]
    assert float(numbers.sel(quantity="trace")) == pytest.approx(values.sum(), rel=1e-12)
    for tree in (exact, sampled):
        pairs = tree["gauss_newton/eigenpairs"].to_dataset()
        np.testing.assert_allclose(pairs["eigenvalue"].values[:5], values[::-1][:5], rtol=1e-4)


def test_every_matrix_in_one_call():
    generator = torch.Generator().manual_seed(0)
    inputs, target = torch.randn(40, 6, generator=generator).double(), torch.arange(40) % 3
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    task = Task(model, torch.nn.CrossEntropyLoss(), [(inputs, target)])
    tree = probes.measure(task, matrices=list(MATRICES), check=False)
    assert set(tree.children) == set(MATRICES)
    traces = {name: float(tree[f"{name}/quantities"].to_dataset()["value"].sel(quantity="trace")) for name in MATRICES}
    assert traces["residual"] == pytest.approx(traces["hessian"] - traces["gauss_newton"], abs=0.2)
    assert traces["fisher"] == pytest.approx(traces["gauss_newton"], rel=0.05)


def test_a_named_strategy_gives_the_same_digits():
    first, second = (
        probes.measure(small_tasks.classifier(), matrices=["hessian", "gauss_newton"], strategy="kept_graph")
        for _ in range(2)
    )
    for name in ("hessian", "gauss_newton"):
        assert first[name].attrs["product_strategy"] == "kept_graph"
        for node in ("quantities", "measure", "eigenpairs"):
            assert (
                first[f"{name}/{node}"]
                .to_dataset()
                .drop_attrs()
                .equals(second[f"{name}/{node}"].to_dataset().drop_attrs())
            )
    with pytest.raises(ArgumentError, match="strategy must be"):
        probes.measure(small_tasks.classifier(), strategy="fastest")
