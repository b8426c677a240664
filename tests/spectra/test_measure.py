import numpy as np
import pytest

import spectra
from spectra import cdf, cdf_bounds, density, expectation, moment, quantile, slq, validate_measure, wasserstein_distance
from spectra.errors import ArgumentError, NonFiniteError, SchemaError, ShapeError
from spectra.testing import matrix_with_spectrum, spectrum
from tests.cases import N, matrix


@pytest.fixture(scope="module")
def measure():
    return slq(matrix("spiked"), num_probes=10, num_steps=12)


def covered(estimate, truth):
    return estimate.low <= truth <= estimate.high


@pytest.mark.parametrize(
    ("name", "f", "m"),
    [
        ("inverse", np.log, 24),
        ("geometric", np.log, 36),
        ("uniform", np.exp, 12),
        ("inverse", np.sqrt, 12),
        ("indefinite", np.square, 6),
    ],
)
def test_coverage_of_the_interval(name, f, m):
    values = spectrum(name, 200)
    a = matrix_with_spectrum(values)
    hits = [
        covered(expectation(slq(a, num_steps=m, rng=s, check_symmetry=False), f), np.mean(f(values))) for s in range(60)
    ]
    # nominal 0.95: three binomial standard errors below it
    assert np.mean(hits) >= 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / 60)


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_coverage_follows_the_level(level):
    values = spectrum("uniform", 100)
    a = matrix_with_spectrum(values)
    hits = [covered(moment(slq(a, num_steps=4, rng=s), 1, level=level), np.mean(values)) for s in range(200)]
    assert abs(np.mean(hits) - level) <= 3.0 * np.sqrt(level * (1.0 - level) / 200)


def test_error_is_one_standard_error_wide():
    values = spectrum("uniform", 100)
    a = matrix_with_spectrum(values)
    estimates = [moment(slq(a, num_probes=30, num_steps=4, rng=s), 2) for s in range(60)]
    z = [(e.value - np.mean(values**2)) / e.stderr for e in estimates]
    assert abs(np.mean(z)) <= 4.0 / np.sqrt(60)
    assert 0.7 <= np.std(z) <= 1.4


def test_too_few_steps_are_unresolved_without_interval():
    estimate = expectation(slq(matrix_with_spectrum(np.geomspace(1e-6, 1.0, 300)), num_steps=6), np.log)
    assert estimate.status == "unresolved"
    assert estimate.low is None
    assert estimate.high is None
    assert estimate.stderr > 0
    assert expectation(slq(matrix("spiked"), num_steps=1), np.exp).status == "unresolved"


def test_moments_have_no_quadrature_gap(measure):
    values = spectrum("spiked", N)
    for order in range(4):
        estimate = moment(measure, order)
        assert covered(estimate, np.mean(values**order))
    one_step = slq(matrix("spiked"), num_steps=1)
    assert moment(one_step, 1).status == "resolved"
    assert moment(one_step, 2).status == "unresolved"


def test_order_zero_is_one(measure):
    estimate = moment(measure, 0)
    assert estimate.value == pytest.approx(1.0, abs=1e-15)
    assert estimate.stderr == pytest.approx(0.0, abs=1e-15)
    assert estimate.num_matvecs == measure.attrs["num_matvecs"] == 121


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("c", [-2.5, 0.0, 1.0, 7.0])
def test_multiple_of_the_identity_is_exact(c, dtype):
    estimate = expectation(slq(c * np.eye(30, dtype=dtype), num_probes=4), np.exp)
    assert estimate.status == "exact"
    assert covered(estimate, np.exp(c))
    assert estimate.high - estimate.low <= 1e4 * np.finfo(dtype).eps * np.exp(c)


def test_single_probe_has_no_error_bar():
    estimate = expectation(slq(matrix("spiked"), num_probes=1, num_steps=N), np.sin)
    assert (estimate.stderr, estimate.low, estimate.high) == (None, None, None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["zero", "rank_one"])
