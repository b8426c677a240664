import numpy as np
import pytest

from spectra import Operator, as_operator, eigenpairs
from spectra.arrays import to_host
from spectra.errors import ArgumentError, NonDeterministicError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.testing import matrix_with_spectrum, spectrum
from tests.cases import N, matrix


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", 1e-4)])
@pytest.mark.parametrize("name", ["inverse", "indefinite", "spiked", "geometric"])
def test_ends_of_the_spectrum(xp, name, dtype, bound):
    values = spectrum(name, N)
    a = matrix(name).astype(dtype)
    pairs = eigenpairs(xp.asarray(a), num=3, which="both")
    expected = np.concatenate([values[::-1][:3], values[:3]])
    assert pairs["end"].values.tolist() == ["largest"] * 3 + ["smallest"] * 3
    np.testing.assert_allclose(pairs["eigenvalue"], expected, atol=bound * np.max(np.abs(values)))
    assert bool(pairs["converged"].all())
    y = pairs["eigenvector"].values
    assert y.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1.0, rtol=10 * bound)
    residual = np.linalg.norm(a.astype(float) @ y.T - pairs["eigenvalue"].values * y.T, axis=0)
    norm = np.max(np.abs(values))
    np.testing.assert_allclose(pairs["residual"], residual, atol=bound * norm)
    assert np.all(residual <= pairs.attrs["tolerance"] * norm * 1.1)
    assert np.all(y[np.arange(6), np.argmax(np.abs(y), axis=1)] > 0)


def test_residual_certifies_an_eigenvalue_even_unconverged():
    values = spectrum("uniform", 400)
    a = matrix_with_spectrum(values)
    for steps in (1, 2, 5, 20):
        pairs = eigenpairs(a, num=2, which="both", max_steps=steps, num_starts=2)
        distance = np.min(np.abs(pairs["eigenvalue"].values[:, None] - values), axis=1)
        assert np.all(distance <= pairs["residual"] + 1e-13)
        assert not pairs["converged"].any()
        assert pairs.attrs["num_steps"] == steps
        assert np.all(pairs["eigenvalue"] <= values[-1] + 1e-13)
        np.testing.assert_array_equal(pairs["converged"], pairs["residual"] <= 1e-6 * pairs.attrs["operator_norm"])


def test_several_starts_see_multiplicities():
    values = np.concatenate([np.linspace(0.0, 1.0, 57), [5.0, 5.0, 5.0]])
    a = matrix_with_spectrum(values)
    one = eigenpairs(a, num=3, max_steps=8)
    assert np.sum(one["eigenvalue"].values > 4.0) == 1
    four = eigenpairs(a, num=4, num_starts=4)
    np.testing.assert_allclose(four["eigenvalue"][:3], 5.0, rtol=1e-12)
    assert four["eigenvalue"][3] == pytest.approx(1.0, abs=1e-3)
    y = four["eigenvector"].values
    np.testing.assert_allclose(y @ y.T, np.eye(4), atol=1e-10)


def test_several_starts_are_no_worse_than_one():
    a = matrix_with_spectrum(spectrum("uniform", 300))
    one, four = (float(eigenpairs(a, max_steps=8, num_starts=p)["eigenvalue"][0]) for p in (1, 4))
    assert four >= one


def test_isolated_end_costs_few_products():
    operator = as_operator(matrix_with_spectrum(np.concatenate([np.linspace(0.0, 1.0, 999), [10.0]])))
    pairs = eigenpairs(operator)
    assert pairs.attrs["num_steps"] <= 12
    assert pairs.attrs["num_matvecs"] == operator.num_matvecs == pairs.attrs["num_steps"] + 1


def test_more_steps_than_one_block():
    values = 1.0 / np.arange(1.0, 301.0)
    pairs = eigenpairs(matrix_with_spectrum(values), which="smallest", max_steps=300)
    assert pairs.attrs["num_steps"] > 64
    assert pairs["eigenvalue"][0] == pytest.approx(1.0 / 300.0, rel=1e-3)
    assert bool(pairs["converged"][0])


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (np.zeros((5, 5)), [0.0, 0.0]),
        (-2.0 * np.eye(5), [-2.0, -2.0]),
        (np.ones((5, 5)), [5.0, 0.0, 0.0, 5.0]),
        (np.array([[3]]), [3.0, 3.0]),
        (np.diag([1.0, 2.0]), [2.0, 1.0, 1.0, 2.0]),
    ],
)
def test_fewer_pairs_than_asked_for(a, expected):
    pairs = eigenpairs(a, num=3, which="both")
    np.testing.assert_allclose(pairs["eigenvalue"], expected, atol=1e-14)
    assert bool(pairs["converged"].all())
    assert np.all(np.isfinite(pairs["residual"]))


