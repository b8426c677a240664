"""Estimators of the trace of a symmetric operator, from products: samples whose mean is the estimate."""

from dataclasses import dataclass

import numpy as np

from spectra.arrays import eps, norms
from spectra.errors import ArgumentError
from spectra.orthogonal import thin_factors
from spectra.products import Products
from spectra.sketches import Range, Sketch, column_dots, draw, inner_products, sketch
from spectra.start_vectors import start_vectors

__all__ = ["TraceSamples", "hutch_plus_plus", "hutchinson", "xfrobenius", "xnystrace", "xtrace"]

ROUNDING = 64.0
"""Rounding errors of a trace are at most this many eps times the sum of the moduli of the eigenvalues seen."""

_LARGEST_SHIFT = 1e3


@dataclass(frozen=True, eq=False, kw_only=True)
class TraceSamples:
    """Samples of a trace, in units of the scaled operator.

    Attributes
    ----------
    samples : ndarray, shape (p,)
        Each unbiased, exchangeable.
    without : ndarray, shape (p,), or None
        The estimate without the j-th probe, where the samples share their probes.
    rounding : float
        Bound on the rounding error of the mean.
    captured : bool
        Whether the range of the operator was captured up to rounding, so that nothing random is left.
    """

    samples: np.ndarray
    without: np.ndarray | None
    rounding: float
    captured: bool = False

    @property
    def value(self) -> float:
        """The estimate: the mean of the samples."""
        return float(np.mean(self.samples))

    @property
    def stderr(self) -> float | None:
        """Standard error; None for a single probe, 0 where nothing is random.

        Of independent samples: standard deviation over sqrt(p). That is 0.2 to 0.9 times the error where the samples
        share their probes. The delete-one jackknife (the sum over j of the squared deviations of ``without`` from their
        mean, times (p - 1) / p, whose expectation is no smaller than the variance with p - 1 probes up to that factor,
        Efron and Stein 1981) is 1.1 to 6.5 times the error. Their geometric mean, which is used, was 1.0 to 2.1 times
        the rms error on ten spectra with 12, 40 and 120 products, and Student's t times it covered at least 94%.
        """
        p = len(self.samples)
        if self.captured:
            return 0.0
        if p < 2:
            return None
        plain = float(np.std(self.samples, ddof=1) / np.sqrt(p))
        if self.without is None:
            return plain
        return float(np.sqrt(plain * np.std(self.without) * np.sqrt(p - 1)))


def hutchinson(drawn: Sketch) -> TraceSamples:
    """Return ``n omega' A omega`` for probes omega uniform on the unit sphere.

    Variance of a sample: ``2 n / (n + 2) (||A||_F**2 - (tr A)**2 / n)``. Source: Girard (1989); Hutchinson (1990).

    Examples
    --------
    >>> import numpy as np
    >>> products = Products(np.eye(5))
    >>> products.unscaled(hutchinson(draw(products, 3, seed=0)).samples).round(12).tolist()
    [5.0, 5.0, 5.0]
    """
    samples = drawn.probes.shape[0] * drawn.quadratic_forms()
    rounding = ROUNDING * eps(drawn.probes) * float(np.mean(np.abs(samples)))
    return TraceSamples(samples=samples, without=None, rounding=rounding)


def hutch_plus_plus(products: Products, *, num_sketch: int, num_residual: int, seed: int) -> TraceSamples:
    """Return ``tr Q'AQ + (n - r) g'Ag``, Q a basis of the range of ``A Omega``, g uniform on its complement.

    Costs at most ``2 num_sketch + num_residual`` products. The residual probes are rescaled to norm ``sqrt(n - r)``,
    which takes the variance of multiples of the identity out of them.

    Source: Meyer, Musco, Musco and Woodruff (2021); rescaling: Epperly, Tropp and Webber (2024).

    Examples
    --------
    >>> import numpy as np
    >>> products = Products(np.diag([4.0, 0.0, 0.0, 0.0]))
    >>> found = hutch_plus_plus(products, num_sketch=2, num_residual=2, seed=0)
    >>> round(float(products.unscaled(found.value)), 12), products.num_matvecs
    (4.0, 3)
    """
    drawn = draw(products, num_sketch, seed=seed)
    found = sketch(products, drawn)
    if found.left_out is None:
        own = drawn.quadratic_forms()
        return _captured(drawn, found, core=found.core, cross=found.coefficients, own=own)
    n, r = found.basis.shape
    xp = products.xp
    probes = start_vectors(products.operator.like, num=num_residual, rng=seed, first=num_sketch)
    for _ in range(2):
        probes = probes - xp.matmul(found.basis, xp.matmul(xp.matrix_transpose(found.basis), probes))
    probes = probes / norms(probes, axis=0)
    residual = (n - r) * column_dots(probes, products.multiply(probes))
    rounding = ROUNDING * eps(probes) * (_nuclear(found.core) + float(np.mean(np.abs(residual))))
    return TraceSamples(samples=np.trace(found.core) + residual, without=None, rounding=rounding)


