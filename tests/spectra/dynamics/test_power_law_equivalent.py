"""The problem that large draws of power-law random features have in common."""

import numpy as np
import pytest

from spectra.dynamics import from_marchenko_pastur, sgd_curve, stability
from spectra.dynamics.power_law import power_law_features
from spectra.dynamics.power_law_equivalent import power_law_equivalent, power_law_resolvent
from spectra.errors import ArgumentError, NonFiniteError

SIZES = [
    (200, 800, 1.0, 0.7),
    (1000, 4000, 0.4, 0.9),
    (10**4, 10**5, 1.5, 1.0),
    (2**17, 2**19, 1.0, 0.7),
    (300, 200, 1.0, 1.0),
    (100, 400, 5.0, 1.0),
    (100, 400, 0.0, 1.0),
    (50, 10**6, 0.3, 0.4),
    (3, 5, 1.0, 1.0),
    (1, 1, 2.0, 0.0),
    (100, 100, 1.0, 0.5),
]


def equivalent(d, v, alpha, beta, **settings):
    return power_law_equivalent(d, ambient_dimension=v, data_decay=alpha, target_decay=beta, **settings)


@pytest.mark.parametrize(("d", "v", "alpha", "beta"), SIZES)
def test_eigenvalues_trace_and_loss_add_up(d, v, alpha, beta):
    problem = equivalent(d, v, alpha, beta)
    index = np.arange(1, v + 1.0)
    # The stated error of the quadrature; at a spectrum that reaches zero (v = d) what lies below the last cell.
    assert np.sum(problem.multiplicity) == pytest.approx(min(d, v), rel=1e-5 if d != v else 1e-4)
    assert problem.trace == pytest.approx(np.sum(index ** (-2 * alpha)), rel=1e-5)
    assert problem.loss == pytest.approx(0.5 * np.sum(index ** (-2 * (alpha + beta))), rel=1e-5 if d != v else 1e-4)
    assert problem.evidence["count_error"] == pytest.approx(np.sum(problem.multiplicity) / min(d, v) - 1, abs=1e-12)
    assert (problem.floor == 0) == (v <= d)
    assert problem.num_samples is None


def test_without_decay_of_the_data_it_is_the_law_of_marchenko_and_pastur():
    d, v = 100, 400
    problem = equivalent(d, v, 0.0, 1.0)
    known = from_marchenko_pastur(d / v, dimension=d, variance=v / d)
    for time in (0.01, 0.1, 1.0):
        ours, theirs = (p.multiplicity @ np.exp(-time * p.eigenvalue) for p in (problem, known))
        assert ours == pytest.approx(theirs, rel=2e-3)  # second order in the width of cells, 0.1
    # The target has no preferred direction: losses are shared like eigenvalue counts, and the floor is 1 - d/v of it.
    np.testing.assert_allclose(problem.initial_loss / problem.multiplicity, problem.loss / v, rtol=1e-6)
    assert problem.floor == pytest.approx(problem.loss * (1 - d / v), rel=1e-9)


def test_isolated_eigenvalues_stay_single():
    # For d = 2^19 the first entries are far apart compared with their scatter, sqrt(1/d).
    problem = equivalent(2**19, 2**21, 1.0, 0.7)
    top = np.argsort(problem.eigenvalue)[::-1][:8]
    index = np.arange(1, 9.0)
    np.testing.assert_allclose(problem.multiplicity[top], 1.0, rtol=1e-3)
    np.testing.assert_allclose(problem.eigenvalue[top], index**-2, rtol=1e-3)
    np.testing.assert_allclose(problem.initial_loss[top], 0.5 * index**-3.4, rtol=1e-3)


@pytest.mark.parametrize(
    ("d", "v", "alpha", "beta"),
    [(100, 400, 1.0, 0.3), (200, 800, 1.0, 0.7), (300, 900, 0.4, 0.9), (200, 400, 0.75, 1.5), (100, 80, 1.0, 1.0)],
)
def test_its_curves_are_means_over_draws(d, v, alpha, beta):
    """Mean over 30 draws of W, with the standard error between draws; the bias, of order 1/d, is smaller."""
    draws, steps = 30, [1, 3, 10, 30, 100, 1000, 10**4, 10**5]
    problem = equivalent(d, v, alpha, beta)
    settings = {
        "closure": "gaussian",
        "learning_rate": 0.5 * stability(problem, closure="gaussian").learning_rate,
        "num_steps": 10**5,
        "record": steps,
        "solver": "closed_form",
    }
    expected = sgd_curve(problem, **settings)
    curves = [
        sgd_curve(power_law_features(d, ambient_dimension=v, data_decay=alpha, target_decay=beta, rng=seed), **settings)
        for seed in range(draws)
    ]
    for name in ("loss", "noise_free_loss"):
        values = np.array([curve[name].values for curve in curves])
        z = (values.mean(axis=0) - expected[name].values) / (values.std(axis=0, ddof=1) / np.sqrt(draws))
        # Sixteen strongly correlated points of five settings, two of which carry the bias of 1/d at early steps.
        assert np.max(np.abs(z)) < 3.5
        assert np.sqrt(np.mean(z**2)) < 2.0


