"""From eigenvalues, matrices, data and measures to a law, edges and outliers, and what cannot be analyzed."""

import json
import math

import numpy as np
import pytest
from scipy.linalg import eigh

import spectra
from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.laws.spiked import SpikedCovariance
from spectra.laws_analysis import analyze_spectrum
from spectra.laws_summary import summarize_laws


def noise(rows=400, columns=200, spikes=(), seed=0):
    X = np.random.default_rng(seed).standard_normal((rows, columns))
    X[:, : len(spikes)] *= np.sqrt(spikes)
    return X


def wigner(size=300, spike=0.0, seed=0):
    generator = np.random.default_rng(seed)
    A = generator.standard_normal((size, size))
    u = generator.standard_normal(size)
    return (A + A.T) / np.sqrt(2 * size) + spike * np.outer(u, u) / (u @ u)


def verdict(found):
    return summarize_laws(found)["answer"]["verdict"]


def test_data_a_covariance_and_its_eigenvalues_are_one_spectrum():
    X = noise(spikes=(4.0, 6.0))
    S = X.T @ X / 400
    ways = [
        analyze_spectrum(X, center=False),
        analyze_spectrum(S, num_samples=400),
        analyze_spectrum(np.linalg.eigvalsh(S), aspect_ratio=0.5),
        analyze_spectrum(np.linalg.eigvalsh(S).astype(np.float32), aspect_ratio=0.5, num_samples=400),
    ]
    for found in ways:
        assert found.attrs["law"] == "marchenko_pastur"
        assert found.attrs["num_samples"] == 400
        np.testing.assert_allclose(found["value"], ways[0]["value"], rtol=1e-5)
        np.testing.assert_allclose(found["spike"], ways[0]["spike"], rtol=1e-4)
        assert verdict(found) == "supported"
    assert [found.attrs["heavy_tailed"] for found in ways] == ["no", "unknown", "unknown", "unknown"]
    model = SpikedCovariance(aspect_ratio=198 / 400, variance=ways[0].attrs["variance"])
    np.testing.assert_allclose(model.outlier(ways[0]["spike"].values), ways[0]["value"].values, rtol=1e-9)


def test_population_values_are_those_that_were_planted():
    errors = []
    for seed in range(12):
        found = analyze_spectrum(noise(spikes=(6.0,), seed=seed), center=False)
        assert found.sizes["outlier"] == 1
        # The spread of an outlier of a real covariance: 2 spike^2 / n, times its slope squared; of the estimate less.
        errors.append((float(found["spike"][0]) - 6.0) / (6.0 * math.sqrt(2 / 400)))
    assert abs(np.mean(errors)) < 3 / math.sqrt(12)
    assert np.std(errors) < 2.0


def test_more_variables_than_samples():
    X = noise(80, 200)
    found = analyze_spectrum(X)
    assert found.attrs["num_samples"] == 79
    assert found.sizes["eigenvalue"] == 79
    assert verdict(found) == "supported"
    S = X.T @ X / 80
    for array in (S, S.astype(np.float32)):
        whole = analyze_spectrum(array, num_samples=80)
        assert whole.attrs["num_zeros"] == 120
        assert whole.attrs["law"] == "marchenko_pastur"
        assert analyze_spectrum(array).attrs["law"] == "marchenko_pastur"
        assert float(analyze_spectrum(array)["distance"][0]) < 0.03


def test_a_symmetric_matrix_has_a_semicircle_and_spikes_of_both_signs():
    for sign in (1.0, -1.0):
        found = analyze_spectrum(wigner(spike=2.0 * sign))
        assert found.attrs["law"] == "semicircle"
        assert found["side"].values.tolist() == [sign]
        assert float(found["spike"][0]) == pytest.approx(2.0 * sign, abs=0.3)
        assert 0.5 < float(found["overlap"][0]) < 1.0
        assert verdict(found) == "supported"


def test_jacobi_and_f_are_told_from_eigenvalues():
    generator = np.random.default_rng(0)
    P, Q = (generator.standard_normal((200, n)) for n in (400, 600))
    values = eigh(P @ P.T / 400, Q @ Q.T / 600, eigvals_only=True)
    found = analyze_spectrum(values)
    assert found.attrs["law"] == "f"
    assert verdict(found) == "tentative"
    share = values * 2 / 3
    assert analyze_spectrum(share / (1 + share)).attrs["law"] == "jacobi"


