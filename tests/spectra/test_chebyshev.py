import numpy as np
import pytest

import spectra
from spectra import Operator, as_operator, cdf, expectation, moment, slq, validate_measure, wasserstein_distance
from spectra.chebyshev import _interval, kernel_polynomial
from spectra.errors import (
    ArgumentError,
    BackendError,
    NonDeterministicError,
    NonFiniteError,
    NotSymmetricError,
    ShapeError,
)
from spectra.start_vectors import start_vectors
from spectra.testing import matrix_with_spectrum, spectrum
from tests.cases import N, matrix


def exact_moments(a, interval, *, num, probes):
    """Chebyshev moments of the probes from dense eigenvectors."""
    values, vectors = np.linalg.eigh(a)
    start = start_vectors(np.zeros(len(a)), num=probes) / np.sqrt(len(a))
    weights = (vectors.T @ start) ** 2
    t = (values - np.mean(interval)) / (0.5 * (interval[1] - interval[0]))
    angles = np.arccos(np.clip(t, -1.0, 1.0))
    return (np.cos(np.arange(num)[:, None] * angles) @ weights).T


@pytest.mark.parametrize("num", [2, 3, 4, 59, 60])
@pytest.mark.parametrize("name", ["inverse", "indefinite", "spiked"])
def test_moments_against_dense(xp, name, num):
    a = matrix(name)
    measure = kernel_polynomial(xp.asarray(a), num_moments=num, num_probes=3)
    validate_measure(measure)
    expected = exact_moments(a, measure.attrs["interval"], num=num, probes=3)
    np.testing.assert_allclose(measure["chebyshev_moment"], expected, atol=1e-12)
    assert measure["weight"].shape == (3, 4 * num)


def test_float32(xp):
    a = matrix("indefinite").astype(np.float32)
    measure = kernel_polynomial(xp.asarray(a), num_probes=3)
    expected = exact_moments(a.astype(float), measure.attrs["interval"], num=60, probes=3)
    # rounding of 6e-8 per product, which the recurrence lets grow in proportion to the degree
    np.testing.assert_allclose(measure["chebyshev_moment"], expected, atol=60 * 2**-23)
    assert measure.attrs["dtype"] == "float32"


@pytest.mark.parametrize("damping", ["jackson", "fejer"])
def test_measure_has_the_damped_moments(damping):
    measure = kernel_polynomial(matrix("spiked"), num_moments=20, num_probes=2, damping=damping)
    low, high = measure.attrs["interval"]
    t = (measure["ritz_value"].values - 0.5 * (low + high)) / (0.5 * (high - low))
    k = np.arange(80)
    raw = np.zeros((2, 80))
    raw[:, :20] = measure["chebyshev_moment"].values
    found = np.einsum("pj,pjk->pk", measure["weight"].values, np.cos(k * np.arccos(t)[..., None]))
    if damping == "fejer":
        factors = np.maximum(1.0 - k / 20, 0.0)
    else:
        angle = np.pi / 21
        factors = ((21 - k) * np.cos(k * angle) + np.sin(k * angle) / np.tan(angle)) / 21 * (k < 20)
    np.testing.assert_allclose(found, factors * raw, atol=1e-13)
    assert np.all(measure["weight"] >= 0)
    np.testing.assert_allclose(measure["weight"].sum("node"), 1.0, rtol=1e-14)
    np.testing.assert_allclose(measure["coarse_weight"].sum("node"), 1.0, rtol=1e-14)
    assert np.all(np.isnan(measure["residual"]))


def test_layout_and_cost():
    seen = []
    operator = as_operator(matrix("spiked"))
    options = {"num_moments": 21, "num_probes": 4, "rng": 3, "interval": (-1.0, 50.0)}
    measure = kernel_polynomial(operator, progress=lambda *args: seen.append(args), **options)
    assert seen == [(k, 10) for k in range(1, 11)]
    assert measure.attrs["num_matvecs"] == operator.num_matvecs == 4 * 10 + 1
    assert (measure.attrs["method"], measure.attrs["damping"], measure.attrs["seed"]) == ("kpm", "jackson", 3)
    np.testing.assert_allclose(measure.attrs["interval"], [-1.0, 50.0], rtol=1e-11)
    automatic = as_operator(matrix("spiked"))
    assert kernel_polynomial(automatic, num_probes=4).attrs["num_matvecs"] == automatic.num_matvecs == 4 * 30 + 1 + 20
    single = as_operator(matrix("spiked"))
    assert kernel_polynomial(single, num_probes=1).attrs["num_matvecs"] == single.num_matvecs == 30 + 2 + 20