def test_log_of_a_singular_operator(name, dtype):
    measure = slq(matrix(name).astype(dtype))
    estimate = expectation(measure, np.log)
    assert estimate.value == -np.inf
    assert estimate.status == "singular"
    assert estimate.low is estimate.stderr is None
    assert expectation(measure, lambda x: 1.0 / x**2).value == np.inf
    assert np.isfinite(expectation(measure, np.sqrt).value)


def test_log_of_a_negative_eigenvalue_is_refused():
    with pytest.raises(ArgumentError, match="NaN at -1"):
        expectation(slq(matrix("indefinite")), np.log)
    with pytest.raises(NonFiniteError, match="infinite at 1e"):
        moment(slq(1e200 * np.eye(3)), 2)


def test_small_but_regular_operators_are_not_singular():
    estimate = expectation(slq(1e-30 * np.eye(8)), np.log)
    assert estimate.status == "exact"
    assert covered(estimate, np.log(1e-30))


@pytest.mark.parametrize("f", [lambda x: x[:-1], lambda x: x + 1j, lambda x: x[:, None], lambda x: "no"])
def test_functions_of_the_wrong_kind(measure, f):
    with pytest.raises(ArgumentError, match="f must map"):
        expectation(measure, f)


def test_f_sees_a_copy_and_may_return_a_number(measure):
    def spoil(x):
        x[:] = 0.0
        return x

    before = measure.copy(deep=True)
    assert expectation(measure, spoil).value == 0.0
    assert before.equals(measure)
    assert expectation(measure, lambda x: 2.0).value == pytest.approx(2.0)
    assert expectation(measure, lambda x: x > -1.0).value == pytest.approx(1.0)


def test_nodes_of_no_weight_are_not_evaluated():
    measure = slq(np.diag([1.0, 2.0]), num_probes=2)
    measure["weight"][:, 0] = 0.0
    measure["weight"][:, 1] = 1.0
    assert expectation(measure, lambda x: np.where(x < 1.5, np.nan, x)).value == pytest.approx(2.0)


def test_bad_levels_and_orders(measure):
    for level in (0.0, 1.0, -1.0, np.nan):
        with pytest.raises(ArgumentError, match="level"):
            expectation(measure, np.exp, level=level)
    for order in (-1, 1.5, True):
        with pytest.raises(ArgumentError, match="order"):
            moment(measure, order)


def test_cdf_is_a_distribution_function(measure):
    x = np.linspace(-1.0, 50.0, 301)
    values = cdf(measure, x)
    assert values[0] == 0.0
    assert values[-1] == 1.0
    assert np.all(np.diff(values) >= 0.0)
    assert cdf(measure, 3.0) == pytest.approx(0.75, abs=0.1)
    assert isinstance(cdf(measure, 3.0), float)
    assert (cdf(measure, -np.inf), cdf(measure, np.inf)) == (0.0, 1.0)


def test_cdf_bounds_hold_for_the_weighted_distribution_of_every_probe():
    values = spectrum("indefinite", 60)
    a = matrix_with_spectrum(values)
    eigenvalues, u = np.linalg.eigh(a)
    v = spectra.start_vectors(np.zeros(60), num=4) / np.sqrt(60)
    shares = np.mean((u.T @ v) ** 2, axis=1)
    x = np.linspace(-1.5, 8.5, 400)
    truth = np.array([np.sum(shares[eigenvalues <= point]) for point in x])
    for m in (1, 2, 5, 20, 60):
        measure = slq(a, num_probes=4, num_steps=m)
        bounds = cdf_bounds(measure.drop_vars(["multiplicity", "resolved_index"], errors="ignore"), x)
        assert np.all(bounds.low <= truth + 1e-12)
        assert np.all(truth <= bounds.high + 1e-12)
    np.testing.assert_array_equal(bounds.low, bounds.high)
    resolved = cdf_bounds(measure, x)
    np.testing.assert_allclose(resolved.low, [np.mean(eigenvalues <= point) for point in x], atol=1e-12)
    np.testing.assert_array_equal(resolved.low, resolved.high)


