"""Simulated SGD: PyTorch's own optimizer, gradient descent, the average over all batch sequences, every library."""

import itertools
import tracemalloc
import warnings

import numpy as np
import pytest
import xarray as xr

from spectra.dynamics.batch_order import batch_blocks, batch_sizes
from spectra.dynamics.population import Population
from spectra.dynamics.simulation import simulate_sgd
from spectra.dynamics.z_scores import z_scores
from spectra.errors import ArgumentError, BackendError, NonFiniteError, OutOfMemoryError, ShapeError
from spectra.exchange import library_of

SCHEDULE = np.linspace(0.3, 0.05, 9)
VARIANTS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "Nesterov": {"momentum": 0.7, "nesterov": True},
    "weight decay": {"weight_decay": 0.3},
    "all": {"momentum": 0.7, "nesterov": True, "weight_decay": 0.3},
    "schedules": {"learning_rate": SCHEDULE, "momentum": SCHEDULE + 0.2, "batch_size": [1, 2, 3, 1, 6, 2, 2, 1, 5]},
}


def problem(n=6, d=3, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return tuple(x.astype(dtype) for x in (rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)))


def batches(run, num_runs, sizes, n, sampling, seed=0):
    """Return the batch of every step of one run."""
    blocks = batch_blocks(
        sizes, num_samples=n, sampling=sampling, seed=seed, num_runs=num_runs, steps_per_block=len(sizes)
    )
    samples = np.split(next(blocks).samples, num_runs * np.cumsum(sizes)[:-1])
    return [numbers.reshape(num_runs, -1)[run] for numbers in samples]


def torch_losses(A, b, start, order, *, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0, q=1, **_):
    """Train with torch.optim.SGD on the batches of ``order`` and return the full loss at each step."""
    torch = pytest.importorskip("torch")
    A, b = torch.tensor(A), torch.tensor(b)
    x = torch.tensor(start, requires_grad=True)
    rates, momenta = np.broadcast_to(learning_rate, len(order)), np.broadcast_to(momentum, len(order))
    optimizer = torch.optim.SGD(
        [x], lr=float(rates[0]), momentum=float(momenta[0]), nesterov=nesterov, weight_decay=weight_decay
    )
    samples = A.reshape(-1, q, A.shape[1])
    losses = []
    for step in range(len(order) + 1):
        losses.append(float(((A @ x - b) ** 2).sum().detach()) / (2 * len(samples)))
        if step == len(order):
            return np.array(losses)
        optimizer.param_groups[0].update(lr=float(rates[step]), momentum=float(momenta[step]))
        numbers = torch.tensor(order[step])
        residual = samples[numbers] @ x - b.reshape(-1, q)[numbers]
        optimizer.zero_grad()
        (residual.square().sum(dim=1) / 2).mean().backward()
        optimizer.step()


@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement", "reshuffled"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("q", [1, 2])
def test_steps_are_those_of_torch(variant, sampling, q):
    n, num_runs = 30, 3
    A, b, start = problem(n * q, 4)
    settings = {"learning_rate": 0.1, "batch_size": 4} | VARIANTS[variant]
    run = simulate_sgd(
        A, b, start=start, num_steps=9, num_runs=num_runs, sampling=sampling, rows_per_sample=q, **settings
    )
    sizes = np.array(np.broadcast_to(settings["batch_size"], 9))
    sizes = batch_sizes(sizes, num_samples=n, sampling=sampling)
    for i in range(num_runs):
        expected = torch_losses(A, b, start, batches(i, num_runs, sizes, n, sampling), q=q, **settings)
        np.testing.assert_allclose(run["run_loss"].values[i], expected, rtol=1e-13)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8, 12, 29, 30])
