"""The measure of a normal operator: exact cases, schema, integrals with their error bars, flags, refusals."""

import numpy as np
import pytest

import spectra
from spectra.complex_measure import (
    complex_expectation,
    hessenberg_matrices,
    normal_spectrum,
    validate_complex_measure,
)
from spectra.errors import ArgumentError, NonFiniteError, SchemaError, ShapeError
from spectra.operators import Operator
from spectra.start_vectors import start_vectors


def normal_matrix(eigenvalues, seed=0):
    """Return a real normal matrix with these eigenvalues of the upper half-plane, and their conjugates."""
    n = 2 * len(eigenvalues)
    a = np.zeros((n, n))
    for i, z in enumerate(eigenvalues):
        a[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[z.real, z.imag], [-z.imag, z.real]]
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
    return q @ a @ q.T


def disk(num, seed=0, center=1.0, radius=0.8):
    rng = np.random.default_rng(seed)
    return center + radius * np.sqrt(rng.random(num)) * np.exp(1j * np.pi * rng.random(num))


def test_exhausted_probes_give_the_measure_itself():
    z = disk(6)
    measure = normal_spectrum(normal_matrix(z), num_probes=3, num_steps=50)
    expected = np.concatenate([z, z.conj()])
    for values, weights in zip(measure["ritz_value"].values, measure["weight"].values, strict=True):
        apart = np.abs(values[:, None] - expected[None, :])
        assert apart.min(axis=0).max() < 1e-10
        np.testing.assert_allclose(weights.imag, 0.0, atol=1e-9)
        assert weights.real.min() > 0
    assert measure.attrs["num_matvecs"] == 3 * 12 + 4
    assert measure["residual"].values.max() < 1e-12


def test_schema_and_padding():
    a = np.diag([1.0, 1.0, 1.0, 1.0, 1.0])
    measure = normal_spectrum(a, num_probes=2, num_steps=4)
    validate_complex_measure(measure)
    assert measure.attrs["schema"] == "spectra/complex_measure"
    assert measure["ritz_value"].dtype == np.complex128
    assert measure["weight"].dtype == np.complex128
    assert measure["num_nodes"].values.tolist() == [1, 1]
    assert dict(measure.sizes) == {"probe": 2, "node": 1, "row": 2, "step": 1}
    np.testing.assert_allclose(np.sum(normal_spectrum(normal_matrix(disk(9)))["weight"].values, axis=1), 1.0)


def test_probes_depend_on_seed_and_index_only():
    a = normal_matrix(disk(20))
    few, many = normal_spectrum(a, num_probes=2, rng=5), normal_spectrum(a, num_probes=4, rng=5)
    np.testing.assert_array_equal(few["ritz_value"].values, many["ritz_value"].values[:2])
    assert not np.allclose(few["weight"].values, normal_spectrum(a, num_probes=2, rng=6)["weight"].values)


def test_of_a_symmetric_matrix_it_is_the_measure_of_slq():
    a = np.diag(np.linspace(1.0, 5.0, 40))
    ours, theirs = normal_spectrum(a, num_probes=3, num_steps=8), spectra.slq(a, num_probes=3, num_steps=8)
    np.testing.assert_allclose(ours["ritz_value"].values, theirs["ritz_value"].values, atol=1e-10)
    np.testing.assert_allclose(ours["weight"].values, theirs["weight"].values, atol=1e-10)


