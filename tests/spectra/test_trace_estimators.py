import numpy as np
import pytest

from spectra.arrays import to_host
from spectra.errors import ArgumentError, NonDeterministicError, NotSymmetricError
from spectra.operators import Operator
from spectra.products import Products
from spectra.sketches import Sketch, draw, range_of, sketch
from spectra.testing import matrix_with_spectrum
from spectra.trace_estimators import hutch_plus_plus, hutchinson, xfrobenius, xnystrace, xtrace

N, M = 60, 9
DECAYING = 1.0 / np.arange(1.0, N + 1.0)
SPECTRA = {
    "power law": DECAYING,
    "fast": np.exp(-np.arange(N) / 4.0),
    "flat": np.linspace(0.9, 1.1, N),
    "indefinite": np.where(np.arange(N) < 15, np.linspace(-2.0, 3.0, N), 0.3),
}


def drawn_from(a, *, m=M, seed=0):
    products = Products(a)
    return products, draw(products, m, seed=seed)


def explicit_xtrace(a, omega):
    n, m = omega.shape
    images, samples = a @ omega, []
    for i in range(m):
        q = np.linalg.qr(np.delete(images, i, axis=1))[0]
        g = omega[:, i] - q @ (q.T @ omega[:, i])
        samples.append(np.trace(q.T @ a @ q) + (n - m + 1) * (g @ a @ g) / (g @ g))
    return np.array(samples)


def explicit_xfrobenius(a, omega):
    n, m = omega.shape
    images, samples = a @ omega, []
    for i in range(m):
        q = np.linalg.qr(np.delete(images, i, axis=1))[0]
        g = omega[:, i] - q @ (q.T @ omega[:, i])
        samples.append(np.sum((a @ q) ** 2) + (n - m + 1) * np.sum((a @ g) ** 2) / (g @ g))
    return np.array(samples)


def explicit_xnystrace(a, omega):
    n, m = omega.shape
    samples = []
    for i in range(m):
        others = np.delete(omega, i, axis=1)
        images = a @ others
        nystrom = images @ np.linalg.solve(others.T @ images, images.T)
        q = np.linalg.qr(others)[0]
        g = omega[:, i] - q @ (q.T @ omega[:, i])
        samples.append(np.trace(nystrom) + (n - m + 1) * (g @ (a - nystrom) @ g) / (g @ g))
    return np.array(samples)


@pytest.mark.parametrize("name", SPECTRA)
def test_xtrace_equals_its_definition(name):
    a = matrix_with_spectrum(SPECTRA[name], 1)
    products, drawn = drawn_from(a)
    found = products.unscaled(xtrace(drawn, sketch(products, drawn)).samples)
    np.testing.assert_allclose(found, explicit_xtrace(a, drawn.probes), rtol=1e-11)


@pytest.mark.parametrize("name", SPECTRA)
def test_xfrobenius_equals_its_definition(name):
    a = matrix_with_spectrum(SPECTRA[name], 1)
    products, drawn = drawn_from(a)
    found = products.unscaled(xfrobenius(drawn, sketch(products, drawn)).samples, power=2)
    np.testing.assert_allclose(found, explicit_xfrobenius(a, drawn.probes), rtol=1e-11)


@pytest.mark.parametrize("name", ["power law", "fast", "flat"])
def test_xnystrace_equals_its_definition(name):
    a = matrix_with_spectrum(SPECTRA[name], 1)
    products, drawn = drawn_from(a)
    found = products.unscaled(xnystrace(products, drawn).samples)
    np.testing.assert_allclose(found, explicit_xnystrace(a, drawn.probes), rtol=1e-10)


@pytest.mark.parametrize("m", [2, 3, M])
@pytest.mark.parametrize("name", ["xtrace", "xfrobenius", "xnystrace"])
def test_jackknife_equals_leaving_out_each_probe(name, m):
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    products, drawn = drawn_from(a, m=m, seed=3)

    def run(part):
        if name == "xnystrace":
            return xnystrace(products, part)
        found = sketch(products, part)
        return xtrace(part, found) if name == "xtrace" else xfrobenius(part, found)

    expected = []
    for j in range(m):
        others = [i for i in range(m) if i != j]
        expected.append(run(Sketch(probes=drawn.probes[:, others], images=drawn.images[:, others])).value)
    whole = run(drawn)
    np.testing.assert_allclose(whole.without, expected, rtol=1e-10)
    plain = np.std(whole.samples, ddof=1) / np.sqrt(m)
    jackknife = np.sqrt((m - 1) / m * np.sum((whole.without - np.mean(expected)) ** 2))
    assert whole.stderr == pytest.approx(np.sqrt(plain * jackknife), rel=1e-9)


@pytest.mark.parametrize("name", ["hutchinson", "hutch++", "xtrace", "xnystrace", "xfrobenius"])
def test_unbiased(name):
    a = matrix_with_spectrum(DECAYING, 1)
    values = []
    for seed in range(400):
        products = Products(a)
        if name == "hutch++":
            values.append(products.unscaled(hutch_plus_plus(products, num_sketch=6, num_residual=6, seed=seed).value))
            continue
        drawn = draw(products, 6, seed=seed)
        if name == "hutchinson":
            values.append(products.unscaled(hutchinson(drawn).value))
        elif name == "xnystrace":
            values.append(products.unscaled(xnystrace(products, drawn).value))
        elif name == "xtrace":
            values.append(products.unscaled(xtrace(drawn, sketch(products, drawn)).value))
        else:
            values.append(products.unscaled(xfrobenius(drawn, sketch(products, drawn)).value, power=2))
    truth = np.sum(DECAYING**2) if name == "xfrobenius" else np.sum(DECAYING)
    z = (np.mean(values) - truth) / (np.std(values, ddof=1) / np.sqrt(len(values)))
    assert abs(z) < 3.5  # fixed seeds; 3.5 standard errors of five cases


