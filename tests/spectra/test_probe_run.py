"""More probes later, groups of probes, and growth towards a target."""

import numpy as np
import pytest
import xarray as xr

from spectra import Operator, expectation, extend, load, save, slq
from spectra.errors import ArgumentError, SchemaError
from spectra.testing import matrix_with_spectrum, spectrum
from tests.cases import N, matrix


def assert_same_numbers(ours, reference):
    assert set(ours.data_vars) == set(reference.data_vars)
    assert ours.sizes == reference.sizes
    for name in reference.data_vars:
        scale = np.nanmax(np.abs(reference[name].values))
        np.testing.assert_allclose(ours[name], reference[name], rtol=1e-7, atol=1e-9 * scale, err_msg=name)


@pytest.mark.parametrize("name", ["spiked", "inverse", "indefinite", "zero", "rank_one", "two_values"])
@pytest.mark.parametrize(("first", "more"), [(1, 9), (6, 4), (9, 11)])
def test_extending_gives_what_asking_at_once_gives(name, first, more):
    a = matrix(name)
    reference = slq(a, num_probes=first + more, num_steps=15, rng=3)
    extended = extend(slq(a, num_probes=first, num_steps=15, rng=3), a, num_probes=more)
    if name in {"spiked", "indefinite"}:  # elsewhere overlaps of eigenvectors with no residual at all are rounding
        assert_same_numbers(extended, reference)
    for variable in ("ritz_value", "weight", "multiplicity"):
        assert (variable in extended) == (variable in reference)
        if variable in reference:
            np.testing.assert_allclose(extended[variable], reference[variable], rtol=1e-6, atol=1e-9)
    ours, theirs = (expectation(measure, np.cos) for measure in (extended, reference))
    np.testing.assert_allclose([ours.value, ours.stderr], [theirs.value, theirs.stderr], rtol=1e-9, atol=1e-14)
    assert extended.attrs["num_matvecs"] == reference.attrs["num_matvecs"] + 1


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_extending_a_file_twice(tmp_path, suffix):
    a = matrix("spiked")
    path = tmp_path / f"measure{suffix}"
    save(slq(a, num_probes=3, num_steps=12), path)
    save(extend(load(path), a, num_probes=2), tmp_path / f"more{suffix}")
    extended = extend(load(tmp_path / f"more{suffix}"), a, num_probes=15)
    assert_same_numbers(extended, slq(a, num_probes=20, num_steps=12))


def test_extending_needs_the_same_operator():
    measure = slq(matrix("spiked"), num_probes=2, num_steps=5)
    for other in (matrix("spiked", rng=1), matrix("spiked") * 1.001, matrix("spiked", n=30)):
        with pytest.raises(ArgumentError, match=r"not the operator|had order"):
            extend(measure, other, num_probes=2)
    with pytest.raises(ArgumentError, match="dtype float64"):
        extend(measure, matrix("spiked").astype(np.float32), num_probes=2)
    with pytest.raises(ArgumentError, match="num_probes"):
        extend(measure, matrix("spiked"), num_probes=0)
    with pytest.raises(SchemaError):
        extend(xr.Dataset(), matrix("spiked"), num_probes=1)


def test_measures_of_schema_version_1_can_be_extended():
    a = matrix("spiked")
    old = slq(a, num_probes=2, num_steps=9).drop_vars(
        ["multiplicity", "resolved_index", "resolved_overlap"], errors="ignore"
    )
    old.attrs["schema_version"] = 1
    for name in ("method", "num_steps", "reorthogonalized"):
        del old.attrs[name]
    extended = extend(old, a, num_probes=2)
    np.testing.assert_allclose(extended["ritz_value"], slq(a, num_probes=4, num_steps=9)["ritz_value"], rtol=1e-9)