def test_bias_with_many_draws_falls_like_one_over_the_size():
    draws, scaled, errors = 200, [], []
    for d in (50, 100):
        settings = {"closure": "gaussian", "learning_rate": 0.3, "num_steps": 1, "record": [1]}
        expected = float(sgd_curve(equivalent(d, 4 * d, 1.0, 0.7), **settings).loss.values[-1])
        ratio = [
            float(
                sgd_curve(
                    power_law_features(d, ambient_dimension=4 * d, data_decay=1.0, target_decay=0.7, rng=seed),
                    **settings,
                ).loss.values[-1]
            )
            / expected
            for seed in range(draws)
        ]
        scaled.append(d * (np.mean(ratio) - 1))
        errors.append(d * np.std(ratio, ddof=1) / np.sqrt(draws))
    assert np.all(np.array(scaled) > 3.5 * np.array(errors))  # it is there,
    assert abs(scaled[1] - scaled[0]) < 3.5 * np.hypot(*errors)  # and d times it stays the same


@pytest.mark.parametrize(("d", "v", "alpha", "beta"), [(1000, 4000, 1.0, 0.7), (1000, 4000, 0.4, 0.9), SIZES[2]])
@pytest.mark.parametrize("finer", [{"cell": 0.05}, {"block": 0.01}, {"num_points": 32}])
def test_curves_do_not_depend_on_the_discretization(d, v, alpha, beta, finer):
    problem = equivalent(d, v, alpha, beta)
    settings = {
        "closure": "gaussian",
        "learning_rate": 0.5 * stability(problem, closure="gaussian").learning_rate,
        "num_steps": 10**5,
        "record": [1, 10, 100, 1000, 10**4, 10**5],
        "solver": "closed_form",
    }
    found, other = (sgd_curve(p, **settings).loss.values for p in (problem, equivalent(d, v, alpha, beta, **finer)))
    np.testing.assert_allclose(found, other, rtol=1e-3)  # what the defaults are stated to keep


def test_blocks_keep_what_they_lump():
    v = 10**5
    index = np.arange(1, v + 1.0)
    for alpha in (0.0, 0.2, 0.5, 1.0, 3.0):
        lumped = power_law_resolvent(100, ambient_dimension=v, data_decay=alpha)
        assert lumped.values.size < 500
        assert np.sum(lumped.counts) == v
        assert lumped.counts @ lumped.values == pytest.approx(np.sum(index ** (-2 * alpha)), rel=1e-9)
    every = power_law_resolvent(100, ambient_dimension=500, data_decay=1.0, block=0.0)
    np.testing.assert_allclose(every.values, index[:500] ** -2.0, rtol=1e-12)


def test_a_trillion_parameters():
    problem = equivalent(10**12, 4 * 10**12, 0.4, 0.9, cell=0.3, block=0.1)
    assert problem.eigenvalue.size < 200
    assert np.sum(problem.multiplicity) == pytest.approx(1e12, rel=1e-5)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"ambient_dimension": 0}, ArgumentError),
        ({"ambient_dimension": 4.0}, ArgumentError),
        ({"data_decay": -1.0}, ArgumentError),
        ({"data_decay": np.nan}, NonFiniteError),
        ({"target_decay": [1.0]}, ArgumentError),
        ({"cell": 0.0}, ArgumentError),
        ({"cell": np.nan}, ArgumentError),
        ({"block": 1.0}, ArgumentError),
        ({"block": -0.1}, ArgumentError),
        ({"num_points": 1}, ArgumentError),
    ],
)
def test_wrong_calls(changed, error):
    settings = {"ambient_dimension": 40, "data_decay": 1.0, "target_decay": 1.0} | changed
    with pytest.raises(error, match=next(iter(changed))):
        power_law_equivalent(10, **settings)


@pytest.mark.parametrize("num_parameters", [0, 2.5, True])
def test_wrong_size(num_parameters):
    with pytest.raises(ArgumentError, match="num_parameters"):
        equivalent(num_parameters, 40, 1.0, 1.0)