@pytest.mark.parametrize("degree", [0, 1, 2, 5])
def test_polynomials_are_exact_for_each_probe(degree):
    a = normal_matrix(disk(30))
    measure = normal_spectrum(a, num_probes=4, num_steps=6)
    starts = start_vectors(np.zeros(60), num=4, rng=0) / np.sqrt(60)
    exact = [v @ np.linalg.matrix_power(a, degree) @ v for v in starts.T]
    found = complex_expectation(measure, lambda z: z**degree)
    np.testing.assert_allclose(found.value, np.mean(exact), rtol=1e-11)
    np.testing.assert_allclose(found.stderr, np.std(exact, ddof=1) / 2, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("f", [np.exp, lambda z: 1 / z, np.sqrt], ids=["exp", "inverse", "sqrt"])
def test_error_bars_hold(f):
    z = disk(100)
    a, expected = normal_matrix(z), float(np.mean(f(z)).real)
    scores = []
    for seed in range(60):
        found = complex_expectation(normal_spectrum(a, num_probes=8, num_steps=20, rng=seed), f)
        scores.append((found.value - expected) / found.stderr)
        assert found.status == "resolved"
    # Student t with 7 degrees of freedom has the variance 1.4; 60 draws: mean within 3.5 sigma, and a spread like it
    assert abs(np.mean(scores)) < 3.5 * np.sqrt(1.4 / 60)
    assert 0.7 < np.std(scores) < 1.8


def test_ritz_values_of_a_disk_are_no_picture_of_it_and_lie_in_its_hull():
    measure = normal_spectrum(normal_matrix(disk(300)), num_probes=3, num_steps=10)
    radii = np.abs(measure["ritz_value"].values - 1.0)
    assert radii.max() < 0.8
    # uniform on the disk, the median radius would be 0.57 and a quarter of all within 0.4
    assert np.mean(radii < 0.4) < 0.15


def test_normality_is_tested_where_there_is_a_transpose():
    a = np.random.default_rng(0).standard_normal((30, 30))
    normal, other = normal_spectrum(a - a.T, num_probes=2), normal_spectrum(a, num_probes=2)
    assert (normal.attrs["is_normal"], other.attrs["is_normal"]) == (1, 0)
    assert normal.attrs["normality_defect"] < 1e-14 < 0.1 < other.attrs["normality_defect"]
    unknown = normal_spectrum(Operator(lambda v: a @ v, like=np.zeros(30)), num_probes=2, num_steps=5)
    assert unknown.attrs["is_normal"] == -1
    assert np.isnan(unknown.attrs["normality_defect"])
    assert unknown.attrs["num_matvecs"] == 10


def test_array_libraries_and_float32(xp):
    a = normal_matrix(disk(20))
    plain = normal_spectrum(a, num_probes=2, num_steps=5)
    found = normal_spectrum(xp.asarray(a.astype("float32")), num_probes=2, num_steps=5)
    np.testing.assert_allclose(found["hessenberg"].values, plain["hessenberg"].values, atol=2e-5)
    assert found.attrs["is_normal"] == 1
    assert found.attrs["dtype"] == "float32"


def test_scale_changes_units_only():
    a = normal_matrix(disk(20))
    plain, small = normal_spectrum(a, num_steps=6), normal_spectrum(1e-10 * a, num_steps=6)
    np.testing.assert_allclose(small["weight"].values, plain["weight"].values, rtol=1e-7)
    np.testing.assert_allclose(1e10 * small["ritz_value"].values, plain["ritz_value"].values, rtol=1e-9)
    assert small.attrs["is_normal"] == 1


def test_too_few_steps_are_unresolved_and_one_probe_has_no_error_bar():
    a = np.diag(np.geomspace(1e-6, 1.0, 200))
    found = complex_expectation(normal_spectrum(a, num_probes=4, num_steps=6), lambda z: 1 / z)
    assert found.status == "unresolved"
    assert found.low is None
    assert found.high is None
    alone = complex_expectation(normal_spectrum(a, num_probes=1), np.exp)
    assert alone.stderr is None
    assert alone.low is None


def test_bad_calls_are_refused():
    a = normal_matrix(disk(5))
    measure = normal_spectrum(a, num_probes=2)
    for arguments in ({"num_probes": 0}, {"num_steps": 0}, {"num_steps": 1.5}, {"rng": -1}):
        with pytest.raises(ArgumentError, match=next(iter(arguments))):
            normal_spectrum(a, **arguments)
    with pytest.raises(ShapeError, match="square"):
        normal_spectrum(a[:, :3])
    with pytest.raises(NonFiniteError, match="finite"):
        normal_spectrum(np.full((3, 3), np.nan))
    with pytest.raises(ArgumentError, match="conj"):
        complex_expectation(measure, lambda z: 1j * z)
    with pytest.raises(ArgumentError, match="shape"):
        complex_expectation(measure, lambda z: z[:1])
    with pytest.raises(NonFiniteError, match="f must be finite"):
        complex_expectation(measure, lambda z: np.full(z.shape, np.inf))
    with pytest.raises(ArgumentError, match="level"):
        complex_expectation(measure, np.exp, level=1.0)
    for bad in (
        np.zeros(3),
        spectra.slq(np.eye(3)),
        measure.isel(probe=0),
        measure.drop_vars("hessenberg"),
        measure.assign_attrs(schema_version=2),
        measure.assign(num_nodes=measure["num_nodes"] * 100),
        measure.assign(hessenberg=measure["hessenberg"] * np.nan),
    ):
        with pytest.raises(SchemaError):
            hessenberg_matrices(bad)