def test_groups_of_probes_change_nothing_but_memory():
    a = matrix("spiked")
    reference = slq(a, num_probes=7, num_steps=12)
    widths, seen = [], []

    def matmat(block):
        widths.append(block.shape[1])
        return a @ block

    measure = slq(
        Operator(matmat, like=np.zeros(N)),
        num_probes=7,
        num_steps=12,
        max_basis_bytes=3 * 12 * N * 8,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert_same_numbers(measure, reference)
    assert set(widths) == {3, 1}
    assert seen[0] == (1, 36)
    assert seen[-1] == (36, 36)
    with pytest.raises(ArgumentError, match="max_basis_bytes"):
        slq(a, num_probes=2, num_steps=12, max_basis_bytes=100)


def test_without_reorthogonalization_integrals_are_the_same():
    a = matrix_with_spectrum(spectrum("spiked", 300))
    measure, reference = (slq(a, num_steps=60, reorthogonalize=flag) for flag in (False, True))
    drop = ["multiplicity", "resolved_index", "resolved_overlap"]
    assert "multiplicity" not in measure
    ours, theirs = expectation(measure, np.sqrt), expectation(reference.drop_vars(drop), np.sqrt)
    assert ours.value == pytest.approx(theirs.value, rel=1e-6)
    assert measure.attrs["reorthogonalized"] == 0


@pytest.mark.parametrize(
    ("name", "f", "target"), [("inverse", np.log, 0.002), ("geometric", np.log, 0.003), ("spiked", np.exp, 0.01)]
)
def test_target_is_reached_in_both_parts(name, f, target):
    values = spectrum(name, 300)
    a = Operator(lambda block: values[:, None] * block, like=np.zeros(300))
    seen = []
    measure = slq(a, target_stderr=target, f=f, max_matvecs=20000, progress=lambda d, t: seen.append((d, t)))
    estimate = expectation(measure, f)
    size = np.mean(np.abs(f(values)))
    assert measure.attrs["target_reached"] == 1
    assert estimate.stderr <= target * size * 1.05
    assert estimate.high - estimate.value <= 2.3 * target * size * 1.05 + 0.25 * target * size * 1.05
    assert abs(estimate.value - np.mean(f(values))) <= 4 * target * size
    assert measure.attrs["num_matvecs"] == a.num_matvecs == seen[-1][0]
    again = slq(a, num_probes=measure.sizes["probe"], num_steps=measure.attrs["num_steps"])
    assert_same_numbers(measure, again)


def test_target_for_the_trace_by_default():
    values = spectrum("uniform", 300)
    measure = slq(np.diag(values), target_stderr=0.005)
    assert expectation(measure, lambda x: x).stderr <= 0.005 * np.mean(values)
    assert measure.attrs["num_steps"] == 30


def test_budget_is_hard():
    values = spectrum("inverse", 300)
    for budget in (301, 350, 777):
        measure = slq(np.diag(values), target_stderr=1e-6, f=np.log, max_matvecs=budget)
        assert measure.attrs["target_reached"] == 0
        assert measure.attrs["num_matvecs"] <= budget
    narrow = slq(np.diag(values), target_stderr=1e-6, f=np.log, max_basis_bytes=10 * 30 * 300 * 8)
    assert narrow.attrs["target_reached"] == 0
    assert narrow.attrs["num_matvecs"] == 301


def test_targets_that_cannot_be_meant():
    a = np.diag(np.arange(1.0, 9.0))
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ArgumentError, match="target_stderr"):
            slq(a, target_stderr=bad)
    for options in ({"f": np.log}, {"max_matvecs": 100}):
        with pytest.raises(ArgumentError, match="belong to target_stderr"):
            slq(a, **options)
    with pytest.raises(ArgumentError, match="function of eigenvalues"):
        slq(a, target_stderr=0.1, f="log")
    with pytest.raises(ArgumentError, match="function of eigenvalues"):
        expectation(slq(a), "log")
    with pytest.raises(ArgumentError, match="max_matvecs must allow"):
        slq(a, target_stderr=0.1, max_matvecs=10)


def test_target_on_trivial_and_singular_operators():
    identity = slq(np.eye(20), target_stderr=1e-3, f=np.log)
    assert (identity.attrs["target_reached"], identity.sizes["probe"]) == (1, 10)
    zero = slq(np.zeros((20, 20)), target_stderr=1e-3)
    assert zero.attrs["target_reached"] == 1
    assert slq(np.zeros((20, 20)), target_stderr=1e-3, f=np.log).attrs["target_reached"] == 0
    assert slq(np.array([[2.0]]), num_probes=1, target_stderr=1e-3).attrs["num_matvecs"] >= 2
