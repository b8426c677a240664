import numpy as np
import pytest

from spectra import Operator, as_operator, eigenpairs
from spectra.arrays import to_host
from spectra.errors import (
    ArgumentError,
    BackendError,
    NonDeterministicError,
    NonFiniteError,
    NotSymmetricError,
    ShapeError,
)
from spectra.testing import matrix_with_spectrum, spectrum
from tests.cases import N, matrix, optional


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
        {"max_basis_bytes": 0},
        {"max_basis_bytes": 23},
        {"verify_steps": -1},
        {"rng": None},
        {"start": np.full(3, np.nan)},
        {"start": np.zeros(3)},
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


def test_error_bounds_hold_and_are_sharper_than_residuals():
    for name in ("inverse", "spiked", "indefinite", "geometric", "uniform"):
        values = spectrum(name, 200)
        a = matrix_with_spectrum(values)
        for tolerance in (1e-2, 1e-4, 1e-6):
            pairs = eigenpairs(a, num=4, which="both", tolerance=tolerance)
            error = np.min(np.abs(pairs["eigenvalue"].values[:, None] - values), axis=1)
            assert np.all(error <= pairs["error_bound"])
            slack = 64 * np.finfo(float).eps * pairs.attrs["operator_norm"]
            assert np.all(pairs["error_bound"] <= pairs["residual"] + slack)
    sharp = eigenpairs(matrix_with_spectrum(spectrum("spiked", 200)), num=3, tolerance=1e-6)
    assert np.all(sharp["error_bound"] < 1e-4 * np.maximum(sharp["residual"], 1e-6))


def test_error_bound_of_a_cluster():
    values = np.concatenate([np.linspace(0.0, 1.0, 97), [5.0] * 3])
    pairs = eigenpairs(matrix_with_spectrum(values), num=3, num_starts=4, tolerance=1e-4)
    assert np.all(np.abs(pairs["eigenvalue"] - 5.0) <= pairs["error_bound"])
    assert np.all(pairs["error_bound"] < 1e-3 * pairs.attrs["tolerance"])


@pytest.mark.parametrize("which", ["largest", "smallest", "both", "magnitude"])
def test_bounded_memory_gives_the_same_pairs(which):
    a = matrix_with_spectrum(spectrum("indefinite", 200))
    free = eigenpairs(a, num=2, which=which, num_starts=2, tolerance=1e-9, max_steps=1000)
    bounded = eigenpairs(
        a, num=2, which=which, num_starts=2, tolerance=1e-9, max_steps=1000, max_basis_bytes=20 * 200 * 8
    )
    assert (free.attrs["num_restarts"], free.attrs["basis_rows"] > 20) == (0, True)
    assert bounded.attrs["num_restarts"] > 0
    assert bounded.attrs["basis_rows"] <= 20
    assert bool(bounded["converged"].all())
    assert bounded["end"].values.tolist() == free["end"].values.tolist()
    np.testing.assert_allclose(bounded["eigenvalue"], free["eigenvalue"], atol=1e-13)
    np.testing.assert_allclose(bounded["eigenvector"], free["eigenvector"], atol=1e-6)


def test_smallest_basis():
    a = matrix_with_spectrum(spectrum("spiked", 100))
    with pytest.raises(ArgumentError, match="at least 3200, for 4 vectors of 800 bytes, got 3199"):
        eigenpairs(a, max_basis_bytes=3199)
    pairs = eigenpairs(a, max_basis_bytes=3200, max_steps=500)
    assert bool(pairs["converged"].all())
    assert pairs.attrs["basis_rows"] == 4


def test_largest_modulus():
    values = np.array([-9.0, -1.0, 0.5, 4.0, 7.0, 8.0])
    pairs = eigenpairs(np.diag(values), num=4, which="magnitude")
    np.testing.assert_allclose(pairs["eigenvalue"], [-9.0, 8.0, 7.0, 4.0], rtol=1e-12)
    assert pairs["end"].values.tolist() == ["magnitude"] * 4


def test_multiplicity_says_when_it_may_be_higher():
    values = np.concatenate([np.linspace(0.0, 1.0, 57), [3.0], [5.0] * 3])
    a = matrix_with_spectrum(values)
    two, four = eigenpairs(a, num=3, num_starts=2), eigenpairs(a, num=4, num_starts=4, tolerance=1e-8)
    assert two["multiplicity"].values.tolist() == [2, 2, 1]
    assert two["multiplicity_resolved"].values.tolist() == [False, False, True]
    assert four["multiplicity"].values.tolist() == [3, 3, 3, 1]
    assert four["multiplicity_resolved"].values.tolist() == [True] * 4
    assert not eigenpairs(a)["multiplicity_resolved"].any()


