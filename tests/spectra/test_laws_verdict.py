"""Verdicts and next steps of spectra that are easily taken for what they are not."""

import math

import numpy as np
import pytest

from spectra.laws_analysis import analyze_spectrum
from spectra.laws_summary import summarize_laws
from spectra.laws_verdict import laws_verdict, next_step


def answer(source, **options):
    summary = summarize_laws(analyze_spectrum(source, **options))
    return summary["answer"] | {"heavy": summary["split"]["heavy_tailed"]}


def data(rows=400, columns=100, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns))


def autoregressive(phi, axis, seed=0):
    Z = np.moveaxis(data(seed=seed), axis, 0).copy()
    for t in range(1, len(Z)):
        Z[t] = phi * Z[t - 1] + math.sqrt(1 - phi**2) * Z[t]
    return np.moveaxis(Z, 0, axis)


NOT_SUPPORTED = {
    "samples in time": lambda: (autoregressive(0.6, 0), {}),
    "variables in a row": lambda: (autoregressive(0.6, 1), {}),
    "unequal variances": lambda: (data() * np.exp(0.4 * data(1)), {}),
    "repeated columns": lambda: (np.repeat(data(400, 50), 2, axis=1), {}),
    "classes": lambda: (np.hstack([np.eye(10)[np.random.default_rng(i).integers(0, 10, 400)] for i in range(10)]), {}),
    "even semicircle": lambda: (np.linspace(-1.0, 1.0, 50), {}),
    "even": lambda: (np.linspace(0.0, 1.0, 200), {"num_samples": 400}),
    "exponential": lambda: (np.random.default_rng(0).exponential(size=200), {"num_samples": 400}),
    "normal": lambda: (np.random.default_rng(0).standard_normal(200), {}),
    "no sizes": lambda: (np.linalg.eigvalsh(data().T @ data() / 400), {}),
    "wrong sizes": lambda: (np.linalg.eigvalsh(data().T @ data() / 400), {"num_samples": 200}),
    "gram of samples as of variables": lambda: (data() @ data().T / 400, {"num_samples": 400}),
    "rows of unequal scale": lambda: (data() * np.sqrt(4 / np.random.default_rng(1).chisquare(4, (400, 1))), {}),
    "heavy": lambda: (np.random.default_rng(0).standard_t(2.5, (400, 100)), {}),
    "shifted noise": lambda: (data(200, 200) + data(200, 200).T + 60.0 * np.eye(200), {}),
    "identity": lambda: (np.eye(100), {}),
    "constant": lambda: (np.full((60, 30), 0.1), {}),
    "four": lambda: (np.array([0.1, 0.5, 1.0, 2.9]), {}),
}


@pytest.mark.parametrize("name", NOT_SUPPORTED)
def test_what_is_no_white_noise_of_known_size_is_never_supported(name):
    source, options = NOT_SUPPORTED[name]()
    assert answer(source, **options)["verdict"] in ("tentative", "withheld")


ENTRIES = {
    "gaussian": lambda generator, shape: generator.standard_normal(shape),
    "uniform": lambda generator, shape: generator.uniform(-1.0, 1.0, shape),
    "signs": lambda generator, shape: generator.choice([-1.0, 1.0], shape),
}


@pytest.mark.parametrize("entries", ENTRIES)
@pytest.mark.parametrize("size", [100, 300])
def test_noise_of_known_size_is_supported(entries, size):
    generator = np.random.default_rng(0)
    for shape in ((2 * size, size), (size, 2 * size)):
        assert answer(ENTRIES[entries](generator, shape))["verdict"] == "supported"
    A = np.triu(ENTRIES[entries](generator, (size, size)))
    assert answer(A + np.triu(A, 1).T)["verdict"] == "supported"


def graph(size=300, share=0.2, seed=0):
    A = np.triu(np.random.default_rng(seed).random((size, size)) < share, 1).astype(float)
    return A + A.T


