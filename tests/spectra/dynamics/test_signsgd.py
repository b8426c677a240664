import numpy as np
import pytest
import xarray as xr

from spectra.dynamics.signsgd import signsgd_curve, signsgd_floor
from spectra.errors import ArgumentError, NonFiniteError, ShapeError

RNG = np.random.default_rng(3)
MIXED = RNG.standard_normal((6, 9))
DENSE = MIXED @ MIXED.T / 9
START = RNG.standard_normal(6)


def by_matrix(covariance, start, *, rate, noise, num_steps):
    """Iterate the whole second moment of the error as the paper writes it."""
    spread = np.sqrt(np.diag(covariance))
    pull = covariance / spread[:, None]
    signs = 2 / np.pi * np.arcsin(np.clip(covariance / np.outer(spread, spread), -1, 1))
    np.fill_diagonal(signs, 1.0)
    moment, risks = np.outer(start, start), []
    for _ in range(num_steps + 1):
        twice = np.trace(covariance @ moment) + noise**2
        risks.append(twice / 2)
        move = pull @ moment
        moment = moment - 2 / np.pi * rate / np.sqrt(twice) * (move + move.T) + rate**2 * signs
    return np.array(risks)


def curve(covariance=DENSE, *, start=START, learning_rate=0.02, noise=0.3, num_steps=50, record=None):
    return signsgd_curve(
        covariance, start=start, learning_rate=learning_rate, noise=noise, num_steps=num_steps, record=record
    )


@pytest.mark.parametrize("rate", [1e-3, 0.1, 3.0])
@pytest.mark.parametrize("noise", [0.0, 0.7])
@pytest.mark.parametrize("kind", ["dense", "diagonal", "rank 2", "one"])
def test_curve_equals_the_recursion_of_the_whole_second_moment(kind, rate, noise):
    covariance = {
        "dense": DENSE,
        "diagonal": np.diag(np.arange(1.0, 7.0)),
        "rank 2": MIXED[:, :2] @ MIXED[:, :2].T,
        "one": np.array([[2.5]]),
    }[kind]
    start = START[: len(covariance)]
    expected = by_matrix(covariance, start, rate=rate, noise=noise, num_steps=80)
    found = curve(covariance, start=start, learning_rate=rate, noise=noise, num_steps=80)
    np.testing.assert_allclose(found["risk"].values, expected, rtol=1e-9)


def test_diagonal_covariances_are_vectors():
    own = np.arange(1.0, 7.0)
    xr.testing.assert_allclose(curve(own), curve(np.diag(own)), rtol=1e-12)


def test_first_step_is_by_hand():
    # Two features of variance 4 and 1, error (1, 2): 2 R = 8, K-bar = diag(2, 1), tr K K-bar M = 8 + 4.
    found = curve([4.0, 1.0], start=[1.0, 2.0], learning_rate=0.1, noise=0.0, num_steps=1)["risk"].values
    expected = (8 - 2 * 2 / np.pi * 0.1 / np.sqrt(8) * 12 + 0.01 * 5) / 2
    np.testing.assert_allclose(found, [4.0, expected], rtol=1e-14)


@pytest.mark.parametrize("covariance", [DENSE, np.arange(1.0, 7.0), MIXED[:, :2] @ MIXED[:, :2].T])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_every_curve_ends_at_the_floor(covariance, noise):
    settings = {"learning_rate": 0.05, "noise": noise}
    for start in (START, np.zeros(6)):
        found = curve(covariance, start=start, num_steps=30_000, record=[30_000], **settings)
        np.testing.assert_allclose(found["risk"].values, float(found["floor"]), rtol=1e-9)
    np.testing.assert_array_equal(found["floor"].values, signsgd_floor(covariance, **settings))


def test_floor_of_full_rank_depends_on_the_diagonal_alone():
    settings = {"learning_rate": 0.05, "noise": 0.7}
    expected = signsgd_floor(np.diag(DENSE), **settings)
    np.testing.assert_allclose(signsgd_floor(DENSE, **settings), expected, rtol=1e-10)
    c = np.pi / 4 * 0.05 * np.sum(np.sqrt(np.diag(DENSE)))
    np.testing.assert_allclose(expected, ((c + np.sqrt(c**2 + 4 * 0.49)) / 2) ** 2 / 2, rtol=1e-12)
    np.testing.assert_allclose(signsgd_floor(DENSE, learning_rate=1e-9, noise=0.7), 0.245, rtol=1e-7)


@pytest.mark.parametrize("rate", [1e-4, 1.0, 1e6])
def test_no_curve_diverges_or_falls_below_the_label_noise(rate):
    for trial in range(5):
        rng = np.random.default_rng(trial)
        root = rng.standard_normal((8, 3 + trial)) * 10.0 ** rng.uniform(-3, 3, (8, 1))
        noise = rng.uniform(0, 2)
        found = curve(root @ root.T, start=rng.standard_normal(8), learning_rate=rate, noise=noise, num_steps=300)
        risk = found["risk"].values
        assert np.all(risk >= noise**2 / 2)
        assert np.all(risk <= 20 * max(risk[0], float(found["floor"])))


def test_a_start_at_the_minimum_without_noise_is_left_only_by_the_steps():
    found = curve(np.ones(6), start=np.zeros(6), learning_rate=0.5, noise=0.0, num_steps=1)["risk"].values
    np.testing.assert_allclose(found, [0.0, 0.25 * 6 / 2], rtol=1e-14)