def test_gathered_rows_and_whole_products_are_the_same_steps(batch_size):
    A, b, start = problem(30, 4)
    run = simulate_sgd(A, b, start=start, learning_rate=0.1, batch_size=batch_size, num_steps=6, num_runs=2)
    order = batches(1, 2, np.full(6, batch_size), 30, "without_replacement")
    np.testing.assert_allclose(
        run["run_loss"].values[1], torch_losses(A, b, start, order, learning_rate=0.1), rtol=1e-13
    )


@pytest.mark.parametrize("sampling", ["without_replacement", "reshuffled"])
@pytest.mark.parametrize("q", [1, 2])
def test_full_batches_are_gradient_descent(sampling, q):
    A, b, start = problem(20, 5)
    n = 20 // q
    settings = {"batch_size": n, "num_steps": 300, "num_runs": 2, "sampling": sampling, "rows_per_sample": q}
    run = simulate_sgd(A, b, start=start, learning_rate=0.1, **settings)
    eigenvalues, vectors = np.linalg.eigh(A.T @ A / n)
    best = np.linalg.lstsq(A, b)[0]
    error = (vectors.T @ (start - best))[:, None] * (1 - 0.1 * eigenvalues[:, None]) ** run["step"].values
    expected = np.sum((A @ best - b) ** 2) / (2 * n) + np.sum(eigenvalues[:, None] * error**2, axis=0) / 2
    np.testing.assert_allclose(run["loss"], expected, rtol=1e-12)
    np.testing.assert_allclose(run["stderr"], 0.0, atol=1e-15)
    assert run["step"].values[0] == 0
    assert run["step"].values[-1] == 300
    np.testing.assert_allclose(run["epoch"], run["step"])


def sequences(n, batch_size, sampling, num_steps):
    """Return every equally likely sequence of batches."""
    if sampling == "with_replacement":
        choices = list(itertools.product(range(n), repeat=batch_size))
        return itertools.product(choices, repeat=num_steps)
    if sampling == "without_replacement":
        return itertools.product(itertools.combinations(range(n), batch_size), repeat=num_steps)
    ends = range(batch_size, n, batch_size)
    return (np.split(order, ends)[:num_steps] for order in itertools.permutations(range(n)))


@pytest.mark.parametrize(
    ("batch_size", "sampling", "num_steps"),
    [
        (1, "with_replacement", 4),
        (1, "without_replacement", 4),
        (2, "with_replacement", 2),
        (2, "without_replacement", 3),
        (1, "reshuffled", 6),
        (4, "reshuffled", 2),
    ],
)
def test_mean_is_the_average_over_all_batch_sequences(batch_size, sampling, num_steps):
    n, learning_rate, momentum = 6, 0.25, 0.3
    A, b, start = problem(n)
    all_orders = np.array(
        [np.concatenate([list(s) for s in order]) for order in sequences(n, batch_size, sampling, num_steps)]
    )
    states = np.tile(start, (len(all_orders), 1))
    velocity = np.zeros_like(states)
    exact = [np.mean((A @ start - b) ** 2) / 2]
    for k in range(num_steps):
        numbers = all_orders[:, k * batch_size : (k + 1) * batch_size]
        residual = np.einsum("sbd,sd->sb", A[numbers], states) - b[numbers]
        velocity = momentum * velocity + np.einsum("sb,sbd->sd", residual, A[numbers]) / numbers.shape[1]
        states = states - learning_rate * velocity
        exact.append(np.mean((states @ A.T - b) ** 2) / 2)
    run = simulate_sgd(
        A,
        b,
        start=start,
        learning_rate=learning_rate,
        momentum=momentum,
        batch_size=batch_size,
        num_steps=num_steps,
        num_runs=20_000,
        sampling=sampling,
        rng=1,
    )
    found = z_scores(run, xr.DataArray(exact, dims="step", coords={"step": range(num_steps + 1)}))
    # 4 standard errors at each of at most 6 steps, for fixed seeds; the standard error is well known with 20,000 runs
    assert found.attrs["num_compared"] >= num_steps - 1
    assert np.nanmax(np.abs(found["z"])) < 4.0
    assert found.attrs["max_relative_deviation"] < 0.05


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch_size", [1, 3, 20])
@pytest.mark.parametrize("sampling", ["without_replacement", "reshuffled"])
def test_every_library_has_the_same_runs(xp, dtype, batch_size, sampling):
    A, b, start = problem(40, 5, dtype=dtype)
    settings = {"learning_rate": 0.1, "batch_size": batch_size, "momentum": 0.5, "weight_decay": 0.1, "num_runs": 3}
    settings |= {"num_steps": 30, "sampling": sampling, "nesterov": True, "rows_per_sample": 2}
    hessian, minimizer = np.diag(np.arange(1.0, 6.0)).astype(dtype), np.ones(5, dtype=dtype)
    reference = simulate_sgd(A, b, start=start, population=(hessian, minimizer, 0.5), **settings)
    ours = [xp.asarray(x) for x in (A, b, start, hessian, minimizer)]
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    for population in ((*ours[3:], 0.5), Population(hessian=hessian, minimizer=minimizer, floor=0.5)):
        run = simulate_sgd(*ours[:2], start=ours[2], population=population, **settings)
        for name in ("run_loss", "loss", "risk", "run_risk"):
            np.testing.assert_allclose(run[name], reference[name], rtol=tolerance)
    assert run.attrs["library"] == library_of(ours[0])
    assert run.attrs["dtype"] == dtype


