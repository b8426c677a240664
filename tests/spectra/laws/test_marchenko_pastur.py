from math import comb

import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError
from spectra.laws.base import Law
from spectra.laws.marchenko_pastur import MarchenkoPastur

RATIOS = [0.05, 0.5, 0.9, 1.0, 1.5, 4.0]


@pytest.mark.parametrize("ratio", RATIOS)
def test_law_has_the_moments_of_marchenko_and_pastur(ratio):
    law = MarchenkoPastur(aspect_ratio=ratio, variance=3.0)
    x, weights = law.nodes(3), law.weights(3)
    r = ratio
    moments = [1, 1 + r, 1 + 3 * r + r**2, 1 + 6 * r + 6 * r**2 + r**3]
    found = [weights @ x**k / 3.0**k for k in range(1, 5)]
    np.testing.assert_allclose(found, moments, rtol=1e-13)
    assert np.all(np.diff(x) > 0)
    assert law.smallest < x[0] < x[-1] < law.largest


def test_law_without_a_gap_has_total_mass_one_apart_from_the_atom():
    # weights integrate functions that vanish at 0; 1 is the limit of one of them where the law keeps away from 0
    for ratio, mass in [(0.5, 1.0), (2.0, 0.5)]:
        np.testing.assert_allclose(MarchenkoPastur(aspect_ratio=ratio).weights(200).sum(), mass, rtol=1e-12)


@pytest.mark.parametrize("count", [0, -1, 2.0, True])
def test_numbers_of_nodes_that_are_none_are_refused(count):
    with pytest.raises(ArgumentError, match="num_nodes"):
        MarchenkoPastur(aspect_ratio=1.0).nodes(count)
    with pytest.raises(ArgumentError, match="num_nodes"):
        MarchenkoPastur(aspect_ratio=1.0).weights(count)


@pytest.mark.parametrize("changes", [{"aspect_ratio": 0.0}, {"aspect_ratio": -1.0}, {"variance": 0.0}])
def test_parameters_that_are_not_positive_are_refused(changes):
    with pytest.raises(ArgumentError, match="must be positive"):
        MarchenkoPastur(**({"aspect_ratio": 0.5} | changes))
    with pytest.raises((ArgumentError, NonFiniteError)):
        MarchenkoPastur(aspect_ratio=float("nan"))


@pytest.mark.parametrize("ratio", [1e-4, 1e-3, 0.1, 0.5, 0.999, 1.0, 2.5, 1e3])
@pytest.mark.parametrize("variance", [1e-14, 1.0, 1e14])
def test_distribution_function_equals_quadrature(ratio, variance):
    law = MarchenkoPastur(aspect_ratio=ratio, variance=variance)
    x = np.linspace(law.smallest, law.largest, 101)
    atom = max(0.0, 1.0 - 1.0 / ratio)
    np.testing.assert_allclose(law.cdf(x), atom + Law._continuous_cdf(law, x), atol=1e-11)
    np.testing.assert_allclose(law.cdf([-1.0, 2.0 * law.largest]), [0.0, 1.0], atol=1e-14)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0, 2.5])
def test_transform_satisfies_the_quadratic_equation_at_every_distance(ratio):
    law = MarchenkoPastur(aspect_ratio=ratio, variance=1.7)
    z = np.array([[-1e-9, 1e-9j, 0.5 + 1e-12j, 1.0], [-3.0, 1j, 1e6 * (1 + 1j), 1e12 + 0j]])
    m = law.stieltjes(z)
    # variance r z m^2 + (z - variance (1 - r)) m + 1 = 0
    terms = np.stack([1.7 * ratio * z * m**2, z * m, -1.7 * (1 - ratio) * m, np.ones_like(m)])
    assert np.all(np.abs(terms.sum(axis=0)) < 2e-15 * np.abs(terms).max(axis=0) * 10)
    np.testing.assert_allclose(law.stieltjes(np.conj(z[1, :3])), np.conj(m[1, :3]), rtol=1e-13)


def test_boundary_value_is_the_density():
    law = MarchenkoPastur(aspect_ratio=0.4)
    x = np.linspace(0.2, 2.5, 20)
    np.testing.assert_allclose(law.stieltjes(x).imag / np.pi, law.pdf(x), rtol=1e-12)


@pytest.mark.parametrize(
    ("ratio", "median"), [(0.1, 0.966565), (0.25, 0.916004), (0.5, 0.830466), (0.75, 0.742948), (1.0, 0.652776)]
)
def test_median_is_neither_the_mean_nor_one_plus_the_ratio(ratio, median):
    assert abs(MarchenkoPastur(aspect_ratio=ratio).quantile(0.5) - median) < 6e-7


