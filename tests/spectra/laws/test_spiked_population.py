import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.laws.silverstein_support import support_edges
from spectra.laws.spiked import SpikedCovariance
from spectra.laws.spiked_population import SpikedPopulation


@pytest.mark.parametrize("spike", [2.0, 5.0, 40.0])
def test_a_population_of_one_value_is_the_white_model(spike):
    white = SpikedCovariance(aspect_ratio=0.7, variance=1.3)
    model = SpikedPopulation(population=[1.3], aspect_ratio=0.7)
    assert model.threshold == pytest.approx(white.threshold, rel=1e-12)
    assert model.edge == pytest.approx(white.edge, rel=1e-12)
    assert model.outlier(2 * spike) == pytest.approx(white.outlier(2 * spike), rel=1e-13)
    assert model.overlap(2 * spike) == pytest.approx(white.overlap(2 * spike), rel=1e-12)


@pytest.mark.parametrize("ratio", [0.01, 0.25, 3.0])
def test_the_edge_is_that_of_the_support(ratio):
    model = SpikedPopulation(population=[0.0, 1.0, 3.0, 3.1], aspect_ratio=ratio)
    edges = support_edges(model.population, aspect_ratio=ratio)
    assert model.edge == pytest.approx(edges[-1, 1], rel=1e-12)


def test_edge_of_two_atoms_recorded():
    # atoms 1 and 3 in equal parts, aspect ratio 1/4
    assert SpikedPopulation(population=[1.0, 3.0], aspect_ratio=0.25).edge == pytest.approx(5.662, abs=5e-4)


def test_outliers_and_overlaps_against_draws():
    rng = np.random.default_rng(12)
    model, rows = SpikedPopulation(population=[1.0, 3.0], aspect_ratio=0.25), []
    scales = np.sqrt(np.concatenate([[12.0], np.ones(100), 3 * np.ones(99)]))
    for _ in range(12):
        X = scales[:, None] * rng.standard_normal((200, 800))
        values, vectors = np.linalg.eigh(X @ X.T / 800)
        rows.append((values[-1], vectors[0, -1] ** 2))
    drawn = np.array(rows)
    stderr = np.std(drawn, axis=0, ddof=1) / np.sqrt(len(drawn))
    assert np.all(np.abs(np.mean(drawn, axis=0) - [model.outlier(12.0), model.overlap(12.0)]) < 3 * stderr)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"population": [-1.0, 1.0], "aspect_ratio": 0.5}, "negative"),
        ({"population": [0.0], "aspect_ratio": 0.5}, "all 0"),
        ({"population": [1.0], "aspect_ratio": 0.0}, "must be positive"),
    ],
)
def test_wrong_parameters_are_refused(options, match):
    with pytest.raises(ArgumentError, match=match):
        SpikedPopulation(**options)


@pytest.mark.parametrize("given", ["x", 1j, [[1.0], [1.0, 2.0]]])
def test_what_is_no_real_number_is_refused(given):
    model = SpikedPopulation(population=[1.0], aspect_ratio=0.5)
    for call in (model.outlier, model.spike, model.overlap):
        with pytest.raises(ArgumentError, match="real numbers"):
            call(given)