@pytest.mark.gpu
@pytest.mark.parametrize("batch_size", [1, 3, 20])
def test_torch_on_a_device_has_the_same_runs(batch_size):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    A, b, _ = problem(40, 5)
    settings = {"learning_rate": 0.1, "batch_size": batch_size, "num_steps": 50, "momentum": 0.5}
    run = simulate_sgd(*(torch.tensor(x, device="cuda") for x in (A, b)), **settings)
    np.testing.assert_allclose(run["run_loss"], simulate_sgd(A, b, **settings)["run_loss"], rtol=1e-11)


@pytest.mark.parametrize("batch_size", [1, 3, 10])
@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement", "reshuffled"])
def test_more_runs_do_not_change_earlier_ones_and_memory_changes_none(batch_size, sampling):
    A, b, _ = problem(20, 4)
    settings = {"learning_rate": 0.1, "batch_size": batch_size, "num_steps": 50, "sampling": sampling}
    many = simulate_sgd(A, b, num_runs=7, **settings)["run_loss"].values
    np.testing.assert_allclose(simulate_sgd(A, b, num_runs=3, **settings)["run_loss"], many[:3], rtol=1e-12)
    np.testing.assert_allclose(simulate_sgd(A, b, num_runs=7, max_bytes=1, **settings)["run_loss"], many, rtol=1e-12)
    assert len(np.unique(many[:, -1])) == 7
    other = simulate_sgd(A, b, num_runs=7, rng=1, **settings)["run_loss"].values
    assert np.all(other[:, -1] != many[:, -1])


