import numpy as np
import pytest

from spectra import Operator, slq, wasserstein_distance
from spectra.chebyshev import kernel_polynomial
from spectra.distances import kolmogorov, wasserstein
from spectra.errors import ArgumentError, SchemaError, ShapeError
from spectra.testing import matrix_with_spectrum, spectrum
from tests.cases import matrix


def operator(values):
    return Operator(lambda block: values[:, None] * block, like=np.asarray(values, dtype=np.float64))


def covered(estimate, truth):
    return estimate.low - 1e-12 <= truth <= estimate.high + 1e-12


def sup(x, y):
    points = np.concatenate([x, y])
    f, g = (np.searchsorted(np.sort(z), points, side="right") / len(z) for z in (x, y))
    return float(np.max(np.abs(f - g)))


@pytest.mark.parametrize("distance", [wasserstein, kolmogorov])
@pytest.mark.parametrize("against", ["the spectrum", "a shifted one", "another measure"])
@pytest.mark.parametrize("name", ["uniform", "spiked", "indefinite"])
def test_coverage(name, against, distance):
    values = spectrum(name, 100)
    shift = 0.0 if against == "the spectrum" else 0.1 * np.std(values)
    truth = shift if distance is wasserstein else sup(values, values + shift)
    hits = []
    for seed in range(40):
        measure = slq(operator(values), num_probes=3, num_steps=12, rng=seed, check_symmetry=False)
        other = values + shift
        if against == "another measure":
            other = slq(operator(other), num_probes=3, num_steps=12, rng=seed + 100, check_symmetry=False)
        hits.append(covered(distance(measure, other), truth))
    assert np.mean(hits) >= 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / 40)


def test_value_is_the_distance_of_the_measures():
    measure, other = slq(matrix("spiked")), slq(matrix("uniform"), rng=1)
    values = spectrum("inverse", 40)
    assert wasserstein(measure, values).value == pytest.approx(wasserstein_distance(measure, values), rel=1e-12)
    assert wasserstein(measure, other).value == pytest.approx(wasserstein_distance(measure, other), rel=1e-12)
    assert wasserstein(measure, other).num_matvecs == 602


@pytest.mark.parametrize("distance", [wasserstein, kolmogorov])
def test_symmetry_and_more_data(distance):
    values = np.linspace(0.0, 1.0, 300)
    small = slq(operator(values), num_probes=4, num_steps=15)
    other = slq(operator(values + 0.3), num_probes=4, num_steps=15, rng=1)
    forth, back = distance(small, other), distance(other, small)
    assert (forth.value, forth.low, forth.high) == pytest.approx((back.value, back.low, back.high), rel=1e-9)
    large = slq(operator(values), num_probes=30, num_steps=40)
    assert distance(large, values).high < 0.7 * distance(small, values).high
    assert distance(small, values + 0.3, level=0.5).low > distance(small, values + 0.3, level=0.99).low


def test_shared_probes_are_not_taken_as_independent():
    values = np.linspace(0.0, 1.0, 200)
    measure = slq(operator(values), num_steps=15)
    same, other = (slq(operator(values + 0.5), num_steps=15, rng=s) for s in (0, 1))
    for distance in (wasserstein, kolmogorov):
        assert distance(measure, same).stderr == pytest.approx(np.sqrt(2.0) * distance(measure, other).stderr, rel=0.1)
    assert wasserstein(measure, measure).value == 0.0
    assert wasserstein(measure, measure).low == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("c", [0.0, 1.0, -3.0])
def test_multiples_of_the_identity_are_exact(c, dtype):
    measure = slq(c * np.eye(8, dtype=dtype), num_probes=10)
    eps = float(np.finfo(dtype).eps)
    one, two = wasserstein(measure, np.full(5, c + 2.0)), kolmogorov(measure, np.full(5, c + 2.0))
    assert one.value == pytest.approx(2.0, abs=100 * eps)
    assert one.high - one.low <= 1e3 * eps * max(abs(c), 1.0)
    assert (two.value, two.low, two.high) == pytest.approx((1.0, 1.0, 1.0))
    zero = kolmogorov(measure, np.full(5, c))
    assert (zero.value, zero.low, zero.high) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    assert one.status == two.status == "exact"


