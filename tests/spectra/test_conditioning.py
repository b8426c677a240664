import math

import numpy as np
import pytest
from scipy.linalg import eigh, solve_triangular
from scipy.sparse.linalg import aslinearoperator

from spectra import Operator, gram
from spectra.christoffel import overlap_quantile
from spectra.conditioning import condition_number
from spectra.errors import (
    ArgumentError,
    BackendError,
    NonDeterministicError,
    NonFiniteError,
    NotSymmetricError,
    ShapeError,
)
from spectra.pseudo_conditioning import pseudo_condition_number
from spectra.rectangular import RectangularOperator, as_rectangular
from spectra.start_vectors import start_vectors
from spectra.testing import SPECTRA, matrix_with_spectrum, spectrum
from tests.cases import matrix

EPS = {"float64": 2.0**-52, "float32": 2.0**-23}


def diagonal(values):
    return Operator(lambda block: values[:, None] * block, like=np.zeros_like(values))


def singular_matrix(rows, columns, values):
    left, _, right = np.linalg.svd(np.random.default_rng(0).standard_normal((rows, columns)), full_matrices=False)
    return (left * values) @ right


def holds(result, truth):
    return result.low <= truth <= result.high


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 2, 40])
@pytest.mark.parametrize("name", SPECTRA)
def test_named_spectra(xp, name, n, dtype):
    modulus = np.abs(spectrum(name, n))
    result = condition_number(xp.asarray(matrix(name, n).astype(dtype)))
    if np.min(modulus) <= 100 * EPS[dtype] * np.max(modulus):
        assert result.status == "singular"
        assert result.value == result.high == np.inf
        assert result.low >= 1.0 / (200 * EPS[dtype])
        return
    assert result.status in {"certified", "exact"}
    assert holds(result, np.max(modulus) / np.min(modulus))
    assert result.high <= 1.1 * result.low or result.num_steps == n
    assert result.smallest[0] <= np.min(modulus) <= result.smallest[1]
    assert result.largest[0] <= np.max(modulus) <= result.largest[1]
    assert result.num_matvecs <= result.num_steps + 2


def test_definiteness():
    for values, expected in [
        ([1.0, 2.0, 5.0], "positive definite"),
        ([-1.0, -2.0, -5.0], "negative definite"),
        ([1.0, -2.0, 5.0], "indefinite"),
        ([0.0, 2.0, 5.0], "undecided"),
    ]:
        assert condition_number(np.diag(values)).definiteness == expected
    assert condition_number(np.ones((3, 2))).definiteness == "not symmetric"


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-14, 1e14, 1e200, 1e290])
def test_scale_changes_units_only(scale):
    for a in (matrix("spiked"), matrix("two_values"), np.random.default_rng(0).standard_normal((40, 20))):
        reference, scaled = condition_number(a), condition_number(a * scale)
        assert scaled.low == pytest.approx(reference.low, rel=1e-9)
        assert scaled.high == pytest.approx(reference.high, rel=1e-6)
        assert scaled.largest[1] / scale == pytest.approx(reference.largest[1], rel=1e-6)


@pytest.mark.parametrize("exponent", [-600, 47, 600])
def test_powers_of_two_change_nothing(exponent):
    reference, scaled = condition_number(matrix("spiked")), condition_number(np.ldexp(matrix("spiked"), exponent))
    assert (scaled.low, scaled.value, scaled.high) == (reference.low, reference.value, reference.high)
    assert scaled.smallest[0] == math.ldexp(reference.smallest[0], exponent)


def test_dynamic_range():
    assert condition_number(np.diag(np.geomspace(1e-18, 1.0, 50))).status == "singular"
    result = condition_number(np.diag(np.geomspace(1e-12, 1.0, 50)))
    assert result.status == "exact"
    assert holds(result, 1e12)
    assert result.high < 1.1e12


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "values",
    [
        1.0 / np.arange(1.0, 121.0),
        np.geomspace(1e-2, 1.0, 100),
        np.append(0.1, np.linspace(1.0, 2.0, 119)),
        np.append(-np.geomspace(0.05, 0.5, 6), np.linspace(0.1, 1.0, 114)),
    ],
    ids=["power", "geometric", "hidden", "indefinite"],
)
def test_coverage_at_every_budget(values, dtype):
    """Over seeds and step limits: the interval holds the truth at least as often as it says."""
    operator = diagonal(values.astype(dtype))
    modulus = np.abs(values.astype(dtype).astype(float))
    truth = np.max(modulus) / np.min(modulus)
    results = [condition_number(operator, rng=seed, max_steps=8 + 5 * seed) for seed in range(20)]
    assert sum(holds(result, truth) for result in results) >= 17  # 19 expected at the least, standard deviation 1
    assert all(result.status == "not certified" for result in results if not result.high < np.inf)
    assert results[-1].high <= 1.1 * results[-1].low


