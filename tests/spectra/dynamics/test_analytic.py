import numpy as np
import pytest
from scipy.integrate import quad

from spectra.dynamics import from_law, from_marchenko_pastur
from spectra.errors import ArgumentError


@pytest.mark.parametrize("aspect_ratio", [0.1, 0.5, 1.0, 2.0, 10.0])
def test_moments_of_the_law(aspect_ratio):
    """First and second moments of Marchenko-Pastur are 1 and 1 + r; the loss at the start is (R + noise)/2."""
    d = 1000
    problem = from_marchenko_pastur(aspect_ratio, dimension=d, signal=2.0, noise=0.3, num_nodes=1000)
    share = problem.multiplicity / d
    assert share @ problem.eigenvalue == pytest.approx(1, rel=1e-9)
    assert share @ problem.eigenvalue**2 == pytest.approx(1 + aspect_ratio, rel=1e-9)
    # at r = 1 the density rises like 1/sqrt(x) at 0, where the mass that is missing is one node's
    assert problem.loss == pytest.approx(0.5 * 2.0 + 0.5 * 0.3, rel=1e-9 if aspect_ratio != 1 else 2 / 1000)
    assert problem.floor == pytest.approx(0.15 * max(1 - aspect_ratio, 0), abs=1e-12)


def test_variance_scales_eigenvalues_and_the_loss_of_the_signal():
    one = from_marchenko_pastur(0.5, dimension=100)
    four = from_marchenko_pastur(0.5, dimension=100, variance=4.0)
    np.testing.assert_allclose(four.eigenvalue, 4 * one.eigenvalue)
    np.testing.assert_allclose(four.multiplicity, one.multiplicity)
    assert four.loss == pytest.approx(4 * one.loss)


def test_an_instance_agrees_within_its_own_randomness():
    rng = np.random.default_rng(0)
    from spectra.dynamics import from_data, sgd_curve

    law = sgd_curve(
        from_marchenko_pastur(0.5, dimension=100, noise=0.25), closure="limit", learning_rate=0.005, num_steps=400
    )
    losses = []
    for _ in range(30):
        A = rng.standard_normal((200, 100))
        x = rng.standard_normal(100) / 10
        problem = from_data(A, A @ x + 0.5 * rng.standard_normal(200))
        losses.append(sgd_curve(problem, closure="limit", learning_rate=0.005, num_steps=400).loss.values)
    z = (np.mean(losses, axis=0) - law.loss.values) / (np.std(losses, axis=0) / np.sqrt(30))
    assert np.max(np.abs(z)) < 4


def test_a_law_of_ones_own():
    def density(x):
        return 6 * x * (1 - x)

    problem = from_law(density, (0.0, 1.0), dimension=50, num_samples=100, signal=1.0)
    assert problem.trace / 50 == pytest.approx(quad(lambda x: x * density(x), 0, 1)[0], rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"support": (1.0, 1.0)}, "support"),
        ({"support": (-1.0, 1.0)}, "support"),
        ({"noise": -1.0}, "noise"),
        ({"signal": np.inf}, "signal"),
        ({"atom_at_zero": 1.0}, "atom"),
        ({"atom_at_zero": 0.5}, "integral"),
        ({"density": lambda x: -np.ones_like(x)}, "non-negative"),
        ({"density": lambda x: np.full_like(x, np.nan)}, "integral"),
        ({"dimension": 0}, "dimension"),
    ],
)
def test_laws_that_cannot_be(changes, words):
    given = {"density": np.ones_like, "support": (1.0, 2.0), "dimension": 5, "num_samples": 5} | changes
    with pytest.raises(ArgumentError, match=words):
        from_law(given.pop("density"), given.pop("support"), **given)


@pytest.mark.parametrize("aspect_ratio", [0.0, -1.0, np.nan, 1e9])
def test_aspect_ratios_that_cannot_be(aspect_ratio):
    with pytest.raises(ArgumentError):
        from_marchenko_pastur(aspect_ratio, dimension=10)
