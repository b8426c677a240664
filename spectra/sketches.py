"""Random sketches: products with a block of probes, a basis of their range, and what leaving one probe out changes."""

from dataclasses import dataclass

import numpy as np
from array_api_compat import device

from spectra.arrays import dtype_name, eps, inner_with_rows, namespace, norms, to_host
from spectra.errors import NonDeterministicError
from spectra.orthogonal import thin_factors
from spectra.products import Products
from spectra.protocols import Array
from spectra.soundness import judge, require_symmetric
from spectra.start_vectors import Distribution, start_vectors

__all__ = ["Range", "Sketch", "column_dots", "draw", "inner_products", "range_of", "sketch"]

_CAPTURED = 10.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Sketch:
    """Products with random probes, in units of the scaled operator.

    Attributes
    ----------
    probes : array, shape (n, m)
        Columns of norm one.
    images : array, shape (n, m)
        ``A probes``.
    """

    probes: Array
    images: Array

    def quadratic_forms(self) -> np.ndarray:
        """Return ``omega_i' A omega_i``, shape (m,), on the host."""
        return column_dots(self.probes, self.images)

    def require_symmetric(self, products: Products) -> None:
        """Compare ``u'(Av)`` with ``v'(Au)`` for all pairs of probes; costs nothing."""
        xp = products.xp
        require_symmetric(products, xp.matrix_transpose(self.probes), xp.matrix_transpose(self.images))


@dataclass(frozen=True, eq=False, kw_only=True)
class Range:
    """An orthonormal basis Q of the range of a sketch, and products with it.

    Attributes
    ----------
    basis : array, shape (n, r)
        Q; r < m where the images are dependent up to rounding.
    images : array, shape (n, r)
        ``A Q``.
    core : ndarray, shape (r, r)
        ``Q' A Q``, symmetric. Like all that follows on the host, float64.
    coefficients : ndarray, shape (r, m)
        ``R = Q' A Omega``.
    overlaps : ndarray, shape (r, m)
        ``W = Q' Omega``.
    left_out : ndarray, shape (r, m), or None
        Unit columns s_i: the range of the images without the i-th is that of ``Q (I - s_i s_i')``. None where r < m:
        then the range is that of A up to rounding, and leaving one probe out does not change it.
    """

    basis: Array
    images: Array
    core: np.ndarray
    coefficients: np.ndarray
    overlaps: np.ndarray
    left_out: np.ndarray | None


def column_dots(a: Array, b: Array) -> np.ndarray:
    """Return the inner products of the columns of two blocks, on the host."""
    return to_host(namespace(a).sum(a * b, axis=0))


def inner_products(a: Array, b: Array) -> np.ndarray:
    """Return ``a' b`` on the host."""
    xp = namespace(a)
    return to_host(inner_with_rows(xp.matrix_transpose(a), b))


def draw(products: Products, num: int, *, seed: int, first: int = 0, distribution: Distribution = "sphere") -> Sketch:
    """Multiply ``num`` random probes of norm one; costs ``num`` products.

    Raises
    ------
    NonFiniteError
        If a product contains NaN or infinity.
    NotSymmetricError
        If ``u'(Av)`` and ``v'(Au)`` differ for two probes.
    """
    like = products.operator.like
    probes = start_vectors(like, num=num, rng=seed, first=first, distribution=distribution)
    probes = probes / norms(probes, axis=0)
    drawn = Sketch(probes=probes, images=products.multiply(probes))
    drawn.require_symmetric(products)
    return drawn


def range_of(images: Array) -> tuple[Array, np.ndarray]:
    """Return an orthonormal basis Q of the range of a block, shape (n, r), and ``R = Q' images`` on the host.

    Directions whose singular value is at most ``10 eps sqrt(n)`` of the largest are dropped: these are rounding errors
    of products with an operator of lower rank. The zero block has r = 0.
    """
    xp = namespace(images)
    basis, host = thin_factors(images)
    left, sizes, right = np.linalg.svd(host)
    rank = int(np.sum(sizes > _CAPTURED * eps(images) * np.sqrt(images.shape[0]) * sizes[0]))
    if rank == images.shape[1]:
        return basis, host
    if rank == 0:
        return basis[:, :0], np.zeros((0, images.shape[1]))
    chosen = xp.asarray(left[:, :rank].astype(dtype_name(images.dtype)), device=device(images))
    return xp.matmul(basis, chosen), sizes[:rank, None] * right[:rank]


def sketch(products: Products, drawn: Sketch, *, basis: tuple[Array, np.ndarray] | None = None) -> Range:
    """Multiply a basis of the range of a sketch; costs r products, at most as many as the sketch.

    Raises
    ------
    NonDeterministicError
        If ``Q' (A Omega)`` and ``(A Q)' Omega``, which come from different products, differ although each is symmetric.
    """
    q, coefficients = range_of(drawn.images) if basis is None else basis
    if q.shape[1] == 0:
        none = np.zeros((0, drawn.probes.shape[1]))
        return Range(basis=q, images=q, core=np.zeros((0, 0)), coefficients=none, overlaps=none, left_out=None)
    images = products.multiply(q)
    _require_repeatable(products, coefficients, inner_products(images, drawn.probes), images)
    core = inner_products(q, images)
    left_out = None
    if q.shape[1] == drawn.probes.shape[1]:
        left_out = np.linalg.inv(coefficients).T
        left_out = left_out / np.linalg.norm(left_out, axis=0)
    return Range(
        basis=q,
        images=images,
        core=0.5 * (core + core.T),
        coefficients=coefficients,
        overlaps=inner_products(q, drawn.probes),
        left_out=left_out,
    )


def _require_repeatable(products: Products, first: np.ndarray, second: np.ndarray, images: Array) -> None:
    """Compare ``Q' (A Omega)`` with ``(A Q)' Omega``: a test for products that change from call to call, for free.

    The first column of R holds the whole norm of its image, so that a relative change c of the operator shows as c.
    Differences are measured against the largest image: where the spectrum decays, those of the last basis vectors are
    nothing but rounding errors.
    """
    scale = max(float(np.max(np.linalg.norm(first, axis=0))), float(np.max(np.linalg.norm(second, axis=0))))
    if scale == 0.0:
        return
    judge(
        float(np.max(np.abs(first - second))) / scale,
        eps=eps(images),
        error=NonDeterministicError,
        message=f"{products.operator.name!r} must be deterministic, but u'(Av) and v'(Au) of two calls differ",
    )