def test_quantiles_invert_the_cdf(measure):
    q = np.linspace(0.0, 1.0, 101)
    x = quantile(measure, q)
    assert np.all(cdf(measure, x) >= q - 1e-14)
    assert np.all(np.diff(x) >= 0.0)
    assert quantile(measure, 1.0) == pytest.approx(40.0)
    for bad in (-0.1, 1.1, np.nan):
        with pytest.raises(ArgumentError):
            quantile(measure, bad)


@pytest.mark.parametrize("name", ["zero", "identity", "rank_one", "spiked", "inverse"])
@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_density_integrates_to_one(name, scale):
    curve = density(slq(scale * matrix(name), num_probes=3, num_steps=10))
    assert float(curve.integrate("value")) == pytest.approx(1.0, abs=1e-9)
    assert curve.attrs["width"] > 0
    assert np.all(np.diff(curve["value"]) > 0)


def test_density_on_a_grid(measure):
    grid = np.linspace(-5.0, 50.0, 4001)
    curve = density(measure, grid, width=0.5)
    np.testing.assert_array_equal(curve["value"], grid)
    mean = float((curve * curve["value"]).integrate("value"))
    assert mean == pytest.approx(moment(measure, 1).value, rel=1e-9)
    second = float((curve * curve["value"] ** 2).integrate("value"))
    assert second == pytest.approx(moment(measure, 2).value + 0.25, rel=1e-9)
    for width in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ArgumentError, match="width"):
            density(measure, width=width)
    with pytest.raises(ShapeError):
        density(measure, np.zeros((2, 2)))
    with pytest.raises(ArgumentError):
        density(measure, [np.nan])


def test_wasserstein_distance(measure):
    from scipy.stats import wasserstein_distance as reference

    eigenvalues = spectrum("spiked", N)
    points = measure.drop_vars(["multiplicity", "resolved_index"], errors="ignore").assign(
        residual=0.0 * measure["residual"]
    )
    expected = reference(points["ritz_value"].values.ravel(), eigenvalues, points["weight"].values.ravel())
    assert wasserstein_distance(points, eigenvalues) == pytest.approx(expected, rel=1e-10)
    assert wasserstein_distance(measure, measure) == 0.0
    other = slq(matrix("spiked") + 3.0 * np.eye(N), num_steps=12)
    assert wasserstein_distance(measure, other) == pytest.approx(3.0, rel=1e-9)
    assert wasserstein_distance(other, measure) == pytest.approx(3.0, rel=1e-9)
    for bad in ([], [[1.0]], 1.0):
        with pytest.raises(ShapeError):
            wasserstein_distance(measure, bad)


def test_invariance_under_rotation():
    values = spectrum("inverse", 100)
    first, second = (slq(matrix_with_spectrum(values, rng), num_probes=40, rng=rng) for rng in (1, 2))
    a, b = moment(first, 1), moment(second, 1)
    assert abs(a.value - b.value) <= 4.0 * np.hypot(a.stderr, b.stderr)


def test_subsets_of_probes_are_measures(measure):
    validate_measure(measure.isel(probe=[0, 3]))
    validate_measure(measure.isel(probe=slice(0, 1)))
    with pytest.raises(SchemaError, match="keeps the dimension"):
        validate_measure(measure.isel(probe=0))


def test_what_is_no_measure(measure):
    def damaged(name, value):
        copy = measure.copy(deep=True)
        copy[name][0, 0] = value
        return copy

    bad = [
        np.zeros(3),
        {},
        measure.assign_attrs(schema="other"),
        measure.assign_attrs(schema_version=3),
        measure.assign_attrs(schema_version="1"),
        measure.drop_vars("weight"),
        measure.drop_attrs(),
        measure.isel(probe=[]),
        damaged("ritz_value", np.nan),
        damaged("ritz_value", 1e9),
        damaged("weight", -1.0),
        damaged("weight", 0.9),
        damaged("weight", np.inf),
    ]
    for item in bad:
        with pytest.raises(SchemaError):
            validate_measure(item)
        with pytest.raises(SchemaError):
            cdf(item, 0.0)
    with pytest.raises(ArgumentError):
        cdf(measure, np.nan)