@pytest.mark.parametrize("num_starts", [1, 2])
def test_fails_only_with_unlucky_start_vectors(num_starts):
    """Not statistics: where some start vector has weight q on each of the two eigenvectors, the interval must hold."""
    for values in (np.linspace(1.0, 30.0, 80), np.append(-np.geomspace(0.05, 0.5, 6), np.linspace(0.1, 1.0, 74))):
        modulus = np.abs(values)
        ends = [np.argmin(modulus), np.argmax(modulus)]
        q = overlap_quantile(80, num_starts=num_starts, delta=0.25)
        failed = 0
        for seed in range(20):
            result = condition_number(diagonal(values), level=0.5, rng=seed, num_starts=num_starts)
            weights = start_vectors(values, num=num_starts, rng=seed) ** 2 / 80
            lucky = np.all(np.max(weights[ends], axis=1) >= q)
            assert holds(result, modulus[ends[1]] / modulus[ends[0]]) or not lucky
            failed += result.smallest[0] > modulus[ends[0]] or result.largest[1] < modulus[ends[1]]
        assert failed > 0  # at level 0.5 the confidence is nearly used up


def test_coverage_at_low_confidence_is_a_binomial():
    """An eigenvalue hidden below a narrow bulk: few steps see it only if the start vector does."""
    operator = diagonal(np.append(0.5, np.linspace(1.0, 1.0001, 299)))
    level = 0.5
    hits = [holds(condition_number(operator, rng=s, level=level, max_steps=2), 2.0002) for s in range(100)]
    assert np.mean(hits) >= level - 3.0 * math.sqrt(level * (1.0 - level) / 100)


def test_oracle_on_dense_matrices():
    generator = np.random.default_rng(3)
    for n in (5, 30, 80):
        a = generator.standard_normal((n, n))
        assert holds(condition_number(a + a.T), np.linalg.cond(a + a.T))
        assert holds(condition_number(a @ a.T + np.eye(n)), np.linalg.cond(a @ a.T + np.eye(n)))
        assert holds(condition_number(as_rectangular(a), tolerance=1e-3), np.linalg.cond(a))


def test_indefinite_costs_less_than_its_square():
    values = np.append(-np.geomspace(0.02, 0.5, 8), np.linspace(0.05, 1.0, 292))
    direct, squared = condition_number(diagonal(values)), condition_number(diagonal(values**2), max_steps=300)
    assert direct.status == "certified"
    assert holds(direct, 50.0)
    assert holds(squared, 2500.0)
    assert direct.num_matvecs < squared.num_matvecs  # each of which would be two products with A


def test_more_start_vectors_and_generators():
    operator = diagonal(np.linspace(1.0, 60.0, 200))
    one, ten = condition_number(operator), condition_number(operator, num_starts=10)
    assert ten.num_steps < one.num_steps
    assert ten.num_matvecs == 10 * ten.num_steps + 1
    again = condition_number(operator, rng=np.random.default_rng(5))
    assert again == condition_number(operator, rng=np.random.default_rng(5)) != one


def test_tolerance_is_reached():
    for tolerance in (1.0, 0.1, 1e-3, 1e-6):
        result = condition_number(diagonal(np.linspace(1.0, 30.0, 150)), tolerance=tolerance)
        assert result.high <= (1.0 + tolerance) * result.low
        assert holds(result, 30.0)


def test_step_limit_gives_no_guess():
    result = condition_number(diagonal(np.geomspace(1e-6, 1.0, 200)), max_steps=12)
    assert (result.status, result.high, result.num_steps) == ("not certified", np.inf, 12)
    assert 1.0 <= result.low <= result.value < 1e6
    assert condition_number(diagonal(np.linspace(1.0, 2.0, 50)), max_steps=1).low >= 1.0


