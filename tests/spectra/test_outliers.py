import json

import numpy as np
import pytest

import spectra
from spectra.bulk_split import BULK_SPLIT_SCHEMA, BulkSplit
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.outliers import split_bulk


def data(p=300, n=600, *, spikes=(), seed=0):
    X = np.random.default_rng(seed).standard_normal((p, n))
    X[: len(spikes)] *= np.sqrt(np.array(spikes)).reshape(-1, 1)
    return X


def eigenvalues(X):
    return np.linalg.eigvalsh(X @ X.T / X.shape[1])


def two_atoms(seed, spikes=(12.0, 20.0)):
    rng = np.random.default_rng(seed)
    scales = np.sqrt(np.repeat([1.0, 3.0], 150))
    scales[: len(spikes)] = np.sqrt(spikes)
    return eigenvalues(scales[:, None] * rng.standard_normal((300, 1200)))


@pytest.mark.parametrize("method", ["edge", "marchenko_pastur", "auto"])
@pytest.mark.parametrize("unit", [1.0, 1e-14, 1e14])
def test_outliers_are_the_largest_eigenvalues(method, unit):
    values = unit * eigenvalues(data(spikes=(4.0, 8.0)))
    found = split_bulk(values, num_samples=600, method=method)
    assert found.is_trustworthy, found.why
    assert not found.is_decay
    np.testing.assert_array_equal(found.outlier, values[[-1, -2]])
    np.testing.assert_array_equal(found.side, [1, 1])
    np.testing.assert_array_equal(found.residual, 0.0)
    assert np.all(found.p_value < 0.01)
    assert found.threshold < found.outlier[-1]
    assert found.low_kind == "soft"
    assert found.high / unit == pytest.approx((1 + np.sqrt(0.5)) ** 2, abs=0.1)


def test_outliers_of_both_sides():
    rng = np.random.default_rng(1)
    W = rng.standard_normal((400, 400))
    A = (W + W.T) / np.sqrt(800)
    A[:3, :3] += np.diag([3.0, -2.5, -4.0])
    exact = np.linalg.eigvalsh(A)
    found = split_bulk(exact)
    np.testing.assert_array_equal(found.outlier, exact[[-1, 1, 0]])
    np.testing.assert_array_equal(found.side, [1, -1, -1])
    assert found.p_value[1] >= found.p_value[2]
    mirrored = split_bulk(-exact)
    np.testing.assert_array_equal(mirrored.outlier, -found.outlier[::-1])
    assert mirrored.low == pytest.approx(-found.high)


@pytest.mark.parametrize("seed", range(10))
def test_bulk_of_two_atoms_needs_the_law_free_split(seed):
    values = two_atoms(seed)
    found = split_bulk(values, num_samples=1200)
    assert found.method == "edge"
    assert found.num_outliers == 2
    assert found.is_trustworthy
    assert any("not that of white noise" in remark for remark in found.remarks)
    white = split_bulk(values, num_samples=1200, method="marchenko_pastur")
    assert white.num_outliers > 20
    assert not white.is_trustworthy


def test_noise_has_no_outliers():
    # one draw in a hundred may: more than 3 of 60 have a probability of 4e-3
    spectra_of_noise = [eigenvalues(data(60, 120, seed=100 + seed)) for seed in range(60)]
    assert sum(split_bulk(values).num_outliers > 0 for values in spectra_of_noise) <= 3
    assert sum(split_bulk(values, num_samples=120).num_outliers > 0 for values in spectra_of_noise) <= 3


def test_more_variables_than_samples_with_and_without_zeros():
    values = eigenvalues(data(400, 200, spikes=(8.0,), seed=2))
    whole = split_bulk(values, num_samples=200)
    part = split_bulk(values[200:], num_samples=200, aspect_ratio=2.0)
    assert whole.num_zeros == 200
    assert part.num_zeros == 0
    np.testing.assert_array_equal(whole.outlier, part.outlier)
    assert whole.num_outliers == 1
    assert whole.num_eigenvalues == 400
    assert split_bulk(values, aspect_ratio=2.0).variance == whole.variance


def test_hard_edges_have_nothing_below():
    found = split_bulk(eigenvalues(data(200, 200, spikes=(9.0,), seed=3)))
    assert found.low_kind == "hard"
    assert found.low == 0.0
    assert found.num_outliers == 1
    assert np.isnan(found.low_stderr)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("n", [500, 3000])
def test_slow_decay_is_no_edge(power, n):
    found = split_bulk(1.0 / np.arange(1.0, n) ** power)
    assert not found.is_trustworthy


def test_exponential_decay_is_no_edge():
    assert not split_bulk(np.exp(-np.arange(500) / 10)).is_trustworthy


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_populations_that_decay_slowly_have_no_bulk_to_be_trusted(power, seed):
    X = np.arange(1, 401)[:, None] ** (-power / 2) * np.random.default_rng(seed).standard_normal((400, 1200))
    S = X @ X.T / 1200
    found = split_bulk(np.linalg.eigvalsh(S))
    assert not found.is_trustworthy
    assert found.is_decay
    assert "gap" in found.why
    measured = split_bulk(spectra.slq(S, num_probes=4, num_steps=60, rng=seed))
    assert not measured.is_trustworthy
    assert measured.is_decay
    assert "after half of the steps the bulk was" in measured.why