def test_probes_depend_on_their_index_only():
    three, five = (kernel_polynomial(matrix("inverse"), num_probes=p) for p in (3, 5))
    np.testing.assert_allclose(three["weight"], five["weight"][:3], atol=1e-13)
    np.testing.assert_array_equal(three["ritz_value"], five["ritz_value"][:3])


def test_measure_functions_accept_it():
    values = spectrum("uniform", 200)
    measure = kernel_polynomial(matrix_with_spectrum(values), num_probes=10)
    for f in (np.exp, np.square, np.sin):
        estimate = expectation(measure, f)
        assert estimate.low <= np.mean(f(values)) <= estimate.high
    first = moment(measure, 1)
    assert first.low <= np.mean(values) <= first.high
    assert abs(cdf(measure, np.median(values)) - 0.5) <= 0.1
    assert wasserstein_distance(measure, values) <= 0.02 * np.ptp(values)


def test_agrees_with_lanczos_quadrature():
    a = matrix_with_spectrum(spectrum("uniform", 200))
    kpm = kernel_polynomial(a, num_moments=200)
    assert expectation(kpm, np.exp).value == pytest.approx(expectation(slq(a), np.exp).value, rel=1e-3)


@pytest.mark.parametrize("name", ["uniform", "inverse", "indefinite", "spiked", "geometric"])
def test_measured_interval_contains_the_spectrum(name):
    values = spectrum(name, 300)
    operator = Operator(lambda block: values[:, None] * block, like=values)
    for seed in range(60):
        (low, high), cost = _interval(operator, seed)
        assert cost == 20
        assert low <= values[0]
        assert values[-1] <= high
        assert high - low <= 1.3 * np.ptp(values)