@pytest.mark.parametrize("scale", [1e-200, 1e-14, 1e14, 1e200])
def test_any_scale(scale):
    a = matrix("spiked")
    reference, scaled = eigenpairs(a, num=2, which="both"), eigenpairs(scale * a, num=2, which="both")
    np.testing.assert_allclose(scaled["eigenvalue"] / scale, reference["eigenvalue"], rtol=1e-11)
    np.testing.assert_allclose(scaled["residual"] / scale, reference["residual"], atol=1e-12)
    np.testing.assert_allclose(scaled["eigenvector"], reference["eigenvector"], atol=1e-5)


def test_start_vectors_of_the_caller():
    a = np.diag(np.arange(1.0, 11.0))
    pairs = eigenpairs(a, start=np.eye(10)[4])
    assert pairs["eigenvalue"].values.tolist() == [5.0]
    assert pairs.attrs["seed"] == -1
    both = eigenpairs(a, start=np.eye(10)[:, [2, 6]], num=2)
    np.testing.assert_allclose(both["eigenvalue"], [7.0, 3.0], rtol=1e-14)


def test_outermost_ritz_values_of_each_start():
    values = spectrum("uniform", 300)
    pairs = eigenpairs(matrix_with_spectrum(values), which="both", max_steps=8, num_starts=4)
    largest, smallest = pairs["start_largest"].values, pairs["start_smallest"].values
    assert largest.shape == smallest.shape == (4,)
    assert np.all(largest <= float(pairs["eigenvalue"][0]) + 1e-13)
    assert np.all(smallest >= float(pairs["eigenvalue"][1]) - 1e-13)


def test_without_vectors():
    pairs = eigenpairs(matrix("spiked"), keep_vectors=False)
    assert "eigenvector" not in pairs
    assert dict(pairs.sizes) == {"pair": 1, "start": 1}
    assert pairs.attrs["schema"] == "spectra/eigenpairs"


def test_tolerance_below_rounding_is_raised_to_it():
    pairs = eigenpairs(matrix("spiked").astype(np.float32), tolerance=1e-12)
    assert pairs.attrs["tolerance"] == 64 * np.finfo(np.float32).eps
    assert bool(pairs["converged"].all())


def test_agrees_with_dense_vectors(xp):
    a = matrix("spiked")
    _, u = np.linalg.eigh(a)
    pairs = eigenpairs(xp.asarray(a), tolerance=1e-12)
    assert abs(pairs["eigenvector"].values[0] @ u[:, -1]) == pytest.approx(1.0, abs=1e-12)
    assert to_host(xp.asarray(a)).shape == (N, N)


@pytest.mark.parametrize("num_starts", [1, 3])
def test_bad_operators(num_starts):
    skew = np.triu(np.random.default_rng(0).standard_normal((N, N)))
    with pytest.raises(NotSymmetricError):
        eigenpairs(skew, num_starts=num_starts)
    with pytest.raises(NonFiniteError):
        eigenpairs(np.full((4, 4), np.nan), num_starts=num_starts)
    a, calls = matrix("spiked"), []

    def drifting(block):
        calls.append(1)
        return a @ block * (1.0 + 1e-3 * (len(calls) > 5))

    with pytest.raises(NonDeterministicError):
        eigenpairs(Operator(drifting, like=np.zeros(N)), num_starts=num_starts, tolerance=1e-10)


def test_wrong_calls():
    operator = as_operator(np.eye(3))
    for bad in (
        {"num": 0},
        {"which": "middle"},
        {"tolerance": 0.0},
        {"tolerance": np.nan},
        {"max_steps": 0},
        {"num_starts": 0},
        {"rng": None},
    ):
        with pytest.raises(ArgumentError):
            eigenpairs(operator, **bad)
    with pytest.raises(ShapeError):
        eigenpairs(operator, start=np.ones(4))
    assert operator.num_matvecs == 0


def test_progress_stays_within_the_total():
    seen = []
    eigenpairs(matrix("uniform"), max_steps=10, progress=lambda *args: seen.append(args))
    assert seen[-1] == (10, 10)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
