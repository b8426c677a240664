"""A survey: the same numbers as the functions that answer one question each, from one run, within one budget."""

import numpy as np
import pytest

import spectra
from spectra import Operator, SurveyInterrupted, slq, survey
from spectra.errors import ArgumentError, NonDeterministicError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.testing import matrix_with_spectrum, spectrum

QUANTITIES = [
    "trace",
    "squared_frobenius_norm",
    "nuclear_norm",
    "negative_mass",
    "smallest_eigenvalue",
    "largest_eigenvalue",
    "condition_number",
    "pseudo_condition_number",
]


def network_like(n: int = 400) -> np.ndarray:
    """Return eigenvalues as of a trained network: outliers, a bulk near zero, small negative ones."""
    bulk = np.random.default_rng(0).standard_normal(n - 8) * 0.01
    return np.sort(np.concatenate([bulk, [-0.3, -0.2, 0.5, 1.0, 2.0, 3.0, 4.5, 5.0]]))


def row(answer, name):
    return answer["quantities"].to_dataset().sel(quantity=name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_measure_is_that_of_slq(xp, dtype):
    a = xp.asarray(matrix_with_spectrum(network_like(), 3).astype(dtype))
    answer = survey(a, num_steps=10, rng=4, trace_rtol=1e3, tolerance=1.0)
    expected = slq(a, num_probes=3, num_steps=10, rng=4)
    measure = answer["measure"].to_dataset()
    spectra.validate_measure(measure)
    assert answer.attrs["num_steps"] == 10
    for name in ("ritz_value", "weight", "diagonal", "off_diagonal"):
        np.testing.assert_allclose(measure[name], expected[name], atol=1e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_resolved_eigenvalues_are_summed_in_either_precision(dtype):
    values = network_like()
    answer = survey(matrix_with_spectrum(values, 3).astype(dtype))
    assert int(answer["measure"]["multiplicity"].sum()) >= 6
    square = row(answer, "squared_frobenius_norm")
    assert float(square["stderr"]) < 1e-3 * float(square["value"])
    assert square["low"] <= np.sum(values**2) <= square["high"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_whole_answer_of_a_network(xp, dtype):
    values = network_like()
    answer = survey(xp.asarray(matrix_with_spectrum(values, 1).astype(dtype)), keep_vectors=True)
    assert answer.attrs["ended"] == "targets reached"
    assert answer.attrs["num_matvecs"] <= 120
    pairs = answer["eigenpairs"].to_dataset()
    assert pairs["end"].values.tolist() == ["largest"] * 5 + ["smallest"] * 5
    error = np.abs(pairs["eigenvalue"] - np.concatenate([values[::-1][:5], values[:5]]))
    asked = slice(0, 6)
    assert bool(pairs["converged"][asked].all())
    assert bool(np.all((error <= pairs["error_bound"])[asked]))
    assert bool(np.all(pairs["error_bound"][asked] <= 1e-4 * 5.0))
    trace = row(answer, "trace")
    assert float(trace["stderr"]) <= 0.01 * np.sum(np.abs(values)) * 1.3
    assert list(answer["quantities"]["quantity"].values) == QUANTITIES
    for name, truth in [
        ("trace", np.sum(values)),
        ("squared_frobenius_norm", np.sum(values**2)),
        ("nuclear_norm", np.sum(np.abs(values))),
        ("negative_mass", np.mean(values < 0)),
        ("smallest_eigenvalue", values[0]),
        ("largest_eigenvalue", values[-1]),
    ]:
        assert row(answer, name)["low"] <= truth <= row(answer, name)["high"], name


def test_eigenvectors_and_residuals_belong_to_each_other():
    a = matrix_with_spectrum(network_like(), 1)
    pairs = survey(a, keep_vectors=True)["eigenpairs"].to_dataset()
    y, theta = pairs["eigenvector"].values, pairs["eigenvalue"].values
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1.0, rtol=1e-12)
    residual = np.linalg.norm(a @ y.T - theta * y.T, axis=0)
    np.testing.assert_allclose(residual, pairs["residual"], atol=1e-12)
    assert bool(np.all(np.take_along_axis(y, np.argmax(np.abs(y), axis=1)[:, None], axis=1) > 0))


def test_trace_intervals_hold_what_they_promise():
    """Forty seeds: a z-test of the error bar, and coverage of nominal 95 %."""
    values = network_like(200)
    a = matrix_with_spectrum(values, 0)
    rows = [row(survey(a, rng=seed, num_steps=8, trace_rtol=0.03), "trace") for seed in range(40)]
    z = np.array([float((r["value"] - np.sum(values)) / r["stderr"]) for r in rows])
    held = np.mean([float(r["low"]) <= np.sum(values) <= float(r["high"]) for r in rows])
    assert abs(np.mean(z)) < 4.0 * np.std(z) / np.sqrt(40)
    assert held >= 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / 40)


@pytest.mark.parametrize("budget", [4, 5, 7, 10, 31, 64, 97])
def test_the_budget_is_never_exceeded(budget):
    count = 0
    diagonal = network_like()

    def product(block):
        nonlocal count
        count += block.shape[1]
        return diagonal[:, None] * block

    answer = survey(Operator(product, like=np.zeros(400)), max_matvecs=budget)
    assert count == answer.attrs["num_matvecs"] <= budget
    assert answer.attrs["ended"] == ("budget" if budget < 97 else "targets reached")


def test_what_was_not_reached_is_said():
    answer = survey(np.diag(network_like()), max_matvecs=30, tolerance=1e-9, trace_rtol=1e-5)
    assert answer.attrs["extremes_reached"] == answer.attrs["trace_reached"] == 0
    assert answer.attrs["ended"] == "budget"
    assert not bool(answer["eigenpairs"]["converged"].all())


def test_memory_ends_a_run():
    answer = survey(np.diag(network_like()), max_basis_bytes=24 * 400 * 8)
    assert answer.attrs["ended"] == "memory"
    with pytest.raises(ArgumentError, match="max_basis_bytes"):
        survey(np.diag(network_like()), max_basis_bytes=400 * 8)


def test_small_matrices_are_exact():
    values = np.array([-2.0, 1.0, 3.0, 7.0])
    answer = survey(matrix_with_spectrum(values), num_extremal=2)
    trace = row(answer, "trace")
    assert trace["status"] == "exact"
    assert float(trace["value"]) == pytest.approx(9.0)
    np.testing.assert_allclose(answer["eigenpairs"]["eigenvalue"], [7.0, 3.0, -2.0, 1.0])
    condition = row(answer, "condition_number")
    assert condition["status"] == "exact"
    assert float(condition["value"]) == pytest.approx(7.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [0.0, 1.0, -3.0])
def test_multiples_of_the_identity(dtype, scale):
    answer = survey((scale * np.eye(60)).astype(dtype))
    assert answer.attrs["ended"] == "targets reached"
    assert float(row(answer, "trace")["value"]) == pytest.approx(60 * scale, abs=1e-4)
    np.testing.assert_allclose(answer["eigenpairs"]["eigenvalue"], np.full(10, scale), atol=1e-5)
    assert row(answer, "condition_number")["status"] == ("singular" if scale == 0.0 else "certified")


def test_one_by_one():
    answer = survey(np.array([[2.5]]))
    assert float(row(answer, "trace")["value"]) == 2.5
    assert answer["eigenpairs"]["eigenvalue"].values.tolist() == [2.5, 2.5]


@pytest.mark.parametrize("power", [-500, 500])
def test_units_change_units_only(power):
    a = matrix_with_spectrum(network_like(80), 2)
    one, other = survey(a), survey(np.ldexp(a, power))
    assert one.attrs["num_matvecs"] == other.attrs["num_matvecs"]
    np.testing.assert_array_equal(np.ldexp(one["eigenpairs"]["eigenvalue"], power), other["eigenpairs"]["eigenvalue"])
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(np.ldexp(row(one, "trace")[name], power), row(other, "trace")[name], rtol=1e-12)


def test_multiplicities_below_the_number_of_probes_are_resolved_and_others_are_not():
    values = np.concatenate([np.linspace(0.0, 1.0, 290), np.full(2, 4.0), np.full(8, 9.0)])
    pairs = survey(matrix_with_spectrum(values, 0), num_extremal=12)["eigenpairs"].to_dataset()
    seen = pairs["eigenvalue"].values[:12]
    nine, four = np.abs(seen - 9.0) < 1e-6, np.abs(seen - 4.0) < 1e-6
    assert np.sum(nine) >= 3
    assert not pairs["multiplicity_resolved"].values[:12][nine].any()
    assert np.sum(four) == 2
    assert pairs["multiplicity"].values[:12][four].tolist() == [2, 2]
    assert pairs["multiplicity_resolved"].values[:12][four].all()


def test_condition_numbers_have_a_status():
    definite = survey(np.diag(np.linspace(1.0, 5.0, 300)), positive_semidefinite=True)
    ratio = row(definite, "condition_number")
    assert ratio["status"] == "certified"
    assert ratio["low"] <= 5.0 <= ratio["high"]
    gram = survey(np.diag(np.concatenate([np.zeros(280), np.linspace(3.0, 6.0, 20)])), positive_semidefinite=True)
    assert row(gram, "condition_number")["status"] == "singular"
    ratio = row(gram, "pseudo_condition_number")
    assert ratio["status"] == "certified"
    assert ratio["low"] <= 2.0 <= ratio["high"]
    assert row(gram, "smallest_eigenvalue")["low"] == 0.0


def test_semidefinite_needs_fewer_products_at_the_small_end_and_says_what_it_bounds():
    values = np.concatenate([np.geomspace(1e-9, 1e-2, 290), np.arange(1.0, 11.0)])
    answer = survey(np.diag(values), positive_semidefinite=True, num_smallest=5)
    pairs = answer["eigenpairs"].to_dataset()
    smallest = pairs.isel(pair=pairs["end"].values == "smallest")
    assert bool(smallest["converged"].all())
    assert bool(np.all(np.abs(smallest["eigenvalue"] - values[:5]) <= smallest["error_bound"]))


def test_same_seed_same_numbers():
    a = matrix_with_spectrum(network_like(150), 0)
    one, two = survey(a, rng=3), survey(a, rng=3)
    np.testing.assert_array_equal(one["quantities"]["value"], two["quantities"]["value"])
    assert not np.array_equal(one["quantities"]["value"], survey(a, rng=4)["quantities"]["value"])


def test_progress_counts_products_up_to_the_budget():
    seen = []
    answer = survey(np.diag(network_like()), progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (answer.attrs["num_matvecs"], answer.attrs["max_matvecs"])


@pytest.mark.parametrize("at", [2, 12, 40, 65])
def test_what_was_measured_before_an_interrupt_is_kept(at):
    diagonal = network_like()
    count = 0

    def product(block):
        nonlocal count
        count += block.shape[1]
        if count > at:
            raise KeyboardInterrupt
        return diagonal[:, None] * block

    with pytest.raises(SurveyInterrupted) as caught:
        survey(Operator(product, like=np.zeros(400)))
    so_far = caught.value.survey
    if at == 2:
        assert so_far is None
        return
    assert so_far.attrs["ended"] == "interrupted"
    expected = slq(np.diag(diagonal), num_probes=3, num_steps=so_far.attrs["num_steps"])
    np.testing.assert_allclose(so_far["measure"]["ritz_value"], expected["ritz_value"], atol=1e-12)


def test_bad_operators_are_named():
    rng = np.random.default_rng(0)
    triangular = np.triu(np.ones((50, 50)))
    with pytest.raises(NotSymmetricError):
        survey(triangular)
    with pytest.raises(NonDeterministicError):
        survey(Operator(lambda block: block + rng.standard_normal(block.shape), like=np.zeros(50)))
    with pytest.raises(NonFiniteError):
        survey(Operator(lambda block: block * np.nan, like=np.zeros(50)))
    with pytest.raises(ArgumentError, match="not positive semidefinite"):
        survey(np.diag(network_like()), positive_semidefinite=True)
    with pytest.raises(ShapeError):
        survey(np.ones((3, 4)))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"num_extremal": 0}, "num_extremal"),
        ({"num_smallest": 6}, "num_smallest"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"trace_rtol": -1.0}, "trace_rtol"),
        ({"max_matvecs": 3}, "max_matvecs"),
        ({"num_probes": 0}, "num_probes"),
        ({"num_steps": True}, "num_steps"),
        ({"level": 1.0}, "level"),
        ({"rng": -1}, "rng"),
    ],
)
def test_wrong_calls_raise_before_any_product(arguments, word):
    def product(block):
        raise AssertionError("no product may be made")

    with pytest.raises(ArgumentError, match=word):
        survey(Operator(product, like=np.zeros(50)), **arguments)


@pytest.mark.parametrize("name", ["inverse", "indefinite", "spiked", "geometric"])
def test_named_spectra(name):
    values = spectrum(name, 120)
    answer = survey(matrix_with_spectrum(values, 5), max_matvecs=90)
    assert row(answer, "trace")["low"] <= np.sum(values) <= row(answer, "trace")["high"]
    pairs = answer["eigenpairs"].to_dataset()
    nearest = np.min(np.abs(pairs["eigenvalue"].values[:, None] - values), axis=1)
    assert np.all(nearest <= pairs["error_bound"].values)
