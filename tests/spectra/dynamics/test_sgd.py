import numpy as np
import pytest

from spectra.dynamics import from_data, sgd_curve
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from tests.spectra.dynamics.least_squares import gaussian_data, gaussian_problem, one_mode


def predict(problem=None, **changes):
    given = {"closure": "limit", "learning_rate": 0.01, "num_steps": 10} | changes
    return sgd_curve(problem or gaussian_problem(), **given)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"learning_rate": -0.1}, ArgumentError, "learning_rate"),
        ({"learning_rate": np.nan}, NonFiniteError, "learning_rate"),
        ({"learning_rate": [0.1, 0.2]}, ShapeError, "one for each of 10"),
        ({"learning_rate": 1e300}, ArgumentError, "overflows"),
        ({"num_steps": -1}, ArgumentError, "num_steps"),
        ({"num_steps": 2.5}, ArgumentError, "num_steps"),
        ({"batch_size": 0}, ArgumentError, "batch_size"),
        ({"batch_size": 2.5}, ArgumentError, "batch_size"),
        ({"batch_size": 61}, ArgumentError, "does not fit"),
        ({"batch_size": [1, 2]}, ShapeError, "batch_size"),
        ({"momentum": 1.0}, ArgumentError, "momentum"),
        ({"momentum": -0.5}, ArgumentError, "momentum"),
        ({"nesterov": True}, ArgumentError, "nesterov"),
        ({"weight_decay": -1.0}, ArgumentError, "weight_decay"),
        ({"sampling": "random"}, ArgumentError, "sampling"),
        ({"sampling": "reshuffled"}, ArgumentError, "depend on each other"),
        ({"record": [99]}, ArgumentError, "record"),
        ({"weight_decay": [0.1]}, ArgumentError, "weight_decay"),
        ({"momentum": "a"}, ArgumentError, "momentum"),
        ({"nesterov": "no", "momentum": 0.5}, ArgumentError, "nesterov"),
        ({"population": (1, 2, 3)}, ArgumentError, "Population"),
        ({"num_steps": 10**19}, ArgumentError, "num_steps"),
        ({"problem": 3}, ArgumentError, "Quadratic"),
        ({"solver": "fft"}, ArgumentError, "solver"),
        ({"solver": "closed_form", "momentum": 0.5}, ArgumentError, "closed form"),
        ({"solver": "closed_form", "closure": "exact"}, ArgumentError, "closed form"),
        ({"closure": "exact", "weight_decay": 0.1}, ArgumentError, "weight decay"),
        ({"closure": "continuous", "momentum": 0.1}, ArgumentError, "plain SGD"),
    ],
)
def test_settings_that_cannot_be(changes, error, words):
    with pytest.raises(error, match=words):
        predict(**changes)


def test_what_a_curve_says_of_itself():
    curve = predict(batch_size=3, num_steps=400)
    assert curve.attrs["schema"] == "spectra/curve"
    assert curve.attrs["closure"] == "limit"
    assert float(curve["learning_rate"]) == 0.01
    assert int(curve["batch_size"]) == 3
    np.testing.assert_allclose(curve["epoch"], curve["step"] * 3 / 60)
    assert curve.attrs["floor"] == pytest.approx(gaussian_problem().floor / (1 - curve.attrs["kernel_norm"]))
    scheduled = predict(learning_rate=np.linspace(0.02, 0.01, 10), batch_size=np.arange(1, 11))
    np.testing.assert_allclose(scheduled["learning_rate"].values[[0, -1]], [0.02, 0.01])
    np.testing.assert_allclose(scheduled["epoch"].values[-1], np.sum(np.arange(1, 11)) / 60)
    assert "critical_learning_rate" not in scheduled.attrs


def test_rates_near_the_limit_come_with_a_caution():
    critical = predict().attrs["critical_learning_rate"]
    assert "caution" not in predict(learning_rate=0.7 * critical).attrs
    assert "rare runs" in predict(learning_rate=0.9 * critical).attrs["caution"]
    assert "unstable" in predict(learning_rate=1.1 * critical).attrs["caution"]
    assert (
        "caution"
        not in predict(batch_size=60, learning_rate=0.9 * predict(batch_size=60).attrs["critical_learning_rate"]).attrs
    )


def test_the_solver_that_is_cheaper_is_taken():
    assert predict(num_steps=2).attrs["solver"] == "recursion"
    assert predict(num_steps=10**6).attrs["solver"] == "closed_form"
    assert predict(num_steps=10**6, learning_rate=1e-12).loss.values[-1] == pytest.approx(
        gaussian_problem().loss, rel=1e-3
    )


def test_problems_are_left_as_they_are():
    A, b = gaussian_data()
    problem = from_data(A, b)
    before = problem.initial_loss.copy()
    for closure in ("limit", "exact"):
        sgd_curve(problem, closure=closure, learning_rate=0.01, num_steps=5)
    np.testing.assert_array_equal(problem.initial_loss, before)


def test_a_single_mode_by_hand():
    """Two steps written out: q <- ((1-x)^2 + c chi x^2) q + c x^2 w L."""
    problem = one_mode(eigenvalue=0.5, initial_loss=2.0, floor=1.0, num_samples=5, multiplicity=3.0)
    x, c = 0.2 * 0.5, (5 - 2) / (2 * 4)
    q1 = ((1 - x) ** 2 + c * x**2) * 2.0 + c * x**2 * 3 * 3.0
    q2 = ((1 - x) ** 2 + c * x**2) * q1 + c * x**2 * 3 * (1 + q1)
    curve = sgd_curve(problem, closure="gaussian", learning_rate=0.2, batch_size=2, num_steps=2)
    np.testing.assert_allclose(curve.loss, [3.0, 1 + q1, 1 + q2], rtol=1e-14)


def test_the_schedule_of_no_steps():
    curve = predict(learning_rate=[], batch_size=[], num_steps=0)
    assert curve.loss.values == pytest.approx(gaussian_problem().loss)


def test_the_error_state_of_numpy_does_not_matter():
    with np.errstate(all="raise"):
        for closure in ("limit", "exact", "continuous"):
            for rate in (0.001, 0.5):
                predict(closure=closure, learning_rate=rate, num_steps=2000)
