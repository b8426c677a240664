"""Laws from spectral measures agree with those of whole spectra, where quadrature sees enough."""

import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError
from spectra.kernels import (
    RBF,
    Laplace,
    Matern,
    dimension_curve,
    eigendecay,
    gram_spectrum,
    kernel_operator,
)
from spectra.kernels.decay_of_measure import decay_of_measure
from spectra.kernels.measure_curve import measure_curve


def points(n, d, seed=3):
    return np.random.default_rng(seed).standard_normal((n, d))


def measure_of(kernel, X, **options):
    return spectra.slq(kernel_operator(kernel, X), **{"num_probes": 10, "num_steps": 50, **options})


def test_a_complete_measure_has_the_curve_of_the_eigenvalues():
    K = np.diag(1 / np.arange(1.0, 15.0) ** 2)
    curve = measure_curve(spectra.slq(K, num_steps=14))
    own = dimension_curve(gram_spectrum(K), curve.ridge)
    for name in ("kappa", "df1", "df2", "overfitting_coefficient"):
        np.testing.assert_allclose(getattr(curve, name), getattr(own, name), rtol=1e-8, err_msg=name)


def test_the_curve_of_a_sampled_measure_keeps_what_is_resolved():
    X = points(600, 3)
    curve = measure_curve(measure_of(RBF(1.5), X))
    own = dimension_curve(gram_spectrum(RBF(1.5)(X)), curve.ridge)
    assert 10 < np.max(curve.df1) < 100
    np.testing.assert_allclose(curve.df1, own.df1, rtol=0.1)


@pytest.mark.parametrize(
    ("kernel", "d", "law"),
    [(Laplace(2.0), 3, "polynomial"), (Matern(1.5), 2, "polynomial"), (RBF(1.5), 2, "exponential")],
    ids=str,
)
def test_laws_and_exponents(kernel, d, law):
    X = points(700, d)
    found, whole = eigendecay(measure_of(kernel, X)), eigendecay(kernel(X))
    assert found.law == whole.law == law
    assert found.num_samples == 700
    if law == "polynomial":
        assert found.low < kernel.decay_exponent(d) < found.high
        assert found.decay_exponent == pytest.approx(whole.decay_exponent, rel=0.25)


def test_finite_rank():
    X = points(300, 3)
    found = eigendecay(spectra.slq((X @ X.T + 1) ** 2, num_steps=20))
    assert (found.law, found.rank) == ("finite_rank", 10)


@pytest.mark.parametrize("nugget", [0.5, 0.01])
def test_a_plateau(nugget):
    X = points(400, 2)
    K = RBF(1.0)(X) + nugget * np.eye(400)
    found, whole = eigendecay(spectra.slq(K, num_steps=40)), eigendecay(K)
    assert found.law == whole.law == "plateau"
    assert found.plateau == pytest.approx(nugget, rel=0.01)
    assert whole.plateau == pytest.approx(nugget, rel=0.01)
    assert found.rank == pytest.approx(whole.rank, rel=0.3)


def test_units_change_nothing():
    K = Laplace(2.0)(points(300, 2))
    found, other = (decay_of_measure(spectra.slq(unit * K, num_steps=40)) for unit in (1.0, 1e-14))
    assert other.decay_exponent == pytest.approx(found.decay_exponent, rel=1e-6)


def test_few_eigenvalues_are_undetermined():
    found = eigendecay(spectra.slq(np.diag([3.0, 2.0, 1.0])))
    assert found.law == "undetermined"
    assert "more probes or steps" in found.why


def test_it_can_be_a_file(tmp_path):
    found = eigendecay(spectra.slq(Laplace(2.0)(points(200, 2))))
    spectra.save(found.to_dataset(), tmp_path / "d.nc")
    assert spectra.load(tmp_path / "d.nc").attrs["law"] == found.law


def test_wrong_calls():
    measure = spectra.slq(np.eye(20) + 1.0)
    with pytest.raises(ArgumentError, match="says num_samples itself"):
        eigendecay(measure, num_samples=20)
    with pytest.raises(ArgumentError, match="two probes"):
        eigendecay(spectra.slq(np.diag(np.arange(1.0, 9.0)), num_probes=1))
    with pytest.raises(ArgumentError, match="positive semidefinite"):
        eigendecay(spectra.slq(np.diag(np.arange(-4.0, 9.0))))