def test_ridge():
    values = np.append(np.zeros(100), np.geomspace(1e-6, 1.0, 100)) + 1e-3
    cheap = condition_number(diagonal(values), ridge=1e-3, max_steps=10)
    assert cheap.status == "certified"
    assert cheap.num_matvecs <= 12
    assert holds(cheap, 1001.0)
    assert cheap.high < 1001.0 * 1.2
    semidefinite = condition_number(diagonal(values - 1e-3), ridge=0.0)
    assert semidefinite.status == "singular"
    with pytest.raises(ArgumentError, match="ridge must be a lower bound"):
        condition_number(diagonal(values), ridge=0.5)
    with pytest.raises(ArgumentError, match="ridge"):
        condition_number(diagonal(values), ridge=-1.0)
    with pytest.raises(ArgumentError, match="symmetric operators only"):
        condition_number(np.ones((3, 2)), ridge=1.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_diagonal_metric(xp, dtype):
    d = np.geomspace(1e-2, 1e2, 40)
    a = matrix("spiked")
    expected = eigh(a, np.diag(d), eigvals_only=True)
    result = condition_number(xp.asarray(a.astype(dtype)), metric=xp.asarray(d.astype(dtype)))
    assert holds(result, expected[-1] / expected[0])
    assert result.smallest[0] <= expected[0] <= result.smallest[1]
    assert result.largest[0] <= expected[-1] <= result.largest[1]
    units = condition_number(1e-200 * a, metric=1e100 * d)
    assert units.largest[1] * 1e300 == pytest.approx(expected[-1], rel=1e-3)


def test_factored_metric():
    a, b = matrix("uniform"), matrix_with_spectrum(np.geomspace(0.1, 10.0, 40), 1)
    lower = np.linalg.cholesky(b)
    expected = eigh(a, b, eigvals_only=True)
    solves = (lambda v: solve_triangular(lower.T, v), lambda v: solve_triangular(lower, v, lower=True))
    result = condition_number(a, metric=solves, ridge=0.9 * expected[0])
    assert holds(result, expected[-1] / expected[0])
    assert condition_number(b, metric=solves).high < 1.0 + 1e-6


def test_wrong_metric():
    a = np.eye(3)
    for bad in (np.array([1.0, 0.0, 1.0]), np.array([1.0, np.nan, 1.0]), np.array([1.0, -1.0, 1.0]), 3.0, (len,)):
        with pytest.raises(ArgumentError, match="metric"):
            condition_number(a, metric=bad)
    with pytest.raises(ShapeError, match="metric"):
        condition_number(a, metric=np.ones(4))
    with pytest.raises(ArgumentError, match="symmetric operators only"):
        condition_number(np.ones((3, 2)), metric=np.ones(2))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(60, 25), (25, 60), (7, 1), (1, 7), (4, 3)])
def test_rectangular(xp, shape, dtype):
    a = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    result = condition_number(xp.asarray(a))
    assert holds(result, np.linalg.cond(a.astype(float)))
    assert result.high <= 1.1 * result.low
    assert result.num_matvecs == 2 * result.num_steps + 2


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_coverage_of_rectangular(dtype):
    values = np.geomspace(0.05, 1.0, 80).astype(dtype)
    like = np.zeros(80, dtype=dtype)
    a = RectangularOperator(
        lambda v: np.concatenate([values[:, None] * v, 0 * v]),
        lambda u: values[:, None] * u[:80],
        shape=(160, 80),
        like=like,
    )
    results = [condition_number(a, rng=seed, max_steps=6 + 3 * seed) for seed in range(20)]
    assert sum(holds(result, float(values[-1]) / float(values[0])) for result in results) >= 18
    assert results[-1].status in {"certified", "exact"}


def test_rectangular_degenerate():
    assert condition_number(np.zeros((6, 4))).status == "singular"
    assert condition_number(np.outer(np.arange(1.0, 9.0), np.ones(4))).status == "singular"
    identity = condition_number(np.eye(40)[:, :25])
    assert 1.0 == identity.low <= identity.high <= 1.0 + 1e-10
    small = condition_number(singular_matrix(80, 30, np.geomspace(1e-10, 1.0, 30)))
    assert holds(small, 1e10)
    assert small.high < 1.01e10
    # Forming A'A loses singular values below sqrt(eps): its condition number is lost, too.
    assert condition_number(gram(singular_matrix(80, 30, np.geomspace(1e-10, 1.0, 30)))).status == "singular"


def test_kinds_of_operators():
    a = matrix("spiked")
    reference = condition_number(a)
    a.flags.writeable = False
    assert condition_number(a) == reference
    assert condition_number(aslinearoperator(a)).value == pytest.approx(reference.value)
    assert holds(condition_number(np.diag(np.arange(1, 30))), 29.0)

    def spoil(block):
        result = a @ block
        block[:] = np.nan
        return result

    assert condition_number(Operator(spoil, like=np.zeros(40))).value == pytest.approx(reference.value)


