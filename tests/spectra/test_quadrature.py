import json

import numpy as np
import pytest

from spectra import Operator, as_operator, lanczos, slq, validate_measure
from spectra.errors import ArgumentError, BackendError, NonDeterministicError, NonFiniteError, NotSymmetricError
from spectra.start_vectors import start_vectors
from tests.cases import N, matrix


def test_layout_and_attributes():
    measure = slq(matrix("spiked"), num_probes=3, num_steps=8, rng=5)
    validate_measure(measure)
    assert dict(measure.sizes) == {"probe": 3, "node": 8, "step": 8}
    assert all(v.dtype == np.float64 for name, v in measure.data_vars.items() if name != "num_nodes")
    attrs = measure.attrs
    assert (attrs["schema"], attrs["schema_version"], attrs["dimension"]) == ("spectra/measure", 2, N)
    assert (attrs["seed"], attrs["distribution"], attrs["dtype"]) == (5, "sphere", "float64")
    assert attrs["num_matvecs"] == 3 * 8 + 1
    assert attrs["symmetry_defect"] < 1e-14
    assert attrs["repeat_defect"] < 1e-14
    assert "numpy" in json.loads(attrs["software"])


def test_libraries_agree(xp):
    reference = slq(matrix("spiked"), num_probes=3, num_steps=8)
    ours = slq(xp.asarray(matrix("spiked")), num_probes=3, num_steps=8)
    np.testing.assert_allclose(ours["ritz_value"], reference["ritz_value"], rtol=1e-10)
    np.testing.assert_allclose(ours["weight"], reference["weight"], rtol=1e-9)


def test_moments_are_exact_to_degree_2m_minus_1_and_no_further():
    a, m = matrix("indefinite"), 6
    measure = slq(a, num_probes=2, num_steps=m)
    v = start_vectors(np.zeros(N), num=2) / np.sqrt(N)
    errors = []
    for degree in range(2 * m + 1):
        exact = np.sum(v * (np.linalg.matrix_power(a, degree) @ v), axis=0)
        gauss = np.sum(measure["weight"].values * measure["ritz_value"].values ** degree, axis=1)
        errors.append(np.max(np.abs(gauss - exact)) / 8.0**degree)
    assert max(errors[:-1]) <= 1e-14
    assert errors[-1] > 1e3 * max(errors[:-1])


def test_probes_agree_with_lanczos_and_do_not_depend_on_their_number():
    a = matrix("inverse")
    three, five = slq(a, num_probes=3, num_steps=9), slq(a, num_probes=5, num_steps=9)
    np.testing.assert_allclose(three["ritz_value"], five["ritz_value"][:3], rtol=1e-9, atol=1e-12)
    T = lanczos(a, start_vectors(np.zeros(N), num=3), num_steps=9)
    np.testing.assert_allclose(three["diagonal"], T.diagonal, rtol=1e-9, atol=1e-12)


def test_gaussian_probes_are_normalized():
    a = matrix("inverse")
    sphere, gaussian = (slq(a, num_probes=2, num_steps=5, distribution=d) for d in ("sphere", "gaussian"))
    np.testing.assert_allclose(gaussian["weight"], sphere["weight"], rtol=1e-9)


@pytest.mark.parametrize(("name", "nodes"), [("zero", 1), ("identity", 1), ("rank_one", 2), ("two_values", 2)])
def test_exhausted_krylov_spaces(name, nodes):
    measure = slq(matrix(name) if nodes > 1 else as_operator(np.diag(matrix(name)[0, 0] * np.ones(N))), num_probes=3)
    assert measure["num_nodes"].values.tolist() == [nodes] * 3
    assert measure.sizes["node"] == nodes
    np.testing.assert_array_equal(measure["residual"].values, 0.0)
    np.testing.assert_allclose(measure["weight"].sum("node"), 1.0, rtol=1e-15)


def test_probes_of_different_length_are_padded():
    def start_dependent(block):
        return np.arange(float(N))[:, None] * block

    measure = slq(Operator(start_dependent, like=np.zeros(N)), num_probes=2, num_steps=4)
    short = measure.copy(deep=True)
    short["num_nodes"][1] = 2
    short["off_diagonal"][1, 1:] = 0.0
    short["ritz_value"][1, 2:] = np.nan
    short["weight"][1, :] = [0.5, 0.5, 0.0, 0.0]
    validate_measure(short)


