import numpy as np
import pytest

from spectra import Operator
from spectra.arrays import to_host
from spectra.errors import ArgumentError, NonDeterministicError, NonFiniteError, NotSymmetricError
from spectra.krylov_aware import block_krylov, krylov_aware_trace
from spectra.products import Products
from spectra.start_vectors import start_vectors
from spectra.testing import matrix_with_spectrum

N = 150
POWER = 1.0 / np.arange(1.0, N + 1.0)
SMALL = {"num_probes": 5, "num_steps": 6, "num_deflation_steps": 5}


def space_of(a, *, b=2, num_steps=6):
    products = Products(a)
    start = products.xp.matrix_transpose(start_vectors(products.operator.like, num=b)) / a.shape[0] ** 0.5
    return products, block_krylov(products, start, num_steps=num_steps)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-13), ("float32", 1e-5)])
def test_projection_on_an_orthonormal_basis(xp, dtype, bound):
    a = matrix_with_spectrum(POWER, 1).astype(dtype)
    products, space = space_of(xp.asarray(a))
    q = to_host(space.basis)
    np.testing.assert_allclose(q @ q.T, np.eye(12), atol=bound)
    np.testing.assert_allclose(products.unscaled(space.projection), q @ a @ q.T, atol=bound)
    assert space.sizes == (2,) * 6
    assert not space.exhausted
    assert products.num_matvecs == 13
    i, j = np.nonzero(np.abs(space.projection) > bound)
    assert np.max(np.abs(i - j)) <= 3  # block tridiagonal


def test_block_of_f_is_exact_for_polynomials():
    a, q, r = matrix_with_spectrum(np.linspace(-1.0, 1.0, N), 1), 2, 3
    products, space = space_of(a, num_steps=q + 1 + r)
    basis, d = to_host(space.basis), 2 * (q + 1)
    t = products.unscaled(space.projection)
    for degree, exact in ((2 * r + 1, True), (2 * r + 2, False)):
        block = np.linalg.matrix_power(t, degree)[:d, :d]
        truth = basis[:d] @ np.linalg.matrix_power(a, degree) @ basis[:d].T
        assert (np.max(np.abs(block - truth)) < 1e-14) == exact


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        (np.zeros(N), (2,)),
        (np.ones(N), (2,)),
        (np.eye(1, N)[0], (2, 1)),
        (np.where(np.arange(N) < 3, 5.0, 0.0), (2, 2)),
        (np.where(np.arange(N) < 50, -2.0, 1.0), (2, 2)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dependent_blocks_and_exhausted_spaces(xp, values, sizes, dtype):
    a = matrix_with_spectrum(values, 1).astype(dtype)
    if np.all(values == values[0]):
        a = np.diag(values).astype(dtype)
    _, space = space_of(xp.asarray(a))
    assert space.sizes == sizes
    assert space.exhausted
    f = np.exp
    found = krylov_aware_trace(xp.asarray(a), f, **SMALL)
    truth = np.sum(f(values))
    assert found.low <= truth <= found.high
    if sizes != (2, 2):  # else an eigenvalue of greater multiplicity than the block has a part that is sampled
        assert found.value == pytest.approx(truth, rel=200 * float(np.finfo(dtype).eps))


def test_whole_space():
    values = np.arange(1.0, 9.0)
    found = krylov_aware_trace(matrix_with_spectrum(values, 1), np.log, **SMALL)
    assert found.status == "exact"
    assert found.low <= np.sum(np.log(values)) <= found.high
    assert found.num_matvecs == 9
    single = krylov_aware_trace(np.array([[4.0]]), np.sqrt)
    assert (single.value, single.status) == (2.0, "exact")


def test_unbiased():
    values, f = np.linspace(0.5, 2.0, N), np.square
    a = matrix_with_spectrum(values, 1)
    found = [krylov_aware_trace(a, f, rng=seed, **SMALL).value for seed in range(80)]
    z = (np.mean(found) - np.sum(f(values))) / (np.std(found, ddof=1) / np.sqrt(len(found)))
    assert abs(z) < 3.0


@pytest.mark.parametrize("f", [np.exp, np.square, lambda x: x], ids=["exp", "square", "x"])
@pytest.mark.parametrize("values", [POWER, np.exp(-np.arange(N) / 4.0), np.linspace(-1.0, 1.0, N)])
def test_intervals_cover(values, f):
    a = matrix_with_spectrum(values, 1)
    covered = []
    for seed in range(20):
        found = krylov_aware_trace(a, f, rng=seed, num_probes=6, num_steps=8, num_deflation_steps=8)
        covered.append(found.low is None or found.low <= np.sum(f(values)) <= found.high)
    assert sum(covered) >= 16  # nominal .95: fewer hits have a probability of 0.3%


def test_products_are_counted():
    calls = []
    a = matrix_with_spectrum(POWER, 1)

    def matmat(block):
        calls.append(block.shape[1])
        return a @ block

    found = krylov_aware_trace(Operator(matmat, like=np.zeros(N)), np.exp, **SMALL)
    assert found.num_matvecs == sum(calls) == 2 * (5 + 6) + 5 * 6 + 1


def test_singular_undefined_and_unresolved():
    assert krylov_aware_trace(matrix_with_spectrum(np.eye(1, N)[0], 1), np.log, **SMALL).status == "singular"
    with pytest.raises(ArgumentError, match="NaN at -"):
        krylov_aware_trace(matrix_with_spectrum(np.linspace(-1.0, 1.0, N), 1), np.log, **SMALL)
    wide = matrix_with_spectrum(np.geomspace(1e-8, 1.0, N), 1)
    found = krylov_aware_trace(wide, np.log, num_probes=5, num_steps=2, num_deflation_steps=2)
    assert found.status == "unresolved"
    assert found.low is found.high is None
    one = krylov_aware_trace(wide, np.exp, num_probes=1, num_steps=10)
    assert one.stderr is one.low is None


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_any_scale(scale):
    a = matrix_with_spectrum(POWER, 1)
    reference = krylov_aware_trace(a, lambda x: x, **SMALL)
    scaled = krylov_aware_trace(scale * a, lambda x: x, **SMALL)
    assert scaled.value / scale == pytest.approx(reference.value, rel=1e-11)
    assert scaled.high / scale == pytest.approx(reference.high, rel=1e-9)


def test_unsound_operators():
    generator = np.random.default_rng(0)
    a = matrix_with_spectrum(POWER, 1)
    noisy = Operator(lambda v: a @ v * (1.0 + 1e-3 * generator.standard_normal()), like=np.zeros(N))
    with pytest.raises(NonDeterministicError):
        krylov_aware_trace(noisy, np.exp, **SMALL)
    with pytest.raises(NotSymmetricError):
        krylov_aware_trace(np.triu(generator.standard_normal((N, N))), np.exp, **SMALL)
    with pytest.raises(NonFiniteError):
        krylov_aware_trace(np.full((N, N), np.nan), np.exp, **SMALL)


@pytest.mark.parametrize("name", ["num_probes", "num_steps", "block_size", "num_deflation_steps"])
def test_wrong_calls(name):
    with pytest.raises(ArgumentError, match=name):
        krylov_aware_trace(Operator(lambda v: 1 / 0, like=np.zeros(N)), np.exp, **{name: 0})
