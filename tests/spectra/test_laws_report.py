"""What a reader and a program see of an analysis by the laws of random matrices, and its picture."""

import json

import numpy as np
import pytest
from scipy.linalg import eigh

import spectra
from spectra.errors import ArgumentError
from spectra.laws_analysis import analyze_spectrum
from spectra.laws_plot import plot_laws
from spectra.laws_report import render_laws
from spectra.laws_summary import summarize_laws


def data(seed=0):
    X = np.random.default_rng(seed).standard_normal((400, 200))
    X[:, :2] *= [2.0, 3.0]
    return X


SOURCES = {
    "data": lambda: (data(), {}),
    "eigenvalues": lambda: (np.linalg.eigvalsh(data().T @ data() / 400), {}),
    "colored": lambda: (data() * np.repeat([1.0, 3.0], 100), {}),
    "wide": lambda: (data().T, {}),
    "heavy": lambda: (np.random.default_rng(0).standard_t(2.5, size=(400, 200)), {}),
    "decay": lambda: (1 / np.arange(1.0, 300.0) ** 2, {}),
    "symmetric": lambda: (np.add(*[data()[:200], data()[:200].T]), {}),
    "does not fit": lambda: (np.linspace(1, 2, 100), {"law": "semicircle"}),
    "one": lambda: (np.array([2.0]), {}),
    "zeros": lambda: (np.zeros((20, 20)), {}),
    "measure": lambda: (spectra.slq(data().T @ data() / 400, num_probes=3, num_steps=30), {}),
}


@pytest.fixture(scope="module", params=SOURCES)
def analysis(request):
    source, options = SOURCES[request.param]()
    return analyze_spectrum(source, name=f"{request.param}.npy", **options)


def test_text_json_file_and_picture_of_every_kind(analysis, tmp_path):
    text = render_laws(analysis)
    assert text.startswith(("LAW ", "WITHHELD: "))
    assert max(map(len, text.splitlines())) <= 100
    assert "nan" not in text.lower().replace("finan", "")
    found = json.loads(render_laws(analysis, format="json"), parse_constant=pytest.fail)
    assert (found["schema"], found["schema_version"]) == ("spectra/laws-report", 1)
    assert set(found["answer"]) >= {"verdict", "why", "law", "low", "high", "num_outliers", "next_step"}
    assert len(found["outliers"]) == found["answer"]["num_outliers"]
    spectra.save(analysis, tmp_path / "laws.nc")
    kept = spectra.load(tmp_path / "laws.nc")
    assert render_laws(kept) == text
    figure = plot_laws(kept)
    figure.savefig(tmp_path / "laws.png")
    assert [ax.get_ylabel() for ax in figure.axes] == ["density", "share up to here"]


def test_the_first_lines_are_the_answer():
    text = render_laws(analyze_spectrum(data(), name="data.npy"))
    first, *rest = text.splitlines()
    assert first.startswith("LAW Marchenko-Pastur, bulk [0.08")
    assert first.endswith("2 outliers above: SUPPORTED")
    assert any(line.startswith("  Next: ") for line in rest[:4])
    assert "population value" in text
    assert "ABOUT data.npy: covariance of a data matrix, 200 eigenvalues, 399 samples" in text


def test_many_outliers_are_cut_in_text_only():
    X = np.random.default_rng(0).standard_normal((1200, 300))
    X[:, :20] *= np.linspace(3, 12, 20)
    analysis = analyze_spectrum(X)
    assert analysis.sizes["outlier"] == 20
    assert "8 more; --json has all of them." in render_laws(analysis)
    assert len(summarize_laws(analysis)["outliers"]) == 20


def test_no_p_value_is_claimed_that_nobody_has_measured():
    text = render_laws(analyze_spectrum(data()))
    assert "<1e-12" in text
    assert "e-100" not in text


def test_why_there_are_no_population_values_is_said():
    generator = np.random.default_rng(0)
    P, Q = (generator.standard_normal((100, n)) for n in (200, 300))
    P[0] *= 4.0
    values = eigh(P @ P.T / 200, Q @ Q.T / 300, eigvals_only=True)
    assert "are not computed for F laws." in render_laws(analyze_spectrum(values, law="f"))
    assert "need no heavy tails." in render_laws(analyze_spectrum(SOURCES["heavy"]()[0]))
    assert "need a law of noise that fits." in render_laws(analyze_spectrum(1 / np.arange(1.0, 300.0) ** 2))
    Z = np.random.default_rng(0).standard_normal((400, 100))
    for j in range(1, 100):
        Z[:, j] = 0.95 * Z[:, j - 1] + 0.3 * Z[:, j]
    assert "need a split that can be trusted." in " ".join(render_laws(analyze_spectrum(Z)).split())


def test_outliers_of_a_doubtful_split_say_so():
    source, _ = SOURCES["decay"]()
    assert "\nOUTLIERS of a split that is not to be trusted\n" in render_laws(analyze_spectrum(source))
    values = np.append(np.linalg.eigvalsh(data().T @ data() / 400), 30.0)
    text = render_laws(analyze_spectrum(values))
    assert "\nOUTLIERS\n" in text


def test_names_with_dollars_are_no_formulas(tmp_path):
    plot_laws(analyze_spectrum(data(), name="$x^{.npy")).savefig(tmp_path / "laws.png")


def test_verdicts_name_what_is_open():
    values = np.linalg.eigvalsh(data().T @ data() / 400)
    answer = summarize_laws(analyze_spectrum(values))["answer"]
    assert answer["verdict"] == "tentative"
    assert "aspect ratio was not given" in answer["why"][0]
    assert "--samples" in answer["next_step"]
    few = summarize_laws(analyze_spectrum(data()[:, :30]))["answer"]
    assert few["verdict"] == "tentative"
    assert "30 eigenvalues exclude little" in few["why"][-1]
    unequal = summarize_laws(analyze_spectrum(data() * np.geomspace(1e-4, 1.0, 200)))["answer"]
    assert unequal["law"] is None


def test_other_datasets_and_formats_are_refused():
    analysis = analyze_spectrum(np.ones(3))
    with pytest.raises(ArgumentError, match="'text' or 'json'"):
        render_laws(analysis, format="html")
    with pytest.raises(ArgumentError, match="analyze_spectrum is required"):
        summarize_laws(analysis.assign_attrs(schema="spectra/weights"))