def xtrace(drawn: Sketch, found: Range) -> TraceSamples:
    """Return the XTrace samples: Hutch++ with one residual probe, each probe in turn left out of the sketch.

    With ``Q_i`` a basis of the range of ``A Omega`` without its i-th column, and ``g_i = (I - Q_i Q_i') omega_i``,

    ``sample_i = tr Q_i' A Q_i + (n - m + 1) g_i' A g_i / ||g_i||**2``,

    all of them from ``2 m`` products.

    Source: Epperly, Tropp and Webber (2024), section 2.

    Examples
    --------
    >>> import numpy as np
    >>> products = Products(np.diag(1.0 / np.arange(1.0, 101.0) ** 4))
    >>> drawn = draw(products, 20, seed=0)
    >>> estimate = xtrace(drawn, sketch(products, drawn))
    >>> bool(abs(products.unscaled(estimate.value) - np.pi**4 / 90) < 1e-5), products.num_matvecs
    (True, 40)
    """
    own = drawn.quadratic_forms()
    return _leave_one_out(drawn, found, core=found.core, cross=found.coefficients, own=own)


def xfrobenius(drawn: Sketch, found: Range) -> TraceSamples:
    """Return samples of ``||A||_F**2 = tr A**2``, each probe in turn left out of the sketch.

    ``sample_i = ||A Q_i||_F**2 + (n - m + 1) ||A g_i||**2 / ||g_i||**2`` with Q_i and g_i of `xtrace`, from the same
    ``2 m`` products, for ``A g_i`` is a combination of these. In squared units of the scaled operator.

    Source: a construction of this project; `xtrace` for ``A**2``, with the range of A in place of that of ``A**2``.

    Examples
    --------
    >>> import numpy as np
    >>> products = Products(np.diag(np.r_[3.0, 4.0, np.zeros(8)]))
    >>> drawn = draw(products, 4, seed=0)
    >>> square = xfrobenius(drawn, sketch(products, drawn)).value
    >>> round(float(products.unscaled(square, power=2)), 10)
    25.0
    """
    core = inner_products(found.images, found.images)
    cross = inner_products(found.images, drawn.images)
    own = column_dots(drawn.images, drawn.images)
    return _leave_one_out(drawn, found, core=core, cross=cross, own=own)


def _leave_one_out(
    drawn: Sketch, found: Range, *, core: np.ndarray, cross: np.ndarray, own: np.ndarray
) -> TraceSamples:
    """Return the samples for a symmetric B with ``core = Q'BQ``, ``cross = Q'B Omega``, ``own_i = omega_i'B omega_i``.

    Leaving out the i-th probe removes s_i from the basis, and leaving out two the span of s_i and s_j; the estimates
    without the j-th probe follow from all pairs. Quantities of pairs have shape (i, j).
    """
    n, m = drawn.probes.shape
    s, w = found.left_out, found.overlaps
    unit = ROUNDING * eps(drawn.probes)
    if s is None:
        return _captured(drawn, found, core=core, cross=cross, own=own)
    sks, sw, skw, sp = s.T @ core @ s, s.T @ w, s.T @ core @ w, s.T @ cross
    wp, wkw, ww = np.sum(w * cross, axis=0), np.sum(w * (core @ w), axis=0), np.sum(w * w, axis=0)
    a, size = np.diag(sw), np.diag(sks)
    form = own - 2.0 * (wp - a * np.diag(sp)) + wkw - 2.0 * a * np.diag(skw) + a**2 * size
    residual = (n - m + 1) * form / (1.0 - ww + a**2)
    samples = np.trace(core) - size + residual
    rounding = unit * (_nuclear(core) + float(np.mean(np.abs(residual))))
    if m < 2:
        return TraceSamples(samples=samples, without=None, rounding=rounding)
    cosine = s.T @ s
    np.fill_diagonal(cosine, 0.0)
    sine2 = 1.0 - cosine**2
    alpha, beta = (a[:, None] - cosine * sw.T) / sine2, (sw.T - cosine * a[:, None]) / sine2
    form = own[:, None] - 2.0 * (wp[:, None] - alpha * np.diag(sp)[:, None] - beta * sp.T)
    form += wkw[:, None] - 2.0 * (alpha * np.diag(skw)[:, None] + beta * skw.T)
    form += alpha**2 * size[:, None] + beta**2 * size + 2.0 * alpha * beta * sks
    square = 1.0 - ww[:, None] + alpha * a[:, None] + beta * sw.T
    removed = (size[:, None] + size - 2.0 * cosine * sks) / sine2
    without = _mean_off_diagonal(np.trace(core) - removed + (n - m + 2) * form / square)
    return TraceSamples(samples=samples, without=without, rounding=rounding)


def _mean_off_diagonal(pairs: np.ndarray) -> np.ndarray:
    """Return the mean over i of all (i, j) with i different from j."""
    return (np.sum(pairs, axis=0) - np.diag(pairs)) / (len(pairs) - 1)