def test_variance_of_hutchinson_on_the_sphere():
    values = SPECTRA["indefinite"]
    products, drawn = drawn_from(matrix_with_spectrum(values, 1), m=1500)
    samples = products.unscaled(hutchinson(drawn).samples)
    expected = 2 * N / (N + 2) * (np.sum(values**2) - np.sum(values) ** 2 / N)
    # the relative standard error of a variance from 1500 samples is sqrt(2 / 1500), or up to 6% with their kurtosis
    assert np.var(samples) == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_on_low_rank(xp, rank, dtype):
    values = np.zeros(N)
    values[:rank] = [5.0, -2.0, 0.5][:rank]
    a = matrix_with_spectrum(values, 1)
    for name in ("xtrace", "hutch++", "xnystrace", "xfrobenius"):
        if name == "xnystrace":
            a = matrix_with_spectrum(np.abs(values), 1)
        products = Products(xp.asarray(a.astype(dtype)))
        if name == "hutch++":
            found = hutch_plus_plus(products, num_sketch=8, num_residual=3, seed=0)
        else:
            drawn = draw(products, 8, seed=0)
            if name == "xnystrace":
                found = xnystrace(products, drawn)
            else:
                estimator = xtrace if name == "xtrace" else xfrobenius
                found = estimator(drawn, sketch(products, drawn))
        truth = np.sum(a * a) if name == "xfrobenius" else np.trace(a)
        value = products.unscaled(found.value, power=2 if name == "xfrobenius" else 1)
        assert value == pytest.approx(truth, abs=1e3 * float(np.finfo(dtype).eps))
        if name == "xnystrace":
            assert found.stderr <= 1e3 * float(np.finfo(dtype).eps)
        else:
            assert found.captured
            assert found.stderr == 0.0
            assert abs(value - truth) <= products.unscaled(found.rounding, power=2) * 2 + 1e3 * float(
                np.finfo(dtype).eps
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_libraries_agree(xp, dtype):
    a = matrix_with_spectrum(SPECTRA["power law"], 1).astype(dtype)
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    reference_products, reference = drawn_from(a)
    products, drawn = drawn_from(xp.asarray(a))
    np.testing.assert_allclose(
        xtrace(drawn, sketch(products, drawn)).samples,
        xtrace(reference, sketch(reference_products, reference)).samples,
        rtol=tolerance,
    )
    np.testing.assert_allclose(
        xnystrace(products, drawn).samples, xnystrace(reference_products, reference).samples, rtol=10 * tolerance
    )
    ours = hutch_plus_plus(products, num_sketch=5, num_residual=4, seed=1)
    theirs = hutch_plus_plus(reference_products, num_sketch=5, num_residual=4, seed=1)
    np.testing.assert_allclose(ours.samples, theirs.samples, rtol=tolerance)


@pytest.mark.parametrize("decay", [2.0, 5.0, 30.0])
def test_fast_decay_down_to_rounding(decay):
    values = np.exp(-np.arange(200) / decay)
    a = matrix_with_spectrum(values, 1)
    for m in (20, 60, 90):
        products = Products(a)
        drawn = draw(products, m, seed=0)
        for found in (xtrace(drawn, sketch(products, drawn)), xnystrace(products, drawn)):
            error = abs(products.unscaled(found.value) - np.trace(a))
            bound = 5.0 * found.stderr + found.rounding
            assert error <= products.unscaled(bound)


def test_one_probe_has_no_standard_error():
    a = matrix_with_spectrum(DECAYING, 1)
    products, drawn = drawn_from(a, m=1)
    for found in (hutchinson(drawn), xtrace(drawn, sketch(products, drawn)), xnystrace(products, drawn)):
        assert found.stderr is None
        assert products.unscaled(found.value) == pytest.approx(N * drawn.probes[:, 0] @ a @ drawn.probes[:, 0])


def test_indefinite_operators_are_not_semidefinite():
    products, drawn = drawn_from(matrix_with_spectrum(np.linspace(-1.0, 1.0, N), 1))
    with pytest.raises(ArgumentError, match="not positive semidefinite: it has a Rayleigh quotient of -0"):
        xnystrace(products, drawn)


def test_sketch_notices_what_is_neither_symmetric_nor_repeatable():
    generator = np.random.default_rng(0)
    with pytest.raises(NotSymmetricError):
        drawn_from(generator.standard_normal((N, N)))
    a = matrix_with_spectrum(DECAYING, 1)
    noisy = Operator(lambda v: a @ v * (1.0 + 1e-3 * generator.standard_normal()), like=np.zeros(N))
    products, drawn = drawn_from(noisy)
    with pytest.raises(NonDeterministicError):
        sketch(products, drawn)


def test_range(xp):
    block = np.random.default_rng(0).standard_normal((20, 4))
    block[:, 3] = block[:, 0] - 2.0 * block[:, 1]
    q, r = range_of(xp.asarray(block))
    q = to_host(q)
    assert q.shape == (20, 3)
    np.testing.assert_allclose(q.T @ q, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(q @ r, block, atol=1e-13)
    assert range_of(xp.zeros((5, 2), dtype=xp.float64))[0].shape == (5, 0)
