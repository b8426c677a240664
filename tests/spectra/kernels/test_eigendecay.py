import math

import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.kernels.decay_result import EIGENDECAY_SCHEMA
from spectra.kernels.eigendecay import eigendecay
from spectra.kernels.stationary import RBF, Laplace


def distances(X, Y):
    return np.sqrt(np.sum((X[:, None] - Y[None]) ** 2, axis=2))


def laplace(X, Y):
    return np.exp(-distances(X, Y))


def gaussian(X, Y):
    return np.exp(-(distances(X, Y) ** 2) / 2)


def inputs(n, d, seed=0):
    return np.random.default_rng(seed).random((n, d))


@pytest.mark.parametrize(("d", "exponent"), [(1, 2.0), (2, 1.5), (3, 4 / 3)])
def test_laplace_on_cubes(d, exponent):
    found = eigendecay(inputs(250, d), kernel=laplace)
    assert found.law == "polynomial"
    assert found.low < exponent < found.high
    assert found.decay_exponent == pytest.approx(exponent, rel=0.12)
    assert (found.agreement, found.is_trustworthy) == (1.0, True)
    assert found.is_centered
    assert found.mean_spike_share > 0.3


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_exponential_designs(rate):
    weight = np.exp(-rate * np.arange(int(40 / rate)) / 2)
    features = np.random.default_rng(1).standard_normal((300, weight.size)) * weight
    found = eigendecay(features @ features.T)
    assert found.law == "exponential"
    assert math.isnan(found.decay_exponent)
    assert found.rate == pytest.approx(rate, rel=0.15)


def test_gaussian_kernels_are_exponential():
    assert eigendecay(inputs(250, 2), kernel=gaussian).law == "exponential"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_polynomial_kernels_have_their_rank(dtype):
    X = np.random.default_rng(0).standard_normal((200, 3)).astype(dtype)
    found = eigendecay(X, kernel=lambda X, Y: (X @ Y.T / 3 + 1) ** 3)
    assert (found.law, found.rank) == ("finite_rank", math.comb(6, 3))


def test_a_plateau_has_its_rank_and_level():
    Z = np.random.default_rng(0).standard_normal((150, 4))
    found = eigendecay(Z @ Z.T + 1e-3 * np.eye(150))
    assert (found.law, found.rank) == ("plateau", 4)
    assert found.plateau == pytest.approx(1e-3)


def test_one_direction_over_a_nugget_is_a_plateau_even_if_it_is_the_mean():
    for vector in (np.ones(100), np.linspace(-1, 1, 100)):
        found = eigendecay(np.outer(vector, vector) + 1e-3 * np.eye(100))
        assert (found.law, found.rank) == ("plateau", 1)


def test_the_mean_of_a_kernel_hides_its_law_from_eigenvalues_alone():
    X = np.random.default_rng(0).standard_normal((300, 12))
    K = np.exp(-distances(X, X) / 6)
    found = eigendecay(K)
    assert (found.law, found.is_centered) == ("polynomial", True)
    assert found.low < 1 + 1 / 12 < found.high
    alone = eigendecay(np.linalg.eigvalsh(K))
    assert (alone.law, alone.is_trustworthy) == ("ambiguous", False)
    assert "one large eigenvalue" in alone.remarks[-1]
    assert alone.decay_exponent == pytest.approx(found.decay_exponent, rel=0.1)


def test_a_constant_kernel_has_rank_one():
    found = eigendecay(np.ones((60, 60)))
    assert (found.law, found.rank, found.mean_spike_share) == ("finite_rank", 1, pytest.approx(1))
    assert "does not tell any two samples apart" in found.remarks[0]


@pytest.mark.parametrize("exponent", [1.5, 2.0, 3.0])
def test_intervals_without_a_matrix(exponent):
    found = eigendecay(np.arange(1, 1001.0) ** -exponent)
    assert found.law == "polynomial"
    assert found.low < exponent < found.high
    assert math.isnan(found.agreement)
    assert found.subsample_exponent.size == 0


def test_single_precision_finds_the_same_law():
    X = inputs(250, 2)
    double, single = eigendecay(laplace(X, X)), eigendecay(laplace(X, X).astype(np.float32))
    assert single.law == double.law == "polynomial"
    assert single.decay_exponent == pytest.approx(double.decay_exponent, rel=0.02)