def test_more_parameters_than_samples():
    law = MarchenkoPastur(aspect_ratio=2.5)
    assert law.cdf(0.0) == law.cdf(0.1) == pytest.approx(0.6, abs=1e-15)
    assert law.cdf(-1e-300) == 0.0
    np.testing.assert_array_equal(law.quantile([0.0, 0.3, 0.6]), 0.0)
    assert law.quantile(0.6 + 1e-9) > law.smallest * 0.99
    twin = MarchenkoPastur(aspect_ratio=0.4)
    x = np.linspace(0.5, 6.0, 30)
    np.testing.assert_allclose(law.cdf(x), 0.6 + 0.4 * twin.cdf(x / 2.5), atol=1e-14)


def test_density_at_the_edges():
    assert MarchenkoPastur(aspect_ratio=1.0).pdf(0.0) == np.inf
    law = MarchenkoPastur(aspect_ratio=0.25)
    np.testing.assert_array_equal(law.pdf([-1.0, 0.0, 0.25, 2.25, 3.0, np.inf]), 0.0)


@pytest.mark.parametrize("shape", [(300, 1000), (600, 400)])
def test_eigenvalues_of_a_matrix_follow_the_law(shape):
    p, n = shape
    X = np.random.default_rng(0).standard_normal(shape)
    values = np.linalg.eigvalsh(X @ X.T / n)[max(p - n, 0) :]
    law = MarchenkoPastur(aspect_ratio=p / n)
    share = (np.arange(max(p - n, 0), p) + 0.5) / p
    # eigenvalues are rigid: distances are of order log(p)/p
    assert np.max(np.abs(law.cdf(values) - share)) < 2.0 * np.log(p) / p


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_fit_finds_variance_and_ratio(unit):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((200, 500))
    values = unit * np.linalg.eigvalsh(X @ X.T / 500)
    known = MarchenkoPastur.fit(values, aspect_ratio=0.4)
    assert abs(known.variance / unit - 1.0) < 0.02
    spiked = np.concatenate([values[:-5], unit * np.full(5, 1e3)])
    assert abs(MarchenkoPastur.fit(spiked, aspect_ratio=0.4).variance / unit - 1.0) < 0.05
    both = MarchenkoPastur.fit(values)
    assert abs(both.variance / unit - 1.0) < 0.02
    assert abs(both.aspect_ratio - 0.4) < 0.02


def test_fit_with_zeros_present_or_missing():
    X = np.random.default_rng(2).standard_normal((500, 200))
    values = np.linalg.eigvalsh(X @ X.T / 200)
    for given in (values, values[300:]):
        assert abs(MarchenkoPastur.fit(given, aspect_ratio=2.5).variance - 1.0) < 0.02
    assert abs(MarchenkoPastur.fit(values).aspect_ratio - 2.5) < 0.1


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [-1.0, 1.0]])
def test_fit_refuses_what_has_no_law(values):
    with pytest.raises(ArgumentError, match="nonnegative"):
        MarchenkoPastur.fit(values)
    with pytest.raises(ArgumentError, match="differ"):
        MarchenkoPastur.fit([2.0])
    with pytest.raises(NonFiniteError):
        MarchenkoPastur.fit([1.0, np.nan])


@pytest.mark.parametrize("ratio", [0.3, 2.5])
def test_moments_are_sums_of_binomial_coefficients(ratio):
    law = MarchenkoPastur(aspect_ratio=ratio, variance=1.7)
    for k in range(1, 30):
        terms = [ratio**i / (i + 1) * comb(k, i) * comb(k - 1, i) for i in range(k)]
        assert law.moment(k) == pytest.approx(1.7**k * sum(terms), rel=1e-13)
    assert law.moment(0) == 1.0


def test_moments_beyond_float64_are_infinite():
    assert MarchenkoPastur(aspect_ratio=0.5, variance=1e200).moment(2) == np.inf
    assert MarchenkoPastur(aspect_ratio=0.5).moment(2000) == np.inf


def test_zeros_of_float32_matrices_are_rounding():
    X = np.random.default_rng(5).standard_normal((200, 80)).astype(np.float32)
    values = np.linalg.eigvalsh(X @ X.T / np.float32(80))
    assert values[0] < -1e-9
    exact = np.concatenate([np.zeros(120), values[120:]])
    found = MarchenkoPastur.fit(values, aspect_ratio=2.5).variance
    assert found == pytest.approx(MarchenkoPastur.fit(exact, aspect_ratio=2.5).variance, rel=1e-6)
    with pytest.raises(ArgumentError, match="nonnegative"):
        MarchenkoPastur.fit(values.astype(np.float64), aspect_ratio=2.5)