def test_arguments_stay_as_they_are_and_columns_may_come_first():
    A, b, start = problem(20, 4)
    kept = [x.copy() for x in (A, b, start)]
    settings = {"start": start, "learning_rate": 0.1, "num_steps": 30, "momentum": 0.9, "weight_decay": 0.1}
    run = simulate_sgd(A, b, **settings)
    for x, y in zip((A, b, start), kept, strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_allclose(
        simulate_sgd(np.asfortranarray(A), b, **settings)["run_loss"], run["run_loss"], rtol=1e-12
    )
    read_only = A.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(simulate_sgd(read_only, b, **settings)["run_loss"], run["run_loss"])


@pytest.mark.parametrize("scale", [1e-10, 1e-100, 1e100])
def test_units_change_only_units(scale):
    A, b, start = problem(20, 4)
    run = simulate_sgd(A, b, start=start, learning_rate=0.1, num_steps=40)
    other = simulate_sgd(A * scale, b * scale, start=start, learning_rate=0.1 / scale**2, num_steps=40)
    for name, power in {
        "loss": 2,
        "stderr": 2,
        "relative_stderr": 0,
        "loss_quantile": 2,
        "largest_run_share": 0,
    }.items():
        np.testing.assert_allclose(other[name], run[name] * scale**power, rtol=1e-10)
    np.testing.assert_array_equal(other["mean_resolved"], run["mean_resolved"])


def test_population_risk_of_the_data_is_the_loss():
    A, b, start = problem(20, 4)
    best = np.linalg.lstsq(A, b)[0]
    floor = float(np.mean((A @ best - b) ** 2) / 2)
    run = simulate_sgd(
        A, b, start=start, learning_rate=0.1, num_steps=40, weight_decay=0.2, population=(A.T @ A / 20, best, floor)
    )
    np.testing.assert_allclose(run["run_risk"], run["run_loss"], rtol=1e-12)
    np.testing.assert_allclose(run["risk_stderr"].values[1:], run["stderr"].values[1:], rtol=1e-10)


def test_diverged_runs_are_infinite_and_counted_without_a_warning():
    A, b = np.array([[0.0], [3.0]]), np.zeros(2)
    # x stays, or is multiplied by 1 - 9 * 1112 = -1e4: its square overflows in the 39th of those steps, of 85 / 2
    settings = {"start": np.ones(1), "learning_rate": 1112.0, "num_steps": 85, "record": [0, 85], "num_runs": 40}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = simulate_sgd(A, b, **settings)
    final = run["run_loss"].values[:, 1]
    assert 0 < run.attrs["num_diverged"] < 40
    assert run.attrs["num_diverged"] == np.sum(np.isinf(final))
    assert np.all(final > 0)
    assert run["loss"].values.tolist() == [2.25, np.inf]
    assert np.isinf(run["stderr"].values[1])
    assert not run["mean_resolved"].values[1]
    ordered = np.sort(final)
    assert run["loss_quantile"].sel(quantile=0.05).values[1] == pytest.approx(0.05 * ordered[1] + 0.95 * ordered[2])
    run = simulate_sgd(A, b, **{**settings, "learning_rate": 1e5, "num_steps": 1000, "record": [1000]})
    assert run.attrs["num_diverged"] == 40
    assert not np.any(np.isnan(run["run_loss"]))


def test_a_mean_that_rests_on_few_runs_is_flagged():
    # x stays, or is multiplied by 1 - 9 * 9 = -80: the runs that met row 1 most often carry the mean
    run = simulate_sgd(
        np.array([[0.0], [3.0]]), np.zeros(2), start=np.ones(1), learning_rate=9.0, num_steps=20, num_runs=32
    )
    assert not run["mean_resolved"].values[-1]
    assert run["largest_run_share"].values[-1] > 0.5
    calm = simulate_sgd(*problem(50, 4)[:2], learning_rate=0.02, num_steps=20, num_runs=32)
    assert np.all(calm["mean_resolved"])


def test_result_is_described_and_can_be_written(tmp_path):
    A, b, _ = problem(20, 4)
    run = simulate_sgd(A, b, learning_rate=SCHEDULE, batch_size=3, num_steps=9, sampling="reshuffled", rng=7)
    assert dict(run.sizes) == {"step": 10, "quantile": 5, "run": 32, "update": 9}
    assert run["samples"].values.tolist() == [0, 3, 6, 9, 12, 15, 18, 20, 23, 26]
    np.testing.assert_allclose(run["epoch"], run["samples"] / 20)
    np.testing.assert_array_equal(run["learning_rate_schedule"], SCHEDULE)
    for name, expected in {
        "schema": "spectra/simulation",
        "schema_version": 1,
        "seed": 7,
        "batch_size": 3,
        "learning_rate": "one per update",
        "sampling": "reshuffled",
        "library": "numpy",
        "num_samples": 20,
        "num_parameters": 4,
        "num_diverged": 0,
    }.items():
        assert run.attrs[name] == expected
    run.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as read:
        xr.testing.assert_equal(read.load(), run)
    single = simulate_sgd(A, b, learning_rate=0.1, num_steps=5, num_runs=1)
    assert np.all(np.isnan(single["stderr"]))
    assert not np.any(single["mean_resolved"])


GOOD = {"learning_rate": 0.1, "num_steps": 3}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"A": [[1.0]]}, BackendError),
        ({"A": np.ones((6, 3), dtype=int)}, BackendError),
        ({"A": np.ones((6, 3), dtype=np.float32)}, BackendError),
        ({"A": np.ones(6)}, ShapeError),
        ({"A": np.ones((0, 3)), "b": np.ones(0)}, ShapeError),
        ({"A": np.full((6, 3), np.nan)}, NonFiniteError),
        ({"b": [1.0] * 6}, BackendError),
        ({"b": np.ones(5)}, ShapeError),
        ({"b": np.ones((6, 1))}, ShapeError),
        ({"b": np.full(6, np.inf)}, NonFiniteError),
        ({"start": np.ones(6)}, ShapeError),
        ({"start": 1.0}, BackendError),
        ({"start": np.full(3, np.nan)}, NonFiniteError),
        ({"rows_per_sample": 4}, ShapeError),
        ({"rows_per_sample": 0}, ArgumentError),
        ({"batch_size": 7}, ArgumentError),
        ({"sampling": "random"}, ArgumentError),
        ({"population": np.eye(3)[:2]}, ArgumentError),
        ({"population": (np.eye(3), np.ones(3))}, ArgumentError),
        ({"population": (np.eye(2), np.ones(3), 0.0)}, ShapeError),
        ({"population": (np.eye(3), np.ones(3), np.nan)}, ArgumentError),
    ],
)
def test_bad_input(changes, error):
    A, b, _ = problem()
    arguments = {"A": A, "b": b} | GOOD | changes
    with pytest.raises(error):
        simulate_sgd(arguments.pop("A"), arguments.pop("b"), **arguments)