def test_a_random_graph_is_a_semicircle_with_the_outlier_of_its_mean_degree():
    found = analyze_spectrum(graph())
    summary = summarize_laws(found)
    assert summary["answer"]["verdict"] == "supported"
    assert summary["split"]["heavy_tailed"] == "no"
    assert [row["side"] for row in summary["outliers"]] == [1]
    assert summary["outliers"][0]["spike"] == pytest.approx(0.2 * 299, rel=0.05)
    assert summary["laws"][0]["parameters"]["variance"] == pytest.approx(300 * 0.2 * 0.8, rel=0.05)


def test_a_mean_that_was_kept_is_an_outlier_and_no_heavy_tail():
    found = answer(data() + 3.0, center=False)
    assert (found["verdict"], found["heavy"], found["num_outliers"]) == ("supported", "no", 1)


def test_a_covariance_without_sizes_is_not_called_heavy_tailed_for_a_spike_of_one_variable():
    X = data(600, 200) * np.append(4.0, np.ones(199))
    found = answer(np.cov(X.T))
    assert (found["verdict"], found["heavy"], found["num_outliers"]) == ("tentative", "unknown", 1)


def test_few_eigenvalues_fit_no_law_of_fitted_sizes():
    for values in (np.array([0.1, 0.5, 1.0, 2.9]), np.arange(1.0, 11.0), data(100, 15).std(axis=0)):
        summary = summarize_laws(analyze_spectrum(values))
        assert not any(row["fits"] for row in summary["laws"])
        assert summary["answer"]["verdict"] == "withheld"


def test_a_population_that_fits_a_doubtful_bulk_is_withheld_and_tells_no_spikes():
    found = analyze_spectrum(autoregressive(0.95, 1))
    assert not found.attrs["is_trustworthy"]
    assert found["fits"].values[-1] == 1
    assert summarize_laws(found)["answer"]["verdict"] == "withheld"
    assert np.all(np.isnan(found["spike"]))


def test_next_steps_suit_what_was_given():
    assert "--standardize" in answer(data() * np.geomspace(1.0, 10.0, 100))["next_step"]
    assert "columns are correlated" in answer(autoregressive(0.6, 1))["next_step"]
    assert "subtract c from the diagonal" in answer(data(200, 200) + data(200, 200).T + 60.0 * np.eye(200))["next_step"]
    decay = 1.0 / np.arange(1.0, 201.0) ** 2
    assert answer(decay)["next_step"].startswith("give the data or Gram matrix to `spectra kernel`")
    assert answer(np.diag(decay))["next_step"].startswith("`spectra kernel` finds")
    # A Gram matrix has no negative eigenvalues, and `spectra kernel` takes nothing else.
    assert "kernel" not in answer(np.concatenate([-decay, decay]))["next_step"]
    assert "held-out" in answer(data(400, 10) @ np.triu(np.ones((10, 10))))["next_step"]
    assert answer(graph(share=0.5))["next_step"].startswith("subtract -0.5")
    assert answer(graph(share=0.5) + 0.5 * np.eye(300))["verdict"] == "supported"
    assert "all eigenvalues are 0" in answer(np.zeros((40, 40)))["next_step"]
    assert "--plot" in answer(np.eye(100))["next_step"]
    assert "a larger matrix" in answer(data(200, 200) + data(200, 200).T)["next_step"]


def test_few_eigenvalues_are_fewer_where_sizes_are_known():
    attributes = {
        "law": "marchenko_pastur",
        "is_trustworthy": 1,
        "heavy_tailed": "no",
        "method": "marchenko_pastur",
        "num_samples": 200,
        "kind": "data",
        "num_eigenvalues": 80,
        "why": "",
    }
    row = {"law": "marchenko_pastur", "fits": True}
    assert laws_verdict(attributes, [row])[0] == "supported"
    assert laws_verdict(attributes | {"num_eigenvalues": 69}, [row])[0] == "tentative"
    semicircle = attributes | {"law": "semicircle", "num_samples": 0, "kind": "symmetric"}
    assert laws_verdict(semicircle, [{"law": "semicircle", "fits": True}])[0] == "tentative"
    step = next_step(attributes | {"high": 1.0}, [row], [], is_semidefinite=True)
    assert step.startswith("nothing here is told from noise: more samples")