def xnystrace(products: Products, drawn: Sketch) -> TraceSamples:
    """Return the XNysTrace samples of a positive semidefinite operator, from the products of the sketch alone.

    With the Nystrom approximation ``A_i = Y (Omega' Y)^-1 Y'`` without the i-th probe, and ``g_i`` the part of
    ``omega_i`` orthogonal to the other probes,

    ``sample_i = tr A_i + (n - m + 1) g_i' (A - A_i) g_i / ||g_i||**2``.

    A is shifted by ``nu = eps ||A Omega||_F``, for the Cholesky factor to exist; ``nu n`` is subtracted again.

    Raises
    ------
    ArgumentError
        If ``Omega' A Omega`` has an eigenvalue below zero: the operator is not positive semidefinite.

    Notes
    -----
    Source: Epperly, Tropp and Webber (2024), section 2.3 and appendix; stabilization by a shift: Tropp, Yurtsever,
    Udell and Cevher (2017). The residual probe has to be orthogonal to the other *probes*, not to the range of their
    images: that would bias the estimate.
    """
    n, m = drawn.probes.shape
    core = inner_products(drawn.probes, drawn.images)
    gram = inner_products(drawn.probes, drawn.probes)
    size = float(products.xp.linalg.matrix_norm(drawn.images))
    if size == 0.0:
        return TraceSamples(samples=np.zeros(m), without=None, rounding=0.0, captured=True)
    shift = eps(drawn.probes) * size
    factor = None
    for nu in shift * np.geomspace(1.0, _LARGEST_SHIFT, 4):
        try:
            factor = np.linalg.cholesky(0.5 * (core + core.T) + nu * gram)
            break
        except np.linalg.LinAlgError:
            continue
    if factor is None:
        raise _indefinite(products, core, gram)
    basis, triangle = thin_factors(drawn.images + float(nu) * drawn.probes)
    from scipy.linalg import solve_triangular

    inverse = solve_triangular(factor, np.eye(m), lower=True)
    root = triangle @ inverse.T  # shifted A ~ (Q root) (Q root)'
    left_out = (root @ inverse) / np.sqrt(np.sum(inverse * inverse, axis=0))
    precision = np.linalg.inv(gram)
    overlap = np.sum(left_out * inner_products(basis, drawn.probes), axis=0)
    whole = float(np.sum(root * root)) - nu * n
    samples = whole - np.sum(left_out**2, axis=0) + (n - m + 1) * np.diag(precision) * overlap**2
    without = None
    if m > 1:
        unit = inverse / np.linalg.norm(inverse, axis=0)
        cosine = unit.T @ unit
        np.fill_diagonal(cosine, 0.0)
        of_s, size = left_out.T @ left_out, np.sum(left_out**2, axis=0)
        removed = size[:, None] + size - 2.0 * cosine * of_s
        squared = np.diag(precision)[:, None] - precision**2 / np.diag(precision)
        pairs = whole + ((n - m + 2) * squared * overlap[:, None] ** 2 - removed) / (1.0 - cosine**2)
        without = _mean_off_diagonal(pairs)
    rounding = ROUNDING * eps(drawn.probes) * whole + nu * n
    return TraceSamples(samples=samples, without=without, rounding=rounding)


def _captured(drawn: Sketch, found: Range, *, core: np.ndarray, cross: np.ndarray, own: np.ndarray) -> TraceSamples:
    """Return ``tr Q'BQ``, with what the probes see outside of Q as its error: rounding, unless B has a tiny tail."""
    n, r = found.basis.shape
    w = found.overlaps
    outside = np.maximum(1.0 - np.sum(w * w, axis=0), 0.0)
    form = own + np.sum(w * (core @ w - 2.0 * cross), axis=0)
    tail = (n - r) * np.divide(form, outside, out=np.zeros_like(form), where=outside > eps(drawn.probes))
    rounding = ROUNDING * eps(drawn.probes) * _nuclear(core) + 2.0 * float(np.max(np.abs(tail), initial=0.0))
    samples = np.full(drawn.probes.shape[1], np.trace(core))
    return TraceSamples(samples=samples, without=None, rounding=rounding, captured=True)


def _nuclear(core: np.ndarray) -> float:
    """Return the sum of the moduli of the eigenvalues."""
    return float(np.sum(np.abs(np.linalg.eigvalsh(core)))) if core.size else 0.0


def _indefinite(products: Products, core: np.ndarray, gram: np.ndarray) -> ArgumentError:
    """Return the error that names a negative Rayleigh quotient."""
    from scipy.linalg import eigh

    lowest = float(products.unscaled(eigh(0.5 * (core + core.T), gram, eigvals_only=True)[0]))
    return ArgumentError(
        f"{products.operator.name!r} is not positive semidefinite: it has a Rayleigh quotient of {lowest:.6g}, and an "
        "eigenvalue no larger; leave positive_semidefinite out"
    )