def f_matrix(size=60, first=0.5, second=1 / 3, spike=1.0, seed=0):
    generator = np.random.default_rng(seed)
    P, Q = (generator.standard_normal((size, round(size / ratio))) for ratio in (first, second))
    P[0] *= math.sqrt(spike)
    return eigh(P @ P.T / P.shape[1], Q @ Q.T / Q.shape[1], eigvals_only=True)


def test_f_matrices_have_outliers_no_more_often_than_they_should():
    # By eigenvalues 13 % of such matrices have outliers, by their logarithms 1 %.
    found = [analyze_spectrum(f_matrix(seed=seed), law="f") for seed in range(40)]
    assert sum(one.sizes["outlier"] > 0 for one in found) <= 2
    assert all("logarithms" in one.attrs["remarks"] for one in found)
    spiked = analyze_spectrum(f_matrix(120, spike=12.0), law="f")
    assert spiked.sizes["outlier"] == 1
    assert float(spiked["value"][0]) == pytest.approx(f_matrix(120, spike=12.0)[-1], rel=1e-12)
    assert spiked.attrs["high"] < spiked.attrs["threshold"] < float(spiked["value"][0])
    assert spiked.attrs["high"] == pytest.approx(7.42, rel=0.1)
    assert analyze_spectrum(f_matrix(seed=3)).attrs["law"] == "f"


def test_a_lower_edge_at_zero_is_not_sought_in_logarithms():
    found = analyze_spectrum(f_matrix(100, first=1.0), law="f")
    assert "logarithms" not in found.attrs["remarks"]
    assert found.attrs["low_kind"] == "hard"


def test_a_law_that_does_not_fit_has_no_errors():
    found = analyze_spectrum(noise() * np.repeat([1.0, 3.0], 100))
    assert found["fits"].values.tolist()[0] == 0
    assert json.loads(str(found["stderr"].values[0])) == {"aspect_ratio": 0.0, "variance": None}


def test_a_simpler_law_is_preferred_where_others_are_nearer_by_chance():
    for seed in range(12):
        X = noise(240, 120, seed=seed)
        found = analyze_spectrum(np.linalg.eigvalsh(X.T @ X / 240))
        assert found.attrs["law"] == "marchenko_pastur"


def test_a_bulk_of_two_variances_is_a_colored_one_with_its_outliers():
    X = noise(1200, 300)
    X[:, 150:] *= math.sqrt(3)
    X[:, 0] *= math.sqrt(20)
    found = analyze_spectrum(X)
    assert found["law"].values.tolist() == ["marchenko_pastur", "generalized"]
    assert found["fits"].values.tolist() == [0, 1]
    assert found.sizes["outlier"] == 1
    assert float(found["spike"][0]) == pytest.approx(20.0, rel=0.2)
    assert found.sizes["atom"] > 0
    assert verdict(found) == "tentative"


def test_heavy_tails_withhold_the_answer():
    found = analyze_spectrum(np.random.default_rng(0).standard_t(2.5, size=(400, 200)))
    assert found.attrs["heavy_tailed"] == "yes"
    summary = summarize_laws(found)
    assert summary["answer"]["verdict"] == "withheld"
    assert summary["answer"]["law"] is None
    assert np.all(np.isnan(found["spike"]))


def test_a_decay_is_no_bulk():
    summary = summarize_laws(analyze_spectrum(1 / np.arange(1.0, 300.0) ** 2))
    assert summary["answer"]["verdict"] == "withheld"
    assert "spectra kernel" in summary["answer"]["next_step"]


@pytest.mark.parametrize("scale", [1e-14, 1e14])
def test_units_change_nothing_but_units(scale):
    one, other = analyze_spectrum(wigner(spike=2.0)), analyze_spectrum(wigner(spike=2.0) * scale)
    assert other.attrs["law"] == "semicircle"
    np.testing.assert_allclose(other["spike"] / scale, one["spike"], rtol=1e-9)
    one, other = analyze_spectrum(noise(spikes=(6.0,))), analyze_spectrum(noise(spikes=(6.0,)) * scale)
    np.testing.assert_allclose(other["spike"] / scale**2, one["spike"], rtol=1e-9)
    assert verdict(other) == verdict(one)


