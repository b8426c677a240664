import numpy as np
import pytest

from spectra import Operator, as_operator, lanczos
from spectra.arrays import to_host
from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.lanczos import Iteration
from spectra.start_vectors import start_vectors
from spectra.testing import matrix_with_spectrum, spectrum
from spectra.tridiagonal import tridiagonal_eigh
from tests.cases import matrix


def run(a, *, p=3, m=12, **options):
    operator = as_operator(a)
    return lanczos(operator, start_vectors(operator.like, num=p), num_steps=m, **options)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-14), ("float32", 5e-6)])
@pytest.mark.parametrize("name", ["inverse", "geometric", "indefinite", "spiked", "uniform"])
def test_relation_and_orthonormality(xp, name, dtype, bound):
    a = matrix(name).astype(dtype)
    result = run(xp.asarray(a), keep_basis=True)
    for i in range(3):
        q = to_host(result.basis[i, ...])
        k = int(result.num_steps[i])
        t = (
            np.diag(result.diagonal[i])
            + np.diag(result.off_diagonal[i, :-1], 1)
            + np.diag(result.off_diagonal[i, :-1], -1)
        )
        remainder = a.astype(float) @ q.T - q.T @ t
        norm = np.linalg.norm(a, 2)
        assert k == 12
        assert np.max(np.abs(q @ q.T - np.eye(k))) <= bound
        assert np.max(np.abs(remainder[:, :-1])) <= bound * norm
        assert np.linalg.norm(remainder[:, -1]) == pytest.approx(result.off_diagonal[i, -1], abs=bound * float(norm))


def test_libraries_agree(xp):
    reference, ours = run(matrix("spiked")), run(xp.asarray(matrix("spiked")))
    np.testing.assert_allclose(ours.diagonal, reference.diagonal, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.off_diagonal, reference.off_diagonal, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["inverse", "indefinite", "spiked"])
def test_all_eigenvalues_after_n_steps(name):
    result = run(matrix(name), m=100)
    assert result.num_steps.tolist() == [40, 40, 40]
    for i in range(3):
        values = result.ritz(i).values
        np.testing.assert_allclose(values, spectrum(name, 40), atol=1e-13 * np.max(np.abs(values)))
        np.testing.assert_array_equal(result.ritz(i).residuals, 0.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "order"), [("zero", 1), ("identity", 1), ("rank_one", 2), ("two_values", 2)])
def test_breakdown(xp, name, order, dtype):
    a = matrix(name).astype(dtype) if name not in {"zero", "identity"} else np.diag(spectrum(name, 40)).astype(dtype)
    result = run(xp.asarray(a), m=30)
    assert result.num_steps.tolist() == [order] * 3
    assert result.diagonal.shape == (3, order)
    expected = np.unique(spectrum(name, 40))
    for i in range(3):
        np.testing.assert_allclose(result.ritz(i).values, expected, atol=20 * np.finfo(dtype).eps)
        assert result.ritz(i).weights.sum() == pytest.approx(1.0, abs=1e-15)


def test_one_probe_ends_early_and_the_others_go_on():
    values = np.arange(1.0, 21.0)
    start = np.ones((20, 3))
    start[:, 1] = np.eye(20)[4]
    start[:, 2] = np.eye(20)[2] + np.eye(20)[7]
    result = lanczos(np.diag(values), start, num_steps=15, keep_basis=True)
    assert result.num_steps.tolist() == [15, 1, 2]
    assert result.ritz(1).values.tolist() == [5.0]
    np.testing.assert_allclose(result.ritz(2).values, [3.0, 8.0], rtol=1e-14)
    np.testing.assert_array_equal(result.basis[1, 1:], 0.0)
    alone = lanczos(np.diag(values), start[:, 0], num_steps=15)
    np.testing.assert_allclose(result.diagonal[0], alone.diagonal[0], rtol=1e-12)


@pytest.mark.parametrize("exponent", [-600, -47, 0, 46, 600])
def test_powers_of_two_change_units_only(exponent):
    a = matrix("spiked")
    reference, scaled = run(a), run(np.ldexp(a, exponent))
    np.testing.assert_array_equal(scaled.diagonal, np.ldexp(reference.diagonal, exponent))
    np.testing.assert_array_equal(scaled.ritz(0).values, np.ldexp(reference.ritz(0).values, exponent))
    np.testing.assert_array_equal(scaled.ritz(0).weights, reference.ritz(0).weights)


@pytest.mark.parametrize("scale", [1e-290, 1e-200, 1e-14, 1e14, 1e200, 1e290])
def test_any_scale(scale):
    reference, scaled = run(matrix("indefinite"), m=40), run(matrix("indefinite") * scale, m=40)
    np.testing.assert_allclose(scaled.ritz(0).values / scale, reference.ritz(0).values, atol=1e-13 * 8)


@pytest.mark.parametrize("scale", [1e-36, 1e-30, 1e30, 1e36])
def test_any_scale_in_float32(xp, scale):
    a = (matrix("spiked", 10) * scale).astype(np.float32)
    top = run(xp.asarray(a), m=10).ritz(0).values[-1]
    assert top == pytest.approx(40.0 * scale, rel=1e-5)


