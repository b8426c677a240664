import numpy as np
import pytest

from spectra import Operator, slq
from spectra.bulk import eigenvalue_count, negative_mass, spectral_gaps
from spectra.chebyshev import kernel_polynomial
from spectra.errors import ArgumentError, SchemaError
from spectra.testing import matrix_with_spectrum, spectrum
from tests.cases import matrix


def operator(values):
    return Operator(lambda block: values[:, None] * block, like=np.asarray(values, dtype=np.float64))


def covered(estimate, truth):
    return estimate.low - 1e-12 <= truth <= estimate.high + 1e-12


@pytest.mark.parametrize("quantity", ["middle", "top", "negative"])
@pytest.mark.parametrize("name", ["uniform", "inverse", "indefinite", "spiked"])
def test_coverage(name, quantity):
    n = 200
    values = spectrum(name, n)
    low, top = 0.5 * (values[[60, 190]] + values[[61, 191]])
    hits = []
    for seed in range(60):
        measure = slq(operator(values), num_probes=5, num_steps=20, rng=seed, check_symmetry=False)
        if quantity == "negative":
            hits.append(covered(negative_mass(measure), np.mean(values < 0)))
        else:
            ends = (low, top) if quantity == "middle" else (top, np.inf)
            hits.append(covered(eigenvalue_count(measure, *ends), np.sum((values > ends[0]) & (values <= ends[1]))))
    assert np.mean(hits) >= 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / 60)


def test_steps_and_probes_make_the_interval_shorter():
    values = np.linspace(0.0, 1.0, 400)
    widths = []
    for num_probes, num_steps in ((5, 15), (5, 60), (40, 60)):
        count = eigenvalue_count(slq(operator(values), num_probes=num_probes, num_steps=num_steps), 0.2, 0.7)
        assert covered(count, 200)
        assert count.low == round(count.low)
        assert count.high == round(count.high)
        assert count.low <= count.value <= count.high
        widths.append(count.high - count.low)
    assert widths[2] < widths[1] < widths[0]


def test_stderr_is_the_scatter_of_the_value():
    values = np.linspace(0.0, 1.0, 200)
    counts = [eigenvalue_count(slq(operator(values), num_probes=5, num_steps=40, rng=s), 0.2, 0.6) for s in range(40)]
    z = [(c.value - 80.0) / c.stderr for c in counts]
    assert abs(np.mean(z)) <= 4.0 / np.sqrt(40)
    assert 0.7 <= np.std(z) <= 1.4


def test_single_probe_has_the_error_bar_of_its_law():
    values = np.linspace(0.0, 1.0, 200)
    one, ten = (eigenvalue_count(slq(operator(values), num_probes=p, num_steps=80), 0.2, 0.6) for p in (1, 10))
    assert covered(one, 80)
    assert one.stderr == pytest.approx(np.sqrt(10.0) * ten.stderr, rel=0.2)


def test_resolved_eigenvalues_are_counted():
    values = np.concatenate([np.linspace(0.0, 1.0, 195), [5.0, 6.0, 7.0, 7.0, 7.0]])
    count = eigenvalue_count(slq(operator(values)), 3.0, np.inf)
    assert (count.value, count.low, count.high) == (5.0, 5.0, 5.0)
    assert count.stderr <= 1e-3  # the bulk leaks as much as its Ritz values have not converged