def test_a_bulk_of_two_parts_is_noticed():
    rng = np.random.default_rng(14)
    X = np.sqrt(np.repeat([1.0, 10.0], 100))[:, None] * rng.standard_normal((200, 4000))
    X[0] *= 6.0
    found = split_bulk(eigenvalues(X))
    assert found.num_outliers == 1
    assert any("100 of the bulk lie above" in remark for remark in found.remarks)
    assert not any("no eigenvalues" in remark for remark in split_bulk(eigenvalues(data(seed=15))).remarks)


def test_equal_eigenvalues_have_no_scale():
    found = split_bulk(np.append(np.ones(100), 7.0))
    assert found.num_outliers == 1
    assert not found.is_trustworthy
    assert "coincide" in found.why


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], np.zeros(100), np.linspace(1, 2, 20)])
def test_too_few_eigenvalues_tell_nothing(values):
    found = split_bulk(values)
    assert not found.is_trustworthy
    assert found.num_outliers == 0
    assert "too few" in found.why
    assert split_bulk([1.0], num_samples=5).num_outliers == 0


def test_small_white_matrices_need_the_samples():
    values = eigenvalues(data(20, 60, spikes=(12.0,), seed=4))
    assert "too few" in split_bulk(values).why
    found = split_bulk(values, num_samples=60)
    assert found.num_outliers == 1
    assert found.low_kind == "unknown"


def test_permutations_tell_heavy_tails_from_structure():
    structured = data(spikes=(4.0, 8.0), seed=5)
    found = split_bulk(eigenvalues(structured), matrix=structured)
    assert found.heavy_tailed is False
    assert found.num_outliers == 2
    assert found.is_trustworthy
    heavy = np.random.default_rng(6).standard_t(2.5, size=(300, 600))
    found = split_bulk(eigenvalues(heavy), matrix=heavy)
    assert found.heavy_tailed is True
    assert not found.is_trustworthy
    assert "heavy-tailed" in found.why
    assert split_bulk(eigenvalues(structured)).heavy_tailed is None


def test_a_mean_of_the_entries_is_no_heavy_tail():
    X = data(spikes=(), seed=17) + 1.0
    found = split_bulk(eigenvalues(X), matrix=X)
    assert found.heavy_tailed is False
    assert found.num_outliers == 1


def test_rank_deficient_data_are_not_white():
    values = np.append(np.zeros(60), eigenvalues(data(100, 300, seed=11)))
    found = split_bulk(values, num_samples=300)
    assert found.method == "edge"
    assert found.num_zeros == 60
    assert not split_bulk(np.append(np.zeros(50), [1.0, 2.0]), num_samples=100).is_trustworthy
    assert not split_bulk([1.0, 2.0], num_samples=3).is_trustworthy


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_units_near_the_ends_of_float64(unit):
    values = eigenvalues(data(spikes=(6.0,), seed=12))
    for given in ({}, {"num_samples": 600}):
        plain, scaled = split_bulk(values, **given), split_bulk(unit * values, **given)
        assert scaled.method == plain.method
        np.testing.assert_allclose(scaled.outlier, unit * plain.outlier)
        assert scaled.high == pytest.approx(unit * plain.high)


def test_arrays_of_other_libraries():
    torch = pytest.importorskip("torch")
    X = data(100, 200, spikes=(9.0,), seed=13)
    found = split_bulk(torch.tensor(eigenvalues(X)), matrix=torch.tensor(X))
    assert found.num_outliers == 1
    assert found.heavy_tailed is False


def test_measures():
    X = data(spikes=(4.0, 8.0), seed=7)
    S = X @ X.T / 600
    found = split_bulk(spectra.slq(S, num_probes=4, num_steps=50))
    assert found.method == "lanczos"
    np.testing.assert_allclose(found.outlier, np.linalg.eigvalsh(S)[[-1, -2]], rtol=1e-6)
    np.testing.assert_array_equal(found.side, [1, 1])
    assert found.is_trustworthy
    assert found.heavy_tailed is None
    assert np.all(np.isnan(found.p_value))


def test_measures_of_two_intervals_are_not_trusted():
    rng = np.random.default_rng(8)
    X = np.sqrt(np.repeat([1.0, 5.0], 150))[:, None] * rng.standard_normal((300, 6000))
    found = split_bulk(spectra.slq(X @ X.T / 6000, num_probes=4, num_steps=50))
    assert not found.is_trustworthy
    assert "one interval" in found.why


