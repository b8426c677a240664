"""Streaming SGD: exact second moments of Gaussian features, PyTorch's optimizer, every library."""

import numpy as np
import pytest
import xarray as xr

from spectra.dynamics.batch_order import run_generator
from spectra.dynamics.streaming_simulation import simulate_streaming
from spectra.dynamics.z_scores import z_scores
from spectra.errors import ArgumentError, BackendError, NonFiniteError, OutOfMemoryError, ShapeError

EIGENVALUES = np.array([2.0, 1.0, 0.5, 0.1])
START, SOLUTION, NOISE = np.array([1.0, -1.0, 2.0, 0.5]), np.array([0.3, 0.2, -1.0, 1.0]), 0.7


@pytest.mark.parametrize(("batch_size", "learning_rate"), [(1, 0.1), (4, 0.3)])
def test_mean_obeys_the_exact_second_moments(batch_size, learning_rate):
    """Isserlis: E[a a'M a a'] = 2 S M S + S tr(S M) for a ~ N(0, S)."""
    S = np.diag(EIGENVALUES)
    M = np.outer(START - SOLUTION, START - SOLUTION)
    expected = []
    for _ in range(31):
        expected.append(NOISE**2 / 2 + np.trace(S @ M) / 2)
        one = 2 * S @ M @ S + S * np.trace(S @ M) + NOISE**2 * S
        square = one / batch_size + (1 - 1 / batch_size) * S @ M @ S
        M = M - learning_rate * (S @ M + M @ S) + learning_rate**2 * square
    run = simulate_streaming(
        EIGENVALUES,
        start=START,
        solution=SOLUTION,
        noise=NOISE,
        learning_rate=learning_rate,
        batch_size=batch_size,
        num_steps=30,
        num_runs=4000,
    )
    found = z_scores(run, xr.DataArray(expected, dims="step", coords={"step": range(31)}))
    assert found.attrs["num_compared"] == 30
    # correlated records of fixed seeds: 4 standard errors each
    assert np.nanmax(np.abs(found["z"])) < 4.0
    assert np.nanmax(run["relative_stderr"]) < 0.05


def test_steps_are_those_of_torch():
    torch = pytest.importorskip("torch")
    sizes = [2, 1, 3, 2]
    run = simulate_streaming(
        EIGENVALUES,
        start=START,
        solution=SOLUTION,
        noise=NOISE,
        learning_rate=0.1,
        batch_size=sizes,
        num_steps=4,
        num_runs=3,
        momentum=0.8,
        nesterov=True,
        weight_decay=0.2,
    )
    for i in range(3):
        generator, x = run_generator(0, i), torch.tensor(START, requires_grad=True)
        optimizer = torch.optim.SGD([x], lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.2)
        losses = []
        for size in [*sizes, 1]:
            error = x.detach().numpy() - SOLUTION
            losses.append(NOISE**2 / 2 + np.sum(EIGENVALUES * error**2) / 2)
            drawn = generator.standard_normal((size, 5))
            a = drawn[:, :4] * np.sqrt(EIGENVALUES)
            labels = a @ SOLUTION + NOISE * drawn[:, 4]
            optimizer.zero_grad()
            ((torch.tensor(a) @ x - torch.tensor(labels)) ** 2 / 2).mean().backward()
            optimizer.step()
        np.testing.assert_allclose(run["run_loss"].values[i], losses, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_library_has_the_same_runs(xp, dtype):
    arrays = [x.astype(dtype) for x in (EIGENVALUES, START, SOLUTION)]
    settings = {"noise": NOISE, "learning_rate": 0.1, "batch_size": 2, "num_steps": 20, "num_runs": 3}
    reference = simulate_streaming(arrays[0], start=arrays[1], solution=arrays[2], **settings)
    ours = [xp.asarray(x) for x in arrays]
    run = simulate_streaming(ours[0], start=ours[1], solution=ours[2], **settings)
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(run["run_loss"], reference["run_loss"], rtol=tolerance)
    assert run.attrs["dtype"] == dtype


def test_more_runs_do_not_change_earlier_ones_and_memory_changes_none():
    settings = {"start": START, "noise": NOISE, "learning_rate": 0.1, "num_steps": 20, "batch_size": 3}
    many = simulate_streaming(EIGENVALUES, num_runs=6, **settings)["run_loss"].values
    few = simulate_streaming(EIGENVALUES, num_runs=2, **settings)["run_loss"].values
    small = simulate_streaming(EIGENVALUES, num_runs=6, max_bytes=1, **settings)["run_loss"].values
    np.testing.assert_allclose(few, many[:2], rtol=1e-12)
    np.testing.assert_allclose(small, many, rtol=1e-12)
    assert len(np.unique(many[:, -1])) == 6


def test_samples_are_counted_and_there_is_no_epoch():
    run = simulate_streaming(EIGENVALUES, start=START, noise=0, learning_rate=0.1, batch_size=3, num_steps=2)
    assert run["samples"].values.tolist() == [0, 3, 6]
    assert "epoch" not in run.coords
    assert run.attrs["sampling"] == "streaming"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"covariance_eigenvalues": [1.0]}, BackendError),
        ({"covariance_eigenvalues": np.ones((4, 4))}, ShapeError),
        ({"covariance_eigenvalues": np.ones(0)}, ShapeError),
        ({"covariance_eigenvalues": -EIGENVALUES}, ArgumentError),
        ({"covariance_eigenvalues": EIGENVALUES * np.nan}, NonFiniteError),
        ({"start": np.ones(3)}, ShapeError),
        ({"start": np.ones(4, dtype=np.float32)}, BackendError),
        ({"solution": np.ones(3)}, ShapeError),
        ({"solution": "none"}, ArgumentError),
        ({"solution": [1.0] * 4}, ArgumentError),
        ({"noise": -1.0}, ArgumentError),
        ({"noise": np.inf}, ArgumentError),
        ({"num_steps": 0}, ArgumentError),
        ({"batch_size": 1.5}, ArgumentError),
    ],
)
def test_bad_input(changes, error):
    good = {"covariance_eigenvalues": EIGENVALUES, "start": START, "noise": 1.0, "learning_rate": 0.1, "num_steps": 2}
    arguments = good | changes
    with pytest.raises(error):
        simulate_streaming(arguments.pop("covariance_eigenvalues"), **arguments)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"batch_size": 10**15}, OutOfMemoryError, "smaller batches"),
        ({"num_runs": 10**9}, OutOfMemoryError, "fewer runs"),
        ({"num_steps": 10**15}, OutOfMemoryError, "fewer steps"),
        ({"momentum": 1.0}, ArgumentError, "momentum must lie in"),
        ({"noise": 1e300}, ArgumentError, "square of the noise"),
    ],
)
def test_settings_beyond_memory_or_numbers_are_refused(changed, error, words):
    settings = {"start": np.ones(2), "noise": 0.1, "learning_rate": 0.1, "num_steps": 3, "num_runs": 2}
    with pytest.raises(error, match=words):
        simulate_streaming(np.ones(2), **settings | changed)
