import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import eigh_tridiagonal

from spectra.dynamics import MarchenkoPasturSGD, from_law, from_marchenko_pastur, sgd_curve
from spectra.errors import ArgumentError


@pytest.mark.parametrize("aspect_ratio", [0.1, 0.5, 1.0, 2.0, 10.0])
def test_moments_of_the_law(aspect_ratio):
    """First and second moments of Marchenko-Pastur are 1 and 1 + r; the loss at the start is (R + noise)/2."""
    d = 1000
    problem = from_marchenko_pastur(aspect_ratio, dimension=d, signal=2.0, noise=0.3, num_nodes=1000)
    share = problem.multiplicity / d
    assert share @ problem.eigenvalue == pytest.approx(1, rel=1e-9)
    assert share @ problem.eigenvalue**2 == pytest.approx(1 + aspect_ratio, rel=1e-9)
    assert np.sum(share) == pytest.approx(min(1, 1 / aspect_ratio), rel=1e-12)
    assert problem.loss == pytest.approx(0.5 * 2.0 + 0.5 * 0.3, rel=1e-9)
    assert problem.floor == pytest.approx(0.15 * max(1 - aspect_ratio, 0), abs=1e-12)


@pytest.mark.parametrize("aspect_ratio", [0.5, 0.999, 1.0, 1.001, 1.5])
def test_curves_with_label_noise_agree_with_the_closed_form_of_the_law(aspect_ratio):
    d = 10**6
    n = round(d / aspect_ratio)
    law = MarchenkoPasturSGD(aspect_ratio=d / n, learning_rate=1 / d, num_samples=n, noise=0.5)  # half the critical one
    problem = from_marchenko_pastur(d / n, dimension=d, noise=0.5)
    steps = np.array([1, 10, 100, 1000]) * n
    curve = sgd_curve(problem, closure="continuous", learning_rate=1 / d, num_steps=1000 * n, record=steps)
    # where r = 1.5 and nothing is left of the loss, rounding of the loss at the start is all there is
    np.testing.assert_allclose(curve["loss"], law.loss(steps / n), rtol=1e-10, atol=1e-15)


def test_variance_scales_eigenvalues_and_the_loss_of_the_signal():
    one = from_marchenko_pastur(0.5, dimension=100)
    four = from_marchenko_pastur(0.5, dimension=100, variance=4.0)
    np.testing.assert_allclose(four.eigenvalue, 4 * one.eigenvalue)
    np.testing.assert_allclose(four.multiplicity, one.multiplicity)
    assert four.loss == pytest.approx(4 * one.loss)


def test_an_instance_agrees_within_its_own_randomness():
    rng = np.random.default_rng(0)
    from spectra.dynamics import from_data

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


@pytest.mark.parametrize("num_nodes", [1, 2, 3, 10, 200])
@pytest.mark.parametrize("aspect_ratio", [1e-3, 0.01, 0.5, 0.999, 1.0, 1.001, 4.0])
def test_nodes_and_weights_are_those_of_the_jacobi_matrix(aspect_ratio, num_nodes):
    """Its recurrence in the docstring, by a matrix eigenvalue solver."""
    problem = from_marchenko_pastur(aspect_ratio, dimension=1000, num_nodes=num_nodes)
    ratio, stretch = min(aspect_ratio, 1 / aspect_ratio), max(aspect_ratio, 1)
    diagonal = np.full(num_nodes, 1 + ratio)
    diagonal[0] = 1
    x, vectors = eigh_tridiagonal(diagonal, np.full(num_nodes - 1, np.sqrt(ratio)))
    order = np.argsort(problem.eigenvalue)
    np.testing.assert_allclose(problem.eigenvalue[order], stretch * x, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(problem.multiplicity[order], 1000 / stretch * vectors[0] ** 2, rtol=1e-9, atol=1e-9)