def test_whole_line_and_nothing():
    measure = slq(matrix("spiked"))
    everything = eigenvalue_count(measure, -np.inf, np.inf)
    assert (everything.low, everything.value, everything.high) == (40.0, 40.0, 40.0)
    nothing = eigenvalue_count(measure, 1e3, np.inf)
    assert (nothing.low, nothing.value, nothing.high) == (0.0, 0.0, 0.0)
    assert nothing.num_matvecs == measure.attrs["num_matvecs"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("c", [0.0, 1.0, -2.0])
def test_eigenvalues_at_an_end_belong_to_the_lower_interval(c, dtype):
    measure = slq(c * np.eye(30, dtype=dtype), num_probes=3)
    assert eigenvalue_count(measure, c - 1.0, c).value == pytest.approx(30.0)
    assert eigenvalue_count(measure, c, c + 1.0).value == pytest.approx(0.0)
    assert negative_mass(measure).value == pytest.approx(float(c < 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_of_a_singular_operator_are_not_negative(dtype):
    factor = np.random.default_rng(0).standard_normal((60, 8))
    for a in ((factor @ factor.T).astype(dtype), matrix("rank_one").astype(dtype), matrix("zero").astype(dtype)):
        estimate = negative_mass(slq(a))
        assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)


def test_one_negative_eigenvalue_among_zeros():
    values = np.concatenate([[-1e-3], np.zeros(80), [0.5, 1.0, 2.0]])
    estimate = negative_mass(slq(matrix_with_spectrum(values)))
    assert estimate.low == pytest.approx(1 / 84)
    assert estimate.high == pytest.approx(1 / 84)
    assert negative_mass(slq(matrix_with_spectrum(values)), tolerance=0.1).value == 0.0


@pytest.mark.parametrize("scale", [1e-200, 1e-14, 1e14, 1e200])
def test_scale_changes_nothing(scale):
    values = spectrum("indefinite", 100)
    reference, scaled = slq(operator(values), num_steps=15), slq(operator(scale * values), num_steps=15)
    one, two = eigenvalue_count(reference, -0.5, 0.5), eigenvalue_count(scaled, -0.5 * scale, 0.5 * scale)
    assert (one.low, one.high) == (two.low, two.high)
    assert negative_mass(scaled).high == negative_mass(reference).high
    gaps, wide = spectral_gaps(reference), spectral_gaps(scaled)
    np.testing.assert_allclose(wide["low"] / scale, gaps["low"], rtol=1e-6)


def test_kernel_polynomial_measures_are_counted():
    values = np.linspace(-1.0, 1.0, 200)
    measure = kernel_polynomial(operator(values), num_moments=100)
    assert covered(eigenvalue_count(measure, 0.0, 0.5), np.sum((values > 0) & (values <= 0.5)))
    assert covered(negative_mass(measure), 0.5)
    assert spectral_gaps(measure).sizes["gap"] == 0


def test_gaps_of_three_clusters():
    values = np.concatenate([np.linspace(0.0, 1.0, 100), np.linspace(2.0, 3.0, 60), np.linspace(7.0, 8.0, 40)])
    gaps = spectral_gaps(slq(operator(values), num_steps=40))
    assert gaps.sizes["gap"] == 2
    assert np.all(np.diff(gaps["width"]) <= 0)
    for i, (low, high, below) in enumerate([(3.0, 7.0, 0.8), (1.0, 2.0, 0.5)]):
        gap = gaps.isel(gap=i)
        assert low - 1e-9 <= gap["low"] <= low + 0.15
        assert high - 0.15 <= gap["high"] <= high + 1e-9
        assert gap["width"] == gap["high"] - gap["low"]
        assert gap["relative_width"] == pytest.approx(float(gap["width"]) / 8.0, rel=1e-3)
        assert gap["mass_below_low"] <= below <= gap["mass_below_high"]
        assert gap["mass_above_low"] <= 1.0 - below <= gap["mass_above_high"]
    assert gaps.attrs["schema"] == "spectra/gaps"
    assert gaps.attrs["num_matvecs"] == 401


def test_no_gap_in_a_bulk_and_no_eigenvalue_in_a_gap():
    generator = np.random.default_rng(0)
    misses = 0
    for seed in range(20):
        values = np.sort(np.concatenate([generator.uniform(0.0, 1.0, 150), generator.uniform(2.0, 3.0, 49), [1.5]]))
        gaps = spectral_gaps(slq(operator(values), rng=seed, num_steps=40, check_symmetry=False))
        inside = [
            np.sum((values > a) & (values < b)) for a, b in zip(gaps["low"].values, gaps["high"].values, strict=True)
        ]
        misses += int(np.sum(inside) > 0)
    # each gap may hold one with 5%; two gaps, three binomial standard errors
    assert misses <= 20 * 0.1 + 3.0 * np.sqrt(20 * 0.1 * 0.9)
    assert spectral_gaps(slq(operator(np.linspace(0.0, 1.0, 2000)), num_probes=5)).sizes["gap"] == 0


def test_gaps_between_outliers():
    values = np.append(np.linspace(0.0, 1.0, 197), [4.0, 4.0, 9.0])
    gaps = spectral_gaps(slq(operator(values)))
    assert gaps["high"].values[:2] == pytest.approx([9.0, 4.0], abs=1e-9)
    assert gaps["mass_above_low"].values[:2] == pytest.approx([1 / 200, 3 / 200])
    assert gaps["mass_above_high"].values[:2] == pytest.approx([1 / 200, 3 / 200])


@pytest.mark.parametrize("name", ["zero", "identity", "rank_one", "two_values", "geometric"])
def test_degenerate_spectra(name):
    a = np.diag(spectrum(name, 40))
    for probes, dtype in ((1, np.float64), (3, np.float64), (3, np.float32)):
        measure = slq(a.astype(dtype), num_probes=probes)
        gaps = spectral_gaps(measure)
        assert np.all(gaps["low"] < gaps["high"])
        assert covered(eigenvalue_count(measure, -1e3, 1e3), 40)
        assert covered(negative_mass(measure), np.mean(spectrum(name, 40) < 0))
    one = slq(np.array([[-3]]), num_probes=1)
    assert eigenvalue_count(one, -4.0, 0.0).value == 1.0
    assert negative_mass(one).low == 1.0
    assert spectral_gaps(one).sizes["gap"] == 0


def test_gap_of_two_values():
    gaps = spectral_gaps(slq(matrix("two_values")))
    values = np.unique(spectrum("two_values", 40))
    assert gaps.sizes["gap"] == 1
    assert [float(gaps["low"][0]), float(gaps["high"][0])] == pytest.approx(values.tolist(), abs=1e-9)


def test_wrong_calls():
    measure = slq(matrix("spiked"))
    for ends in ((1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), ("a", 1.0)):
        with pytest.raises(ArgumentError):
            eigenvalue_count(measure, *ends)
    for level in (0.0, 1.0, np.nan):
        for call in (lambda m, **o: eigenvalue_count(m, 0.0, 1.0, **o), negative_mass, spectral_gaps):
            with pytest.raises(ArgumentError, match="level"):
                call(measure, level=level)
    for width in (-1.0, np.nan, np.inf):
        with pytest.raises(ArgumentError, match="min_width"):
            spectral_gaps(measure, min_width=width)
        with pytest.raises(ArgumentError, match="tolerance"):
            negative_mass(measure, tolerance=width)
    for call in (lambda m: eigenvalue_count(m, 0.0, 1.0), negative_mass, spectral_gaps):
        with pytest.raises(SchemaError):
            call("measure")