def test_a_batch_with_replacement_may_exceed_the_data():
    A, b, _ = problem()
    run = simulate_sgd(A, b, **GOOD, batch_size=50, sampling="with_replacement", num_runs=2)
    order = batches(0, 2, np.full(3, 50), 6, "with_replacement")
    np.testing.assert_allclose(
        run["run_loss"].values[0], torch_losses(A, b, np.zeros(3), order, learning_rate=0.1), rtol=1e-13
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"batch_size": 10**15, "sampling": "with_replacement"}, "smaller batches"),
        ({"num_runs": 10**9}, "fewer runs"),
        ({"num_steps": 10**15}, "fewer steps"),
        ({"num_runs": 10**7, "batch_size": 6}, "fewer runs"),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_before_anything_is_allocated(changed, words):
    A, b, _ = problem()
    tracemalloc.start()
    try:
        with pytest.raises(OutOfMemoryError, match=words):
            simulate_sgd(A, b, **{"learning_rate": 0.1, "num_steps": 3, "num_runs": 2} | changed)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_momentum_of_1_is_refused():
    A, b, _ = problem()
    with pytest.raises(ArgumentError, match="momentum must lie in"):
        simulate_sgd(A, b, learning_rate=0.1, num_steps=3, momentum=1.0)


def test_constant_settings_and_schedules_of_the_same_numbers_are_the_same_run():
    A, b, _ = problem()
    for sampling in ("without_replacement", "with_replacement", "reshuffled"):
        settings = {"num_steps": 7, "num_runs": 3, "sampling": sampling}
        one = simulate_sgd(A, b, learning_rate=0.1, momentum=0.5, batch_size=4, **settings)
        each = simulate_sgd(
            A, b, learning_rate=np.full(7, 0.1), momentum=np.full(7, 0.5), batch_size=np.full(7, 4), **settings
        )
        xr.testing.assert_equal(one, each)
        assert one.attrs["batch_size"] == each.attrs["batch_size"] == 4
