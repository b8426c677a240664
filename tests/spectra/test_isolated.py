import numpy as np
import pytest

import spectra
from spectra.isolated import isolated_ritz_values


def marchenko_pastur(num: int) -> np.ndarray:
    """Return eigenvalues of a Wishart matrix with aspect ratio 1/2: the bulk is [0.086, 2.914]."""
    x = np.random.default_rng(0).standard_normal((num, 2 * num)) / np.sqrt(2 * num)
    return np.linalg.eigvalsh(x @ x.T)


def measure_of(eigenvalues: np.ndarray, **options):
    return spectra.slq(np.diag(eigenvalues), **{"num_probes": 6, "num_steps": 40, **options})


@pytest.mark.parametrize(
    "outliers",
    [[], [7.0], [5.0, 6.5, 8.0, 10.0, 14.0], [-4.0], [-4.0, -3.0, 9.0], [-4.0, 9.0, 9.5]],
)
@pytest.mark.parametrize("scale", [1.0, 1e-14, 1e14])
def test_planted_outliers_are_found_and_nothing_else(outliers, scale) -> None:
    eigenvalues = scale * np.concatenate([marchenko_pastur(300), outliers])
    found = isolated_ritz_values(measure_of(eigenvalues))
    np.testing.assert_allclose(found.isolated, scale * np.array(outliers), rtol=1e-9)
    bulk = eigenvalues[: len(eigenvalues) - len(outliers)]
    assert bulk.min() <= found.low < found.high <= bulk.max()


def test_negation_mirrors() -> None:
    eigenvalues = np.concatenate([marchenko_pastur(300), [5.0, 8.0, -2.0]])
    there, back = (isolated_ritz_values(measure_of(sign * eigenvalues)) for sign in (1, -1))
    np.testing.assert_allclose(there.isolated, -back.isolated[::-1], rtol=1e-9)
    assert there.low == pytest.approx(-back.high, rel=1e-6)
    assert there.resolution == pytest.approx(back.resolution, rel=1e-6)


def test_null_space_is_no_obstacle() -> None:
    eigenvalues = np.concatenate([np.zeros(300), 0.1 * marchenko_pastur(300), [2.0, 3.0]])
    np.testing.assert_allclose(isolated_ritz_values(measure_of(eigenvalues)).isolated, [2.0, 3.0], rtol=1e-9)


def test_what_has_not_converged_is_not_marked() -> None:
    """After three steps the outermost Ritz values lie far apart, but none has a small residual."""
    found = isolated_ritz_values(measure_of(marchenko_pastur(300), num_steps=3))
    assert len(found.isolated) == 0


def test_gap_narrower_than_the_smoothing_does_not_count() -> None:
    measure = measure_of(np.concatenate([marchenko_pastur(300), [7.0]]))
    assert len(isolated_ritz_values(measure, width=0.5).isolated) == 1
    assert len(isolated_ritz_values(measure, width=5.0).isolated) == 0


@pytest.mark.parametrize("eigenvalues", [np.zeros(20), np.full(20, -3e-8), np.ones(1), np.array([1.0, 2.0])])
def test_degenerate_spectra(eigenvalues) -> None:
    found = isolated_ritz_values(measure_of(eigenvalues, num_steps=5))
    assert len(found.isolated) == 0
    assert found.resolution > 0
    assert found.low == pytest.approx(eigenvalues.min(), abs=1e-12)
    assert found.high == pytest.approx(eigenvalues.max(), abs=1e-12)