def test_features_that_are_always_zero_change_nothing():
    wide = np.zeros((8, 8))
    wide[np.ix_([0, 2, 3, 4, 6, 7], [0, 2, 3, 4, 6, 7])] = DENSE
    start = np.full(8, 5.0)
    start[[0, 2, 3, 4, 6, 7]] = START
    np.testing.assert_allclose(curve(wide, start=start)["risk"].values, curve()["risk"].values, rtol=1e-10)
    own, zeros = np.append(np.arange(1.0, 7.0), 0.0), np.append(START, 9.0)
    np.testing.assert_allclose(curve(own, start=zeros)["risk"].values, curve(own[:6])["risk"].values, rtol=1e-14)


def test_units_of_the_features_change_the_units_of_the_risk_only():
    scale = 1e-10
    plain, small = curve(), curve(scale**2 * DENSE, noise=scale * 0.3)
    for name in ("risk", "floor"):
        np.testing.assert_allclose(small[name].values / scale**2, plain[name].values, rtol=1e-10)
    np.testing.assert_allclose(small["start_alignment"].values, plain["start_alignment"].values, rtol=1e-12)


def test_lists_and_single_precision_are_fine():
    xr.testing.assert_allclose(curve(DENSE.tolist(), start=START.tolist()), curve())
    single = curve(DENSE.astype(np.float32), start=START.astype(np.float32))
    xr.testing.assert_allclose(single, curve(), rtol=1e-5)
    low_rank = (MIXED[:, :2] @ MIXED[:, :2].T).astype(np.float32)
    expected = signsgd_floor(MIXED[:, :2] @ MIXED[:, :2].T, learning_rate=0.1, noise=0.2)
    np.testing.assert_allclose(signsgd_floor(low_rank, learning_rate=0.1, noise=0.2), expected, rtol=1e-4)


def test_alignment_is_the_largest_correlation_of_a_feature_with_the_residual():
    found = curve([4.0, 1.0], start=[1.0, 2.0], learning_rate=0.1, noise=1.0)
    np.testing.assert_allclose(found["start_alignment"].values, 2 / 3, rtol=1e-14)


def test_only_recorded_steps_are_kept():
    whole, some = curve(num_steps=50), curve(num_steps=50, record=[50, 7])
    assert some["step"].values.tolist() == [7, 50]
    np.testing.assert_array_equal(some["risk"].values, whole["risk"].values[[7, 50]])
    assert curve(num_steps=0)["risk"].shape == (1,)
    expected = {"method": "signsgd", "batch_size": 1, "learning_rate": 0.02, "noise": 0.3}
    assert {name: some.attrs[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"covariance": np.ones((2, 3))}, ShapeError, "covariance must have shape"),
        ({"covariance": 1.0}, ShapeError, "covariance must have shape"),
        ({"covariance": []}, ShapeError, "d at least 1"),
        ({"covariance": np.eye(5)}, ShapeError, "start must have shape"),
        ({"covariance": np.nan * np.eye(6)}, NonFiniteError, "covariance"),
        ({"covariance": np.triu(np.ones((6, 6)))}, ArgumentError, "symmetric"),
        ({"covariance": np.eye(6) - 0.5}, ArgumentError, "positive semidefinite"),
        ({"covariance": -np.ones(6)}, ArgumentError, "positive semidefinite"),
        ({"covariance": np.zeros(6)}, ArgumentError, "not 0"),
        ({"covariance": np.diag([0.0, 1, 1, 1, 1, 1]) + np.eye(6)[[1, 0, 2, 3, 4, 5]]}, ArgumentError, "semidefinite"),
        ({"start": np.full(6, np.inf)}, NonFiniteError, "start"),
        ({"learning_rate": 0.0}, ArgumentError, "learning_rate"),
        ({"noise": -1.0}, ArgumentError, "noise"),
        ({"noise": np.nan}, NonFiniteError, "noise"),
        ({"num_steps": 2.5}, ArgumentError, "num_steps"),
        ({"num_steps": -1}, ArgumentError, "num_steps"),
        ({"record": [51]}, ArgumentError, "record"),
    ],
)
def test_wrong_calls_are_refused(changed, error, match):
    with pytest.raises(error, match=match):
        curve(**changed)


@pytest.mark.parametrize(
    "changed",
    [{"learning_rate": 1e300}, {"noise": 1e300}, {"start": 1e300 * START}, {"covariance": 1e300 * DENSE}],
)
def test_risks_beyond_float64_are_refused(changed):
    with np.errstate(all="raise"), pytest.raises(NonFiniteError, match="exceeds the largest float64"):
        curve(**{"start": 1e10 * START} | changed)
    if not {"start", "covariance"} & set(changed):
        with pytest.raises(NonFiniteError, match="exceeds the largest float64"):
            signsgd_floor(DENSE, **{"learning_rate": 0.1, "noise": 0.1} | changed)


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e-30])
def test_numbers_that_vanish_are_zero_whatever_the_error_state(scale):
    with np.errstate(all="raise"):
        found = curve(learning_rate=scale, noise=scale, start=scale * START)
        assert signsgd_floor(DENSE, learning_rate=scale, noise=scale) <= 1e2 * scale**2
    if scale == 1e-30:
        np.testing.assert_allclose(found["risk"] / scale**2, curve(learning_rate=1, noise=1)["risk"], rtol=1e-9)
    assert np.all(np.isfinite(found["risk"]))