def test_verification_finds_what_one_start_cannot_see():
    values = np.concatenate([np.linspace(0.0, 1.0, 57), [3.0], [5.0] * 3])
    a = matrix_with_spectrum(values)
    pairs = eigenpairs(a, num=4, verify_steps=200)
    np.testing.assert_allclose(pairs["eigenvalue"], [5.0, 5.0, 5.0, 3.0], rtol=1e-12)
    assert pairs["multiplicity"].values.tolist() == [3, 3, 3, 1]
    assert bool(pairs["multiplicity_resolved"].all())
    assert bool(pairs["converged"].all())
    assert pairs.attrs["verified_level"] == 0.99
    y = pairs["eigenvector"].values
    np.testing.assert_allclose(y @ y.T, np.eye(4), atol=1e-10)
    residual = np.linalg.norm(a @ y.T - pairs["eigenvalue"].values * y.T, axis=0)
    np.testing.assert_allclose(pairs["residual"], residual, atol=1e-12)
    spent = as_operator(a)
    few = eigenpairs(spent, num=4, verify_steps=2)
    assert few.attrs["verified_level"] == 0.0
    assert few.attrs["num_matvecs"] == spent.num_matvecs == few.attrs["num_steps"] + 4
    assert not few["multiplicity_resolved"].any()


@pytest.mark.parametrize("a", [np.zeros((5, 5)), 3.0 * np.eye(5), np.ones((5, 5)), np.array([[2.0]])])
def test_verification_of_degenerate_matrices(a):
    values = np.linalg.eigvalsh(a)
    pairs = eigenpairs(a, num=7, verify_steps=50)
    np.testing.assert_allclose(pairs["eigenvalue"], values[::-1], atol=1e-14)
    assert bool(pairs["multiplicity_resolved"].all())
    expected = [np.sum(np.abs(values - v) < 1e-12) for v in values[::-1]]
    assert pairs["multiplicity"].values.tolist() == expected


def test_warm_start_saves_products():
    values = np.concatenate([np.linspace(0.0, 2.0, 290), np.linspace(4.0, 40.0, 10)])
    a = matrix_with_spectrum(values)
    earlier = eigenpairs(a, num=3)
    noise = np.random.default_rng(0).standard_normal((300, 300))
    later = a + 0.01 * 40.0 * (noise + noise.T) / np.linalg.norm(noise + noise.T, 2)
    top = np.linalg.eigvalsh(later)[::-1][:3]
    for tolerance, ratio in ((1e-6, 1.0), (1e-3, 0.8)):
        cold, warm, array = 0, 0, 0
        for seed in range(5):
            options = {"num": 3, "rng": seed, "tolerance": tolerance}
            cold += eigenpairs(later, **options).attrs["num_matvecs"]
            pairs = eigenpairs(later, **options, start=earlier)
            np.testing.assert_allclose(pairs["eigenvalue"], top, atol=40.0 * tolerance)
            assert pairs.attrs["seed"] == seed
            warm += pairs.attrs["num_matvecs"]
            vectors = earlier["eigenvector"].values.T
            array += eigenpairs(later, **options, start=vectors, num_starts=1).attrs["num_matvecs"]
        assert warm < ratio * cold
        assert array == warm


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6])
def test_warm_start_sees_a_new_eigenvalue(tolerance):
    values = np.concatenate([np.linspace(0.0, 1.0, 297), [3.0, 4.0, 5.0]])
    earlier = eigenpairs(np.diag(values), num=3, tolerance=1e-12)
    for new in (4.5, 6.0, 20.0):
        later = values.copy()
        later[10] = new
        for seed in range(5):
            pairs = eigenpairs(np.diag(later), num=3, start=earlier, rng=seed, tolerance=tolerance)
            np.testing.assert_allclose(pairs["eigenvalue"], np.sort(later)[::-1][:3], atol=20 * tolerance)


def test_warm_start_keeps_multiplicities(xp):
    values = np.concatenate([np.linspace(0.0, 1.0, 57), [5.0] * 3])
    earlier = eigenpairs(xp.asarray(matrix_with_spectrum(values)), num=3, num_starts=4)
    pairs = eigenpairs(xp.asarray(1.01 * matrix_with_spectrum(values)), num=3, start=earlier)
    np.testing.assert_allclose(pairs["eigenvalue"], 5.05, rtol=1e-10)
    assert pairs.sizes["start"] == 3