def test_measures_of_noise_have_their_laws_and_a_measure_of_two_variances_has_none():
    X = noise(600, 300, spikes=(6.0,))
    measure = spectra.slq(X.T @ X / 600, num_probes=4, num_steps=40)
    for ratio in (None, 0.5):
        found = analyze_spectrum(measure, aspect_ratio=ratio)
        assert found.attrs["law"] == "marchenko_pastur"
        assert found.attrs["method"] == "lanczos"
        assert float(found["spike"][0]) == pytest.approx(6.0, rel=0.25)
        assert verdict(found) == "tentative"
    assert analyze_spectrum(spectra.slq(wigner(), num_probes=4, num_steps=40)).attrs["law"] == "semicircle"
    Y = noise(1200, 300)
    Y[:, 150:] *= 2
    colored = spectra.slq(Y.T @ Y / 1200, num_probes=4, num_steps=40)
    assert analyze_spectrum(colored).attrs["law"] == ""
    one_probe = analyze_spectrum(spectra.slq(wigner(), num_probes=1, num_steps=40), law="semicircle")
    assert "null" in str(one_probe["stderr"].values[0])
    assert "eigenvalues are required" in str(analyze_spectrum(measure, law="jacobi")["law_remark"].values[0])


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_few_eigenvalues_say_little_and_never_fail(size):
    for values in (np.arange(1.0, size + 1), -np.arange(1.0, size + 1), np.zeros(size), np.ones(size)):
        assert verdict(analyze_spectrum(values)) != "supported"


def test_standardize_center_and_remarks_on_columns():
    X = noise(spikes=(1000.0,)) + 5.0
    X[:, 1] = 7.0
    found = analyze_spectrum(X)
    remarks = found.attrs["source_remarks"]
    assert "standard deviations of columns" in remarks
    assert "1 of 200 columns are constant" in remarks
    assert float(found["value"][0]) > 500
    scaled = analyze_spectrum(X, standardize=True)
    assert scaled.sizes["outlier"] == 0
    assert float(np.sum(scaled["eigenvalue"])) == pytest.approx(199.0)
    assert float(analyze_spectrum(X, center=False)["value"][0]) > 25 * 150


def test_wrong_calls_say_what_was_required():
    values = np.linalg.eigvalsh(wigner())
    with pytest.raises(ArgumentError, match="no negative eigenvalues"):
        analyze_spectrum(values, num_samples=600)
    with pytest.raises(ArgumentError, match="number of samples is wrong"):
        analyze_spectrum(np.linspace(1, 2, 60), num_samples=20)
    with pytest.raises(ShapeError, match="belong to aspect_ratio 3"):
        analyze_spectrum(np.linspace(1, 2, 60), num_samples=40, aspect_ratio=3.0)
    with pytest.raises(ArgumentError, match="must be variables over samples"):
        analyze_spectrum(np.ones(5), aspect_ratio=-1.0)
    with pytest.raises(ArgumentError, match="has its own number of samples"):
        analyze_spectrum(noise(), num_samples=400)
    with pytest.raises(ArgumentError, match="'generalized' requires"):
        analyze_spectrum(np.ones(60), law="generalized")
    with pytest.raises(ArgumentError, match="law must be auto"):
        analyze_spectrum(np.ones(60), law="beta")
    with pytest.raises(ArgumentError, match="kind must be"):
        analyze_spectrum(noise(), kind="graph")
    with pytest.raises(ArgumentError, match="'marchenko_pastur' requires"):
        analyze_spectrum(np.ones(60), method="marchenko_pastur")
    with pytest.raises(ArgumentError, match="'lanczos' requires"):
        analyze_spectrum(np.ones(60), method="lanczos")
    with pytest.raises(ShapeError, match="is not symmetric"):
        analyze_spectrum(noise(), kind="symmetric")
    with pytest.raises(ShapeError, match="one list"):
        analyze_spectrum(noise(), kind="eigenvalues")
    with pytest.raises(ShapeError, match="must have two dimensions"):
        analyze_spectrum(np.ones(5), kind="data")
    with pytest.raises(ShapeError, match="with an entry"):
        analyze_spectrum(np.empty(0))
    with pytest.raises(ShapeError, match="too few for a covariance"):
        analyze_spectrum(np.ones((1, 5)))
    with pytest.raises(NonFiniteError, match=r"1 of 5 are NaN or infinite, the first at \[2\]"):
        analyze_spectrum(np.array([1.0, 2.0, math.nan, 3.0, 4.0]))
    with pytest.raises((ArgumentError, BackendError), match="real"):
        analyze_spectrum(np.ones(5) + 1j)
    with pytest.raises(ArgumentError, match="no kind"):
        analyze_spectrum(spectra.slq(np.eye(5)), kind="data")
