import numpy as np
import pytest

import spectra
from spectra.dynamics import Quadratic, sgd_curve
from spectra.errors import ArgumentError, NonFiniteError, SchemaError, ShapeError
from tests.spectra.dynamics.least_squares import gaussian_problem


def make(**changes):
    given = {"eigenvalue": np.ones(2), "multiplicity": np.ones(2), "initial_loss": np.ones(2)} | changes
    return Quadratic(**given)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"eigenvalue": np.ones((2, 1))}, ShapeError, "vector"),
        ({"multiplicity": np.ones(3)}, ShapeError, "one entry per node"),
        ({"eigenvalue": 1.0}, ShapeError, "vector"),
        ({"kurtosis": np.ones(3)}, ShapeError, "kurtosis"),
        ({"initial_loss": np.array([1.0, np.nan])}, NonFiniteError, "initial_loss"),
        ({"eigenvalue": np.array([1.0, np.inf])}, NonFiniteError, "eigenvalue"),
        ({"floor": np.nan}, ArgumentError, "floor"),
        ({"evidence": None}, ArgumentError, "evidence"),
        ({"evidence": {"trace": "b"}}, ArgumentError, "evidence"),
        ({"eigenvalue": np.array([1.0, -1.0])}, ArgumentError, "negative"),
        ({"eigenvalue": np.array([1.0, 0.0])}, ArgumentError, "without curvature"),
        ({"multiplicity": np.zeros(2)}, ArgumentError, "positive multiplicity"),
        ({"floor": -1.0}, ArgumentError, "floor"),
        ({"rows_per_sample": 0.5}, ArgumentError, "rows_per_sample"),
        ({"num_samples": 2.5}, ArgumentError, "num_samples"),
        ({"num_samples": 0}, ArgumentError, "num_samples"),
        ({"largest_row": 0.0}, ArgumentError, "largest_row"),
    ],
)
def test_what_every_equation_relies_on_is_checked(changes, error, words):
    with pytest.raises(error, match=words):
        make(**changes)


def test_no_nodes_at_all_is_refused():
    with pytest.raises(ArgumentError, match="at least one"):
        make(eigenvalue=[], multiplicity=[], initial_loss=[])


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_file_gives_the_same_predictions(tmp_path, suffix):
    problem = gaussian_problem()
    path = tmp_path / f"problem{suffix}"
    spectra.save(problem.to_dataset(), path)
    again = Quadratic.from_dataset(spectra.load(path))
    settings = {"learning_rate": 0.01, "num_steps": 30, "batch_size": 3}
    for closure in ("limit", "kurtosis"):
        first, second = (sgd_curve(p, closure=closure, **settings) for p in (problem, again))
        np.testing.assert_array_equal(first.loss, second.loss)
    assert again.largest_row == problem.largest_row
    assert again.num_samples == problem.num_samples


def test_another_dataset_is_refused():
    dataset = gaussian_problem().to_dataset()
    with pytest.raises(SchemaError, match="spectra/quadratic"):
        Quadratic.from_dataset(dataset.assign_attrs(schema="spectra/run"))
    with pytest.raises(SchemaError, match="version"):
        Quadratic.from_dataset(dataset.assign_attrs(schema_version=99))
    with pytest.raises(SchemaError, match="initial_loss"):
        Quadratic.from_dataset(dataset.drop_vars("initial_loss"))


@pytest.mark.parametrize("closure", ["limit", "gaussian", "kurtosis", "row_resolved", "exact", "continuous"])
@pytest.mark.parametrize("factor", [2.0, 1e-12, 1e9])
def test_units_change_nothing_but_units(closure, factor):
    problem = gaussian_problem(20, 6)
    scaled = problem.scaled(factor)
    first = sgd_curve(problem, closure=closure, learning_rate=0.05, num_steps=20, batch_size=2)
    second = sgd_curve(scaled, closure=closure, learning_rate=0.05 / factor, num_steps=20, batch_size=2)
    np.testing.assert_allclose(second.loss, factor * first.loss, rtol=1e-11)
    np.testing.assert_allclose(
        second.attrs["critical_learning_rate"] * factor, first.attrs["critical_learning_rate"], rtol=1e-9
    )


def test_a_factor_must_be_positive():
    with pytest.raises(ArgumentError, match="factor"):
        make().scaled(0.0)


def test_nobody_can_change_a_problem_from_outside():
    """Neither through the arrays that were given, nor through what is read from it."""
    given = np.array([1.0, 2.0])
    problem = Quadratic(eigenvalue=given, multiplicity=given, initial_loss=given)
    given[0] = -5.0
    problem.to_dataset()["eigenvalue"].values[:] = -1.0
    assert problem.eigenvalue.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        problem.eigenvalue[0] = 3.0


@pytest.mark.parametrize(
    "changes",
    [
        {"eigenvalue": np.array([1.0, 1j])},
        {"eigenvalue": np.ma.masked_array([1.0, 2.0], mask=[True, False])},
        {"eigenvalue": ["a", "b"]},
        {"floor": None},
        {"rows_per_sample": "a"},
        {"num_samples": np.nan},
        {"num_samples": True},
        {"largest_row": "a"},
        {"row_bound": -1.0},
    ],
)
def test_what_is_no_number_is_refused(changes):
    with pytest.raises(ArgumentError):
        make(**changes)


def test_numpy_scalars_are_numbers():
    problem = make(
        floor=np.float32(0.5), largest_row=np.float32(2.0), num_samples=np.int64(7), evidence={"cost": np.float32(3)}
    )
    again = Quadratic.from_dataset(problem.to_dataset())
    assert (again.floor, again.largest_row, again.num_samples, again.evidence) == (0.5, 2.0, 7, {"cost": 3.0})


@pytest.mark.parametrize("damage", [{"evidence": "{x"}, {"floor": "x"}, {"num_samples": -3}])
def test_damaged_attributes_are_a_schema_error(damage):
    with pytest.raises(SchemaError, match="damaged"):
        Quadratic.from_dataset(gaussian_problem().to_dataset().assign_attrs(damage))