def test_eigenvalues_of_high_multiplicity_do_not_move_by_rounding():
    values = np.concatenate([np.zeros(150), np.linspace(1.0, 2.0, 5)])
    estimate = kolmogorov(slq(matrix_with_spectrum(values)), values)
    assert estimate.low == 0.0
    assert estimate.high <= 0.1


def test_known_eigenvalues_have_no_error():
    values = np.append(np.linspace(0.0, 1.0, 195), [100.0, 200.0, 300.0, 400.0, 500.0])
    estimate = wasserstein(slq(operator(values)), values)
    assert estimate.high <= 0.2  # an unresolved eigenvalue of 500 alone would give 500/200 sqrt(2/10)
    assert estimate.value <= 0.02


@pytest.mark.parametrize("scale", [1e-200, 1e-14, 1e14, 1e200])
def test_scale_changes_units_only(scale):
    values = spectrum("indefinite", 100)
    reference, scaled = (slq(operator(c * values), num_steps=15) for c in (1.0, scale))
    one, two = wasserstein(reference, values + 0.1), wasserstein(scaled, scale * (values + 0.1))
    assert (two.value / scale, two.low / scale, two.high / scale) == pytest.approx((one.value, one.low, one.high))
    one, two = kolmogorov(reference, values + 0.1), kolmogorov(scaled, scale * (values + 0.1))
    assert (two.value, two.low, two.high) == pytest.approx((one.value, one.low, one.high), abs=1e-6)


@pytest.mark.parametrize("distance", [wasserstein, kolmogorov])
@pytest.mark.parametrize("name", ["zero", "identity", "rank_one", "two_values", "geometric"])
def test_degenerate_spectra(name, distance):
    values = spectrum(name, 40)
    for probes, dtype in ((1, np.float64), (3, np.float64), (3, np.float32)):
        measure = slq(np.diag(values).astype(dtype), num_probes=probes)
        assert covered(distance(measure, values), 0.0)
        assert covered(distance(measure, measure), 0.0)
    assert covered(distance(slq(np.array([[-3]]), num_probes=1), [-3.0]), 0.0)
    assert covered(distance(slq(np.array([[-3]]), num_probes=1), [-2.0]), 1.0)


@pytest.mark.parametrize("distance", [wasserstein, kolmogorov])
def test_kernel_polynomial_measures(distance):
    values = np.linspace(0.0, 1.0, 200)
    truth = 0.2 if distance is wasserstein else sup(values, values + 0.2)
    kpm = kernel_polynomial(operator(values))
    assert covered(distance(kpm, values), 0.0)
    assert covered(distance(kpm, values + 0.2), truth)
    assert covered(distance(kpm, slq(operator(values + 0.2), rng=1)), truth)


def test_single_step_is_unresolved():
    estimate = wasserstein(slq(matrix("spiked"), num_steps=1), spectrum("spiked", 40))
    assert estimate.status == "unresolved"
    assert estimate.low is None
    assert estimate.high is None
    assert kolmogorov(slq(matrix("spiked"), num_steps=1), spectrum("spiked", 40)).status == "resolved"


@pytest.mark.parametrize("distance", [wasserstein, kolmogorov])
def test_wrong_calls(distance):
    measure = slq(matrix("spiked"))
    for level in (0.0, 1.0, np.nan):
        with pytest.raises(ArgumentError, match="level"):
            distance(measure, [1.0], level=level)
    for bad in ([], [[1.0]], 1.0):
        with pytest.raises(ShapeError):
            distance(measure, bad)
    for bad in ([np.nan], [np.inf, 1.0]):
        with pytest.raises(ArgumentError, match="finite"):
            distance(measure, bad)
    with pytest.raises(SchemaError):
        distance("measure", [1.0])
    with pytest.raises(SchemaError):
        distance(measure, measure.drop_vars("weight"))
