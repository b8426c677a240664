import numpy as np
import pytest

from spectra.kernels.decay_steps import largest_step, resolvable, rounding, steps_of
from spectra.kernels.gram import GramSpectrum, gram_spectrum

EPS = np.finfo(np.float32).eps


def spectrum_of(values, **settings):
    return GramSpectrum.of_eigenvalues(np.asarray(values, dtype=float), **settings)


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
@pytest.mark.parametrize("rank", [1, 7, 60])
def test_a_rank_is_found_in_any_unit(rank, unit):
    Z = np.random.default_rng(rank).standard_normal((100, rank))
    found = steps_of(gram_spectrum(unit * Z @ Z.T))
    assert (found.law, found.rank) == ("finite_rank", rank)
    assert found.drop > 1e5


def test_a_list_of_the_largest_eigenvalues_is_no_rank():
    values = np.arange(1, 11.0) ** -2
    assert steps_of(spectrum_of(values, num_samples=100)).law == "finite_rank"
    assert steps_of(spectrum_of(values, num_samples=100, residual_trace=0.1)).law == "none"


@pytest.mark.parametrize("rank", [1, 5])
@pytest.mark.parametrize("nugget", [1e-6, 1e-2])
def test_a_plateau_of_a_nugget(rank, nugget):
    Z = np.random.default_rng(rank).standard_normal((100, rank))
    found = steps_of(gram_spectrum(Z @ Z.T + nugget * np.eye(100)))
    assert (found.law, found.rank, found.is_level) == ("plateau", rank, True)
    assert found.level == pytest.approx(nugget)


def test_a_plateau_of_noise_is_flat_and_not_level():
    rng = np.random.default_rng(0)
    Z, W = rng.standard_normal((200, 3)), rng.standard_normal((200, 600))
    found = steps_of(gram_spectrum(Z @ Z.T + 0.1 * W @ W.T / 600))
    assert (found.law, found.rank, found.is_level) == ("plateau", 3, False)


@pytest.mark.parametrize(
    "values", [np.arange(1, 201.0) ** -1.1, np.exp(-0.1 * np.arange(200)), np.exp(-np.arange(60.0))]
)
def test_decaying_spectra_have_no_step(values):
    assert steps_of(spectrum_of(values)).law == "none"


@pytest.mark.parametrize("values", [np.ones(40), np.ones(100)])
def test_equal_eigenvalues_are_level(values):
    found = steps_of(spectrum_of(values))
    assert (found.law, found.rank, found.level, found.is_level) == ("plateau", 0, 1.0, True)


def test_a_nugget_is_a_plateau_without_a_drop():
    found = steps_of(spectrum_of(np.exp(-0.1 * np.arange(200)) + 0.5))
    assert (found.law, found.is_level) == ("plateau", True)
    assert found.level == pytest.approx(0.5, rel=1e-6)
    assert found.rank == np.sum(np.exp(-0.1 * np.arange(200)) > 0.025)


def test_rounding_of_single_precision_is_that_of_the_entries():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    K = np.exp(-0.5 * np.sum((X[:, None] - X[None]) ** 2, axis=2)).astype(np.float32)
    spectrum = gram_spectrum(K)
    error = rounding(spectrum, K.astype(float))
    noise = np.linalg.norm(K - np.exp(-0.5 * np.sum((X[:, None] - X[None]) ** 2, axis=2)), 2)
    assert noise < error < 100 * noise
    assert error < rounding(spectrum_of(spectrum.eigenvalue, eps=2 * 1e-11)) * EPS / 2e-11
    assert resolvable(spectrum, error) == 10 * error
    assert resolvable(spectrum_of([1.0]), 1.0) == 1e3


def test_ranks_in_single_precision():
    X = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    K = (X @ X.T / 3 + 1) ** 2
    spectrum = gram_spectrum(K)
    assert steps_of(spectrum, error=rounding(spectrum, K.astype(float))).rank == 10


def test_nothing_above_rounding_is_no_step():
    assert steps_of(spectrum_of(1 / np.arange(1.0, 60.0), eps=0.9)).law == "none"


def test_the_largest_step_stands_out_of_a_power_law():
    values = np.arange(1, 101.0) ** -2
    assert largest_step(values, 2.0, num=80)[0] == pytest.approx(1)
    values[20:] /= 5
    step, after = largest_step(values, 2.0, num=80)
    assert (step, after) == (pytest.approx(5), 20)
    assert largest_step(values[:3], 2.0, num=80) == (1.0, 0)
