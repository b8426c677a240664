import numpy as np
import pytest

from spectra import Operator
from spectra.errors import ArgumentError, NonDeterministicError
from spectra.norms import frobenius_norm, schatten_norm
from spectra.testing import matrix_with_spectrum

N = 200
SPECTRA = {
    "power law": 1.0 / np.arange(1.0, N + 1.0),
    "flat": np.linspace(0.9, 1.1, N),
    "indefinite": np.where(np.arange(N) < 50, np.linspace(-2.0, 3.0, N), 0.0),
}


@pytest.mark.parametrize("method", ["leave_one_out", "hutchinson"])
@pytest.mark.parametrize("name", SPECTRA)
def test_frobenius_covers(name, method):
    a = matrix_with_spectrum(SPECTRA[name], 1)
    covered = []
    for seed in range(40):
        found = frobenius_norm(a, num_matvecs=40, method=method, rng=seed)
        assert 39 <= found.num_matvecs <= 40
        covered.append(found.low <= np.linalg.norm(a) <= found.high)
    assert sum(covered) >= 34  # nominal .95: fewer hits have a probability of 0.3%


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 5, 199, 200, 201])
@pytest.mark.parametrize("method", ["leave_one_out", "hutchinson"])
def test_frobenius_budget_and_exact_end(xp, budget, method):
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    found = frobenius_norm(xp.asarray(a), num_matvecs=budget, method=method)
    assert budget - 1 <= found.num_matvecs <= budget
    assert (found.low is None) == (budget == 1)
    if budget >= N:
        assert found.status == "exact"
        assert found.low <= np.linalg.norm(a) <= found.high
        assert found.value == pytest.approx(np.linalg.norm(a), rel=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frobenius_of_low_rank(xp, dtype):
    a = matrix_with_spectrum(np.r_[3.0, -4.0, np.zeros(N - 2)], 1).astype(dtype)
    found = frobenius_norm(xp.asarray(a), num_matvecs=10)
    assert found.status == "exact"
    assert found.value == pytest.approx(5.0, rel=100 * float(np.finfo(dtype).eps))
    zero = frobenius_norm(xp.asarray(0.0 * a), num_matvecs=10)
    assert (zero.value, zero.low, zero.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_any_scale(scale):
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    for norm in (lambda x: frobenius_norm(x, num_matvecs=30), lambda x: schatten_norm(x, 3, num_probes=5)):
        reference, scaled = norm(a), norm(scale * a)
        for name in ("value", "stderr", "low", "high"):
            assert getattr(scaled, name) / scale == pytest.approx(getattr(reference, name), rel=1e-7)


@pytest.mark.parametrize("order", [0.5, 1, 2, 3, 10])
@pytest.mark.parametrize("num_probes", [6, 10])
def test_schatten(order, num_probes):
    values = SPECTRA["power law"]
    found = schatten_norm(matrix_with_spectrum(values, 1), order, num_probes=num_probes, rng=1)
    truth = np.sum(np.abs(values) ** order) ** (1.0 / order)
    assert (found.status == "exact") == (num_probes == 10)
    assert found.low <= truth <= found.high
    assert found.value == pytest.approx(truth, rel=0.1 if num_probes == 6 else 1e-12)


def test_schatten_of_zero_and_sign():
    assert schatten_norm(np.zeros((5, 5)), 1).value == 0.0
    assert schatten_norm(np.diag([-3.0, 2.0]), 1).value == pytest.approx(5.0)


def test_wrong_calls():
    a = Operator(lambda v: 1 / 0, like=np.zeros(N))
    for order in (0, -1.0, np.inf, np.nan, "nuclear"):
        with pytest.raises(ArgumentError, match="order"):
            schatten_norm(a, order)
    with pytest.raises(ArgumentError, match="method"):
        frobenius_norm(a, method="svd")
    with pytest.raises(ArgumentError, match="num_matvecs"):
        frobenius_norm(a, num_matvecs=0)
    generator = np.random.default_rng(0)
    noisy = Operator(lambda v: v * (1.0 + 1e-3 * generator.standard_normal()), like=np.zeros(N))
    with pytest.raises(NonDeterministicError):
        frobenius_norm(noisy, num_matvecs=20, method="hutchinson")