@pytest.mark.parametrize("interval", [(0.0, 0.9), (5.0, 6.0), (0.0, 1e-30), (0.0, 1e-200), (1.0, 1.0), (0.0, 0.0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_too_small_interval(interval, dtype):
    with pytest.raises(ArgumentError, match=r"the interval must contain the spectrum of 'dense matrix'"):
        kernel_polynomial(np.diag(np.linspace(0.0, 1.0, 50)).astype(dtype), interval=interval)


@pytest.mark.parametrize("interval", [(0.0, 1.0), (-1e6, 1e6), (0.0, 1e300), (-1e-3, 1.001)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sufficient_interval(xp, interval, dtype):
    a = np.diag(np.linspace(0.0, 1.0, 50)).astype(dtype)
    validate_measure(kernel_polynomial(xp.asarray(a), interval=interval))


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-14, 1e14, 1e200, 1e290])
def test_any_scale(scale):
    reference, scaled = (kernel_polynomial(c * matrix("indefinite"), num_probes=2) for c in (1.0, scale))
    np.testing.assert_allclose(scaled["ritz_value"] / scale, reference["ritz_value"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scaled["weight"], reference["weight"], atol=1e-9)


@pytest.mark.parametrize("exponent", [-600, 600])
def test_powers_of_two_change_units_only(exponent):
    a = matrix("spiked")
    reference, scaled = kernel_polynomial(a), kernel_polynomial(np.ldexp(a, exponent))
    np.testing.assert_array_equal(scaled["weight"], reference["weight"])
    np.testing.assert_array_equal(scaled["ritz_value"], np.ldexp(reference["ritz_value"].values, exponent))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 50])
@pytest.mark.parametrize("c", [0.0, 1.0, -3.0, 1e3, 1e-20])
def test_multiples_of_the_identity(c, n, dtype):
    for interval in (None, (c, c), (c - abs(c), c + abs(c))):
        measure = kernel_polynomial(c * np.eye(n, dtype=dtype), num_probes=2, interval=interval)
        validate_measure(measure)
        if interval is None:
            # narrower than 400 eps times the number of moments would let rounding dominate
            width = 800 * 60 * np.finfo(dtype).eps * abs(c)
            assert np.max(np.abs(measure["ritz_value"].values - c)) <= width


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["zero", "rank_one", "two_values", "geometric"])
def test_degenerate_spectra(xp, name, dtype):
    for probes in (1, 3):
        validate_measure(kernel_polynomial(xp.asarray(matrix(name).astype(dtype)), num_probes=probes))


def test_dynamic_range_integers_and_read_only():
    validate_measure(kernel_polynomial(np.diag([0.0, 1.0, 1e18, -1.0])))
    measure = kernel_polynomial(np.diag([3, 4, 9]))
    assert measure.attrs["interval"][0] <= 3.0
    assert measure.attrs["interval"][1] >= 9.0
    a = matrix("spiked")
    a.flags.writeable = False
    kernel_polynomial(a)

    def overwrite(block):
        block *= np.arange(1.0, N + 1.0)[:, None]
        return block

    kernel_polynomial(Operator(overwrite, like=np.zeros(N)))


@pytest.mark.parametrize("num_probes", [1, 5])
def test_unsound_operators(num_probes):
    skew = np.random.default_rng(0).standard_normal((N, N))
    for interval in (None, (-10.0, 10.0)):
        with pytest.raises(NotSymmetricError):
            kernel_polynomial(matrix("uniform") + 1e-2 * (skew - skew.T), num_probes=num_probes, interval=interval)
    a, generator = matrix("uniform"), np.random.default_rng(0)
    noisy = Operator(lambda v: a @ v * (1.0 + 1e-3 * generator.standard_normal()), like=np.zeros(N))
    with pytest.raises(NonDeterministicError):
        kernel_polynomial(noisy, num_probes=num_probes)


@pytest.mark.parametrize("call", [1, 2, 7, 30])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_products(call, bad):
    a, calls = matrix("uniform"), []

    def matmat(block):
        calls.append(1)
        product = a @ block
        if len(calls) == call:
            product[3, 0] = bad
        return product

    with pytest.raises(NonFiniteError, match="must be finite"):
        kernel_polynomial(Operator(matmat, like=np.zeros(N)), interval=(-3.0, 3.0), check_symmetry=False)


def test_wrong_calls_cost_no_products():
    operator = as_operator(np.eye(3))
    wrong = [
        {"num_moments": 1},
        {"num_probes": 0},
        {"rng": -1},
        {"distribution": "cube"},
        {"damping": "none"},
        {"interval": (1.0, 0.0)},
        {"interval": (0.0, np.nan)},
        {"interval": 3.0},
        {"interval": (0.0, np.inf)},
        {"interval": (1.0, 2.0, 3.0)},
    ]
    for options in wrong:
        with pytest.raises(ArgumentError):
            kernel_polynomial(operator, **options)
    assert operator.num_matvecs == 0
    with pytest.raises(BackendError):
        kernel_polynomial(np.eye(3) + 0j)
    with pytest.raises(ShapeError):
        kernel_polynomial(np.zeros((2, 3)))


def test_what_needs_ritz_values_says_so():
    a = np.diag(np.linspace(0.0, 1.0, 50))
    measure = kernel_polynomial(a, num_moments=20, num_probes=3)
    with pytest.raises(ArgumentError, match="eigenvalue_count"):
        spectra.cdf_bounds(measure, [0.5])
    with pytest.raises(ArgumentError, match="lie beyond the spectrum"):
        spectra.expectation(measure, np.sqrt)
    with pytest.raises(spectra.SchemaError, match="kpm"):
        spectra.extend(measure, a, num_probes=1)


def test_pictures_name_the_moments():
    pytest.importorskip("matplotlib")
    measure = kernel_polynomial(np.diag(np.linspace(0.1, 1.0, 50)), num_moments=20, num_probes=3)
    _, axes = spectra.plot.figure(ncols=2)
    spectra.plot.plot_density(measure, ax=axes[0])
    spectra.plot.plot_cdf(measure, ax=axes[1])
    labels = [text.get_text() for ax in axes for text in ax.get_legend().get_texts()]
    assert "3 probes, 20 Chebyshev moments" in labels
    assert not any("bounds" in label for label in labels)