def test_dynamic_range_of_eighteen_decades():
    values = np.geomspace(1e-18, 1.0, 60)
    pairs = eigenpairs(matrix_with_spectrum(values), num=3, which="both", tolerance=1e-12)
    np.testing.assert_allclose(pairs["eigenvalue"], [*values[::-1][:3], *values[:3]], atol=1e-11)
    assert bool(pairs["converged"].all())


def test_unusual_matrices():
    read_only = matrix("spiked")
    read_only.flags.writeable = False
    assert eigenpairs(read_only)["eigenvalue"][0] == pytest.approx(40.0, rel=1e-9)
    assert eigenpairs(np.diag(np.arange(N)))["eigenvalue"][0] == pytest.approx(N - 1.0, rel=1e-9)

    def overwriting(block):
        block *= np.arange(1.0, N + 1.0)[:, None]
        return block

    for starts in (1, 3):
        pairs = eigenpairs(Operator(overwriting, like=np.zeros(N)), num_starts=starts, num=2, which="both")
        np.testing.assert_allclose(pairs["eigenvalue"], [N, N - 1.0, 1.0, 2.0], rtol=1e-9)
    with pytest.raises(BackendError):
        eigenpairs(np.eye(3, dtype=complex))
    few = eigenpairs(np.diag([1.0, 2.0, 4.0]), num=2, num_starts=7)
    np.testing.assert_allclose(few["eigenvalue"], [4.0, 2.0], rtol=1e-13)
    with pytest.raises(NonFiniteError):
        eigenpairs(np.full((3, 3), 0.9e308))


def test_any_operator(any_operator):
    operator = as_operator(any_operator)
    pairs = eigenpairs(operator, num=2, which="both", num_starts=2)
    dense = operator @ np.eye(operator.shape[0])
    exact = np.linalg.eigvalsh(dense)
    norm = max(abs(exact[0]), abs(exact[-1]))
    assert float(pairs["eigenvalue"][0]) == pytest.approx(exact[-1], abs=1e-9 * norm)
    smallest = pairs["eigenvalue"].values[pairs["end"].values == "smallest"]
    assert smallest[0] == pytest.approx(exact[0], abs=1e-6 * norm)


def test_long_searches_make_no_ghosts():
    values = np.concatenate([np.linspace(0.0, 1.0, 490), np.linspace(3.0, 12.0, 10)])
    for memory in (None, 60 * 500 * 8):
        pairs = eigenpairs(np.diag(values), num=14, tolerance=1e-13, max_steps=200, max_basis_bytes=memory)
        np.testing.assert_allclose(pairs["eigenvalue"][:10], values[::-1][:10], rtol=1e-12)
        assert np.all(pairs["eigenvalue"][10:] <= 1.0 + 1e-12)
        assert np.all(np.diff(pairs["eigenvalue"]) < 0.0)
        assert pairs["multiplicity"].values.tolist() == [1] * 14


def test_saved_pairs_start_a_search(tmp_path):
    from spectra import load, save

    a = matrix("spiked")
    pairs = load(save(eigenpairs(a, num=2), tmp_path / "pairs.nc"))
    again = eigenpairs(a, num=2, start=pairs)
    np.testing.assert_allclose(again["eigenvalue"], pairs["eigenvalue"], rtol=1e-12)


def test_outermost_ritz_values_of_the_search_are_within_the_spectrum():
    values = spectrum("indefinite", 200)
    for memory in (None, 12 * 200 * 8):
        attrs = eigenpairs(matrix_with_spectrum(values), which="largest", max_basis_bytes=memory).attrs
        assert values[0] - 1e-12 <= attrs["smallest_ritz_value"] < 0.7 * values[0]
        assert attrs["largest_ritz_value"] == pytest.approx(values[-1], rel=1e-9)
        assert attrs["operator_norm"] == max(-attrs["smallest_ritz_value"], attrs["largest_ritz_value"])


def test_long_float32_eigenvectors_are_normalized_exactly_enough_to_be_certified():
    """A few large entries among millions of small ones: PyTorch's own float32 norm errs by 4e-4 there."""
    torch = optional("torch")
    n = 3_500_000
    rng = np.random.default_rng(0)
    vector = torch.as_tensor(rng.standard_normal(n) * np.linspace(1, 0.02, n) ** 3, dtype=torch.float32)
    vector /= vector.double().norm().float()
    operator = Operator(lambda block: vector[:, None] * (vector.double() @ block.double()).float(), like=vector)
    found = eigenpairs(operator, num=1, tolerance=1e-3, max_steps=6, rng=0)
    assert found["eigenvalue"].values[0] == pytest.approx(1.0, abs=2e-6)
    assert found["residual"].values[0] < 1e-5