def test_wrong_calls_and_bad_operators():
    a = np.eye(3)
    for options in (
        {"level": 1.0},
        {"level": "high"},
        {"tolerance": 0.0},
        {"tolerance": np.nan},
        {"num_starts": 0},
        {"max_steps": 0},
        {"rng": -1},
        {"ridge": np.inf},
    ):
        for function in (condition_number, pseudo_condition_number):
            if not (function is pseudo_condition_number and "ridge" in options):
                with pytest.raises(ArgumentError):
                    function(a, **options)
    for bad in (1j * a, [[1.0]], "matrix"):
        with pytest.raises(BackendError):
            condition_number(bad)
    with pytest.raises(ShapeError):
        condition_number(np.zeros((0, 0)))
    with pytest.raises(NotSymmetricError):
        condition_number(np.triu(np.ones((30, 30))))
    with pytest.raises(NonFiniteError):
        condition_number(np.full((4, 4), np.nan))
    generator = np.random.default_rng(0)
    with pytest.raises(NonDeterministicError):
        condition_number(Operator(lambda block: block * generator.standard_normal(), like=np.zeros(9)))


def test_text_and_progress():
    seen = []
    result = condition_number(matrix("spiked"), max_steps=20, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 20) for i in range(2, result.num_steps + 1)]  # the first step belongs to the test of symmetry
    assert str(result).endswith(f"at 95%, {result.status} ({result.num_matvecs} matvecs)")


PSEUDO = {
    "zeros": np.concatenate([np.zeros(150), np.linspace(0.05, 1.0, 50)]),
    "indefinite": np.concatenate([np.zeros(100), np.linspace(-0.5, -0.1, 30), np.linspace(0.2, 1.0, 70)]),
    "almost zeros": np.concatenate([np.geomspace(1e-9, 1e-6, 100), np.linspace(0.1, 1.0, 100)]),
    "none": np.linspace(0.1, 1.0, 200),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", PSEUDO)
def test_pseudo_coverage(name, dtype):
    values = PSEUDO[name].astype(dtype)
    modulus = np.abs(values.astype(float))
    truth = 1.0 / np.min(modulus[modulus > 1e-4])
    nullity = np.sum(modulus <= 1e-4)
    results = [pseudo_condition_number(diagonal(values), rng=seed, max_steps=20 + 12 * seed) for seed in range(9)]
    assert sum(holds(result, truth) for result in results) >= 8
    assert sum(result.nullity.low <= nullity <= result.nullity.high for result in results) >= 8
    assert results[-1].status == "certified"
    assert results[-1].high <= 1.1 * results[-1].low
    assert {result.status for result in results} <= {"certified", "lower bound only", "exact"}
    assert all(result.high <= 1e4 for result in results)


def test_pseudo_of_small_and_degenerate_matrices(xp):
    assert pseudo_condition_number(xp.asarray(np.zeros((5, 5)))).status == "singular"
    identity = pseudo_condition_number(xp.asarray(np.eye(30)))
    assert holds(identity, 1.0)
    assert identity.nullity.value == pytest.approx(0.0, abs=1e-9)
    rank_one = pseudo_condition_number(xp.asarray(matrix("rank_one")))
    assert holds(rank_one, 1.0)
    assert rank_one.nullity.low <= 39 <= rank_one.nullity.high
    complete = pseudo_condition_number(xp.asarray(np.diag([0.0, 1e-9, 2.0, -4.0])))
    assert (complete.status, complete.nullity.num_matvecs) == ("exact", 5)
    assert complete.value == pytest.approx(2.0)
    single = pseudo_condition_number(xp.asarray(np.array([[-3.0]])))
    assert (single.value, single.status) == (1.0, "exact")
    assert (single.nullity.low, single.nullity.high) == (0.0, 0.0)


def test_pseudo_uses_the_threshold_that_is_asked_for():
    values = np.concatenate([np.full(50, 1e-3), np.linspace(0.1, 1.0, 50)])
    coarse = pseudo_condition_number(diagonal(values), rank_tolerance=1e-2)
    fine = pseudo_condition_number(diagonal(values), rank_tolerance=1e-5)
    assert holds(coarse, 10.0)
    assert holds(fine, 1000.0)
    assert coarse.threshold == pytest.approx(1e-2, rel=1e-3)
    assert fine.nullity.high < 1.0 <= coarse.nullity.low
    for bad in (0.0, 1.0, -1.0, np.nan):
        with pytest.raises(ArgumentError, match="rank_tolerance"):
            pseudo_condition_number(diagonal(values), rank_tolerance=bad)


def test_several_start_vectors_sharpen_the_nullity():
    values = np.concatenate([np.zeros(300), np.linspace(0.5, 1.0, 100)])
    one, ten = (pseudo_condition_number(diagonal(values), num_starts=p).nullity for p in (1, 10))
    assert ten.high - ten.low < 0.5 * (one.high - one.low)
    assert ten.low <= 300 <= ten.high
    assert ten.stderr == pytest.approx(one.stderr / math.sqrt(10.0), rel=0.2)
