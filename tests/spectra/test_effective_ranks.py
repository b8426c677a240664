import numpy as np
import pytest

from spectra.effective_ranks import effective_rank
from spectra.errors import ArgumentError
from spectra.testing import matrix_with_spectrum

KINDS = ("entropy", "stable", "participation")
N = 200
FEW = {"num_probes": 8, "num_steps": 20}
SPECTRA = {
    "power law": 1.0 / np.arange(1.0, N + 1.0),
    "fast": np.exp(-np.arange(N) / 5.0),
    "flat": np.linspace(0.5, 1.5, N),
    "spiked": np.r_[np.linspace(4.0, 40.0, 6), np.linspace(0.5, 1.5, N - 6)],
}


def exact(values, kind):
    if kind == "stable":
        return np.sum(values**2) / np.max(np.abs(values)) ** 2
    if kind == "participation":
        return np.sum(values) ** 2 / np.sum(values**2)
    p = values[values > 0] / np.sum(values)
    return np.exp(-np.sum(p * np.log(p)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [1, 7, 40])
@pytest.mark.parametrize("options", [{}, {"num_probes": 5, "num_steps": 4}])
def test_equals_the_rank_of_a_projection(xp, kind, rank, options):
    n = 40 if not options else 300
    a = matrix_with_spectrum(np.where(np.arange(n) < rank, 3.0, 0.0), 1)
    found = effective_rank(xp.asarray(a), kind=kind, **options)
    assert found.low <= rank <= found.high
    if not options:
        assert found.value == pytest.approx(rank, rel=1e-12)
        assert found.status == "exact"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SPECTRA)
def test_intervals_cover(name, kind):
    values = SPECTRA[name]
    a, covered = matrix_with_spectrum(values, 1), []
    for seed in range(25):
        found = effective_rank(a, kind=kind, rng=seed, **FEW)
        assert found.status == "resolved"
        covered.append(found.low <= exact(values, kind) <= found.high)
    assert sum(covered) >= 20  # nominal .95: fewer hits have a probability of 0.7%


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-200, 2.0**-30, 1e200])
def test_no_units(kind, scale):
    for n in (30, N):
        a = matrix_with_spectrum(SPECTRA["power law"][:n], 1)
        reference, scaled = effective_rank(a, kind=kind, **FEW), effective_rank(scale * a, kind=kind, **FEW)
        assert scaled.value == pytest.approx(reference.value, rel=1e-9)
        assert scaled.low == pytest.approx(reference.low, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 10, N])
def test_zero_and_identity(kind, n):
    zero = effective_rank(np.zeros((n, n)), kind=kind, **FEW)
    assert (zero.value, zero.stderr, zero.low, zero.high, zero.status) == (0.0, 0.0, 0.0, 0.0, "exact")
    one = effective_rank(2.0 * np.eye(n), kind=kind, **FEW)
    assert one.value == pytest.approx(n, rel=1e-12)
    assert one.low <= n <= one.high


@pytest.mark.parametrize("n", [30, N])
def test_indefinite(n):
    values = np.linspace(-1.0, 2.0, n)
    a = matrix_with_spectrum(values, 1)
    for kind in ("entropy", "participation"):
        with pytest.raises(ArgumentError, match="not positive semidefinite"):
            effective_rank(a, kind=kind, **FEW)
    found = effective_rank(a, kind="stable", **FEW)
    assert found.low <= exact(values, "stable") <= found.high


def test_unconverged_norm_is_unresolved():
    a = matrix_with_spectrum(np.linspace(0.0, 1.0, N), 1)
    found = effective_rank(a, kind="stable", num_probes=8, num_steps=3)
    assert found.status == "unresolved"
    assert found.low is found.high is None


def test_wrong_kind():
    with pytest.raises(ArgumentError, match="kind"):
        effective_rank(np.eye(3), kind="numerical")