def test_order_one_and_single_probe():
    measure = slq(np.array([[-3]]), num_probes=1, num_steps=30)
    assert measure["ritz_value"].values.tolist() == [[-3.0]]
    assert measure.attrs["num_matvecs"] == 2
    assert measure.attrs["symmetry_defect"] == 0.0
    assert slq(matrix("spiked"), num_probes=1, num_steps=1).attrs["num_matvecs"] == 3
    assert slq(matrix("spiked"), num_probes=1, num_steps=7).attrs["num_matvecs"] == 8


@pytest.mark.parametrize("num_probes", [1, 2, 10])
@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e-4), (np.float32, 0.1)])
@pytest.mark.parametrize("scale", [1.0, 1e-14, 1e14])
def test_non_symmetric_operators_are_refused(num_probes, dtype, size, scale):
    skew = np.random.default_rng(0).standard_normal((N, N))
    a = scale * (matrix("uniform") + size * (skew - skew.T))
    with pytest.raises(NotSymmetricError, match="must be symmetric"):
        slq(a.astype(dtype), num_probes=num_probes)
    slq(a.astype(dtype), num_probes=num_probes, check_symmetry=False)


def test_slight_asymmetry_warns():
    skew = np.random.default_rng(0).standard_normal((N, N))
    with pytest.warns(RuntimeWarning, match="no more accurate"):
        slq(matrix("uniform") + 1e-11 * (skew - skew.T))


@pytest.mark.parametrize(
    ("size", "error"), [(1e-2, NonDeterministicError), (1e-6, NonDeterministicError), (1e-11, None)]
)
def test_random_operators_are_refused(size, error):
    a, generator = matrix("uniform"), np.random.default_rng(0)
    noisy = Operator(lambda v: a @ v * (1.0 + size * generator.standard_normal()), like=np.zeros(N))
    if error is None:
        with pytest.warns(RuntimeWarning, match="deterministic"):
            slq(noisy)
    else:
        with pytest.raises(error, match="two results"):
            slq(noisy)


def test_zero_once_and_then_not():
    calls = []
    changing = Operator(lambda v: (calls.append(1), len(calls) > 1)[1] * v, like=np.zeros(3))
    with pytest.raises(NonDeterministicError):
        slq(changing)


def test_failed_probes_raise_instead_of_being_averaged():
    def broken(block):
        product = 2.0 * block
        product[0, -1] = np.nan
        return product

    with pytest.raises(NonFiniteError, match="step 1 of start vector 9"):
        slq(Operator(broken, like=np.zeros(5)))
    with pytest.raises(NonFiniteError, match="step 1 of start vector 0"):
        slq(np.full((4, 4), np.nan))


def test_wrong_calls_cost_no_products():
    operator = as_operator(np.eye(3))
    for bad in ({"num_probes": 0}, {"num_steps": 0}, {"rng": None}, {"rng": -1}, {"distribution": "cube"}):
        with pytest.raises(ArgumentError):
            slq(operator, **bad)
    assert operator.num_matvecs == 0
    with pytest.raises(BackendError):
        slq(np.eye(3) + 0j)


@pytest.mark.parametrize("scale", [1e-200, 1e-14, 1e14, 1e200])
def test_scaling(scale):
    a = matrix("spiked")
    reference, scaled = slq(a, num_probes=2, num_steps=8), slq(scale * a, num_probes=2, num_steps=8)
    np.testing.assert_allclose(scaled["ritz_value"] / scale, reference["ritz_value"], rtol=1e-10)
    np.testing.assert_allclose(scaled["weight"], reference["weight"], rtol=1e-8, atol=1e-12)


def test_shift():
    a = matrix("spiked")
    reference = slq(a, num_probes=2, num_steps=8)
    shifted = slq(as_operator(a).shift(5.0), num_probes=2, num_steps=8)
    np.testing.assert_allclose(shifted["ritz_value"] - 5.0, reference["ritz_value"], atol=1e-11)


def test_progress_reaches_the_total():
    seen = []
    slq(matrix("spiked"), num_probes=1, num_steps=6, progress=lambda *args: seen.append(args))
    assert seen[-1] == (6, 6)
