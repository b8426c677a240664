import numpy as np
import pytest
from scipy.linalg import eigh

from spectra.errors import ArgumentError
from spectra.laws.base import Law
from spectra.laws.f_ratio import FRatio
from spectra.laws.jacobi import Jacobi
from spectra.testing import check_law

RATIOS = [(0.5, 0.3), (1.0, 0.4), (1.5, 0.5), (0.5, 1.5), (1.3, 1.4), (1e-3, 1e-3)]


def test_equal_square_samples_give_the_arcsine_law():
    law = Jacobi(first_ratio=1.0, second_ratio=1.0)
    x = np.linspace(0.0, 1.0, 51)
    np.testing.assert_allclose(law.cdf(x), 2.0 / np.pi * np.arcsin(np.sqrt(x)), atol=1e-13)


@pytest.mark.parametrize(("first", "second"), RATIOS)
def test_exchange_of_the_samples_mirrors_the_law(first, second):
    law, mirror = (Jacobi(first_ratio=a, second_ratio=b) for a, b in ((first, second), (second, first)))
    x = np.linspace(-0.06, 1.05, 45)
    np.testing.assert_allclose(law.cdf(x), 1.0 - mirror.cdf(1.0 - x), atol=1e-11)


@pytest.mark.parametrize(("first", "second"), RATIOS)
def test_closed_forms_equal_quadrature(first, second):
    law = Jacobi(first_ratio=first, second_ratio=second)
    ((low, high),) = law.support
    x = np.linspace(low, high, 101)[1:-1]
    np.testing.assert_allclose(law._continuous_cdf(x), Law._continuous_cdf(law, x), atol=1e-11)
    z = x + 0.3j * (high - low)
    np.testing.assert_allclose(law._continuous_stieltjes(z), Law._continuous_stieltjes(law, z), rtol=1e-10)
    near = np.array([1e-9j, 1.0 + 1e-9j, 0.0, 1.0])
    if law.support[0][0] > 1e-3 and law.support[0][1] < 1.0 - 1e-3:
        np.testing.assert_allclose(law._continuous_stieltjes(near), Law._continuous_stieltjes(law, near), rtol=1e-10)


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.3), (1.5, 0.5), (1.0, 0.9)])
def test_shares_are_ratios_over_one_plus_ratio(first, second):
    x = Jacobi(first_ratio=first, second_ratio=second).quantile(np.linspace(0.0, 1.0, 21))
    f = FRatio(first_ratio=first, second_ratio=second).quantile(np.linspace(0.0, 1.0, 21)) * second / first
    np.testing.assert_allclose(x, f / (1.0 + f), atol=1e-12)


@pytest.mark.parametrize("sizes", [(600, 700), (250, 500), (500, 250), (230, 210)])
def test_eigenvalues_and_ranks_of_matrices_follow_the_law(sizes):
    p, rng = 300, np.random.default_rng(0)
    A, B = (X @ X.T for X in (rng.standard_normal((p, n)) for n in sizes))
    values = eigh(A, A + B, eigvals_only=True)
    law = Jacobi(first_ratio=p / sizes[0], second_ratio=p / sizes[1])
    zeros, ones = np.sum(values < 1e-10), np.sum(values > 1.0 - 1e-10)
    assert (zeros, ones) == (max(p - sizes[0], 0), max(p - sizes[1], 0))
    inside = slice(zeros, p - ones)
    share = (np.arange(p)[inside] + 0.5) / p
    assert np.max(np.abs(law.cdf(values[inside]) - share)) < 2.0 * np.log(p) / p


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.3), (1.6, 0.5), (0.2, 0.7)])
def test_moments_that_the_fit_inverts(first, second):
    law = Jacobi(first_ratio=first, second_ratio=second)
    c, d = 1 / (1 / first + 1 / second), second / (first + second)
    assert law.moment(1) == pytest.approx(d, abs=1e-12)
    assert law.moment(2) - law.moment(1) ** 2 == pytest.approx(d * (1 - d) * c, abs=1e-12)


def test_the_fit_of_one_matrix_is_close_to_its_sizes():
    p, n1, n2, rng = 300, 600, 1000, np.random.default_rng(1)
    A, B = (X @ X.T for X in (rng.standard_normal((p, n)) for n in (n1, n2)))
    found = Jacobi.fit(np.clip(eigh(A, A + B, eigvals_only=True), 0.0, 1.0))
    assert found.first_ratio == pytest.approx(p / n1, rel=0.02)
    assert found.second_ratio == pytest.approx(p / n2, rel=0.02)


@pytest.mark.parametrize("values", [[], [0.5, 1.2], [-0.1, 0.5], [0.5, 0.5], [0.0, 0.0]])
def test_values_that_no_law_has(values):
    with pytest.raises(ArgumentError):
        Jacobi.fit(values)


def test_wrong_calls():
    for first, second in ((0.0, 0.5), (0.5, -1.0), (np.nan, 0.5)):
        with pytest.raises(ArgumentError):
            Jacobi(first_ratio=first, second_ratio=second)
    with pytest.raises(ArgumentError, match="regular"):
        Jacobi(first_ratio=2.0, second_ratio=2.0)


def test_an_atom_beside_an_edge_that_is_all_but_hard():
    """The density near the atoms of mass 1e-9 has more mass than they, and must not be taken for theirs."""
    check_law(Jacobi(first_ratio=1.0 + 1e-9, second_ratio=1.0 + 1e-9))


def test_rounding_beyond_zero_and_one_is_allowed_in_a_fit():
    """More dimensions than samples of either matrix: zeros and ones are eigenvalues up to rounding."""
    values = np.concatenate([[-2e-17, 0.0], np.linspace(0.1, 0.9, 20), [1.0, 1.0 + 4e-16]])
    found, clipped = Jacobi.fit(values), Jacobi.fit(np.clip(values, 0.0, 1.0))
    assert found.first_ratio == pytest.approx(clipped.first_ratio, rel=1e-12)
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        Jacobi.fit([-1e-9, 0.5, 0.7])