def test_steep_laws_are_not_exponential_in_single_precision():
    # Few decades are left above rounding: another law must not be claimed.
    X = inputs(250, 1)
    t = np.sqrt(5) * distances(X, X)
    found = eigendecay(((1 + t + t**2 / 3) * np.exp(-t)).astype(np.float32))
    assert found.law in ("polynomial", "ambiguous", "undetermined")


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_change_nothing(unit):
    K = laplace(inputs(120, 2), inputs(120, 2))
    one, scaled = eigendecay(K), eigendecay(unit * K)
    assert scaled.law == one.law
    assert scaled.decay_exponent == pytest.approx(one.decay_exponent, rel=1e-6)
    np.testing.assert_allclose(scaled.subsample_exponent, one.subsample_exponent, rtol=1e-6)


@pytest.mark.parametrize(
    "K", [np.eye(1), np.eye(2), np.array([[1.0, 0.5], [0.5, 1.0]]), laplace(inputs(6, 1), inputs(6, 1))]
)
def test_few_samples_tell_nothing(K):
    found = eigendecay(K)
    assert (found.law, found.is_trustworthy) == ("undetermined", False)
    assert "more samples" in found.why
    assert str(found).startswith("undetermined")


def test_many_samples_are_drawn_from():
    found = eigendecay(inputs(300, 1), kernel=laplace, max_dense=200, subsample=120, rng=5)
    assert found.num_samples == 120
    assert "120 of 300" in found.remarks[0]
    again = eigendecay(inputs(300, 1), kernel=laplace, max_dense=200, subsample=120, rng=5)
    assert again.decay_exponent == found.decay_exponent
    np.testing.assert_array_equal(again.subsample_exponent, found.subsample_exponent)


def test_the_dataset_holds_everything(tmp_path):
    found = eigendecay(inputs(80, 1), kernel=laplace, num_subsamples=2)
    table = found.to_dataset()
    assert (table.attrs["schema"], table.attrs["schema_version"]) == (EIGENDECAY_SCHEMA, 1)
    assert dict(table.sizes) == {"point": 400, "mode": 80, "subsample": 2}
    for name in ("law", "decay_exponent", "low", "high", "why", "num_samples"):
        assert table.attrs[name] == getattr(found, name)
    table.to_netcdf(tmp_path / "decay.nc")
    eigendecay(np.eye(2)).to_dataset().to_netcdf(tmp_path / "nothing.nc")


def test_coverage_of_intervals():
    # Gaussian designs of random exponents: at least 8 of 10 are covered.
    covered = 0
    for seed in range(10):
        rng = np.random.default_rng([17, seed])
        exponent = rng.uniform(1.2, 4)
        features = rng.standard_normal((150, 1200)) * np.arange(1, 1201) ** (-exponent / 2)
        found = eigendecay(features @ features.T)
        covered += found.law == "polynomial" and found.low < exponent < found.high
    assert covered >= 8


@pytest.mark.parametrize(
    ("source", "settings", "error"),
    [
        (np.zeros((0, 0)), {}, ShapeError),
        (np.full((3, 3), np.nan), {}, NonFiniteError),
        (np.triu(np.ones((3, 3))), {}, NotSymmetricError),
        (np.diag([1.0, -1.0]), {}, ArgumentError),
        (np.zeros((3, 3)), {}, ArgumentError),
        (np.ones((3, 2)), {}, ShapeError),
        (np.eye(3), {"num_subsamples": -1}, ArgumentError),
        (np.eye(3), {"num_subsamples": 1.5}, ArgumentError),
        (spectra.slq(np.eye(5), num_probes=1), {}, ArgumentError),
    ],
)
def test_bad_input(source, settings, error):
    with pytest.raises(error):
        eigendecay(source, **settings)


def test_a_staircase_is_remarked():
    X = np.random.default_rng(1).standard_normal((400, 50))
    found = eigendecay(RBF(10.0)(X))
    assert any("fall in steps, after 5" in remark for remark in found.remarks)
    smooth = eigendecay(Laplace(1.0)(X[:, :1]))
    assert not any("steps" in remark for remark in smooth.remarks)