def test_measures_of_few_steps_say_what_they_cannot_decide():
    X = data(1000, 2000, spikes=(2.5, 4.0, 10.0), seed=16)
    S = X @ X.T / 2000
    few = split_bulk(spectra.slq(S, num_probes=4, num_steps=20))
    assert few.num_outliers == 2
    assert any("1 converged value short of a threshold" in remark for remark in few.remarks)
    assert split_bulk(spectra.slq(S, num_probes=4, num_steps=80)).num_outliers == 3
    fewest = split_bulk(spectra.slq(S, num_probes=4, num_steps=13))
    assert not fewest.is_trustworthy
    assert "too few steps to see" in fewest.why


def test_measures_without_reorthogonalization_are_not_trusted():
    X = data(spikes=(4.0, 8.0), seed=7)
    found = split_bulk(spectra.slq(X @ X.T / 600, num_probes=4, num_steps=50, reorthogonalize=False))
    assert not found.is_trustworthy
    assert "copies" in found.why


@pytest.mark.parametrize("base", [1.2, 2.0, 10.0])
def test_measures_of_isolated_eigenvalues_have_no_bulk(base):
    measure = spectra.slq(np.diag(base ** np.arange(40.0)), num_probes=4, num_steps=30)
    assert not split_bulk(measure).is_trustworthy


def test_datasets_hold_everything():
    X = data(spikes=(6.0,), seed=9)
    found = split_bulk(eigenvalues(X), num_samples=600, matrix=X)
    table = found.to_dataset()
    assert table.attrs["schema"] == BULK_SPLIT_SCHEMA
    assert table.attrs["heavy_tailed"] == "no"
    assert table.sizes["outlier"] == 1
    np.testing.assert_array_equal(table["value"], found.outlier)
    json.dumps({key: value for key, value in table.attrs.items() if isinstance(value, str | int | float)})
    assert all(isinstance(value, str | int | float | np.number) for value in table.attrs.values())
    assert "1 outlier (" in str(found)


def test_results_are_read_only():
    found = split_bulk(eigenvalues(data()))
    assert isinstance(found, BulkSplit)
    with pytest.raises(ValueError, match="read-only"):
        found.side[...] = 0


def test_float32_and_order_do_not_matter():
    values = eigenvalues(data(spikes=(6.0,), seed=10))
    single = np.random.default_rng(0).permutation(values).astype(np.float32)
    assert split_bulk(single).num_outliers == 1
    assert split_bulk(values.tolist()).num_outliers == 1


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda v: split_bulk(v, method="mp"), ArgumentError, "method"),
        (lambda v: split_bulk(v, level=1.0), ArgumentError, "level"),
        (lambda v: split_bulk(v, method="marchenko_pastur"), ArgumentError, "num_samples"),
        (lambda v: split_bulk(v, method="lanczos"), ArgumentError, "spectral measure"),
        (lambda v: split_bulk(spectra.slq(np.diag(v)), method="edge"), ArgumentError, "eigenvalues"),
        (lambda v: split_bulk(spectra.slq(np.diag(v)), num_samples=7), ArgumentError, "num_samples"),
        (lambda v: split_bulk(v - 1.0, num_samples=7), ArgumentError, "negative"),
        (lambda v: split_bulk(v, aspect_ratio=0.0), ArgumentError, "positive"),
        (lambda v: split_bulk(v, aspect_ratio=0.5, num_samples=7), ShapeError, "belong"),
        (lambda v: split_bulk(v, num_points=3), ArgumentError, "num_points"),
        (lambda v: split_bulk(v, rng=-1), ArgumentError, "rng"),
        (lambda v: split_bulk(np.append(v, np.nan)), NonFiniteError, "finite"),
        (lambda v: split_bulk(v[None]), ShapeError, "shape"),
        (lambda v: split_bulk([]), ShapeError, "at least 1"),
        (lambda v: split_bulk(v + 0j), ArgumentError, "real"),
        (lambda v: split_bulk(v, matrix=np.ones(3)), ShapeError, "two dimensions"),
    ],
)
def test_wrong_calls_are_refused(call, error, match):
    with pytest.raises(error, match=match):
        call(np.linspace(0.5, 2.0, 60))


@pytest.mark.parametrize("unit", [1e-200, 1e160])
def test_units_of_the_matrix_do_not_change_what_its_entries_say(unit):
    X = np.random.default_rng(3).standard_t(2.5, size=(60, 120))
    found = split_bulk(eigenvalues(X), method="edge", matrix=unit * X)
    assert found.remarks == split_bulk(eigenvalues(X), method="edge", matrix=X).remarks
    assert found.heavy_tailed


@pytest.mark.parametrize(("order", "window"), [(40, None), (60, 40)])
def test_matrices_too_small_for_the_control_are_not_cleared(order, window):
    X = np.random.default_rng(0).standard_t(2.2, size=(order, 100))
    found = split_bulk(eigenvalues(X), num_samples=100, matrix=X, num_points=window)
    assert found.heavy_tailed is None
    assert "too few eigenvalues to tell" in found.remarks[-1]