def test_scale_of_the_start_vector_does_not_matter():
    a, v = matrix("spiked"), np.random.default_rng(0).standard_normal(40)
    reference = lanczos(a, v, num_steps=5)
    for scale in (2.0**-900, 2.0**900):
        result = lanczos(a, scale * v, num_steps=5)
        np.testing.assert_array_equal(result.diagonal, reference.diagonal)
        assert result.start_norm[0] == reference.start_norm[0] * scale


def test_no_ghosts_with_and_ghosts_without_reorthogonalization():
    values = np.concatenate([np.linspace(0.0, 1.0, 399), [10.0]])
    assert np.sum(run(np.diag(values), p=1, m=150).ritz(0).values > 5.0) == 1
    assert np.sum(run(np.diag(values), p=1, m=150, reorthogonalize=False).ritz(0).values > 5.0) > 1


def test_sums_survive_without_reorthogonalization():
    reference, plain = run(matrix("spiked"), m=12), run(matrix("spiked"), m=12, reorthogonalize=False)
    for i in range(3):
        a, b = reference.ritz(i), plain.ritz(i)
        assert b.weights @ np.exp(b.values / 40) == pytest.approx(a.weights @ np.exp(a.values / 40), rel=1e-10)


def test_continuing_equals_running_at_once():
    operator = as_operator(matrix("inverse"))
    start = start_vectors(operator.like, num=2)
    parts = Iteration(operator, start, store=4)
    for _ in range(3):
        parts.advance(4)
    at_once = lanczos(operator, start, num_steps=12)
    np.testing.assert_allclose(parts.tridiagonal().diagonal, at_once.diagonal, rtol=1e-11)
    ones = np.eye(12)[:, :2]
    basis = lanczos(operator, start, num_steps=12, keep_basis=True).basis
    np.testing.assert_allclose(parts.combine(1, ones), basis[1, :2, :].T, atol=1e-13)


@pytest.mark.parametrize("call", [1, 2, 7, 11])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_products_name_step_and_probe(call, bad):
    a, calls = matrix("spiked"), []

    def matmat(block):
        calls.append(1)
        product = a @ block
        if len(calls) == call:
            product[3, 1] = bad
        return product

    with pytest.raises(NonFiniteError, match=f"step {call} of start vector 1"):
        run(Operator(matmat, like=np.zeros(40)), m=20)


def test_overflow_in_the_product_is_an_error():
    with np.errstate(over="ignore"), pytest.raises(NonFiniteError, match="start vector 1 met NaN or infinity"):
        lanczos(np.full((40, 40), 1e308), np.stack([np.eye(40)[0], np.ones(40)], axis=1), num_steps=3)


def test_nan_for_the_zero_vector_does_not_reach_other_probes():
    values = np.arange(1.0, 11.0)

    def matmat(block):
        with np.errstate(invalid="ignore"):
            return values[:, None] * block * (np.linalg.norm(block, axis=0) / np.linalg.norm(block, axis=0))

    start = np.stack([np.ones(10), np.eye(10)[3]], axis=1)
    result = lanczos(Operator(matmat, like=np.zeros(10)), start, num_steps=9)
    assert result.num_steps.tolist() == [9, 1]
    assert np.all(np.isfinite(result.diagonal))


def test_progress_and_cost():
    seen = []
    result = run(matrix("spiked"), m=5, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]
    assert result.num_matvecs == 15


def test_exhausted_spaces_stop_early():
    operator = as_operator(np.eye(1000))
    assert run(operator, p=2, m=300).num_matvecs == 16 == operator.num_matvecs


def test_argument_stays_and_interruption_passes():
    start = np.ones(40)
    lanczos(matrix("spiked"), start, num_steps=3)
    np.testing.assert_array_equal(start, 1.0)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(matrix("spiked"), progress=interrupt)


@pytest.mark.parametrize("start", [np.zeros(40), np.full(40, np.nan), np.full(40, np.inf)])
def test_unusable_start_vectors(start):
    with pytest.raises(ArgumentError, match="column 0"):
        lanczos(matrix("spiked"), start, num_steps=3)


def test_wrong_calls():
    a = matrix("spiked")
    for bad in (0, -1, 2.0, None):
        with pytest.raises(ArgumentError, match="num_steps"):
            run(a, m=bad)
    for start in (np.ones(39), np.ones((40, 0)), np.ones((40, 1, 1))):
        with pytest.raises(ShapeError):
            lanczos(a, start, num_steps=3)
    with pytest.raises(BackendError):
        lanczos(a, np.ones(40, dtype=np.float32), num_steps=3)
    with pytest.raises(BackendError):
        lanczos(a, [1.0] * 40, num_steps=3)


def test_tridiagonal_eigenproblem_at_extreme_scales():
    for scale in (1e-300, 1.0, 1e300):
        values, vectors = tridiagonal_eigh(scale * np.array([2.0, 2.0]), scale * np.array([1.0]))
        np.testing.assert_allclose(values / scale, [1.0, 3.0], rtol=1e-14)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(2), atol=1e-15)


def test_residual_bounds_the_distance_to_an_eigenvalue():
    values = np.sort(np.random.default_rng(0).standard_normal(60))
    result = run(matrix_with_spectrum(values), m=15)
    for i in range(3):
        nodes = result.ritz(i)
        distance = np.min(np.abs(nodes.values[:, None] - values), axis=1)
        assert np.all(distance <= nodes.residuals + 1e-13)
