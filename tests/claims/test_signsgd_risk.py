"""Risk curves of signSGD in streaming Gaussian regression, simulated and predicted.

Xiao, Marshall, Agarwala and Paquette (2024), arXiv 2411.12135: in high dimension the expected risk of signSGD with one
sample per step follows a deterministic equation in the covariance of the features, their diagonal preconditioning
K diag(K)^(-1/2), and (2/pi) arcsin of their correlations.

The simulations draw features and labels and apply the sign of each gradient. Neighboring steps of a run are
correlated, runs are independent: each step is its own z-test, with a bound for the largest of all of them.
"""

import numpy as np
import pytest

from spectra.dynamics.signsgd import signsgd_curve, signsgd_floor

DIMENSION, RUNS = 120, 200
#: Bound for the largest of 25 correlated z-values of a curve, in 6 curves: exceeded by chance in under 1 %.
MAX_Z = 4.0


def covariance_of(kind):
    rng = np.random.default_rng(11)
    spread = np.geomspace(0.2, 2.0, DIMENSION)
    if kind == "diagonal":
        return spread**2
    mixed = rng.standard_normal((DIMENSION, 2 * DIMENSION)) / np.sqrt(2 * DIMENSION)
    if kind == "correlated":
        mixed[:, :3] *= 4.0
    return spread[:, None] * (mixed @ mixed.T) * spread


def simulate(covariance, start, *, rate, noise, num_steps, record, seed):
    """Return mean and standard error of the risk at the recorded steps."""
    rng = np.random.default_rng(seed)
    matrix = np.diag(covariance) if covariance.ndim == 1 else covariance
    root = np.linalg.cholesky(matrix)
    error = np.tile(start, (RUNS, 1))
    found = []
    for k in range(num_steps + 1):
        if k in record:
            found.append((np.sum((error @ root) ** 2, axis=1) + noise**2) / 2)
        a = rng.standard_normal(error.shape) @ root.T
        residual = np.sum(a * error, axis=1) - noise * rng.standard_normal(RUNS)
        error = error - rate * np.sign(a * residual[:, None])
    risks = np.array(found)
    return risks.mean(axis=1), risks.std(axis=1, ddof=1) / np.sqrt(RUNS)


@pytest.mark.parametrize("kind", ["diagonal", "dense", "correlated"])
@pytest.mark.parametrize(("step", "noise"), [(0.3, 0.5), (1.0, 1.0)])
def test_mean_of_simulated_risks_follows_the_curve(kind, step, noise):
    covariance = covariance_of(kind)
    start = np.random.default_rng(2).standard_normal(DIMENSION) / np.sqrt(DIMENSION)
    settings = {"learning_rate": step / DIMENSION, "noise": noise, "num_steps": 1200}
    record = np.append(0, np.unique(np.geomspace(1, 1200, 25).astype(int)))
    curve = signsgd_curve(covariance, start=start, record=record, **settings)
    mean, stderr = simulate(
        covariance, start, rate=settings["learning_rate"], noise=noise, num_steps=1200, record=set(record), seed=100
    )
    risk = curve["risk"].values
    # The drift is (2/pi) arcsin of a correlation, and the curve takes (2/pi) times the correlation: simulations run
    # ahead by up to this share of their steps.
    neglected = float(curve["start_alignment"]) ** 2 / 6 * record * np.abs(np.gradient(risk, record))
    assert np.all(np.abs(mean - risk)[1:] < (MAX_Z * stderr + neglected)[1:])
    assert np.max(neglected / risk) < 0.02
    assert np.max(stderr / mean) < 0.01


def test_correlations_of_features_speed_up_the_descent_along_them():
    covariance = covariance_of("correlated")
    start = np.linalg.eigh(covariance)[1][:, -1]
    settings = {"learning_rate": 0.3 / DIMENSION, "noise": 0.5, "num_steps": 300, "record": [300]}
    rate = settings["learning_rate"]
    mean, stderr = simulate(covariance, start, rate=rate, noise=0.5, num_steps=300, record={300}, seed=1)
    own = signsgd_curve(covariance, start=start, **settings)["risk"].values
    same_risk = start * np.sqrt(start @ covariance @ start / np.sum(np.diag(covariance) * start**2))
    uncorrelated = signsgd_curve(np.diag(covariance), start=same_risk, **settings)["risk"].values
    # A single direction carries the risk: the drift is linear in a correlation that is not small at the start.
    assert abs(mean - own) < 0.1 * own
    assert mean + 10 * stderr < uncorrelated


def test_simulated_runs_settle_at_the_floor():
    covariance, rate, noise = covariance_of("diagonal"), 2.0 / DIMENSION, 0.3
    floor = signsgd_floor(covariance, learning_rate=rate, noise=noise)
    rng, error, total = np.random.default_rng(4), np.zeros((RUNS, DIMENSION)), np.zeros(RUNS)
    for k in range(3000):
        a = rng.standard_normal(error.shape) * np.sqrt(covariance)
        residual = np.sum(a * error, axis=1) - noise * rng.standard_normal(RUNS)
        error = error - rate * np.sign(a * residual[:, None])
        if k >= 2000:
            total += (np.sum(covariance * error**2, axis=1) + noise**2) / 2000
    z = (total.mean() - floor) / (total.std(ddof=1) / np.sqrt(RUNS))
    assert abs(z) < 3.5
